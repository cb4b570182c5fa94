"""The pass `equalize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir

from netwright.ir.errors import PipelineError
from netwright.ir.program import array
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.numerics import Close, Numerics
from netwright.passes.quantize.equalizing.pairs import Pair, find_pairs, ranges, reader_axis
from netwright.passes.quantize.equalizing.scaled import Part
from netwright.passes.rewrite import Miss, Rewrite

if TYPE_CHECKING:
    from netwright.ir.editor import Editor
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.statistics import LinearLayer

ROUNDS = 50
CONVERGED = 1e-4
"""Rounds end where no scale changes by more."""

UNEVEN = 1.05
"""Pairs whose scales all lie within this of 1 are even already."""


@dataclass(frozen=True, kw_only=True)
class Equalize(RewritePass):
    """Make the ranges of neighbouring layers alike, channel by channel, so that one scale fits all channels of an activation.

    Exact across Relu, LeakyRelu and pooling, for chains of convolutions (depthwise ones included) and of products; needs no data. Layers
    with bounded activations behind them (Clip, Sigmoid, …) stay as they are, each a miss.
    """

    name: ClassVar[str] = "equalize"
    numerics: ClassVar[Numerics] = Close(rtol=1e-4, atol=1e-5)
    fixpoint: ClassVar[bool] = True

    largest: float = 1024.0
    """No channel is scaled by more than this, nor by less than its inverse."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            PipelineError: one is.
        """
        if not self.largest > 1:
            raise PipelineError(f"'largest' is a factor over 1, not {self.largest!r}.", place="equalize")

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Find all scales by iteration on the weights' magnitudes, then one rewrite a pair. Linear in weights, times rounds."""
        del context
        found = list(find_pairs(program))
        yield from [entry for entry in found if isinstance(entry, Miss)]
        pairs = [entry for entry in found if isinstance(entry, Pair)]
        for pair, scales in zip(pairs, converged(pairs, self.largest), strict=True):
            spread = float(np.abs(np.log(scales)).max(initial=0))
            if spread <= np.log(UNEVEN):
                yield Miss(f"not equalized: its channels are even already (scales up to {np.exp(spread):.3g})", pair.name)
                continue
            yield _rewrite(pair, scales)


def converged(pairs: Sequence[Pair], largest: float) -> list[np.ndarray]:
    """What each pair's channels are divided by, [channels] each."""
    weights = dict.fromkeys(layer.weight for pair in pairs for layer in (pair.first, *pair.readers))
    magnitudes = {weight: np.abs(_data(weight)).astype(np.float64) for weight in weights}
    totals = [np.ones(pair.first.outputs) for pair in pairs]
    for _ in range(ROUNDS):
        change = 0.0
        for pair, total in zip(pairs, totals, strict=True):
            first, second = ranges(pair, magnitudes)
            used = (first > 0) & (second > 0)
            step = np.ones(first.size)
            step[used] = np.sqrt(first[used] / second[used])
            step = np.clip(total * step, 1 / largest, largest) / total
            total *= step
            _times(magnitudes, pair.first.weight, 1 / step, pair.first.out_axis)
            for reader in pair.readers:
                _times(magnitudes, reader.weight, _repeated(reader, step), reader_axis(reader))
            change = max(change, float(np.abs(step - 1).max(initial=0)))
        if change < CONVERGED:
            break
    return totals


def _rewrite(pair: Pair, scales: np.ndarray) -> Rewrite:
    names = ", ".join(f"%{reader.node.outputs[0].name}" for reader in pair.readers)
    why = f"channels divided by {scales.min():.3g} to {scales.max():.3g}, multiplied back in {names}"

    def change(editor: Editor) -> None:
        for part in (Part(pair.first.node, 1, pair.first.out_axis), *pair.bias):
            part.scale(editor, 1 / scales)
        for reader in pair.readers:
            Part(reader.node, 1, reader_axis(reader)).scale(editor, _repeated(reader, scales))

    return Rewrite.edit(pair.name, why, change, anchor=pair.first.node)


def _repeated(reader: LinearLayer, scales: np.ndarray) -> np.ndarray:
    """A depthwise reader with several outputs a channel takes each scale that often."""
    return np.repeat(scales, reader.outputs // reader.groups) if reader.groups > 1 else scales


def _times(magnitudes: Mapping[onnx_ir.Value, np.ndarray], weight: onnx_ir.Value, factors: np.ndarray, axis: int) -> None:
    shape = [1] * magnitudes[weight].ndim
    shape[axis] = -1
    np.multiply(magnitudes[weight], factors.reshape(shape), out=magnitudes[weight])


def _data(weight: onnx_ir.Value) -> np.ndarray:
    data = array(weight)
    assert data is not None, "found by its constant weight"
    return data
