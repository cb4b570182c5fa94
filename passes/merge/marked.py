"""Rule: a chain on folded channels (tensor train, Kronecker product), which `factorize` marked, becomes one product.

Such a chain is Reshape, Transpose and MatMul with constants. What it computes is found by running it on the rows of the identity matrix,
and checked on random rows: y = x W + b at every row, whatever the other rows are.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Gone, Mapped
from netwright.ir.origin import origin_of
from netwright.ir.program import Program, constant
from netwright.passes.merge.folded import folded_at, same_chains
from netwright.passes.merge.naming import put_weight
from netwright.passes.merge.ownership import freed, owner_of
from netwright.passes.merge.policy import Measure, Policy, Size
from netwright.passes.merge.running import Runner
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match
from netwright.passes.simplify.evaluate import EvaluationError
from netwright.passes.timing import change_by


def unfold(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the last node of a marked chain."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        found = folded_at(node)
        if found is None or isinstance(found, Miss):
            return found
        runner = Runner(found, program.opset)
        names = [*(weight.name or "" for weight in found.weights), found.name, origin_of(node).module]
        try:
            macs, outputs = runner.macs()
            chains = same_chains(found)
            counted = freed(found.weights, {one for chain in chains for one in chain.nodes})
            factors = Size(sum(_size(weight) for weight in found.weights if weight in counted), macs)
            product = Size(found.inputs * outputs, found.inputs * outputs)
            measure = Measure(program, (found.data,), (found.result,), change_by(unfold(Policy("always"))))
            what = f"{len(found.weights)} factors of {found.inputs}×{outputs}"
            reason = policy.excluded(names) or policy.refusal(factors, product, what, measure)
            matrix = None if reason else runner.matrix()
        except EvaluationError as error:
            return Miss(f"kept as factors: the marked chain cannot be evaluated: {error.message}", site_of(node))
        if reason or matrix is None:
            return Miss(reason or "kept as factors: the marked chain does not act on its last axis row by row", site_of(node))
        dtype = found.weights[0].dtype
        assert dtype is not None, "a float constant"
        with np.errstate(over="ignore"):
            weight, bias = (part.astype(dtype.numpy()) for part in matrix)
        if not (np.isfinite(weight.astype(np.float64)).all() and np.isfinite(bias.astype(np.float64)).all()):
            return Miss(f"kept as factors: the product does not fit {dtype.numpy().name}", site_of(node))

        def change(editor: Editor) -> None:
            made = put_weight(editor, weight, found.name, owner_of(found.weights[0]), counted)
            editor.map(made.name or "", Mapped(Gone(f"{len(found.weights)} factors multiplied"), ()))
            for chain in chains:
                product = editor.at(chain.nodes[-1]).op("MatMul", [chain.data, made], like=chain.result)
                if bias.any():
                    product = editor.op("Add", [product, editor.constant(bias, f"{found.name}.bias")], like=chain.result)
                editor.replace(chain.result, product)

        return Rewrite.edit(site_of(node), f"{what} multiplied into %{found.name}", change, anchor=node)

    return match


def _size(weight: onnx_ir.Value) -> int:
    tensor = constant(weight)
    return 0 if tensor is None else tensor.size
