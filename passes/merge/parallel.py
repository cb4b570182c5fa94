"""Rule: linear operators of the same input whose results are added become one: a layer and its low-rank adapter.

Such adapters are those of LoRA (Hu et al., arXiv 2106.09685): W + s B A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Gone, Mapped
from netwright.ir.program import Program
from netwright.passes.merge.building import Result, build
from netwright.passes.merge.chains import Chain, chain_to, merged_form, merged_numbers, places
from netwright.passes.merge.forms import Convolution, Form, Lookup, Product
from netwright.passes.merge.forms.base import sizes
from netwright.passes.merge.links import link_ending, read_beside
from netwright.passes.merge.naming import product_name, put_weight
from netwright.passes.merge.ownership import freed, owner_of
from netwright.passes.merge.partition import size_of, whole
from netwright.passes.merge.policy import Measure, Policy, Size
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match
from netwright.passes.timing import change_by

_MAPPED_ELEMENTS = 1 << 16
"""Differences of more elements are not kept in the ledger."""


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """Two chains of the same data.

    Attributes:
        base: the one whose last node says how the sum is written, and whose weight, if it has but one, lends its name.
        other: the adapter.
    """

    base: Chain
    other: Chain


def add_up(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the Add."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        found = _branches(node)
        if found is None:
            return None
        links = (*found.base.links, *found.other.links)
        form = _form(found)
        if isinstance(form, str):
            return Miss(f"kept as parallel operators: {sizes([link.form for link in links])}: {form}", site_of(node))
        nodes = {node, *found.base.nodes, *found.other.nodes}
        counted = freed([link.weight for link in links], nodes)
        factors = Size(size_of(links, counted), whole(found.base, counted).macs + whole(found.other, counted).macs)
        at = places(found.base)
        bias = form.outputs if any(link.bias is not None for link in links) else 0
        product = Size(form.size + bias, form.size * form.places(at[0], at[-1]))
        measure = Measure(program, (found.base.data,), node.outputs, change_by(add_up(Policy("always"))))
        reason = policy.excluded([name for link in links for name in link.names])
        reason = reason or policy.refusal(factors, product, sizes([link.form for link in links]), measure)
        if reason:
            return Miss(reason, site_of(node))
        result = _sum(found, form)
        if result.overflow:
            return Miss(f"kept as factors: {result.overflow}", site_of(node))
        why = f"{sizes([link.form for link in links])} of the same input added up, %{found.base.last.name}"
        return Rewrite.edit(site_of(node), why, lambda editor: _carry_out(editor, node, found, result), anchor=node)

    return match


def _branches(node: onnx_ir.Node) -> Branches | None:
    if len(node.inputs) != 2 or node.inputs[0] is node.inputs[1]:
        return None
    lasts = [link_ending(value) for value in node.inputs]
    chains = [chain_to(last) for last in lasts if last is not None and read_beside(last) is None]
    if len(chains) != 2 or chains[0].data is not chains[1].data:
        return None
    base, other = sorted(chains, key=lambda chain: len(chain.links))
    return Branches(base, other)


def _form(found: Branches) -> Form | str:
    forms = [merged_form(chain.links) for chain in (found.base, found.other)]
    one, two = forms
    if isinstance(one, str):
        return one
    if isinstance(two, str):
        return two
    if one != two:
        apart = isinstance(one, Convolution) and isinstance(two, Convolution)
        return "their geometry differs" if apart else f"one is {one.describe()}, the other {two.describe()}"
    if found.other.last.fixed:
        return found.other.last.fixed
    own = found.base.last
    if own.fixed and any(link.bias is not None for link in (*found.base.links[:-1], *found.other.links)):
        return own.fixed
    if own.fixed and isinstance(one, Lookup):
        return own.fixed
    return one


def _sum(found: Branches, form: Form) -> Result:
    (numbers, bias), (more, second) = merged_numbers(found.base.links), merged_numbers(found.other.links)
    last = found.base.last
    if second is not None:
        bias = second if bias is None else bias + second
    elif len(found.base.links) == 1 and len(last.nodes) == 1 and last.node.op_type != "MatMul" and not isinstance(form, Lookup):
        bias = None  # the node's own stays
    gemm = isinstance(form, Product) and any(link.node.op_type == "Gemm" for link in (*found.base.links, *found.other.links))
    turned = last.turned
    if isinstance(form, Product) and not (gemm and last.node.op_type == "Gemm"):
        turned = not form.left
    dtype = last.weight.dtype
    assert dtype is not None, "a float constant"
    return Result(form, gemm, turned or isinstance(form, Lookup), numbers + more, bias, dtype.numpy())


def _carry_out(editor: Editor, node: onnx_ir.Node, found: Branches, result: Result) -> None:
    last = found.base.last
    alone = len(found.base.links) == 1
    nodes = {node, *found.base.nodes, *found.other.nodes}
    editor.at(node)
    name = last.name if alone else product_name([link.name for link in found.base.links])
    source, going = last.name, freed([link.weight for link in (*found.base.links, *found.other.links)], nodes)
    weight = put_weight(editor, result.stored, name, owner_of(last.weight), going)
    delta = result.numbers - last.numbers if alone else result.numbers
    if alone and last.turned == result.turned and delta.size <= _MAPPED_ELEMENTS:
        shift = (delta.T if result.turned else delta).astype(result.dtype)
        editor.map(weight.name or "", Mapped(Affine(last.scale, shift), (source,)))
    else:
        editor.map(weight.name or "", Mapped(Gone("a sum of parallel operators"), ()))
    new = build(editor, result, found.base.data, weight, replace(last, end=node.outputs[0]))
    editor.replace(node.outputs[0], new)
