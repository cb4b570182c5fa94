"""The coupling analysis: from walks to groups.

One walk finds channels, hidden units and the features inside heads; a second one, in which cut axes have their units along the outer
factor, finds heads and experts. A removal from both is valid, since units of either leave every tensor a full box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from netwright.ir.cost.analysis import cost, sizes
from netwright.ir.cost.bindings import default_bindings
from netwright.ir.cost.params import parameter_elements
from netwright.ir.coupling.axes import Tracked
from netwright.ir.coupling.group import Coupling, Group, Kind, Role, Slice, ValueAxis
from netwright.ir.coupling.units import Solved, components
from netwright.ir.coupling.walk import ConstantKey, Mode, Use, Walk, constant_key, walk
from netwright.ir.opinfo import DATA_MOVEMENT, site
from netwright.ir.program import Program, constant
from netwright.ir.shapes import generated_joints

_ROUNDS = 3
"""How often a walk is repeated with other factors where units turned out to lie along one that is picked from by index."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A walk with its ties solved."""

    walk: Walk
    solved: Solved


def traced(program: Program, mode: Mode) -> Traced:
    """Walk over a program, and solve what was tied."""
    banned: frozenset[tuple[str, int]] = frozenset()
    found = walk(program, mode, banned)
    for _ in range(_ROUNDS):
        if not found.picked - banned:
            break
        banned |= found.picked
        found = walk(program, mode, banned)
    return Traced(found, found.units.solve())


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """The groups of one walk, with what is needed to remove units from them.

    Attributes:
        traced: the walk.
        groups: by name.
        units: by group, its units among all of the walk.
        constants: by group, the axes of constants that hold its units.
        values: by group, the axes of other values that do.
    """

    traced: Traced
    groups: Mapping[str, Group]
    units: Mapping[str, np.ndarray]
    constants: Mapping[str, tuple[tuple[ConstantKey, int], ...]]
    values: Mapping[str, tuple[tuple[onnx_ir.Value, int], ...]]


def partition_inner(program: Program) -> Partition:
    """Channels, hidden units and features of heads; `program.fact(partition_inner)`."""
    return _partition(traced(program, "inner"), "inner", _macs_by_node(program))


def partition_outer(program: Program) -> Partition:
    """Heads and experts; `program.fact(partition_outer)`."""
    return _partition(traced(program, "outer"), "outer", _macs_by_node(program))


def coupling(program: Program) -> Coupling:
    """The coupling groups of a program. Use as `program.fact(coupling)`; about 0.2 ms a node."""
    found = [*program.fact(partition_inner).groups.values(), *program.fact(partition_outer).groups.values()]
    order = {site(node): number for number, node in enumerate(program.nodes())}
    return Coupling(tuple(sorted(found, key=lambda group: (order.get(group.site, len(order)), group.name))))


def _macs_by_node(program: Program) -> dict[str, float]:
    size_of = sizes(default_bindings(program), generated_joints(program))
    return {node.site: float(node.macs.at(size_of) or 0) for node in program.fact(cost).nodes}


@dataclass(slots=True)
class _Draft:
    """A group in the making."""

    number: int
    name: str
    module: str
    units: np.ndarray
    """Its units among all of the walk, sorted."""
    slices: list[Slice] = field(default_factory=list[Slice])
    values: list[ValueAxis] = field(default_factory=list[ValueAxis])
    constant_places: list[tuple[ConstantKey, int]] = field(default_factory=list["tuple[ConstantKey, int]"])
    value_places: list[tuple[onnx_ir.Value, int]] = field(default_factory=list["tuple[onnx_ir.Value, int]"])
    params: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    macs: np.ndarray = field(default_factory=lambda: np.zeros(0))


class _Sorter:
    """Says to which groups the labels along an axis belong."""

    def __init__(self, traced: Traced) -> None:
        solved = traced.solved
        self.unit_of = solved.unit_of
        self.group_of, self.place_in, self.drafts = _drafts(solved)

    def split(self, labels: np.ndarray) -> Iterator[tuple[_Draft, np.ndarray]]:
        """For each group along an axis: the number of the unit in it by index, -1 elsewhere."""
        units = self.unit_of[labels]
        groups = self.group_of[units]
        for number in np.unique(groups[groups >= 0]):
            mine = groups == number
            yield self.drafts[number], np.where(mine, self.place_in[units], -1).astype(np.int32)


