"""Whether products of two activations, as of attention, are worth integers: where a target has arrays that can be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from netwright.ir.dims import evaluate, shape_of
from netwright.passes.quantize.planning import ArrayTarget
from netwright.passes.sizes import named_sizes

if TYPE_CHECKING:
    import onnx_ir

    from netwright.ir.program import Program
    from netwright.passes.context import Context

Attention = Literal["auto", "arrays", "vector"]
ATTENTION = ("auto", "arrays", "vector")


@dataclass(frozen=True, slots=True)
class PairSizes:
    """A product [M, K]·[K, N] of two activations.

    Attributes:
        count: how many right operands there are (heads); 1 where all vectors meet one.
        vectors: M.
        rows: K, which would be rows of arrays.
        outputs: N.
    """

    count: int
    vectors: int
    rows: int
    outputs: int


def why_vector(attention: Attention, node: onnx_ir.Node, program: Program, context: Context) -> str | None:
    """Why a product of two activations stays float, with numbers; None where both its operands become integers.

    Args:
        attention: what the user wants.
        node: the MatMul.
        program: that it stands in.
        context: data and target.
    """
    if attention != "auto":
        return None if attention == "arrays" else "left float: attention='vector' leaves products of two activations on vector units"
    sizes = pair_sizes(node, named_sizes(program, context))
    if sizes is None:
        return "left float: its sizes are not known or depend on the data, and so its price in arrays (attention='arrays' puts it there)"
    assert isinstance(context.target, ArrayTarget), "asked for only with arrays"
    reason = context.target.why_vector(*astuple(sizes))
    return f"left float: {reason} (attention='arrays' puts it there)" if reason is not None else None


def pair_sizes(node: onnx_ir.Node, dims: Mapping[str, int]) -> PairSizes | None:
    """The sizes of a MatMul of two values; None where they are not known, or are no matrices'.

    Args:
        node: a MatMul, or another product of the same shapes.
        dims: numbers for named dimensions.
    """
    a, b, y = (_numbers(value, dims) for value in (node.inputs[0], node.inputs[1], node.outputs[0]))
    if a is None or b is None or y is None or min(len(a), len(b), len(y)) < 2:
        return None
    if len(b) == 2:
        return PairSizes(1, prod(y[:-1]), a[-1], y[-1])
    return PairSizes(prod(y[:-2]), y[-2], a[-1], y[-1])


def _numbers(value: onnx_ir.Value | None, dims: Mapping[str, int]) -> list[int] | None:
    shape = shape_of(value)
    numbers = [] if shape is None else [number for dim in shape if (number := evaluate(dim, dims)) is not None]
    return numbers if shape is not None and len(numbers) == len(shape) else None
