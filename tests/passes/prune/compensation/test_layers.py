"""Units that others can stand in for go without a trace: every kind of consumer takes them over.

In each graph unit 1 of the hidden layer is, on all data, a mixture of units that stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from netwright.ir import Program
from netwright.passes.prune.compensation import find
from netwright.passes.refit import patches
from tests.passes.programs import program_of
from tests.passes.prune.compensation.support import HEAD, batches, drawn, error, solved, without


@dataclass(frozen=True, slots=True)
class Case:
    """A graph whose unit 1 can go.

    Attributes:
        input: type of x.
        shape: of a batch.
        body: the nodes.
        weights: shapes; `w1` makes the units along `axis`.
        axis: of `w1`.
    """

    input: str
    shape: tuple[int, ...]
    body: str
    weights: dict[str, tuple[int, ...]]
    axis: int = 0

    def program(self) -> Program:
        """Unit 1 is made of units 0 and 2, exactly where nothing bends in between, twice unit 0 after a ReLU."""
        weights = drawn(0, **self.weights)
        w1 = np.moveaxis(weights["w1"], self.axis, 0)
        bends = "Relu" in self.body
        w1[1] = 2 * w1[0] if bends else 2 * w1[0] - 0.5 * w1[2]
        if "b1" in weights:
            b1 = weights["b1"]
            b1[1] = 2 * b1[0] if bends else 2 * b1[0] - 0.5 * b1[2] + 3  # a constant more, which the bias takes
        return program_of(f"{HEAD}\nplanted ({self.input}, WEIGHTS) => (float y)\n{{\n{self.body}\n}}", weights)


IMAGE, ROWS = "float[N, 3, 9, 8] x", "float[N, 5] x"
CONV = "c = Conv <pads: ints = [1, 1, 1, 1]> (x, w1, b1)\n"
MADE = {"w1": (6, 3, 3, 3), "b1": (6,)}

CASES = {
    "matmul, add": Case(
        ROWS,
        (64, 5),
        "a = MatMul (x, w1)\nh = Add (a, b1)\nz = MatMul (h, w2)\ny = Add (z, b2)",
        {"w1": (5, 6), "b1": (6,), "w2": (6, 4), "b2": (4,)},
        1,
    ),
    "matmul, add first": Case(
        ROWS,
        (64, 5),
        "a = MatMul (x, w1)\nh = Add (a, b1)\nz = MatMul (h, w2)\ny = Add (b2, z)",
        {"w1": (5, 6), "b1": (6,), "w2": (6, 4), "b2": (1, 4)},
        1,
    ),
    "matmul, no bias": Case(
        ROWS, (64, 5), "a = MatMul (x, w1)\nh = Add (a, b1)\ny = MatMul (h, w2)", {"w1": (5, 6), "b1": (6,), "w2": (6, 4)}, 1
    ),
    "matmul of a transpose, relu": Case(
        ROWS, (64, 5), "a = MatMul (x, w1)\nh = Relu (a)\nt = Transpose (w2)\ny = MatMul (h, t)", {"w1": (5, 6), "w2": (4, 6)}, 1
    ),
    "matmul from the left": Case(
        "float[N, 5, 7] x",
        (16, 5, 7),
        "a = MatMul (w1, x)\nh = Relu (a)\nz = MatMul (w2, h)\ny = Add (z, b2)",
        {"w1": (6, 5), "w2": (4, 6), "b2": (4, 1)},
    ),
    "gemm": Case(
        ROWS,
        (64, 5),
        "h = Gemm (x, w1, b1)\ny = Gemm <transB: int = 1, alpha: float = 0.5, beta: float = 2.0> (h, w2, b2)",
        {"w1": (5, 6), "b1": (6,), "w2": (4, 6), "b2": (4,)},
        1,
    ),
    "gemm without a bias": Case(ROWS, (64, 5), "h = Gemm (x, w1, b1)\ny = Gemm (h, w2)", {"w1": (5, 6), "b1": (6,), "w2": (6, 4)}, 1),
    "conv": Case(
        IMAGE,
        (8, 3, 9, 8),
        CONV + "y = Conv <strides: ints = [2, 1], dilations: ints = [1, 2]> (c, w2, b2)",
        {**MADE, "w2": (4, 6, 3, 2), "b2": (4,)},
    ),
    "conv, padded, relu": Case(
        IMAGE, (8, 3, 9, 8), CONV + "r = Relu (c)\ny = Conv <pads: ints = [1, 1, 1, 1]> (r, w2)", {**MADE, "w2": (4, 6, 3, 3)}
    ),
    "conv 1x1": Case(IMAGE, (8, 3, 9, 8), CONV + "y = Conv (c, w2)", {**MADE, "w2": (4, 6, 1, 1)}),
    "conv of one dimension": Case(
        "float[N, 3, 20] x",
        (16, 3, 20),
        'c = Conv (x, w1, b1)\nr = Relu (c)\ny = Conv <auto_pad: string = "SAME_UPPER"> (r, w2)',
        {"w1": (6, 3, 3), "b1": (6,), "w2": (4, 6, 5)},
    ),
    "flattened": Case(
        "float[N, 3, 4, 4] x",
        (64, 3, 4, 4),
        "c = Conv (x, w1, b1)\nf = Flatten (c)\ny = Gemm (f, w2, b2)",
        {**MADE, "w2": (24, 4), "b2": (4,)},
    ),
    "transposed conv": Case(
        IMAGE,
        (8, 3, 9, 8),
        CONV + "r = Relu (c)\ny = ConvTranspose <strides: ints = [2, 2]> (r, w2, b2)",
        {**MADE, "w2": (6, 4, 2, 2), "b2": (4,)},
    ),
    "transposed conv, overlapping": Case(
        IMAGE, (8, 3, 9, 8), CONV + "r = Relu (c)\ny = ConvTranspose <strides: ints = [2, 2]> (r, w2)", {**MADE, "w2": (6, 4, 3, 3)}
    ),
    "lstm": Case(
        "float[T, N, 5] x",
        (9, 8, 5),
        "a = MatMul (x, w1)\nh = Add (a, b1)\ny = LSTM <hidden_size: int = 3> (h, w2, r2, b2)",
        {"w1": (5, 6), "b1": (6,), "w2": (1, 12, 6), "r2": (1, 12, 3), "b2": (1, 24)},
        1,
    ),
    "gru of two directions": Case(
        "float[T, N, 5] x",
        (9, 8, 5),
        'a = MatMul (x, w1)\nh = Relu (a)\ny = GRU <hidden_size: int = 3, direction: string = "bidirectional"> (h, w2, r2)',
        {"w1": (5, 6), "w2": (2, 9, 6), "r2": (2, 9, 3)},
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_consumers_take_over(name: str) -> None:
    case = CASES[name]
    program = case.program()
    held_out = batches(case.shape, 1, seed=99)[0]
    plain, made_up = without(program, [1], None), without(program, [1], batches(case.shape))
    assert error(plain.program, program, held_out) > 0.05
    assert error(made_up.program, program, held_out) < 2e-3
    assert len(solved(made_up)) == 1
    assert sum(1 for _ in made_up.program.nodes()) == sum(1 for _ in program.nodes()) + (name == "matmul, no bias")


@pytest.mark.parametrize("name", ["conv, padded, relu", "conv 1x1"])
def test_wide_convolutions_are_solved_by_channels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As though one of a few channels were too wide for patches."""
    monkeypatch.setattr(find, "WIDEST", 2)
    assert patches.WIDEST == 4096
    case = CASES[name]
    program = case.program()
    held_out = batches(case.shape, 1, seed=99)[0]
    assert error(without(program, [1], batches(case.shape)).program, program, held_out) < 2e-3


