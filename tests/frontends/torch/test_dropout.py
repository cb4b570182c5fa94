"""`dropout=True`: Dropout stays, everything else is as in inference."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest
import torch
from torch import Tensor, nn

from netwright.frontends.torch import trace
from netwright.ir.errors import ExportError
from netwright.ir.program import Program, array
from tests.frontends.torch.running import run
from tests.models import SMALL_MODELS, traced


def keeps_training(node: onnx_ir.Node) -> bool:
    """Whether a Dropout node has its `training_mode` input true."""
    flag = array(node.inputs[2]) if len(node.inputs) > 2 else None
    return flag is not None and bool(flag)


def dropouts(program: Program) -> list[onnx_ir.Node]:
    return list(program.nodes("Dropout"))


def test_dropout_is_kept_in_training_form_on_request_only() -> None:
    model = SMALL_MODELS["encoder_separate_qkv"]
    module = model.module()
    assert not dropouts(traced(model.name))
    program = trace(module, kwargs=model.example(), dynamic_shapes=model.dynamic, dropout=True)
    assert len(dropouts(program)) == 4
    assert all(keeps_training(node) for node in dropouts(program))


def test_batch_norm_stays_in_inference_form() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.1)).train()
    program = trace(module, torch.randn(3, 4), dropout=True)
    (norm,) = program.nodes("BatchNormalization")
    assert len([value for value in norm.outputs if value.name]) == 1
    assert norm.attributes.get_int("training_mode", 0) == 0


@pytest.mark.parametrize("masked", ["boolean", "float", "causal", "grouped"])
def test_attention_keeps_its_dropout_and_its_values(masked: str) -> None:
    class Attends(nn.Module):
        def forward(self, q: Tensor, k: Tensor, keep: Tensor) -> Tensor:
            mask = {"boolean": keep, "float": torch.where(keep, 0.0, -1e4)}.get(masked)
            causal, grouped = masked == "causal", masked == "grouped"
            rate = 1e-7 if self.training else 0.0
            return nn.functional.scaled_dot_product_attention(q, k, k, attn_mask=mask, dropout_p=rate, is_causal=causal, enable_gqa=grouped)

    def example(batch: int, length: int) -> dict[str, Tensor]:
        keep = torch.ones(batch, 1, length, length, dtype=torch.bool)
        keep[..., length - 2 :] = False
        heads = 2 if masked == "grouped" else 4
        return {"q": torch.randn(batch, 4, length, 8), "k": torch.randn(batch, heads, length, 8), "keep": keep}

    dynamic = {"q": {0: "b", 2: "l"}, "k": {0: "b", 2: "l"}, "keep": {0: "b", 2: "l", 3: "l"}}
    program = trace(Attends(), kwargs=example(2, 6), dynamic_shapes=dynamic, dropout=True)
    (node,) = dropouts(program)
    assert keeps_training(node)
    feeds = example(3, 5)
    names = {value.name for value in program.inputs}
    (found,) = run(program, {name: tensor for name, tensor in feeds.items() if name in names}).values()
    np.testing.assert_allclose(found, Attends().eval()(**feeds).numpy(), rtol=1e-4, atol=1e-5)


def test_a_stacked_recurrent_layer_keeps_the_dropout_between() -> None:
    program = trace(nn.GRU(4, 4, 2, dropout=0.3), torch.randn(5, 2, 4), dynamic_shapes={0: "length"}, dropout=True)
    assert [keeps_training(node) for node in dropouts(program)] == [True]


def test_other_random_modules_stay_in_inference_mode_and_are_reported() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.AlphaDropout(0.5), nn.Dropout(0.5))
    program = trace(module, torch.randn(3, 4), dropout=True)
    assert not list(program.nodes("RandomUniformLike", "Bernoulli"))
    assert len(dropouts(program)) == 1
    (miss,) = program.ledger.misses
    assert miss.site == "1"


def test_an_exported_programs_mode_must_be_the_one_asked_for() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    training = torch.export.export(module.train(), (torch.randn(3, 4),))
    inference = torch.export.export(module.eval(), (torch.randn(3, 4),))
    assert len(dropouts(trace(training, dropout=True))) == 1
    for exported, dropout in ((training, False), (inference, True)):
        with pytest.raises(ExportError, match="mode"):
            trace(exported, dropout=dropout)
