"""What a shape rule works with: where it puts what it finds, and what is known of small integer tensors' contents.

The package `onnx-shape-inference` supplies most rules; this context replaces its own in four ways. Types are never shared
or changed in place. What is found replaces what was there (stale shapes do not survive). Contents are kept in `value.meta`
and not in metadata, which would be written to the file. And an element of unknown content is unknown, not a fresh
dimension: contents can be negative, dimensions cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import onnx_ir
from onnx_ir import DataType, SymbolicDim
from onnx_shape_inference import ShapeInferenceContext

from netwright.ir.dims import UNKNOWN, Dim, as_dim, is_known, names_in
from netwright.ir.opinfo import INTEGERS

CONTENTS = "netwright.contents"
"""Key in `value.meta`: the known elements of a small integer or boolean tensor, a tuple."""

MAX_CONTENTS = 64
"""Constants of more elements than this are data, not shapes."""

WITH_CONTENTS: frozenset[DataType] = INTEGERS | {DataType.BOOL}
"""Element types whose contents are followed."""


class Names:
    """Names for dimensions that have none: `_d0`, `_d1` …, never one that is taken."""

    __slots__ = ("_next", "declared", "joints", "taken")

    def __init__(self) -> None:
        self._next = 0
        self.taken: set[str] = set()
        self.joints: dict[tuple[str, ...], SymbolicDim] = {}
        self.declared: dict[str, SymbolicDim] = {}
        """Names that outputs declare, with the dimension that was inferred there."""

    def copy(self) -> Names:
        """Names that are given out on their own from here."""
        twin = Names()
        twin._next, twin.taken, twin.joints, twin.declared = self._next, set(self.taken), dict(self.joints), dict(self.declared)
        return twin

    def fresh(self) -> SymbolicDim:
        """A dimension with a name of its own."""
        while (name := f"_d{self._next}") in self.taken:
            self._next += 1
        self.taken.add(name)
        return SymbolicDim(name)

    def joint(self, *key: str) -> SymbolicDim:
        """A dimension with a name of its own, the same one whenever the same key is asked for."""
        if key not in self.joints:
            self.joints[key] = self.fresh()
        return self.joints[key]


def is_generated(name: str) -> bool:
    """True of names that shape inference makes up (`_d0`)."""
    return name.startswith("_d") and name[2:].isdigit()


class Context(ShapeInferenceContext):
    """A shape rule's context for one graph or function body.

    Args:
        opsets: the versions that the graph imports, by domain.
        names: where new dimensions get their names; shared between graphs of one program.
    """

    def __init__(self, opsets: Mapping[str, int], names: Names) -> None:
        super().__init__(dict(opsets), policy="override")
        self.names = names
        self.minted: set[str] = set()
        """Names given since the current rule started."""

    def new_symbolic_dim(self) -> SymbolicDim:
        """A dimension with a name of its own."""
        dim = self.names.fresh()
        self.minted.add(dim.value or "")
        return dim

    def set_shape(self, value: onnx_ir.Value, shape: onnx_ir.Shape) -> bool:
        """Give a value its shape; unknown dimensions get names, and expressions that come to a number are that number."""
        dims = shape.dims
        if not all(isinstance(dim, int) for dim in dims):
            dims = tuple(as_dim(dim) if is_known(dim) else self.new_symbolic_dim() for dim in dims)
        value.shape = onnx_ir.Shape(dims)
        return True

    def set_dtype(self, value: onnx_ir.Value, dtype: DataType) -> bool:
        """Give a value its element type, in a type object of its own."""
        value.type = onnx_ir.TensorType(dtype)
        return True

    def set_type(self, value: onnx_ir.Value, type_: onnx_ir.TypeProtocol) -> bool:
        """Give a value its type, in an object of its own where it is a tensor's."""
        value.type = onnx_ir.TensorType(type_.dtype) if type(type_) is onnx_ir.TensorType else type_
        return True

    def set_symbolic_value(self, value: onnx_ir.Value, data: Sequence[Dim]) -> None:
        """Note the contents of an integer or boolean tensor of rank 0 or 1."""
        if value.dtype not in WITH_CONTENTS or len(data) > MAX_CONTENTS:
            return
        if value.shape is not None and (value.shape.rank() > 1 or (value.shape.rank() == 1 and value.shape[0] != len(data))):
            return
        value.meta[CONTENTS] = without(data, self.minted)

    def get_symbolic_value(self, value: onnx_ir.Value) -> list[Dim] | None:
        """What is known of the contents of an integer or boolean tensor of rank 0 or 1."""
        found = contents(value)
        return None if found is None else list(found)


def contents(value: onnx_ir.Value | None) -> tuple[Dim, ...] | None:
    """The elements of a small integer or boolean tensor of rank 0 or 1, known or unknown each; None where there are none."""
    if value is None or value.dtype not in WITH_CONTENTS:
        return None
    found = noted(value)
    if found is not None:
        return found
    if value.const_value is None and value.producer() is None:
        return None
    tensor = onnx_ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.shape.rank() > 1 or tensor.size > MAX_CONTENTS:
        return None
    return tuple(int(element) for element in tensor.numpy().reshape(-1))


def noted(value: onnx_ir.Value) -> tuple[Dim, ...] | None:
    """The contents that inference noted at a value."""
    return cast("tuple[Dim, ...] | None", value.meta.get(CONTENTS))


def without(data: Sequence[Dim], names: set[str]) -> tuple[Dim, ...]:
    """Contents in which elements that mention one of these names count as unknown."""
    return tuple(UNKNOWN if names and not isinstance(d, int) and names & names_in((d,)) else d for d in data)
