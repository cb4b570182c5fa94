"""Pipeline text: `simplify, prune(ratio=0.3, scope='heads'), quantize`; parsed with Python's own `ast`, printed back the same."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from netwright.ir.errors import NetwrightError, PipelineError
from netwright.passes.base import Pass
from netwright.passes.registry import pass_class, pass_names


@dataclass(frozen=True)
class Pipeline:
    """An ordered sequence of passes with their options."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read pipeline text.

        Args:
            text: pass names, each with options as Python literals in parentheses where wanted, separated by commas.

        Raises:
            PipelineError: it does not parse, or names an unknown pass or option, or an option has a wrong value.
        """
        source = " ".join(text.split()).removesuffix(",").rstrip()
        if not source:
            return cls(())
        try:
            tree = ast.parse(f"({source},)", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            column = getattr(error, "offset", None)
            where = f" near '{source[max(0, column - 12) : column + 8]}'" if column else ""
            raise PipelineError(
                f"The pipeline does not parse{where}.", place=source, remedy="Write: name, name(option=value), …"
            ) from error
        if not isinstance(tree, ast.Tuple):
            raise PipelineError("The pipeline does not parse.", place=source, remedy="Write: name, name(option=value), …")
        return cls(tuple(_element(element, source) for element in tree.elts))

    def __str__(self) -> str:
        return ", ".join(map(str, self.passes))

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def __len__(self) -> int:
        return len(self.passes)


def _element(node: ast.expr, source: str) -> Pass:
    if isinstance(node, ast.Name):
        return _make(node.id, {}, source)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise PipelineError(
            f"'{ast.unparse(node)}' is not a pass.", place=source, remedy="Write a pass's name, with options as name(option=value)."
        )
    name = node.func.id
    if node.args:
        raise PipelineError(f"{name} takes options by name only.", place=ast.unparse(node), remedy="Write name(option=value).")
    options: dict[str, object] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise PipelineError("'**' has no place in a pipeline.", place=ast.unparse(node))
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError) as error:
            raise PipelineError(
                f"Option {keyword.arg} of {name} must be a literal, not '{ast.unparse(keyword.value)}'.",
                place=ast.unparse(node),
                remedy="Put text in quotes.",
            ) from error
    return _make(name, options, source)


def _make(name: str, options: dict[str, object], source: str) -> Pass:
    known = pass_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise PipelineError(f"There is no pass named {name}.", place=source, remedy=f"{hint}`netwright passes` lists them.")
    cls = pass_class(name)
    accepted = [option.name for option in fields(cls)]
    for option in options:
        if option not in accepted:
            near = difflib.get_close_matches(option, accepted, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            listed = ", ".join(accepted) or "none"
            raise PipelineError(f"{name} has no option {option}.", place=source, remedy=f"{hint}Its options: {listed}.")
    try:
        return cls(**options)
    except NetwrightError:
        raise
    except (TypeError, ValueError) as error:
        raise PipelineError(f"{name}: {error}.", place=source, remedy=f"`netwright passes {name}` tells what each option takes.") from error
