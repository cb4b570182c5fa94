"""`simplify(opset=…)`: the whole graph at a later operator set, for fusions that only that one has."""

from __future__ import annotations

import onnx

from netwright.ir import shapes
from netwright.ir.convert import convert
from netwright.ir.editor import Editor
from netwright.ir.errors import PipelineError
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.rewrite import Miss, Rewrite


def check_opset(opset: int | None) -> None:
    """Refuse an opset that does not exist.

    Raises:
        PipelineError: it is older than 18 or later than the installed onnx knows.
    """
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not 18 <= opset <= newest:
        raise PipelineError(
            f"simplify(opset={opset}): opsets 18 to {newest} can be asked for.", place="simplify", remedy="23 has Attention."
        )


def raise_opset(program: Program, opset: int) -> Proposals:
    """Convert the program to `opset` with onnx's converter; one of that opset or a later one stays as it is, with a miss.

    Raises:
        UnsupportedModelError: the converter has no rule for an operator.
    """
    if program.opset >= opset:
        if program.opset > opset:
            yield Miss(
                f"the program is at opset {program.opset}, and opsets are only raised, to {opset} not lowered", program.name, "raise_opset"
            )
        return

    def change(editor: Editor) -> None:
        converted = convert(program.model.clone(), opset)
        converted.ir_version = max(converted.ir_version, program.model.ir_version, _ir_version(opset))
        editor.replace_model(converted)
        shapes.infer(program)

    yield Rewrite.edit(program.name, f"opset {program.opset} to {opset}", change, rule="raise_opset")


def _ir_version(opset: int) -> int:
    return onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
