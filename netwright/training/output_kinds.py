"""How a program's outputs are compared with a teacher's: what they are tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import onnx_ir

from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program, constant
from netwright.ir.shapes import shape_of
from netwright.training.compressors.sites import head_nodes
from netwright.training.errors import TrainingError
from netwright.training.likeness import OutputKind
from netwright.training.losses import Scale
from netwright.training.terms import LossLike, Term, output_scale

OutputsLike: TypeAlias = "Literal['auto', 'soft', 'mse', 'cosine'] | Mapping[str, OutputKind]"
"""One way for all outputs, or one for each by name; `auto` decides for each."""

KINDS: tuple[OutputKind, ...] = ("soft", "mse", "cosine")

_MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BY_LOSS: Mapping[str, OutputKind] = {
    "cross_entropy": "soft",
    "nll": "soft",
    "bce": "soft",
    "ctc": "soft",
    "mse": "mse",
    "l1": "mse",
    "cosine": "cosine",
}


@dataclass(frozen=True, slots=True)
class OutputTerm:
    """How one output is compared.

    Attributes:
        kind: soft targets, squared difference, or cosine.
        scale: what its numbers are.
        binary: whether each of its numbers is a probability of its own.
    """

    kind: OutputKind
    scale: Scale = "logits"
    binary: bool = False


def output_term(program: Program, output: str, outputs: OutputsLike, loss: LossLike | None) -> OutputTerm:
    """How to compare an output.

    `auto` goes by the loss on labels, if it has a name; by a Softmax, LogSoftmax or Sigmoid at the end; and else by what makes the
    output: a linear layer of two columns and more gives logits, anything else is compared by squares.

    Raises:
        TrainingError: a kind that does not exist.
    """
    named = outputs if isinstance(outputs, str) else outputs.get(output, "auto")
    if named not in (*KINDS, "auto"):
        raise TrainingError(f"There is no comparison named {named!r}.", place="outputs", remedy=f"Give auto, {', '.join(KINDS)}.")
    last = _last(program, output)
    scale, binary = output_scale(program, output), last is not None and is_standard(last, "Sigmoid")
    if named != "auto":
        return OutputTerm(named, scale, binary)
    of_loss = _of_loss(program, output, loss)
    if of_loss is not None:
        return OutputTerm(of_loss, scale, binary or "bce" in _names(loss))
    if scale != "logits":
        return OutputTerm("soft", scale, binary)
    return OutputTerm("soft" if _is_head(program, output, last) else "mse")


def _of_loss(program: Program, output: str, loss: LossLike | None) -> OutputKind | None:
    first = program.outputs[0].name or ""
    for term in _terms(loss):
        if (term.output or first) == output:
            return _BY_LOSS.get(term.loss)
    return None


def _terms(loss: LossLike | None) -> list[Term]:
    if loss is None or callable(loss):
        return []
    if isinstance(loss, str):
        return [Term(loss)]
    if isinstance(loss, Term):
        return [loss]
    if isinstance(loss, Mapping):
        return [Term(given if isinstance(given, str) else given[0], output) for output, given in loss.items()]
    return list(loss)


def _names(loss: LossLike | None) -> list[str]:
    return [term.loss for term in _terms(loss)]


def _last(program: Program, output: str) -> onnx_ir.Node | None:
    """The node that computes an output; what only moves it is looked through."""
    value: onnx_ir.Value | None = next(value for value in program.outputs if value.name == output)
    while value is not None and (node := value.producer()) is not None:
        if not (is_standard(node) and node.op_type in _MOVES):
            return node
        value = node.inputs[0]
    return None


def _is_head(program: Program, output: str, last: onnx_ir.Node | None) -> bool:
    """True where a linear layer, perhaps with a bias, gives two columns and more."""
    if last is not None and is_standard(last, "Add"):
        computed = [value for value in last.inputs if value is not None and constant(value) is None]
        last = computed[0].producer() if len(computed) == 1 else None
    shape = shape_of(next(value for value in program.outputs if value.name == output))
    columns = shape[-1] if shape else None
    linear = last is not None and is_standard(last, "MatMul", "Gemm") and last in head_nodes(program)
    return linear and columns != 1
