"""What ties a GraphModule to the Program that it was made from: kept in the module's `meta`, copied along with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import onnx_ir
from torch import fx

from netwright.ir.errors import NetwrightError
from netwright.ir.ledger import Ledger

KEY = "netwright"
"""Key in `GraphModule.meta` and in each fx node's `meta`."""


@dataclass(frozen=True, slots=True)
class Latent:
    """A float parameter that stands for an integer weight: how the integers come from it.

    `q = clip(round(w / scale) + zero_point, low, high)`; without a scale, `q = clip(round(w / unit), low, high)`.

    Attributes:
        low: the smallest integer.
        high: the largest.
        scale: name of the value that holds the scale, where the latent weight is in real units.
        zero_point: name of the value that holds the zero point.
        axis: of the scale, where there is one for each index.
        block_size: rows that share a scale; 0 where all do.
        unit: what a step of the integers is worth, where there is no scale: an optimizer's step is then as long as for a float weight.
    """

    low: int
    high: int
    scale: str | None = None
    zero_point: str | None = None
    axis: int = 1
    block_size: int = 0
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Bound:
    """What a tensor of the module is in the Program.

    Attributes:
        value: name of the initializer.
        kind: `parameter`, `buffer`, `latent` for a float parameter in the place of integers, `step` for one that moves a quantizer's
            step.
        latent: for `latent`, how the integers come from it.
        first: for `step`, the buffer of the module with the step as it was; see `netwright.backends.torch.steps`.
    """

    value: str
    kind: Literal["parameter", "buffer", "latent", "step"]
    latent: Latent | None = None
    first: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """Names on both sides.

    Attributes:
        inputs: names of the Program's inputs, in the order of the module's arguments.
        outputs: names of the values that the module returns, in order.
        tensors: by key of the module's `state_dict`.
        ledger: the Program's record when it was lowered.
        sources: types of the initializers, by name, as the Program has them.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Bound]
    ledger: Ledger
    sources: Mapping[str, onnx_ir.DataType]

    def key_of(self, value: str) -> str | None:
        """The key of the tensor that is this initializer; None for one that the module does not hold."""
        return next((key for key, bound in self.tensors.items() if bound.value == value), None)


def binding_of(module: fx.GraphModule) -> Binding:
    """The binding of a module that `to_torch` made.

    Raises:
        NetwrightError: the module was not made by `to_torch`, or lost its `meta`.
    """
    found = module.meta.get(KEY)
    if found is None:
        raise NetwrightError(
            "This GraphModule was not made by to_torch, or lost its meta.",
            place=type(module).__name__,
            remedy="Give the one that to_torch returned.",
        )
    return cast("Binding", found)
