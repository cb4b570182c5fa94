"""Products and convolutions: the output is what is wanted, patches of the input are what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.refit.bias import BiasPlace
from netwright.passes.refit.site import Found, Site
from netwright.passes.refit.solve import Constant
from netwright.passes.statistics import LinearLayer

WIDEST = 4096
"""Most features (input channels of a group, times taps) for which patch covariances are taken."""

LEAST_FACTOR = 1e-6
"""Channels that a batch norm multiplies by less stay as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchSite(Site):
    """A Conv, MatMul or Gemm whose every output is to be what it was: y = M x + b, [outputs], over patches x.

    Attributes:
        layer: in the pruned program.
        old_layer: in the program before.
        data: name of what the pruned layer multiplies.
        bias: of the pruned layer.
        kept: the old outputs that are left.
        goal: name of the value that is to be what it was, where that is not the output but a sum that it goes into.
        factor: what the output's channels are multiplied by on the way there.
    """

    layer: LinearLayer
    old_layer: LinearLayer
    data: str
    bias: BiasPlace
    kept: np.ndarray
    goal: str = ""
    factor: np.ndarray | None = None

    @property
    def _goal(self) -> str:
        return self.goal or self.name

    def towards(self, goal: str, factor: np.ndarray | None) -> Site:
        """The same layer, which is to make a sum what it was."""
        return replace(self, goal=goal, factor=factor)

    @property
    def wanted_old(self) -> tuple[str, ...]:
        """The output, bias and all, or the sum."""
        return (self._goal,)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The same, and the data."""
        return (self._goal, self.data)

    @property
    def blocks(self) -> int:
        """Groups of channels."""
        return self.layer.groups

    @property
    def features(self) -> int:
        """Channels of a group, times taps."""
        return self.layer.channels * self.layer.taps

    @property
    def targets(self) -> int:
        """Outputs of a group."""
        return self.layer.outputs // self.layer.groups

    @property
    def constant(self) -> Constant:
        """The bias, or an Add that it takes."""
        return "costly" if self.bias.kind == "new" else "free"

    def places(self, old: Found) -> int:
        """Positions of the output."""
        return self.old_layer.places(old[self._goal])

    def target(self, old: Found, chosen: np.ndarray) -> np.ndarray:
        """The old output's channels that are left."""
        return self._blocks(self.old_layer.targets(old[self._goal], chosen)[:, self.kept])

    def rows(self, found: Found, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Patches, and the output."""
        y = found[self._goal]
        return self.layer.rows(found[self.data], y, chosen), self._blocks(self.layer.targets(y, chosen))

    def apply(self, editor: Editor, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> None:
        """New weight and bias."""
        delta, shift = self.of_output(deltas, shifts)
        editor.set_constant(self.layer.weight, self.layer.with_matrices(self.layer.matrices() + delta))
        self.bias.add(editor, shift)

    def of_output(self, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Solutions, which are in terms of the goal, as additions to the layer's matrices, [blocks, targets, features], and bias."""
        delta, shift = np.stack(deltas), np.concatenate(shifts)
        if self.factor is None:
            return delta, shift
        inverse = np.divide(1.0, self.factor, out=np.zeros_like(self.factor), where=np.abs(self.factor) > LEAST_FACTOR)
        return delta * inverse.reshape(self.blocks, -1, 1), shift * inverse

    def _blocks(self, y: np.ndarray) -> np.ndarray:
        return np.moveaxis(y.reshape(len(y), self.blocks, -1), 1, 0)
