"""Weights and biases that make up for what integers before them leave as error: convolutions, one after the other.

    M* = argmin E|M (x̂ - E x̂) - W (x - E x)|² + λ|M - W|²  = W (C + λ) (H + λ)⁻¹,   b* = b + E[W x] - E[M̂ x̂]

x: what a layer sees in the float program; x̂: what it sees once everything before it is integers; H: the covariance of x̂; C = E[x x̂ᵀ],
both centred. M* is rounded column after column (GPTQ; Frantar et al., 2023) to M̂ with H, so that errors of one column are made up for by
those after it, of the mean by the bias. That the float layer's own output is the goal, with x̂ as the input, is AdaRound's asymmetric
reconstruction (Nagel et al., 2020). Of several λ, of rounding alone, and of the nearest integers, that is kept which is closest on rows of
batches that are held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir

from netwright.ir.opinfo import subgraphs
from netwright.ir.program import array
from netwright.passes.base import Proposals
from netwright.passes.quantize.choice import Static
from netwright.passes.quantize.integers import Blocks, Channels, by_rows
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.rounding.gptq import gptq
from netwright.passes.quantize.rounding.grid import Grid
from netwright.passes.quantize.rounding.reading import view_of
from netwright.passes.refit import bias_place
from netwright.passes.refit.prefix import Prefix
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.statistics import Repeated, Rows, layer_of, pieces

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context
    from netwright.passes.quantize.units import Unit

ROWS, PIECES, FOLDS = 8, 12, 4
"""Data: so many rows in so many runs; every fifth run is held out."""

PLACES, ELEMENTS = 512, 1 << 23
"""Positions drawn of each run, and elements of what is drawn."""

RIDGES = (0.01, 0.1)
"""λ tried, as shares of the mean of H's diagonal."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What a layer sees in both programs.

    Attributes:
        mean: of x, [parts, features].
        mean_made: of x̂.
        second: covariance of x̂, [parts, features, features].
        cross: E[x x̂ᵀ] less that of the means, the same shape.
        held: rows of x and of x̂ that are not summed up, [parts, rows, features] each.
    """

    mean: np.ndarray
    mean_made: np.ndarray
    second: np.ndarray
    cross: np.ndarray
    held: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A rounded weight and the change of its bias, with the squared error that they leave on held-out rows."""

    channels: Channels
    shift: np.ndarray
    error: float
    form: str


