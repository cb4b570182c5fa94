"""Whether factors are faster than the weight they stand for: each kind of site timed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.passes.context import Timer
from netwright.passes.factorize.lookup import sites_by_key
from netwright.passes.factorize.lowering import lower
from netwright.passes.factorize.planning.choices import Candidate, Choice
from netwright.passes.rewrite import Miss
from netwright.passes.timing import times_of

SHARE = 0.5
"""Of a site's parameters: the size at which it is timed."""


def only_faster(program: Program, candidates: Sequence[Candidate], timer: Timer) -> tuple[list[Candidate], list[Miss]]:
    """The candidates in those structures whose factors, with half of the parameters, take less time than the weight.

    Sites of one shape with as many positions are timed once. What cannot be timed by itself stays a candidate.

    Args:
        program: left as it is.
        candidates: sites of it.
        timer: times programs.
    """
    kept: list[Candidate] = []
    misses: list[Miss] = []
    known: dict[tuple[object, ...], tuple[float, float] | None] = {}
    for one in candidates:
        able: list[str] = []
        slower: list[str] = []
        for structure in one.structures:
            choice = replace(one, structures=(structure,)).at_most(int(SHARE * one.whole.parameters))
            if choice is None:
                continue
            key = (one.site.kind, one.site.shape, one.site.groups, len(one.site.readers), one.whole.macs, structure, choice.ranks)
            if key not in known:
                known[key] = _times(program, one, choice, timer)
            found = known[key]
            if found is None or found[1] < found[0]:
                able.append(structure)
            else:
                ranks = "×".join(str(rank) for rank in choice.ranks)
                slower.append(f"{structure} of rank {ranks} takes {1e3 * found[1]:.1f} µs, the weight {1e3 * found[0]:.1f} µs")
        if able:
            kept.append(replace(one, structures=tuple(able)))
        else:
            misses.append(Miss(f"left whole: {'; '.join(slower) or 'no factors pay with half of the parameters'}", one.site.name))
    return kept, misses


def _times(program: Program, one: Candidate, choice: Choice, timer: Timer) -> tuple[float, float] | None:
    """Milliseconds of the site as it is and factorized; None where it cannot be timed."""
    data = dict.fromkeys(reader.data for reader in one.site.readers)
    results = [output for reader in one.site.readers for output in reader.node.outputs if output.name and _is_read(output)]
    if one.site.kind == "state" or None in data or not results:
        return None
    names = {weight.name for weight in one.site.weights}
    shapes = one.studied.decomposition(choice.structure).shapes(choice.ranks)

    def change(cut: Program, node: onnx_ir.Node) -> None:
        site = next(site for key, site in sites_by_key(cut).items() if set(key) == names)
        with Editor(cut, at=node) as editor:
            lower(editor, site, shapes)

    found = times_of(program, [value for value in data if value is not None], results, change, timer)
    return None if isinstance(found, str) else (found.before, found.after)


def _is_read(value: onnx_ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()