def _drafts(solved: Solved) -> tuple[np.ndarray, np.ndarray, list[_Draft]]:
    """Units that nodes make, by group: ranges of labels that share a unit are one group."""
    group_of = np.full(solved.count, -1, dtype=np.int64)
    place_in = np.full(solved.count, -1, dtype=np.int64)
    ranges = list(dict.fromkeys(solved.joins))
    if not ranges:
        return group_of, place_in, []
    units = [np.unique(solved.unit_of[first:last]) for first, last, _, _ in ranges]
    rows = np.concatenate([np.full(len(found), number) for number, found in enumerate(units)])
    columns = np.concatenate(units) + len(ranges)
    total = len(ranges) + solved.count
    labels = components(total, rows, columns)
    numbers: dict[int, int] = {}
    drafts: list[_Draft] = []
    for number, (_, _, name, module) in enumerate(ranges):
        label = int(labels[number])
        if label not in numbers:
            numbers[label] = len(drafts)
            drafts.append(_Draft(len(drafts), name, module, np.zeros(0, dtype=np.int64)))
    by_label = np.full(int(labels.max()) + 1, -1, dtype=np.int64)
    for label, number in numbers.items():
        by_label[label] = number
    group_of[:] = by_label[labels[len(ranges) :]]
    first_label = np.full(solved.count, np.iinfo(np.int64).max)
    np.minimum.at(first_label, solved.unit_of, np.arange(len(solved.unit_of)))
    member = np.flatnonzero(group_of >= 0)
    order = member[np.lexsort((first_label[member], group_of[member]))]
    starts = np.searchsorted(group_of[order], np.arange(len(drafts) + 1))
    for draft in drafts:
        draft.units = order[starts[draft.number] : starts[draft.number + 1]]
        place_in[draft.units] = np.arange(len(draft.units))
        draft.params, draft.macs = np.zeros(len(draft.units), dtype=np.int64), np.zeros(len(draft.units))
    return group_of, place_in, drafts