@dataclass(slots=True)
class Compensator:
    """Rounds convolutions so that they make up for what is before them; everything else as another rounder does.

    Attributes:
        before: the float program.
        context: calibration data and executor.
        rounder: of all weights that are not fitted here.
    """

    before: Program
    context: Context
    rounder: Rounder
    _fitted: dict[str, Channels] = field(default_factory=dict[str, Channels])
    _prefixes: tuple[Prefix, Prefix] | None = None

    @property
    def misses(self) -> Sequence[Miss]:
        """Of the other rounder."""
        return self.rounder.misses

    def rows(
        self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, factors: np.ndarray | None = None, per_channel: bool = True
    ) -> Channels:
        """What was fitted, where it was."""
        found = self._fitted.get(weight.name or "")
        return self.rounder.rows(weight, matrix, bits=bits, factors=factors, per_channel=per_channel) if found is None else found

    def blocks(self, weight: onnx_ir.Value, matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool) -> Blocks:
        """See `Rounder`."""
        return self.rounder.blocks(weight, matrix, bits=bits, block_size=block_size, symmetric=symmetric)

    def prepare(self, program: Program, unit: Unit, choice: Static) -> Proposals:
        """Fit one layer, everything before which is integers by now; its bias is rewritten at once, its weight when it is stored.

        Runs both programs over the data from the layer before on, whose results are kept.
        """
        node, name = unit.sites[0].node, unit.sites[0].name
        layer = layer_of(node)
        if len(unit.sites) > 1 or layer is None or layer.window is None or node.graph is not program.graph:
            yield Miss("does not make up for errors before it: that is for convolutions of the main graph with a weight of their own", name)
            return
        made = view_of(node)
        twin = next((one for one in self.before.graph if site_of(one) == name), None)
        goal = None if twin is None else view_of(twin)
        weight = array(layer.weight)
        if twin is None or made is None or goal is None or weight is None:
            yield Miss("does not make up for errors before it: it is not the same layer in the float program", name)
            return
        seen = self._moments(program, (twin, node), (goal, made))
        if seen is None:
            yield Miss("does not make up for errors before it: what it sees is not finite", name)
            return
        matrix = weight.reshape(len(weight), -1)
        nearest = self.rounder.rows(layer.weight, matrix, bits=choice.bits, per_channel=choice.axis != "tensor")
        fits = list(_fits(matrix, seen, nearest, choice))
        first, best = fits[0], min(fits, key=lambda fit: fit.error)
        self._fitted[layer.weight.name or ""] = best.channels
        place = bias_place(layer)
        why = f"{best.form}: error on held-out data {_root(first.error, matrix, seen):.3%} → {_root(best.error, matrix, seen):.3%}"
        if np.any(best.shift):
            yield Rewrite.edit(name, why, lambda editor: place.add(editor, best.shift), anchor=node)
        else:
            yield Miss(f"its bias stays as it is ({why})", name)

    def _moments(self, program: Program, nodes: tuple[onnx_ir.Node, onnx_ir.Node], views: tuple[Rows, Rows]) -> Moments | None:
        executor, seed = self.context.executor, self.context.seed
        assert self.context.calibration is not None, "asked for only with data"
        assert executor is not None, "and with an executor"
        if self._prefixes is None:
            data = Repeated(self.before, pieces(self.before, self.context.calibration, rows=ROWS, most=PIECES, seed=seed))
            self._prefixes = Prefix(data, executor), Prefix(data, executor)
        both = zip(self._prefixes, (self.before, program), nodes, views, strict=True)
        floats, integers = (_drawn(prefix, whole, border(whole, node), view, seed) for prefix, whole, node, view in both)
        fold = min(FOLDS, len(floats))
        fitted = [number for number in range(len(floats)) if number % fold != fold - 1] or [0]
        held = [number for number in range(len(floats)) if number % fold == fold - 1]
        x, y = (np.concatenate([one[number] for number in fitted], axis=1) for one in (floats, integers))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return None
        mean, mean_made = x.mean(axis=1, dtype=np.float64), y.mean(axis=1, dtype=np.float64)
        x, y = x - mean[:, None].astype(np.float32), y - mean_made[:, None].astype(np.float32)
        turned = y.transpose(0, 2, 1)
        second, cross = (turned @ y).astype(np.float64) / x.shape[1], (x.transpose(0, 2, 1) @ y).astype(np.float64) / x.shape[1]
        judging = tuple(np.concatenate([one[number] for number in held], axis=1) for one in (floats, integers))
        return Moments(mean, mean_made, second, cross, (judging[0], judging[1]))


