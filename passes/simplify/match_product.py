"""Products followed from one factor to their end, and polynomials in one value: the forms that activations are written in."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.program import constant
from netwright.passes.simplify.match import other_input, producer, reader, scalar, scaled_by

_MOST_FACTORS = 4
_MOST_DEPTH = 8
_HIGHEST_POWER = 3


@dataclass(frozen=True, slots=True)
class Product:
    """`number · other · start`.

    Attributes:
        number: the constant factor.
        other: the variable factor beside the one started from, or None.
        root: the last node of the product.
        nodes: all its nodes.
    """

    number: float
    other: onnx_ir.Value | None
    root: onnx_ir.Node
    nodes: tuple[onnx_ir.Node, ...]


def products(start: onnx_ir.Value) -> list[Product]:
    """The products that `start` goes into, shortest first: one for each Mul or Div by which the product grows."""
    found: list[Product] = []
    number, other, nodes, value = 1.0, None, list[onnx_ir.Node](), start
    while len(nodes) < _MOST_FACTORS:
        node = reader(value, "Mul", "Div")
        factor = None if node is None else other_input(node, value)
        if node is None or factor is None:
            break
        constant_factor = scalar(factor, value)
        nodes.append(node)
        if constant_factor is not None:
            if node.op_type == "Div" and (node.inputs[1] is value or constant_factor == 0.0):
                break
            number = number * constant_factor if node.op_type == "Mul" else number / constant_factor
        elif other is None and node.op_type == "Mul" and constant(factor) is None:
            other = factor
        else:
            break
        value = node.outputs[0]
        found.append(Product(number, other, node, tuple(nodes)))
    return found


def with_scaled_factor(product: Product) -> list[Product]:
    """The product itself, and with a number taken out of its variable factor (`x · 0.5` is a factor x and a number)."""
    if product.other is None or (inner := scaled_by(product.other)) is None:
        return [product]
    source, number = inner
    node = product.other.producer()
    if node is None:
        return [product]
    return [product, Product(product.number * number, source, product.root, (*product.nodes, node))]


@dataclass(frozen=True, slots=True)
class Polynomial:
    """`coefficients[k] · x^k`, summed, with the nodes that compute it."""

    coefficients: tuple[float, ...]
    nodes: frozenset[onnx_ir.Node]


def polynomial(value: onnx_ir.Value | None, x: onnx_ir.Value, depth: int = 0) -> Polynomial | None:
    """What a value computes, as a polynomial of degree three at most in `x`; None where it is none."""
    if value is x:
        return Polynomial((0.0, 1.0, 0.0, 0.0), frozenset())
    number = scalar(value, x)
    if number is not None:
        return Polynomial((number, 0.0, 0.0, 0.0), frozenset())
    node = producer(value, "Mul", "Div", "Add", "Sub", "Pow") if depth < _MOST_DEPTH else None
    if node is None:
        return None
    left = polynomial(node.inputs[0], x, depth + 1)
    right = polynomial(node.inputs[1], x, depth + 1) if left is not None else None
    if left is None or right is None:
        return None
    made = _combined(node.op_type, left.coefficients, right.coefficients)
    return None if made is None else Polynomial(made, left.nodes | right.nodes | {node})


def _combined(op: str, left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...] | None:
    if op == "Add":
        return tuple(a + b for a, b in zip(left, right, strict=True))
    if op == "Sub":
        return tuple(a - b for a, b in zip(left, right, strict=True))
    if op == "Mul":
        return _times(left, right)
    if any(right[1:]):
        return None
    number = right[0]
    if op == "Div":
        return tuple(a / number for a in left) if number else None
    if number not in (2.0, 3.0):
        return None
    squared = _times(left, left)
    return squared if number == 2.0 or squared is None else _times(squared, left)


def _times(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...] | None:
    made = [0.0] * (_HIGHEST_POWER + 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            if a and b:
                if i + j > _HIGHEST_POWER:
                    return None
                made[i + j] += a * b
    return tuple(made)
