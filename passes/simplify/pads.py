"""Padding with zeros before an operator that pads with zeros itself."""

from __future__ import annotations

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.opinfo import int_attr, ints_attr, str_attr
from netwright.ir.program import Program, constant
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import rule
from netwright.passes.simplify.facts import integers, producer, sole_use, splat


@rule("Conv", "AveragePool", "ConvInteger")
def pad_into_window(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """Zeros padded around the spatial axes before a convolution, or an average that counts them, become its own pads."""
    pad = producer(node.inputs[0], "Pad")
    if pad is None or sole_use(pad.outputs[0]) is None or node.op_type == "ConvInteger":
        return None
    if str_attr(pad, "mode", "constant") != "constant":
        return Miss(f"padding mode {str_attr(pad, 'mode', 'constant')}, and {node.op_type} pads with zeros only", site_of(node))
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    if value is not None and (splat(value) is None or splat(value) != 0):
        return Miss("padding by another value than 0", site_of(node))
    counted = node.op_type == "Conv" or bool(int_attr(node, "count_include_pad", 0))
    if not counted and any(ints_attr(node, "pads")):
        return None
    if not counted:
        return Miss("the average leaves out its own padding (count_include_pad is 0)", site_of(node))
    before, amounts = _amounts(pad)
    if before is None or amounts is None:
        return Miss("the amounts of padding are computed", site_of(node))
    rank = len(before)
    if min(amounts) < 0 or any(amounts[:2]) or any(amounts[rank : rank + 2]):
        return Miss(f"pads {list(amounts)} cut, or reach the batch or channel axis", site_of(node))
    if str_attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or int_attr(node, "ceil_mode", 0):
        return Miss(f"{node.op_type} works out its padding from the size it is given", site_of(node))
    own = ints_attr(node, "pads") or (0,) * (2 * (rank - 2))
    total = [a + b for a, b in zip((*amounts[2:rank], *amounts[rank + 2 :]), own, strict=True)]
    if node.op_type == "AveragePool" and any(p >= k for p, k in zip(total, ints_attr(node, "kernel_shape") * 2, strict=True)):
        return Miss(f"pads {total} reach beyond the window {list(ints_attr(node, 'kernel_shape'))}", site_of(node))

    def change(editor: Editor) -> None:
        editor.set_input(node, 0, pad.inputs[0])
        editor.set_attribute(node, "pads", total)
        editor.set_attribute(node, "auto_pad", None)

    return Rewrite.edit(site_of(node), f"padding {total} joins {node.op_type}", change, anchor=node)


def _amounts(pad: onnx_ir.Node) -> tuple[tuple[object, ...] | None, tuple[int, ...] | None]:
    """The dimensions that a Pad is given, and the constant amounts for all axes, fronts then backs."""
    dims, given = shape_of(pad.inputs[0]), integers(pad.inputs[1])
    if dims is None or given is None or constant(pad.inputs[1]) is None:
        return None, None
    axes_value = pad.inputs[3] if len(pad.inputs) > 3 else None
    axes = integers(axes_value) if axes_value is not None else tuple(range(len(dims)))
    if axes is None or len(given) != 2 * len(axes):
        return None, None
    full = [0] * (2 * len(dims))
    for place, axis in enumerate(axes):
        full[axis % len(dims)] = given[place]
        full[axis % len(dims) + len(dims)] = given[place + len(axes)]
    return dims, tuple(full)


RULES = (pad_into_window,)
