"""Products of two values of the input, written to arrays: the integers of ONNX Runtime, whatever the zero points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.cim.arch.model import Adc, Arch, Array
from netwright.backends.cim.lowering import Bind, Crossbars
from netwright.backends.cim.lowering.emitting import Attend
from netwright.backends.cim.target import CimTarget
from netwright.ir.dump import dump
from netwright.ir.errors import PipelineError
from netwright.ir.program import Program
from netwright.passes import Context, Outcome, run
from netwright.passes.quantize.attention import why_vector
from tests.backends.cim.lowering.graphs import ARCH, count, normal, outputs, parsed

BODY = """<ir_version: 10, opset_import: ["" : 20]>
g (float[2, 5, 7] x, float[RIGHT] z) => (RESULT y) {
    q = QuantizeLinear (x, xs, xz)
    a = DequantizeLinear (q, xs, xz)
    r = QuantizeLinear (z, zs, zz)
    b = DequantizeLinear (r, zs, zz)
    f = MatMul (a, b)
    END
}"""
BYTES = "y = QuantizeLinear (f, ys, yz)"


def pair(left: np.ndarray, right: np.ndarray, *, to_bytes: bool = False, shape: str = "2, 7, 6") -> Program:
    """x · z, each on a grid with a zero point."""
    grids = {"xs": np.float32(0.05), "xz": left, "zs": np.float32(0.03), "zz": right, "ys": np.float32(0.4), "yz": np.array(9, np.uint8)}
    text = BODY.replace("RIGHT", shape).replace("RESULT", "uint8" if to_bytes else "float")
    return parsed(text.replace("END", BYTES if to_bytes else "y = Identity (f)"), {name: np.asarray(data) for name, data in grids.items()})


def on(program: Program, arch: Arch = ARCH, attention: Attend = "arrays") -> Outcome:
    return run(program, (Bind(), Crossbars(attention=attention)), Context(target=CimTarget(arch)))


FEEDS = {"x": normal(1, 2, 5, 7), "z": normal(2, 2, 7, 6)}
ZEROS = [np.array(0, np.uint8), np.array(131, np.uint8), np.array(0, np.int8), np.array(-7, np.int8)]


@pytest.mark.parametrize("to_bytes", [False, True])
@pytest.mark.parametrize("left", ZEROS, ids=str)
@pytest.mark.parametrize("right", ZEROS, ids=str)
def test_it_equals_the_integer_kernels(left: np.ndarray, right: np.ndarray, to_bytes: bool) -> None:
    program = pair(left, right, to_bytes=to_bytes)
    made = on(program).program
    assert count(made, "CrossbarMatMul") == 1
    assert count(made, "MatMul") == 0
    wanted = outputs(program, FEEDS)["y"]
    assert len(np.unique(wanted)) > 20
    np.testing.assert_array_equal(outputs(made, FEEDS)["y"], wanted)


def test_sums_are_taken_only_where_a_zero_point_asks_for_them() -> None:
    text = dump(on(pair(ZEROS[0], ZEROS[2], to_bytes=True)).program)
    assert "ReduceSum" not in text
    assert "Requantize(%f.sums" in text
    assert dump(on(pair(ZEROS[1], ZEROS[2])).program).count("ReduceSum") == 1
    assert dump(on(pair(ZEROS[1], ZEROS[3])).program).count("ReduceSum") == 2


def test_digits_without_sign_take_the_left_operand_moved() -> None:
    arch = replace(ARCH, array=replace(ARCH.array, digit_bits=2, adc=Adc(bits=12, step=1)))
    program = pair(ZEROS[3], ZEROS[1])
    np.testing.assert_array_equal(outputs(on(program, arch).program, FEEDS)["y"], outputs(program, FEEDS)["y"])


def test_one_matrix_for_all_vectors() -> None:
    program = pair(ZEROS[1], ZEROS[3], shape="7, 6")
    feeds = {**FEEDS, "z": normal(3, 7, 6)}
    made = on(program)
    assert count(made.program, "CrossbarMatMul") == 1
    np.testing.assert_array_equal(outputs(made.program, feeds)["y"], outputs(program, feeds)["y"])


def why(outcome: Outcome) -> str:
    (miss,) = outcome.rows[-1].misses
    return miss.reason


def test_what_stays_says_why() -> None:
    program = pair(ZEROS[1], ZEROS[3])
    assert "attention='vector'" in why(on(program, attention="vector"))
    assert "vector units cost less" in why(on(program, attention="auto"))
    held = replace(ARCH, array=Array(encoding="differential"))
    assert "−128" in why(on(program, held))
    assert "one is repeated along leading axes" in why(on(pair(ZEROS[1], ZEROS[3], shape="1, 7, 6")))
    assert count(on(program, held).program, "MatMul") == 1


def test_cost_decides() -> None:
    quick = replace(
        ARCH, array=replace(ARCH.array, cycle_ns=0.001), tile=replace(ARCH.tile, vector=replace(ARCH.tile.vector, pj_per_mac=99.0))
    )
    assert count(on(pair(ZEROS[1], ZEROS[3]), quick, "auto").program, "CrossbarMatMul") == 1


def test_what_memories_do_not_hold_is_not_written() -> None:
    """Even where the user wants it: the vector unit's regions may go to the host, products may not."""
    tiny = replace(ARCH, tile=replace(ARCH.tile, memory=replace(ARCH.tile.memory, bytes=300)))
    assert "of one product take 227 bytes, of all 2 454" in why(on(pair(ZEROS[1], ZEROS[3]), tiny))


def test_a_place_that_there_is_not() -> None:
    with pytest.raises(PipelineError, match="auto, vector or arrays"):
        on(pair(ZEROS[1], ZEROS[3]), attention="tiles")  # pyright: ignore[reportArgumentType]


def test_coarse_conversions_are_in_the_graph() -> None:
    """Each matrix is converted for itself, in the expansion, too."""
    program, coarse = pair(ZEROS[1], ZEROS[2]), replace(ARCH, array=replace(ARCH.array, adc=Adc(bits=3, step=4)))
    made = outputs(on(program, coarse).program, FEEDS)["y"]
    exact = outputs(program, FEEDS)["y"]
    assert not np.array_equal(made, exact)
    swapped = outputs(on(program, coarse).program, {name: data[::-1].copy() for name, data in FEEDS.items()})["y"]
    np.testing.assert_array_equal(swapped[::-1], made)


@pytest.mark.parametrize("shape", ["7, 6", "2, 7, 6"])
def test_the_quantizer_and_lowering_weigh_the_same_product(shape: str) -> None:
    """One right operand for all vectors is one matrix to write, for both."""
    program = pair(ZEROS[1], ZEROS[3], shape=shape)
    (node,) = program.nodes("MatMul")
    asked = why_vector("auto", node, program, Context(target=CimTarget(ARCH)))
    assert asked is not None
    price = asked.removeprefix("left float: ").partition(" (attention=")[0]
    assert price == why(on(program, attention="auto"))
    assert f"to write {336 * (1 if shape == '7, 6' else 2)} cells" in price
