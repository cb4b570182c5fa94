"""Losses by name: functions of an output and its labels, each a mean over the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.ir.errors import DataError

Scale: TypeAlias = Literal["logits", "probabilities", "log_probabilities"]
"""What an output's numbers are: the last operator of the program tells (Softmax or Sigmoid, LogSoftmax, anything else)."""

IGNORED = -100
"""A class index that counts as no label."""
PADDING = -1
"""What a label sequence is padded with."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a loss compares.

    Attributes:
        output: of the program.
        labels: that came with the batch.
        scale: what the output's numbers are.
        lengths: true lengths of the output's sequences, shape [rows], where the batch has them.
        name: of the output, for errors.
    """

    output: Tensor
    labels: Tensor
    scale: Scale = "logits"
    lengths: Tensor | None = None
    name: str = "output"


NamedLoss: TypeAlias = Callable[[Prediction], Tensor]


def cross_entropy(given: Prediction) -> Tensor:
    """Mean cross-entropy, -log p(label), of class indexes or of probabilities.

    Classes are on the last axis where the labels have the output's other axes (`[..., C]` and `[...]`), else on axis 1
    (`[N, C, ...]` and `[N, ...]`, images). Labels of -100 do not count. Labels of the output's own shape are probabilities. An
    output that ends in Softmax is taken as probabilities, and its logarithm is taken; one that ends in LogSoftmax is as it is.

    Raises:
        DataError: labels of another shape.
    """
    log_p = _log_probabilities(given)
    labels = given.labels
    if labels.is_floating_point() and labels.shape == log_p.shape:
        return -(labels * log_p).sum(-1).mean()
    classes_last = _classes_last(log_p, labels, given)
    return F.nll_loss(classes_last.reshape(-1, classes_last.shape[-1]), labels.reshape(-1).long(), ignore_index=IGNORED)


def nll(given: Prediction) -> Tensor:
    """Cross-entropy of an output that is log-probabilities already, whatever its last operator is.

    Raises:
        DataError: labels of another shape.
    """
    return cross_entropy(Prediction(given.output, given.labels, "log_probabilities", given.lengths, given.name))


def bce(given: Prediction) -> Tensor:
    """Mean binary cross-entropy with labels from 0 to 1; of logits, or of probabilities where the output ends in Sigmoid.

    Raises:
        DataError: labels of another shape.
    """
    labels = _same_shape(given).to(given.output.dtype)
    if given.scale == "logits":
        return F.binary_cross_entropy_with_logits(given.output, labels)
    return F.binary_cross_entropy(given.output, labels)


def mse(given: Prediction) -> Tensor:
    """Mean squared difference.

    Raises:
        DataError: labels of another shape.
    """
    return F.mse_loss(given.output, _same_shape(given).to(given.output.dtype))


def l1(given: Prediction) -> Tensor:
    """Mean absolute difference.

    Raises:
        DataError: labels of another shape.
    """
    return F.l1_loss(given.output, _same_shape(given).to(given.output.dtype))


def cosine(given: Prediction) -> Tensor:
    """One minus the mean cosine between the rows of output and labels, each row as one vector.

    Raises:
        DataError: labels of another shape.
    """
    labels = _same_shape(given).to(given.output.dtype)
    rows = len(given.output)
    return 1 - F.cosine_similarity(given.output.reshape(rows, -1), labels.reshape(rows, -1), dim=1).mean()


def ctc(given: Prediction) -> Tensor:
    """Connectionist temporal classification (Graves et al., 2006) with blank 0, mean over rows of the loss by label.

    The output is `[N, T, C]` (or `[T, N, C]`), the labels `[N, S]`, padded with -1. The lengths of the output's sequences come as
    `lengths` in the batch; T where they do not.

    Raises:
        DataError: labels of another shape, or a row whose labels do not fit in its frames.
    """
    log_p = _log_probabilities(given)
    labels = given.labels
    if log_p.ndim != 3 or labels.ndim != 2 or len(labels) not in log_p.shape[:2]:
        raise _misfit(given, "an output [N, T, C] and labels [N, S]")
    frames_first = log_p.transpose(0, 1) if len(labels) == log_p.shape[0] else log_p
    frames, rows, _ = frames_first.shape
    known = labels != PADDING
    label_lengths = known.sum(1)
    lengths = torch.full((rows,), frames, device=log_p.device) if given.lengths is None else given.lengths.long()
    repeats = ((labels[:, 1:] == labels[:, :-1]) & known[:, 1:]).sum(1)
    short = (label_lengths + repeats > lengths).nonzero()
    if len(short):
        row = int(short[0])
        raise DataError(
            f"Row {row} has {int(label_lengths[row])} labels (and {int(repeats[row])} repeats), and only {int(lengths[row])} frames.",
            place=f"ctc of {given.name}",
            remedy="Leave such rows out, or give more frames.",
        )
    return F.ctc_loss(frames_first.float(), labels.clamp_min(0), lengths, label_lengths)


LOSSES: Mapping[str, NamedLoss] = MappingProxyType(
    {"cross_entropy": cross_entropy, "nll": nll, "bce": bce, "mse": mse, "l1": l1, "cosine": cosine, "ctc": ctc}
)
"""By name."""


def _log_probabilities(given: Prediction) -> Tensor:
    """Log-probabilities, in float32 at least; classes on the axis where the output has them."""
    output = given.output if given.output.dtype == torch.float64 else given.output.float()
    if given.scale == "log_probabilities":
        return output
    if given.scale == "probabilities":
        return output.clamp_min(torch.finfo(output.dtype).tiny).log()
    return F.log_softmax(output, 1 if _on_second_axis(given) else -1)


def _on_second_axis(given: Prediction) -> bool:
    """True of `[N, C, ...]` with labels `[N, ...]` that do not fit the last axis."""
    shape, labels = given.output.shape, given.labels.shape
    return labels != shape[:-1] and labels != shape and len(shape) > 2 and labels == (shape[0], *shape[2:])


def _classes_last(log_p: Tensor, labels: Tensor, given: Prediction) -> Tensor:
    if labels.is_floating_point():
        raise _misfit(given, "class indexes (integers), or probabilities of the output's shape")
    if _on_second_axis(given):
        return log_p.movedim(1, -1)
    if labels.shape != log_p.shape[:-1] and labels.numel() * log_p.shape[-1] != log_p.numel():
        raise _misfit(given, "one class index for each row")
    return log_p


def _same_shape(given: Prediction) -> Tensor:
    """The labels in the output's shape: `[N]` fits `[N, 1]`; nothing is broadcast, which hides mistakes."""
    if given.labels.shape == given.output.shape:
        return given.labels
    squeezed = [[size for size in tensor.shape if size != 1] for tensor in (given.labels, given.output)]
    if squeezed[0] != squeezed[1]:
        raise _misfit(given, "labels of the output's shape")
    return given.labels.reshape(given.output.shape)


def _misfit(given: Prediction, expected: str) -> DataError:
    shapes = f"{list(given.labels.shape)} ({given.labels.dtype}) do not fit the output {list(given.output.shape)}"
    return DataError(f"Labels {shapes}.", place=f"loss of {given.name}", remedy=f"Give {expected}.")