def _partition(traced: Traced, mode: Mode, macs: Mapping[str, float]) -> Partition:
    sorter, found, solved = _Sorter(traced), traced.walk, traced.solved
    roles = _Roles(traced)
    for (value, reader), axes in found.constants.items():
        tensor = constant(value)
        for index, axis in enumerate(axes):
            if not isinstance(axis, Tracked) or tensor is None:
                continue
            nodes = (site(reader),) if reader is not None else tuple(dict.fromkeys(site(use.node) for use in value.uses()))
            for draft, units in sorter.split(axis.labels):
                role = roles.of(value, reader, index, axis)
                draft.slices.append(Slice(value.name or "", index, role, units, nodes))
                draft.constant_places.append(((value, reader), index))
                np.add.at(draft.params, units[units >= 0], (parameter_elements(value) or tensor.size) // len(units))
    for value, axes in found.values.items():
        for index, axis in enumerate(axes):
            if isinstance(axis, Tracked):
                for draft, units in sorter.split(axis.labels):
                    draft.values.append(ValueAxis(value.name or "", index, units))
                    draft.value_places.append((value, index))
    for node, labels in found.works:
        share = macs.get(site(node), 0.0) / max(len(labels), 1)
        if share:
            for draft, units in sorter.split(labels):
                np.add.at(draft.macs, units[units >= 0], share)
    kept = [(group, draft) for draft in sorter.drafts if (group := _finish(draft, solved, mode)) is not None]
    return Partition(
        traced=traced,
        groups={group.name: group for group, _ in kept},
        units={group.name: draft.units for group, draft in kept},
        constants={group.name: tuple(draft.constant_places) for group, draft in kept},
        values={group.name: tuple(draft.value_places) for group, draft in kept},
    )


def _finish(draft: _Draft, solved: Solved, mode: Mode) -> Group | None:
    """The group, or None where the other walk has it."""
    kind = _kind(draft, solved, mode)
    if kind is None:
        return None
    name = f"{draft.name}:{kind}" if mode == "outer" else draft.name
    frozen, inexact = solved.frozen[draft.units], next((why for why in solved.inexact[draft.units] if why), "")
    if not inexact and kind != "experts" and solved.marked("softmax", draft.units):
        inexact = "a Softmax shares among its units"
    return Group(
        name=name,
        module=draft.module,
        kind=kind,
        size=len(draft.units),
        slices=tuple(draft.slices),
        values=tuple(draft.values),
        frozen=str(frozen[0]) if all(frozen != "") else "",
        inexact=inexact,
        removable=frozen == "",
        parts=_parts(draft),
        params=draft.params,
        macs=draft.macs,
    )


def _parts(draft: _Draft) -> tuple[np.ndarray, ...]:
    """The smallest sets of units that fill an axis."""
    found: dict[bytes, np.ndarray] = {}
    for units in (*(entry.units for entry in draft.slices), *(entry.units for entry in draft.values)):
        if len(units) and units.min() >= 0:
            part = np.unique(units)
            found.setdefault(part.tobytes(), part)
    parts = sorted(found.values(), key=len)
    smallest: list[np.ndarray] = []
    for part in parts:
        if not any(np.isin(other, part).all() for other in smallest):
            smallest.append(part)
    return tuple(smallest)


def _experts(solved: Solved, units: np.ndarray) -> bool:
    """Weights along an axis in front of their matrices, or layers side by side of which a Softmax chooses."""
    return solved.marked("experts", units) or (solved.marked("stacked", units) and solved.marked("softmax", units))


def _kind(draft: _Draft, solved: Solved, mode: Mode) -> Kind | None:
    units = draft.units
    if mode == "outer":
        if _experts(solved, units):
            return "experts"
        return "heads" if solved.marked("heads", units) else None
    if solved.marked("recurrent", units):
        return "hidden"
    if solved.marked("heads", units) or _experts(solved, units):
        return None
    if solved.marked("head_dim", units):
        return "head_dim"
    if any(solved.marked(mark, units) for mark in ("convolved", "looked up", "sum")):
        return "channels"
    return "hidden" if any(found.role == "in" for found in draft.slices) else "channels"


class _Roles:
    """What axes of constants do: as the nodes that read them say, or those that read what is computed from them."""

    def __init__(self, traced: Traced) -> None:
        self._unit_of = traced.solved.unit_of
        self._direct: dict[tuple[onnx_ir.Value, onnx_ir.Node | None, int], Role] = {}
        self._derived: dict[onnx_ir.Value, list[tuple[np.ndarray, int, Role]]] = {}
        for use in traced.walk.uses:
            if constant(use.value) is not None:
                value, reader = constant_key(use.value, use.node)
                self._direct.setdefault((value, reader, use.axis), use.role)
            else:
                self._note(traced.walk, use)

    def _note(self, walk: Walk, use: Use) -> None:
        """A value computed from weights is used: so are the weights."""
        axis = walk.values[use.value][use.axis]
        if not isinstance(axis, Tracked):
            return
        units = np.unique(self._unit_of[axis.labels])
        entry = (units, len(axis.labels) // len(units), use.role)
        stack, seen = [use.value], {use.value}
        while stack:
            value = stack.pop()
            node = value.producer()
            if constant(value) is not None:
                self._derived.setdefault(value, []).append(entry)
            elif node is not None:
                fresh = [source for source in node.inputs if source is not None and source not in seen and walk.is_weight(source)]
                seen.update(fresh)
                stack.extend(fresh)

    def of(self, value: onnx_ir.Value, reader: onnx_ir.Node | None, index: int, axis: Tracked) -> Role:
        """The role of one axis.

        Where a weight is computed from, the use whose axis holds as many indices of each unit is meant (of two axes of a recurrent
        weight with the same units, one holds all gates).
        """
        direct = self._direct.get((value, reader, index), "other")
        if direct != "other":
            return direct
        units = np.unique(self._unit_of[axis.labels])
        times = len(axis.labels) // len(units)
        matches: list[tuple[int, Role]] = []
        for found, many, role in self._derived.get(value, ()):
            if np.isin(units, found).all():
                matches.append((many, role))
        if matches:
            exact: tuple[Role, ...] = tuple(role for many, role in matches if many == times) or tuple(role for _, role in matches)
            return exact[min(index, len(exact) - 1)] if len(set(exact)) > 1 else exact[0]
        readers = [reader] if reader is not None else [use.node for use in value.uses()]
        return "out" if any(node.op_type in DATA_MOVEMENT and not node.domain for node in readers) else direct
