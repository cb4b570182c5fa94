"""Which units go: rounding, ratios, thresholds, ranking over groups, budgets; what stays whole, and why."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netwright.ir.cost import cost, default_bindings
from netwright.ir.coupling import coupling
from netwright.ir.errors import PlanError
from netwright.ir.program import Program
from netwright.passes import Context, Miss, Plan
from netwright.passes.planning import Meter
from netwright.passes.prune.planning import Amounts, Candidate, decide, fit_budget, read_decisions, summary, survey
from netwright.passes.prune.planning.budget import without
from tests.passes.programs import attention, conv_net, program_of
from tests.passes.prune.groups import candidate, coupling_of, group


def amounts(*candidates: Candidate, scores: dict[str, list[float]] | None = None, max_ratio: float = 0.9) -> Amounts:
    """Scores rise with the units' numbers where not given; ranks are the scores over their group's mean."""
    given = {one.group.name: np.arange(1.0, one.group.size + 1) for one in candidates}
    given.update({name: np.array(found) for name, found in (scores or {}).items()})
    return Amounts(candidates, given, {name: found / (found.mean() or 1) for name, found in given.items()}, max_ratio)


def reasons(misses: list[Miss]) -> dict[str, str]:
    return {miss.site: miss.reason for miss in misses}


# ---- which groups ----------------------------------------------------------------------------------------------------


def test_a_scope_takes_its_kinds_and_says_why_others_stay_whole() -> None:
    groups = [
        group("conv", 64),
        group("stream", 64, inexact="a norm averages over its units"),
        group("logits", 10, frozen="%y is an output of the model"),
        group("q:heads", 8, kind="heads", weight="wq"),
        group("q", 64, kind="head_dim", weight="wq"),
        group("v", 64, kind="head_dim", weight="wv"),
        group("ffn", 256, kind="hidden"),
        group("one", 1),
    ]
    found = survey(conv_net(), groups, scope="all", round_to=8)
    assert [one.group.name for one in found.candidates] == ["conv", "q:heads", "v", "ffn"]
    assert reasons(list(found.misses)) == {
        "stream": "left whole: a norm averages over its units; approximate=True removes its units all the same",
        "logits": "left whole: %y is an output of the model",
        "one": "left whole: it has 1 unit, and one must stay",
        "q": "left whole: of this attention layer whole heads go (%q:heads); scope='channels' narrows its heads instead",
    }
    channels = survey(conv_net(), groups, scope="channels", round_to=8, approximate=True)
    assert [one.group.name for one in channels.candidates] == ["conv", "stream", "q", "v"]
    assert [one.group.name for one in survey(conv_net(), groups, scope="heads", round_to=8).candidates] == ["q:heads"]


def test_exclude_names_groups_modules_and_the_weights_that_make_units() -> None:
    program = conv_net()
    groups = program.fact(coupling).groups
    for pattern in ("c", "w", "gam*"):
        found = survey(program, groups, scope="all", round_to=8, exclude=("nothing", pattern))
        assert found.candidates == ()
        assert reasons(list(found.misses))["c"] == f"left whole: exclude names it ('{pattern}')"
    assert [one.group.name for one in survey(program, groups, scope="all", round_to=8, exclude=("fc",)).candidates] == ["c"]
    block = group("conv", 8, module="layer1.0.conv")
    assert survey(program, [block], scope="all", round_to=8, exclude=("layer1.*",)).candidates == ()


@pytest.mark.parametrize(
    ("size", "round_to", "grain"), [(64, 8, 8), (16, 8, 8), (15, 8, 4), (8, 8, 4), (6, 8, 2), (3, 8, 1), (2, 8, 1), (100, 8, 8), (64, 1, 1)]
)
def test_small_groups_get_a_smaller_grain(size: int, round_to: int, grain: int) -> None:
    assert survey(conv_net(), [group("g", size)], scope="all", round_to=round_to).candidates[0].grain == grain
    assert survey(conv_net(), [group("g", size, kind="heads")], scope="all", round_to=round_to).candidates[0].grain == 1


# ---- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grain", "ratio", "kept"),
    [
        (64, 8, 0.5, 32),
        (20, 8, 0.5, 8),
        (20, 8, 0.4, 16),  # 12 is as near to 8: more stay
        (100, 8, 0.03, 96),
        (64, 8, 0.99, 8),  # max_ratio 0.9 leaves 6.4, which is rounded up
        (4, 1, 0.99, 1),
        (3, 1, 0.5, 2),
    ],
)
def test_kept_counts_are_multiples_of_the_grain_and_never_too_few(size: int, grain: int, ratio: float, kept: int) -> None:
    removal, _ = amounts(candidate("g", size, grain=grain)).by_ratio(ratio)
    assert size - len(removal["g"]) == kept


def test_the_least_important_go_and_of_equal_ones_the_later() -> None:
    removal, _ = amounts(candidate("g", 6), scores={"g": [3, 1, 2, 1, 1, 9]}).by_ratio(0.34)
    assert removal == {"g": (3, 4)}


def test_units_that_cannot_go_stay_and_count_as_kept() -> None:
    one = candidate("g", 16, grain=4, fixed=(0, 1, 2, 3, 4, 5, 6, 7, 8))
    assert amounts(one).by_ratio(0.5)[0] == {"g": (9, 10, 11, 12)}
    assert amounts(candidate("g", 16, grain=8, fixed=tuple(range(9)))).by_ratio(0.5)[0] == {}
    assert amounts(candidate("g", 4, fixed=(0,))).by_threshold(2)[0] == {"g": (1,)}


def test_of_each_part_that_fills_an_axis_one_unit_stays() -> None:
    split = candidate("g", 6, parts=((0, 1, 2), (3, 4, 5)))
    assert amounts(split).by_ratio(0.5)[0] == {"g": (0, 1, 3)}
    assert amounts(split).by_ratio(0.9)[0] == {"g": (0, 1, 3, 4)}
    assert amounts(split).by_threshold(9)[0] == {"g": (0, 1, 3, 4)}


def test_nothing_removed_is_a_miss_with_the_numbers() -> None:
    removal, misses = amounts(candidate("g", 20, grain=8), candidate("h", 8, grain=4, module="head")).by_ratio({"g": 0.1})
    assert removal == {}
    assert reasons(misses) == {
        "g": "left whole: 0.1 of its 20 units leaves 18, and kept counts are multiples of 8",
        "h": "left whole: no pattern of ratio names it",
    }


def test_a_ratio_by_pattern_takes_names_and_modules() -> None:
    pair = (candidate("conv1", 16, module="layer1.0.conv"), candidate("conv2", 16, module="layer2.0.conv"), candidate("fc", 16))
    removal, misses = amounts(*pair).by_ratio({"layer1.*": 0.25, "conv?": 0.5})
    assert {name: len(units) for name, units in removal.items()} == {"conv1": 4, "conv2": 8}
    assert [miss.site for miss in misses] == ["fc"]


def test_a_threshold_takes_what_is_not_above_it_and_rounds_toward_more() -> None:
    scores = {"g": [0.0, 0.0, 0.0, 0.5, 1, 1, 1, 1], "dead": [0.0] * 4, "alive": [1.0, 2.0]}
    exact = (candidate("g", 8), candidate("dead", 4), candidate("alive", 2))
    removal, misses = amounts(*exact, scores=scores).by_threshold(0)
    assert removal == {"g": (0, 1, 2), "dead": (1, 2, 3)}
    assert reasons(misses) == {"alive": "left whole: the least of its 2 units scores 1, above the threshold 0"}
    rounded, misses = amounts(candidate("g", 8, grain=4), scores=scores).by_threshold({"g": 0})
    assert rounded == {}
    assert reasons(misses) == {"g": "left whole: 3 of its 8 units score 0 or less, and kept counts are multiples of 4"}
    assert amounts(candidate("g", 8, grain=4), scores=scores).by_threshold({"g": 0.5})[0] == {"g": (0, 1, 2, 3)}


def test_ranking_over_groups_takes_as_much_from_where_it_matters_least() -> None:
    pair = (candidate("even", 8), candidate("uneven", 8))
    scores = {"even": [1.0] * 8, "uneven": [0.1, 0.1, 0.1, 0.1, 0.1, 4, 4, 4]}
    removal, misses = amounts(*pair, scores=scores).by_rank(0.25)
    assert removal == {"uneven": (1, 2, 3, 4)}
    assert reasons(misses) == {"even": "left whole: none of its 8 units is among the least important of all groups"}
    most, _ = amounts(*pair, scores=scores, max_ratio=0.5).by_rank(0.5)
    assert {name: len(units) for name, units in most.items()} == {"even": 4, "uneven": 4}


def test_ranking_over_groups_weighs_units_by_their_parameters() -> None:
    pair = (candidate("light", 10, params=1), candidate("heavy", 10, params=100))
    scores = {"light": [0.5] * 5 + [1.5] * 5, "heavy": [0.9] * 5 + [1.1] * 5}
    removal, _ = amounts(*pair, scores=scores).by_rank(0.2)
    assert {name: len(units) for name, units in removal.items()} == {"light": 5, "heavy": 2}


# ---- budgets ---------------------------------------------------------------------------------------------------------


def candidates_of() -> tuple[Candidate, ...]:
    program = attention()
    found = survey(program, program.fact(coupling).groups, scope="all", round_to=4)
    assert found.candidates
    return found.candidates


@pytest.mark.parametrize("quantity", ["params", "macs", "bytes"])
@pytest.mark.parametrize("global_ranking", [False, True])
def test_a_budget_removes_the_least_that_is_enough(quantity: str, global_ranking: bool) -> None:
    program, meter = attention(), Meter(Context())
    candidates = candidates_of()
    chosen = amounts(*candidates)
    limit = 0.8 * meter.measure(program, quantity)
    fitted = fit_budget(program, chosen, {quantity: 0.8}, meter, original=program, global_ranking=global_ranking)
    assert 0.97 * limit < meter.measure(without(program, fitted.removal), quantity) <= limit
    assert quantity in fitted.note
    as_it_stands = fit_budget(program, chosen, {quantity: limit}, meter, original=program, global_ranking=global_ranking)
    assert as_it_stands.removal == fitted.removal


def layers(count: int, width: int) -> Program:
    """Products and Relu in turns, all equally wide."""
    rng = np.random.default_rng(0)
    weights = {f"w{number}": rng.normal(size=(width, width)).astype(np.float32) for number in range(count)}
    body = "\n".join(f"h{number} = MatMul (a{number}, w{number})\na{number + 1} = Relu (h{number})" for number in range(count))
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        layers (float[N, {width}] a0, WEIGHTS) => (float[N, {width}] a{count}) {{ {body} }}"""
    return program_of(text, weights)


