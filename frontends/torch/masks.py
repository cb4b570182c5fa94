"""Attention masks that broadcast over queries.

ONNX lets `Attention`'s mask broadcast to [B, H, L, S]. ONNX Runtime 1.31 broadcasts the first two axes but wants L as it is, so that
the usual padding mask [B, 1, 1, S] does not run. One Expand, shared by all layers with the same mask, settles it.
"""

from __future__ import annotations

import onnx_ir

from netwright.frontends.torch.names import free_name, new_constant


def widen_masks(graph: onnx_ir.Graph) -> None:
    """Expand every Attention mask of size 1 along the queries to their number, in place.

    Args:
        graph: a fresh export, with torch's shapes still on its values.
    """
    widened: dict[tuple[onnx_ir.Value, str], onnx_ir.Value] = {}
    for node in list(graph):
        mask = node.inputs[3] if node.op_type == "Attention" and len(node.inputs) > 3 else None
        query = node.inputs[0] if node.inputs else None
        if mask is None or query is None or mask.shape is None or query.shape is None or len(query.shape) != 4 or len(mask.shape) < 2:
            continue
        length = query.shape[2]
        if mask.shape[-2] != 1 or length == 1:
            continue
        key = (mask, str(length))
        if key not in widened:
            widened[key] = _widen(graph, node, mask, query)
        node.replace_input_with(3, widened[key])


def _widen(graph: onnx_ir.Graph, before: onnx_ir.Node, mask: onnx_ir.Value, query: onnx_ir.Value) -> onnx_ir.Value:
    rank = len(mask.shape) if mask.shape is not None else 4
    one = new_constant(graph, f"{mask.name}_ones", [1])
    length = onnx_ir.node("Shape", [query], {"start": 2, "end": 3})
    shape = onnx_ir.node("Concat", [*[one] * (rank - 2), length.outputs[0], one], {"axis": 0})
    expand = onnx_ir.node("Expand", [mask, shape.outputs[0]])
    for node, suffix in ((length, "queries"), (shape, "wide_shape"), (expand, "wide")):
        node.name = node.outputs[0].name = free_name(graph, f"{mask.name}_{suffix}")
        node.metadata_props.update(before.metadata_props)
    graph.insert_before(before, [length, shape, expand])
    return expand.outputs[0]
