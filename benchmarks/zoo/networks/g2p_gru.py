"""The grapheme-to-phoneme network of g2p-en (Apache-2.0): a GRU that reads letters and a GRU that writes phonemes."""

from __future__ import annotations

import torch
from torch import nn

LETTERS, PHONEMES = 29, 74


class G2p(nn.Module):
    """Letters [batch, s] and the phonemes before each step [batch, u] → logits [batch, u, 74]."""

    def __init__(self, embedding: int, hidden: int) -> None:
        super().__init__()
        self.enc_emb, self.dec_emb = nn.Embedding(LETTERS, embedding), nn.Embedding(PHONEMES, embedding)
        self.enc = nn.GRU(embedding, hidden, batch_first=True)
        self.dec = nn.GRU(embedding, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, PHONEMES)

    def forward(self, src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
        """Teacher-forced: the search loop stands outside the network."""
        _, state = self.enc(self.enc_emb(src))
        written, _ = self.dec(self.dec_emb(tgt), state)
        return self.fc(written)