def grouped() -> Program:
    """Two groups of three channels each; unit 1 is the second channel of both, twice the first one."""
    weights = drawn(0, w1=(6, 3, 3, 3), w2=(4, 3, 3, 3))
    for first in (0, 3):
        weights["w1"][first + 1] = 2 * weights["w1"][first]
    return program_of(
        f"{HEAD}\ng ({IMAGE}, WEIGHTS) => (float y) {{ c = Conv (x, w1)\nr = Relu (c)\ny = Conv <group: int = 2> (r, w2) }}", weights
    )


def test_groups_of_convolutions_are_solved_apart() -> None:
    program = grouped()
    made_up = without(program, [1], batches((8, 3, 9, 8)))
    assert program.value("w2").shape != made_up.program.value("w2").shape
    assert error(made_up.program, program, batches((8, 3, 9, 8), 1, seed=99)[0]) < 2e-3


def test_states_of_recurrent_layers() -> None:
    """Hidden unit 1 of an LSTM is a copy of unit 0: what it did to the gates goes to the copy, in the layer and behind it."""
    weights = drawn(0, w1=(1, 24, 4), r1=(1, 24, 6), b1=(1, 48), w2=(6, 3))
    for name, size in (("w1", 4), ("r1", 4), ("b1", 8)):
        gates = weights[name].reshape(1, size, 6, -1)
        gates[:, :, 1] = gates[:, :, 0]
    weights["r1"] /= 3
    program = program_of(
        f"{HEAD}\nl (float[T, N, 4] x, WEIGHTS) => (float y)\n"
        "{ h = LSTM <hidden_size: int = 6> (x, w1, r1, b1)\nf = Squeeze (h, axes)\ny = MatMul (f, w2) }",
        {**weights, "axes": np.array([1])},
    )
    held_out = batches((9, 8, 4), 1, seed=99)[0]
    plain, made_up = without(program, [1], None), without(program, [1], batches((9, 8, 4)))
    assert error(plain.program, program, held_out) > 0.1
    assert solved(made_up) == ["h", "y"]
    assert error(made_up.program, program, held_out) < 0.2 * error(plain.program, program, held_out)
    assert set(made_up.program.graph.initializers) == {"w1", "r1", "b1", "axes", "w2"}, "no bias is left that nothing reads"
