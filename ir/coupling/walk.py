"""One walk over a program, node by node, in which every axis of every value gets its labels.

Operators say what they do to axes in `netwright.ir.coupling.rules`. An operator without a rule fixes what comes out of it and
freezes what goes into it, with the reason. Where a reshape cuts an axis in two, or an operator works on groups of channels, units
can lie along the outer or along the inner of the two factors: `Mode` chooses, and the analysis walks once for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.cost.analysis import module_of
from netwright.ir.cost.params import parameter_elements
from netwright.ir.coupling.axes import DYNAMIC, ONE, Axis, Fixed, Tracked
from netwright.ir.coupling.group import Role
from netwright.ir.coupling.units import Labels, Units
from netwright.ir.dims import Dim, shape_of
from netwright.ir.opinfo import DATA_MOVEMENT, is_float, site, subgraphs
from netwright.ir.program import Program, constant
from netwright.ir.shape_context import contents

Mode: TypeAlias = Literal["outer", "inner"]
"""Along which factor of a cut axis units lie: `outer` gives attention heads and whole groups, `inner` the features in each."""

ConstantKey: TypeAlias = tuple[onnx_ir.Value, onnx_ir.Node | None]
"""A constant, and the node that reads it where each reader has a copy of its own to change."""


@dataclass(frozen=True, slots=True)
class Use:
    """How a node uses an axis of a weight, or of a value computed from weights."""

    value: onnx_ir.Value
    axis: int
    role: Role
    node: onnx_ir.Node


@dataclass(slots=True)
class Walk:
    """What a walk has found.

    Attributes:
        program: what is walked over.
        mode: see `Mode`.
        banned: places (node, axis) whose outer factor is picked from by index, so that units must lie along the next one.
        units: the labels.
        values: axes of all values but constants.
        constants: axes of constants; vectors that several nodes read have axes for each reader.
        uses: what the rules said of weights.
        works: labels along which a node's multiply-accumulates lie.
        cuts: labels that a reshape has made of an axis by cutting it, with the place.
        taken: the places that a Slice takes along an axis.
        picked: places whose outer factor turned out to be picked from by index.
    """

    program: Program
    mode: Mode
    banned: frozenset[tuple[str, int]] = frozenset()
    units: Units = field(default_factory=Units)
    values: dict[onnx_ir.Value, tuple[Axis, ...]] = field(default_factory=dict[onnx_ir.Value, "tuple[Axis, ...]"])
    constants: dict[ConstantKey, tuple[Axis, ...]] = field(default_factory=dict["ConstantKey", "tuple[Axis, ...]"])
    uses: list[Use] = field(default_factory=list[Use])
    works: list[tuple[onnx_ir.Node, Labels]] = field(default_factory=list["tuple[onnx_ir.Node, Labels]"])
    cuts: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    picked: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    taken: dict[tuple[onnx_ir.Node, int], np.ndarray] = field(default_factory=dict["tuple[onnx_ir.Node, int]", np.ndarray])
    derived: set[onnx_ir.Value] = field(default_factory=set[onnx_ir.Value])
    """Values computed from constants alone."""

    # ---- axes of values --------------------------------------------------------------------------------------------

    def axes(self, value: onnx_ir.Value, node: onnx_ir.Node) -> tuple[Axis, ...]:
        """The axes of a value that a node reads; those of a constant get labels when first asked for.

        Args:
            value: the value.
            node: the node that reads it.
        """
        known = self.values.get(value)
        if known is not None:
            return known
        tensor = constant(value)
        if tensor is None:
            found = self.fixed(value, f"nothing is known of %{value.name}")
            self.values[value] = found
            return found
        key = constant_key(value, node)
        known = self.constants.get(key)
        if known is None:
            dims = tensor.shape.numpy()
            weight = is_float(tensor.dtype)
            known = tuple(
                ONE if size == 1 else Tracked(self.units.fresh(size)) if weight else Fixed(f"%{value.name} holds no weights")
                for size in dims
            )
            self.constants[key] = known
        return known

    def set(self, value: onnx_ir.Value, axes: Sequence[Axis]) -> None:
        """Say what the axes of a node's output are; twice only where a body is walked again, then both are one."""
        found = tuple(axes)
        dims = shape_of(value)
        if dims is None or len(dims) != len(found):
            self.freeze(found, f"the number of axes of %{value.name} is not known")
            found = self.fixed(value, f"the number of axes of %{value.name} is not known")
        else:
            found = tuple(ONE if dim == 1 else axis for dim, axis in zip(dims, found, strict=True))
        before = self.values.get(value)
        if before is not None:
            found = tuple(self.join((a, b)) for a, b in zip(before, found, strict=False))
        self.values[value] = found

    def fixed(self, value: onnx_ir.Value, why: str) -> tuple[Axis, ...]:
        """All axes fixed, for one reason."""
        return (Fixed(why),) * len(shape_of(value) or ())

    def is_weight(self, value: onnx_ir.Value | None) -> bool:
        """True of constants and of what is computed from constants alone."""
        return value is not None and (value in self.derived or constant(value) is not None)

    # ---- what rules say --------------------------------------------------------------------------------------------

    def join(self, axes: Iterable[Axis]) -> Axis:
        """One axis of what several must be alike along: their labels go together, and freeze where one of them is fixed."""
        tracked: list[Tracked] = []
        fixed: Fixed | None = None
        for axis in axes:
            if isinstance(axis, Tracked):
                tracked.append(axis)
            elif axis is not ONE and (fixed is None or fixed is DYNAMIC):
                fixed = axis
        if not tracked:
            return fixed or ONE
        first = next((axis for axis in tracked if not axis.weak), tracked[0])
        if fixed is None:
            for other in tracked:
                if first.like(other):
                    self.units.tie(first.labels, other.labels)
                else:
                    fixed = Fixed("axes that a reshape has merged in other ways meet")
        if fixed is not None:
            for axis in tracked:
                self.units.freeze(axis.labels, fixed.why)
            return fixed
        return first

    def freeze(self, axes: Axis | Iterable[Axis], why: str) -> None:
        """Nothing can go along these axes."""
        for axis in (axes,) if isinstance(axes, (Fixed, Tracked)) else axes:
            if isinstance(axis, Tracked):
                self.units.freeze(axis.labels, why)

    def use(self, value: onnx_ir.Value, axis: int, role: Role, node: onnx_ir.Node) -> None:
        """A node uses an axis of a weight; of activations nothing is noted."""
        if self.is_weight(value):
            self.uses.append(Use(value, axis, role, node))

    def make(self, axis: Axis, node: onnx_ir.Node) -> None:
        """A node makes the units along this axis."""
        if isinstance(axis, Tracked):
            self.units.made(axis.labels, site(node), module_of(node))

    def work(self, node: onnx_ir.Node, *axes: Axis) -> None:
        """A node's multiply-accumulates lie along these axes."""
        self.works.extend((node, axis.labels) for axis in axes if isinstance(axis, Tracked))

    def mark(self, axis: Axis, what: str) -> None:
        """The axis is seen in a place that tells what its units are."""
        if isinstance(axis, Tracked):
            self.units.mark(axis.labels, what)

    def inexact(self, axis: Axis, why: str) -> None:
        """Removing units along the axis changes the others."""
        if isinstance(axis, Tracked):
            self.units.inexact(axis.labels, why)

    def pick(self, axis: Axis, why: str) -> None:
        """Some places along the axis are picked by index: it cannot change. If a reshape made it by a cut, try another factor."""
        if not isinstance(axis, Tracked):
            return
        self.units.freeze(axis.labels, why)
        place = self.cuts.get(int(axis.labels[0])) if len(axis.labels) else None
        if place is not None:
            self.picked.add(place)

    # ---- walking ---------------------------------------------------------------------------------------------------

    def graph(self, graph: onnx_ir.Graph) -> None:
        """Walk over a graph whose inputs are known."""
        from netwright.ir.coupling.rules import rule_for
        from netwright.ir.coupling.rules.table import NoRule

        for node in graph:
            if node.op_type == "Constant" and not node.domain:
                continue
            self._note_derived(node)
            rule = rule_for(node)
            if rule is None or not (subgraphs(node) or _known_shapes(node)):
                self.unknown(node, self._why(node) if rule is None else "the shapes around it are not known")
                continue
            try:
                rule(self, node)
            except NoRule as why:
                self.unknown(node, str(why))

    def unknown(self, node: onnx_ir.Node, why: str) -> None:
        """Fix what comes out of a node, and freeze what goes in."""
        reason = f"{node.op_type} at %{site(node)}: {why}"
        for value in node.inputs:
            if value is not None and (value in self.values or constant(value) is not None):
                self.freeze(self.axes(value, node), reason)
        self._show(node, reason)
        for value in node.outputs:
            self.set(value, self.fixed(value, reason))
        for _, body in subgraphs(node):
            for formal in body.inputs:
                self.set(formal, self.fixed(formal, reason))
            for inner in body:
                self.unknown(inner, f"it is inside {node.op_type} at %{site(node)}, where {why}")

    def _show(self, node: onnx_ir.Node, reason: str) -> None:
        """One group of the matrices that a node without a rule reads, to be seen with the reason, though nothing of it can go."""
        found = [axis for value in dict.fromkeys(node.inputs) if value is not None and (axis := self._shown(value, node)) is not None]
        if not found and _holds_weights(self.program.model.functions.get(node.op_identifier())):
            found.append(Tracked(self.units.fresh(1)))
        for axis in found:
            self.freeze(axis, reason)
            self.make(axis, node)
            self.units.tie(axis.labels[:1], found[0].labels[:1])  # units that none can tell apart: one group

    def _shown(self, value: onnx_ir.Value, node: onnx_ir.Node) -> Tracked | None:
        """The axis along which a weight of two axes and more is shown; one of integers gets labels for it."""
        if not self.is_weight(value) or len(shape_of(value) or ()) < 2:
            return None
        axes = self.axes(value, node)
        tracked = next((axis for axis in axes if isinstance(axis, Tracked) and _is_range(axis.labels)), None)
        tensor = constant(value)
        if tracked is not None or tensor is None or not parameter_elements(value):
            return tracked
        sizes = tensor.shape.numpy()
        place = next((index for index, axis in enumerate(axes) if axis is not ONE), 0)
        fresh = Tracked(self.units.fresh(sizes[place]))
        self.constants[constant_key(value, node)] = (*axes[:place], fresh, *axes[place + 1 :])
        return fresh

    def _why(self, node: onnx_ir.Node) -> str:
        """Why a node has no rule."""
        if node.op_identifier() in self.program.model.functions:
            return "a model-local function is looked into only once simplify has inlined it"
        return "no rule is known for it"

    def _note_derived(self, node: onnx_ir.Node) -> None:
        """Note what is computed from weights alone, and from numbers that follow from shapes (where to cut them, say)."""
        values = [value for value in node.inputs if value is not None]
        if subgraphs(node) or not any(self.is_weight(value) for value in values):
            return
        if all(self.is_weight(value) or contents(value) is not None for value in values):
            self.derived.update(node.outputs)


