"""The table of mends by operator, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import Axis, Tracked
from netwright.ir.coupling.walk import Mode
from netwright.ir.dims import Dim
from netwright.ir.editor import Editor
from netwright.ir.errors import NetwrightError
from netwright.ir.program import constant
from netwright.passes.prune.removal.state import State, expected_dims


class RemovalError(NetwrightError):
    """Units cannot be removed here, though the analysis said so."""


@dataclass(frozen=True, slots=True)
class Change:
    """A removal in progress.

    Attributes:
        state: the labels as they are before it.
        gone: which units are gone, bool.
        editor: the transaction.
        dims: what the dimensions of changed values will be.
    """

    state: State
    gone: np.ndarray
    editor: Editor
    dims: dict[onnx_ir.Value, tuple[Dim, ...]]

    @property
    def mode(self) -> Mode:
        """Along which factor of cut axes units lie."""
        return self.state.mode

    def before(self, value: onnx_ir.Value, node: onnx_ir.Node) -> tuple[Axis, ...]:
        """The axes of a value that a node reads or makes, before the removal."""
        if constant(value) is not None:
            return self.state.constants.get(self.state.key(value, node), ())
        return self.state.values.get(value, ())

    def keep(self, value: onnx_ir.Value, node: onnx_ir.Node, axis: int) -> np.ndarray | None:
        """Which indices stay along an axis; None where all do."""
        axes = self.before(value, node)
        found = axes[axis] if axes else None
        if not isinstance(found, Tracked):
            return None
        keep = self.state.keep(found, self.gone)
        return None if keep.all() else keep

    def sizes(self, value: onnx_ir.Value, node: onnx_ir.Node, axis: int) -> tuple[int, int] | None:
        """How long an axis was, and how long it will be; None where it does not change."""
        axes = self.before(value, node)
        found = axes[axis] if axes else None
        if not isinstance(found, Tracked) or not found.plain:
            return None
        left = int(self.state.keep(found, self.gone).sum())
        return None if left == len(found.labels) else (len(found.labels), left)

    def wanted(self, value: onnx_ir.Value) -> tuple[Dim, ...]:
        """A value's dimensions once the removal is done."""
        known = self.dims.get(value)
        if known is not None:
            return known
        axes = self.state.values.get(value, ())
        return expected_dims(value, axes, axes)


Mend: TypeAlias = Callable[[Change, onnx_ir.Node], None]

MENDS: dict[tuple[str, str], Mend] = {}
"""By domain and operator."""


def mend(*operators: str, domain: str = "") -> Callable[[Mend], Mend]:
    """Register a mend for operators of one domain."""

    def register(found: Mend) -> Mend:
        for operator in operators:
            MENDS[domain, operator] = found
        return found

    return register


def mend_for(node: onnx_ir.Node) -> Mend | None:
    """The mend for a node's operator, or None where nothing but its weights and values changes."""
    return MENDS.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))
