"""Root-mean-square normalisation, spelt out, becomes RMSNormalization."""

from __future__ import annotations

import onnx_ir

from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.fuse_layernorm import ones
from netwright.passes.simplify.match import escaping, fusion, last_axes, read_elsewhere
from netwright.passes.simplify.match_norm import root_mean_square, surroundings


@fusion("Div", "Mul", since=23)
def fuse_rms(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x / sqrt(mean(x²) + ε) · γ` becomes RMSNormalization."""
    left, right = node.inputs
    source, spread = left, root_mean_square(right)
    if spread is None and node.op_type == "Mul":
        source, spread = right, root_mean_square(left)
    if source is None or spread is None or spread.inverse != (node.op_type == "Mul") or spread.source is not source:
        return None
    if not is_float(source.dtype):
        return None
    axis = last_axes(spread.axes, source)
    if axis is None:
        return Miss(f"the mean is taken over axes {list(spread.axes)}, not over the last ones, as RMSNormalization needs", site_of(node))
    around = surroundings(node, source, axis, with_bias=False)
    if around is None:
        return Miss(f"the sizes of the normalised axes of %{source.name} are not known", site_of(node))
    outside = escaping([*spread.nodes, *around.nodes], around.last)
    if outside is not None:
        return read_elsewhere(outside, node, "RMS normalisation")
    if around.scale is None and "Trainable" in program.properties:
        return Miss("there is no scale, and a program marked Trainable is given no new weights", site_of(node))
    attributes = {"axis": axis, "epsilon": spread.epsilon, "stash_type": around.stash}
    return Rewrite.build(
        around.last,
        lambda editor: editor.op(
            "RMSNormalization",
            [around.source, around.scale if around.scale is not None else ones(editor, around)],
            attributes,
            like=around.last.outputs[0],
        ),
        why=f"root-mean-square normalisation over {list(around.shape)}",
    )


RULES: tuple[Rule, ...] = (fuse_rms,)
