"""Which layers are solved together, and toward what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx_ir

from netwright.ir.opinfo import is_standard, subgraphs
from netwright.ir.program import Program, constant
from netwright.ir.shapes import same_shape
from netwright.passes.prune.compensation.site import Site

STAGES = 16
"""Most stages that depth alone makes; each goes through the data once. In deeper networks a stage holds layers that follow each other."""

STAGE_BYTES = 1 << 29
"""What the layers of one stage may take in memory, and the targets of stages that are observed together; more of them make more passes."""


def stages(before: Program, program: Program, sites: Sequence[Site]) -> Iterator[list[Site]]:
    """Sites that are solved together: those of one level (none depends on another), or of several where there are too many levels.

    A site whose output is added to a residual is solved toward the sum. Of several that go into one sum the last one is, after the
    others; and where a stage holds several levels only the first of them, for else two would make up for the same.
    """
    sums = _sums(before, program, sites)
    levels = _levels(program, sites, sums)
    depth = max((levels[site.node] for site in sites), default=0)
    per_stage = max(1, -(-depth // STAGES))
    by_stage: dict[int, list[Site]] = {}
    for site in sorted(sites, key=lambda site: levels[site.node]):
        stage, within = divmod(levels[site.node] - 1, per_stage)
        goal = sums.get(site.name)
        last = goal is not None and [other for other in sites if sums.get(other.name) == goal][-1] is site
        by_stage.setdefault(stage, []).append(site.towards(goal) if goal is not None and last and not within else site)
    for members in by_stage.values():
        yield from _cut(members)


def spans(found: Iterable[list[Site]]) -> Iterator[list[list[Site]]]:
    """Stages whose targets fit into memory together."""
    span: list[list[Site]] = []
    used = 0
    for stage in found:
        own = sum(site.target_bytes for site in stage)
        if span and used + own > STAGE_BYTES:
            yield span
            span, used = [], 0
        span.append(stage)
        used += own
    if span:
        yield span


def _sums(before: Program, program: Program, sites: Sequence[Site]) -> Mapping[str, str]:
    """By name of a site's output, the name of the sum of it and another activation, where only that sum reads it."""
    found: dict[str, str] = {}
    for site in sites:
        output = program.value(site.name)
        uses = tuple(output.uses())
        if len(uses) != 1 or output.is_graph_output():
            continue
        node, index = uses[0]
        if not is_standard(node, "Add") or node.graph is not program.graph:
            continue
        other, total = node.inputs[1 - index], node.outputs[0]
        if other is None or constant(other) is not None or not (same_shape(output, total) and same_shape(other, total)):
            continue
        if total.name and _is_sum(before, total.name):
            found[site.name] = total.name
    return found


def _is_sum(before: Program, name: str) -> bool:
    try:
        node = before.value(name).producer()
    except KeyError:
        return False
    return node is not None and is_standard(node, "Add")


def _levels(program: Program, sites: Sequence[Site], sums: Mapping[str, str]) -> Mapping[onnx_ir.Node, int]:
    """For each node the number of sites on the longest way to it, itself included; linear.

    A site comes after those before it in the graph that go into the same sum.
    """
    names = {site.node: site.name for site in sites}
    level: dict[onnx_ir.Node, int] = {}
    latest: dict[str, int] = {}
    for node in program.graph:
        inner = (value for _, graph in subgraphs(node) for nested in graph.all_nodes() for value in nested.inputs)
        makers = (value.producer() for value in (*node.inputs, *inner) if value is not None)
        level[node] = max((level.get(maker, 0) for maker in makers if maker is not None), default=0)
        if node in names:
            goal = sums.get(names[node], names[node])
            level[node] = latest[goal] = max(level[node], latest.get(goal, 0)) + 1
    return level


def _cut(members: Sequence[Site]) -> Iterator[list[Site]]:
    """As few lists as keep each within the memory of a stage."""
    taken: list[Site] = []
    used = 0
    for site in members:
        if taken and used + site.fit_bytes > STAGE_BYTES:
            yield taken
            taken, used = [], 0
        taken.append(site)
        used += site.fit_bytes
    if taken:
        yield taken
