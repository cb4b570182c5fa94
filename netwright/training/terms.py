"""What a user may give as a loss, made into one function of outputs and batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.training.errors import TrainingError
from netwright.training.losses import LOSSES, NamedLoss, Prediction, Scale
from netwright.training.objective import Loss, TorchBatch

Outputs: TypeAlias = Mapping[str, Tensor]
LossFunction: TypeAlias = Callable[[Outputs, TorchBatch], Tensor]
"""From outputs by name and the batch to a scalar."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a loss.

    Attributes:
        loss: a name in `LOSSES`.
        output: name of the output; the first where not given.
        labels: name of the labels in the batch; found as `labels_key` says where not given.
        weight: factor.
    """

    loss: str
    output: str | None = None
    labels: str | None = None
    weight: float = 1.0


LossLike: TypeAlias = str | Term | LossFunction | Sequence[Term] | Mapping[str, str | tuple[str, float]]
"""A name in `LOSSES`, for the first output; a function of (outputs, batch); by output name a loss's name, or that and a weight; or
terms, that say all of it."""

BatchLoss: TypeAlias = Callable[[Outputs, TorchBatch], Loss]

_SCALES: Mapping[str, Scale] = MappingProxyType({"Softmax": "probabilities", "Sigmoid": "probabilities", "LogSoftmax": "log_probabilities"})
_PASSING = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})


def batch_loss(loss: LossLike, program: Program) -> BatchLoss:
    """One function of outputs and batch for whatever was given as a loss.

    Args:
        loss: see `LossLike`.
        program: whose outputs are meant.

    Raises:
        TrainingError: an unknown loss or output.
    """
    if callable(loss):
        function = loss
        return lambda outputs, batch: Loss(_scalar(function(outputs, batch)))
    terms = _terms(loss)
    names = [value.name or "" for value in program.outputs]
    inputs = frozenset(value.name or "" for value in program.graph.inputs)
    parts = [_Part(term, *_resolved(term, names), output_scale(program, term.output or names[0]), inputs) for term in terms]

    def total(outputs: Outputs, batch: TorchBatch) -> Loss:
        values = [part.value(outputs, batch, index, len(parts)) for index, part in enumerate(parts)]
        summed = values[0] if len(values) == 1 else torch.stack(values).sum()
        titles = [part.output for part in parts]
        return Loss(summed, dict(zip(titles, (value.detach() for value in values), strict=True)) if len(parts) > 1 else {})

    return total


def describe_loss(loss: LossLike) -> str:
    """A loss in words, the same for the same loss."""
    if callable(loss):
        return str(getattr(loss, "__qualname__", type(loss).__qualname__))
    return ", ".join(
        f"{'' if term.weight == 1.0 else f'{term.weight:g} '}{term.loss}({term.output or 'first output'}, {term.labels or 'labels'})"
        for term in _terms(loss)
    )


def labels_key(batch: Mapping[str, object], inputs: frozenset[str], output: str, index: int, count: int) -> str:
    """The name under which a batch has the labels of an output.

    That is, the first there is of: `labels_OUTPUT`; `labels`, or else the only thing that is no input, where the loss has one part;
    `labels_0`, `labels_1` … by the order of the parts (so come the labels of tuples).

    Raises:
        DataError: there is none.
    """
    extras = [name for name in batch if name not in inputs]
    wanted = [f"labels_{output}", *(["labels"] if count == 1 else []), f"labels_{index}"]
    found = next((name for name in wanted if name in extras), None)
    if found is None and count == 1 and len(extras) == 1:
        found = extras[0]
    if found is None:
        raise DataError(
            f"The batch has no labels for {output!r}: beside the inputs it has {', '.join(extras) or 'nothing'}.",
            place="loss",
            remedy=f"Add an array named {' or '.join(wanted)}, or name it: Term(loss, output, labels).",
        )
    return found


def output_scale(program: Program, output: str) -> Scale:
    """What an output's numbers are, from the operator that makes it; what only moves or casts values is looked through."""
    value = next(value for value in program.outputs if value.name == output)
    producer = value.producer()
    while producer is not None and producer.op_type in _PASSING and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    return "logits" if producer is None else _SCALES.get(producer.op_type, "logits")


@dataclass(frozen=True, slots=True)
class _Part:
    term: Term
    loss: NamedLoss
    output: str
    scale: Scale
    inputs: frozenset[str]

    def value(self, outputs: Outputs, batch: TorchBatch, index: int, count: int) -> Tensor:
        key = self.term.labels or labels_key(batch, self.inputs, self.output, index, count)
        if key not in batch:
            raise DataError(f"The batch has no {key!r}.", place="loss", remedy=f"It has {', '.join(batch)}.")
        given = Prediction(outputs[self.output], batch[key], self.scale, batch.get("lengths"), self.output)
        found = self.loss(given)
        return found if self.term.weight == 1.0 else found * self.term.weight


def _terms(loss: str | Term | Sequence[Term] | Mapping[str, str | tuple[str, float]]) -> list[Term]:
    if isinstance(loss, str):
        return [Term(loss)]
    if isinstance(loss, Term):
        return [loss]
    if isinstance(loss, Mapping):
        pairs = {output: (given, 1.0) if isinstance(given, str) else given for output, given in loss.items()}
        return [Term(name, output, weight=weight) for output, (name, weight) in pairs.items()]
    return list(loss)


def _resolved(term: Term, outputs: list[str]) -> tuple[NamedLoss, str]:
    found = LOSSES.get(term.loss)
    if found is None:
        raise TrainingError(
            f"There is no loss named {term.loss}.",
            place="loss",
            remedy=f"Built in: {', '.join(LOSSES)}; or give a function of (outputs, batch).",
        )
    if term.output is not None and term.output not in outputs:
        raise TrainingError(f"The program has no output {term.output!r}.", place="loss", remedy=f"Its outputs: {', '.join(outputs)}.")
    return found, term.output or outputs[0]


def _scalar(found: object) -> Tensor:
    if not isinstance(found, Tensor) or found.numel() != 1:
        what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise TrainingError(f"The loss function gave {what}.", place="loss", remedy="Give back a tensor with one number, such as a mean.")
    return found.reshape(())
