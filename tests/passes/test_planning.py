"""What all compressing passes are told how much by: numbers by pattern, budgets, and the search for the least that fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netwright.ir.cost import cost, default_bindings
from netwright.ir.errors import ContractError, PipelineError
from netwright.ir.program import Program
from netwright.passes import Context
from netwright.passes.planning import (
    Meter,
    check_budget,
    check_setting,
    first_match,
    least_that_fits,
    limits_of,
    setting_for,
    unmatched_patterns,
)
from tests.passes.programs import attention, conv_net


def test_one_number_is_for_all_and_of_patterns_the_first_that_matches_counts() -> None:
    assert setting_for(0.5, ("conv", "layer1.0")) == 0.5
    by_pattern = {"layer1.*": 0.25, "layer?.0": 0.5}
    assert setting_for(by_pattern, ("conv", "layer1.0")) == 0.25
    assert setting_for(by_pattern, ("conv", "layer2.0")) == 0.5
    assert setting_for(by_pattern, ("conv", "")) is None
    assert first_match(("*",), ("",)) is None
    assert unmatched_patterns(by_pattern, [("a", "layer1.3"), ("b", "head")]) == ("layer?.0",)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (1.0, "ratio is 1.0; it must be from 0 and below 1"),
        ({"a": 0.5, "b": -0.1}, r"ratio\['b'\] is -0.1"),
        ({"a": "much"}, r"ratio\['a'\] is a number, not 'much'"),
        (True, "is a number, not True"),
        (float("nan"), "ratio is nan"),
        ({}, "ratio names no site"),
    ],
)
def test_settings_out_of_range_are_refused(setting: float, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        check_setting(setting, option="ratio", place="prune", low=0.0, below=1.0)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"flops": 1.0}, "no quantity flops"),
        ({"macs": 0.0}, "macs is 0.0, which is no positive"),
        ({}, "is empty"),
        ({"bytes": True}, "True"),
    ],
)
def test_budgets_that_say_nothing_are_refused(budget: dict[str, float], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        check_budget(budget, place="prune")


def test_limits_up_to_one_are_fractions_of_the_original() -> None:
    program = conv_net()
    meter = Meter(Context())
    totals = program.fact(cost).totals(default_bindings(program))
    assert limits_of({"params": 0.5, "macs": 1000.0}, program, meter) == {"params": totals.params / 2, "macs": 1000.0}
    assert meter.load(program, {"params": totals.params, "macs": 2.0 * (totals.macs or 0)}) == 1.0


def test_macs_are_counted_at_the_sizes_of_the_run() -> None:
    program = attention()
    one, two = (Meter(Context(dims={"N": n, "T": 16})).measure(program, "macs") for n in (1, 2))
    assert two == 2 * one


def test_time_is_taken_only_of_what_is_within_the_other_limits() -> None:
    timed: list[Program] = []

    class Timer:
        def time(self, program: Program) -> float:
            timed.append(program)
            return 5.0

    meter, program = Meter(Context(timer=Timer())), conv_net()
    assert meter.load(program, {"latency_ms": 10.0, "params": 1.0}) > 1
    assert timed == []
    assert meter.load(program, {"latency_ms": 10.0, "params": 1e9}) == 0.5
    with pytest.raises(ContractError, match="needs a timer"):
        Meter(Context()).measure(program, "latency_ms")


@pytest.mark.parametrize(("limit", "units"), [(70.0, 30), (99.9, 1), (10.0, 90)])
def test_the_search_ends_at_the_least_candidate_that_fits(limit: float, units: int) -> None:
    found = least_that_fits(lambda ratio: round(100 * ratio), lambda gone: (100 - gone) / limit, high=0.9, close=0.0)
    assert (found.candidate, found.fits) == (units, True)
    assert found.tried <= 14


def test_the_search_says_when_nothing_is_needed_and_when_nothing_is_enough() -> None:
    load: Callable[[float], float] = lambda ratio: (1 - ratio) / 0.05  # noqa: E731
    out_of_reach = least_that_fits(lambda ratio: ratio, load, high=0.9)
    assert (out_of_reach.fits, out_of_reach.scalar) == (False, 0.9)
    assert out_of_reach.load == pytest.approx(2.0)
    enough = least_that_fits(lambda ratio: ratio, lambda ratio: 0.7, high=0.9)
    assert (enough.scalar, enough.tried) == (0.0, 1)


def test_equal_candidates_are_measured_once_and_close_is_close_enough() -> None:
    measured: list[int] = []

    def load(gone: int) -> float:
        measured.append(gone)
        return (4 - gone) / 2.5

    found = least_that_fits(lambda ratio: round(4 * ratio), load, high=0.9)
    assert found.candidate == 2
    assert sorted(measured) == sorted(set(measured))
    close = least_that_fits(lambda ratio: ratio, lambda ratio: (1 - ratio) / 0.5, high=0.9, close=0.1)
    assert 0.9 <= close.load <= 1
    assert close.tried <= 6
