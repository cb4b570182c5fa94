"""Dead code: what no output depends on."""

from __future__ import annotations

from collections.abc import Generator

import onnx_ir

from netwright.ir.editor import Editor, reader_count
from netwright.ir.opinfo import is_pure, schema, subgraphs
from netwright.ir.program import Program
from netwright.passes.rewrite import Applied, Miss, Rewrite, site_of


def remove_dead(program: Program) -> Generator[Rewrite | Miss, Applied | None, list[onnx_ir.Node]]:
    """Remove unread nodes, trailing optional outputs, initializers and functions. Linear in nodes.

    Returns:
        The nodes whose surroundings changed.
    """
    touched: dict[onnx_ir.Node, None] = {}
    for graph in program.graphs():
        for node in reversed(list(graph)):
            if node.graph is not graph:
                continue
            proposal = _dead_node(node, program) or _unread_outputs(node, program)
            if proposal is not None:
                applied = yield proposal
                touched.update(dict.fromkeys(applied.touched if applied is not None else ()))
        unread = [value for value in graph.initializers.values() if _is_unread(value)]
        if unread:
            yield _drop_initializers(unread)
    yield from _unused_functions(program)
    return [node for node in touched if node.graph is not None]


def _dead_node(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    if not node.outputs or any(reader_count(value) or value.is_graph_output() for value in node.outputs):
        return None
    if not is_pure(node, program.model.functions) and not _is_random_source(node):
        return None
    return Rewrite.edit(site_of(node), "nobody reads it", lambda editor: editor.remove(node), anchor=node, rule="remove_dead")


def _is_random_source(node: onnx_ir.Node) -> bool:
    """Random operators have no effect beyond their outputs (each has a state, or seed, of its own)."""
    return not node.domain and node.op_type.startswith("Random")


def _unread_outputs(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """Trailing outputs that the standard lets a node leave out, and that nobody reads."""
    if len(node.outputs) < 2 or node.domain or any(True for _ in subgraphs(node)):
        return None
    known = schema(node, program.opset)
    if known is None or any(formal.variadic for formal in known.outputs):
        return None
    count = len(node.outputs)
    while count > max(known.min_outputs, 1) and not node.outputs[count - 1].uses() and not node.outputs[count - 1].is_graph_output():
        count -= 1
    if count == len(node.outputs):
        return None
    return Rewrite.edit(
        site_of(node),
        f"{len(node.outputs) - count} optional outputs unread",
        lambda editor: editor.drop_outputs(node, count),
        anchor=node,
        rule="remove_dead",
    )


def _is_unread(value: onnx_ir.Value) -> bool:
    return not reader_count(value) and not value.is_graph_output() and not value.is_graph_input()


def _drop_initializers(values: list[onnx_ir.Value]) -> Rewrite:
    def change(editor: Editor) -> None:
        for value in values:
            editor.remove_initializer(value)

    return Rewrite.edit(values[0].name or "", f"{len(values)} initializers that nobody reads", change, rule="remove_dead")


def _unused_functions(program: Program) -> Generator[Rewrite | Miss, Applied | None, None]:
    functions = program.model.functions
    if not functions:
        return
    called = {node.op_identifier() for node in program.nodes() if node.domain}
    for function in [function for key, function in functions.items() if key not in called]:
        yield Rewrite.edit(
            function.name, "no node calls it", lambda editor, function=function: editor.remove_function(function), rule="remove_dead"
        )
