"""Random chains of stages, the weights that they are, and what a program computes before and after its weight becomes one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program, shapes
from netwright.ir.maps import Gone, Mapped
from netwright.ir.program import array
from netwright.ir.verify import verify
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering import lower, unlowerable
from netwright.passes.factorize.sites import FactorSite, as_one, find_factor_sites, joined, reads_as_stored
from tests.passes.programs import program_of

RNG = np.random.default_rng


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Normal numbers that keep the scale of what they multiply."""
    return RNG(seed).normal(size=shape) / np.sqrt(np.prod(shape[1:]))


def numbers(program: Program, name: str) -> np.ndarray:
    """An initializer's elements."""
    found = array(program.graph.initializers[name])
    assert found is not None
    return found


def low_rank(outputs: int, inputs: int, rank: int, groups: int = 1) -> Factors:
    """Two dense stages."""
    v, u = drawn(1, groups * rank, inputs), drawn(2, outputs, rank)
    return Factors("low_rank", (rank,), (Stage(v, groups), Stage(u, groups)))


def three(outputs: int, inputs: int, ranks: tuple[int, int]) -> Factors:
    """Three dense stages."""
    sizes = [inputs, *ranks, outputs]
    stages = tuple(Stage(drawn(number, size, before)) for number, (before, size) in enumerate(itertools.pairwise(sizes)))
    return Factors("three", ranks, stages)


def kronecker(a: tuple[int, int], b: tuple[int, int]) -> Factors:
    """W = A ⊗ B, [a0 · b0, a1 · b1]."""
    first = Stage(drawn(1, *b), dims=(a[1], b[1]), perm=(0, 1))
    last = Stage(drawn(2, *a), dims=(a[1], b[0]), perm=(1, 0))
    return Factors("kronecker", (), (first, last), dims=(b[0], a[0]), perm=(1, 0))


def train(rank: int) -> Factors:
    """A tensor train of [4 · 5 · 2, 3 · 4 · 2], whose middle stage multiplies two axes at once."""
    first = Stage(drawn(1, 4 * rank, 3), dims=(3, 8), perm=(1, 0))
    middle = Stage(drawn(2, 5 * rank, rank * 4), dims=(4, 2, 4, rank), perm=(1, 2, 3, 0))
    last = Stage(drawn(3, 2, rank * 2), dims=(2, 4, 5, rank), perm=(1, 2, 3, 0))
    return Factors("tt", (rank, rank), (first, middle, last))


def product(factors: Factors, inputs: int) -> np.ndarray:
    """W of a chain of products, [outputs, inputs]: what it makes of the unit vectors."""
    x = np.eye(inputs)
    for stage in factors.stages:
        if not stage.dims:
            x = x @ stage.array.T
            continue
        folded = x.reshape(inputs, *stage.dims).transpose(0, *(1 + axis for axis in stage.perm))
        x = (folded.reshape(inputs, -1, stage.array.shape[1]) @ stage.array.T).reshape(inputs, -1)
    if factors.dims:
        x = x.reshape(inputs, *factors.dims).transpose(0, *(1 + axis for axis in factors.perm)).reshape(inputs, -1)
    return x.T


