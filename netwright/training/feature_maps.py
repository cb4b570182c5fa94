"""A penalty on feature maps of attention, which drives their values down: few are large, most are small enough to become zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

from netwright.ir.errors import PipelineError
from netwright.passes.sparsify import FeatureMap, feature_maps, select_maps
from netwright.training.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from netwright.ir.program import Program
    from netwright.training.objective import Loss

Norm: TypeAlias = Literal["hoyer", "l1", "entropy"]

TITLE = "feature maps"
"""What the penalty is called among a loss's parts."""


@dataclass(frozen=True, slots=True)
class FeatureMapPenalty:
    """A term of a loss: `weight` times the mean, over the maps, of a measure of how spread out their values are.

    `hoyer`: (Σ|x|)² / (n Σx²) of each sample's map: 1 where all magnitudes are equal, 1/n where one value is all there is (Hoyer-square:
    Yang, Wen and Li, ICLR 2020). `entropy`: that of |x| / Σ|x| over the last axis, over its highest, log n. Both are the same for a map
    of any scale. `l1`: mean |x|, which a model can evade by smaller queries and larger keys, and which is constant on the rows of a
    softmax, where it is refused.

    Train from the converged model, toward its outputs (`teacher=` or `recover(distill=True)`), not from scratch.

    Attributes:
        where: `all`, or kinds (query, key, value, context, ffn, softmax), names or patterns of maps or modules.
        weight: what the term counts.
        norm: the measure.
    """

    where: str | Sequence[str] = "all"
    weight: float = 3.0
    norm: Norm = "hoyer"

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            TrainingError: one is out of range.
        """
        object.__setattr__(self, "where", self.where if isinstance(self.where, str) else tuple(self.where))
        if self.norm not in get_args(Norm):
            raise TrainingError(f"There is no norm {self.norm!r}.", place="norm", remedy=f"Norms: {', '.join(get_args(Norm))}.")
        if isinstance(self.weight, bool) or not 0 < self.weight < float("inf"):
            raise TrainingError(f"The weight is {self.weight!r}.", place="weight", remedy="Give a number above 0, such as 3.")

    def __str__(self) -> str:
        where = self.where if isinstance(self.where, str) else ", ".join(self.where)
        return f"{self.weight:g} {self.norm}({where})"


def read_penalty(options: Mapping[str, object]) -> FeatureMapPenalty:
    """A penalty from options by name.

    Raises:
        TrainingError: an unknown option, or one out of range.
    """
    known = [field.name for field in fields(FeatureMapPenalty)]
    for name in options:
        if name not in known:
            raise TrainingError(f"feature_maps has no option {name}.", place="feature_maps", remedy=f"Its options: {', '.join(known)}.")
    return cast("Callable[..., FeatureMapPenalty]", FeatureMapPenalty)(**options)


class MapPenalties:
    """Penalties, bound to the maps of a program.

    Args:
        program: whose maps are meant.
        penalties: any number.

    Raises:
        TrainingError: a penalty names no map, or is an l1 on the rows of a softmax.
    """

    def __init__(self, program: Program, penalties: Sequence[FeatureMapPenalty]) -> None:
        self.penalties = tuple(penalties)
        found = [one for one in feature_maps(program) if isinstance(one, FeatureMap)] if penalties else []
        self._maps = [(one, _selected(one, found)) for one in penalties]

    @property
    def names(self) -> tuple[str, ...]:
        """The inner values that the penalties read, each once: maps before anything of them becomes zero."""
        return tuple(dict.fromkeys(one.raw.name or "" for _, maps in self._maps for one in maps))

    def describe(self) -> str:
        """All of them; empty where there is none."""
        return "".join(f", {one} on {len(maps)} feature maps" for one, maps in self._maps)

    def added(self, loss: Loss, values: Mapping[str, Tensor]) -> Loss:
        """A loss with the penalties' part.

        Args:
            loss: of the rest.
            values: inner values by name, among them all of `names`.
        """
        from netwright.training.objective import Loss

        if not self._maps:
            return loss
        total = sum((self._of(penalty, maps, values) for penalty, maps in self._maps[1:]), self._of(*self._maps[0], values))
        parts = loss.parts or {"loss": loss.total.detach()}
        return Loss(loss.total + total, {**parts, TITLE: total.detach()})

    def _of(self, penalty: FeatureMapPenalty, maps: Sequence[FeatureMap], values: Mapping[str, Tensor]) -> Tensor:
        import torch

        measure = _MEASURES[penalty.norm]
        each = [measure(values[one.raw.name or ""], one.kind == "softmax") for one in maps]
        return torch.stack(each).mean() * penalty.weight


def _selected(penalty: FeatureMapPenalty, found: Sequence[FeatureMap]) -> list[FeatureMap]:
    try:
        maps = select_maps(found, penalty.where)
    except PipelineError as error:
        remedy = error.remedy
        if "softmax" in penalty.where:
            remedy = f"{remedy} A fused Attention node keeps its softmax to itself: trace or export at an opset below 23."
        raise TrainingError(error.message, place="FeatureMapPenalty", remedy=remedy) from error
    rows = [one for one in maps if one.kind == "softmax"]
    if rows and penalty.norm == "l1":
        raise TrainingError(
            f"The rows of %{rows[0].name} come from a softmax and sum up to 1, so that an l1 of them is constant.",
            place="FeatureMapPenalty",
            remedy="Use norm='entropy' or 'hoyer' there, or leave softmax out of where.",
        )
    return maps


_TINY = 1e-12


def _hoyer(x: Tensor, rows: bool) -> Tensor:
    flat = x.float().flatten(0, -2) if rows else x.float().flatten(1)
    return (flat.abs().mean(-1).square() / (flat.square().mean(-1) + _TINY)).mean()


def _l1(x: Tensor, rows: bool) -> Tensor:
    del rows
    return x.float().abs().mean()


def _entropy(x: Tensor, rows: bool) -> Tensor:
    import math

    del rows
    magnitudes = x.float().abs()
    shares = magnitudes / (magnitudes.sum(-1, keepdim=True) + _TINY)
    return -(shares * (shares + _TINY).log()).sum(-1).mean() / math.log(max(x.shape[-1], 2))


_MEASURES: Mapping[str, Callable[[Tensor, bool], Tensor]] = MappingProxyType({"hoyer": _hoyer, "l1": _l1, "entropy": _entropy})
