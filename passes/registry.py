"""Passes by name: netwright's own, and those that other packages register in the entry-point group `netwright.passes`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from netwright.ir.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netwright.passes.base import Pass

GROUP = "netwright.passes"

BUILTIN: Mapping[str, str] = MappingProxyType(
    {
        "simplify": "netwright.passes.simplify:Simplify",
        "merge": "netwright.passes.merge:Merge",
        "prune": "netwright.passes.prune:Prune",
        "factorize": "netwright.passes.factorize:Factorize",
        "fold": "netwright.passes.quantize.folding:Fold",
        "quantize": "netwright.passes.quantize:Quantize",
        "equalize": "netwright.passes.quantize.equalizing:Equalize",
        "smooth": "netwright.passes.quantize.equalizing:Smooth",
        "sparsify_activations": "netwright.passes.sparsify:SparsifyActivations",
        "unroll": "netwright.passes.recurrent:Unroll",
    }
)
"""netwright's own passes, loaded when first named."""


@cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILTIN}


def pass_names() -> tuple[str, ...]:
    """The names of all passes that a pipeline can use, sorted."""
    return tuple(sorted({*BUILTIN, *_registered()}))


def pass_class(name: str) -> type[Pass]:
    """Load a pass's class.

    Raises:
        PipelineError: there is none of this name, or the package that registered it does not load.
    """
    from netwright.passes.base import Pass

    try:
        loaded: object
        if name in BUILTIN:
            module, _, attribute = BUILTIN[name].partition(":")
            loaded = getattr(import_module(module), attribute)
        elif name in _registered():
            loaded = _registered()[name].load()
        else:
            raise PipelineError(f"There is no pass named {name}.", place=name, remedy="`netwright passes` lists them.")
    except (ImportError, AttributeError) as error:
        raise PipelineError(
            f"The pass {name} does not load: {error}.", place=name, remedy="Repair or remove the package that registers it."
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Pass)):
        raise PipelineError(f"What is registered as pass {name} is not a netwright pass.", place=name)
    return loaded
