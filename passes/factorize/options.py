"""Which options of `factorize` go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netwright.ir.errors import PipelineError
from netwright.passes.factorize.methods import METHODS
from netwright.passes.factorize.planning.decisions import INITS
from netwright.passes.planning import check_budget, check_setting

if TYPE_CHECKING:
    from netwright.passes.factorize.factorize import Factorize

_PLACE = "factorize"
_HOW_MUCH = ("rank", "ratio", "energy", "budget", "ranks", "plan", "expand")
ALLOCATIONS = ("global", "uniform")


def check_options(options: Factorize, defaults: Mapping[str, object]) -> None:
    """Refuse options that are out of range or do not go together.

    Args:
        options: the pass.
        defaults: of all options, by name.

    Raises:
        PipelineError: they are.
    """
    given = [name for name, default in defaults.items() if getattr(options, name) != default]
    asked = [name for name in _HOW_MUCH if name in given]
    if len(asked) > 1:
        raise PipelineError(
            f"{' and '.join(asked)} are different ways of saying how much; one is enough.", place=_PLACE, remedy=f"Keep {asked[0]} only."
        )
    _one_of(options.method, METHODS, "method")
    _one_of(options.allocation, ALLOCATIONS, "allocation")
    _one_of(options.init, INITS, "init")
    _one_of(options.ranks, ("timed",), "ranks")
    if options.factors not in (2, 3):
        raise PipelineError(f"factors is 2 or 3, not {options.factors!r}.", place=_PLACE)
    if options.factors == 3 and options.method not in (None, "svd", "whitened", "asvd", "fisher"):
        raise PipelineError(
            f"factors=3 is for products of matrices; method='{options.method}' has a number of its own.",
            place=_PLACE,
            remedy="Leave factors out, or use method='svd'.",
        )
    if options.joint and (options.expand or "low_rank" not in METHODS[options.method or "svd"].structures):
        raise PipelineError(
            "joint=True is for factors of matrices: svd, whitened, asvd, fisher or auto.", place=_PLACE, remedy="Leave joint out."
        )
    if options.round_to < 1:
        raise PipelineError(f"round_to is a number from 1, not {options.round_to!r}.", place=_PLACE)
    if not options.inner >= 1:
        raise PipelineError(f"inner is a multiple of the full rank, from 1, not {options.inner!r}.", place=_PLACE)
    if options.inner != 1 and not options.expand:
        raise PipelineError("inner is for expand=True.", place=_PLACE, remedy="Leave it out, or add expand=True.")
    if options.rank is not None:
        check_setting(options.rank, option="rank", place=_PLACE, low=1)
    if options.ratio is not None:
        check_setting(options.ratio, option="ratio", place=_PLACE, low=0.0, below=1.0)
        if options.allocation == "global" and isinstance(options.ratio, Mapping):
            raise PipelineError(
                "allocation='global' finds each site's share itself, and takes one ratio.", place=_PLACE, remedy="Give one number."
            )
    if options.energy is not None:
        check_setting(options.energy, option="energy", place=_PLACE, low=0.0, below=1.0)
    if options.budget is not None:
        check_budget(options.budget, place=_PLACE)
    if options.expand and options.method is not None:
        raise PipelineError("expand=True keeps the product as it is, by no method.", place=_PLACE, remedy="Leave method out.")


def _one_of(value: object, known: Mapping[str, object] | tuple[str, ...], option: str) -> None:
    if value is not None and value not in known:
        raise PipelineError(f"There is no {option} {value!r}.", place=_PLACE, remedy=f"{option} is one of {', '.join(known)}.")
