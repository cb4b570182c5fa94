"""Backward elimination: first costs against brute force, and what it does with units that say the same."""

from __future__ import annotations

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.passes.prune.importance.reconstruction import RIDGE
from tests.passes.prune.importance.support import context, conv_net, conv_weights, drawn, judged, only, two_layers

WEIGHTS = drawn(0, w1=(4, 6), b1=(6,), w2=(6, 3))
ROWS = [{"x": array} for array in drawn(5, a=(64, 4), b=(64, 4)).values()]


def hidden(weights: dict[str, np.ndarray]) -> np.ndarray:
    rows = np.concatenate([rows["x"] for rows in ROWS])
    return np.maximum(rows @ weights["w1"] + weights["b1"], 0).astype(np.float64)


def error_without(units: list[int], weights: dict[str, np.ndarray]) -> float:
    """Ridge regression of the output's change on the units that stay, as a share of the output's variance; the objective's value."""
    h = hidden(weights)
    centred = h - h.mean(0)
    covariance, w2 = centred.T @ centred / len(h), weights["w2"].astype(np.float64)
    ridged = covariance + RIDGE * np.trace(covariance) / 6 * np.eye(6)
    left = [unit for unit in range(6) if unit not in units]
    gone: np.ndarray = w2[units]
    inner, across, outer = (np.array(ridged[rows][:, columns]) for rows, columns in ((units, units), (units, left), (left, left)))
    solved: np.ndarray = np.linalg.solve(outer, across.T @ gone)
    return float(((gone * (inner @ gone)).sum() - (gone * (across @ solved)).sum()) / (w2 * (covariance @ w2)).sum())


def test_units_go_in_the_order_of_what_the_rest_cannot_make_up_for() -> None:
    found = only(judged(two_layers(WEIGHTS), "reconstruction", context(ROWS)))
    gone: list[int] = []
    worst = before = 0.0
    while len(gone) < 5:
        costs = {unit: error_without([*gone, unit], WEIGHTS) - before for unit in range(6) if unit not in gone}
        unit = min(costs, key=lambda unit: costs[unit])
        worst = max(worst, costs[unit])
        np.testing.assert_allclose(found[unit], worst, rtol=1e-4)
        gone.append(unit)
        before += costs[unit]


def test_of_two_equal_units_one_is_cheap() -> None:
    weights = {name: array.copy() for name, array in WEIGHTS.items()}
    weights["w1"][:, 1], weights["b1"][1], weights["w2"][1] = weights["w1"][:, 4], weights["b1"][4], 5.0
    found = only(judged(two_layers(weights), "reconstruction", context(ROWS)))
    assert min(found[1], found[4]) == found.min()
    assert min(found[1], found[4]) < 1e-3 * max(found[1], found[4])
    apart = only(judged(two_layers(weights), "activation", context(ROWS)))
    assert apart[1] > np.median(apart), "a criterion that looks at units one by one keeps both"


def test_convolutions_are_judged_by_their_channels() -> None:
    """Channels 0 and 3 of the hidden layer are the same up to a factor; the rest is not."""
    weights = conv_weights()
    for name in ("w1", "gamma", "beta", "mean", "var"):
        weights[name][3] = weights[name][0]
    weights["gamma"][3], weights["beta"][3] = 2 * weights["gamma"][0], 2 * weights["beta"][0]
    program, x = conv_net(weights), drawn(3, x=(8, 2, 6, 6))
    r = OrtExecutor().run(program, x, ["r"])["r"]
    np.testing.assert_allclose(r[:, 3], 2 * r[:, 0], rtol=1e-4, atol=1e-5)
    found = only(judged(program, "reconstruction", context([x])))
    assert min(found[0], found[3]) == found.min()
    assert min(found[0], found[3]) < 1e-3 * max(found[0], found[3])
