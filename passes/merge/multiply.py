"""Rule: linear operators one after the other become one (or fewer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.passes.merge.building import Result, build, end_of, result_of
from netwright.passes.merge.chains import Chain, chain_at, merged_form, merged_numbers
from netwright.passes.merge.fans import fan_of
from netwright.passes.merge.forms import Lookup, Product
from netwright.passes.merge.forms.base import sizes
from netwright.passes.merge.links import Link
from netwright.passes.merge.naming import mapped, product_name, put_weight
from netwright.passes.merge.ownership import freed, in_one_graph, owner_of, readers_of
from netwright.passes.merge.partition import Partition, Segment, merged, partition, whole
from netwright.passes.merge.policy import Measure, Policy, not_faster, not_smaller
from netwright.passes.merge.recurrent import into_gates, layer_behind
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A segment of a chain, with what takes its place."""

    segment: Segment
    result: Result
    name: str


def multiply(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the last operator of a chain."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        chain = chain_at(node)
        if chain is None:
            return None
        if len(chain.links) < 2:
            alone = not chain.blocked or (chain.beside is not None and fan_of(chain.beside.node) is not None)
            return None if alone else Miss(f"kept as factors: {chain.blocked}", site_of(node))
        reason = policy.excluded([name for link in chain.links for name in link.names])
        if reason:
            return Miss(reason, site_of(node))
        layer = layer_behind(chain.last.end)
        if layer is not None and isinstance(into_gates(policy)(layer, program), Rewrite):
            return None  # the last factor goes into the gates, which may be what it was split from; then this is asked again
        group = group_of(chain)
        found = _decide(policy, program, group)
        if isinstance(found, str):
            return Miss(found, site_of(node))
        steps = steps_of(group.chain, found)
        overflow = next((step.result.overflow for step in steps if step.result.overflow), "")
        if overflow:
            return Miss(f"kept as factors: {overflow}", site_of(node))
        why = "; ".join(_why(group.chain, step) for step in steps)
        return Rewrite.edit(site_of(node), why, lambda editor: carry_out(editor, group, steps), anchor=node)

    return match


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Chains of the same weights, so that tied layers stay tied.

    Attributes:
        chain: the one that is decided on; one that multiplies, where there is one, rather than looks up.
        same: all that compute the same product, that one among them.
        mirrored: those that compute the transposed product.
    """

    chain: Chain
    same: tuple[Chain, ...]
    mirrored: tuple[Chain, ...]

    @property
    def freed(self) -> frozenset[onnx_ir.Value]:
        """The weights that go if these chains do."""
        return freed(self.chain.weights, {node for chain in (*self.same, *self.mirrored) for node in chain.nodes})

    @property
    def repeats(self) -> bool:
        """Whether a weight stands in the chain twice: it goes with the whole chain only."""
        return len(set(self.chain.weights)) < len(self.chain.weights)


def group_of(chain: Chain) -> Group:
    """A chain with all others of its weights."""
    if not in_one_graph(chain.weights) or len(set(chain.weights)) < len(chain.weights):
        return Group(chain, (chain,), ())
    ends = dict.fromkeys(reader for weight in (chain.links[0].weight, chain.last.weight) for reader in readers_of(weight))
    others = [found for node in ends if node is not None and node is not chain.last.node and (found := chain_at(node)) is not None]
    same, mirrored = [chain], [other for other in others if chain.mirrors(other)]
    same += [other for other in others if chain.same_weights(other)]
    if isinstance(chain.links[0].form, Lookup) and mirrored:
        return Group(mirrored[0], tuple(mirrored), tuple(same))
    return Group(chain, tuple(same), tuple(mirrored))


def _decide(policy: Policy, program: Program, group: Group) -> Partition | str:
    """How the chain is cut; or why it stays, as a sentence."""
    chain, counted = group.chain, group.freed
    smallest, fewest = (partition(chain, counted, smaller=smaller) for smaller in (True, False))
    if not fewest.merges:
        return _why_not(chain)
    if policy.when == "always":
        return fewest
    if policy.when == "smaller" and group.repeats:
        return fewest if len(fewest.segments) == 1 and not _larger(chain, counted) else _numbers(chain, fewest, counted)
    if policy.when == "smaller":
        return smallest if smallest.merges else _numbers(chain, fewest, counted)
    tried: list[tuple[float, Partition]] = []
    refusal = ""
    for candidate in dict.fromkeys((fewest, smallest)):
        if not candidate.merges:
            continue
        found = Measure(program, (chain.data,), (chain.last.end,), _change(candidate)).times(policy.timer)
        if isinstance(found, str):
            return f"kept as factors: {found}"
        slower = not_faster(found, _sizes(chain))
        refusal = refusal or slower
        if not slower:
            tried.append((found.after, candidate))
    return min(tried, key=lambda one: one[0])[1] if tried else refusal


def _why_not(chain: Chain) -> str:
    reasons = (merged_form(chain.links[start : start + 2]) for start in range(len(chain.links) - 1))
    reason = next(reason for reason in reasons if isinstance(reason, str))
    return f"kept as factors: {_sizes(chain)}: {reason}"


def _larger(chain: Chain, counted: frozenset[onnx_ir.Value]) -> str:
    """Why the product of the whole chain is no smaller, as a sentence; empty where it is."""
    product = merged(chain, (0, len(chain.links)))
    return product if isinstance(product, str) else not_smaller(whole(chain, counted), product, _sizes(chain))


def _numbers(chain: Chain, fewest: Partition, counted: frozenset[onnx_ir.Value]) -> str:
    shared = [link.name for link in chain.links if link.weight not in counted]
    product = merged(chain, (0, len(chain.links)))
    reason = not_smaller(whole(chain, counted), fewest.size if isinstance(product, str) else product, _sizes(chain))
    beside = f" (%{', %'.join(dict.fromkeys(shared))} stays: others read it too)" if shared else ""
    return f"{reason or f'kept as factors: {_sizes(chain)}'}{beside}"


def _sizes(chain: Chain) -> str:
    return sizes([link.form for link in chain.links])


def _change(found: Partition):
    def change(program: Program, node: onnx_ir.Node) -> None:
        chain = chain_at(node)
        assert chain is not None, "cut out with all its links"
        with Editor(program, at=node) as editor:
            carry_out(editor, Group(chain, (chain,), ()), steps_of(chain, found))

    return change


def steps_of(chain: Chain, found: Partition) -> tuple[Step, ...]:
    """The products of all segments that have several links."""
    steps: list[Step] = []
    for start, stop in found.segments:
        if stop - start > 1:
            links = segment_links(chain, (start, stop))
            steps.append(Step((start, stop), product_of(links), product_name([link.name for link in links])))
    return tuple(steps)


def segment_links(chain: Chain, segment: Segment) -> tuple[Link, ...]:
    """The links of a segment; the chain's last one with the bias behind it, where one from before goes into that."""
    start, stop = segment
    links = chain.links[start:stop]
    return (*links[:-1], end_of(links, last=stop == len(chain.links)))


def product_of(links: Sequence[Link]) -> Result:
    """What takes the place of links that have a product."""
    form = merged_form(links)
    assert not isinstance(form, str), "decided on by its form"
    numbers, bias = merged_numbers(links)
    own = len(links[-1].nodes) > 1 or isinstance(form, Lookup) or any(link.bias is not None for link in links[:-1])
    return result_of(links, form, numbers, bias if own else None)


def carry_out(editor: Editor, group: Group, steps: Sequence[Step]) -> None:
    """Put each segment's product in its place, in all chains of the same weights, which share it."""
    going, made, count = group.freed, dict[Segment, onnx_ir.Value](), len(group.chain.links)
    for step in steps:
        links = segment_links(group.chain, step.segment)
        flipped = _as_table(group, step)
        origin = mapped(links, turned=step.result.turned != flipped)
        stored = np.ascontiguousarray(step.result.stored.T) if flipped else step.result.stored
        weight = put_weight(editor.at(group.chain.last.node), stored, step.name, owner_of(links[-1].weight), going)
        editor.map(weight.name or "", origin)
        made[step.segment] = weight
    for chain in group.same:
        for step in steps:
            links = segment_links(chain, step.segment)
            result, weight = step.result if chain is group.chain else product_of(links), made[step.segment]
            _replace(editor, chain, step.segment, result, _turned(editor, chain, weight) if _as_table(group, step) else weight)
    for chain in group.mirrored:
        for step in reversed(steps):
            segment = (count - step.segment[1], count - step.segment[0])
            result, weight = product_of(segment_links(chain, segment)), made[step.segment]
            if result.gemm:
                result = replace(result, turned=not step.result.turned)
            elif (result.turned == step.result.turned) != _as_table(group, step):
                weight = _turned(editor, chain, weight)
            _replace(editor, chain, segment, result, weight)


def _as_table(group: Group, step: Step) -> bool:
    """Whether a product is stored as the table that it also is, and turned for what multiplies: Gather cannot turn it, Gemm can."""
    begins = step.segment[1] == len(group.chain.links)
    return begins and not step.result.gemm and any(isinstance(chain.links[0].form, Lookup) for chain in group.mirrored)


def _turned(editor: Editor, chain: Chain, weight: onnx_ir.Value) -> onnx_ir.Value:
    return editor.at(chain.links[0].node).op("Transpose", [weight], {"perm": [1, 0]}, name=f"{weight.name}.turned")


def _replace(editor: Editor, chain: Chain, segment: Segment, result: Result, weight: onnx_ir.Value) -> None:
    end = segment_links(chain, segment)[-1]
    x = chain.links[segment[0]].node.inputs[_data_index(chain.links[segment[0]])]
    assert x is not None, "a link reads something"
    editor.at(end.nodes[-1])
    editor.replace(end.end, build(editor, result, x, weight, end))


def _data_index(link: Link) -> int:
    """Which input of the node is its data: read anew, since another segment's product may have taken its place."""
    return 1 if isinstance(link.form, Lookup) or (isinstance(link.form, Product) and link.form.left) else 0


def _why(chain: Chain, step: Step) -> str:
    links = chain.links[slice(*step.segment)]
    return f"{sizes([link.form for link in links])} multiplied into {step.result.form.describe()}, %{step.name}"
