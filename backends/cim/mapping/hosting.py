"""Products that no tile has the memory for are computed by the host: written out in standard operators, the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx_ir

from netwright.backends.cim.mapping.work import HOSTED
from netwright.backends.cim.ops import CROSSBAR_MATMUL, IM2COL, REQUANTIZE, coding_of
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.editor import Editor
from netwright.ir.operators import expansion
from netwright.ir.program import Program
from netwright.ir.shapes import infer


def product_to_host(program: Program, tensors: Iterable[str]) -> str | None:
    """The product that makes the first of some tensors that any makes, or else reads it.

    Args:
        program: lowered.
        tensors: names; partial sums are `SUMS#…`.

    Returns:
        The name of its sums; None where no product has to do with them, or where it is the last that is in arrays.
    """
    products = [node for node in program.graph if _is(node, CROSSBAR_MATMUL)]
    if len(products) < 2:
        return None
    named = list(tensors)
    made = {value.name or "": node for node in products for value in (node.outputs[0], *(one.outputs[0] for one in _scaled(node)))}
    read = {value.name or "": node for node in reversed(products) for value in _sources(node)}
    for known in (made, read):
        for name in named:
            found = known.get(name) or known.get(name.rpartition("#")[0])
            if found is not None:
                return found.outputs[0].name
    return None


def hosted(program: Program, reasons: Mapping[str, str]) -> Program:
    """A program with some products as standard operators that the host runs; noise of their arrays is left out, all else is the same.

    Args:
        program: lowered; left as it is.
        reasons: why, by the name of a product's sums.
    """
    copy = program.clone()
    before = set(copy.graph)
    for node in list(copy.graph):
        why = reasons.get(node.outputs[0].name or "") if _is(node, CROSSBAR_MATMUL) else None
        if why is None:
            continue
        noise = " (without the noise of arrays)" if coding_of(node).noise is not None else ""
        with copy.edit(at=node) as editor:
            _write_out(editor, node)
        for made in [one for one in copy.graph if one not in before]:
            made.metadata_props[HOSTED] = why + noise
            before.add(made)
    infer(copy)
    return copy


def _write_out(editor: Editor, node: onnx_ir.Node) -> None:
    """The product, the Im2Col that it reads (others may, too) and the Requantize that alone reads it."""
    x = node.inputs[0]
    maker = x.producer() if x is not None else None
    if maker is not None and _is(maker, IM2COL):
        (x,) = editor.splice(expansion(maker), maker.inputs)
    (sums,) = editor.splice(expansion(node), [x, *node.inputs[1:]])
    scaled = list(_scaled(node)) if len(node.outputs[0].uses()) == 1 and not node.outputs[0].is_graph_output() else []
    for one in scaled:
        (made,) = editor.splice(expansion(one), [sums, *one.inputs[1:]])
        editor.replace(one.outputs[0], made)
    if not scaled:
        editor.replace(node.outputs[0], sums)


def _is(node: onnx_ir.Node, op_type: str) -> bool:
    return node.domain == DOMAIN and node.op_type == op_type


def _scaled(node: onnx_ir.Node) -> Iterator[onnx_ir.Node]:
    return (user for user, _ in node.outputs[0].uses() if _is(user, REQUANTIZE))


def _sources(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        found = maker.inputs[0] if maker is not None and _is(maker, IM2COL) else value
        if found is not None:
            yield found
