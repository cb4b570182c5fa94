"""Program → torch.fx.GraphModule."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir
from torch import fx

from netwright.backends.torch import ops
from netwright.backends.torch.bank import Bank
from netwright.backends.torch.binding import KEY, Binding
from netwright.backends.torch.builder import GraphBuilder
from netwright.backends.torch.expand import expand
from netwright.backends.torch.fuse import fusions
from netwright.backends.torch.fuse.sinking import sink_dequantizers
from netwright.backends.torch.settings import Settings
from netwright.ir.errors import NetwrightError, UnsupportedModelError
from netwright.ir.program import Program

__all__ = ["lower_to_torch"]

assert ops.__doc__, "importing the package fills the table"


def lower_to_torch(
    program: Program, *, trainable: bool = True, share: bool = False, train_norms: bool = False, wanted: Sequence[str] = ()
) -> fx.GraphModule:
    """Turn a program into a differentiable `torch.fx.GraphModule`.

    The module takes the program's inputs in order (or by name, where names are identifiers) and returns its output, or a tuple of
    its outputs where there are several. Any size of a dynamic dimension runs. Parameters have the names of the program's
    initializers, dots nesting modules; integers, settings and running statistics are buffers. Dropout follows `module.train()` and
    `.eval()`; the module arrives in eval mode.

    Args:
        program: left as it is.
        trainable: parameters require gradients; in a quantized program, integers are carried in floats and integer weights become
            parameters that are rounded at every run, with straight-through gradients.
        share: parameters that are still those of the traced module are the same objects, not copies.
        train_norms: BatchNormalization takes its statistics from the batch while the module is training, and updates the running ones.
        wanted: names of inner values of the main graph to return after the outputs.

    Raises:
        UnsupportedModelError: operators without an entry, by name and with their nodes; types that torch lacks.
        NetwrightError: a wanted value does not exist.
    """
    work = expand(program)
    sink_dequantizers(work, wanted)
    graph = work.graph
    extra = _find(work, wanted)
    _refuse_strings(work)
    bank = Bank(trainable=trainable, share=share)
    found = fusions(work, frozenset(wanted))
    weights = frozenset(value.name or "" for value in program.initializers())
    settings = Settings(
        trainable=trainable, train_norms=train_norms, weights=weights, wanted=frozenset(wanted), fused=found.calls, inside=found.inside
    )
    builder = GraphBuilder(work, bank, settings)
    inputs = work.inputs
    for value in inputs:
        builder.take(value)
    builder.lower(list(graph))
    results = [*graph.outputs, *extra]
    builder.give(results, single=len(results) == 1)
    builder.graph.eliminate_dead_code()
    module = _module(builder, bank, work.name)
    module.meta[KEY] = Binding(
        inputs=tuple(value.name or "" for value in inputs),
        outputs=tuple(value.name or "" for value in results),
        tensors=bank.tensors,
        ledger=program.ledger.copy(),
        sources=bank.sources,
    )
    return module.eval()


def _module(builder: GraphBuilder, bank: Bank, name: str) -> fx.GraphModule:
    return fx.GraphModule(bank.root, builder.graph, class_name="".join(letter if letter.isalnum() else "_" for letter in name) or "Graph")


def _find(program: Program, wanted: Sequence[str]) -> list[onnx_ir.Value]:
    """The wanted values, which must be of the main graph."""
    known = {output.name: output for node in program.graph for output in node.outputs}
    known.update({value.name: value for value in (*program.graph.inputs, *program.graph.initializers.values())})
    for name in wanted:
        if name not in known:
            raise NetwrightError(f"The main graph has no value %{name}.", place=name, remedy="`netwright inspect` lists values.")
    return [known[name] for name in wanted]


def _refuse_strings(program: Program) -> None:
    for value in (*program.graph.inputs, *program.graph.outputs):
        if value.dtype is onnx_ir.DataType.STRING:
            raise UnsupportedModelError(
                "torch has no tensors of strings.",
                place=value.name,
                remedy="Leave the text processing outside of the part that is trained.",
            )
