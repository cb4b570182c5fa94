"""Two programs' nodes and weights, matched by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.digest import digest
from netwright.ir.program import Program

if TYPE_CHECKING:
    from rich.console import Group

_MOST_NAMES = 20
"""How many names a table shows; JSON has all."""


@dataclass(frozen=True, slots=True)
class Names:
    """What only one side has, and what both have but not the same."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]

    def to_dict(self) -> dict[str, list[str]]:
        """The names as JSON."""
        return {"removed": list(self.removed), "added": list(self.added), "changed": list(self.changed)}


@dataclass(frozen=True, slots=True)
class Structure:
    """How two graphs differ.

    Attributes:
        ops: for each operator whose count differs, how many there were and are.
        nodes: nodes by the name of their first output; changed where the operator is another.
        weights: initializers by name; changed where type, shape or content (by digest) are others.
    """

    ops: dict[str, tuple[int, int]]
    nodes: Names
    weights: Names

    @property
    def same(self) -> bool:
        """True where nothing differs."""
        return not self.ops and not any((*self._all(self.nodes), *self._all(self.weights)))

    def to_dict(self) -> dict[str, object]:
        """The difference as JSON."""
        return {
            "same": self.same,
            "ops": {op: list(counts) for op, counts in self.ops.items()},
            "nodes": self.nodes.to_dict(),
            "weights": self.weights.to_dict(),
        }

    def __rich__(self) -> Group:
        """Tables of operators and names."""
        from rich.console import Group
        from rich.table import Table

        counts = Table("operator", "A", "B", title="same structure" if self.same else "operators that differ")
        for op, (before, after) in self.ops.items():
            counts.add_row(op, str(before), str(after))
        names = Table("", "only in A", "only in B", "changed", title="by name")
        for what, found in (("nodes", self.nodes), ("weights", self.weights)):
            names.add_row(what, *(_listed(part) for part in self._all(found)))
        return Group(counts, names)

    @staticmethod
    def _all(names: Names) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        return names.removed, names.added, names.changed


def structure(a: Program, b: Program) -> Structure:
    """How `b`'s graph differs from `a`'s. Linear in nodes; of large weights, only samples are read."""
    before, after = _ops(a), _ops(b)
    ops = {op: (before[op], after[op]) for op in sorted(before.keys() | after.keys()) if before[op] != after[op]}
    nodes = _names(
        {node.outputs[0].name or "": _op(node) for node in a.nodes() if node.outputs},
        {node.outputs[0].name or "": _op(node) for node in b.nodes() if node.outputs},
    )
    return Structure(ops, nodes, _names(_weights(a), _weights(b)))


def _ops(program: Program) -> Counter[str]:
    return Counter(_op(node) for node in program.nodes())


def _op(node: onnx_ir.Node) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _weights(program: Program) -> dict[str, str]:
    return {value.name or "": digest(tensor, size=8) for value in program.initializers() if (tensor := value.const_value) is not None}


def _names(before: dict[str, str], after: dict[str, str]) -> Names:
    return Names(
        tuple(name for name in before if name not in after),
        tuple(name for name in after if name not in before),
        tuple(name for name, what in before.items() if name in after and after[name] != what),
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = "\n".join(names[:_MOST_NAMES])
    return f"{shown}\n… and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown
