"""A quantized Program as a Program for a chip: the passes in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering.binding import Bind
from netwright.backends.cim.lowering.channels import ChannelsLast
from netwright.backends.cim.lowering.crossbars import Crossbars
from netwright.backends.cim.target import CimTarget
from netwright.ir.program import Program
from netwright.passes.base import Pass
from netwright.passes.context import Context
from netwright.passes.manager import Outcome, run
from netwright.passes.sizes import check_names

PASSES = (Bind(), Crossbars(), ChannelsLast())
"""What makes a quantized program one for a chip, in this order."""
ON_CROSSBARS = frozenset({"resequence", "disable_cells"})
"""Passes that change products on crossbars."""


def complete(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """A pipeline's passes with those of `PASSES`: at its end, or before the first that asks for crossbars.

    Those that the pipeline has itself keep their options; all stand in their order, where the first of them or of `ON_CROSSBARS` stood.

    Args:
        passes: the pipeline's.
    """
    own = {one.name: one for one in PASSES}
    at = next((place for place, one in enumerate(passes) if one.name in own or one.name in ON_CROSSBARS), len(passes))
    given = {one.name: one for one in passes if one.name in own}
    return (*passes[:at], *(given.get(name, one) for name, one in own.items()), *(one for one in passes[at:] if one.name not in own))


def lower_graph(program: Program, context: Context, *, dims: Mapping[str, int] | None = None, arch: Arch | None = None) -> Outcome:
    """Put a quantized program's products on crossbars.

    Args:
        program: left as it is.
        context: its target is the chip, where `arch` is not given.
        dims: numbers for named dimensions, over the context's; the batch is 1.
        arch: the chip.

    Returns:
        The lowered program: sizes are numbers, products with constant int8 weights are `CrossbarMatMul`, the rest is standard ONNX. The
        ledger has a Miss for every product that is not on crossbars, with the reason. It can be run like any other program.

    Raises:
        DataError: a size that a chip cannot have, or of a dimension that the program does not have.
    """
    check_names(program, dims or {})
    target = CimTarget(arch) if arch is not None else context.target
    chosen = replace(context, target=target, dims={**context.dims, **(dims or {})})
    return run(program, PASSES, chosen)
