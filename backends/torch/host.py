"""Arithmetic on shapes, in Python numbers.

Shapes, sizes and axes are integers that the graph computes from the sizes of tensors. Done on tensors they would cost a
kernel each and hide from `torch.compile`; here they are Python ints (or torch's symbolic ones), a list of them for a
tensor of rank 1. Results are those of the ONNX operators on tensors of rank 0 and 1.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar
from typing import cast as cast_type

import onnx_ir
import torch

from netwright.backends.torch.held import Literal, Number

F = TypeVar("F", bound=Callable[..., object])

HOST_OPS: dict[str, Callable[..., object]] = {}
"""What computes each standard operator on Python numbers; keyword arguments are its attributes."""

LARGEST = 64
"""Constants of more elements stay tensors."""

LONGEST_FILL = 4096
"""One number repeated more often than this stays a tensor."""


def host_op(*op_types: str) -> Callable[[F], F]:
    """Register a function for operators."""

    def register(function: F) -> F:
        HOST_OPS.update(dict.fromkeys(op_types, function))
        return function

    return register


def shape_of(x: torch.Tensor, start: int = 0, end: int | None = None) -> list[int]:
    """Sizes of a tensor's axes from `start` to before `end`, as `Shape` takes them."""
    return list(x.shape)[start:end]


def size_of(x: torch.Tensor) -> int:
    """Number of elements."""
    return x.numel()


def device_of(x: object) -> torch.device:
    """Where a tensor is, or the first tensor of a sequence; the CPU for an empty one."""
    if isinstance(x, torch.Tensor):
        return x.device
    return device_of(cast_type("list[object]", x)[0]) if isinstance(x, list) and x else torch.device("cpu")


def to_host(x: torch.Tensor) -> Literal:
    """The numbers in a tensor of rank 0 or 1: what data decides, which a compiled graph cannot follow."""
    return cast_type("Literal", x.tolist())


