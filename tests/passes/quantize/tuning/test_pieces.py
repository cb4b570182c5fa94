"""Signatures, places, cores and borders, each alone."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir import Program
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.tuning.borders import Sides, static_units
from netwright.passes.quantize.tuning.converters import Converters, converter_programs, converters_of
from netwright.passes.quantize.tuning.cores import integer_core
from netwright.passes.quantize.tuning.evidence import relative_error
from netwright.passes.quantize.tuning.places import Place, place_of, same_units
from netwright.passes.quantize.tuning.signature import signature
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal


def linear(name: str, columns: int = 32, seed: int = 0, attributes: str = "") -> Program:
    return program_of(
        f"{HEAD} net (float[N, 16] x{name}, WEIGHTS) => (float[N, {columns}] y{name}) {{ y{name} = Gemm{attributes} (x{name}, w{name}) }}",
        {f"w{name}": normal(16, columns, seed=seed)},
    )


def test_a_signature_tells_shapes_and_attributes_and_not_names_or_weights() -> None:
    x = normal(4, 16)
    own = signature(linear("a"), {"xa": x})
    assert own == signature(linear("b", seed=3), {"xb": x})
    others = [
        signature(linear("a"), {"xa": normal(5, 16)}),
        signature(linear("a", 48), {"xa": x}),
        signature(linear("a", attributes="<alpha = 2.0>"), {"xa": x}),
    ]
    assert own not in others
    assert len(set(others)) == 3


def chain() -> Program:
    body = "h = Conv <pads = [1, 1, 1, 1]> (x, a, c)\n r = Clip (h, low, high)\n s = Conv <pads = [1, 1, 1, 1]> (r, b)\n y = Softmax (s)"
    return program_of(
        f"{HEAD} net (float[N, 4, 8, 8] x, WEIGHTS) => (float[N, 4, 8, 8] y) {{ {body} }}",
        {
            "a": normal(16, 4, 3, 3),
            "b": normal(4, 16, 3, 3),
            "c": normal(16),
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        },
    )


def places(program: Program) -> list[Place]:
    found = [place_of(unit, program) for unit in survey(program, convolutions=True).units]
    assert all(isinstance(place, Place) for place in found)
    return [place for place in found if isinstance(place, Place)]


def test_a_place_takes_along_what_its_kernel_computes() -> None:
    first, second = places(chain())
    assert [node.op_type for node in first.nodes] == ["Conv", "Clip"]
    assert ([value.name for value in first.given], [value.name for value in first.results]) == (["x"], ["r"])
    assert [node.op_type for node in second.nodes] == ["Conv"]


def test_a_place_alone_gives_what_it_gives_within_the_program() -> None:
    program = chain()
    x = normal(2, 4, 8, 8)
    r, s = evaluate(program, {"x": x}, ["r", "s"])
    alone = places(program)[1].alone(program, {"r": r})
    np.testing.assert_allclose(evaluate(alone, {"r": r})[0], s, rtol=1e-5, atol=1e-5)
    assert len(same_units(alone, survey(program, convolutions=True).units)) == 1


def test_the_core_of_a_static_unit_reads_and_gives_integers() -> None:
    body = (
        "z = Constant <value = uint8 {128}> ()\n xq = QuantizeLinear (x, s, z)\n xd = DequantizeLinear (xq, s, z)\n h = MatMul (xd, w)\n"
        "hq = QuantizeLinear (h, s, z)\n y = DequantizeLinear (hq, s, z)"
    )
    constants = {"s": np.array(0.1, np.float32), "w": normal(16, 8)}
    program = program_of(f"{HEAD} net (float[N, 16] x, WEIGHTS) => (float[N, 8] y) {{ {body} }}", constants)
    core, fed = integer_core(program, {"x": normal(3, 16)})
    assert [node.op_type for node in core.nodes()] == ["Constant", "DequantizeLinear", "MatMul", "QuantizeLinear"]
    assert {name: (array.dtype, array.shape) for name, array in fed.items()} == {"xq": (np.dtype(np.uint8), (3, 16))}
    assert core.outputs[0].dtype == onnx_ir.DataType.UINT8
    assert evaluate(core, fed)[0].shape == (3, 8)


def test_a_core_without_converters_is_the_program() -> None:
    program, feeds = linear("a"), {"xa": normal(3, 16)}
    assert integer_core(program, feeds) == (program, feeds)


@pytest.mark.parametrize(
    ("costs", "element", "expected"),
    [
        ([(0.1, 1.0), (0.1, 1.0)], 1e-6, {0, 1}),  # converters cost nothing to speak of
        ([(0.1, 1.0), (1.2, 1.0)], 1e-6, {0}),  # the second loses more than a converter between them costs
        ([(0.1, 1.0), (1.2, 1.0)], 1e-3, {0, 1}),  # it loses less than that: 1,024 elements back to float, and 256 not
        ([(0.9, 1.0), (0.9, 1.0)], 1e-3, set[int]()),  # nothing pays for the borders
    ],
)
def test_borders_cost_converters(costs: list[tuple[float, float]], element: float, expected: set[int]) -> None:
    program = chain()
    found = places(program)
    sides = [Sides(place, static, other) for place, (static, other) in zip(found, costs, strict=True)]
    sizes = {"x": 256, "r": 1024, "s": 256}
    chosen = static_units(program, sides, sizes, Converters(element / 4, element))
    assert {position for position, place in enumerate(found) if place.unit in chosen} == expected


def test_converters_run_and_cost_by_element() -> None:
    for program, feeds in converter_programs():
        assert evaluate(program, feeds)[0].shape == feeds["x"].shape
    found = converters_of(0.005, 0.005 + 0.131072, 0.001)
    assert (found.quantize, found.dequantize) == (pytest.approx(1e-6), 0.0)


def test_errors_are_relative_and_what_is_not_finite_in_float_counts_for_nothing() -> None:
    goal = [{"y": np.array([3.0, 4.0, -np.inf], np.float32), "n": np.array([1])}]
    assert relative_error(goal, [{"y": np.array([3.0, 4.5, -np.inf], np.float32), "n": np.array([2])}]) == pytest.approx(0.1)
    assert relative_error(goal, [{"y": np.array([np.nan, 4.0, 0.0], np.float32), "n": np.array([1])}]) == float("inf")
