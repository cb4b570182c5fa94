"""Model-local functions, and branches whose condition is known, put in the place of the nodes that hold them."""

from __future__ import annotations

from collections.abc import Generator

import onnx_ir

from netwright.ir.editor import Editor, can_replace
from netwright.ir.program import Program
from netwright.ir.shapes import infer_nodes, specialised
from netwright.passes.rewrite import Applied, Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import uniform

OWN_DOMAIN = "netwright"
"""Functions of domains that start so are netwright's own operators, and stay."""


def inline_calls(program: Program) -> Generator[Rewrite | Miss, Applied | None, None]:
    """Inline calls of model-local functions, those inside them too, until none is left."""
    if not program.model.functions:
        return
    work = [node for graph in (program.graph, *program.graph.subgraphs()) for node in graph if _is_call(node, program)]
    while work:
        node = work.pop()
        applied = yield _inline_call(node, program)
        if applied is not None:
            work.extend(new for new in applied.touched if new.graph is not None and _is_call(new, program) and new not in work)


def _is_call(node: onnx_ir.Node, program: Program) -> bool:
    return not node.domain.startswith(OWN_DOMAIN) and node.op_identifier() in program.model.functions


def _inline_call(node: onnx_ir.Node, program: Program) -> Rewrite | Miss:
    function = program.model.functions[node.op_identifier()]
    for domain, version in function.opset_imports.items():
        own = program.model.opset_imports.get(domain, version)
        if own != version:
            return Miss(
                f"function {function.name} uses version {version} of domain {domain!r}, the model version {own}", site_of(node), "inline"
            )

    def change(editor: Editor) -> None:
        body = specialised(program, node)
        if body is None:
            return
        for domain, version in function.opset_imports.items():
            program.model.opset_imports.setdefault(domain, version)
        _put(editor, node, body, tuple(node.inputs), program)

    return Rewrite.edit(site_of(node), f"call of {function.name}", change, anchor=node, rule="inline")


@rule("If")
def inline_branch(node: onnx_ir.Node, program: Program) -> Rewrite | None:
    """A branch whose condition is known takes the If's place."""
    known = uniform(node.inputs[0])
    attribute = node.attributes.get("then_branch" if known else "else_branch")
    if known is None or attribute is None or attribute.is_ref():
        return None
    branch = attribute.as_graph()

    def change(editor: Editor) -> None:
        _put(editor, node, branch.clone(allow_outer_scope_values=True), (), editor.program)

    return Rewrite.edit(site_of(node), f"condition is {bool(known)}".lower(), change, anchor=node)


def _put(editor: Editor, node: onnx_ir.Node, body: onnx_ir.Graph, inputs: tuple[onnx_ir.Value | None, ...], program: Program) -> None:
    results = editor.splice(body, inputs)
    infer_nodes(program, [new for new in editor.created if new.graph is not None])
    for old, new in zip(node.outputs, results, strict=False):
        if not old.name:
            continue
        editor.replace(old, new if can_replace(old, new) else editor.op("Identity", [new], like=old))
    editor.remove(node)


RULES = (inline_branch,)
