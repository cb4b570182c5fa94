"""The sparse optimizer on plain arrays: no model, no torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from netwright.training import TrainingError
from netwright.training.sparse import SparseDescent, SparseSettings
from netwright.training.sparse.settings import Base, Method
from tests.netwright.training.sparse.problems import ACTIVE, COLUMNS, LeastSquares, least_squares

STEPS = 1200
LR: dict[Base, float] = {"sgd": 0.05, "momentum": 0.005, "adamw": 0.01}
PENALTY: dict[Method, float] = {"cumulative": 0.1, "proximal": 0.1, "hard": 0.01}


def minimised(problem: LeastSquares, settings: SparseSettings, *, steps: int = STEPS, noisy: bool = True) -> np.ndarray:
    """Where stochastic gradients lead."""
    rng = np.random.default_rng(1)
    descent = SparseDescent(settings, lr=LR[settings.base], steps=steps)
    w = 0.1 * rng.normal(size=COLUMNS).astype(problem.a.dtype)
    for _ in range(steps):
        w = descent.step(w, problem.noisy_gradient(w, rng) if noisy else problem.gradient(w))
    return w


@pytest.mark.parametrize("base", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("method", ["cumulative", "hard"])
def test_a_preset_share_of_zeros_is_reached_exactly_and_the_known_support_is_found(method: Method, base: Base) -> None:
    problem = least_squares()
    w = minimised(problem, SparseSettings(method=method, base=base, sparsity=1 - ACTIVE / COLUMNS))
    assert np.array_equal(w != 0, problem.true != 0)
    assert np.abs(w - problem.true).max() < 0.01


@pytest.mark.parametrize(
    ("method", "base"), [("cumulative", "adamw"), ("proximal", "momentum"), ("hard", "adamw"), ("cumulative", "momentum")]
)
def test_a_preset_penalty_finds_the_support_too(method: Method, base: Base) -> None:
    problem = least_squares()
    w = minimised(problem, SparseSettings(method=method, base=base, penalty=PENALTY[method]))
    assert np.array_equal(w != 0, problem.true != 0)
    assert np.abs(w - problem.true).max() < 0.01


def test_what_noise_does_to_the_proximal_step_it_does_not_do_to_the_cumulative_one() -> None:
    problem = least_squares()
    zeros = {
        method: int((minimised(problem, SparseSettings(method=method, base="sgd", penalty=0.1, settle=0)) == 0).sum())
        for method in ("cumulative", "proximal")
    }
    assert zeros["cumulative"] == COLUMNS - ACTIVE
    assert zeros["proximal"] < zeros["cumulative"] - 5


def test_a_subgradient_of_l1_gives_no_zero_at_all() -> None:
    problem, rng = least_squares(), np.random.default_rng(1)
    w = 0.1 * rng.normal(size=COLUMNS)
    for _ in range(STEPS):
        w = w - LR["sgd"] * (problem.noisy_gradient(w, rng) + 0.1 * np.sign(w))
    assert not (w == 0).any()


def test_it_is_the_update_of_the_paper() -> None:
    """Tsuruoka, Tsujii and Ananiadou (2009), figure 2, number by number."""
    problem, rng = least_squares(), np.random.default_rng(2)
    start = 0.3 * rng.normal(size=COLUMNS)
    lr, penalty = 0.03, 0.2
    descent = SparseDescent(SparseSettings(penalty=penalty, base="sgd"), lr=lr)
    w, expected = start.copy(), start.copy()
    u, q = 0.0, np.zeros(COLUMNS)
    for _ in range(200):
        gradient = problem.noisy_gradient(w, np.random.default_rng(3))
        w = descent.step(w, gradient)
        u += lr * penalty
        for i in range(COLUMNS):
            half = expected[i] - lr * gradient[i]
            if half > 0:
                expected[i] = max(0.0, half - (u + q[i]))
            elif half < 0:
                expected[i] = min(0.0, half + (u - q[i]))
            else:
                expected[i] = half
            q[i] += expected[i] - half
    np.testing.assert_allclose(w, expected, atol=1e-12)
    assert np.array_equal(w == 0, expected == 0)
    assert 0 < (w == 0).sum() < COLUMNS


def test_the_penalty_stays_outside_the_moments() -> None:
    """Moments depend on the gradients alone: those of a heavy penalty are those of none."""
    gradients = np.random.default_rng(0).normal(size=(20, COLUMNS))
    moments: dict[Base, tuple[str, ...]] = {"momentum": ("momentum",), "adamw": ("mean", "square")}
    for base, names in moments.items():
        states = list[dict[str, np.ndarray]]()
        for penalty in (1e-12, 100.0):
            descent = SparseDescent(SparseSettings(penalty=penalty, base=base), lr=0.01)
            w = np.ones(COLUMNS)
            for gradient in gradients:
                w = descent.step(w, gradient)
            states.append(descent.state_dict()["state"])  # pyright: ignore[reportArgumentType]
        for name in names:
            assert np.array_equal(states[0][name], states[1][name])
        assert not np.array_equal(states[0]["received"], states[1]["received"])


def test_a_zero_stays_one_until_its_gradients_have_outweighed_what_it_is_owed() -> None:
    descent = SparseDescent(SparseSettings(penalty=1.0, base="sgd"), lr=0.1)
    w = np.array([0.05])
    w = descent.step(w, np.array([0.0]))
    assert w[0] == 0
    steps = 0
    while w[0] == 0 and steps < 100:
        w = descent.step(w, np.array([-1.5]))
        steps += 1
    assert steps == 2, "0.15 a step against 0.1 a step, and 0.05 owed from the first"


def test_what_was_laid_on_never_shrinks_and_the_share_of_zeros_follows_the_ramp() -> None:
    problem, rng = least_squares(), np.random.default_rng(1)
    settings = SparseSettings(sparsity=0.9, base="sgd", begin=0.1, ramp=0.5, settle=0.2)
    descent = SparseDescent(settings, lr=0.05, steps=100)
    w, laid, zeros = 0.1 * rng.normal(size=COLUMNS), list[float](), list[int]()
    for _ in range(100):
        w = descent.step(w, problem.noisy_gradient(w, rng))
        laid.append(float(str(descent.state_dict()["laid"])))
        zeros.append(int((w == 0).sum()))
    assert laid == sorted(laid)
    assert zeros[:9] == [0] * 9
    assert zeros[34] >= 0.7 * 54
    assert min(zeros[60:]) >= 54
    assert descent.settled


def test_in_the_end_zeros_stay_and_nothing_is_penalised() -> None:
    settings = SparseSettings(penalty=1.0, base="sgd", begin=0, ramp=0, settle=0.5)
    descent = SparseDescent(settings, lr=0.1, steps=4)
    w = np.array([0.05, 3.0])
    for _ in range(2):
        w = descent.step(w, np.zeros(2))
    assert w.tolist() == [0.0, pytest.approx(2.8)]
    assert descent.settled
    w = descent.step(w, np.array([-50.0, 1.0]))
    assert w.tolist() == [0.0, pytest.approx(2.7)]


def test_zeros_have_no_sign() -> None:
    descent = SparseDescent(SparseSettings(penalty=10.0, base="sgd"), lr=0.1)
    w = descent.step(np.array([-0.05, 0.05], np.float32), np.zeros(2, np.float32))
    assert w.tobytes() == bytes(8)
    assert w.dtype == np.float32


@pytest.mark.parametrize("settings", [SparseSettings(sparsity=0.8), SparseSettings(sparsity=0.8, method="proximal", base="momentum")])
def test_it_goes_on_bit_for_bit(settings: SparseSettings) -> None:
    problem = least_squares(dtype="float32")
    gradient = problem.gradient

    def run(w: np.ndarray, descent: SparseDescent, steps: int) -> np.ndarray:
        for _ in range(steps):
            w = descent.step(w, gradient(w))
        return w

    start = np.random.default_rng(1).normal(size=COLUMNS).astype(np.float32)
    first = SparseDescent(settings, lr=0.01, steps=60)
    halfway = run(start, first, 30)
    saved = first.state_dict()
    whole = run(halfway, first, 30)
    second = SparseDescent(settings, lr=0.01, steps=60)
    second.load_state_dict(saved)
    assert run(halfway, second, 30).tobytes() == whole.tobytes()


def test_the_callers_arrays_stay_as_they_are() -> None:
    w, g = np.ones(4), np.ones(4)
    SparseDescent(SparseSettings(penalty=1.0), lr=0.1).step(w, g)
    assert (w == 1).all()
    assert (g == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither a penalty nor a share of zeros"),
        ({"penalty": 1.0, "sparsity": 0.5}, "both a penalty and a share of zeros"),
        ({"penalty": 0.0}, "penalty is 0.0"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"sparsity": True}, "sparsity is True"),
        ({"penalty": 1.0, "method": "soft"}, r"method is 'soft'.*cumulative, proximal, hard"),
        ({"penalty": 1.0, "base": "adam"}, r"base is 'adam'.*adamw, momentum, sgd"),
        ({"penalty": 1.0, "ramp": 0.8, "settle": 0.4}, "together 1 at the most"),
        ({"penalty": 1.0, "begin": -0.1}, "begin is -0.1"),
        ({"penalty": 1.0, "momentum": 1.0}, "momentum is 1.0"),
        ({"sparsity": 0.5}, r"over so many steps.*Give steps="),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        SparseDescent(SparseSettings(**options), lr=0.1)  # pyright: ignore[reportArgumentType]


def test_arrays_that_do_not_fit_and_foreign_states_are_refused() -> None:
    descent = SparseDescent(SparseSettings(penalty=1.0), lr=0.1)
    with pytest.raises(TrainingError, match=r"\(3,\) parameters and \(4,\) gradients"):
        descent.step(np.ones(3), np.ones(4))
    with pytest.raises(TrainingError, match="no state of a SparseDescent"):
        descent.load_state_dict({"step": 3})


def test_torch_is_not_loaded() -> None:
    code = (
        "import sys, numpy as np; from netwright.training.sparse import SparseDescent, SparseSettings; "
        "SparseDescent(SparseSettings(penalty=1.0), lr=0.1).step(np.ones(3), np.ones(3)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
