"""What one activation's channels are divided by, as a plan keeps it, and the rewrite that carries it out.

    x W  =  (x / s) (s W)        x: [rows, K], s: [K], W: [K, N]

with s powers of two, so that the float product stays equal to the bit. The division goes into what makes x where that is a
normalization or a product that nothing else reads, else a Mul stands before the products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.errors import PlanError
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.plan import Decision
from netwright.passes.quantize.equalizing.groups import Group, find_groups
from netwright.passes.quantize.equalizing.scaled import Part, scale
from netwright.passes.quantize.equalizing.sources import parts_of
from netwright.passes.rewrite import Rewrite

SMOOTH = "smooth:"
"""What an activation's name stands behind in a plan of `quantize`."""

LARGEST = 30
"""Exponents lie within plus and minus this."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """The exponents of two that an activation's channels are divided by; one for each channel.

    In a plan of `quantize` it stands under `smooth:NAME` with the activation's name, in one of `smooth` under NAME.
    """

    exponents: tuple[int, ...]

    @property
    def factors(self) -> np.ndarray:
        """s, float32 [channels]."""
        return np.exp2(np.array(self.exponents, np.float32)).astype(np.float32)

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        return {"scheme": "smooth", "exponents": list(self.exponents)}


def read_smoothing(site: str, decision: Decision) -> Smoothing:
    """Check a plan's decision.

    Raises:
        PlanError: an unknown key or a value out of range.
    """
    fields = dict(decision)
    scheme, exponents = fields.pop("scheme", "smooth"), fields.pop("exponents", None)
    whole = isinstance(exponents, list) and all(type(one) is int and abs(one) <= LARGEST for one in exponents)
    if scheme != "smooth" or fields or not whole:
        raise PlanError(
            f"The plan's smoothing of %{site} is not one.",
            place=site,
            remedy=f"A smoothing is {{'scheme': 'smooth', 'exponents': [0, 3, …]}}: for each channel an integer within ±{LARGEST}.",
        )
    return Smoothing(tuple(int(one) for one in exponents))  # type: ignore[union-attr, arg-type]


def smoothings_of(decisions: Mapping[str, Decision]) -> dict[str, Smoothing]:
    """The smoothings in a plan of `quantize`, by activation.

    Raises:
        PlanError: one is none.
    """
    return {key.removeprefix(SMOOTH): read_smoothing(key, one) for key, one in decisions.items() if key.startswith(SMOOTH)}


def smooth_rewrites(program: Program, smoothings: Mapping[str, Smoothing]) -> Proposals:
    """A rewrite for each activation named; exact.

    Raises:
        PlanError: a name is no activation whose readers can take its scale over, or has another number of channels.
    """
    if not smoothings:
        return
    known = {group.name: group for group in find_groups(program) if isinstance(group, Group)}
    for name, smoothing in smoothings.items():
        group = known.get(name)
        if group is None:
            raise PlanError(
                f"The plan smooths %{name}, where this program has no activation that products with weights of their own read.",
                place=name,
                remedy="Remove it from the plan, or make the plan again.",
            )
        if len(smoothing.exponents) != group.channels:
            raise PlanError(f"The plan has {len(smoothing.exponents)} exponents for the {group.channels} channels of %{name}.", place=name)
        if any(smoothing.exponents):
            yield smooth_rewrite(group, smoothing)


def smooth_rewrite(group: Group, smoothing: Smoothing) -> Rewrite:
    """The rewrite of one group."""
    parts = parts_of(group)
    into = "what makes it" if parts is not None else "a Mul before its products"
    changed = sum(1 for one in smoothing.exponents if one)
    why = f"{changed} of {group.channels} channels scaled by powers of two: by {into}, back by {len(group.readers)} weights"
    return Rewrite.edit(group.name, why, lambda editor: _change(editor, group, smoothing.factors, parts), anchor=group.readers[0].node)


def _change(editor: Editor, group: Group, factors: np.ndarray, parts: tuple[Part, ...] | None) -> None:
    inverse = (1 / factors).astype(np.float32)
    weights = dict.fromkeys((reader.weight, reader.axis) for reader in group.readers)
    for weight, axis in weights:
        scale(editor, weight, factors, axis)
    if parts is not None:
        for part in parts:
            part.scale(editor, inverse)
        return
    divided = _divided(editor, group, inverse)
    for reader in group.readers:
        editor.set_input(reader.node, 0, divided)


def _divided(editor: Editor, group: Group, inverse: np.ndarray) -> onnx_ir.Value:
    value = group.activation
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
    editor.at(group.readers[0].node)
    factor = editor.constant(inverse.astype(dtype), f"{group.name}.smooth")
    return editor.op("Mul", [value, factor], name=f"{group.name}.smoothed", like=value)