@pytest.mark.parametrize("global_ranking", [False, True])
def test_groups_of_one_size_need_not_change_together(global_ranking: bool) -> None:
    program, meter = layers(9, 32), Meter(Context())
    candidates = survey(program, program.fact(coupling).groups, scope="all", round_to=16).candidates
    assert len({one.group.size for one in candidates}) == 1 < len(candidates)
    fitted = fit_budget(program, amounts(*candidates), {"params": 0.8}, meter, original=program, global_ranking=global_ranking)
    left = meter.measure(without(program, fitted.removal), "params") / meter.measure(program, "params")
    assert 0 < len(fitted.removal) < len(candidates)
    assert 0.7 < left <= 0.8


def test_of_several_limits_all_are_kept() -> None:
    program, meter = attention(), Meter(Context())
    fitted = fit_budget(program, amounts(*candidates_of()), {"params": 0.9, "macs": 0.7}, meter, original=program)
    left = without(program, fitted.removal)
    assert meter.measure(left, "macs") <= 0.7 * meter.measure(program, "macs")
    assert meter.measure(left, "params") <= 0.9 * meter.measure(program, "params")


def test_time_is_measured_where_it_is_the_budget() -> None:
    program = attention()

    class Timer:
        """A program takes as long as it has multiply-accumulates."""

        def time(self, program: Program) -> float:
            return float(program.fact(cost).totals(default_bindings(program)).macs or 0) / 1e6

    meter = Meter(Context(timer=Timer()))
    fitted = fit_budget(program, amounts(*candidates_of()), {"latency_ms": 0.75}, meter, original=program)
    whole, left = (meter.measure(one, "latency_ms") for one in (program, without(program, fitted.removal)))
    assert 0.7 < left / whole <= 0.75


