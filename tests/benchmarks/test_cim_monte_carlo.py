"""The vectorised random products are what the engines compute."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._cim_monte_carlo import draw, enabled, measure
from netwright.backends.cim import engines
from netwright.backends.cim.arch.model import Granularity
from netwright.backends.cim.coding.model import Coding, Converter, Masking


@pytest.mark.parametrize(("granularity", "group"), [("none", 1), ("row", 1), ("plane", 1), ("row_group", 8), ("plane_group", 8)])
def test_engines_agree(granularity: Granularity, group: int) -> None:
    drawn = draw(np.random.default_rng(0), 256, 0.5, vectors=16, outputs=8)
    name = f"{granularity}/{group}" if group > 1 else granularity
    found = measure(drawn, 6, ((granularity, group),))[name]
    masking = Masking(granularity=granularity, group=group, threshold=0.0)
    coding = Coding(rows=256, converter=Converter(mode="charge", bits=6), masking=masking)
    outcome = engines.prepare(drawn.weights, coding).multiply(drawn.inputs)
    exact = drawn.inputs.astype(np.int64) @ drawn.weights.astype(np.int64)
    noise = float(((outcome.values - exact) ** 2).sum())
    assert 10 * np.log10((exact.astype(float) ** 2).sum() / noise) == pytest.approx(found.specified, abs=0.01)
    on = enabled(drawn.inputs, granularity, group)
    assert outcome.counts.enabled == on.sum() * 8 * 8
    assert outcome.counts.charge > 0


def test_zeros_come_in_runs() -> None:
    drawn = draw(np.random.default_rng(0), 90, 0.7, vectors=200, outputs=1, run=9)
    runs = (drawn.inputs.reshape(200, 10, 9) != 0).sum(axis=2)
    assert ((runs == 0) | (runs > 5)).mean() > 0.99
    assert (drawn.inputs == 0).mean() == pytest.approx(0.7, abs=0.05)
