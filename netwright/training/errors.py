"""What can go wrong in training by a user's doing."""

from __future__ import annotations

from netwright.ir.errors import NetwrightError


class TrainingError(NetwrightError):
    """Training cannot start or go on: an option out of range, a loss that is not finite, nothing to train."""


class CheckpointError(NetwrightError):
    """A checkpoint is damaged, or was made for another run."""


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C between two steps; the message says how to go on."""
