"""Recurrent layers step by step: `unroll` writes LSTM, GRU and RNN out as products and activations."""

from netwright.passes.recurrent.unroll import Unroll

__all__ = ["Unroll"]
