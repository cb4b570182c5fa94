"""One tensor for several layers of the same kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from netwright.ir.editor import Editor
from netwright.ir.errors import PipelineError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Miss
from netwright.ir.maps import Gone, Mapped
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Rewrite
from netwright.training.compressors.base import Compression, Compressor, Tensors
from netwright.training.compressors.sites import WeightSite, find_weights
from netwright.training.compressors.storage import anchor_of


@dataclass(frozen=True, kw_only=True)
class ShareWeights(Compressor):
    """Layers of the same kind share one weight, the mean of theirs (ALBERT, arXiv 1909.11942).

    Weights whose names, or whose modules' paths, differ in numbers only (`layers.0.q`, `layers.1.q`) and that have one shape are of
    the same kind. Biases and norms stay each layer's own.
    """

    name: ClassVar[str] = "share"

    consecutive: int = 0
    """How many layers in a row share; 0 for all."""
    head: bool = False
    """Count the head as well."""
    where: tuple[str, ...] = ()
    """Patterns of tensors or modules; none means all."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors or modules that stay each layer's own."""

    def __post_init__(self) -> None:
        if self.consecutive < 0 or self.consecutive == 1:
            raise PipelineError(f"consecutive is 0 (all) or at least 2, not {self.consecutive!r}.", place="consecutive")

    def choose(self, program: Program, context: Context) -> Plan:
        """Groups of weights; those without a fellow are misses."""
        del context
        weights = find_weights(program, head=self.head, where=self.where, exclude=self.exclude)
        decisions: dict[str, Decision] = {}
        misses = list(weights.misses)
        for kind, group in _by_kind(weights.sites).items():
            width = self.consecutive or len(group)
            for start in range(0, len(group), width):
                members = group[start : start + width]
                if len(members) < 2:
                    misses.append(Miss(f"not shared: no other weight is like it ({kind}, {list(members[0].shape)})", members[0].name))
                    continue
                decisions.update({site.name: {"with": members[0].name, "of": len(members), "kind": site.kind} for site in members})
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses))

    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The means at work."""
        del program, context
        return SharedWeights(plan)


class SharedWeights(Compression):
    """Each group's mean in the place of its members; its gradient goes to all of them."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._groups: dict[str, list[str]] = {}
        for name, decision in plan.decisions.items():
            self._groups.setdefault(cast("str", decision["with"]), []).append(name)

    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """The mean, the same tensor under every name."""
        del step
        found: dict[str, Tensor] = {}
        for members in self._groups.values():
            mean = torch.stack([weights[name] for name in members]).mean(dim=0)
            found.update(dict.fromkeys(members, mean))
        return found

    def store(self, program: Program, weights: Tensors) -> Proposals:
        """The readers of all members read the first."""
        del weights
        sites = {site.name: site for site in find_weights(program, head=True).sites}
        for first, members in self._groups.items():
            for name in members[1:]:
                why = f"shares %{first} with {len(members) - 1} others" if len(members) > 2 else f"shares %{first}"
                site, kept = sites[name], sites[first]
                yield Rewrite.edit(
                    name, why, lambda editor, site=site, kept=kept: _join(editor, site, kept), anchor=anchor_of(program, site)
                )

    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """All of them for the first of a group, none for the others."""
        elements = 1
        for size in shape:
            elements *= size
        return float(width * elements) if name in self._groups else 0.0


def _join(editor: Editor, site: WeightSite, kept: WeightSite) -> None:
    for use in tuple(site.value.uses()):
        editor.set_input(use.node, use.idx, kept.value)
    editor.map(site.name, Mapped(Gone(f"shared: %{kept.name} stands for it"), (site.name,)))
    editor.remove_initializer(site.value)


_NUMBERED = re.compile(r"\d+\W*.*[A-Za-z]")
"""A number with letters after it: the layer's place in `layers.0.q`, but not the exporter's count in `val_31`."""


def _by_kind(sites: Sequence[WeightSite]) -> dict[str, list[WeightSite]]:
    groups: dict[tuple[str, tuple[int, ...], str], list[WeightSite]] = {}
    for site in sites:
        path = next((name for name in (site.name, *site.modules[:1]) if _NUMBERED.search(name)), None)
        kind = site.name if path is None else re.sub(r"\d+", "*", path)
        groups.setdefault((kind, site.shape, site.kind), []).append(site)
    return {f"{kind} {what}": group for (kind, _, what), group in groups.items()}
