"""One site's decision, as typed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from netwright.ir.errors import PlanError
from netwright.passes.plan import Decision, DecisionValue

Axis = Literal["column", "row", "tensor"]
Outliers = tuple[tuple[int, int], ...]
"""Input channels with the factor (a power of two) by which their activations are divided before, and their weights multiplied
when, both become integers: the product stays the same, and the tensor's one scale no longer has to span them."""


def channel_factors(outliers: Outliers, channels: int) -> np.ndarray:
    """The factor of each channel, 1 of those that are no outliers, float32 [channels]."""
    factors = np.ones(channels, np.float32)
    for channel, factor in outliers:
        factors[channel] = factor
    return factors


BLOCK_SIZES = (16, 32, 64, 128, 256)

MOST_CHUNKS = 16
"""Of an LSTM's input."""


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Integer weights, activations quantized as they come.

    Attributes:
        bits: of the weights; 7 where 8 would saturate the processor's 16-bit sums.
        axis: along which scales vary: output channels of a product (`column`), entries of a table (`row`), or not at all.
        outliers: see `Outliers`.
        rounding: see `ROUNDINGS`.
        chunks: into how many the range of an LSTM's input is cut (`recurrent/inputs.py`).
        states: along which scales of an LSTM's recurrent weights vary: `column` as `axis`, or `tensor` (`recurrent/states.py`).
    """

    bits: int = 8
    axis: Axis = "column"
    outliers: Outliers = ()
    rounding: str = "nearest"
    chunks: int = 1
    states: Axis = "column"

    def factors(self, channels: int) -> np.ndarray | None:
        """What weights are multiplied by, channel by channel, float32 [channels]; None where nothing is an outlier."""
        return channel_factors(self.outliers, channels) if self.outliers else None

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        found: dict[str, DecisionValue] = {"scheme": "dynamic", "bits": self.bits, "axis": self.axis}
        if self.outliers:
            found["outliers"] = [list(pair) for pair in self.outliers]
        return found | _unusual(self)


@dataclass(frozen=True, slots=True)
class Static:
    """Integer weights, and activations on grids found by calibration.

    Attributes:
        bits: of the weights, 2 to 8; below 8 they lie in bytes all the same.
        axis: one scale for each output channel (`column`) or one in all (`tensor`).
        rounding: see `ROUNDINGS`.
        fold_stride: a first convolution of few channels and stride 2 becomes one of stride 1 on four times the channels.
    """

    bits: int = 8
    axis: Axis = "column"
    rounding: str = "nearest"
    fold_stride: bool = False

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        found: dict[str, DecisionValue] = {"scheme": "static", "bits": self.bits, "axis": self.axis}
        return found | _unusual(self)


@dataclass(frozen=True, slots=True)
class ActivationGrid:
    """The integers that an activation becomes: `clip(round(x / scale) + zero_point)`, one scale for the tensor.

    In a plan it stands under `activation:NAME`.

    Attributes:
        scale: the step, positive.
        zero_point: the integer of 0.0.
        bits: 8 (or 16).
        signed: from -2 ** (bits - 1), else from 0.
    """

    scale: float
    zero_point: int
    bits: int = 8
    signed: bool = False

    @property
    def low(self) -> int:
        """The least integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest integer."""
        return self.low + (1 << self.bits) - 1

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        return {"scheme": "activation", "scale": self.scale, "zero_point": self.zero_point, "bits": self.bits, "signed": self.signed}


@dataclass(frozen=True, slots=True)
class BlockWise:
    """Integer weights in blocks, activations as they are.

    Attributes:
        bits: 8 or 4.
        block_size: elements along the input channels that share a scale.
        symmetric: without zero points.
        rounding: see `ROUNDINGS`.
    """

    bits: int = 4
    block_size: int = 32
    symmetric: bool = False
    rounding: str = "nearest"

    def decision(self) -> Decision:
        """The decision as it stands in a plan."""
        found: dict[str, DecisionValue] = {
            "scheme": "weights",
            "bits": self.bits,
            "block_size": self.block_size,
            "symmetric": self.symmetric,
        }
        return found | _unusual(self)


Choice = Dynamic | Static | BlockWise

ROUNDINGS = ("nearest", "gptq", "adaround", "hqq", "awq")
"""How weights become integers: to the nearest, or so that outputs on calibration data change least (gptq, adaround), by a search of zero
points without data (hqq), or after a search of channel scales (awq)."""


def _unusual(choice: Dynamic | Static | BlockWise) -> dict[str, DecisionValue]:
    """What is not at its default, of the options that few sites use."""
    found: dict[str, DecisionValue] = {}
    if choice.rounding != "nearest":
        found["rounding"] = choice.rounding
    if isinstance(choice, Dynamic) and choice.chunks > 1:
        found["chunks"] = choice.chunks
    if isinstance(choice, Dynamic) and choice.states == "tensor":
        found["states"] = choice.states
    if isinstance(choice, Static) and choice.fold_stride:
        found["fold_stride"] = True
    return found


def read_choice(site: str, decision: Decision) -> Choice:
    """Check a plan's decision.

    Raises:
        PlanError: an unknown scheme, or a value out of range.
    """
    fields = dict(decision)
    scheme = fields.pop("scheme", None)
    if scheme == "dynamic":
        choice = _dynamic(site, fields)
    elif scheme == "static":
        choice = _static(site, fields)
    elif scheme == "weights":
        choice = _block_wise(site, fields)
    else:
        raise PlanError(f"The plan's scheme for %{site} is {scheme!r}.", place=site, remedy="Schemes: 'dynamic', 'static', 'weights'.")
    if fields:
        raise PlanError(
            f"The plan has unknown keys for %{site}: {', '.join(fields)}.", place=site, remedy=f"Known: {', '.join(choice.decision())}."
        )
    return choice


def _dynamic(site: str, fields: dict[str, DecisionValue]) -> Dynamic:
    bits, axis, pairs = fields.pop("bits", 8), fields.pop("axis", "column"), fields.pop("outliers", [])
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise PlanError(f"Dynamic weights have 2 to 8 bits, not {bits!r}.", place=site)
    if axis not in ("column", "row", "tensor"):
        raise PlanError(f"The axis is 'column', 'row' or 'tensor', not {axis!r}.", place=site)
    outliers: list[tuple[int, int]] = []
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        match pair:
            case [int(channel), int(factor)] if channel >= 0 and factor > 1 and factor & (factor - 1) == 0:
                outliers.append((channel, factor))
            case _:
                raise PlanError(f"An outlier is [channel, factor], the factor a power of two, not {pair!r}.", place=site)
    chunks = fields.pop("chunks", 1)
    if not isinstance(chunks, int) or not 1 <= chunks <= MOST_CHUNKS:
        raise PlanError(f"'chunks' is a number from 1 to {MOST_CHUNKS}, not {chunks!r}.", place=site)
    states = fields.pop("states", "column")
    if states not in ("column", "tensor"):
        raise PlanError(f"'states' is 'column' or 'tensor', not {states!r}.", place=site)
    return Dynamic(bits, axis, tuple(outliers), _rounding(site, fields), chunks, states)


def _static(site: str, fields: dict[str, DecisionValue]) -> Static:
    bits, axis, folded = fields.pop("bits", 8), fields.pop("axis", "column"), fields.pop("fold_stride", False)
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise PlanError(f"Static weights have 2 to 8 bits, not {bits!r}.", place=site)
    if axis not in ("column", "tensor"):
        raise PlanError(f"The axis is 'column' or 'tensor', not {axis!r}.", place=site)
    if not isinstance(folded, bool):
        raise PlanError(f"'fold_stride' is true or false, not {folded!r}.", place=site)
    return Static(bits, axis, _rounding(site, fields), folded)


def read_grid(site: str, decision: Decision) -> ActivationGrid:
    """Check a plan's grid of an activation.

    Raises:
        PlanError: a value out of range, or an unknown key.
    """
    fields = dict(decision)
    fields.pop("scheme", None)
    scale, zero, bits, signed = (fields.pop(key, None) for key in ("scale", "zero_point", "bits", "signed"))
    if fields or not isinstance(scale, int | float) or not 0 < scale < float("inf") or bits not in (8, 16) or not isinstance(signed, bool):
        raise PlanError(
            f"The plan's grid for %{site} is {dict(decision)!r}.",
            place=site,
            remedy="A grid is {'scheme': 'activation', 'scale': 0.1, 'zero_point': 128, 'bits': 8, 'signed': false}.",
        )
    grid = ActivationGrid(float(scale), zero if isinstance(zero, int) else 0, cast("int", bits), signed)
    if not isinstance(zero, int) or not grid.low <= zero <= grid.high:
        raise PlanError(f"The zero point of %{site} is {zero!r}; it must lie in {grid.low} to {grid.high}.", place=site)
    return grid


def _rounding(site: str, fields: dict[str, DecisionValue]) -> str:
    rounding = fields.pop("rounding", "nearest")
    if rounding not in ROUNDINGS:
        raise PlanError(f"There is no rounding {rounding!r}.", place=site, remedy=f"Roundings: {', '.join(ROUNDINGS)}.")
    return cast("str", rounding)


def _block_wise(site: str, fields: dict[str, DecisionValue]) -> BlockWise:
    bits, size, symmetric = fields.pop("bits", 4), fields.pop("block_size", 32), fields.pop("symmetric", False)
    if bits not in (2, 4, 8):
        raise PlanError(f"Block-wise weights have 8, 4 or 2 bits, not {bits!r}.", place=site)
    if size not in BLOCK_SIZES or not isinstance(symmetric, bool):
        raise PlanError(f"Block sizes are {', '.join(map(str, BLOCK_SIZES))}, not {size!r}; 'symmetric' is true or false.", place=site)
    return BlockWise(cast("int", bits), cast("int", size), symmetric, _rounding(site, fields))
