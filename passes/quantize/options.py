"""What the pass `quantize` can be told, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netwright.ir.errors import PipelineError
from netwright.passes.quantize.attention import ATTENTION
from netwright.passes.quantize.calibration import METHODS
from netwright.passes.quantize.choice import BLOCK_SIZES, ROUNDINGS

if TYPE_CHECKING:
    from netwright.passes.quantize.quantize import Quantize

Scheme = Literal["auto", "dynamic", "static", "weights"]
SCHEMES = ("auto", "dynamic", "static", "weights")

Recipe = Literal["fast", "balanced", "best"]
RECIPES = ("fast", "balanced", "best")

WEIGHT_BITS: Mapping[str, tuple[int, ...]] = {
    "auto": (2, 3, 4, 5, 6, 7, 8),
    "dynamic": (2, 3, 4, 5, 6, 7, 8),
    "static": (2, 3, 4, 5, 6, 7, 8),
    "weights": (8, 4, 2),
}
"""By scheme. Below 8, weights of all but `weights` lie in bytes all the same: the file is no smaller."""

BUDGET = ("bits", "bytes")
"""What a budget of this pass limits: mean bits of a weight, bytes saved."""


def check_options(options: Quantize) -> None:
    """Refuse options that do not exist or do not go together.

    Raises:
        PipelineError: with the options that there are.
    """
    _one_of("scheme", options.scheme, SCHEMES)
    _one_of("rounding", options.rounding, ROUNDINGS)
    _one_of("ranges", options.ranges, (None, *METHODS))
    _one_of("recipe", options.recipe, (None, *RECIPES))
    _one_of("tune", options.tune, (None, "latency"))
    _one_of("activations", options.activations, ("u8", "s8"))
    _one_of("attention", options.attention, ATTENTION)
    allowed = WEIGHT_BITS[options.scheme]
    if options.bits not in allowed:
        raise PipelineError(
            f"scheme='{options.scheme}' takes bits {', '.join(map(str, allowed))}, not {options.bits!r}.",
            place="quantize",
            remedy="4 bits in half the bytes: scheme='weights'.",
        )
    if options.block_size is not None and options.block_size not in BLOCK_SIZES:
        raise PipelineError(f"Block sizes are {', '.join(map(str, BLOCK_SIZES))}, not {options.block_size!r}.", place="quantize")
    if options.trainable and options.scheme != "static":
        raise PipelineError(
            "trainable=True goes with scheme='static'.", place="quantize", remedy="Write quantize(scheme='static', trainable=True)."
        )
    if options.trainable and (options.tune or options.recipe or options.budget or options.correct_bias or options.metric_drop is not None):
        raise PipelineError(
            "trainable=True leaves weights float, so that there is nothing to tune, to correct or to judge yet.",
            place="quantize",
            remedy="Leave tune, recipe, budget, correct_bias and metric_drop out; train, then fold.",
        )
    _check_budget(options)
    if options.metric_drop is not None and not 0.0 <= options.metric_drop < float("inf"):
        raise PipelineError(f"metric_drop is a number from 0, not {options.metric_drop!r}.", place="quantize")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        known = ", ".join(str(one) for one in allowed if one is not None)
        raise PipelineError(f"There is no {name} {value!r}.", place="quantize", remedy=f"Known: {known}.")


def _check_budget(options: Quantize) -> None:
    for quantity, limit in (options.budget or {}).items():
        if quantity not in BUDGET:
            raise PipelineError(
                f"quantize's budget has no quantity {quantity}.",
                place="quantize",
                remedy=f"Quantities: {', '.join(BUDGET)}; for speed, tune='latency'.",
            )
        if not 0 < limit < float("inf"):
            raise PipelineError(f"The budget's {quantity} is {limit!r}, which is no positive number.", place="quantize")
    if options.budget is not None and not options.budget:
        raise PipelineError("The budget is empty.", place="quantize", remedy="Write budget={'bits': 6}.")
