"""Recurrent layers with integer weights."""

from netwright.passes.quantize.recurrent.lstm import quantize_lstm
from netwright.passes.quantize.recurrent.trial import LstmTrial, lstm_errors, lstm_trials

__all__ = ["LstmTrial", "lstm_errors", "lstm_trials", "quantize_lstm"]
