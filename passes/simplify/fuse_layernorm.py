"""Layer normalisation, spelt out, becomes LayerNormalization."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.ir.shapes import static_shape
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import (
    escaping,
    fusion,
    is_parameter,
    last_axes,
    producer,
    read_elsewhere,
)
from netwright.passes.simplify.match_norm import Normalised, mean_of, root_mean_square, surroundings


@fusion("Div", "Mul", since=17)
def fuse_layernorm(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`(x − mean(x)) / sqrt(mean((x − mean(x))²) + ε) · γ + β` becomes LayerNormalization."""
    left, right = node.inputs
    centred, spread = left, root_mean_square(right)
    if spread is None and node.op_type == "Mul":
        centred, spread = right, root_mean_square(left)
    if centred is None or spread is None or spread.inverse != (node.op_type == "Mul"):
        return None
    difference = producer(centred, "Sub")
    if difference is None:
        return None
    source, mean = difference.inputs
    inner = [difference, *spread.nodes]
    average = mean_of(mean, source, spread.axes)
    if source is None or average is None or not is_float(source.dtype):
        return None
    inner.append(average)
    if spread.source is not centred:
        again = producer(spread.source, "Sub")
        second = None if again is None else mean_of(again.inputs[1], source, spread.axes)
        if again is None or second is None or again.inputs[0] is not source:
            return None
        inner += [again, second]
    axis = last_axes(spread.axes, source)
    if axis is None:
        return Miss(f"the mean is taken over axes {list(spread.axes)}, not over the last ones, as LayerNormalization needs", site_of(node))
    around = surroundings(node, source, axis, with_bias=True)
    if around is None:
        return Miss(f"the sizes of the normalised axes of %{source.name} are not known", site_of(node))
    outside = escaping([*inner, *around.nodes], around.last)
    if outside is not None:
        return read_elsewhere(outside, node, "layer normalisation")
    if around.scale is None and "Trainable" in program.properties:
        return Miss("there is no scale, and a program marked Trainable is given no new weights", site_of(node))
    return Rewrite.build(
        around.last,
        lambda editor: _layernorm(editor, around, axis, spread.epsilon),
        why=f"layer normalisation over {list(around.shape)}",
    )


def _layernorm(editor: Editor, around: Normalised, axis: int, epsilon: float) -> onnx_ir.Value:
    result = around.last.outputs[0]
    scale = around.scale if around.scale is not None else ones(editor, around)
    inputs = [around.source, scale] if around.bias is None else [around.source, scale, around.bias]
    attributes = {"axis": axis, "epsilon": epsilon, "stash_type": around.stash}
    return editor.op("LayerNormalization", inputs, attributes, like=result)


def ones(editor: Editor, around: Normalised) -> onnx_ir.Value:
    """A scale that changes nothing, where the normalisation has none."""
    dtype = around.source.dtype or onnx_ir.DataType.FLOAT
    return editor.constant(np.ones(around.shape, dtype.numpy()), f"{around.last.outputs[0].name}.scale")


@fusion("Add", since=17)
def fuse_folded_layernorm(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`x·a + (β − mean(x)·a)` with `a = γ / sqrt(variance + ε)`, TensorFlow's way to write it, becomes LayerNormalization."""
    left, right = node.inputs
    if producer(left, "Sub") is not None:
        left, right = right, left
    product, rest = producer(left, "Mul"), producer(right, "Sub")
    if product is None or rest is None:
        return None
    shift = producer(rest.inputs[1], "Mul")
    bias = rest.inputs[0]
    if shift is None or not is_parameter(bias):
        return None
    common = next((value for value in product.inputs if value is not None and value in shift.inputs), None)
    gain = producer(common, "Mul")
    if common is None or gain is None:
        return None
    source = product.inputs[1] if product.inputs[0] is common else product.inputs[0]
    mean = shift.inputs[1] if shift.inputs[0] is common else shift.inputs[0]
    inverse, scale = gain.inputs
    if is_parameter(inverse):
        inverse, scale = scale, inverse
    spread = root_mean_square(inverse)
    if spread is None or not spread.inverse or source is None or scale is None or bias is None or not is_parameter(scale):
        return None
    difference, average = producer(spread.source, "Sub"), mean_of(mean, source, spread.axes)
    if difference is None or average is None or difference.inputs[0] is not source or difference.inputs[1] is not mean:
        return None
    axis = last_axes(spread.axes, source)
    if axis is None:
        return Miss(f"the mean is taken over axes {list(spread.axes)}, not over the last ones, as LayerNormalization needs", site_of(node))
    around = surroundings(node, source, axis, with_bias=False)
    if around is None or static_shape(scale) != around.shape or static_shape(bias) != around.shape:
        return Miss(f"scale and bias are not of the shape of the normalised axes of %{source.name}", site_of(node))
    outside = escaping([product, rest, shift, gain, difference, average, *spread.nodes], node)
    if outside is not None:
        return read_elsewhere(outside, node, "layer normalisation")
    stash = int(onnx_ir.DataType.DOUBLE if source.dtype == onnx_ir.DataType.DOUBLE else onnx_ir.DataType.FLOAT)
    attributes = {"axis": axis, "epsilon": spread.epsilon, "stash_type": stash}
    return Rewrite.build(
        node,
        lambda editor: editor.op("LayerNormalization", [source, scale, bias], attributes, like=node.outputs[0]),
        why=f"layer normalisation over {list(around.shape)}",
    )


RULES: tuple[Rule, ...] = (fuse_layernorm, fuse_folded_layernorm)
