from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

import netwright as nw
from netwright.ir import Program
from netwright.ir.errors import ContractError
from netwright.passes import Context
from netwright.passes.quantize.choice import BlockWise, Dynamic, Static
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.tuning import TimingCache, TuneSettings, tuned
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, normal
from tests.passes.quantize.tuning.helpers import KnownTimer, tune

FLOAT = {"MatMul": 1.0, "Conv": 1.0}


def two_layers() -> Program:
    return program_of(
        f"{HEAD} two (float[N, 64] x, WEIGHTS) => (float[N, 32] y) {{ h = MatMul (x, a)\n r = Tanh (h)\n y = MatMul (r, b) }}",
        {"a": normal(64, 96, seed=1), "b": normal(96, 32, seed=2)},
    )


def convolutions() -> Program:
    body = "h = Conv <pads = [1, 1, 1, 1]> (x, a)\n r = Relu (h)\n s = Conv <pads = [1, 1, 1, 1]> (r, b)\n y = Tanh (s)"
    return program_of(
        f"{HEAD} net (float[N, 4, 8, 8] x, WEIGHTS) => (float[N, 4, 8, 8] y) {{ {body} }}",
        {"a": normal(16, 4, 3, 3, seed=1) / 6, "b": normal(4, 16, 3, 3, seed=2) / 12},
    )


def rows(*shape: int) -> dict[str, np.ndarray]:
    return {"x": normal(*shape, seed=7)}


def test_what_is_faster_is_chosen_for_each_unit() -> None:
    program = two_layers()
    first, second = survey(program).units
    options = {first: (Dynamic(), BlockWise(8, 32)), second: (Dynamic(), BlockWise(8, 32))}
    found = tune(program, options, KnownTimer(FLOAT | {"MatMulInteger": 0.5, "MatMulNBits": 0.2}), rows(3, 64))
    assert found.chosen == {first: BlockWise(8, 32), second: BlockWise(8, 32)}
    assert found.misses == ()
    assert found.trials[0].label == "float"
    assert found.trials[-1].ratio < 0.5


def test_equal_choices_go_to_the_one_with_less_error() -> None:
    program = two_layers()
    options = {unit: (BlockWise(4, 32), BlockWise(8, 32)) for unit in survey(program).units}
    found = tune(program, options, KnownTimer(FLOAT | {"MatMulNBits": 0.2}), rows(3, 64))
    assert set(found.chosen.values()) == {BlockWise(8, 32)}


def test_what_is_slower_stays_float_with_the_numbers() -> None:
    program = two_layers()
    options = {unit: (Dynamic(),) for unit in survey(program).units}
    found = tune(program, options, KnownTimer(FLOAT | {"MatMulInteger": 1.5}), rows(3, 64))
    assert found.chosen == {}
    assert [miss.site for miss in found.misses] == ["h", "y"]
    assert "the program would not be faster" in found.misses[0].reason
    assert "float takes 2.01 ms" in found.misses[0].reason
    assert "each unit's first option" in found.note


def test_the_whole_decides_where_units_alone_promised_more() -> None:
    """Alone each integer product is faster; a program with two of them is slow, with one it is not."""
    program = two_layers()
    options = {unit: (Dynamic(),) for unit in survey(program).units}

    def slow_together(one: Program) -> float:
        return 5.0 if sum(node.op_type == "MatMulInteger" for node in one.nodes()) > 1 else 0.0

    found = tune(program, options, KnownTimer(FLOAT | {"MatMulInteger": 0.5}, slow_together), rows(3, 64))
    assert len(found.chosen) == 1
    assert found.trials[-1].ratio < 0.99
    assert "the whole is faster with it float" in found.misses[0].reason


def test_nothing_is_ever_slower_than_float() -> None:
    program = two_layers()
    options = {unit: (Dynamic(), BlockWise(8, 32)) for unit in survey(program).units}

    def any_integers(one: Program) -> float:
        return 5.0 if len(list(one.nodes())) > 2 and any(node.op_type.startswith("MatMul") for node in one.nodes("MatMulNBits")) else 0.0

    def slow_whole(one: Program) -> float:
        is_whole = any(node.op_type == "Tanh" for node in one.nodes())
        return any_integers(one) + (5.0 if is_whole and any(True for _ in one.nodes("MatMulInteger")) else 0.0)

    found = tune(program, options, KnownTimer(FLOAT | {"MatMulInteger": 0.1, "MatMulNBits": 0.1}, slow_whole), rows(3, 64))
    assert found.chosen == {}
    assert all("ms" in miss.reason for miss in found.misses)


