"""Small products of every kind, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from netwright.backends.cim.coding import checks
from netwright.backends.cim.coding.model import Coding, Converter, Disturbance, Masking


@dataclass(frozen=True)
class Case:
    """A product: inputs [N, K], weights [K, J], and how it is computed."""

    x: np.ndarray
    w: np.ndarray
    coding: Coding


@st.composite
def codings(draw: st.DrawFn, *, mode: str | None = None, noise: bool | None = None) -> Coding:
    """Every encoding × converter × slicing × mask, with small fields."""
    signed = draw(st.booleans())
    input_bits, digit_bits = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    if signed and (input_bits - 1) % digit_bits:
        digit_bits = 1
    low = draw(st.integers(-6, 5))
    converter = Converter(
        mode=mode or draw(st.sampled_from(["exact", "step", "clip", "range", "charge"])),  # pyright: ignore[reportArgumentType]
        bits=draw(st.integers(2, 9)),
        step=draw(st.integers(1, 9)),
        low=low,
        high=low + draw(st.integers(1, 60)),
    )
    masking = Masking(
        granularity=draw(st.sampled_from(["none", "pad", "row", "row_group", "plane", "plane_group"])),
        group=draw(st.integers(1, 5)),
        threshold=draw(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])),
        parasitic=draw(st.sampled_from([0, 100, 700])),
        fewer_bits=draw(st.booleans()),
    )
    noisy = draw(st.booleans()) if noise is None else noise
    deviations = st.sampled_from([(0.4, 0.0), (3.0, 0.1), (0.0, 0.2), (0.0, 0.0)])
    disturbance = (
        Disturbance(conversion=(pair := draw(deviations))[0], cell=pair[1], seed=draw(st.integers(0, 99)), stream=draw(st.integers(0, 9)))
        if noisy
        else None
    )
    return Coding(
        rows=draw(st.integers(1, 20)),
        input_bits=input_bits,
        input_signed=signed,
        digit_bits=digit_bits,
        weight_bits=draw(st.integers(2, 8)),
        cell_bits=draw(st.integers(1, 4)),
        encoding=draw(st.sampled_from(["offset", "differential", "twos_complement", "xnor"])),
        subtract=draw(st.sampled_from(["before", "after"])),
        converter=converter,
        masking=masking,
        noise=disturbance,
    )


@st.composite
def cases(draw: st.DrawFn, *, mode: str | None = None, noise: bool | None = None) -> Case:
    """A coding with inputs and weights that fit it; inputs from dense to all zeros."""
    coding = draw(codings(mode=mode, noise=noise))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    vectors, rows, outputs = draw(st.integers(0, 4)), draw(st.integers(1, 45)), draw(st.integers(1, 4))
    if coding.encoding == "xnor":
        return Case(rng.choice([-1, 1], (vectors, rows)).astype(np.int8), rng.choice([-1, 1], (rows, outputs)).astype(np.int8), coding)
    low, high = checks.input_bounds(coding)
    x = rng.integers(low, high + 1, (vectors, rows)).astype(np.int8 if coding.input_signed else np.uint8)
    x[rng.random(x.shape) < draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))] = 0
    half = 1 << (coding.weight_bits - 1)
    return Case(x, rng.integers(-half + (coding.encoding == "differential"), half, (rows, outputs)).astype(np.int8), coding)