def test_a_budget_that_is_kept_removes_nothing_and_one_out_of_reach_is_refused() -> None:
    program, meter = attention(), Meter(Context())
    chosen = amounts(*candidates_of())
    kept = fit_budget(program, chosen, {"params": 1e9}, meter, original=program)
    assert kept.removal == {}
    assert [miss.site for miss in kept.misses] == [one.group.name for one in chosen.candidates]
    assert "the budget is kept without its 64 units (params 45,504 of" in kept.misses[0].reason
    with pytest.raises(PlanError, match=r"out of reach: with 0.9 of each group gone there are params .* of at most 455"):
        fit_budget(program, chosen, {"params": 0.01}, meter, original=program)


# ---- plans -----------------------------------------------------------------------------------------------------------


def plan_of(decisions: dict[str, dict[str, object]]) -> Plan:
    return Plan.from_json(json.dumps({"version": 1, "pass": "prune", "fingerprint": "", "decisions": decisions}))


def test_decisions_go_to_json_and_back() -> None:
    found = coupling_of(group("a", 8), group("b:heads", 4, kind="heads"), group("c", 8))
    removal = {"b:heads": (1,), "a": (0, 3)}
    decisions = decide(found, removal)
    assert decisions == {
        "a": {"kind": "channels", "units": 8, "remove": [0, 3]},
        "b:heads": {"kind": "heads", "units": 4, "remove": [1]},
    }
    plan = Plan(pass_name="prune", fingerprint="", decisions=decisions)
    assert read_decisions(Plan.from_json(plan.to_json()), found) == removal
    assert read_decisions(plan_of({"a": {"remove": []}, "c": {"remove": [7, 2]}}), found) == {"c": (2, 7)}
    assert summary(found.groups, removal) == "2 of 16 channels in 1 of 2 groups, 1 of 4 heads in 1 group"


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"x": {"remove": [0]}}, "the group %x, which this program does not have"),
        ({"a": {"remove": [8]}}, "removes unit 8 of %a, which has units 0 to 7"),
        ({"a": {"remove": [-1]}}, "removes unit -1"),
        ({"a": {"remove": [1, 1]}}, "removes unit 1 of %a twice"),
        ({"a": {"remove": list(range(8))}}, "removes all 8 units"),
        ({"a": {"units": 16, "remove": [0]}}, "has units 16; here it is 8"),
        ({"a": {"kind": "heads", "remove": [0]}}, "has kind 'heads'; here it is 'channels'"),
        ({"a": {"remove": "0, 1"}}, "'remove' is a list of unit numbers"),
        ({"a": {"remove": [True]}}, "'remove' is a list of unit numbers"),
        ({"a": {}}, "has no 'remove'"),
        ({"a": {"remove": [0], "keep": [1]}}, "has unknown keys: keep"),
        ({"f": {"remove": [0]}}, "No unit of %f can go: %y is an output of the model"),
        ({"p": {"remove": [1, 2]}}, "Unit 2 of %p cannot go"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(decisions: dict[str, dict[str, object]], message: str) -> None:
    found = coupling_of(group("a", 8), group("f", 8, frozen="%y is an output of the model"), group("p", 8, fixed=(2,)))
    with pytest.raises(PlanError, match=message):
        read_decisions(plan_of(decisions), found)