def test_an_error_beyond_the_limit_is_no_option() -> None:
    program = two_layers()
    first, second = survey(program).units
    options = {first: (BlockWise(4, 32),), second: (BlockWise(8, 32),)}
    timer = KnownTimer(FLOAT | {"MatMulNBits": 0.2})
    found = tune(program, options, timer, rows(3, 64), settings=TuneSettings(site_error=0.02, cache=None))
    assert found.chosen == {second: BlockWise(8, 32)}
    assert "as weights its output is off by 0.1" in found.misses[0].reason
    assert "more than 0.02" in found.misses[0].reason


def test_outputs_beyond_the_limit_are_no_candidate() -> None:
    program = two_layers()
    options = {unit: (BlockWise(4, 32),) for unit in survey(program).units}
    timer = KnownTimer(FLOAT | {"MatMulNBits": 0.2})
    found = tune(program, options, timer, rows(3, 64), settings=TuneSettings(output_error=0.001, cache=None))
    assert found.chosen == {}
    assert "more than 0.001" in found.note


def integer_convolutions(program: Program) -> float:
    """A convolution saves 0.8 ms where it reads and gives integers; a converter at a border costs 0.7."""
    by_weight = {node: maker(node, 1) == "DequantizeLinear" for node in program.nodes("Conv")}
    entered = sum(maker(node, 0) in ("", "Tanh") for node in program.nodes("QuantizeLinear"))
    left = sum(
        not by_weight.get(user, user.op_type == "Relu")
        for node in program.nodes("DequantizeLinear")
        if maker(node, 0) == "QuantizeLinear"
        for user, _ in node.outputs[0].uses()
    )
    return 0.7 * (entered + left) - 0.8 * sum(by_weight.values())


def maker(node: onnx_ir.Node, index: int) -> str:
    value = node.inputs[index]
    producer = None if value is None else value.producer()
    return "" if producer is None else producer.op_type


def test_static_units_share_the_converters_at_their_borders() -> None:
    """A convolution alone loses more at its borders than it saves; two neighbours pay for them together."""
    program = convolutions()
    units = survey(program, convolutions=True).units
    kernels = KnownTimer({"Conv": 1.0, "QuantizeLinear": 0.0, "DequantizeLinear": 0.0}, integer_convolutions)
    found = tune(program, {unit: (Static(),) for unit in units}, kernels, rows(2, 4, 8, 8))
    assert found.chosen == dict.fromkeys(units, Static())
    alone = tune(program, {units[0]: (Static(),)}, kernels, rows(2, 4, 8, 8))
    assert alone.chosen == {}


def test_equal_layers_are_timed_once_and_never_again(tmp_path: Path) -> None:
    program = two_layers()
    options = {unit: (Dynamic(),) for unit in survey(program).units}
    settings = TuneSettings(cache=tmp_path)
    first, second = KnownTimer(FLOAT | {"MatMulInteger": 0.5}), KnownTimer(FLOAT | {"MatMulInteger": 0.5})
    assert len(tune(program, options, first, rows(3, 64), settings=settings).chosen) == 2
    assert not list(tmp_path.iterdir()), "the context has no target, so that nobody knows for which machine timings hold"
    assert len(tune(program, options, second, rows(3, 64), settings=settings).chosen) == 2
    assert len(first.timed) == len(second.timed)
    cache = TimingCache(tmp_path, "this machine")
    cache.put("layer", 1.5)
    cache.save()
    assert TimingCache(tmp_path, "this machine").get("layer") == 1.5


def test_without_a_timer_the_user_is_told() -> None:
    program = two_layers()
    with pytest.raises(ContractError, match="nothing to measure with"):
        tuned(program, {}, {}, Context(), lambda one, choices, grids: one)


def test_the_pass_measures_on_this_machine() -> None:
    """A large product and a tiny one, on ONNX Runtime: whatever this machine makes of them, every site is accounted for."""
    program = program_of(
        f"{HEAD} two (float[N, 512] x, WEIGHTS) => (float[N, 32] y) {{ h = MatMul (x, a)\n r = Tanh (h)\n y = MatMul (r, b) }}",
        {"a": normal(512, 512, seed=1), "b": normal(512, 32, seed=2)},
    )
    result = nw.compile(program, "quantize(tune='latency')", calibration=[rows(64, 512)], latency=False, threads=1)
    (plan,) = result.plans.values()
    assert "tuned by measuring" in plan.note
    assert {site for site in plan.decisions if not site.startswith("activation:")} | {miss.site for miss in plan.misses} >= {"h", "y"}


def test_roundings_that_need_data_are_kept_and_not_tried() -> None:
    program = two_layers()
    wanted = replace(BlockWise(8, 32), rounding="gptq")
    options = dict.fromkeys(survey(program).units, (wanted,))
    found = tune(program, options, KnownTimer(FLOAT | {"MatMulNBits": 0.2}), rows(3, 64))
    assert set(found.chosen.values()) == {wanted}
