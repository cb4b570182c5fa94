"""Named dimensions get a number, so that a layer's steps can be counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir

from netwright.ir.dims import evaluate, names_in, shape_of
from netwright.ir.editor import Editor
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from netwright.ir.shapes import infer
from netwright.passes.rewrite import Miss, Rewrite


def fix_dims(program: Program, dims: Mapping[str, int]) -> Iterator[Rewrite | Miss]:
    """A rewrite that states the sizes of named dimensions in the inputs, and a miss for each name that no input has.

    Raises:
        DataError: a size is below 1.
    """
    known = sorted(names_in(dim for value in program.inputs for dim in shape_of(value) or ()))
    for name, size in dims.items():
        if size < 1:
            raise DataError(f"The dimension {name} cannot be {size}.", place=f"unroll, dims, {name}", remedy="Give at least 1.")
    there = ", ".join(known) or "none"
    for name in sorted(dims.keys() - set(known)):
        yield Miss(f"no input has a dimension {name}; those with names: {there}", program.name)
    wanted = {name: size for name, size in dims.items() if name in known}
    if wanted:
        why = ", ".join(f"{name} = {size}" for name, size in wanted.items())
        yield Rewrite.edit(program.name, why, lambda editor: _fix(editor, wanted), anchor=next(iter(program.graph), None))


def _fix(editor: Editor, sizes: Mapping[str, int]) -> None:
    program = editor.program
    for value in program.graph.inputs:
        dims = shape_of(value) or ()
        if names_in(dims) & sizes.keys():
            editor.set_type(value, shape=onnx_ir.Shape([_fixed(dim, sizes) for dim in dims]))
    for value in program.graph.outputs:
        if names_in(shape_of(value) or ()) & sizes.keys():
            value.shape = None
    infer(program)


def _fixed(dim: int | onnx_ir.SymbolicDim, sizes: Mapping[str, int]) -> int | onnx_ir.SymbolicDim:
    found = evaluate(dim, sizes)
    return dim if found is None else found
