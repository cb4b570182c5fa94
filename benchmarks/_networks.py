"""Networks to train, built from configurations with random weights: those of the gradient and training step benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.exports.randomise import randomise

Feeds = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Network:
    """One network.

    Attributes:
        name: its key in `NETWORKS`.
        build: makes the module.
        feeds: inputs by argument name, from (batch, generator).
        dynamic: names of the dynamic dimensions of each input.
    """

    name: str
    build: Callable[[], nn.Module]
    feeds: Callable[[int, torch.Generator], Feeds]
    dynamic: dict[str, dict[int, str]]

    def module(self, seed: int = 0) -> nn.Module:
        """The module in eval mode, its vectors and norm statistics drawn anew so that nothing is zero or one."""
        torch.manual_seed(seed)
        module = self.build().eval()
        randomise(module, seed)
        return module

    def example(self, batch: int = 2, seed: int = 0) -> Feeds:
        """Inputs for this many samples."""
        return self.feeds(batch, torch.Generator().manual_seed(seed))


# ---- convolutional -----------------------------------------------------------------------------------------------


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for images of 32×32: a 3×3 stem without pooling (He et al., arXiv 1512.03385, section 4.2).

    Args:
        width: channels of the first stage; 64 in ResNet-18.
        dropout: before the classifier.
    """

    def __init__(self, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_Block(inputs, outputs, 1 if stage == 0 else 2), _Block(outputs, outputs, 1))
                for stage, (inputs, outputs) in enumerate(itertools.pairwise(widths))
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stages(F.relu(self.bn1(self.conv1(image))))
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class ImageNetResNet18(nn.Module):
    """ResNet-18 for images of 224×224 and 1,000 classes (He et al., arXiv 1512.03385, table 1): 1.82 GMACs, 11.69 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_Block(inputs, outputs, 1 if outputs == 64 else 2), _Block(outputs, outputs, 1))
                for inputs, outputs in ((64, 64), (64, 128), (128, 256), (256, 512))
            )
        )
        self.fc = nn.Linear(512, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        return self.fc(F.adaptive_avg_pool2d(self.stages(x), 1).flatten(1))


# ---- recurrent ---------------------------------------------------------------------------------------------------


class Tagger(nn.Module):
    """Embedding, two bidirectional recurrent layers, a linear layer at every step."""

    def __init__(self, layer: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.tokens = nn.Embedding(500, 48)
        self.recurrent = layer(48, 64, 2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(128, 9)

    def forward(self, ids: Tensor) -> Tensor:
        return self.tags(self.recurrent(self.tokens(ids))[0])


# ---- mixture of experts ------------------------------------------------------------------------------------------


class Experts(nn.Module):
    """A feed-forward layer of which a router gives each token its two best experts of four, weighted (arXiv 1701.06538)."""

    def __init__(self, width: int, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = self.router(x).topk(2, dim=-1)
        weights = torch.zeros_like(self.router(x)).scatter(-1, chosen, scores.softmax(-1))
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return torch.einsum("...we,...e->...w", outputs, weights)


class MixtureOfExperts(nn.Module):
    """Embedding, two layers of experts with residuals and norms, a linear layer at every token."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.tokens = nn.Embedding(300, width)
        self.layers = nn.ModuleList(Experts(width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = nn.Linear(width, 300)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x))
        return self.head(x)


# ---- transformers ------------------------------------------------------------------------------------------------


class BertClassifier(nn.Module):
    """BERT and a linear layer on its pooled output.

    Args:
        layers: how many.
        width: of the hidden states; heads are 26 wide, so that 312 has 12.
        dropout: of hidden states and attention.
    """

    def __init__(self, layers: int = 4, width: int = 312, dropout: float = 0.1) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=12,
            intermediate_size=1200,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.bert(input_ids=input_ids, attention_mask=attention_mask).pooler_output))


def _bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(
            vocab_size=400, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, max_position_embeddings=32
        )
    )


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=32, n_embd=48, n_layer=3, n_head=4, use_cache=False, bos_token_id=0, eos_token_id=1)
    )


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=400,
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            use_cache=False,
        )
    )


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTModel

    return ViTModel(
        ViTConfig(image_size=32, patch_size=8, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96)
    )


def _whisper() -> nn.Module:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(
        WhisperConfig(
            d_model=48, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=96, num_mel_bins=20, max_source_positions=50,
            vocab_size=100, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )
    )  # fmt: skip


def _mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=64,
        use_cache=False,
    )
    model = MixtralForCausalLM(config)
    model.set_experts_implementation("batched_mm")  # the default is an operator of transformers' own, which torch cannot export
    return model


def _image(batch: int, generator: torch.Generator) -> Feeds:
    return {"image": torch.randn(batch, 3, 32, 32, generator=generator)}


def _ids(vocabulary: int, name: str = "ids", length: int = 12) -> Callable[[int, torch.Generator], Feeds]:
    return lambda batch, generator: {name: torch.randint(1, vocabulary, (batch, length), generator=generator)}


def masked_ids(vocabulary: int, length: int = 12) -> Callable[[int, torch.Generator], Feeds]:
    """Token ids and a mask that hides the end of the first sample."""

    def feeds(batch: int, generator: torch.Generator) -> Feeds:
        mask = torch.ones(batch, length, dtype=torch.int64)
        mask[0, length - 3 :] = 0
        return {"input_ids": torch.randint(1, vocabulary, (batch, length), generator=generator), "attention_mask": mask}

    return feeds


def _pixels(batch: int, generator: torch.Generator) -> Feeds:
    return {"pixel_values": torch.randn(batch, 3, 32, 32, generator=generator)}


def _features(batch: int, generator: torch.Generator) -> Feeds:
    return {"input_features": torch.randn(batch, 20, 100, generator=generator)}


TEXT: dict[int, str] = {0: "batch", 1: "sequence"}
MASKED: dict[str, dict[int, str]] = {"input_ids": TEXT, "attention_mask": TEXT}
IMAGE: dict[str, dict[int, str]] = {"image": {0: "batch"}}

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("resnet18", lambda: ResNet18(width=16), _image, IMAGE),
        Network("bert", _bert, masked_ids(400), MASKED),
        Network("gpt2", _gpt2, masked_ids(400), MASKED),
        Network("llama", _llama, masked_ids(400), MASKED),
        Network("vit", _vit, _pixels, {"pixel_values": {0: "batch"}}),
        Network("whisper encoder", _whisper, _features, {"input_features": {0: "batch"}}),
        Network("lstm", lambda: Tagger(nn.LSTM), _ids(500), {"ids": TEXT}),
        Network("gru", lambda: Tagger(nn.GRU), _ids(500), {"ids": TEXT}),
        Network("experts (top 2 of 4)", MixtureOfExperts, _ids(300), {"ids": TEXT}),
        Network("mixtral", _mixtral, masked_ids(300), MASKED),
    )
}
"""Small networks of the kinds that people train."""
