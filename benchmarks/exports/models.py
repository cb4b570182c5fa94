"""The transformers architectures that the benchmarks export: built from their configs, random weights, nothing downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks.exports.randomise import randomise

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    _Config = TypeVar("_Config", bound=PretrainedConfig)

Feeds = dict[str, np.ndarray]
DimNames = dict[str, dict[int, str]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One exportable model.

    Attributes:
        name: key in `ARCHITECTURES`, and the stem of the exported file.
        build: makes the module, with torch's default initialisation.
        feeds: sample inputs from (batch, sequence, generator), in the order of `forward`'s arguments.
        dynamic: names of the dynamic dimensions of each input.
        sequence: default length along the dimension `sequence` (tokens, or audio samples); 0 where there is none.
    """

    name: str
    build: Callable[[], nn.Module]
    feeds: Callable[[int, int, np.random.Generator], Feeds]
    dynamic: DimNames
    sequence: int = 0

    def module(self, seed: int = 0) -> nn.Module:
        """The module in eval mode, its weights, biases, norm weights and statistics drawn from a seeded generator."""
        import torch

        torch.manual_seed(seed)
        module = self.build().eval()
        randomise(module, seed)
        return module

    def example_feeds(self, batch: int = 2, sequence: int | None = None, seed: int = 0) -> Feeds:
        """Sample inputs of the given batch size and sequence length (default: `self.sequence`)."""
        return self.feeds(batch, self.sequence if sequence is None else sequence, np.random.default_rng(seed))

    def dims(self, batch: int = 1, sequence: int | None = None) -> dict[str, int]:
        """Sizes of the dynamic dimensions by name, as a count of MACs needs them."""
        sizes = {"batch": batch, "sequence": self.sequence if sequence is None else sequence}
        names = {name for axes in self.dynamic.values() for name in axes.values()}
        return {name: size for name, size in sizes.items() if name in names}


def _tokens(vocabulary: int, *, mask: bool = True, types: bool = False) -> Callable[[int, int, np.random.Generator], Feeds]:
    def feeds(batch: int, sequence: int, rng: np.random.Generator) -> Feeds:
        made: Feeds = {"input_ids": rng.integers(1, vocabulary, (batch, sequence), dtype=np.int64)}
        if mask:
            made["attention_mask"] = np.ones((batch, sequence), dtype=np.int64)
        if types:
            made["token_type_ids"] = rng.integers(0, 2, (batch, sequence), dtype=np.int64)
        return made

    return feeds


def _dense(name: str, *shape: int) -> Callable[[int, int, np.random.Generator], Feeds]:
    def feeds(batch: int, sequence: int, rng: np.random.Generator) -> Feeds:
        size = (batch, *(sequence if extent < 0 else extent for extent in shape))
        return {name: rng.standard_normal(size, dtype=np.float32)}

    return feeds


_TEXT: dict[int, str] = {0: "batch", 1: "sequence"}
_MASKED: DimNames = {"input_ids": _TEXT, "attention_mask": _TEXT}
_IMAGE: DimNames = {"pixel_values": {0: "batch"}}
_pixels = _dense("pixel_values", 3, 224, 224)


def _labelled(config: _Config, labels: int) -> _Config:
    config.num_labels = labels
    return config


def _bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig())


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(use_cache=False))


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig())


def _convnext() -> nn.Module:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return ConvNextForImageClassification(_labelled(ConvNextConfig(), 1000))


def _segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(_labelled(SegformerConfig(), 150))


def _whisper() -> nn.Module:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048))


def _distilbert() -> nn.Module:
    from transformers import DistilBertConfig, DistilBertModel

    return DistilBertModel(DistilBertConfig())


def _wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config())


def _albert() -> nn.Module:
    from transformers import AlbertConfig, AlbertModel

    config = AlbertConfig(embedding_size=128, hidden_size=768, num_attention_heads=12, intermediate_size=3072)
    return AlbertModel(config)


def _resnet50() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(_labelled(ResNetConfig(), 1000))


def _mobilenet_v2() -> nn.Module:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return MobileNetV2ForImageClassification(_labelled(MobileNetV2Config(), 1001))


ARCHITECTURES: dict[str, Architecture] = {
    a.name: a
    for a in (
        Architecture("bert", _bert, _tokens(30522), _MASKED, 128),
        Architecture("vit", _vit, _pixels, _IMAGE),
        Architecture("gpt2", _gpt2, _tokens(50257), _MASKED, 128),
        Architecture("llama", _llama, _tokens(32000), _MASKED, 128),
        Architecture("distilbert", _distilbert, _tokens(30522), _MASKED, 128),
        Architecture("albert", _albert, _tokens(30000), _MASKED, 128),
        Architecture("convnext", _convnext, _pixels, _IMAGE),
        Architecture("segformer", _segformer, _pixels, _IMAGE),
        Architecture("resnet50", _resnet50, _pixels, _IMAGE),
        Architecture("mobilenet_v2", _mobilenet_v2, _pixels, _IMAGE),
        Architecture("whisper", _whisper, _dense("input_features", 80, 3000), {"input_features": {0: "batch"}}),
        Architecture("wav2vec2", _wav2vec2, _dense("input_values", -1), {"input_values": _TEXT}, 16000),
    )
}
"""Every architecture of the benchmarks, by name: BERT-base and ViT-base first."""
