"""Optimizers with options of their own, as frozen data and as text: `sparse(sparsity=0.9, method='proximal')`.

Adding one is a line in `SETTINGS` and a subclass of `OptimizerSettings`. Nothing here loads torch, so that options are checked, and
printed by the command line, without it.
"""

from __future__ import annotations

import ast
import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast, get_args

from netwright.training.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from netwright.training.optimizers import OptimizerTask

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "sparse": "netwright.training.sparse.settings:SparseSettings",
        "hspg": "netwright.training.group_sparse.settings:HspgSettings",
        "dhspg": "netwright.training.group_sparse.settings:DhspgSettings",
        "hesso": "netwright.training.group_sparse.settings:HessoSettings",
        "group_lasso": "netwright.training.group_sparse.settings:GroupLassoSettings",
    }
)
"""Where the settings of each optimizer live, by its name."""


Base: TypeAlias = Literal["adamw", "momentum", "sgd"]
"""The step towards less loss, in optimizers that make zeros beside it."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(ABC):
    """Options of one optimizer. The first line of a subclass's docstring is its help.

    A subclass checks its fields in `__post_init__` (raising `TrainingError`). `complete` says what must be there before a run; it is
    asked after `penalty=` and `sparsity=` of the run have been filled in.

    Attributes:
        name: in text and on the command line.
    """

    name: ClassVar[str]

    @abstractmethod
    def complete(self) -> None:
        """Check that nothing is missing.

        Raises:
            TrainingError: something is.
        """

    @abstractmethod
    def build(self, task: OptimizerTask) -> torch.optim.Optimizer:
        """Make the optimizer for a run."""

    def __str__(self) -> str:
        """As text: the name, with the options that differ from their defaults."""
        given = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if option.default is MISSING or getattr(self, option.name) != option.default
        ]
        return f"{self.name}({', '.join(given)})" if given else self.name


def check_base(base: str, momentum: float, betas: tuple[float, float]) -> None:
    """Refuse a base step that there is not, and its factors out of range.

    Raises:
        TrainingError: one is.
    """
    if base not in get_args(Base):
        raise out_of_range("base", base, f"one of {', '.join(get_args(Base))}")
    for name, value in (("momentum", momentum), ("betas", betas[0]), ("betas", betas[1])):
        check_number(name, value, least=0, below=1)


def check_choices(settings: OptimizerSettings, choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse options that are none of their choices.

    Args:
        settings: whose options.
        choices: by option.

    Raises:
        TrainingError: one is.
    """
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            raise out_of_range(name, getattr(settings, name), f"one of {', '.join(known)}")


def check_number(name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf) -> None:
    """Refuse what is no number of a range.

    Raises:
        TrainingError: it is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and above < value < below and value >= least:
        return
    low = f"above {above:g}" if above > -math.inf else f"from {least:g}"
    raise out_of_range(name, value, f"a number {low}" + (f" and below {below:g}" if below < math.inf else ""))


def out_of_range(name: str, value: object, expected: str) -> TrainingError:
    """The error that says what an option may be."""
    return TrainingError(f"{name} is {value!r}.", place=name, remedy=f"Give {expected}.")


def settings_of(optimizer: object, *, penalty: float | None, sparsity: float | None) -> OptimizerSettings | None:
    """The settings that an optimizer stands for, with the run's penalty and sparsity; `complete` is still to be asked.

    Args:
        optimizer: settings; text such as `sparse` or `sparse(method='hard')`; anything else has no settings.
        penalty: of the run, where given.
        sparsity: of the run, where given.

    Returns:
        None for an optimizer without settings.

    Raises:
        TrainingError: text that does not parse; an option that the optimizer does not have, or out of range.
    """
    found = optimizer if isinstance(optimizer, OptimizerSettings) else _read(optimizer) if isinstance(optimizer, str) else None
    given = {name: value for name, value in (("penalty", penalty), ("sparsity", sparsity)) if value is not None}
    if found is None:
        for name in given:
            raise TrainingError(
                f"{name} was given, and the optimizer {optimizer if isinstance(optimizer, str) else 'of your own'} has none.",
                place=name,
                remedy=f"Give optimizer='sparse' beside it, or another of {', '.join(SETTINGS)}.",
            )
        return None
    _check_options(found.name, type(found), given)
    defaults = {option.name: option.default for option in fields(found)}
    for name, value in given.items():
        own = cast("float | None", getattr(found, name))
        if own != defaults[name] and own != value:
            raise TrainingError(f"{name} is {own} in the optimizer's settings and {value} beside them.", place=name, remedy="Give it once.")
    return replace(found, **given) if given else found


def _read(text: str) -> OptimizerSettings | None:
    """The settings of `name` or `name(option=value, …)`; None for a name without settings."""
    name, options = _call(text)
    if name not in SETTINGS:
        if options:
            raise TrainingError(
                f"The optimizer {name} takes no options in parentheses.", place="optimizer", remedy=f"These do: {', '.join(SETTINGS)}."
            )
        return None
    module, _, owner = SETTINGS[name].partition(":")
    kind = cast("type[OptimizerSettings]", getattr(import_module(module), owner))
    _check_options(name, kind, options)
    return kind(**options)


def _call(text: str) -> tuple[str, dict[str, object]]:
    """Name and options of a call in text."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args and all(one.arg for one in node.keywords):
            return node.func.id, {str(one.arg): cast("object", ast.literal_eval(one.value)) for one in node.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    raise TrainingError(
        f"The optimizer {text!r} is neither a name nor a call.", place="optimizer", remedy="Write adamw, or sparse(sparsity=0.9)."
    )


def _check_options(name: str, kind: type[OptimizerSettings], options: Mapping[str, object]) -> None:
    known = [option.name for option in fields(kind)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise TrainingError(
                f"The optimizer {name} has no option {option}.", place="optimizer", remedy=f"{hint}Its options: {', '.join(known)}."
            )