def _holds_weights(function: onnx_ir.Function | None) -> bool:
    """True of functions with constants of two axes and more inside."""
    if function is None:
        return False
    constants = (constant(node.outputs[0]) for node in function.all_nodes() if node.op_type == "Constant" and not node.domain)
    return any(tensor is not None and len(tensor.shape) > 1 for tensor in constants)


def _is_range(labels: Labels) -> bool:
    """True of labels as they were given out, of which a node can be said to make them."""
    return len(labels) > 0 and bool(np.all(np.diff(labels) == 1))


def walk(program: Program, mode: Mode, banned: frozenset[tuple[str, int]] = frozenset()) -> Walk:
    """Walk over a program's main graph, and what is inside it. About 40 µs a node."""
    found = Walk(program, mode, banned)
    for value in program.graph.inputs:
        found.values[value] = found.fixed(value, f"%{value.name} is an input of the model")
    found.graph(program.graph)
    for value in program.graph.outputs:
        axes = found.values.get(value) or ()
        found.freeze(axes, f"%{value.name} is an output of the model")
    return found


def constant_key(value: onnx_ir.Value, node: onnx_ir.Node) -> ConstantKey:
    """Under which key a constant's axes are kept: vectors apart for each reader, for exporters merge equal ones.

    Readers that only cut and move it (as the gates of a recurrent layer's bias) see one vector.
    """
    tensor = constant(value)
    if node.op_type not in DATA_MOVEMENT and tensor is not None and sum(size > 1 for size in tensor.shape.numpy()) <= 1:
        return value, node
    return value, None


def dims_of(value: onnx_ir.Value) -> tuple[Dim, ...]:
    """A value's dimensions; a rule is only asked where they are known."""
    return shape_of(value) or ()


def _known_shapes(node: onnx_ir.Node) -> bool:
    """True where the ranks of all tensors around a node are known."""
    return all(value is None or not _is_tensor(value) or shape_of(value) is not None for value in (*node.inputs, *node.outputs))


def _is_tensor(value: onnx_ir.Value) -> bool:
    return value.type is None or isinstance(value.type, onnx_ir.TensorType)
