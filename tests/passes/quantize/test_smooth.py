"""`smooth`: outputs stay, 8 bits resolve more, factors go where they cost nothing."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import PipelineError, PlanError
from netwright.passes import Context, Outcome, Plan, run
from netwright.passes.plan import Decision
from netwright.passes.quantize import Quantize
from netwright.passes.quantize.equalizing import Smooth
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops, reasons

PEAKS = np.where(np.arange(96) % 16 == 3, 40, 1).astype(np.float32)
"""Channels of which every sixteenth is an outlier."""


def branched(*, read_elsewhere: bool) -> Program:
    """Two products that read a normalization with outlier channels, and, where asked for, a residual beside them."""
    weights = {
        "gamma": PEAKS,
        "beta": normal(96, seed=5),
        "q": normal(96, 128, seed=1),
        "k": normal(96, 128, seed=2),
        "bias": normal(128, seed=3),
        "o": normal(128, 96, seed=4),
    }
    last = "y = Add (o1, n)" if read_elsewhere else "y = Add (o1, x)"
    return program_of(
        f"""{HEAD} branched (float[N, T, 96] x, WEIGHTS) => (float[N, T, 96] y)
        {{
            n = LayerNormalization (x, gamma, beta)
            q1 = MatMul (n, q)
            k1 = MatMul (n, k)
            kb = Add (k1, bias)
            s = Mul (q1, kb)
            o1 = MatMul (s, o)
            {last}
        }}""",
        weights,
    )


def batches(count: int = 4) -> list[dict[str, np.ndarray]]:
    return [{"x": normal(2, 24, 96, seed=seed)} for seed in range(count)]


def smoothed(program: Program, **options: object) -> Outcome:
    context = Context(calibration=batches(), executor=OrtExecutor())
    return run(program, [Smooth(**options)], context, verify_each=True)  # type: ignore[arg-type]


def error(program: Program, reference: Program) -> float:
    feeds = {"x": normal(2, 24, 96, seed=77)}
    goal, found = evaluate(reference, feeds)[0], evaluate(program, feeds)[0]
    return float(np.linalg.norm(found - goal) / np.linalg.norm(goal))


@pytest.mark.parametrize("read_elsewhere", [True, False])
def test_outputs_stay_and_dynamic_integers_lose_less(read_elsewhere: bool) -> None:
    program = branched(read_elsewhere=read_elsewhere)
    plain = run(program, [Quantize(scheme="dynamic")], Context()).program
    outcome = smoothed(program)
    assert error(outcome.program, program) < 1e-5
    assert "n" in outcome.plans[0].decisions
    after = run(outcome.program, [Quantize(scheme="dynamic")], Context()).program
    assert ops(after).count("MatMulInteger") == 3
    assert error(after, program) < 0.7 * error(plain, program)


def test_factors_go_into_a_normalization_that_nothing_else_reads_and_into_a_mul_elsewhere() -> None:
    alone, shared = (smoothed(branched(read_elsewhere=flag), exclude="s").program for flag in (False, True))
    assert ops(alone) == ops(branched(read_elsewhere=False))
    gamma = evaluate(alone, batches()[0], ["n"])[0]
    assert np.abs(gamma).max() < 20
    assert ops(shared).count("Mul") == ops(alone).count("Mul") + 1
    assert np.array_equal(evaluate(shared, batches()[0], ["n"])[0], evaluate(branched(read_elsewhere=True), batches()[0], ["n"])[0])


def test_a_gate_takes_the_scale_of_its_product_through_its_bias() -> None:
    program = branched(read_elsewhere=False)
    plan = Plan(pass_name="smooth", fingerprint=smoothed(program).plans[0].fingerprint, decisions={"s": _exponents(128)})
    made = run(program, [Smooth()], Context(plans={"smooth": plan})).program
    assert ops(made) == ops(program)
    np.testing.assert_array_equal(
        evaluate(made, batches()[0], ["kb"])[0] * 2.0 ** (np.arange(128) % 3), evaluate(program, batches()[0], ["kb"])[0]
    )
    assert error(made, program) < 1e-6


def test_a_weight_read_by_another_is_left_with_a_reason() -> None:
    program = program_of(
        f"{HEAD} tied (float[N, 96] x, WEIGHTS) => (float[N, 96] y) {{ a = MatMul (x, w)  b = Relu (a)  y = MatMul (b, w) }}",
        {"w": normal(96, 96)},
    )
    outcome = run(program, [Smooth()], Context(calibration=[{"x": normal(8, 96)}] * 2, executor=OrtExecutor()))
    assert reasons(outcome)["x"] == "left as it is: its weight %w is also read by MatMul %y"


def test_even_channels_are_left_with_numbers() -> None:
    program = program_of(f"{HEAD} even (float[N, 96] x, WEIGHTS) => (float[N, 96] y) {{ y = MatMul (x, w) }}", {"w": normal(96, 96)})
    outcome = run(program, [Smooth()], Context(calibration=[{"x": normal(64, 96, seed=s)} for s in range(2)], executor=OrtExecutor()))
    assert "which is not under 0.9 of it" in reasons(outcome)["x"]


def test_a_recurrent_layers_input_is_smoothed() -> None:
    weights = {"gamma": PEAKS, "beta": normal(96, seed=5), "w": normal(1, 128, 96, seed=1), "r": normal(1, 128, 32, seed=2) / 8}
    program = program_of(
        f"""{HEAD} lstm (float[T, N, 96] x, WEIGHTS) => (float[T, D, N, 32] y)
        {{ n = LayerNormalization (x, gamma, beta)  y = LSTM <hidden_size: int = 32> (n, w, r) }}""",
        weights,
    )
    outcome = smoothed(program)
    assert "n" in outcome.plans[0].decisions
    assert error(outcome.program, program) < 1e-5


def test_options_and_plans_are_checked() -> None:
    for options in ({"alpha": 1.5}, {"scheme": "weights"}, {"bits": 9}):
        with pytest.raises(PipelineError):
            Smooth(**options)  # type: ignore[arg-type]
    program = branched(read_elsewhere=True)
    plan = smoothed(program).plans[0]
    wrongs: dict[str, Decision] = {"elsewhere": _exponents(96), "n": _exponents(95), "s": {"scheme": "smooth", "exponents": [0.5]}}
    for name, decision in wrongs.items():
        wrong = Plan(pass_name="smooth", fingerprint=plan.fingerprint, decisions={name: decision})
        with pytest.raises(PlanError):
            run(program, [Smooth()], Context(plans={"smooth": wrong}))


def _exponents(channels: int) -> Decision:
    return {"scheme": "smooth", "exponents": [index % 3 for index in range(channels)]}
