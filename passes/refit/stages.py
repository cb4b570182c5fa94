"""Which layers are solved together, toward what, and what is settled by then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np
import onnx_ir

from netwright.ir.opinfo import float_attr, int_attr, is_standard, subgraphs
from netwright.ir.program import Program, array, constant
from netwright.ir.shapes import same_shape
from netwright.passes.refit.site import Site
from netwright.passes.simplify.match import only_reader, other_input, reader

STAGES = 32
"""Most stages that depth alone makes; each goes through the data once. In deeper networks a stage holds layers that follow each other."""

STAGE_BYTES = 1 << 29
"""What the layers of one stage may take in memory, and the targets of stages that are observed together; more of them make more passes."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Sites that are solved together.

    Attributes:
        sites: none depends on another, unless there are too many levels for a stage each.
        border: names of the values that no site of this or a later stage changes, and that what comes after is computed from; empty
            where they cannot be kept.
    """

    sites: tuple[Site, ...]
    border: tuple[str, ...]


def stages(before: Program, program: Program, sites: Sequence[Site]) -> Iterator[Stage]:
    """The sites in an order in which each sees what those before it became.

    A site whose output is added to a residual is solved toward the sum. Of several that go into one sum the last one is, after the
    others; and where a stage holds several levels only the first of them, for else two would make up for the same.
    """
    sums = _sums(before, program, sites)
    levels = _levels(program, {site.node for site in sites}, {one.site.node: one.other for one in sums.values()})
    per_stage = max(1, -(-max((levels[site.node] for site in sites), default=0) // STAGES))
    by_stage: dict[int, list[Site]] = {}
    for site in sorted(sites, key=lambda site: levels[site.node]):
        number, within = divmod(levels[site.node] - 1, per_stage)
        one = sums.get(site.name)
        by_stage.setdefault(number, []).append(site if one is None or within else site.towards(one.total, one.factor))
    borders = {number: _border(program, levels, number * per_stage) for number in by_stage}
    for number, members in by_stage.items():
        yield from (Stage(tuple(part), borders[number]) for part in _cut(members))


def spans(found: Iterable[Stage]) -> Iterator[list[Stage]]:
    """Stages whose targets fit into memory together."""
    span: list[Stage] = []
    used = 0
    for stage in found:
        own = sum(site.target_bytes for site in stage.sites)
        if span and used + own > STAGE_BYTES:
            yield span
            span, used = [], 0
        span.append(stage)
        used += own
    if span:
        yield span


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """A site's output, behind a batch norm perhaps, and another activation, added; nothing else reads the output.

    Attributes:
        site: the site.
        other: the other activation.
        total: name of the sum.
        factor: what the batch norm multiplies each channel by.
    """

    site: Site
    other: onnx_ir.Value
    total: str
    factor: np.ndarray | None


def _sums(before: Program, program: Program, sites: Sequence[Site]) -> Mapping[str, _Sum]:
    """By name of a site's output, the sum that it goes into; of several that go into one the last."""
    found: dict[str, _Sum] = {}
    for site in sites:
        if len(site.node.outputs) > 1:
            continue
        output, factor = _behind_norm(program.value(site.name))
        adding = only_reader(output)
        if adding is None or not is_standard(adding, "Add"):
            continue
        other, total = other_input(adding, output), adding.outputs[0]
        if other is None or constant(other) is not None or not (same_shape(output, total) and same_shape(other, total)):
            continue
        if total.name and _is_sum(before, total.name):
            found[total.name] = _Sum(site, other, total.name, factor)
    return {one.site.name: one for one in found.values()}


def _behind_norm(output: onnx_ir.Value) -> tuple[onnx_ir.Value, np.ndarray | None]:
    """Where an output arrives that one node after the other reads alone, and the factors of batch norms on the way."""
    factor: np.ndarray | None = None
    while (node := reader(output, "BatchNormalization", "Identity", "Dropout")) is not None and node.inputs[0] is output:
        if node.op_type == "BatchNormalization":
            scale, variance = array(node.inputs[1]), array(node.inputs[4])
            if scale is None or variance is None or int_attr(node, "training_mode", 0):
                break
            own = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + float_attr(node, "epsilon", 1e-5))
            factor = own if factor is None else factor * own
        output = node.outputs[0]
    return output, factor


def _is_sum(before: Program, name: str) -> bool:
    try:
        node = before.value(name).producer()
    except KeyError:
        return False
    return node is not None and is_standard(node, "Add")


def _levels(program: Program, counted: set[onnx_ir.Node], others: Mapping[onnx_ir.Node, onnx_ir.Value]) -> Mapping[onnx_ir.Node, int]:
    """For each node of the main graph the number of counted nodes on the longest way to it, itself included; linear.

    Args:
        program: the program.
        counted: nodes of sites.
        others: what a site's output is added to: the site comes after all that makes it.
    """
    before: dict[onnx_ir.Node, list[onnx_ir.Node]] = {}
    for node in program.graph:
        values = [*_read(node), others[node]] if node in others else list(_read(node))
        makers = (value.producer() for value in values)
        before[node] = [maker for maker in makers if maker is not None and maker.graph is program.graph]
    level: dict[onnx_ir.Node, int] = {}
    for node in TopologicalSorter(before).static_order():
        level[node] = max((level[maker] for maker in before[node]), default=0) + (node in counted)
    return level


def _read(node: onnx_ir.Node) -> Iterator[onnx_ir.Value]:
    """What a node and the graphs inside it read."""
    yield from (value for value in node.inputs if value is not None)
    for _, graph in subgraphs(node):
        for inner in graph.all_nodes():
            yield from (value for value in inner.inputs if value is not None)


def _border(program: Program, levels: Mapping[onnx_ir.Node, int], done: int) -> tuple[str, ...]:
    """Names of the values that nodes of higher levels read of inputs and of nodes up to this level; linear.

    What is computed of weights alone is left out, for weights change. None where one is no tensor.
    """
    found: dict[str, None] = {}
    varying: set[onnx_ir.Value] = {value for value in program.graph.inputs if not value.is_initializer()}
    for node in program.graph:
        read = [value for value in _read(node) if value in varying]
        if not read:
            continue
        varying.update(node.outputs)
        if levels[node] <= done:
            continue
        for value in read:
            maker = value.producer()
            if value.name and (maker is None or levels[maker] <= done):
                if value.type is not None and not isinstance(value.type, onnx_ir.TensorType):
                    return ()
                found[value.name] = None
    return tuple(found)


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
