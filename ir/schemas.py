"""What is known of one version of an operator: its inputs, outputs, attributes and the types they may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import onnx_ir

if TYPE_CHECKING:
    from onnx_ir import DataType

CONTRIB_DOMAIN = "com.microsoft"
"""ONNX Runtime's own operators."""

DefaultValue: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | None
"""What an attribute is when it is not given; None where the standard says nothing."""


@dataclass(frozen=True, slots=True)
class Formal:
    """A formal input or output of an operator.

    Attributes:
        name: its name in the standard.
        optional: may be left out.
        variadic: stands for any number of values; the last formal only.
        homogeneous: the values of a variadic formal share one type.
        min_arity: how many values a variadic formal needs.
        type_var: the type variable it binds, or a literal type such as `tensor(int64)`.
        types: allowed types as the standard writes them; empty means any.
        dtypes: element types among `types` that are plain tensors.
    """

    name: str
    optional: bool = False
    variadic: bool = False
    homogeneous: bool = True
    min_arity: int = 1
    type_var: str = ""
    types: frozenset[str] = frozenset()
    dtypes: frozenset[DataType] = frozenset()


@dataclass(frozen=True, slots=True)
class AttributeFacts:
    """One attribute of an operator: its type, whether it must be given, and what it is when it is not."""

    name: str
    type: onnx_ir.AttributeType
    required: bool = False
    default: DefaultValue = None


@dataclass(frozen=True, slots=True)
class Schema:
    """What the standard says of one version of an operator."""

    domain: str
    name: str
    since_version: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    attributes: Mapping[str, AttributeFacts] = field(default_factory=dict[str, AttributeFacts])
    min_inputs: int = 0
    max_inputs: int = 0
    min_outputs: int = 0
    max_outputs: int = 0
    deprecated: bool = False
    is_function: bool = False

    def input(self, index: int) -> Formal:
        """The formal that the actual input at `index` stands for (the variadic one, past the end)."""
        return self.inputs[min(index, len(self.inputs) - 1)]

    def output(self, index: int) -> Formal:
        """The formal that the actual output at `index` stands for (the variadic one, past the end)."""
        return self.outputs[min(index, len(self.outputs) - 1)]

    def input_index(self, name: str) -> int:
        """Position of the input called `name`.

        Raises:
            KeyError: the operator has none of that name.
        """
        for index, formal in enumerate(self.inputs):
            if formal.name == name:
                return index
        raise KeyError(name)


def _standard_type_names() -> Mapping[str, DataType]:
    names = {"FLOAT": "float", "DOUBLE": "double"}
    return {
        f"tensor({names.get(dtype.name, dtype.name.lower())})": dtype for dtype in onnx_ir.DataType if dtype != onnx_ir.DataType.UNDEFINED
    }


TYPE_DTYPES: Mapping[str, DataType] = _standard_type_names()
"""Tensor types as the standard writes them (`tensor(float)`) → element type."""

DTYPE_TYPES: Mapping[DataType, str] = {dtype: text for text, dtype in TYPE_DTYPES.items()}
"""Element type → the tensor type as the standard writes it."""


def type_text(type_: onnx_ir.TypeProtocol | None) -> str:
    """A value's type as the standard writes it, such as `seq(tensor(float))`; empty where unknown."""
    if type_ is None:
        return ""
    if isinstance(type_, onnx_ir.SequenceType):
        return f"seq({type_text(type_.elem_type)})"
    if isinstance(type_, onnx_ir.OptionalType):
        return f"optional({type_text(type_.elem_type)})"
    tensor = DTYPE_TYPES.get(type_.dtype, "")
    return f"sparse_{tensor}" if tensor and isinstance(type_, onnx_ir.SparseTensorType) else tensor
