"""The report of a compilation: before and after, pass by pass, and what was left alone with the reason."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netwright.ir.cost import cost
from netwright.ir.storage import saved_bytes
from netwright.plot import svg

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from netwright.ir.program import Program
    from netwright.passes.manager import PassRow


_MOST_REASONS = 10
"""How many reasons of one pass the table shows; JSON has all."""


@dataclass(slots=True)
class Stats:
    """The size of a program.

    Attributes:
        nodes: in all graphs.
        params: elements of unique weight initializers, scales and zero points left out.
        macs: multiply-accumulates of one run at the report's dimensions; `None` where they depend on data.
        bytes: what saving writes.
        ops: node count by operator.
        latency_ms: best-of latency of one run, where measured.
        energy_uj: energy of one sample, where the budget limits it and the target tells it.
        metric: the score, where a metric was given.
    """

    nodes: int
    params: int
    macs: int | None
    bytes: int
    ops: dict[str, int]
    latency_ms: float | None = None
    energy_uj: float | None = None
    metric: float | None = None

    def to_dict(self) -> dict[str, object]:
        """The stats as JSON."""
        return {
            "nodes": self.nodes,
            "params": self.params,
            "macs": self.macs,
            "bytes": self.bytes,
            "ops": self.ops,
            "latency_ms": self.latency_ms,
            "energy_uj": self.energy_uj,
            "metric": self.metric,
        }


def measure_size(program: Program, dims: Mapping[str, int]) -> Stats:
    """Count what there is in a program, at these values of its symbolic dimensions."""
    ops = Counter(node.op_type if not node.domain else f"{node.domain}::{node.op_type}" for node in program.nodes())
    totals = program.fact(cost).totals(dims)
    return Stats(ops.total(), totals.params, totals.macs, saved_bytes(program.model), dict(ops.most_common()))


@dataclass(slots=True)
class Limit:
    """One quantity of the budget: the limit, what the result has, and whether that is within it."""

    quantity: str
    limit: float
    value: float | None

    @property
    def met(self) -> bool | None:
        """None where the quantity was not measured."""
        return None if self.value is None else self.value <= self.limit


@dataclass(slots=True)
class Report:
    """What `compile` reports; prints as tables, `to_dict()` gives the JSON.

    Attributes:
        before: the program as given.
        after: the program as compiled.
        passes: one row per pipeline element.
        seconds: wall time of the passes.
        peak_rss_mb: peak resident memory of this process so far.
        dims: the values given to symbolic dimensions for MACs and latency.
        output: path written, if any.
        budget: the limits given, with what became of them.
    """

    before: Stats
    after: Stats
    passes: list[PassRow]
    seconds: float
    peak_rss_mb: float
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    output: str | None = None
    budget: tuple[Limit, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The report as JSON."""
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "passes": [row.to_dict() for row in self.passes],
            "seconds": self.seconds,
            "peak_rss_mb": self.peak_rss_mb,
            "dims": dict(self.dims),
            "output": self.output,
            "budget": {item.quantity: {"limit": item.limit, "value": item.value, "met": item.met} for item in self.budget},
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render with rich."""
        yield self._size_table()
        if self.passes:
            yield self._pass_table()
        misses = self._miss_table()
        if misses.row_count:
            yield misses
        for item in self.budget:
            verdict = "not measured" if item.met is None else "met" if item.met else "NOT MET"
            value = "" if item.value is None else f", got {item.value:g}"
            yield f"budget {item.quantity} ≤ {item.limit:g}{value}: {verdict}"

    def __str__(self) -> str:
        from rich.console import Console

        sink = io.StringIO()
        Console(file=sink, width=120, color_system=None).print(self)
        return sink.getvalue()

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=120)
        console.print(self)
        tables = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
        return tables + "".join(f"<div>{svg(curve)}</div>" for row in self.passes for curve in row.curves)

    def html(self) -> str:
        """A page of its own, for a file."""
        head = '<meta charset="utf-8"><title>netwright report</title>'
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{self._repr_html_()}</body></html>\n'

    def _size_table(self) -> Table:
        from rich.table import Table

        at = ", ".join(f"{name}={value}" for name, value in self.dims.items())
        table = Table("", "before", "after", "ratio", title="Size and speed" + (f" (at {at})" if at else ""), title_justify="left")
        rows: tuple[tuple[str, float | None, float | None, Callable[[float], str]], ...] = (
            ("bytes", self.before.bytes, self.after.bytes, human_bytes),
            ("params", self.before.params, self.after.params, human_count),
            ("MACs", self.before.macs, self.after.macs, human_count),
            ("nodes", self.before.nodes, self.after.nodes, str),
            ("latency ms", self.before.latency_ms, self.after.latency_ms, _decimals(3)),
            ("energy µJ", self.before.energy_uj, self.after.energy_uj, _decimals(3)),
            ("metric", self.before.metric, self.after.metric, _decimals(4)),
        )
        for label, before, after, show in rows:
            if before is None and after is None:
                continue
            ratio = f"{after / before:.3f}" if before and after is not None and label != "metric" else ""
            table.add_row(label, "" if before is None else show(before), "" if after is None else show(after), ratio)
        return table

    def _pass_table(self) -> Table:
        from rich.table import Table

        checked = any(row.rel_error is not None for row in self.passes)
        table = Table("pass", "actions", "misses", "seconds", title="Passes", title_justify="left")
        if checked:
            table.add_column("max abs error")
            table.add_column("rel error")
        for index, row in enumerate(self.passes):
            cells = [
                f"{index}:{row.name}" + (f"\n{row.note}" if row.note else ""),
                str(row.actions),
                str(len(row.misses)),
                f"{row.seconds:.3f}",
            ]
            if checked:
                cells += ["" if value is None else f"{value:.3g}" for value in (row.max_abs_error, row.rel_error)]
            table.add_row(*cells)
        return table

    def _miss_table(self) -> Table:
        from rich.table import Table

        table = Table("pass", "reason", "sites", title="Left alone", title_justify="left")
        for index, row in enumerate(self.passes):
            by_reason: dict[str, list[str]] = {}
            for miss in row.misses:
                by_reason.setdefault(miss.reason, []).append(miss.site)
            for reason, sites in list(by_reason.items())[:_MOST_REASONS]:
                shown = ", ".join(sites[:3]) + (f" and {len(sites) - 3} more" if len(sites) > 3 else "")
                table.add_row(f"{index}:{row.name.partition('(')[0]}", reason, shown)
            hidden = sum(len(sites) for sites in list(by_reason.values())[_MOST_REASONS:])
            if hidden:
                table.add_row(f"{index}:{row.name.partition('(')[0]}", f"… and {hidden} more sites (all of them in the JSON report)", "")
        return table


def human_bytes(count: float) -> str:
    """Bytes in the largest decimal unit that keeps the figure at or above 1."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f} B"


def human_count(count: float) -> str:
    """A count in the largest decimal unit that keeps the figure at or above 1."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f}"


def _decimals(places: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{places}f}"
