"""The batch of inputs and outputs: known when a program is bound, written in the chip's program, never told from values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.backends.cim.mapping import build
from netwright.backends.cim.program import assemble, disassemble
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.simulator.machine import Machine
from netwright.ir.errors import DataError
from netwright.ir.program import Program
from tests.backends.cim.lowering.graphs import kernel, lowered, parsed
from tests.backends.cim.mapping.graphs import loader, small_arch

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'
LAYER = """
    q = QuantizeLinear (x, xs, xz)
    d = DequantizeLinear (q, xs, xz)
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    s = Gemm <transB = 1> (d, wd)
    r = QuantizeLinear (s, ys, yz)
    p = DequantizeLinear (r, ys, yz)
"""
GRID: dict[str, np.ndarray] = {
    "xs": np.array(0.05, np.float32),
    "xz": np.array(12, np.uint8),
    "ys": np.array(0.11, np.float32),
    "yz": np.array(5, np.uint8),
}


def model(body: str, result: str, constants: Mapping[str, np.ndarray] | None = None, *, batch: str = "N") -> Program:
    """A layer of 6 inputs and 4 outputs `p`, and what the body makes of it."""
    text = f"{HEAD} g (float[{batch}, 6] x) => ({result}) {{ {LAYER} {body} }}"
    return parsed(text, {**GRID, **kernel(0, 4, 6, bias=False), **(constants or {})})


def chip_of(program: Program) -> ChipProgram:
    chip = build(lowered(program, small_arch()), small_arch(), name="net")
    again = assemble(disassemble(chip, data=True))
    for one in (from_bytes(to_bytes(chip)), again):
        assert (one.inputs, one.outputs) == (chip.inputs, chip.outputs)
    return chip


def run(chip: ChipProgram, samples: Mapping[str, np.ndarray], chunk: int | None = None) -> dict[str, np.ndarray]:
    found = Machine(chip, loader, chunk=chunk).run(samples)[0]
    for stepwise, size in ((True, None), (False, 2)):
        other = Machine(chip, loader, stepwise=stepwise, chunk=size).run(samples)[0]
        assert all(np.array_equal(other[name], values) for name, values in found.items())
    return found


def inputs(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).normal(size=(samples, 6)).astype(np.float32)


def shapes(chip: ChipProgram) -> list[str]:
    return [str(port) for port in chip.outputs]


def test_an_output_has_the_batchs_axis_where_the_model_has_it():
    chip = chip_of(model("y = Transpose <perm = [1, 0]> (p)\n z = Identity (p)", "float[4, N] y, float[N, 4] z"))
    found = run(chip, {"x": inputs(5)})

    assert shapes(chip) == ["float[4, N]", "float[N, 4]"]
    assert [str(port) for port in chip.inputs] == ["float[N, 6]"]
    np.testing.assert_array_equal(found["y"], found["z"].T)


@pytest.mark.parametrize("samples", [1, 3, 5])
def test_a_constant_output_is_given_once_or_as_often_as_the_model_says(samples: int):
    body = "n = Shape <end = 1> (p)\n m = Concat <axis = 0> (n, two)\n many = Expand (c, m)\n one = Neg (c)"
    constants = {"c": np.array([3.0, 4.0], np.float32), "two": np.array([2])}
    chip = chip_of(model(f"{body}\n y = Identity (p)", "float[N, 2] many, float[2] one, float[N, 4] y", constants))
    found = run(chip, {"x": inputs(samples)})

    assert shapes(chip) == ["float[N, 2]", "float[2]", "float[N, 4]"]
    np.testing.assert_array_equal(found["many"], np.tile(constants["c"], (samples, 1)))
    np.testing.assert_array_equal(found["one"], -constants["c"])
    assert found["y"].shape == (samples, 4)


def test_an_output_of_no_elements_has_its_samples():
    constants = {"none": np.array([0]), "one": np.array([1])}
    found = run(chip_of(model("y = Slice (p, none, none, one)", "float[N, 0] y", constants)), {"x": inputs(3)})

    assert found["y"].shape == (3, 0)


def test_equal_samples_are_still_samples():
    chip = chip_of(model("y = Identity (p)", "float[N, 4] y"))
    alike = np.repeat(inputs(1), 3, axis=0)
    found = run(chip, {"x": alike})

    assert found["y"].shape == (3, 4)
    np.testing.assert_array_equal(found["y"], np.repeat(run(chip, {"x": alike[:1]})["y"], 3, axis=0))


@pytest.mark.parametrize(
    ("body", "result", "shape"),
    [
        ("y = ReduceMax <keepdims = 0> (p)", "float y", ()),
        ("y = ReduceMax <keepdims = 1> (p, zero)", "float[1, 4] y", (1, 4)),
        ("y = Reshape (p, flat)", "float[M] y", (4,)),
        ("y = Reshape (p, pairs)", "float[M, 2] y", (2, 2)),
    ],
)
def test_what_mixes_samples_has_no_axis_for_them_even_where_they_are_equal(body: str, result: str, shape: tuple[int, ...]):
    constants = {"zero": np.array([0]), "flat": np.array([-1]), "pairs": np.array([-1, 2])}
    chip = chip_of(model(body, result, constants))
    alike = np.repeat(inputs(1), 3, axis=0)

    assert "N" not in shapes(chip)[0]
    assert run(chip, {"x": alike[:1]})["y"].shape == shape
    for given in (alike, inputs(3)):
        with pytest.raises(DataError, match=r"'y' is made anew of every sample and has no axis for 3 of them.*Run one sample at a time"):
            Machine(chip, loader).run({"x": given})


def test_an_output_reduced_over_nothing_keeps_its_samples():
    body = "y = ReduceMax <keepdims = 0, noop_with_empty_axes = 1> (p, none)"
    chip = chip_of(model(body, "float[N, 4] y", {"none": np.array([], np.int64)}))

    assert shapes(chip) == ["float[N, 4]"]
    assert run(chip, {"x": inputs(3)})["y"].shape == (3, 4)


def test_an_input_without_the_batch_is_shared_by_all_samples():
    body = "y = Add (p, o)\n z = Mul (o, o)"
    text = f"{HEAD} g (float[N, 6] x, float[1, 4] o) => (float[N, 4] y, float[1, 4] z) {{ {LAYER} {body} }}"
    chip = chip_of(parsed(text, {**GRID, **kernel(0, 4, 6, bias=False)}))
    x, o = inputs(3), np.arange(4, dtype=np.float32)[None]
    found = run(chip, {"x": x, "o": o})

    assert [str(port) for port in chip.inputs] == ["float[N, 6]", "float[1, 4]"]
    np.testing.assert_array_equal(found["z"], o * o)
    np.testing.assert_array_equal(found["y"], run(chip, {"x": x, "o": 0 * o})["y"] + o)
    with pytest.raises(DataError):
        Machine(chip, loader).run({"x": x, "o": np.repeat(o, 3, axis=0)})


def test_a_state_has_the_batch_behind_its_first_axis():
    body = "t = Unsqueeze (p, zero)\n y = Add (t, h)"
    text = f"{HEAD} g (float[N, 6] x, float[1, N, 4] h) => (float[1, N, 4] y) {{ {LAYER} {body} }}"
    chip = chip_of(parsed(text, {**GRID, **kernel(0, 4, 6, bias=False), "zero": np.array([0])}))
    x, h = inputs(3), np.random.default_rng(1).normal(size=(1, 3, 4)).astype(np.float32)
    found = run(chip, {"x": x, "h": h})["y"]

    assert shapes(chip) == ["float[1, N, 4]"]
    np.testing.assert_array_equal(found, run(chip, {"x": x, "h": 0 * h})["y"] + h)


def test_a_model_of_one_sample_takes_a_batch_along_its_first_axis():
    chip = chip_of(model("y = Identity (p)\n z = ReduceMax <keepdims = 0> (p)", "float[1, 4] y, float z", batch="1"))

    assert shapes(chip) == ["float[batch, 4]", "float[]"]
    assert run(chip, {"x": inputs(1)})["z"].shape == ()
    with pytest.raises(DataError, match="'z'"):
        Machine(chip, loader).run({"x": inputs(2)})
