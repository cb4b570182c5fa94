"""Products and convolutions: the output is what is wanted, patches of the input are what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netwright.ir.editor import Editor
from netwright.passes.prune.compensation.places import BiasPlace
from netwright.passes.prune.compensation.site import Found, Site
from netwright.passes.statistics import LinearLayer

WIDEST = 4096
"""Most features (input channels of a group, times taps) for which patch covariances are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchSite(Site):
    """A Conv, MatMul or Gemm whose every output is to be what it was: y = M x + b, [outputs], over patches x.

    Attributes:
        layer: in the pruned program.
        old_layer: in the program before.
        data: name of what the pruned layer multiplies.
        bias: of the pruned layer.
        kept: the old outputs that are left.
    """

    layer: LinearLayer
    old_layer: LinearLayer
    data: str
    bias: BiasPlace
    kept: np.ndarray

    @property
    def wanted_old(self) -> tuple[str, ...]:
        """The output, bias and all."""
        return (self.name,)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The output and the data."""
        return (self.name, self.data)

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
    def free_constant(self) -> bool:
        """Where there is a bias."""
        return self.bias.free

    def places(self, old: Found) -> int:
        """Positions of the output."""
        return self.old_layer.places(old[self.name])

    def target(self, old: Found, chosen: np.ndarray) -> np.ndarray:
        """The old output's channels that are left."""
        return self._blocks(self.old_layer.targets(old[self.name], chosen)[:, self.kept])

    def rows(self, found: Found, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Patches, and the output."""
        y = found[self.name]
        return self.layer.rows(found[self.data], y, chosen), self._blocks(self.layer.targets(y, chosen))

    def apply(self, editor: Editor, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> None:
        """New weight and bias."""
        editor.set_constant(self.layer.weight, self.layer.with_matrices(self.layer.matrices() + np.stack(deltas)))
        self.bias.add(editor, np.concatenate(shifts))

    def _blocks(self, y: np.ndarray) -> np.ndarray:
        return np.moveaxis(y.reshape(len(y), self.blocks, -1), 1, 0)
