"""`equalize`: outputs stay, ranges of neighbouring layers become alike, and scales stop where they must."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.errors import PipelineError
from netwright.ir.program import array
from netwright.passes import Context, Outcome, run
from netwright.passes.quantize.equalizing import Equalize
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, reasons

UNEVEN = np.geomspace(1e-2, 1e2, 16).astype(np.float32)


def depthwise(activation: str = "Relu", *, twice: bool = False) -> Program:
    """Pointwise, depthwise, pointwise, with weights of very different sizes by channel; the middle may be read by two."""
    weights = {
        "w1": normal(16, 8, 1, 1, seed=1) * UNEVEN[:, None, None, None],
        "b1": normal(16, seed=2),
        "w2": normal(16, 1, 3, 3, seed=3) * UNEVEN[::-1, None, None, None],
        "b2": normal(16, seed=4),
        "w3": normal(8, 16, 1, 1, seed=5),
        "w4": normal(8, 16, 1, 1, seed=6),
    }
    last = "u = Conv (g, w4) y = Add (z, u)" if twice else "y = Relu (z)"
    return program_of(
        f"""{HEAD} depthwise (float[N, 8, 6, 6] x, WEIGHTS) => (float[N, 8, 6, 6] y)
        {{
            a = Conv (x, w1, b1)
            b = {activation} (a)
            c = Conv <group: int = 16, pads: ints = [1, 1, 1, 1]> (b, w2, b2)
            g = Relu (c)
            z = Conv (g, w3)
            {last}
        }}""",
        weights,
    )


def equalized(program: Program) -> Outcome:
    return run(program, [Equalize()], Context(), verify_each=True)


def peaks(program: Program, name: str, axis: int) -> np.ndarray:
    data = array(program.value(name))
    assert data is not None
    return np.abs(data).max(axis=tuple(one for one in range(data.ndim) if one != axis))


@pytest.mark.parametrize("twice", [False, True])
def test_a_depthwise_triple_gets_equal_ranges_and_the_same_outputs(twice: bool) -> None:
    program = depthwise(twice=twice)
    made = equalized(program).program
    first, middle = peaks(made, "w1", 0), peaks(made, "w2", 0)
    last = peaks(made, "w3", 1) if not twice else np.maximum(peaks(made, "w3", 1), peaks(made, "w4", 1))
    np.testing.assert_allclose(first, middle, rtol=1e-3)
    np.testing.assert_allclose(middle, last, rtol=1e-3)
    feeds = {"x": normal(2, 8, 6, 6)}
    (goal,), (found,) = evaluate(program, feeds), evaluate(made, feeds)
    assert np.abs(found - goal).max() < 1e-5 * np.abs(goal).max()


def test_a_bounded_activation_stops_scales_with_a_reason() -> None:
    outcome = equalized(depthwise("Sigmoid"))
    assert reasons(outcome)["a"] == "not equalized: Sigmoid %b (a bounded activation) also reads it, or stands between"
    assert [action.site for action in outcome.program.ledger.actions] == ["c"]


def test_products_with_biases_are_equalized_and_a_second_run_changes_nothing() -> None:
    weights = {"w1": normal(8, 16, seed=1) * UNEVEN, "b1": normal(16, seed=2), "w2": normal(16, 8, seed=3)}
    program = program_of(
        f"""{HEAD} products (float[N, 8] x, WEIGHTS) => (float[N, 8] y)
        {{ t = MatMul (x, w1) s = Add (t, b1) h = Relu (s) y = MatMul (h, w2) }}""",
        weights,
    )
    made = equalized(program).program
    np.testing.assert_allclose(peaks(made, "w1", 1), peaks(made, "w2", 0), rtol=1e-3)
    (goal,), (found,) = (evaluate(one, {"x": normal(5, 8)}) for one in (program, made))
    np.testing.assert_allclose(found, goal, rtol=1e-4, atol=1e-5)
    again = equalized(made)
    assert again.rows[-1].actions == 0
    assert "even already" in reasons(again)["t"]


def test_the_limit_is_kept_and_checked() -> None:
    program = depthwise()
    made = run(program, [Equalize(largest=2)], Context()).program
    ratio = peaks(made, "w1", 0) / peaks(program, "w1", 0)
    assert 0.5 - 1e-6 <= ratio.min() <= ratio.max() <= 2 + 1e-6
    with pytest.raises(PipelineError, match="over 1"):
        Equalize(largest=1)
