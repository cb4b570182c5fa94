"""The compact form of a weight with many zeros: a bit for every element, and the elements that differ from the rest.

In a file, such a weight is a call of the model-local function `netwright.storage::Unpack(bits, values)`, whose body consists of standard
operators. So every ONNX tool can read the file; ONNX Runtime folds the calls while it opens a session, and runs with dense weights
(it has no sparse kernels: what is saved is transport). netwright's own reader puts the dense weights back itself, bit for bit.

A sparse initializer of ONNX (indices of 8 bytes each) takes 12 bytes a nonzero float, this form 4 and a bit for each element: at 90 %
zeros 1.2 against 0.53 bytes an element, where the dense form takes 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, helper, numpy_helper

from netwright.ir.errors import ModelFileError, UnsupportedModelError

DOMAIN, NAME, VERSION = "netwright.storage", "Unpack", 1
SHAPE = "shape"
"""Attribute of a call, and of the function: the weight's shape."""

FUNCTIONS_FROM = 8
"""First IR version with functions."""

OPSET_FROM = 18
"""First opset with all operators of the function's body."""

_DTYPES = frozenset(
    {
        onnx_ir.DataType.FLOAT,
        onnx_ir.DataType.FLOAT16,
        onnx_ir.DataType.BFLOAT16,
        onnx_ir.DataType.DOUBLE,
        onnx_ir.DataType.INT8,
        onnx_ir.DataType.UINT8,
        onnx_ir.DataType.INT16,
        onnx_ir.DataType.UINT16,
        onnx_ir.DataType.INT32,
        onnx_ir.DataType.UINT32,
        onnx_ir.DataType.INT64,
        onnx_ir.DataType.UINT64,
        onnx_ir.DataType.BOOL,
    }
)
"""What Gather takes in every opset, and is at least a byte wide."""

_CALL = 128
"""About the bytes that a call takes beside bits, values and names."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight in compact form.

    Attributes:
        bits: uint8 [ceil(size / 8)], lowest bit first: set where an element differs from the rest.
        values: [1 + those elements]: first what the rest is, then they, in order.
        shape: of the weight.
    """

    bits: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]


