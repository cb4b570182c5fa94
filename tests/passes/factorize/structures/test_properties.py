"""What every decomposition promises, held against every kind of operator that it takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from netwright.passes.factorize.structures import STRUCTURES, Decomposition, Ranks, product
from netwright.passes.factorize.structures.sizes import rounded

from .operators import SHAPES, Known, operator

KNOWN: tuple[Known, ...] = ("none", "scales", "second", "channels")


def fits() -> list[tuple[str, str, Known]]:
    """Every structure with every operator that it takes."""
    found: list[tuple[str, str, Known]] = []
    for structure, decomposition in STRUCTURES.items():
        for name, (kind, _, _) in SHAPES.items():
            if decomposition.refusal(operator(name)) is None:
                cases = KNOWN if kind == "conv" else KNOWN[:3]
                for known in cases:
                    found.append((structure, name, known))
    return found


def decomposed(structure: str, name: str, known: Known) -> Decomposition:
    return STRUCTURES[structure](operator(name, known))


def chosen(decomposition: Decomposition) -> list[Ranks]:
    """Different ranks for several sizes, the smallest first."""
    whole = decomposition.operator.weight.size
    found = [decomposition.ranks_for(int(whole * share)) for share in (0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5)]
    return list(dict.fromkeys(ranks for ranks in found if ranks is not None))


@pytest.mark.parametrize(("structure", "name", "known"), fits())
def test_full_ranks_lose_nothing(structure: str, name: str, known: Known):
    decomposition = decomposed(structure, name, known)
    weight = decomposition.operator.weight
    found = product(decomposition.factors(decomposition.full), decomposition.operator)
    assert np.linalg.norm(found - weight) <= 1e-9 * np.linalg.norm(weight)
    assert decomposition.error(decomposition.full) <= 1e-12 * decomposition.operator.energy()


@pytest.mark.parametrize(("structure", "name", "known"), fits())
def test_errors_and_sizes_are_those_of_the_factors(structure: str, name: str, known: Known):
    decomposition = decomposed(structure, name, known)
    energy = decomposition.operator.energy()
    tried = chosen(decomposition)
    assert tried
    for ranks in tried:
        factors, shapes = decomposition.factors(ranks), decomposition.shapes(ranks)
        assert factors.structure == structure
        assert factors.ranks == ranks
        assert decomposition.parameters(ranks) == factors.parameters
        assert [stage.array.shape for stage in shapes.stages] == [stage.array.shape for stage in factors.stages]
        described = [(stage.groups, stage.spatial, stage.transposed, stage.dims, stage.perm) for stage in factors.stages]
        assert described == [(stage.groups, stage.spatial, stage.transposed, stage.dims, stage.perm) for stage in shapes.stages]
        carried = sorted(axis for stage in factors.stages for axis in stage.spatial)
        assert carried == list(range(len(decomposition.operator.kernel)))
        lost = decomposition.operator.energy(decomposition.operator.weight - product(factors, decomposition.operator))
        assert decomposition.error(ranks) == pytest.approx(lost, rel=1e-6, abs=1e-13 * energy)


@pytest.mark.parametrize(("structure", "name", "known"), fits())
def test_more_parameters_lose_less(structure: str, name: str, known: Known):
    decomposition = decomposed(structure, name, known)
    errors = [decomposition.error(ranks) for ranks in chosen(decomposition)]
    energy = decomposition.operator.energy()
    slack = 0.02 * energy if structure in ("cp", "tucker2", "kronecker", "tt") else 1e-12 * energy  # not nested: near the best only
    assert all(later <= earlier + slack for earlier, later in pairwise(errors))
    assert all(error <= energy * (1 + 1e-9) for error in errors)


@pytest.mark.parametrize(("structure", "name", "known"), [fit for fit in fits() if fit[2] in ("none", "second")])
def test_ranks_fit_into_the_parameters(structure: str, name: str, known: Known):
    decomposition = decomposed(structure, name, known)
    sizes = range(1, 3 * decomposition.operator.weight.size, 61)
    for round_to in (1, 2, 4):
        for parameters in sizes:
            ranks = decomposition.ranks_for(parameters, round_to)
            assert ranks is None or decomposition.parameters(ranks) <= parameters
            inner = ranks if structure != "kronecker" else (ranks or ())[:1]
            if structure != "expanded":
                assert all(rank == rounded(rank, round_to) for rank in inner or ())
    assert decomposition.ranks_for(0) is None


@pytest.mark.parametrize(("structure", "name"), sorted({(structure, name) for structure, name, _ in fits()}))
def test_shapes_take_no_memory(structure: str, name: str):
    decomposition = decomposed(structure, name, "none")
    for stage in decomposition.shapes(chosen(decomposition)[0]).stages:
        assert all(stride == 0 for stride, size in zip(stage.array.strides, stage.array.shape, strict=True) if size > 1)


def test_refusals_say_why():
    said = {structure: STRUCTURES[structure].refusal(operator("conv_groups")) for structure in STRUCTURES}
    assert said["tucker2"] == "Tucker-2 is of convolutions without groups; this one has 2"
    assert said["tt"] == "a tensor train is of products, not of the kind conv"
    assert said["low_rank"] is None
    assert said["expanded"] is None
