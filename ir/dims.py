"""Arithmetic and comparison of dimensions: integers or symbolic expressions of named ones.

A named dimension stands for a number of at least zero. Unknown dimensions (`SymbolicDim(None)`) are equal to nothing,
not even to themselves. sympy is slow, so integers never reach it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

import onnx_ir
import sympy
from onnx_ir import SymbolicDim

Dim: TypeAlias = int | SymbolicDim

_WORD = re.compile(r"[^\W\d]\w*")

UNKNOWN = SymbolicDim(None)
"""A dimension of which nothing is known."""


def is_known(dim: Dim) -> bool:
    """True of integers and of expressions in named dimensions."""
    return isinstance(dim, int) or dim.value is not None


def dims_equal(a: Dim, b: Dim) -> bool:
    """True only where two dimensions are proven equal for every value of the names in them."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    if a.value is None or b.value is None:
        return False
    if a.value == b.value:
        return True
    if a.value.isidentifier() and b.value.isidentifier():
        return False
    left, right = expression(a), expression(b)
    if left is None or right is None or left.free_symbols != right.free_symbols:
        return False
    return bool(_expanded(left - right).is_zero)


def same_dims(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """True only where two lists of dimensions are proven equal, one by one."""
    return len(a) == len(b) and all(dims_equal(x, y) for x, y in zip(a, b, strict=True))


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a tensor with these dimensions; unknown where one of them is (unless another is 0)."""
    known = 1
    symbolic: list[SymbolicDim] = []
    for dim in dims:
        if isinstance(dim, int):
            known *= dim
        else:
            symbolic.append(dim)
    if not symbolic or known == 0:
        return known
    result: Dim = symbolic[0]
    for dim in symbolic[1:]:
        result = result * dim
    return result if known == 1 else as_dim(result * known)


def as_dim(dim: Dim) -> Dim:
    """The same dimension, as an integer if it is one."""
    if isinstance(dim, int) or dim.value is None:
        return dim
    if dim.value.lstrip("-").isdigit():
        return int(dim.value)
    return dim


def add(a: Dim, b: Dim) -> Dim:
    """A + b."""
    return as_dim(a + b)


def subtract(a: Dim, b: Dim) -> Dim:
    """A − b."""
    return as_dim(a - b)


def multiply(a: Dim, b: Dim) -> Dim:
    """A · b."""
    if a == 0 or b == 0:
        return 0
    return as_dim(a * b)


def divide_exactly(a: Dim, b: Dim) -> Dim:
    """A / b where the division provably leaves no rest, else unknown."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else UNKNOWN
    numerator, denominator = expression(a), expression(b)
    if numerator is None or denominator is None or denominator == 0:
        return UNKNOWN
    quotient = _cancelled(numerator / denominator)
    return from_expression(quotient) if quotient.as_numer_denom()[1] == 1 else UNKNOWN


def expression(dim: Dim) -> sympy.Expr | None:
    """The sympy expression of a dimension; None where it is unknown or its name is not an expression."""
    if isinstance(dim, int):
        return sympy.Integer(dim)
    try:
        return dim._expr  # pyright: ignore[reportPrivateUsage] - onnx_ir offers no public way to it
    except ValueError:
        return None


def from_expression(found: sympy.Expr) -> Dim:
    """The dimension that a sympy expression stands for."""
    return int(found) if found.is_Integer else SymbolicDim(found)


def proven_negative_free(dim: Dim) -> bool:
    """True where a dimension provably is at least zero, whatever its names stand for (a − 1 is not, for a may be 0)."""
    if isinstance(dim, int):
        return dim >= 0
    if dim.value is None:
        return False
    if dim.value.isidentifier():
        return True
    found = expression(dim)
    return found is not None and not found.has(sympy.Pow(-1, 1)) and _no_minus(found)


def _no_minus(found: sympy.Expr) -> bool:
    if found.is_Symbol:
        return True
    if found.is_number:
        return bool(found.is_nonnegative)
    parts = cast("tuple[sympy.Expr, ...]", found.args)
    if isinstance(found, (sympy.Add, sympy.Mul, sympy.Max, sympy.Min, sympy.floor, sympy.ceiling)):
        return all(_no_minus(part) for part in parts)
    return isinstance(found, sympy.Pow) and _no_minus(parts[0])


def largest(a: sympy.Expr | int, b: sympy.Expr | int) -> sympy.Expr:
    """The larger of two expressions."""
    return cast("sympy.Expr", sympy.Max(a, b))


def smallest(a: sympy.Expr | int, b: sympy.Expr | int) -> sympy.Expr:
    """The smaller of two expressions."""
    return cast("sympy.Expr", sympy.Min(a, b))


def _expanded(found: sympy.Expr) -> sympy.Expr:
    return cast("sympy.Expr", sympy.expand(found))  # pyright: ignore[reportUnknownMemberType] - sympy is half typed


def _cancelled(found: sympy.Expr) -> sympy.Expr:
    return cast("sympy.Expr", sympy.cancel(found))  # pyright: ignore[reportUnknownMemberType] - sympy is half typed


def proven_unequal(a: Dim, b: Dim) -> bool:
    """True only where two dimensions provably differ: different integers, or a negative one against one that cannot be."""
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    if isinstance(a, int):
        return a < 0 and proven_negative_free(b)
    return isinstance(b, int) and b < 0 and proven_negative_free(a)


def names_in(dims: Iterable[Dim]) -> set[str]:
    """The names that occur in dimensions."""
    found: set[str] = set()
    for dim in dims:
        if isinstance(dim, int) or dim.value is None:
            continue
        if dim.value.isidentifier():
            found.add(dim.value)
            continue
        parsed = expression(dim)
        if parsed is not None:
            found.update(str(symbol) for symbol in parsed.free_symbols)
    return found


def words_in(dims: Iterable[Dim]) -> set[str]:
    """All words in dimensions, names and functions alike: what no new name may be. Parses nothing."""
    return {word for dim in dims if not isinstance(dim, int) and dim.value is not None for word in _WORD.findall(dim.value)}


def evaluate(dim: Dim, bindings: Mapping[str, int]) -> int | None:
    """The value of a dimension where its names have the given values; None where one is missing."""
    if isinstance(dim, int):
        return dim
    if dim.value is None:
        return None
    if dim.value in bindings:
        return bindings[dim.value]
    if expression(dim) is None:
        return None
    result = dim.evaluate(bindings)
    return result if isinstance(result, int) else None


def shape_of(value: onnx_ir.Value | None) -> tuple[Dim, ...] | None:
    """A value's dimensions, or None where its rank is unknown."""
    if value is None or value.shape is None:
        return None
    return value.shape.dims
