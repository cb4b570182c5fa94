"""What each pass is, as data: for `nw.passes()` and `netwright passes`."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields

from netwright.passes.base import Pass
from netwright.passes.registry import pass_class, pass_names


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option of a pass: name, type as written, default (as Python text) and help."""

    name: str
    type: str
    default: str | None
    help: str


@dataclass(frozen=True, slots=True)
class PassInfo:
    """One pass: help (the docstring), options, numerics, and what it requires, breaks and needs with default options."""

    name: str
    help: str
    options: tuple[OptionInfo, ...]
    numerics: str
    requires: tuple[str, ...]
    breaks: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.help.partition("\n")[0]

    def to_dict(self) -> dict[str, object]:
        """The pass as JSON."""
        return {
            "name": self.name,
            "help": self.help,
            "options": [{"name": o.name, "type": o.type, "default": o.default, "help": o.help} for o in self.options],
            "numerics": self.numerics,
            "requires": list(self.requires),
            "breaks": list(self.breaks),
            "needs": list(self.needs),
        }


def catalog() -> tuple[PassInfo, ...]:
    """All passes, by name."""
    return tuple(describe(name) for name in pass_names())


def describe(name: str) -> PassInfo:
    """One pass.

    Raises:
        PipelineError: there is none of this name.
    """
    cls = pass_class(name)
    needs = tuple(sorted(cls().needs())) if all(option.default is not MISSING for option in fields(cls)) else ()
    return PassInfo(
        name,
        inspect.cleandoc(cls.__doc__ or ""),
        _options(cls),
        str(cls.numerics),
        tuple(sorted(cls.requires)),
        tuple(sorted(cls.breaks)),
        needs,
    )


def _options(cls: type[Pass]) -> tuple[OptionInfo, ...]:
    helps = _field_docs(cls)
    return tuple(
        OptionInfo(
            option.name,
            option.type if isinstance(option.type, str) else getattr(option.type, "__name__", str(option.type)),
            None if option.default is MISSING else repr(option.default),
            helps.get(option.name, ""),
        )
        for option in fields(cls)
    )


def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field in a class's source, its own and its bases'."""
    import ast
    import textwrap

    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Pass):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        if not isinstance(body, ast.ClassDef):
            continue
        for line, following in zip(body.body, body.body[1:], strict=False):
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                found[line.target.id] = inspect.cleandoc(str(following.value.value))
    return found
