"""Rule: a factor that several others share goes into each of them, or into none."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.passes.merge.building import Result, build, end_of
from netwright.passes.merge.chains import Chain, merged_form, places
from netwright.passes.merge.fans import Fan, fan_of
from netwright.passes.merge.forms.base import sizes
from netwright.passes.merge.links import Link
from netwright.passes.merge.multiply import product_of
from netwright.passes.merge.naming import mapped, product_name, put_weight
from netwright.passes.merge.ownership import freed, in_one_graph, owner_of, readers_of
from netwright.passes.merge.partition import size_of
from netwright.passes.merge.policy import Measure, Policy, Size
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match
from netwright.passes.timing import change_by


def fan_out(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the shared operator."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        fan = fan_of(node)
        if fan is None:
            return None
        reason = policy.excluded([name for link in fan.links for name in link.names]) or _refusal(policy, program, fan)
        if reason:
            return Miss(reason, site_of(node))
        products = [product_of(links) for links in _pairs(fan)]
        overflow = next((product.overflow for product in products if product.overflow), "")
        if overflow:
            return Miss(f"kept as factors: {overflow}", site_of(node))
        fans = same_products(fan)
        why = f"{fan.source.form.describe()} multiplied into what reads it, {sizes([link.form for link in fan.readers])}"
        return Rewrite.edit(site_of(node), why, lambda editor: carry_out(editor, fans, products), anchor=node)

    return match


def same_products(fan: Fan) -> tuple[Fan, ...]:
    """This fan and all others of the same weights."""
    found = {fan.source.node: fan}
    for reader in readers_of(fan.source.weight) if in_one_graph([link.weight for link in fan.links]) else ():
        other = None if reader is None or reader in found else fan_of(reader)
        if other is not None and _alike(fan, other):
            found[other.source.node] = other
    return tuple(found.values())


def freed_by(fans: Sequence[Fan]) -> frozenset[onnx_ir.Value]:
    """The weights that go if these fans do."""
    return freed([link.weight for link in fans[0].links], {node for fan in fans for link in fan.links for node in link.nodes})


def _alike(one: Fan, other: Fan) -> bool:
    if len(one.links) != len(other.links):
        return False
    return all(Chain((a,)).same_weights(Chain((b,))) for a, b in zip(one.links, other.links, strict=True))


def _pairs(fan: Fan) -> list[tuple[Link, Link]]:
    return [(fan.source, end_of((fan.source, link), last=True)) for link in fan.readers]


def _refusal(policy: Policy, program: Program, fan: Fan) -> str:
    counted = freed_by(same_products(fan))
    factors, product = size_of(fan.links, counted), 0
    macs, product_macs = 0.0, 0.0
    for link in fan.readers:
        form, at = merged_form((fan.source, link)), places(Chain((fan.source, link)))
        assert not isinstance(form, str), "a fan composes"
        biased = fan.source.bias is not None or link.bias is not None
        product += form.size + (form.outputs if biased else 0)
        product_macs += form.size * form.places(at[0], at[2])
        macs += link.form.size * link.form.places(at[1], at[2])
    at = places(Chain((fan.source, fan.readers[0])))
    macs += fan.source.form.size * fan.source.form.places(at[0], at[1])
    results = (fan.source.node.outputs[0], *(link.end for link in fan.readers))
    measure = Measure(program, (fan.source.data,), results[1:], change_by(fan_out(Policy("always")), results[0].name or ""))
    return policy.refusal(Size(factors, macs), Size(product, product_macs), sizes([link.form for link in fan.links]), measure)


def carry_out(editor: Editor, fans: Sequence[Fan], products: Sequence[Result]) -> None:
    """Put the products in the place of the readers; the shared operator dies with the last."""
    made: dict[int, onnx_ir.Value] = {}
    going = freed_by(fans)
    for fan in fans:
        for number, links in enumerate(_pairs(fan)):
            end, result = links[-1], products[number] if fan is fans[0] else product_of(links)
            editor.at(end.nodes[-1])
            if number not in made:
                name = product_name([link.name for link in links], shared=(fan.source.name,))
                origin = mapped(links, turned=result.turned)
                made[number] = put_weight(editor, result.stored, name, owner_of(end.weight), going)
                editor.map(made[number].name or "", origin)
            editor.replace(end.end, build(editor, result, fan.source.data, made[number], end))
