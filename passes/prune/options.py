"""Which options of `prune` go together, and importance by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, cast

from netwright.ir.errors import PipelineError
from netwright.passes.planning import check_budget, check_setting
from netwright.passes.prune.pattern import read_pattern
from netwright.passes.prune.planning import SCOPES

if TYPE_CHECKING:
    from netwright.passes.prune.importance.criteria import Judge
    from netwright.passes.prune.prune import Prune

_PLACE = "prune"
_HOW_MUCH = ("ratio", "threshold", "budget", "plan")
_ONLY_STRUCTURED = ("ratio", "threshold", "budget", "global_ranking", "scope", "round_to", "max_ratio", "approximate")
_ONLY_UNSTRUCTURED = ("sparsity", "pattern")
UNSTRUCTURED_CRITERIA = ("magnitude", "activation")
"""What single weights can be ranked by."""

Defaults: TypeAlias = Mapping[str, object]


def check_options(options: Prune, defaults: Defaults) -> None:
    """Refuse options that are out of range or do not go together.

    Args:
        options: the pass.
        defaults: of all options, by name.

    Raises:
        PipelineError: they are.
    """
    given = {name: value for name, default in defaults.items() if (value := getattr(options, name)) != default}
    asked = [name for name in _HOW_MUCH if name in given]
    if len(asked) > 1:
        raise PipelineError(
            f"{' and '.join(asked)} are different ways of saying how much; one is enough.", place=_PLACE, remedy=f"Keep {asked[0]} only."
        )
    if options.structured:
        _refuse(given, _ONLY_UNSTRUCTURED, "is for single weights", "Add structured=False, or use ratio=.")
        _check_structured(options)
    else:
        _refuse(given, _ONLY_STRUCTURED, "is for whole units", "Leave it out with structured=False, and use sparsity= or pattern=.")
        _check_unstructured(options)


def _refuse(given: Mapping[str, object], names: tuple[str, ...], why: str, remedy: str) -> None:
    wrong = next((name for name in names if name in given), None)
    if wrong is not None:
        raise PipelineError(f"{wrong} {why}.", place=_PLACE, remedy=remedy)


def _check_structured(options: Prune) -> None:
    if options.scope not in SCOPES:
        raise PipelineError(f"There is no scope {options.scope!r}.", place=_PLACE, remedy=f"Scopes: {', '.join(SCOPES)}.")
    if options.round_to is not None and options.round_to < 1:
        raise PipelineError(f"round_to is a number of units from 1, not {options.round_to!r}.", place=_PLACE)
    if not 0 < options.max_ratio < 1:
        raise PipelineError(f"max_ratio is between 0 and 1, not {options.max_ratio!r}.", place=_PLACE)
    if options.ratio is not None:
        check_setting(options.ratio, option="ratio", place=_PLACE, low=0.0, below=1.0)
        if options.global_ranking and isinstance(options.ratio, Mapping):
            raise PipelineError(
                "global_ranking finds each group's share itself, and takes one ratio.", place=_PLACE, remedy="Give one number as ratio."
            )
    if options.threshold is not None:
        check_setting(options.threshold, option="threshold", place=_PLACE)
        if options.global_ranking:
            raise PipelineError("A threshold ranks nothing.", place=_PLACE, remedy="Leave global_ranking out.")
    if options.budget is not None:
        check_budget(options.budget, place=_PLACE)


def _check_unstructured(options: Prune) -> None:
    if options.pattern is not None:
        kept, among = read_pattern(options.pattern)
        share = 1 - kept / among
        if options.sparsity is not None and options.sparsity != share:
            raise PipelineError(
                f"pattern='{options.pattern}' makes {share:g} of the weights zero, and sparsity is {options.sparsity!r}.",
                place=_PLACE,
                remedy="Give one of the two.",
            )
    elif options.sparsity is not None:
        check_setting(options.sparsity, option="sparsity", place=_PLACE, low=0.0, below=1.0)
    elif options.plan is None:
        raise PipelineError("prune(structured=False) was not told how much.", place=_PLACE, remedy="Give sparsity=0.5 or pattern='2:4'.")
    if options.importance not in (None, "l1", "l2", *UNSTRUCTURED_CRITERIA):
        raise PipelineError(
            f"Single weights are not ranked by {options.importance!r}.",
            place=_PLACE,
            remedy=f"With structured=False, importance is {' or '.join(UNSTRUCTURED_CRITERIA)}.",
        )


def resolve(importance: str | Callable[..., object]) -> str | Judge:
    """A criterion's name as it is, or the function that `module:function` names.

    Raises:
        PipelineError: the function is not there.
    """
    if callable(importance) or ":" not in importance:
        return cast("str | Judge", importance)
    module, _, name = importance.partition(":")
    try:
        found: object = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PipelineError(
            f"The importance {importance} cannot be loaded: {error}.", place=_PLACE, remedy="Put its folder on PYTHONPATH."
        ) from error
    if not callable(found):
        raise PipelineError(f"The importance {importance} is not a function.", place=_PLACE)
    return cast("Judge", found)


def printed(importance: str | Callable[..., object] | None) -> str | None:
    """An importance as pipeline text has it: a function as `module:function`."""
    if importance is None or isinstance(importance, str):
        return importance
    return f"{getattr(importance, '__module__', '')}:{getattr(importance, '__qualname__', type(importance).__qualname__)}"
