"""Removing units group by group: one rewrite each, after which the graph is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir

from netwright.ir import shapes
from netwright.ir.coupling.analysis import Partition, partition_inner, partition_outer
from netwright.ir.coupling.axes import Tracked
from netwright.ir.coupling.group import Group
from netwright.ir.coupling.rules.table import integers
from netwright.ir.dims import Dim, shape_of
from netwright.ir.editor import Editor
from netwright.ir.errors import PlanError
from netwright.ir.maps import Mapped, Take
from netwright.ir.opinfo import is_integer
from netwright.ir.program import Program, array, constant
from netwright.ir.shapes import static_shape
from netwright.passes.base import Proposals
from netwright.passes.prune.removal.exactness import judge
from netwright.passes.prune.removal.mend import Change, mend_for
from netwright.passes.prune.removal.mend.table import RemovalError
from netwright.passes.prune.removal.state import State, expected_dims
from netwright.passes.rewrite import Miss, Rewrite


def remove(program: Program, removed: Mapping[str, Sequence[int]], *, approximate: bool = False) -> Proposals:
    """Remove units; heads and experts first, then channels and hidden units.

    Args:
        program: what is changed, by the manager.
        removed: for each group the numbers of its units that go.
        approximate: also where what is left differs from the same model with those units at zero.

    Yields:
        A rewrite for each group; a Miss for one that cannot be removed exactly, unless `approximate`.

    Raises:
        PlanError: there is no such group, it has no such unit, or units cannot go.
    """
    pending = {name: np.unique(np.asarray(units, dtype=np.int64)) for name, units in removed.items() if len(units)}
    outer = program.fact(partition_outer)
    later = program.fact(partition_inner)
    for name, units in pending.items():
        _check(name, units, outer.groups.get(name) or later.groups.get(name))
    yield from _phase(program, outer, {name: units for name, units in pending.items() if name in outer.groups}, approximate)
    rest = {name: units for name, units in pending.items() if name not in outer.groups}
    if rest:
        inner = program.fact(partition_inner)
        for name in rest:
            if name not in inner.groups:
                yield Miss("went as a whole, with what held it", later.groups[name].site)
        yield from _phase(program, inner, rest, approximate)


def _check(name: str, units: np.ndarray, group: Group | None) -> None:
    if group is None:
        raise PlanError(f"There is no group {name}.", place=name, remedy="See `netwright inspect MODEL --by group` for their names.")
    if units[0] < 0 or units[-1] >= group.size:
        raise PlanError(f"Group {name} has units 0 to {group.size - 1}; {int(units[-1])} is none of them.", place=name)
    stuck = units[~group.removable[units]]
    if len(stuck):
        raise PlanError(f"Unit {int(stuck[0])} of group {name} cannot go: {group.frozen or 'it meets what is fixed'}.", place=name)
    if len(units) == group.size:
        raise PlanError(f"All {group.size} units of group {name} would go.", place=name, remedy="Keep one at least.")
    empty = next((part for part in group.parts if np.isin(part, units).all()), None)
    if empty is not None:
        listed = ", ".join(map(str, empty[:8]))
        raise PlanError(f"An axis of group {name} holds only units {listed}, and all would go.", place=name, remedy="Keep one of them.")


def _phase(program: Program, partition: Partition, removed: Mapping[str, np.ndarray], approximate: bool) -> Proposals:
    """Remove units of one partition's groups."""
    if not removed:
        return
    state = State.of(program, partition)
    for name, group in partition.groups.items():
        if name not in removed:
            continue
        if group.inexact and not approximate:
            yield Miss(f"not removed: {group.inexact}; approximate=True removes them all the same", group.site)
            continue
        removal = _Removal(state, group, removed[name])
        reason = removal.obstacle
        if reason and not approximate:
            yield Miss(f"not removed: {reason}; approximate=True removes them all the same", group.site)
            continue
        why = f"{len(removed[name])} of {group.size} {_NOUNS[group.kind]} go"
        yield Rewrite.edit(group.site, why, removal.change, anchor=removal.anchor)


_NOUNS = {"channels": "channels", "heads": "heads", "head_dim": "features of each head", "hidden": "hidden units", "experts": "experts"}


