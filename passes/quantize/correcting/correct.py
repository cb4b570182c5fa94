"""Empirical bias correction: biases make up for the mean of the error that integers leave, layer after layer.

    b ← b + E[y_float] − E[y_quantized]        y: what a layer makes with its bias, by output channel

The quantized mean is taken with everything before corrected already (Nagel et al., 2019, "Data-free quantization through weight
equalization and bias correction", empirical variant), so that a layer makes up for what reaches it as well. A shift is kept only for
channels in which it lowers the squared difference on held-out batches: activation statistics decide, not the size of the bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.passes.base import Proposals
from netwright.passes.quantize.correcting.biases import bias_behind
from netwright.passes.quantize.correcting.sums import Batch, Shift, Sums, shift
from netwright.passes.refit import bias_place
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.statistics import layer_of, pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Executor, Feeds

ROWS, PIECES = 8, 10
"""Data: so many rows in so many runs; every fifth is held out."""

FOLDS = 5

STAGES = 12
"""Most times that the quantized program is run over the data. In deeper ones the last layer of each stretch makes up for all of it."""

LEAST = 1e-3
"""A layer is corrected where the mean of its error, relative to what it makes, is more; below, it is not what costs accuracy."""

GAIN = 0.8
"""And where that falls to this share or lower on held-out batches."""


@dataclass(frozen=True, slots=True)
class Place:
    """A layer to be corrected.

    Attributes:
        value: name of what it makes with its bias, in both programs.
        channels: how many outputs.
        axis: of the value, along which they lie.
        depth: layers before it on the longest way.
    """

    value: str
    channels: int
    axis: int
    depth: int


def correct_biases(before: Program, program: Program, context: Context) -> Proposals:
    """A rewrite for each layer whose error falls, a Miss for each other. Runs the float program once over the data, the quantized
    one once for each depth of layers, `STAGES` times at most.

    Args:
        before: float.
        program: quantized; values keep the names that they had before.
        context: calibration data and an executor.

    Raises:
        DataError: the data holds no batch.
    """
    assert context.calibration is not None, "asked for only with data"
    assert context.executor is not None, "and with an executor"
    feeds = pieces(before, context.calibration, rows=ROWS, most=PIECES, seed=context.seed)
    if len(feeds) < 2:
        yield Miss("biases are left as they are: correcting them takes two batches, one to judge by", before.graph.outputs[0].name or "")
        return
    known = {value.name for node in program.graph for value in node.outputs}
    places = [place for place in _places(before) if place.value in known]
    goals = _sums(before, places, feeds, context.executor)
    fold = min(FOLDS, len(feeds))
    held = np.arange(len(feeds)) % fold == fold - 1
    for stage, members in _stages(places).items():
        for place in members:
            if place.depth != stage:
                yield Miss(f"bias left as it is: layers up to %{members[-1].value} make up for its error", place.value)
        last = [place for place in members if place.depth == stage]
        made = _sums(program, last, feeds, context.executor)
        for place in last:
            yield _proposal(program, place, shift(goals[place.value], made[place.value], held))


def _stages(places: Sequence[Place]) -> dict[int, list[Place]]:
    """Places by the depth of the last of a stretch of depths, in order."""
    depths = sorted({place.depth for place in places})
    width = -(-len(depths) // STAGES) or 1
    last = {depth: depths[min((number // width + 1) * width, len(depths)) - 1] for number, depth in enumerate(depths)}
    found: dict[int, list[Place]] = {}
    for place in sorted(places, key=lambda place: place.depth):
        found.setdefault(last[place.depth], []).append(place)
    return found


def _places(program: Program) -> Iterator[Place]:
    """Layers of the main graph, with their depths; linear."""
    depths: dict[onnx_ir.Value, int] = {}
    found: dict[str, Place] = {}
    for node in program.graph:
        depth = max((depths.get(value, 0) for value in node.inputs if value is not None), default=0)
        layer = layer_of(node)
        if layer is not None:
            place = bias_place(layer)
            found[place.output.name or ""] = Place(place.output.name or "", place.outputs, place.axis, depth)
        for value in node.outputs:
            depths[value] = depth + (layer is not None)
    yield from found.values()


def _sums(program: Program, places: Sequence[Place], feeds: Sequence[Feeds], executor: Executor) -> dict[str, Sums]:
    """Sums of each place's value."""
    found: dict[str, list[Batch]] = {place.value: [] for place in places}
    for one in feeds:
        values = executor.run(program, one, list(found))
        for place in places:
            found[place.value].append(Batch.of(values[place.value], place.axis))
    return {name: Sums.of(batches) for name, batches in found.items()}


def _proposal(program: Program, place: Place, found: Shift) -> Rewrite | Miss:
    if not np.isfinite(found.before):
        return Miss("bias left as it is: what the layer makes is zero or not finite", place.value)
    numbers = f"mean error on held-out data {found.before:.2%} → {found.after:.2%} of what it makes"
    if found.before < LEAST or found.after > GAIN * found.before:
        return Miss(f"bias left as it is: correcting it gains too little ({numbers})", place.value)
    bias = bias_behind(program.value(place.value), place.channels)
    if bias is None:
        return Miss(f"bias left as it is: there is none to correct ({numbers} with one)", place.value)
    count = int(np.count_nonzero(found.values))
    why = f"bias corrected in {count} of {place.channels} channels: {numbers}"
    return Rewrite.edit(place.value, why, lambda editor: bias.add(editor, found.values), anchor=bias.reader)
