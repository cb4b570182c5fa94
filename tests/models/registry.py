"""The small models by name, each with example inputs and dynamic dimensions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.exports.randomise import randomise
from netwright.frontends.torch import trace
from netwright.ir.program import Program
from tests.models import audio, convnets, convnext, experts, recurrent, transformers, unet, windows


@dataclass(frozen=True, slots=True)
class SmallModel:
    """One model of the collection.

    Attributes:
        name: its key in `SMALL_MODELS`.
        build: makes the module.
        inputs: example inputs by argument name, from batch and length.
        dynamic: names of the dynamic dimensions of each input.
        fresh: leave it as torch initialises it. Then all batch norms are alike, and exporters merge the biases they are folded into.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, int, torch.Generator], dict[str, Tensor]]
    dynamic: dict[str, dict[int, str]]
    fresh: bool = False

    def module(self, seed: int = 0) -> nn.Module:
        """The module in eval mode, its vectors and norm statistics drawn anew (unless `fresh`) so that nothing is zero or one."""
        torch.manual_seed(seed)
        module = self.build().eval()
        if not self.fresh:
            randomise(module, seed)
        return module

    def example(self, batch: int = 2, length: int = 6, seed: int = 0) -> dict[str, Tensor]:
        """Example inputs; the length counts where the model has a sequence."""
        return self.inputs(batch, length, torch.Generator().manual_seed(seed))

    def feeds(self, batch: int = 2, length: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
        """The same as numpy arrays."""
        return {name: tensor.numpy() for name, tensor in self.example(batch, length, seed).items()}


def _image(batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"image": torch.randn(batch, 3, 16, 16, generator=generator)}


def _spectrogram(batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"features": torch.randn(batch, 20, 24, generator=generator)}


def _ids(vocabulary: int) -> Callable[[int, int, torch.Generator], dict[str, Tensor]]:
    return lambda batch, length, generator: {"ids": torch.randint(0, vocabulary, (batch, length), generator=generator)}


def _masked_ids(batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[0, length - 1] = 0
    return {"ids": torch.randint(0, 97, (batch, length), generator=generator), "mask": mask}


_BATCH: dict[str, dict[int, str]] = {"image": {0: "batch"}}
_TEXT: dict[str, dict[int, str]] = {"ids": {0: "batch", 1: "length"}}
_MASKED: dict[str, dict[int, str]] = {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}

SMALL_MODELS: dict[str, SmallModel] = {
    model.name: model
    for model in (
        SmallModel("resnet", convnets.ResNet, _image, _BATCH),
        SmallModel("mobilenet_v2", convnets.MobileNetV2, _image, _BATCH),
        SmallModel("densenet", convnets.DenseNet, _image, _BATCH),
        SmallModel("shufflenet", convnets.ShuffleNet, _image, _BATCH),
        SmallModel("grouped_conv", convnets.GroupedConvNet, _image, _BATCH),
        SmallModel("squeeze_excite", convnets.SqueezeExciteNet, _image, _BATCH),
        SmallModel("encoder_separate_qkv", lambda: transformers.Encoder(transformers.SeparateAttention), _masked_ids, _MASKED),
        SmallModel("encoder_fused_qkv", lambda: transformers.Encoder(transformers.FusedAttention), _masked_ids, _MASKED),
        SmallModel("encoder_packed_qkv", lambda: transformers.Encoder(transformers.PackedAttention), _masked_ids, _MASKED),
        SmallModel("decoder", transformers.Decoder, _ids(97), _TEXT),
        SmallModel("decoder_written_out", lambda: transformers.Decoder(transformers.WrittenDecoderLayer), _ids(97), _TEXT),
        SmallModel("lstm", lambda: recurrent.Tagger(nn.LSTM), _ids(53), _TEXT),
        SmallModel("bi_lstm", lambda: recurrent.Tagger(nn.LSTM, bidirectional=True, layers=2), _ids(53), _TEXT),
        SmallModel("gru", lambda: recurrent.Tagger(nn.GRU), _ids(53), _TEXT),
        SmallModel("unet", unet.UNet, _image, _BATCH),
        SmallModel("convnext", convnext.ConvNeXt, _image, _BATCH),
        SmallModel("swin", windows.Swin, _image, _BATCH),
        SmallModel("audio_encoder", audio.AudioEncoder, _spectrogram, {"features": {0: "batch"}}),
        SmallModel("experts_stacked", lambda: experts.Mixture(experts.StackedExperts), _ids(53), _TEXT),
        SmallModel("experts_batched", lambda: experts.Mixture(experts.BatchedExperts), _ids(53), _TEXT),
    )
}
"""All small models, by name."""


def traced(name: str, opset: int = 23) -> Program:
    """A small model as a Program with dynamic dimensions; exported once a process, a clone for every caller."""
    return _traced(name, opset).clone()


@functools.cache
def _traced(name: str, opset: int) -> Program:
    model = SMALL_MODELS[name]
    return trace(model.module(), kwargs=model.example(), dynamic_shapes=model.dynamic, opset=opset)


def small_models() -> tuple[SmallModel, ...]:
    """All of them, for `pytest.mark.parametrize`."""
    return tuple(SMALL_MODELS.values())
