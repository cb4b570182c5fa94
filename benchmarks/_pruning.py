"""Prunes by half and checks every promise: what the coverage table and the tests of coverage share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import netwright as nw
from benchmarks._pruned import Size, complaint, difference, dims_at, dynamic_dims, run, size_of
from benchmarks.zoo.sessions import Feeds
from netwright.ir.coupling import coupling
from netwright.ir.program import Program
from netwright.passes.prune.masked import masked
from netwright.passes.prune.planning.decisions import read_decisions

PIPELINE = "prune(ratio=0.5, scope='all', round_to=1)"
LOOSE = "prune(ratio=0.5, scope='all', round_to=1, approximate=True)"
TOLERANCE = 1e-5
DECLINED = "not removed: "
"""How the reasons begin for which a planned removal was not carried out."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What netwright made of a program.

    Attributes:
        before: size of the program, simplified.
        after: size of the result.
        wrong: why it is not valid; empty where it is.
        difference: the largest from the masked original, relative to the largest output of it or the original.
        axes_kept: True where inputs and outputs have the dynamic axes that they had.
        groups: how many coupling groups there are.
        frozen: why no unit of a group can go, for each such group.
        missed: why other groups stayed whole.
        silent: groups that stayed whole without a reason.
        effect: how far the masked original is from the original, relative to the largest output.
        loose: size of the result where groups may be pruned whose removal is not equal to masking; of the same result if not asked for.
    """

    before: Size
    after: Size
    wrong: str
    difference: float
    axes_kept: bool
    groups: int
    frozen: tuple[str, ...]
    missed: tuple[str, ...]
    silent: tuple[str, ...]
    effect: float
    loose: Size

    @property
    def failures(self) -> list[str]:
        """What is not as promised."""
        found = {
            self.wrong: bool(self.wrong),
            f"differs from the masked original by {self.difference:.1e}": self.difference > TOLERANCE,
            "lost a dynamic axis": not self.axes_kept,
            f"stayed whole without a reason: {', '.join(self.silent)}": bool(self.silent),
            "nothing was removed": self.after.params >= self.before.params,
        }
        return [text for text, failed in found.items() if failed]


def prune(program: Program, batches: Sequence[Feeds], folder: Path, *, approximate: bool = False) -> Ours:
    """Simplify and prune a program, and hold the result against the masked one on each of the feeds.

    Args:
        program: left as it is.
        batches: feeds, of several sizes where sizes are dynamic.
        folder: where files may be written.
        approximate: prune once more, also what is then not equal to the masked program.
    """
    simple = nw.compile(program, "simplify", check=False, latency=False, threads=1).program
    result = nw.compile(simple, PIPELINE, check=False, latency=False, threads=1)
    groups = simple.fact(coupling)
    missed = [miss for row in result.report.passes for miss in row.misses]
    declined = {miss.site for miss in missed if miss.reason.startswith(DECLINED)}
    removed = {name: units for name, units in read_decisions(result.plans[0], groups).items() if groups.group(name).site not in declined}
    files = {label: folder / f"{label}.onnx" for label in ("original", "simplified", "masked", "pruned")}
    for path, one in zip(files.values(), (program, simple, masked(simple, removed), result.program), strict=True):
        nw.save(one, path)
    dims = dims_at(files["simplified"], batches[0])
    wrong = complaint(files["pruned"], files["original"], batches)
    after = loose = size_of(result.program, dims)
    if approximate:
        other = nw.compile(simple, LOOSE, check=False, latency=False, threads=1).program
        nw.save(other, folder / "loose.onnx")
        wrong = wrong or complaint(folder / "loose.onnx", files["original"], batches)
        loose = size_of(other, dims)
    named = {*removed, *(miss.site for miss in missed), *(group.name for group in groups.groups if group.frozen)}
    outputs = [{label: run(path, feeds) for label, path in files.items() if label != "pruned" or not wrong} for feeds in batches]
    return Ours(
        before=size_of(simple, dims),
        after=after,
        wrong=wrong,
        difference=float("nan") if wrong else max(difference(found["pruned"], found["masked"], found["original"]) for found in outputs),
        axes_kept=dynamic_dims(result.program) == dynamic_dims(simple),
        groups=len(groups.groups),
        frozen=tuple(group.frozen for group in groups.groups if group.frozen),
        missed=tuple(f"{miss.site}: {miss.reason}" for miss in missed),
        silent=tuple(group.name for group in groups.groups if group.name not in named),
        effect=max(difference(found["masked"], found["original"]) for found in outputs),
        loose=loose,
    )
