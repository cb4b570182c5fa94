"""`bind`: every named dimension gets its number, so that windows, buffers and schedules can be laid out; the batch is 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from netwright.backends.cim.lowering.mixing import refuse_mixing
from netwright.backends.cim.program.batches import note_batch
from netwright.ir.dims import names_in, shape_of
from netwright.ir.editor import Editor
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.ir.shapes import infer
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.driver import drive
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.rules import RuleIndex
from netwright.passes.simplify.fold import fold_constants
from netwright.passes.simplify.shape_arithmetic import known_contents, static_dimensions
from netwright.passes.sizes import batch_name, named_sizes, shown, unknown_names

STATIC_SHAPES = "StaticShapes"

_FOLD = RuleIndex((fold_constants, known_contents, static_dimensions))


@dataclass(frozen=True, kw_only=True)
class Bind(RewritePass):
    """Give every named dimension a number: the batch is 1, others as `dims` says, as calibration data has it, or a usual size."""

    name: ClassVar[str] = "bind"
    provides: ClassVar[frozenset[str]] = frozenset({STATIC_SHAPES})
    fixpoint: ClassVar[bool] = True

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """One rewrite of the signature, then what is known by it: arithmetic on shapes is constant. What stays symbolic is a miss."""
        sizes = bindings(program, context)
        if sizes:
            batch = batch_name(program, context.dims)
            refuse_mixing(program, batch, context)
            known = context.original
            unknown = [name for name in unknown_names(program, context.dims) if known is None or unknown_names(known, {name: 1})]
            for name in unknown:
                yield Miss(f"no input has a dimension {name}; those with names: {shown(program)}", program.name)
            why = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            yield Rewrite.edit(program.name, why, lambda editor: _bind(editor, sizes, batch), anchor=next(iter(program.graph), None))
        yield from drive(program, _FOLD)
        for node in program.nodes():
            for value in node.outputs:
                left = names_in(shape_of(value) or ())
                if left:
                    yield Miss(f"its size depends on the data: {', '.join(sorted(left))}", value.name or "")


def bindings(program: Program, context: Context) -> dict[str, int]:
    """A number for each name among the inputs' dimensions.

    Raises:
        DataError: a number is not positive, or the batch is given another number than 1.
    """
    batch, sizes = batch_name(program, context.dims), named_sizes(program, context)
    found: dict[str, int] = {}
    for value in program.inputs:
        for name in sorted(names_in(shape_of(value) or ())):
            found[name] = sizes.get(name, 1)
            if found[name] < 1 or (name == batch and context.dims.get(name, 1) != 1):
                raise DataError(
                    f"The dimension {name} cannot be {context.dims.get(name, found[name])} on a chip.",
                    place=f"dims, {name}",
                    remedy="A chip's program is for one sample; the simulator repeats it for a batch." if name == batch else "Give a size.",
                )
    return found


def _bind(editor: Editor, sizes: Mapping[str, int], batch: str) -> None:
    program = editor.program
    note_batch(program, batch)
    for value in program.graph.inputs:
        dims = shape_of(value)
        if dims is not None and names_in(dims):
            bound = [dim if isinstance(dim, int) else dim.evaluate(sizes) for dim in dims]
            editor.set_type(value, shape=onnx_ir.Shape(bound))
    for value in program.graph.outputs:
        if names_in(shape_of(value) or ()):
            value.shape = None
    infer(program)
