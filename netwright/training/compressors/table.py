"""Compressors by name, and as pipeline text: `prune(sparsity=0.5), quantize(bits='ternary')`."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from netwright.ir.errors import PipelineError
from netwright.passes.base import Pass
from netwright.passes.pipeline import Pipeline
from netwright.passes.registry import pass_class, pass_names
from netwright.training.compressors.base import Compressor
from netwright.training.compressors.carried import REFRESH, PassCompressor
from netwright.training.compressors.lowrank import LowRankWeights
from netwright.training.compressors.prune import PruneWeights
from netwright.training.compressors.quantize import QuantizeWeights
from netwright.training.compressors.share import ShareWeights

GROUP = "netwright.compressors"
"""Entry points of this group add compressors, by name."""

COMPRESSORS: Mapping[str, type[Compressor]] = MappingProxyType(
    {one.name: one for one in (LowRankWeights, PruneWeights, QuantizeWeights, ShareWeights)}
)
"""Compressors with gradients of their own. A name or an option that is not here is looked for among the passes."""

_EXAMPLE = "Write quantize(bits=2), prune(sparsity=0.5), lowrank(ratio=0.25), share, or any pass."


def compressor_names() -> tuple[str, ...]:
    """The names of all compressors that are not passes, sorted."""
    return tuple(sorted(_known()))


def parse_compressor(text: str) -> tuple[Compressor, ...]:
    """Read pipeline text.

    `quantize(bits=2)` is this table's; `quantize(scheme='dynamic')` has options of the pass of that name, and so is the pass, carried
    out every `refresh` steps (an option of every pass here).

    Args:
        text: names with options, separated by commas; each compresses what the one before left.

    Raises:
        PipelineError: it does not parse, or names neither a compressor nor a pass, or options that neither has, or an order in which
            one cannot take what another leaves.
    """
    calls = _calls(text)
    if not calls:
        raise PipelineError("The compressor is empty.", place="compressor", remedy=_EXAMPLE)
    found = tuple(_make(name, options, text) for name, options in calls)
    _check_order(found, text)
    return found


@cache
def _known() -> Mapping[str, type[Compressor]]:
    found = dict(COMPRESSORS)
    for entry in entry_points(group=GROUP):
        loaded: object = entry.load()
        if isinstance(loaded, type) and issubclass(loaded, Compressor):
            found.setdefault(entry.name, loaded)
    return found


def _calls(text: str) -> list[tuple[str, dict[str, object]]]:
    source = " ".join(text.split()).removesuffix(",").rstrip()
    if not source:
        return []
    try:
        tree = ast.parse(f"({source},)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PipelineError("The compressor does not parse.", place=text, remedy=_EXAMPLE) from error
    elements: Sequence[ast.expr] = tree.elts if isinstance(tree, ast.Tuple) else (tree,)
    return [_call(element, text) for element in elements]


def _call(node: ast.expr, text: str) -> tuple[str, dict[str, object]]:
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise PipelineError(f"'{ast.unparse(node)}' is no compressor: options go by name.", place=text, remedy=_EXAMPLE)
    options: dict[str, object] = {}
    for keyword in node.keywords:
        try:
            options[keyword.arg or "**"] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError) as error:
            raise PipelineError(
                f"Option {keyword.arg} of {node.func.id} must be a literal, not '{ast.unparse(keyword.value)}'.",
                place=text,
                remedy="Put text in quotes.",
            ) from error
    return node.func.id, options


def _make(name: str, options: dict[str, object], text: str) -> Compressor:
    own, is_pass = _known().get(name), name in pass_names()
    if own is None and not is_pass:
        near = difflib.get_close_matches(name, [*_known(), *pass_names()], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        listed = ", ".join(compressor_names())
        raise PipelineError(f"There is no compressor named {name}.", place=text, remedy=f"{hint}There are {listed}, and every pass.")
    accepted = [one.name for one in fields(own)] if own is not None else []
    if own is not None and all(option in accepted for option in options):
        try:
            return own(**options)
        except TypeError as error:
            raise PipelineError(f"{name}: {error}.", place=text) from error
    of_pass = [*(one.name for one in fields(pass_class(name))), "refresh"] if is_pass else []
    unknown = [option for option in options if option not in of_pass]
    if is_pass and not unknown:
        return _carried(name, options, text)
    stranger = next(option for option in options if option not in accepted and (not is_pass or option in unknown))
    near = difflib.get_close_matches(stranger, [*accepted, *of_pass], n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    known = "; ".join(part for part in (", ".join(accepted), f"as a pass: {', '.join(of_pass)}" if of_pass else "") if part)
    raise PipelineError(f"{name} has no option {stranger} beside the others.", place=text, remedy=f"{hint}Its options: {known}.")


def _carried(name: str, options: dict[str, object], text: str) -> PassCompressor:
    refresh = options.get("refresh", REFRESH)
    if not isinstance(refresh, int) or refresh < 1:
        raise PipelineError(f"refresh is a number of steps from 1, not {refresh!r}.", place=text)
    rest = ", ".join(f"{option}={value!r}" for option, value in options.items() if option != "refresh")
    made: Pass = Pipeline.parse(f"{name}({rest})").passes[0]
    return PassCompressor(made=made, refresh=refresh)


def _check_order(found: Sequence[Compressor], text: str) -> None:
    """Refuse what cannot follow each other."""
    zeros = any(isinstance(one, PruneWeights) for one in found)
    for position, one in enumerate(found):
        if isinstance(one, LowRankWeights | PassCompressor) and len(found) > 1:
            raise PipelineError(
                f"{one.name if not isinstance(one, PassCompressor) else one.made.name} replaces tensors, and so stands alone.",
                place=text,
                remedy="Compress in two passes: distill_compress(compressor='…'), distill_compress(compressor='…').",
            )
        if isinstance(one, QuantizeWeights) and position < len(found) - 1:
            raise PipelineError("quantize comes last: what it leaves is integers.", place=text, remedy="Put it at the end.")
        if isinstance(one, QuantizeWeights) and one.bits == 2 and zeros:
            raise PipelineError("A grid of 2 bits has no zero, which prune needs.", place=text, remedy="Use quantize(bits='ternary').")