def from_host(value: Literal, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of Python numbers."""
    return torch.tensor(value, dtype=dtype, device=device)


# ---- moving ------------------------------------------------------------------------------------------------------


@host_op("Identity")
def identity(x: Literal) -> Literal:
    """The numbers themselves."""
    return x


@host_op("Gather")
def gather(data: Sequence[Number], indices: Literal, *, axis: int = 0) -> Literal:
    """The elements at some places."""
    return [data[int(index)] for index in indices] if isinstance(indices, list) else data[int(indices)]


@host_op("Slice")
def slice_(data: Sequence[Number], starts: Literal, ends: Literal, axes: Literal | None = None, steps: Literal | None = None) -> Literal:
    """The elements from `starts` to before `ends`."""
    start, end, step = _single(starts), _single(ends), 1 if steps is None else _single(steps)
    count = len(data)
    first = _clamped(start, count, 0, count if step > 0 else count - 1)
    last = _clamped(end, count, 0 if step > 0 else -1, count if step > 0 else count - 1)
    return [data[index] for index in range(first, last, step)]


@host_op("Concat")
def concat(*parts: Sequence[Number], axis: int = 0) -> Literal:
    """All the elements, part after part."""
    return [element for part in parts for element in part]


@host_op("Unsqueeze")
def unsqueeze(x: Number, axes: Literal | None = None) -> Literal:
    """One number as a list of it."""
    return [x]


@host_op("Squeeze")
def squeeze(x: Literal, axes: Literal | None = None) -> Literal:
    """A list of one as that number; a longer list cannot be squeezed."""
    return x[0] if isinstance(x, list) and len(x) == 1 else x


@host_op("Reshape")
def reshape(x: Literal, shape: Sequence[int], *, allowzero: int = 0) -> Literal:
    """A number as a list of one, a list of one as a number, a list as it is."""
    return x[0] if isinstance(x, list) and not shape else [x] if not isinstance(x, list) and shape else x


@host_op("Split")
def split(x: Sequence[Number], sizes: Sequence[int] | None = None, *, axis: int = 0, num_outputs: int = 0) -> tuple[Literal, ...]:
    """The list in pieces."""
    length = -(-len(x) // num_outputs) if sizes is None else 0
    counts = sizes if sizes is not None else [min(length, len(x) - length * index) for index in range(num_outputs)]
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return tuple(list(x[start : start + count]) for start, count in zip(starts, counts, strict=True))


@host_op("ConstantOfShape")
def constant_of_shape(shape: Sequence[int], *, value: Number = 0.0) -> Literal:
    """A number, so many times over."""
    return [value] * shape[0] if shape else value


@host_op("Expand")
def expand(x: Literal, shape: Sequence[int]) -> Literal:
    """A number repeated, or a list of one; a longer list as it is."""
    numbers = x if isinstance(x, list) else [x]
    return numbers * shape[0] if shape and len(numbers) == 1 else numbers if shape else x


@host_op("Where")
def where(condition: Literal, x: Literal, y: Literal) -> Literal:
    """`x` where the condition holds, else `y`."""
    return _each(_chosen, condition, x, y)


# ---- arithmetic --------------------------------------------------------------------------------------------------


@host_op("Add")
def add(x: Literal, y: Literal) -> Literal:
    """X + y."""
    return _pairwise(lambda a, b: _rounded(a + b), x, y)


@host_op("Sub")
def subtract(x: Literal, y: Literal) -> Literal:
    """X - y."""
    return _pairwise(lambda a, b: _rounded(a - b), x, y)


@host_op("Mul")
def multiply(x: Literal, y: Literal) -> Literal:
    """X · y."""
    return _pairwise(lambda a, b: _rounded(a * b), x, y)


@host_op("Div")
def divide(x: Literal, y: Literal) -> Literal:
    """X / y; integers are rounded towards zero."""
    return _pairwise(_quotient, x, y)


@host_op("Mod")
def modulo(x: Literal, y: Literal, *, fmod: int = 0) -> Literal:
    """The remainder, with the sign of `y`, or of `x` with `fmod`."""
    return _pairwise(math.fmod if fmod else operator.mod, x, y)


@host_op("Min")
def minimum(*parts: Literal) -> Literal:
    """The smallest, element by element."""
    return _each(_least, *parts)


@host_op("Max")
def maximum(*parts: Literal) -> Literal:
    """The largest, element by element."""
    return _each(_most, *parts)


@host_op("Neg")
def negate(x: Literal) -> Literal:
    """-x."""
    return _singly(lambda a: -a, x)


@host_op("Abs")
def absolute(x: Literal) -> Literal:
    """|x|."""
    return _singly(abs, x)


@host_op("Floor")
def floor(x: Literal) -> Literal:
    """The next integer below, still a float."""
    return _singly(lambda a: float(math.floor(a)), x)


@host_op("Ceil")
def ceil(x: Literal) -> Literal:
    """The next integer above, still a float."""
    return _singly(lambda a: float(math.ceil(a)), x)


@host_op("Sqrt")
def square_root(x: Literal) -> Literal:
    """√x."""
    return _singly(lambda a: _rounded(a**0.5), x)


@host_op("Reciprocal")
def reciprocal(x: Literal) -> Literal:
    """1 / x."""
    return _singly(lambda a: _quotient(1.0, a), x)


@host_op("ReduceProd")
def product(x: Literal, axes: Literal | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Literal:
    """The product of all elements."""
    return _reduced(lambda a, b: a * b, x, keepdims, empty=1)


@host_op("ReduceSum")
def total(x: Literal, axes: Literal | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Literal:
    """The sum of all elements."""
    return _reduced(lambda a, b: a + b, x, keepdims, empty=0)


@host_op("ReduceMax")
def largest(x: Literal, axes: Literal | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Literal:
    """The largest element."""
    return _reduced(lambda a, b: b if a < b else a, x, keepdims)


@host_op("ReduceMin")
def smallest(x: Literal, axes: Literal | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Literal:
    """The smallest element."""
    return _reduced(lambda a, b: a if a < b else b, x, keepdims)


# ---- comparison and logic ----------------------------------------------------------------------------------------


@host_op("Equal")
def equal(x: Literal, y: Literal) -> Literal:
    """X = y."""
    return _pairwise(lambda a, b: a == b, x, y)


@host_op("Less")
def less(x: Literal, y: Literal) -> Literal:
    """X < y."""
    return _pairwise(lambda a, b: a < b, x, y)


@host_op("LessOrEqual")
def less_or_equal(x: Literal, y: Literal) -> Literal:
    """X ≤ y."""
    return _pairwise(lambda a, b: a <= b, x, y)


@host_op("Greater")
def greater(x: Literal, y: Literal) -> Literal:
    """X > y."""
    return _pairwise(lambda a, b: a > b, x, y)


@host_op("GreaterOrEqual")
def greater_or_equal(x: Literal, y: Literal) -> Literal:
    """X ≥ y."""
    return _pairwise(lambda a, b: a >= b, x, y)


@host_op("Not")
def logical_not(x: Literal) -> Literal:
    """Not x."""
    return _singly(lambda a: not a, x)


@host_op("And")
def logical_and(x: Literal, y: Literal) -> Literal:
    """Both."""
    return _pairwise(lambda a, b: a and b, x, y)


@host_op("Or")
def logical_or(x: Literal, y: Literal) -> Literal:
    """Either."""
    return _pairwise(lambda a, b: a or b, x, y)


def cast(x: Literal, kind: str) -> Literal:
    """The numbers as `bool`, `int` or `float`; floats become integers by dropping the fraction."""
    return _singly(_CASTS[kind], x)


_CASTS: dict[str, Callable[[Number], Number]] = {
    "bool": lambda a: a != 0,
    "int": lambda a: math.trunc(a) if isinstance(a, float) else a + 0,
    "float": lambda a: _rounded(a * 1.0),
}


def cast_kind(dtype: onnx_ir.DataType) -> str | None:
    """How `cast` calls an element type; None for those that Python numbers do not stand for."""
    return _KINDS.get(dtype)


_KINDS = {
    onnx_ir.DataType.BOOL: "bool",
    onnx_ir.DataType.INT32: "int",
    onnx_ir.DataType.INT64: "int",
    onnx_ir.DataType.FLOAT: "float",
}


def _singly(function: Callable[[Number], Number], x: Literal) -> Literal:
    return [function(number) for number in x] if isinstance(x, list) else function(x)


def _pairwise(function: Callable[[Number, Number], Number], x: Literal, y: Literal) -> Literal:
    return _each(function, x, y)


def _chosen(holds: Number, one: Number, other: Number) -> Number:
    return one if holds else other


def _each(function: Callable[..., Number], *operands: Literal) -> Literal:
    """A function on numbers, element by element; single numbers, and lists of one, are repeated."""
    lists = [operand for operand in operands if isinstance(operand, list)]
    if not lists:
        return function(*operands)
    length = max(len(one) for one in lists) if all(lists) else 0
    rows = [
        operand * length
        if isinstance(operand, list) and len(operand) == 1
        else operand
        if isinstance(operand, list)
        else [operand] * length
        for operand in operands
    ]
    return [function(*numbers) for numbers in zip(*rows, strict=True)]


def _reduced(function: Callable[[Number, Number], Number], x: Literal, keepdims: int, *, empty: Number = 0) -> Literal:
    numbers = x if isinstance(x, list) else [x]
    found = _fold(function, numbers) if numbers else empty
    return [found] if keepdims and isinstance(x, list) else found


def _least(*numbers: Number) -> Number:
    return _fold(lambda a, b: a if a < b else b, numbers)


def _most(*numbers: Number) -> Number:
    return _fold(lambda a, b: b if a < b else a, numbers)


def _fold(function: Callable[[Number, Number], Number], numbers: Sequence[Number]) -> Number:
    result, *rest = numbers
    for number in rest:
        result = function(result, number)
    return result


def _quotient(a: Number, b: Number) -> Number:
    if isinstance(a, float) or isinstance(b, float):
        return _rounded(a / b) if b else a * math.inf
    return a // b if (a >= 0) == (b > 0) else -(-a // b)


def _rounded(number: Number) -> Number:
    """A float as float32 has it: a ceiling taken of a size times a scale depends on the last bit."""
    if not isinstance(number, float) or torch.compiler.is_compiling() or not math.isfinite(number):
        return number
    return struct.unpack("f", struct.pack("f", number))[0] if abs(number) < 3.4e38 else number


def _clamped(index: int, count: int, low: int, high: int) -> int:
    shifted = index + count if index < 0 else index
    return low if shifted < low else high if shifted > high else shifted


def _single(value: Literal) -> int:
    return cast_type("int", value[0] if isinstance(value, list) else value)
