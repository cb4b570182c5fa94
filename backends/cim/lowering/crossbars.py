"""`crossbars`: quantized products become products on crossbars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import onnx_ir

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering.binary import is_binary, lower_binary
from netwright.backends.cim.lowering.convolutions import lower_convolution
from netwright.backends.cim.lowering.emitting import Attend, Place, Workshop
from netwright.backends.cim.lowering.integers import lower_integer_convolution, lower_integer_matmul
from netwright.backends.cim.lowering.matmuls import lower_matmul
from netwright.backends.cim.lowering.naming import Names
from netwright.backends.cim.lowering.operators import QLINEAR, open_qlinear
from netwright.backends.cim.lowering.reading import NoProduct
from netwright.backends.cim.lowering.remaining import left_over
from netwright.backends.cim.target import arch_of
from netwright.ir.errors import PipelineError
from netwright.ir.opinfo import is_standard, site
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.rewrite import Miss, Rewrite

_LOWER: Mapping[str, Callable[[onnx_ir.Node, Workshop], Rewrite]] = {
    "MatMul": lower_matmul,
    "Gemm": lower_matmul,
    "Conv": lower_convolution,
    "MatMulInteger": lower_integer_matmul,
    "ConvInteger": lower_integer_convolution,
}

_UNOPENED = "scales of {} are computed, or its weights have other counts of scales and zero points: constants of one shape can be lowered"


@dataclass(frozen=True, kw_only=True)
class Crossbars(RewritePass):
    """Put the products of quantized layers on crossbar arrays, as the chip computes them; everything else stays for vector units."""

    name: ClassVar[str] = "crossbars"
    numerics: ClassVar[Numerics] = Lossy()
    fixpoint: ClassVar[bool] = True

    chip: str = ""
    """Name of a preset or path of a description; the target's chip where it is empty, else the default one."""
    grouped: Place = "auto"
    """Where grouped convolutions go: `auto` weighs energy × delay of both, `vector` and `crossbars` force one."""
    attention: Attend = "auto"
    """Where products of two values of the input go: `auto` weighs likewise, `vector` and `arrays` (written for every sample) force one."""

    def check(self) -> None:
        """Refuse a place that there is not.

        Raises:
            PipelineError: `grouped` or `attention` is none of the three.
        """
        if self.grouped not in get_args(Place):
            raise PipelineError(
                f"Grouped convolutions go to auto, vector or crossbars, not {self.grouped!r}.",
                place="crossbars(grouped=…)",
                remedy="Leave it out, or give one of these.",
            )
        if self.attention not in get_args(Attend):
            raise PipelineError(
                f"Products of two values go to auto, vector or arrays, not {self.attention!r}.",
                place="crossbars(attention=…)",
                remedy="Leave it out, or give one of these.",
            )

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """One rewrite for each product, in graph order; a miss for each that stays."""
        for node in [node for node in program.graph if is_standard(node, *QLINEAR)]:
            opened = open_qlinear(node)
            yield opened if opened is not None else Miss(_UNOPENED.format(node.op_type), site(node))
        workshop = Workshop(chosen_arch(self.chip, context), self.grouped, Names.beside(program.graph), self.attention)
        for node in list(program.graph):
            lower = _LOWER.get(node.op_type) if is_standard(node) else None
            if lower is None or node.graph is None:
                continue
            try:
                yield lower_binary(node, workshop) if is_binary(node) else lower(node, workshop)
            except NoProduct as reason:
                yield Miss(str(reason), site(node))
        yield from left_over(program, _LOWER.keys() | QLINEAR.keys())


def chosen_arch(chip: str, context: Context) -> Arch:
    """The chip that is named, else the target's, else the default.

    Raises:
        NetwrightError: there is no chip of that name, or its description is wrong.
    """
    if not chip:
        known = arch_of(context.target)
        if known is not None:
            return known
    from netwright.backends.cim.arch.catalog import resolve

    return resolve(chip or "generic-28nm")
