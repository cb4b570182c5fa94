"""What a consumer is to compensation: rows that it sees now, what it made of them before, and how to change it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.passes.refit.solve import Constant

Found = Mapping[str, np.ndarray]
"""Values of one run, by name."""

ROWS_PER_FEATURE, LEAST_ROWS, MOST_ROWS = 8, 4096, 32768
"""Rows that a layer is fitted on."""

HELD_ROWS = 2048
"""Rows that judge it."""


@dataclass(frozen=True, slots=True, eq=False)
class Site(ABC):
    """A layer whose inputs lost units.

    Its blocks are solved one by one: groups of a convolution, directions of a recurrent layer.

    Attributes:
        name: of the value that it makes; the same in both programs.
        node: in the pruned program.
        old: in the program before.
    """

    name: str
    node: onnx_ir.Node
    old: onnx_ir.Node

    @property
    @abstractmethod
    def wanted_old(self) -> tuple[str, ...]:
        """Values of the program before that it needs."""

    @property
    @abstractmethod
    def wanted(self) -> tuple[str, ...]:
        """Values of the pruned program that it needs."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """How many blocks there are."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Features of each block."""

    @property
    @abstractmethod
    def targets(self) -> int:
        """Targets of each block."""

    @property
    @abstractmethod
    def constant(self) -> Constant:
        """Whether there is a place for a constant."""

    @abstractmethod
    def places(self, old: Found) -> int:
        """How many rows a run of the program before offers."""

    @abstractmethod
    def target(self, old: Found, chosen: np.ndarray) -> np.ndarray:
        """What is wanted at the chosen places, [blocks, chosen, targets]."""

    @abstractmethod
    def rows(self, found: Found, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is seen there now, [blocks, chosen, features], and what is made of it, [blocks, chosen, targets]."""

    def towards(self, goal: str, factor: np.ndarray | None) -> Site:
        """The same layer, which is to make a sum that its output goes into what it was; itself where it cannot.

        Args:
            goal: name of the sum.
            factor: what the output's channels are multiplied by on the way, [outputs]; nothing where not given.
        """
        del goal, factor
        return self

    def free(self, block: int) -> np.ndarray | None:
        """Which elements of a block's matrix may change, bool [targets, features]; None where all may."""
        del block
        return None

    def metric(self, block: int) -> np.ndarray | None:
        """How errors of targets count, [targets, targets]; None where they count alike."""
        del block
        return None

    @abstractmethod
    def apply(self, editor: Editor, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> None:
        """Add to the weights: of each block what is added to its matrix, [targets, features], and to its constant, [targets]."""

    @property
    def fit_rows(self) -> int:
        """How many rows it is fitted on."""
        return min(MOST_ROWS, max(LEAST_ROWS, ROWS_PER_FEATURE * self.features))

    @property
    def target_bytes(self) -> int:
        """Memory that its targets take, in float32."""
        return 4 * self.blocks * (self.fit_rows + HELD_ROWS) * self.targets

    @property
    def fit_bytes(self) -> int:
        """Memory that fitting it takes: moments in float64, held-out rows in float32."""
        return self.blocks * (8 * self.features * (self.features + self.targets) + 4 * HELD_ROWS * (self.features + self.targets))
