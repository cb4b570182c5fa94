"""One site's decision, as typed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from netwright.ir.errors import PlanError
from netwright.passes.plan import Decision, DecisionValue

Axis = Literal["column", "row", "tensor"]
Outliers = tuple[tuple[int, int], ...]
"""Input channels with the factor (a power of two) by which their activations are divided before, and their weights multiplied
when, both become integers: the product stays the same, and the tensor's one scale no longer has to span them."""

BLOCK_SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Integer weights, activations quantized as they come.

    Attributes:
        bits: of the weights; 7 where 8 would saturate the processor's 16-bit sums.
        axis: along which scales vary: output channels of a product (`column`), entries of a table (`row`), or not at all.
        outliers: see `Outliers`.
    """

    bits: int = 8
    axis: Axis = "column"
    outliers: Outliers = ()

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        found: dict[str, DecisionValue] = {"scheme": "dynamic", "bits": self.bits, "axis": self.axis}
        if self.outliers:
            found["outliers"] = [list(pair) for pair in self.outliers]
        return found


@dataclass(frozen=True, slots=True)
class BlockWise:
    """Integer weights in blocks, activations as they are.

    Attributes:
        bits: 8 or 4.
        block_size: elements along the input channels that share a scale.
        symmetric: without zero points.
    """

    bits: int = 4
    block_size: int = 32
    symmetric: bool = False

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        return {"scheme": "weights", "bits": self.bits, "block_size": self.block_size, "symmetric": self.symmetric}


Choice = Dynamic | BlockWise


def read_choice(site: str, decision: Decision) -> Choice:
    """Check a plan's decision.

    Raises:
        PlanError: an unknown scheme, or a value out of range.
    """
    fields = dict(decision)
    scheme = fields.pop("scheme", None)
    if scheme == "dynamic":
        choice = _dynamic(site, fields)
    elif scheme == "weights":
        choice = _block_wise(site, fields)
    else:
        raise PlanError(f"The plan's scheme for %{site} is {scheme!r}.", place=site, remedy="Schemes: 'dynamic', 'weights'.")
    if fields:
        raise PlanError(
            f"The plan has unknown keys for %{site}: {', '.join(fields)}.", place=site, remedy=f"Known: {', '.join(choice.decision())}."
        )
    return choice


def _dynamic(site: str, fields: dict[str, DecisionValue]) -> Dynamic:
    bits, axis, pairs = fields.pop("bits", 8), fields.pop("axis", "column"), fields.pop("outliers", [])
    if bits not in (7, 8):
        raise PlanError(f"Dynamic weights have 8 bits (or 7), not {bits!r}.", place=site)
    if axis not in ("column", "row", "tensor"):
        raise PlanError(f"The axis is 'column', 'row' or 'tensor', not {axis!r}.", place=site)
    outliers: list[tuple[int, int]] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        match pair:
            case [int(channel), int(factor)] if channel >= 0 and factor > 1 and factor & (factor - 1) == 0:
                outliers.append((channel, factor))
            case _:
                raise PlanError(f"An outlier is [channel, factor], the factor a power of two, not {pair!r}.", place=site)
    return Dynamic(cast("int", bits), axis, tuple(outliers))


def _block_wise(site: str, fields: dict[str, DecisionValue]) -> BlockWise:
    bits, size, symmetric = fields.pop("bits", 4), fields.pop("block_size", 32), fields.pop("symmetric", False)
    if bits not in (4, 8):
        raise PlanError(f"Block-wise weights have 8 or 4 bits, not {bits!r}.", place=site)
    if size not in BLOCK_SIZES or not isinstance(symmetric, bool):
        raise PlanError(f"Block sizes are {', '.join(map(str, BLOCK_SIZES))}, not {size!r}; 'symmetric' is true or false.", place=site)
    return BlockWise(cast("int", bits), cast("int", size), symmetric)
