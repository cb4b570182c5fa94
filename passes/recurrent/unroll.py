"""`unroll`: recurrent layers become products and activations, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import onnx_ir

from netwright.ir import shapes
from netwright.ir.errors import PipelineError
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.numerics import Close, Numerics
from netwright.passes.recurrent.fixing import fix_dims
from netwright.passes.recurrent.layer import GATES, Layer, read_layer
from netwright.passes.recurrent.unrolling import Shared, unroll_layer
from netwright.passes.rewrite import Miss, Rewrite, site_of


@dataclass(frozen=True, kw_only=True)
class Unroll(RewritePass):
    """Write LSTM, GRU and RNN out step by step, as products with shared weights: for static integers, and chips without recurrent layers.

    The number of steps has to be known, by itself or by `dims`. The input's product is one MatMul for all steps, or with
    `hoist=False` one for each; each step then has its MatMul with R, one constant for all of them.
    """

    name: ClassVar[str] = "unroll"
    numerics: ClassVar[Numerics] = Close()
    fixpoint: ClassVar[bool] = True

    dims: Mapping[str, int] | None = None
    """Numbers for named dimensions of inputs, such as {'frames': 160}: the model then takes no others."""

    hoist: bool = True
    """One product for the inputs of all steps; without, each step has its own, which takes less memory at a time."""

    limit: int = 256
    """Most steps that are written out: a graph grows by some ten nodes a step and direction."""

    def __post_init__(self) -> None:
        """Refuse a limit below one step.

        Raises:
            PipelineError: it is.
        """
        if self.limit < 1:
            raise PipelineError(f"unroll(limit={self.limit}): the least is 1.", place="unroll", remedy="256 is the default.")

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """One layer after the other, in the graph's order; linear in nodes made."""
        del context
        if not shapes.is_inferred(program):
            shapes.infer(program)
        yield from fix_dims(program, self.dims or {})
        shared = Shared()
        for graph in (program.graph, *program.graph.subgraphs()):
            for node in list(_recurrent(graph)):
                found = _look(node, self.limit)
                if isinstance(found, Miss):
                    yield found
                    continue
                before = dict(shared.stored)
                change = partial(unroll_layer, layer=found, shared=shared, hoist=self.hoist)
                why = f"{found.kind} of {found.hidden} units, {found.steps} steps" + (", both directions" if found.directions == 2 else "")
                applied = yield Rewrite.edit(site_of(node), why, change, anchor=node)
                if applied is None:
                    shared.stored.clear()
                    shared.stored.update(before)
        for function in program.model.functions.values():
            for node in _recurrent(function.graph):
                yield Miss(f"it stands inside the function {function.name}; `simplify` inlines functions", site_of(node))


def _recurrent(graph: onnx_ir.Graph) -> Iterator[onnx_ir.Node]:
    return (node for node in graph if (not node.domain and node.op_type in GATES) or node.op_type == "DynamicQuantizeLSTM")


def _look(node: onnx_ir.Node, limit: int) -> Layer | Miss:
    if node.op_type not in GATES:
        return Miss("its weights are integers already: `unroll` goes before `quantize`", site_of(node))
    found = read_layer(node, limit)
    return Miss(found, site_of(node)) if isinstance(found, str) else found
