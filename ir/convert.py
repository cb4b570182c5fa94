"""Raises models to a later opset with onnx's own version converter.

The converter works in memory on whole models, drops model-local functions and node metadata, and turns all weights into protobuf
objects. So functions are inlined first; it is given a skeleton in which large weights are graph inputs; and afterwards weights
are put back by name, metadata by the name of the value that a node makes.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir
from onnx import shape_inference, version_converter

from netwright.ir.errors import UnsupportedModelError
from netwright.ir.pause import collector_paused
from netwright.ir.storage.limits import INLINE_LIMIT

CONVERT_BELOW = 18
"""Models of an older opset are converted."""

TARGET = 20
"""The opset that old models are converted to on loading."""

_OLDEST_IR_VERSION = 9
_SCAN_BATCHED = 8
_MARK = b"netwright weight "


def convert(model: onnx_ir.Model, target: int = TARGET) -> onnx_ir.Model:
    """The same model at a later opset.

    Args:
        model: of opset 7 or later, with its Constant nodes lifted and its functions inlined; used up.
        target: the opset wanted.

    Raises:
        UnsupportedModelError: the converter has no rule for an operator.
    """
    _refuse_batched_scan(model)
    weights = _Weights(model)
    notes = _Notes(model)
    old = model.opset_imports[""]
    model.ir_version = max(_OLDEST_IR_VERSION, onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", target)]))
    skeleton = onnx_ir.to_proto(model)
    try:
        converted = version_converter.convert_version(_with_shapes(skeleton), target)
    except (version_converter.ConvertError, RuntimeError, ValueError, IndexError) as error:
        raise UnsupportedModelError(
            f"onnx's version converter cannot raise the model from opset {old} to {target}: {_first_line(error)}",
            remedy=f"Export the model to opset {max(target, CONVERT_BELOW)}.",
        ) from error
    with collector_paused():
        result = onnx_ir.from_proto(converted)
    weights.restore(result)
    notes.restore(result)
    _restore_signature(result, model)
    return result


def _refuse_batched_scan(model: onnx_ir.Model) -> None:
    """The converter passes Scan of opset 8 on unchanged, though opset 9 took its batch axis and sequence lengths away."""
    if model.opset_imports[""] > _SCAN_BATCHED:
        return
    for node in model.graph.all_nodes():
        if node.op_type == "Scan" and not node.domain:
            raise UnsupportedModelError(
                "Scan of opset 8 has a batch axis, which later operator sets cannot express.",
                place=node.name or node.outputs[0].name,
                remedy="Export the model to opset 9 or later.",
            )


def _with_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Several of the converter's rules need ranks, for one the coerced axes of Softmax below opset 13."""
    try:
        return shape_inference.infer_shapes(proto, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError):
        return proto


class _StandIn(onnx_ir.LazyTensor):
    """Type and shape of a weight, and a mark where its bytes would be."""

    mark: bytes = b""

    def tobytes(self) -> bytes:
        """The mark, in the place of the weight's bytes."""
        return self.mark


class _Weights:
    """Large initializers of all graphs, taken out and put back."""

    def __init__(self, model: onnx_ir.Model) -> None:
        self._tensors: list[onnx_ir.TensorProtocol] = []
        for value in _initializers(model):
            tensor = value.const_value
            if tensor is not None and tensor.dtype != onnx_ir.DataType.STRING and tensor.nbytes >= INLINE_LIMIT:
                value.const_value = self._stand_in(tensor)

    def restore(self, model: onnx_ir.Model) -> None:
        """Put every weight where its mark has come to lie."""
        for value in _initializers(model):
            mark = _mark_of(value.const_value)
            if mark is not None:
                value.const_value = self._tensors[mark]

    def _stand_in(self, tensor: onnx_ir.TensorProtocol) -> _StandIn:
        stand_in = _StandIn(lambda: tensor, tensor.dtype, onnx_ir.Shape(tensor.shape.numpy()))
        stand_in.mark = _MARK + str(len(self._tensors)).encode()
        self._tensors.append(tensor)
        return stand_in


class _Notes:
    """What nodes carry besides their meaning: names and metadata, by the name of a value that they make."""

    def __init__(self, model: onnx_ir.Model) -> None:
        self._by_value: dict[str, onnx_ir.Node] = {
            value.name: node for node in model.graph.all_nodes() for value in node.outputs if value.name
        }

    def restore(self, model: onnx_ir.Model) -> None:
        """Give each node back what it had; nodes that the converter added inherit from the node that they serve."""
        for graph in (model.graph, *model.graph.subgraphs()):
            found: dict[onnx_ir.Node, onnx_ir.Node] = {}
            for node in reversed(graph):
                origin = self._origin(node) or self._of_reader(node, found) or self._of_source(node)
                if origin is None:
                    continue
                found[node] = origin
                node.metadata_props.update(origin.metadata_props)
                if not node.name and origin.op_type == node.op_type:
                    node.name = origin.name

    def _origin(self, node: onnx_ir.Node) -> onnx_ir.Node | None:
        return next((self._by_value[value.name] for value in node.outputs if value.name in self._by_value), None)

    @staticmethod
    def _of_reader(node: onnx_ir.Node, found: dict[onnx_ir.Node, onnx_ir.Node]) -> onnx_ir.Node | None:
        return next((found[reader] for value in node.outputs for reader in value.consumers() if reader in found), None)

    def _of_source(self, node: onnx_ir.Node) -> onnx_ir.Node | None:
        return next((self._by_value[value.name] for value in node.inputs if value is not None and value.name in self._by_value), None)


def _initializers(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.initializers.values()


def _mark_of(tensor: onnx_ir.TensorProtocol | None) -> int | None:
    if not isinstance(tensor, onnx_ir.serde.TensorProtoTensor) or tensor.dtype == onnx_ir.DataType.STRING or tensor.nbytes < INLINE_LIMIT:
        return None
    data = tensor.raw.raw_data
    return int(data.removeprefix(_MARK)) if len(data) < INLINE_LIMIT and data.startswith(_MARK) else None


def _restore_signature(result: onnx_ir.Model, original: onnx_ir.Model) -> None:
    """What the converter drops of the model itself, and the outputs' declared shapes, which shape inference narrows."""
    result.metadata_props.update(original.metadata_props)
    result.graph.metadata_props.update(original.graph.metadata_props)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(result, name, getattr(original, name))
    for new, old in zip(result.graph.outputs, original.graph.outputs, strict=True):
        new.type, new.shape = old.type, old.shape
    for domain, version in original.opset_imports.items():
        result.graph.opset_imports.setdefault(domain, version)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
