"""The models of the pruning coverage table: the tests' small models, ResNet-18 in full, small networks of the transformers package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks._networks import NETWORKS, ImageNetResNet18, Network
from tests.models import SMALL_MODELS, SmallModel


def _image224(batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"image": torch.randn(batch, 3, 224, 224, generator=generator)}


def _sized(network: Network) -> Callable[[int, int, torch.Generator], dict[str, Tensor]]:
    return lambda batch, length, generator: network.feeds(batch, generator)


RESNET18 = SmallModel("ResNet-18", ImageNetResNet18, _image224, {"image": {0: "batch"}})
"""For 224×224, in full."""
FRESH = (
    replace(RESNET18, name="ResNet-18, fresh norms", fresh=True),
    replace(SMALL_MODELS["mobilenet_v2"], name="mobilenet_v2, fresh norms", fresh=True),
)
"""As torch initialises them: exporters merge the biases that all-alike norms are folded into."""
_TRANSFORMERS = ("whisper encoder", "bert", "gpt2", "llama", "vit")

COVERAGE_MODELS: dict[str, SmallModel] = {
    model.name: model
    for model in (
        RESNET18,
        *FRESH,
        *(model for name, model in SMALL_MODELS.items() if name != "resnet"),
        *(SmallModel(name, NETWORKS[name].build, _sized(NETWORKS[name]), NETWORKS[name].dynamic) for name in _TRANSFORMERS),
    )
}
"""Every model of the table, by name."""
