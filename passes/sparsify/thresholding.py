"""The change itself: small values of a map become zero, and the rest integers where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.ir.program import Program
    from netwright.passes.sparsify.maps import FeatureMap


def set_threshold(editor: Editor, one: FeatureMap, threshold: float, scale: float | None) -> None:
    """Make values up to a threshold zero: `Shrink(lambd=threshold, bias=0)`, an operator of ONNX, gives 0 for |x| ≤ threshold, else x.

    With a scale, QuantizeLinear to int8 (zero point 0, so that zeros stay zeros) and DequantizeLinear follow. All readers of the map
    see the result, under the map's name. What an earlier run put there is changed, not added to.

    Args:
        editor: of a rewrite at the map.
        one: the map.
        threshold: from 0.
        scale: of int8, for a map that is on no grid; None leaves floats, or the grid that is there.
    """
    if one.shrink is not None:
        editor.set_attribute(one.shrink, "lambd", float(threshold))
        if scale is not None:
            _round(editor, one, scale)
        return
    value, name = one.value, one.name
    editor.at(_behind(value))
    result = editor.op("Shrink", [value], {"lambd": float(threshold), "bias": 0.0}, name=f"{name}.shrunk", like=value)
    keep = result.producer()
    if scale is not None:
        result = _on_grid(editor, result, name, scale)
    editor.replace(value, result, keep=keep)


def _on_grid(editor: Editor, value: onnx_ir.Value, name: str, scale: float) -> onnx_ir.Value:
    assert value.dtype is not None
    step = editor.constant(np.asarray(scale, value.dtype.numpy()), f"{name}.scale")
    zero = editor.constant(np.zeros((), np.int8), f"{name}.zero")
    integers = editor.op("QuantizeLinear", [value, step, zero], name=f"{name}.int8")
    return editor.op("DequantizeLinear", [integers, step, zero], name=f"{name}.rounded", like=value)


def _round(editor: Editor, one: FeatureMap, scale: float) -> None:
    editor.at(_behind(one.value))
    result = _on_grid(editor, one.value, one.name, scale)
    rounded = result.producer()
    integers = rounded.inputs[0] if rounded is not None else None
    editor.replace(one.value, result, keep=integers.producer() if integers is not None else None)


def _behind(value: onnx_ir.Value) -> onnx_ir.Node:
    """The node before which new readers of a value go: its first reader, or what follows on its producer. Linear in the graph."""
    node = value.producer()
    assert node is not None
    assert isinstance(node.graph, onnx_ir.Graph)
    order = list(node.graph)
    following = order[order.index(node) + 1 :]
    users = {use.node for use in value.uses()}
    return next((other for other in following if other in users), following[0])


@dataclass(frozen=True, slots=True)
class Dials:
    """Thresholds that are fed, so that one session serves for all of them.

    Attributes:
        names: of the initializers that hold them, by map.
        whole: names of the maps before anything of them is made zero.
        dtypes: of the maps.
    """

    names: Mapping[FeatureMap, str]
    whole: Mapping[FeatureMap, str]
    dtypes: Mapping[FeatureMap, np.dtype[np.generic]]

    def at(self, one: FeatureMap, threshold: float) -> dict[str, np.ndarray]:
        """What to feed for one threshold."""
        return {self.names[one]: np.asarray(threshold, self.dtypes[one])}

    def all_at(self, thresholds: Mapping[FeatureMap, float]) -> dict[str, np.ndarray]:
        """What to feed for some thresholds, the others off."""
        return {name: array for one in self.names for name, array in self.at(one, thresholds.get(one, -1.0)).items()}

    def all_off(self) -> dict[str, np.ndarray]:
        """What to feed where nothing is to become zero."""
        return self.all_at({})


def dialled(program: Program, maps: Sequence[FeatureMap]) -> tuple[Program, Dials]:
    """A copy in which each map's threshold is an initializer, below 0 for none; thresholds of an earlier run are gone."""
    copy = program.clone()
    names: dict[FeatureMap, str] = {}
    whole: dict[FeatureMap, str] = {}
    dtypes: dict[FeatureMap, np.dtype[np.generic]] = {}
    for one in maps:
        value = copy.value(one.name)
        assert value.dtype is not None
        dtypes[one] = value.dtype.numpy()
        with copy.edit(at=_behind(value)) as editor:
            same = editor.op("Identity", [value], name=f"{one.name}.whole", like=value)
            dial, zero = (
                editor.constant(np.asarray(number, dtypes[one]), f"{one.name}.{what}") for number, what in ((-1, "dial"), (0, "off"))
            )
            kept = editor.op("Where", [editor.op("Greater", [editor.op("Abs", [same], like=same), dial]), same, zero], like=value)
            editor.replace(value, kept, keep=same.producer())
            earlier = None if one.shrink is None else copy.value(one.shrink.outputs[0].name or "").producer()
            if earlier is not None:
                editor.set_attribute(earlier, "lambd", 0.0)
        names[one], whole[one] = dial.name or "", same.name or ""
    return copy, Dials(names, whole, dtypes)


def applied(program: Program, thresholds: Mapping[FeatureMap, float], scales: Mapping[FeatureMap, float]) -> Program:
    """A copy with these thresholds, and as int8 where there is a scale."""
    copy = program.clone()
    for one, threshold in thresholds.items():
        value = copy.value(one.name)
        shrink = None if one.shrink is None else copy.value(one.shrink.outputs[0].name or "").producer()
        with copy.edit() as editor:
            set_threshold(editor, replace(one, value=value, shrink=shrink, grid=None), threshold, scales.get(one))
    return copy