def _drawn(prefix: Prefix, program: Program, before: Sequence[str], view: Rows, seed: int) -> list[np.ndarray]:
    """Rows of each run, at the same places in whatever program."""
    found: list[np.ndarray] = []
    for number, values in enumerate(prefix.runs(program, view.wanted, before)):
        parts, _, width = view.rows(values, 1, [seed, number]).shape
        found.append(view.rows(values, max(16, min(PLACES, ELEMENTS // (parts * width))), [seed, number]).astype(np.float32))
    return found


def border(program: Program, node: onnx_ir.Node) -> tuple[str, ...]:
    """Names of the values that a node of the main graph and all after it read of inputs and of nodes before; linear.

    Empty where one of them is no tensor with a name.
    """
    found: dict[str, None] = {}
    varying: set[onnx_ir.Value] = {value for value in program.graph.inputs if not value.is_initializer()}
    before, passed = set(varying), False
    for one in program.graph:
        passed = passed or one is node
        inner = (value for _, graph in subgraphs(one) for each in graph.all_nodes() for value in each.inputs)
        read = [value for value in (*one.inputs, *inner) if value is not None and value in varying]
        if not read:
            continue
        varying.update(one.outputs)
        if not passed:
            before.update(one.outputs)
            continue
        for value in read:
            if value in before:
                if not value.name or (value.type is not None and not isinstance(value.type, onnx_ir.TensorType)):
                    return ()
                found[value.name] = None
    return tuple(found)


def _fits(matrix: np.ndarray, seen: Moments, nearest: Channels, choice: Static) -> Iterator[Fit]:
    """The nearest integers as they are, and with a bias; rounded by GPTQ; fitted with each λ and rounded."""
    own = matrix.astype(np.float64)
    plain = _weights(nearest)
    none = np.zeros(len(matrix))
    yield Fit(nearest, none, _error(own, plain, none, seen), "nearest integers")
    shift = _shift(own, plain, seen)
    yield Fit(nearest, shift, _error(own, plain, shift, seen), "nearest integers, bias moved")
    width = seen.second.shape[1]
    diagonal = np.diagonal(seen.second, axis1=1, axis2=2).mean(axis=1)
    scale = np.where(diagonal > 0, diagonal, 1.0)[:, None, None] * np.eye(width)
    for ridge in (None, *RIDGES):
        target = own
        if ridge is not None:
            gain = np.linalg.solve(seen.second + ridge * scale, (seen.cross + ridge * scale).transpose(0, 2, 1))
            target = _times(own, gain.transpose(0, 2, 1))
        channels = by_rows(target.astype(np.float32), bits=choice.bits, per_channel=choice.axis != "tensor")
        grid = Grid.of_channels(channels, choice.bits, matrix.shape[1])
        rounded = grid.channels(gptq(target.astype(np.float32), seen.second, grid), per_channel=choice.axis != "tensor")
        made = _weights(rounded)
        shift = _shift(own, made, seen)
        form = "rounded by gptq" if ridge is None else f"fitted to integers before it (λ {ridge:g})"
        yield Fit(rounded, shift, _error(own, made, shift, seen), form)


def _weights(channels: Channels) -> np.ndarray:
    return channels.values.astype(np.float64) * channels.scale.astype(np.float64).reshape(-1, 1)


def _cut(matrix: np.ndarray, parts: int, width: int) -> np.ndarray:
    """[parts, members, width]: what each part multiplies; runs of features of one group lie one after the other."""
    stacks = matrix.shape[1] // width
    groups = parts // stacks
    return matrix.reshape(groups, -1, stacks, width).transpose(0, 2, 1, 3).reshape(parts, -1, width)


def _times(matrix: np.ndarray, gain: np.ndarray) -> np.ndarray:
    parts, width = gain.shape[0], gain.shape[1]
    stacks = matrix.shape[1] // width
    made = _cut(matrix, parts, width) @ gain
    return made.reshape(parts // stacks, stacks, -1, width).transpose(0, 2, 1, 3).reshape(matrix.shape)


def _sums(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """M x of rows [parts, n, width]: [outputs, n]."""
    parts, count, width = rows.shape
    stacks = matrix.shape[1] // width
    made = _cut(matrix, parts, width).astype(rows.dtype) @ rows.transpose(0, 2, 1)
    return made.reshape(parts // stacks, stacks, -1, count).sum(axis=1).reshape(len(matrix), count)


def _shift(matrix: np.ndarray, made: np.ndarray, seen: Moments) -> np.ndarray:
    return (_sums(matrix, seen.mean[:, None]) - _sums(made, seen.mean_made[:, None]))[:, 0]


def _error(matrix: np.ndarray, made: np.ndarray, shift: np.ndarray, seen: Moments) -> float:
    """Σ over outputs of the mean squared difference on held-out rows."""
    off = _sums(matrix, seen.held[0]) - _sums(made, seen.held[1]) - shift[:, None].astype(np.float32)
    return float(np.square(off).mean(axis=1, dtype=np.float64).sum())


def _root(error: float, matrix: np.ndarray, seen: Moments) -> float:
    whole = _sums(matrix.astype(np.float64), seen.held[0])
    power = float(np.var(whole, axis=1, dtype=np.float64).sum())
    return (error / power) ** 0.5 if power > 0 else 0.0