def kernel(factors: Factors, spatial: int, groups: int, *, transposed: bool) -> np.ndarray:
    """W of a chain of convolutions, whose stages have taps along axes of their own, in the operator's layout."""
    whole: np.ndarray | None = None
    for stage in factors.stages:
        array = stage.array if stage.array.ndim > 2 else stage.array.reshape(*stage.array.shape, *(1,) * spatial)
        rows = array.shape[0] // stage.groups
        blocks = [array[group * rows : (group + 1) * rows] for group in range(stage.groups)]
        if stage.transposed:
            blocks = [block.swapaxes(0, 1) for block in blocks]
        outputs, inputs = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
        dense = np.zeros((outputs, inputs, *array.shape[2:]))
        for group, block in enumerate(blocks):
            o, i = block.shape[:2]
            dense[group * o : (group + 1) * o, group * i : (group + 1) * i] = block
        whole = dense if whole is None else (dense[:, :, None] * whole[None]).sum(axis=1)
    assert whole is not None
    o, i = (size // groups for size in whole.shape[:2])
    found = [whole[group * o : (group + 1) * o, group * i : (group + 1) * i] for group in range(groups)]
    return np.concatenate([block.swapaxes(0, 1) if transposed else block for block in found])


def site_of(program: Program, name: str = "w", *, recurrent: bool = True) -> FactorSite:
    """The site of this weight."""
    sites = [entry for entry in find_factor_sites(program, recurrent=recurrent) if isinstance(entry, FactorSite)]
    return next(site for site in sites if site.name == name)


def group_of(program: Program) -> FactorSite:
    """The first group of weights that could be joined, as one."""
    return as_one(joined([entry for entry in find_factor_sites(program) if isinstance(entry, FactorSite)])[0])


def run(program: Program, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Its outputs."""
    return OrtExecutor().run(program, feeds)


def check(
    text: str,
    shape: tuple[int, ...],
    factors: Factors,
    feeds: Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]],
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    shift: np.ndarray | None = None,
    shifted: Callable[[Program, np.ndarray], None] | None = None,
) -> tuple[Program, dict[str, Mapped]]:
    """Give the weight `w` the product of a chain, lower it, and compare: same outputs, true maps, a sound program, same output shapes.

    Args:
        text: of the program; WEIGHTS stands for its weights.
        shape: of `w`.
        factors: exact factors of the weight that the program is given.
        feeds: the inputs, or several of different sizes.
        weights: the others.
        shift: given to `lower`.
        shifted: puts the same shift into a program in another way.
    """
    others = dict(weights or {})
    probe = program_of(text, {"w": np.zeros(shape, np.float32), **others})
    site = site_of(probe)
    if site.kind in ("conv", "deconv"):
        weight = kernel(factors, len(shape) - 2, site.groups, transposed=site.kind == "deconv")
    elif site.kind == "state":
        blocks = [np.split(stage.array, site.groups) for stage in factors.stages]
        weight = np.concatenate([np.linalg.multi_dot([*(parts[d] for parts in reversed(blocks))]) for d in range(site.groups)])
    else:
        weight = product(factors, site.shape[1])
    if site.kind == "table" or (site.kind == "linear" and not any(reads_as_stored(r) for r in site.readers if r.kind == "linear")):
        weight = weight.T
    arrays = {"w": np.ascontiguousarray(weight.reshape(shape)).astype(np.float32), **others}
    original, program = program_of(text, arrays), program_of(text, arrays)
    if shifted is not None and shift is not None:
        shifted(original, shift)
    declared = [(value.name, value.dtype, str(value.shape)) for value in program.outputs]
    maps = lowered(program, site_of(program), factors, shift)
    assert not any(value.name == "w" for value in program.initializers())
    assert [(value.name, value.dtype, str(value.shape)) for value in program.outputs] == declared
    truths(program, arrays, maps)
    for given in [feeds] if isinstance(feeds, Mapping) else feeds:
        before, after = run(original, given), run(program, given)
        for name, expected in before.items():
            np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)
    return program, maps


def lowered(program: Program, site: FactorSite, factors: Factors, shift: np.ndarray | None = None) -> dict[str, Mapped]:
    """Lower a site; the program is sound afterwards. Returns the maps."""
    assert unlowerable(site, factors) is None
    with program.edit(by="0:factorize#1") as editor:
        lower(editor, site, factors, shift)
        maps = dict(editor.maps)
    verify(program)
    assert not shapes.infer(program)
    verify(program)
    assert all(value.shape is not None for node in program.graph for value in node.outputs if value.name)
    return maps


def truths(program: Program, old: Mapping[str, np.ndarray], maps: Mapping[str, Mapped]) -> None:
    """Each map gives the new weight from the old ones, or says that it is gone."""
    stored = {value.name: value for value in program.initializers()}
    assert maps
    for name, mapped in maps.items():
        if isinstance(mapped.map, Gone):
            continue
        tensor = stored[name].const_value
        assert tensor is not None
        found = mapped.map.apply(*(old[source] for source in mapped.sources))
        assert found.shape == tensor.numpy().shape
        np.testing.assert_allclose(found, tensor.numpy(), rtol=1e-2, atol=1e-3)
