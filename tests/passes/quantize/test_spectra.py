"""A Fourier transform written as a convolution is told from a learnt filter bank."""

from __future__ import annotations

import pytest

from netwright.passes import Miss
from netwright.passes.quantize.planning import spectral, survey
from netwright.passes.quantize.sites import find_sites
from tests.passes.quantize.static_helpers import network, weights


@pytest.mark.parametrize(
    ("behind", "channels", "is_spectrum"),
    [
        ("r, i = Split <axis: int = 1, num_outputs: int = 2> (c)  a = Mul (r, r)  b = Mul (i, i)  s = Add (a, b)  y = Sqrt (s)", 1, True),
        ("t = Transpose <perm: ints = [0, 2, 1]> (c)  y = ReduceL2 (t)", 1, True),
        ("y = Relu (c)", 1, False),
        ("r = Mul (c, c)  y = Add (r, c)", 1, False),
        ("y = Mul (c, c)", 2, False),
    ],
)
def test_squares_of_a_signal(behind: str, channels: int, is_spectrum: bool) -> None:
    program = network(f"float[N, {channels}, T] x", f"c = Conv <strides: ints = [8]> (x, w)  {behind}", weights(w=(16, channels, 32)))
    (unit,) = survey(program, convolutions=True).units
    reason = spectral(unit)
    assert (reason is not None) == is_spectrum
    assert reason is None or "as those of a Fourier transform" in reason


def test_convolutions_are_sites_only_where_asked_for() -> None:
    program = network("float[N, 8, T] x", "y = Conv (x, w)", weights(w=(8, 8, 3)))
    assert [isinstance(found, Miss) for found in find_sites(program)] == [True]
    assert [isinstance(found, Miss) for found in find_sites(program, convolutions=True)] == [False]