class _Removal:
    """One group's removal: worked out first, then carried out in one transaction."""

    def __init__(self, state: State, group: Group, numbers: np.ndarray) -> None:
        self._state = state
        self._group = group
        units = state.partition.units[group.name][numbers]
        self._gone = np.zeros(state.partition.traced.solved.count, dtype=bool)
        self._gone[units] = True
        candidates = dict.fromkeys((*(value for value, _ in state.partition.values[group.name]), *state.added_values))
        self._values = [value for value in candidates if self._touches(value)]
        self._keys = list(dict.fromkeys((*(key for key, _ in state.partition.constants[group.name]), *state.added_constants)))
        self._nodes = self._around()
        self._verdict = judge(state, group, units, self._nodes)
        self.anchor = self._nodes[0] if self._nodes else None

    @property
    def obstacle(self) -> str:
        """Why the removal is not exact, as a sentence; empty where it is."""
        return self._verdict.obstacle

    def _touches(self, value: onnx_ir.Value) -> bool:
        axes = self._state.values.get(value, ())
        return any(isinstance(axis, Tracked) and not self._state.keep(axis, self._gone).all() for axis in axes)

    def _around(self) -> list[onnx_ir.Node]:
        """Nodes that make or read what changes, in order, each inside one before it."""
        found: dict[onnx_ir.Node, None] = {}
        for value in (*self._values, *(self._state.holder(key) for key in self._keys)):
            producer = value.producer()
            if producer is not None:
                found[producer] = None
            for use in value.uses():
                found[use.node] = None
        order = self._state.order
        return sorted(found, key=lambda node: order.get(node, len(order)))

    def change(self, editor: Editor) -> None:
        """Slice, mend, check."""
        state, gone = self._state, self._gone
        for folded in self._verdict.folds:
            folded(editor)
        dims = {value: expected_dims(value, state.values[value], state.without(state.values[value], gone)) for value in self._values}
        change = Change(state, gone, editor, dims)
        self._slice_constants(editor)
        for value, wanted in dims.items():
            _record(editor, value, value.name or "", state, state.values[value], gone)
            if value.producer() is None or value.is_graph_input():
                editor.set_type(value, shape=onnx_ir.Shape(wanted))
        following = self._following()
        pinned = {node: known for node in following if (known := _number(node)) is not None}
        for node in following:
            if node in pinned:
                _pin(editor, node, pinned[node])
            mend = mend_for(node)
            if mend is not None:
                mend(change, node)
            self._infer(editor, node, dims)
        for value in self._values:
            state.values[value] = state.without(state.values[value], gone)
        for key in self._keys:
            state.constants[key] = state.without(state.constants[key], gone)
        state.gone |= gone

    def _slice_constants(self, editor: Editor) -> None:
        state = self._state
        for key in self._keys:
            holder, axes = state.holder(key), state.constants[key]
            data = array(holder)
            keeps = {
                index: keep
                for index, axis in enumerate(axes)
                if isinstance(axis, Tracked) and not (keep := state.keep(axis, self._gone)).all()
            }
            if data is None or not keeps:
                continue
            for index, keep in keeps.items():
                data = np.compress(keep, data, axis=index)
            readers = tuple(dict.fromkeys(use.node for use in holder.uses()))
            users = tuple(node for node in readers if state.key(holder, node) == key)
            if not users:
                continue
            if holder.producer() is None and users == readers:
                editor.set_constant(holder, np.ascontiguousarray(data))
                _record(editor, holder, holder.name or "", state, axes, self._gone)
                continue
            fresh = editor.at(users[0]).constant(np.ascontiguousarray(data), holder.name or "weight", graph=holder.graph)
            _record(editor, fresh, holder.name or "", state, axes, self._gone)
            for use in tuple(holder.uses()):
                if use.node in users:
                    editor.set_input(use.node, use.idx, fresh)
            state.move(key, fresh)

    def _following(self) -> list[onnx_ir.Node]:
        """The nodes around what changes, and those that compute with its shape, in order."""
        found = dict.fromkeys(self._nodes)
        stack = [node for node in self._nodes if node.op_type in ("Shape", "Size")]
        while stack:
            node = stack.pop()
            for output in node.outputs:
                if not is_integer(output.dtype):
                    continue
                for use in output.uses():
                    if use.node not in found:
                        found[use.node] = None
                        stack.append(use.node)
        order = self._state.order
        return sorted(found, key=lambda node: order.get(node, len(order)))

    def _infer(self, editor: Editor, node: onnx_ir.Node, dims: Mapping[onnx_ir.Value, tuple[Dim, ...]]) -> None:
        """Infer what comes out, and hold it against what must."""
        wanted = {value: dims.get(value) or shape_of(value) for value in node.outputs if value.name}
        for value, known in wanted.items():
            if known is not None:
                editor.set_type(value, shape=onnx_ir.Shape(known))
        shapes.infer_nodes(self._state.program, [node])
        for value, known in wanted.items():
            if known is None:
                continue
            found = shape_of(value)
            if found is not None and not _agree(found, known):
                raise RemovalError(
                    f"{node.op_type} gives %{value.name} the shape {_text(found)}, not {_text(known)}, once units of group "
                    f"{self._group.name} are gone.",
                    place=value.name,
                    remedy=f"Leave the group out: prune(exclude='{self._group.name}').",
                )
            value.shape = onnx_ir.Shape(known)


def _number(node: onnx_ir.Node) -> np.ndarray | None:
    """What a node turns from whole numbers into fractions, where it is known: sizes that are computed with (1/√d, say)."""
    value = node.inputs[0] if node.op_type == "Cast" and not node.domain else None
    if value is None or not is_integer(value.dtype) or is_integer(node.outputs[0].dtype) or constant(value) is not None:
        return None
    known = integers(value)
    return None if known is None or value.dtype is None else np.asarray(known, dtype=value.dtype.numpy()).reshape(static_shape(value) or ())


def _pin(editor: Editor, node: onnx_ir.Node, number: np.ndarray) -> None:
    """A size that is computed with stays what it was, as the masked model has it, once the axis is shorter."""
    value = node.inputs[0]
    if value is not None and integers(value) != [int(entry) for entry in number.reshape(-1)]:
        editor.set_input(node, 0, editor.at(node).constant(number, value.name or "size"))


def _agree(found: Sequence[Dim], wanted: Sequence[Dim]) -> bool:
    return len(found) == len(wanted) and all(
        a == b for a, b in zip(found, wanted, strict=True) if isinstance(a, int) and isinstance(b, int)
    )


def _text(dims: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, dims))}]"


def _record(editor: Editor, value: onnx_ir.Value, source: str, state: State, axes: Sequence[object], gone: np.ndarray) -> None:
    """Note for a value which slices of the old one it has."""
    found: Take | None = None
    total = None
    for index, axis in enumerate(axes):
        if not isinstance(axis, Tracked):
            continue
        keep = state.keep(axis, gone)
        if keep.all() or not axis.plain:
            continue
        found = Take(index, tuple(int(place) for place in np.flatnonzero(keep)), len(keep))
        total = found if total is None else total.then(found)
    if total is not None:
        editor.map(value.name or "", Mapped(total, (source,)))
