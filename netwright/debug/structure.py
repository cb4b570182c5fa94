"""What differs between two graphs: nodes matched by name, else by operator, attributes and matched inputs; weights by content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.digest import digest
from netwright.ir.dump import dump_node
from netwright.ir.program import Program, constant

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclass(frozen=True, slots=True)
class Changed:
    """A node or weight that both graphs have under one name, as each has it."""

    name: str
    before: str
    after: str

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"name": self.name, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class StructureDiff:
    """How graph B differs from graph A.

    Attributes:
        same: nodes that match in operator, attributes and inputs.
        removed: sites of nodes only in A.
        added: sites of nodes only in B.
        changed: nodes of one name that differ.
        weights_removed: names of initializers only in A.
        weights_added: names of initializers only in B.
        weights_changed: initializers of one name with other contents.
        ops: how many more nodes of each operator B has.
    """

    same: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[Changed, ...]
    weights_removed: tuple[str, ...]
    weights_added: tuple[str, ...]
    weights_changed: tuple[Changed, ...]
    ops: dict[str, int]

    @property
    def identical(self) -> bool:
        """True when nothing differs."""
        lists = (self.removed, self.added, self.changed, self.weights_removed, self.weights_added, self.weights_changed)
        return not any(lists)

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {
            "identical": self.identical,
            "nodes": {
                "same": self.same,
                "removed": list(self.removed),
                "added": list(self.added),
                "changed": [change.to_dict() for change in self.changed],
            },
            "weights": {
                "removed": list(self.weights_removed),
                "added": list(self.weights_added),
                "changed": [change.to_dict() for change in self.weights_changed],
            },
            "ops": self.ops,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render with rich."""
        from rich.table import Table
        from rich.text import Text

        counts = f"{self.same} nodes the same, {len(self.removed)} removed, {len(self.added)} added, {len(self.changed)} changed"
        weights = f"{len(self.weights_removed)} weights removed, {len(self.weights_added)} added, {len(self.weights_changed)} changed"
        yield Text(f"{counts}; {weights}")
        if self.ops:
            table = Table("operator", "B − A")
            for op, count in sorted(self.ops.items(), key=lambda item: (item[1], item[0])):
                table.add_row(op, f"{count:+d}")
            yield table
        for change in (*self.changed, *self.weights_changed)[:40]:
            yield Text(f"- {change.before}\n+ {change.after}")
        hidden = len(self.changed) + len(self.weights_changed) - 40
        if hidden > 0:
            yield Text(f"… and {hidden} more (all of them with --json)")


def structure(a: Program, b: Program) -> StructureDiff:
    """Compare the main graphs, subgraphs and weights of two programs; linear in nodes.

    Args:
        a: the reference.
        b: the other.
    """
    match = _Match(a)
    same = 0
    added: list[str] = []
    changed: list[Changed] = []
    for node in b.nodes():
        old = match.counterpart(node)
        if old is None:
            added.append(_site(node))
        elif match.equal(old, node):
            same += 1
        else:
            changed.append(Changed(_site(node), dump_node(old), dump_node(node)))
    removed = [_site(node) for node in a.nodes() if node not in match.used]
    old_weights, new_weights = dict(_weights(a)), dict(_weights(b))
    weights_changed = [
        Changed(name, old_weights[name], now) for name, now in new_weights.items() if name in old_weights and old_weights[name] != now
    ]
    before, after = (Counter(node.op_type for node in program.nodes()) for program in (a, b))
    return StructureDiff(
        same,
        tuple(removed),
        tuple(added),
        tuple(changed),
        tuple(name for name in old_weights if name not in new_weights),
        tuple(name for name in new_weights if name not in old_weights),
        tuple(weights_changed),
        {op: after[op] - before[op] for op in sorted({*before, *after}) if after[op] != before[op]},
    )


class _Match:
    """Finds, for nodes of B in order, their counterparts in A."""

    def __init__(self, a: Program) -> None:
        self.used: set[onnx_ir.Node] = set()
        self._by_name = {_site(node): node for node in a.nodes()}
        self._by_key: dict[tuple[object, ...], list[onnx_ir.Node]] = {}
        self._alias: dict[str, str] = {}
        for node in a.nodes():
            self._by_key.setdefault(_key(node, {}), []).append(node)

    def counterpart(self, node: onnx_ir.Node) -> onnx_ir.Node | None:
        named = self._by_name.get(_site(node))
        if named is not None and named.op_type == node.op_type and named not in self.used:
            return self._take(named, node)
        twin = next((one for one in self._by_key.get(_key(node, self._alias), ()) if one not in self.used), None)
        if twin is not None:
            return self._take(twin, node)
        return None if named is None or named in self.used else self._take(named, node)

    def equal(self, old: onnx_ir.Node, new: onnx_ir.Node) -> bool:
        return _key(old, {}) == _key(new, self._alias)

    def _take(self, old: onnx_ir.Node, new: onnx_ir.Node) -> onnx_ir.Node:
        self.used.add(old)
        for before, after in zip(old.outputs, new.outputs, strict=False):
            self._alias[after.name or ""] = before.name or ""
        return old


def _site(node: onnx_ir.Node) -> str:
    return (node.outputs[0].name if node.outputs else node.name) or ""


def _key(node: onnx_ir.Node, alias: dict[str, str]) -> tuple[object, ...]:
    names = tuple("" if value is None else _input_key(value, alias) for value in node.inputs)
    attributes = tuple(
        sorted((name, str(attr.value)) for name, attr in node.attributes.items() if attr.type != onnx_ir.AttributeType.GRAPH)
    )
    return (node.domain, node.op_type, names, attributes)


def _input_key(value: onnx_ir.Value, alias: dict[str, str]) -> str:
    tensor = constant(value)
    if tensor is not None and tensor.size <= 64:
        return f"{tensor.dtype}{list(tensor.shape)}{tensor.numpy().tolist()}"
    name = value.name or ""
    return alias.get(name, name)


def _weights(program: Program) -> Iterator[tuple[str, str]]:
    for value in program.initializers():
        tensor = value.const_value
        if tensor is not None:
            yield value.name or "", f"{tensor.dtype.name}{list(tensor.shape)} #{digest(tensor)}"
