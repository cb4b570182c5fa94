"""Factors go into the weights that they scale; two factors on one path become one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import DataType

from netwright.ir.editor import Editor, can_replace
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import (
    dims_of,
    fusion,
    only_reader,
    opset_of,
    other_input,
    producer,
    reader,
    readers,
    scalar,
    scaled_by,
    split_constant,
)
from netwright.passes.simplify.parameters import Linear, linear, multiply, per_channel, refusal, scale

_SEE_THROUGH = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Expand")
"""Operators that a factor of one number passes."""

_MOST_STEPS = 8

_ATTENTION = 23
"""First opset with Attention, which takes the factors of its scores itself."""


@dataclass(frozen=True, slots=True)
class Absorber:
    """Where a factor can go instead.

    Attributes:
        fold: makes the change there.
        where: the name of what takes the factor, for the ledger.
    """

    fold: Callable[[Editor], object]
    where: str


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of the last axis that a factor applies to, after a Split."""

    start: int
    stop: int
    total: int


@fusion("Mul", "Div")
def fold_scale(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """A constant factor goes into the weight (and bias) of the Conv, Gemm, MatMul or norm before it."""
    source, inverse = _factor(node)
    if source is None or inverse is None or source.producer() is None or not is_float(source.dtype):
        return None
    factor_value, divides = inverse
    number = scalar(factor_value, source)
    if number is not None:
        if divides and number == 0.0:
            return None
        return _fold_number(node, source, 1.0 / number if divides else number, program)
    return _fold_channels(node, source, factor_value, divides, program)


def _factor(node: onnx_ir.Node) -> tuple[onnx_ir.Value | None, tuple[onnx_ir.Value, bool] | None]:
    split = split_constant(node)
    if split is None or (node.op_type == "Div" and split[1] is not node.inputs[1]):
        return None, None
    return split[0], (split[1], node.op_type == "Div")


# ---- one factor per channel ---------------------------------------------------------------------------------------


def _fold_channels(
    node: onnx_ir.Node, source: onnx_ir.Value, value: onnx_ir.Value, divides: bool, program: Program
) -> Rewrite | Miss | None:
    bias = producer(source, "Add")
    biased = split_constant(bias) if bias is not None else None
    found = linear((biased[0] if biased is not None else source).producer(), program)
    if found is None:
        return None
    factor = per_channel(value, found)
    if factor is None or (divides and not factor.all()):
        return None
    factor = 1.0 / factor if divides else factor
    if biased is not None and per_channel(biased[1], found) is None:
        return None
    reason = _blocked(found, source, biased, program, factor)
    if reason:
        return Miss(f"factor of {found.node.op_type} %{found.output.name}: {reason}", site_of(node))
    return _drop(
        node,
        source,
        lambda editor: _scale_all(editor, found, bias, factor),
        f"factor into the weights of {found.node.op_type} %{found.output.name}",
    )


def _blocked(
    found: Linear, source: onnx_ir.Value, biased: tuple[onnx_ir.Value, onnx_ir.Value] | None, program: Program, factor: np.ndarray
) -> str:
    for value in (source,) if biased is None else (source, biased[0]):
        if only_reader(value) is None:
            return readers(value)
    if biased is not None:
        tensor = constant(biased[1])
        if tensor is not None and len(tensor.shape) >= 2 and len(biased[1].uses()) > 1:
            return f"the bias is tied: {readers(biased[1])}"
    return refusal(found, program, factor)


def _scale_all(editor: Editor, found: Linear, bias: onnx_ir.Node | None, factor: np.ndarray) -> None:
    """Scale the weights, and the constant of an Add after them."""
    scale(editor, found, factor)
    if bias is None:
        return
    index = 0 if constant(bias.inputs[0]) is not None else 1
    value = bias.inputs[index]
    tensor = constant(value)
    if value is None or tensor is None:
        return
    if tensor.size == 1 and factor.size > 1:
        numbers = np.broadcast_to(tensor.numpy().reshape(-1), factor.shape).copy()
        fresh = editor.at(bias).constant(numbers.reshape(_along_channels(found, factor.size)), value.name or "")
        editor.set_input(bias, index, fresh)
        tensor = constant(fresh)
    dims = [1] * len(tensor.shape) if tensor is not None else [1]
    if factor.size > 1 and tensor is not None:
        dims[[int(dim) for dim in tensor.shape.numpy()].index(factor.size)] = factor.size
    multiply(editor, bias, index, factor.reshape(dims))


def _along_channels(found: Linear, channels: int) -> tuple[int, ...]:
    return (channels,) if found.kind.channel == -1 else (channels, *(1 for _ in found.shape[2:]))


# ---- one number for all -------------------------------------------------------------------------------------------


def _fold_number(node: onnx_ir.Node, source: onnx_ir.Value, number: float, program: Program) -> Rewrite | Miss | None:
    if number == 1.0 or not math.isfinite(number) or _belongs_to_scores(node, program):
        return None
    found = _absorber(source, number, program)
    if found is None:
        return None
    if isinstance(found, str):
        return Miss(f"factor {number:g}: {found}", site_of(node))
    return _drop(node, source, found.fold, f"factor {number:g} into {found.where}")


def _belongs_to_scores(node: onnx_ir.Node, program: Program) -> bool:
    """True of factors that another rule takes first: one of a pair on both sides of a MatMul, or Attention's scale."""
    product = reader(node.outputs[0], "MatMul")
    if product is None:
        return False
    other = other_input(product, node.outputs[0])
    if scaled_by(other) is not None and other is not None and only_reader(other) is product:
        return True
    return opset_of(node, program) >= _ATTENTION and feeds_softmax(product)


def feeds_softmax(node: onnx_ir.Node) -> bool:
    """Whether a product becomes the scores of an attention: a Softmax follows, perhaps after a scale and a mask."""
    for _ in range(3):
        follower = reader(node.outputs[0], "Add", "Mul", "Div", "Softmax")
        if follower is None:
            return False
        if follower.op_type == "Softmax":
            return True
        node = follower
    return False


def _absorber(value: onnx_ir.Value, number: float, program: Program) -> Absorber | str | None:
    """Walk up from a value that is multiplied by a number to what can take the factor.

    Returns:
        What takes it; or why what was found cannot; or None where there is nothing of the sort.
    """
    segment: Segment | None = None
    for _ in range(_MOST_STEPS):
        node = value.producer()
        if node is None:
            return None
        absorbed = _at(node, value, number, segment, program)
        if absorbed is not None:
            return absorbed
        if node.domain or len(value.uses()) > 1 or value.is_graph_output():
            return None
        if node.op_type in _SEE_THROUGH and segment is None:
            pass
        elif node.op_type == "Split" and segment is None:
            segment = _segment(node, value)
            if segment is None:
                return None
        elif node.op_type == "MatMul" and segment is None:
            return _either(node, number, program)
        else:
            return None
        before = node.inputs[0]
        if before is None:
            return None
        value = before
    return None


def _either(node: onnx_ir.Node, number: float, program: Program) -> Absorber | str | None:
    """A factor of a product may go to either side: the left one first."""
    reason: str | None = None
    for side in node.inputs:
        found = _absorber(side, number, program) if side is not None and constant(side) is None else None
        if isinstance(found, Absorber):
            return found
        reason = reason or found
    return reason


def _at(node: onnx_ir.Node, value: onnx_ir.Value, number: float, segment: Segment | None, program: Program) -> Absorber | str | None:
    """What takes the factor at this node: another factor, a linear operator, or the bias after one."""
    if node.op_type in ("Mul", "Div") and segment is None and scaled_by(value) is not None:
        made = _product_of_factors(node, number) if only_reader(value) is not None else None
        return None if made is None else Absorber(lambda editor: _multiply_factor(editor, node, made), f"the factor at %{value.name}")
    bias = node if node.op_type == "Add" and not node.domain else None
    biased = split_constant(bias) if bias is not None else None
    if bias is not None and biased is None:
        return None
    found = linear((biased[0] if biased is not None else value).producer(), program)
    if found is None:
        return None
    if segment is not None and (found.kind.channel != -1 or segment.total != found.channels):
        return None
    factor = np.full(found.channels, number)
    if segment is not None:
        factor = np.ones(found.channels)
        factor[segment.start : segment.stop] = number
    if biased is not None and per_channel(biased[1], found) is None:
        return None
    reason = _blocked(found, value, biased, program, factor)
    if reason:
        return reason
    return Absorber(lambda editor: _scale_all(editor, found, bias, factor), f"the weights of {found.node.op_type} %{found.output.name}")


def _segment(node: onnx_ir.Node, value: onnx_ir.Value) -> Segment | None:
    """Which part of its input's last axis one output of a Split is."""
    dims = rank(node.inputs[0])
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    if dims is None or axis not in (-1, dims - 1):
        return None
    if node.inputs[0] is None or only_reader(node.inputs[0]) is not node:
        return None
    sizes: list[int] = []
    for output in node.outputs:
        shape = dims_of(output)
        size = shape[-1] if shape else None
        if not isinstance(size, int):
            return None
        sizes.append(size)
    index = next(i for i, output in enumerate(node.outputs) if output is value)
    start = sum(sizes[:index])
    return Segment(start, start + sizes[index], sum(sizes))


def _product_of_factors(node: onnx_ir.Node, number: float) -> np.ndarray | None:
    """The constant of a Mul times a number, or that of a Div over it; None where its type cannot hold the result."""
    index = 0 if constant(node.inputs[0]) is not None else 1
    tensor, old = constant(node.inputs[index]), scalar(node.inputs[index], node.inputs[1 - index])
    if tensor is None or old is None or (node.op_type == "Div" and number == 0.0):
        return None
    exact = snapped(old * number if node.op_type == "Mul" else old / number)
    with np.errstate(all="ignore"):
        made = np.full([int(dim) for dim in tensor.shape.numpy()], exact, tensor.dtype.numpy())
    found = float(made.reshape(-1)[0])
    return made if np.isfinite(found) and abs(found - exact) <= 1e-3 * abs(exact) else None


def _multiply_factor(editor: Editor, node: onnx_ir.Node, made: np.ndarray) -> None:
    """Put another constant in the place of that of a Mul or Div."""
    index = 0 if constant(node.inputs[0]) is not None else 1
    value = node.inputs[index]
    name = value.name if value is not None else None
    editor.set_input(node, index, editor.at(node).constant(made, name or "factor"))


def snapped(number: float) -> float:
    """The power of two that a number misses by float32 rounding only (√s·√s is not quite s), else the number."""
    if number == 0.0 or not math.isfinite(number):
        return number
    power = math.copysign(2.0 ** round(math.log2(abs(number))), number)
    return power if abs(number - power) <= 2.0**-22 * abs(power) else number


def _drop(node: onnx_ir.Node, source: onnx_ir.Value, fold: Callable[[Editor], object], why: str) -> Rewrite | None:
    if not can_replace(node.outputs[0], source):
        return None

    def change(editor: Editor) -> None:
        fold(editor)
        editor.at(node).replace(node.outputs[0], source)

    return Rewrite.edit(site_of(node), why, change, anchor=node)


# ---- factors on both sides of a product ---------------------------------------------------------------------------


@fusion("MatMul")
def merge_factors(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """`(a·s) @ (b·t)` becomes `(a·st) @ b`."""
    left, right = node.inputs
    first, second = scaled_by(left), scaled_by(right)
    if first is None or second is None or left is None or right is None:
        return None
    if only_reader(left) is not node or only_reader(right) is not node:
        return None
    if opset_of(node, program) >= _ATTENTION and feeds_softmax(node):
        return None
    scaled = left.producer()
    if scaled is None or left.dtype not in (DataType.FLOAT, DataType.DOUBLE):
        return None
    made = _product_of_factors(scaled, second[1])
    if made is None:
        return None

    def change(editor: Editor) -> None:
        _multiply_factor(editor, scaled, made)
        editor.at(node).set_input(node, 1, second[0])

    return Rewrite.edit(site_of(node), f"factors {first[1]:g} and {second[1]:g} on both sides become one", change, anchor=node)


RULES: tuple[Rule, ...] = (merge_factors, fold_scale)
