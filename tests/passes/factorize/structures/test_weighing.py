"""What is known of the inputs lowers the error on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netwright.passes.factorize.operator import Operator
from netwright.passes.factorize.structures import STRUCTURES, product
from netwright.passes.factorize.structures.base import Ranks

from .operators import Known, operator

KNOWN: tuple[Known, ...] = ("scales", "second")


def skewed(outputs: int, inputs: int, seed: int = 0) -> Operator:
    """A random weight on inputs whose deviations go over two decades, in directions of their own."""
    generator = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(generator.standard_normal((inputs, inputs)))
    second = (turned * np.geomspace(1, 1e-4, inputs)) @ turned.T
    return Operator("linear", generator.standard_normal((outputs, inputs)), second=second[None])


@pytest.mark.parametrize(("outputs", "inputs"), [(48, 48), (64, 40), (40, 64)])
def test_low_rank_loses_the_dropped_singular_values_of_the_whitened_weight(outputs: int, inputs: int):
    whole = skewed(outputs, inputs)
    assert whole.second is not None
    second: np.ndarray = whole.second[0]
    dropped = np.linalg.svd(np.matmul(whole.weight, np.linalg.cholesky(second)), compute_uv=False)
    decomposition = STRUCTURES["low_rank"](whole)
    for rank in (1, 12, 30):
        assert decomposition.error((rank,)) == pytest.approx(float((dropped[rank:] ** 2).sum()), rel=1e-8)


def test_plain_then_scales_then_moments():
    """Rank 12 of 48 on skewed activations: what is left of the output, by what is known of its inputs."""
    whole = skewed(48, 48)
    assert whole.second is not None
    scales = np.sqrt(np.diagonal(whole.second, axis1=1, axis2=2))
    versions = [replace(whole, second=None), replace(whole, second=None, scales=scales**2), whole]
    left: list[float] = []
    for version in versions:
        kept = product(STRUCTURES["low_rank"](version).factors((12,)), whole)
        left.append((whole.energy(whole.weight - kept) / whole.energy()) ** 0.5)
    assert left[2] < 0.5 * min(left[0], left[1])


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize(
    ("structure", "name", "ranks"),
    [
        ("low_rank", "conv_groups", (2,)),
        ("low_rank", "state", (3,)),
        ("tucker2", "conv", (4, 3)),
        ("spatial", "conv", (5,)),
        ("cp", "conv", (9,)),
        ("tt", "large", (8,)),
        ("kronecker", "large", (8, 4, 9)),
    ],
)
def test_weighing_beats_the_plain_decomposition(structure: str, name: str, ranks: Ranks, known: Known):
    whole = operator(name, known)
    plain = product(STRUCTURES[structure](replace(whole, second=None, scales=None)).factors(ranks), whole)
    assert STRUCTURES[structure](whole).error(ranks) < 0.98 * whole.energy(whole.weight - plain)


def test_a_channels_moment_is_that_of_independent_taps():
    for name in ("conv", "conv_groups", "conv_1d"):
        whole = operator(name, "channels")
        assert whole.second is not None
        width = whole.matrices().shape[2]
        patches = np.einsum("gij,st->gisjt", whole.second, np.eye(whole.taps)).reshape(-1, width, width)
        np.testing.assert_allclose(whole.gram(), replace(whole, second=patches).gram())
        assert whole.energy() == pytest.approx(replace(whole, second=patches).energy())


def test_inputs_that_were_never_seen_do_no_harm():
    """Thirty rows of data for 48 inputs: the moment has no inverse."""
    generator = np.random.default_rng(0)
    data = generator.standard_normal((30, 48))
    whole = Operator("linear", generator.standard_normal((64, 48)), second=(data.T @ data / 30)[None])
    for structure in ("low_rank", "low_rank3", "tt", "kronecker"):
        decomposition = STRUCTURES[structure](whole)
        np.testing.assert_allclose(product(decomposition.factors(decomposition.full), whole), whole.weight, atol=1e-8)
    assert STRUCTURES["low_rank"](whole).error((30,)) <= 1e-9 * whole.energy()
