"""Whether a removal is exact: what is left of a unit that is zero must not be missed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.coupling.axes import Tracked
from netwright.ir.coupling.group import Group, Role
from netwright.ir.coupling.walk import ConstantKey
from netwright.ir.editor import Editor
from netwright.ir.opinfo import DATA_MOVEMENT, site, subgraphs
from netwright.ir.program import constant
from netwright.passes.prune.removal.ends import Ends, ends
from netwright.passes.prune.removal.folding import fold
from netwright.passes.prune.removal.state import State
from netwright.passes.prune.removal.survivors import Survivors

_BLIND = DATA_MOVEMENT | {"CastLike", "EyeLike", "RandomNormalLike", "RandomUniformLike", "Shape", "Size"}
"""What may drop units whatever they hold: it moves numbers, or takes only a shape or a type."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a removal comes to.

    Attributes:
        obstacle: why it is not exact, as a sentence; empty where it is.
        folds: what must be added to biases for it.
    """

    obstacle: str
    folds: tuple[Callable[[Editor], None], ...]


def judge(state: State, group: Group, removed: np.ndarray, nodes: Sequence[onnx_ir.Node]) -> Verdict:
    """Follow the removed units to where they end.

    Args:
        state: the labels.
        group: the group.
        removed: its units that go, among all of the partition.
        nodes: those around what changes, in order, each inside one before it.
    """
    places = state.partition.constants[group.name]
    roles: dict[tuple[ConstantKey, int], Role] = {place: found.role for place, found in zip(places, group.slices, strict=True)}
    return _Judge(state, group, removed, roles).judge(nodes)


@dataclass(slots=True)
class _Judge:
    """One removal, looked at node by node."""

    state: State
    group: Group
    removed: np.ndarray
    roles: dict[tuple[ConstantKey, int], Role]
    survivors: Survivors = field(init=False)
    gone: np.ndarray = field(init=False)
    folds: list[Callable[[Editor], None]] = field(default_factory=list["Callable[[Editor], None]"])

    def __post_init__(self) -> None:
        self.survivors = Survivors(self.state, self.removed, self._role)
        self.gone = np.zeros(self.state.partition.traced.solved.count, dtype=bool)
        self.gone[self.removed] = True

    def judge(self, nodes: Sequence[onnx_ir.Node]) -> Verdict:
        inside = {inner for node in nodes for _, body in subgraphs(node) for inner in body.all_nodes()}
        for node in nodes:
            if node not in inside:  # those inside are visited from the node that holds them
                self.survivors.visit(node)
        reasons = [reason for node in nodes for reason in self._reasons(node) if reason]
        return Verdict(reasons[0] if reasons else "", tuple(self.folds))

    def _role(self, value: onnx_ir.Value, node: onnx_ir.Node, axis: int) -> Role:
        key = self.state.key(value, node)
        return "shift" if key in self.state.added_constants else self.roles.get((key, axis), "other")

    def _reasons(self, node: onnx_ir.Node) -> Iterator[str]:
        found = ends(node, self.state.mode)
        for one in found:
            yield self._end(node, one)
        if node.op_type not in _BLIND and not subgraphs(node):
            yield self._lost(node, found)

    def _end(self, node: onnx_ir.Node, found: Ends) -> str:
        """What becomes of the constants at an axis that a node sums over."""
        if self.group.kind == "heads" and any(
            constant(value) is not None and self._role(value, node, axis) == "in" for value, axis in found.axes
        ):
            return ""  # a head is made zero where it is heard, too
        computed = tuple((value, axis) for value, axis in found.axes if constant(value) is None) or found.axes
        here, zero = np.zeros(len(self.removed), dtype=bool), np.zeros(len(self.removed), dtype=bool)
        for value, axis in computed:
            has = self.survivors.has(value, node, (axis,))
            here |= has
            zero |= has & (self.survivors.of(value, node) == 0)
        if not (here & ~zero).any():
            return ""
        value, axis = computed[0]
        indices, left = self._along(value, axis, node)
        if len(computed) > 1 or np.isnan(left).any():
            return f"what {node.op_type} at %{site(node)} sums over is not zero where its units are"
        done = fold(self.state, node, left, indices)
        if isinstance(done, str):
            return f"zero has become {float(left[left != 0][0]):.4g} before {node.op_type} at %{site(node)}, and {done}"
        self.folds.append(done)
        return ""

    def _along(self, value: onnx_ir.Value, axis: int, node: onnx_ir.Node) -> tuple[np.ndarray, np.ndarray]:
        """Which indices along an axis go, and what they hold."""
        tracked = self.survivors.axes(value, node)[axis]
        if not isinstance(tracked, Tracked):
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        units = self.state.units(tracked)
        indices = np.flatnonzero(self.gone[units])
        by_unit = np.full(len(self.gone), np.nan)
        by_unit[self.removed] = self.survivors.of(value, node)
        return indices, by_unit[units[indices]]

    def _lost(self, node: onnx_ir.Node, found: Sequence[Ends]) -> str:
        """Units that go in, apart from where the node is known to sum, and do not come out, must be zero."""
        walk = self.state.partition.traced.walk
        summed = {place for one in found for place in one.axes}
        values = [value for value in dict.fromkeys(node.inputs) if value is not None and not walk.is_weight(value)]
        out = np.zeros(len(self.removed), dtype=bool)
        for output in node.outputs:
            out |= self.survivors.has(output, node)
        for value in values:
            others = [axis for axis in range(len(self.survivors.axes(value, node))) if (value, axis) not in summed]
            lost = self.survivors.has(value, node, others) & ~out
            if (lost & ~(self.survivors.of(value, node) == 0)).any():
                return f"what {node.op_type} at %{site(node)} takes in is not zero where its units are"
        return ""
