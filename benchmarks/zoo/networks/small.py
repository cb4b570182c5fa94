"""The five small networks that the zoo trains itself."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def conv_block(narrow: int, wide: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU())


class ConvNet(nn.Module):
    """Digits [b, 1, 28, 28] → logits [b, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(1, 32), conv_block(32, 32), nn.MaxPool2d(2), conv_block(32, 64), conv_block(64, 64), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the ten digits."""
        return self.head(self.features(x))


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2, self.norm2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[b, narrow, h, w] → [b, wide, h / stride, w / stride]."""
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.shortcut(x))


class ResNet(nn.Module):
    """Colour crops [b, 3, 32, 32] → logits [b, 12]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.blocks = nn.Sequential(Residual(24, 24, 1), Residual(24, 48, 2), Residual(48, 64, 2))
        self.head = nn.Linear(64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the twelve photographs."""
        return self.head(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1).flatten(1))


class BiLstm(nn.Module):
    """Utterances [b, 29, 12] → logits [b, 9]."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(12, 96, 1, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(192, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the nine speakers, from the mean over time."""
        states, _ = self.rnn(x)
        return self.head(states.mean(1))


class Block(nn.Module):
    """A pre-norm transformer block with one matrix for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`x`: [b, tokens, width]; `mask` is true where a token may look."""
        batch, tokens, width = x.shape
        query, key, value = (
            part.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Token ids [b, tokens] → logits: one row a sentence, or, when causal, one row a token."""

    tri: torch.Tensor

    def __init__(self, *, vocabulary: int, width: int, heads: int, layers: int, tokens: int, outputs: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.register_buffer("tri", torch.tril(torch.ones(tokens, tokens, dtype=torch.bool)))
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Id 0 is padding unless the model is causal."""
        tokens = ids.shape[1]
        x = self.token(ids) + self.position(torch.arange(tokens, device=ids.device))
        mask = self.tri[:tokens, :tokens] if self.causal else (ids > 0)[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        if self.causal:
            return self.head(x)
        kept = (ids > 0).to(x.dtype)[..., None]
        return self.head((x * kept).sum(1) / kept.sum(1).clamp(min=1))


def text_classifier() -> Transformer:
    """Two layers, 1.43 M parameters: which of four domains a sentence comes from."""
    return Transformer(vocabulary=8000, width=128, heads=4, layers=2, tokens=48, outputs=4, causal=False)


def character_gpt() -> Transformer:
    """Four layers, 1.84 M parameters: the next character."""
    return Transformer(vocabulary=96, width=192, heads=4, layers=4, tokens=128, outputs=96, causal=True)
