"""The pass `sparsify_activations`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from netwright.ir.editor import Editor
from netwright.ir.errors import ContractError, PipelineError, PlanError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Decision, Plan
from netwright.passes.planning import PerSite, check_setting, setting_for, unmatched_patterns
from netwright.passes.rewrite import Miss, Rewrite
from netwright.passes.sparsify.deciding import scales_of, thresholds_for_drop, thresholds_for_zeros
from netwright.passes.sparsify.maps import FeatureMap, feature_maps, select_maps
from netwright.passes.sparsify.thresholding import set_threshold

_DATA = frozenset({"calibration", "executor"})


@dataclass(frozen=True, kw_only=True)
class SparsifyActivations(PlannedPass):
    """Make small values of attention's feature maps zero: queries, keys, values, contexts and hidden states of feed-forward layers.

    How much goes is said in one of four ways: `threshold`, `zeros`, `drop`, `plan`. With `drop` each map gets a threshold of its own, so
    that as much as possible is zero while the run's metric falls by no more than that; run it behind `quantize`, since thresholds belong
    to the model that is shipped. The graph has `Shrink` at each map afterwards, and with `bits=8` the map as int8 too.

    What it saves are bytes where maps are stored or sent (a cache of keys and values, a link between chips) and work on hardware that
    skips zeros; ONNX Runtime has no sparse kernels, and gets no faster. Train with a `FeatureMapPenalty` before for more zeros.

    Sources: the scheme of training with a penalty, thresholds and coded maps follows Georgiadis, CVPR 2019.
    """

    name: ClassVar[str] = "sparsify_activations"
    numerics: ClassVar[Numerics] = Lossy("metric")

    threshold: PerSite | None = None
    """Values up to it, either sign, become zero: one for all maps, or by pattern of kind, name or module, such as {'ffn': 0.1}."""
    zeros: PerSite | None = None
    """The share of each map that becomes zero on calibration data: one for all, or by pattern."""
    drop: float | None = None
    """How much the metric may fall, against the program as it comes; thresholds are searched for, map by map."""
    where: str | Sequence[str] = "all"
    """all, or kinds (query, key, value, context, ffn, softmax) or patterns of names or modules."""
    bits: int | None = None
    """8: maps become int8 behind the threshold, with scales from calibration data; not given, they stay as they are."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together.

        Raises:
            PipelineError: they do not.
        """
        object.__setattr__(self, "where", self.where if isinstance(self.where, str) else tuple(self.where))
        given = [name for name in ("threshold", "zeros", "drop") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PipelineError(f"{' and '.join(given)} were given.", place=self.name, remedy="Give one of them.")
        if self.threshold is not None:
            check_setting(self.threshold, option="threshold", place=self.name, low=0.0)
        if self.zeros is not None:
            check_setting(self.zeros, option="zeros", place=self.name, low=0.0, below=1.0)
        if self.drop is not None and not 0 <= self.drop < float("inf"):
            raise PipelineError(f"drop is {self.drop!r}.", place=self.name, remedy="Give how much the metric may fall, such as 0.01.")
        if self.bits not in (None, 8):
            raise PipelineError(f"bits is {self.bits!r}.", place=self.name, remedy="Maps become int8 (bits=8), or stay as they are.")

    def check(self) -> None:
        """Nothing says how much: refused before anything runs.

        Raises:
            ContractError: there is neither a threshold nor a share nor a drop nor a plan.
        """
        if self.threshold is None and self.zeros is None and self.drop is None and self.plan is None:
            raise ContractError(
                "Nothing says how much is to become zero.",
                place=self.name,
                remedy="Give threshold=, zeros=, drop= (with a metric) or plan=.",
            )

    def needs(self) -> frozenset[str]:
        """Calibration data for everything but plain thresholds; a metric for `drop`."""
        if self.plan is not None:
            return frozenset()
        data = _DATA if self.zeros is not None or self.drop is not None or self.bits is not None else frozenset[str]()
        return data | {"metric"} if self.drop is not None else data

    def make_plan(self, program: Program, context: Context) -> Plan:
        """A threshold for each map, and a scale where maps become integers."""
        found = feature_maps(program)
        misses = [entry for entry in found if isinstance(entry, Miss)]
        every = [entry for entry in found if isinstance(entry, FeatureMap)]
        maps = select_maps(every, self.where) if every or self.where != "all" else []
        if not maps:
            misses.append(Miss("no feature map was found: there is neither attention nor a feed-forward layer", _site(program)))
        misses.extend(
            Miss(f"left as it is: where={self.where!r} does not name this map ({one.kind})", one.name) for one in every if one not in maps
        )
        thresholds, note = self._thresholds(program, maps, context)
        misses.extend(Miss("left as it is: no pattern names it", one.name) for one in maps if one not in thresholds)
        scales = scales_of(program, thresholds, context) if self.bits is not None and thresholds else {}
        decisions: dict[str, Decision] = {}
        for one, threshold in thresholds.items():
            scale = scales.get(one)
            decisions[one.name] = {"threshold": threshold} | ({} if scale is None else {"scale": scale})
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses), note=note)

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """One rewrite for each map.

        Raises:
            PlanError: the plan is another pass's or program's, names maps that are not there, or values out of range.
        """
        plan.check_fits(self.name, fingerprint(program))
        maps = {one.name: one for one in feature_maps(program) if isinstance(one, FeatureMap)} if plan.decisions else {}
        for name, decision in plan.decisions.items():
            one = maps.get(name)
            if one is None:
                raise PlanError(f"The plan decides on %{name}, which is no feature map.", place=name, remedy="Remove it from the plan.")
            threshold, scale = read_decision(name, decision)
            if scale is not None and one.grid is not None:
                raise PlanError(
                    f"The plan gives %{name} a scale, and it is on a grid of integers already.", place=name, remedy="Take the scale out."
                )
            if (one.threshold if one.shrink is not None else 0.0) == threshold and scale is None:
                yield Miss(f"left as it is: values up to {threshold:g} are zero already", name)
                continue
            why = f"{one.kind}: values up to {threshold:.4g} become zero" + (f", the rest int8 in steps of {scale:.4g}" if scale else "")
            yield Rewrite.edit(name, why, _change(one, threshold, scale), anchor=one.value.producer())

    def _thresholds(self, program: Program, maps: list[FeatureMap], context: Context) -> tuple[dict[FeatureMap, float], str]:
        if not maps:
            return {}, ""
        if self.drop is not None:
            return thresholds_for_drop(program, maps, self.drop, context, rounded=self.bits is not None)
        setting = self.threshold if self.threshold is not None else self.zeros
        if isinstance(setting, Mapping):
            unknown = unmatched_patterns(setting, (one.names for one in maps))
            if unknown:
                raise PipelineError(
                    f"{unknown[0]!r} fits no feature map.", place=self.name, remedy="`where` and patterns name kinds, maps or modules."
                )
        assert setting is not None
        given = {one: number for one in maps if (number := setting_for(setting, one.names)) is not None}
        return (given, "") if self.threshold is not None else (thresholds_for_zeros(program, given, context), "")


def read_decision(name: str, decision: Decision) -> tuple[float, float | None]:
    """The threshold and the scale of a plan's decision.

    Raises:
        PlanError: a value out of range, or an unknown key.
    """
    threshold, scale = decision.get("threshold"), decision.get("scale")
    fine = isinstance(threshold, int | float) and 0 <= threshold < float("inf") and not set(decision) - {"threshold", "scale"}
    if not fine or not (scale is None or (isinstance(scale, int | float) and 0 < scale < float("inf"))):
        raise PlanError(
            f"The plan's decision on %{name} is {dict(decision)!r}.",
            place=name,
            remedy="It is {'threshold': 0.1} or {'threshold': 0.1, 'scale': 0.02}.",
        )
    return float(threshold), None if scale is None else float(scale)  # type: ignore[arg-type]


def _change(one: FeatureMap, threshold: float, scale: float | None) -> Callable[[Editor], object]:
    return lambda editor: set_threshold(editor, one, threshold, scale)


def _site(program: Program) -> str:
    return program.outputs[0].name or ""