def pack(tensor: onnx_ir.TensorProtocol) -> Packed | None:
    """The compact form of a tensor where it takes fewer bytes, else None. Reads the tensor.

    The rest is zero (all bits clear, so not −0.0), or for types of one byte the most frequent element: a zero point, say.
    """
    if tensor.dtype not in _DTYPES or tensor.nbytes <= 2 * _CALL:
        return None
    array = np.ascontiguousarray(tensor.numpy())
    codes = array.reshape(-1).view(f"<u{array.dtype.itemsize}")
    rest = int(np.bincount(codes, minlength=256).argmax()) if codes.itemsize == 1 else 0
    differs = codes != rest
    count = int(np.count_nonzero(differs))
    if -(-codes.size // 8) + (1 + count) * codes.itemsize + _CALL + 4 * len(tensor.name or "") >= tensor.nbytes:
        return None
    values = np.concatenate([np.array([rest], codes.dtype), codes[differs]]).view(array.dtype)
    return Packed(np.packbits(differs, bitorder="little"), values, array.shape)


def unpack(packed: Packed, name: str = "") -> np.ndarray:
    """The dense weight, bit for bit.

    Args:
        packed: perhaps from an untrusted file.
        name: the weight's, for messages.

    Raises:
        ModelFileError: the parts contradict each other.
    """
    bits, values, shape = packed.bits, packed.values, packed.shape
    size = math.prod(shape) if all(dim >= 0 for dim in shape) else -1
    if bits.ndim != 1 or bits.dtype != np.uint8 or size < 0 or bits.size != -(-size // 8):
        raise _contradiction(f"of shape {list(shape)} has {bits.size} bytes of bits", name)
    flags = np.unpackbits(bits, bitorder="little")
    differs = flags[:size].view(np.bool_)
    if flags[size:].any() or values.ndim != 1 or values.size != 1 + int(np.count_nonzero(differs)):
        raise _contradiction(f"has {int(flags.sum())} bits that are set and {values.size - 1} values", name)
    dense = np.full(size, values[0], values.dtype)
    dense[differs] = values[1:]
    return dense.reshape(shape)


def _contradiction(what: str, name: str) -> ModelFileError:
    return ModelFileError(f"A packed weight {what}.", place=name, remedy="The file is damaged; save or copy it again.")


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """What is written in a weight's place.

    Attributes:
        call: makes the weight.
        parts: bits and values; the weight's documentation and metadata are the values'.
    """

    call: onnx.NodeProto
    parts: tuple[onnx_ir.TensorProtocol, onnx_ir.TensorProtocol]


class Packer:
    """Packs the weights of one model, under names that it does not have.

    Args:
        model: left as it is.

    Raises:
        UnsupportedModelError: its opset lacks operators of the function.
    """

    def __init__(self, model: onnx_ir.Model) -> None:
        opset = model.opset_imports.get("", 0)
        if opset < OPSET_FROM:
            raise UnsupportedModelError(
                f"The compact form needs opset {OPSET_FROM}, and the model has {opset}.", remedy="Load it with nw.load, which converts it."
            )
        self.used = False
        self._names = {value.name for graph in (model.graph, *model.graph.subgraphs()) for value in _values_of(graph)}

    def packed(self, weights: Iterable[onnx_ir.Value]) -> dict[onnx_ir.Value, PackedWeight]:
        """Those of the weights for which the compact form takes fewer bytes. Reads all."""
        found: dict[onnx_ir.Value, PackedWeight] = {}
        for value in weights:
            tensor = value.const_value
            made = None if tensor is None else pack(tensor)
            if tensor is None or made is None:
                continue
            name = value.name or ""
            bits = onnx_ir.Tensor(made.bits, name=self._free(f"{name}.bits"))
            values = onnx_ir.Tensor(
                made.values,
                dtype=tensor.dtype,
                name=self._free(f"{name}.values"),
                doc_string=tensor.doc_string,
                metadata_props=dict(tensor.metadata_props),
            )
            node = helper.make_node(NAME, [bits.name or "", values.name or ""], [name], domain=DOMAIN, shape=list(made.shape))
            found[value] = PackedWeight(node, (bits, values))
        self.used = self.used or bool(found)
        return found

    def _free(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._names:
            name, number = f"{wanted}.{number}", number + 1
        self._names.add(name)
        return name


def _values_of(graph: onnx_ir.Graph) -> Iterator[onnx_ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


@cache
def unpack_function(opset: int) -> bytes:
    """The function, serialized.

    bits [ceil(n / 8)] are tested against 1, 2, 4 … 128, flattened and cut to n flags; the k-th flag that is set takes values[k], one
    that is not takes values[0]: `values[cumsum(flags) · flags]`.

    Args:
        opset: of the model.
    """
    places = numpy_helper.from_array(np.array([[1, 2, 4, 8, 16, 32, 64, 128]], np.uint8))
    shape = helper.make_node("Constant", [], ["shape"])
    reference = shape.attribute.add(name="value_ints", ref_attr_name=SHAPE)
    reference.type = onnx.AttributeProto.INTS
    nodes = [
        shape,
        helper.make_node("Constant", [], ["places"], value=places),
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Constant", [], ["flat"], value_ints=[-1]),
        helper.make_node("Unsqueeze", ["bits", "one"], ["column"]),
        helper.make_node("BitwiseAnd", ["column", "places"], ["tested"]),
        helper.make_node("Cast", ["tested"], ["set"], to=TensorProto.BOOL),
        helper.make_node("Reshape", ["set", "flat"], ["padded"]),
        helper.make_node("ReduceProd", ["shape"], ["count"], keepdims=1),
        helper.make_node("Slice", ["padded", "zero", "count"], ["differs"]),
        helper.make_node("Cast", ["differs"], ["flags"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["flags", "zero"], ["number"]),
        helper.make_node("Mul", ["number", "flags"], ["at"]),
        helper.make_node("Gather", ["values", "at"], ["row"]),
        helper.make_node("Reshape", ["row", "shape"], ["weight"]),
    ]
    made = helper.make_function(DOMAIN, NAME, ["bits", "values"], ["weight"], nodes, [helper.make_opsetid("", opset)], attributes=[SHAPE])
    made.doc_string = (
        "A weight of which most elements are alike: a bit for each element, and those that differ after the one they differ from."
    )
    return made.SerializeToString()
