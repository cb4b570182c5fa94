"""Two programs' values on the same inputs, output by output or layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.errors import DataError
from netwright.ir.lineage import lineage
from netwright.ir.maps import Gone, Mapped, Same
from netwright.ir.program import Program
from netwright.passes.values import Difference, difference

if TYPE_CHECKING:
    import onnx
    from rich.table import Table

Source: TypeAlias = "Program | str | PathLike[str] | bytes | onnx.ModelProto | onnx_ir.Model"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far one program's values are from another's.

    Attributes:
        outputs: the outputs', in order.
        inner: those of inner values that have a counterpart, in topological order of the second program; empty unless asked for.
        unmatched: inner values of the second program without a counterpart in the first.
    """

    outputs: tuple[Difference, ...]
    inner: tuple[Difference, ...] = ()
    unmatched: tuple[str, ...] = ()

    @property
    def max_abs_error(self) -> float:
        """The largest of any output."""
        return max((one.max_abs for one in self.outputs), default=0.0)

    @property
    def rel_error(self) -> float:
        """The largest relative error of any output."""
        return max((one.rel for one in self.outputs), default=0.0)

    def first_divergence(self, *, rtol: float = 1e-4, atol: float = 1e-5) -> Difference | None:
        """The first value, in topological order, that differs by more than the tolerances; None where none does."""
        return next((one for one in (*self.inner, *self.outputs) if not one.within(rtol, atol)), None)

    def to_dict(self) -> dict[str, object]:
        """The comparison as JSON."""
        first = self.first_divergence()
        return {
            "outputs": [one.to_dict() for one in self.outputs],
            "inner": [one.to_dict() for one in self.inner],
            "unmatched": list(self.unmatched),
            "first_divergence": first.name if first is not None else None,
        }

    def __rich__(self) -> Table:
        """A table of the outputs, inner values before them."""
        from rich.table import Table

        first = self.first_divergence()
        title = "same values" if first is None else f"first divergence at %{first.name}"
        table = Table("value", "max abs error", "relative error", "cosine", "not finite", title=title)
        for one in (*self.inner, *self.outputs):
            unequal = f"{one.nonfinite[0]} → {one.nonfinite[1]}" if any(one.nonfinite) else ""
            numbers = (one.problem, "", "") if one.problem else (f"{one.max_abs:.3g}", f"{one.rel:.3g}", f"{one.cosine:.6f}")
            table.add_row(f"%{one.name}", *numbers, unequal)
        if self.unmatched:
            table.caption = f"{len(self.unmatched)} inner values have no counterpart"
        return table


def compare(
    a: Source, b: Source, feeds: Mapping[str, object] | None = None, *, values: Literal["outputs", "all"] = "outputs"
) -> Comparison:
    """Run two programs on the same inputs and compare their values.

    Outputs are matched by name, else by position. Inner values are matched through the value maps of what was done to `b` since it
    was `a` (so that a pruned layer is held against the kept part of the original), and by name where nothing was.

    Args:
        a: the reference, a Program or anything that `netwright.load` takes.
        b: the other.
        feeds: inputs of `a` by name; made up from its signature where not given. `b`'s inputs are matched by name, else by position.
        values: `"all"` compares inner values too, which keeps all values of both programs in memory.

    Raises:
        DataError: the feeds do not fit, or the programs have different numbers of inputs or outputs.
        RunError: one of the programs does not run.
    """
    from netwright.backends.onnxruntime import OrtExecutor
    from netwright.samples import find_feeds

    first, second = _program(a), _program(b)
    executor = OrtExecutor()
    given = dict(feeds) if feeds is not None else dict(find_feeds(first, executor))
    inputs = _paired(_names(first.inputs), _names(second.inputs), "inputs")
    outputs = _paired(_names(first.outputs), _names(second.outputs), "outputs")
    counterparts, unmatched = _counterparts(first, second) if values == "all" else ({}, ())
    wanted = list(dict.fromkeys([*outputs, *(source for mapped in counterparts.values() for source in mapped.sources)]))
    old = executor.run(first, given, wanted)
    renamed = {inputs.get(name, name): value for name, value in given.items()}
    new = executor.run(second, renamed, [*outputs.values(), *counterparts])
    return Comparison(
        tuple(difference(name, old[name], new[other]) for name, other in outputs.items()),
        tuple(_difference(name, mapped, old, new[name]) for name, mapped in counterparts.items()),
        unmatched,
    )


def _program(source: Source) -> Program:
    if isinstance(source, Program):
        return source
    from netwright.api import load

    return load(source)


def _names(values: Sequence[onnx_ir.Value]) -> list[str]:
    return [value.name or "" for value in values]


def _paired(first: Sequence[str], second: Sequence[str], what: str) -> dict[str, str]:
    """Names of the first by names of the second: the same where it has them all, else by position."""
    if len(first) != len(second):
        raise DataError(
            f"The programs have {len(first)} and {len(second)} {what}.",
            place=what,
            remedy=f"They are {', '.join(first)} and {', '.join(second)}; compare programs of one signature.",
        )
    return {name: name for name in first} if set(first) == set(second) else dict(zip(first, second, strict=True))


def _counterparts(first: Program, second: Program) -> tuple[dict[str, Mapped], tuple[str, ...]]:
    """How inner values of the second come from values of the first, in the second's order; and those that do not."""
    since = second.ledger.since(first.ledger.shared(second.ledger))
    known = {value.name for node in first.graph for value in node.outputs} | {value.name for value in first.graph.inputs}
    outputs = set(_names(second.outputs))
    found: dict[str, Mapped] = {}
    unmatched: list[str] = []
    for node in second.graph:
        for value in node.outputs:
            if not value.name or value.name in outputs or isinstance(value.type, onnx_ir.SequenceType | onnx_ir.OptionalType):
                continue
            origin = lineage(since, value.name)
            if isinstance(origin.map, Gone) or not all(source in known for source in origin.sources):
                unmatched.append(value.name)
            else:
                found[value.name] = origin
    return found, tuple(unmatched)


def _difference(name: str, mapped: Mapped, old: Mapping[str, np.ndarray], actual: np.ndarray) -> Difference:
    sources = [old[source] for source in mapped.sources]
    expected = sources[0] if isinstance(mapped.map, Same) else mapped.map.apply(*sources)
    return difference(name, expected, actual)
