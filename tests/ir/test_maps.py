"""The laws of value maps, on drawn maps and arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.ir.ledger import Action, Ledger
from netwright.ir.lineage import inverses, lineage
from netwright.ir.maps import (
    Affine,
    Cast,
    Chain,
    Concat,
    Factor,
    Gone,
    Mapped,
    Merge,
    Permute,
    Reshape,
    Same,
    Split,
    Take,
    ValueMap,
    from_dict,
    join,
)

Shape = tuple[int, ...]


def _array(shape: Shape, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@st.composite
def maps(draw: st.DrawFn, shape: Shape) -> tuple[ValueMap, Shape]:
    """A map of one array of this shape, and the shape that it gives."""
    kind = draw(st.sampled_from(["same", "take", "permute", "reshape", "affine", "split"]))
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    if kind == "take":
        index = draw(st.one_of(st.permutations(range(size)), st.lists(st.integers(0, size - 1), min_size=1, max_size=size)))
        return Take(axis, tuple(index), size), (*shape[:axis], len(index), *shape[axis + 1 :])
    if kind == "permute":
        perm = tuple(draw(st.permutations(range(len(shape)))))
        return Permute(perm), tuple(shape[i] for i in perm)
    if kind == "reshape":
        new = draw(st.sampled_from([(int(np.prod(shape)),), (1, *shape), (*shape, 1), shape[::-1]]))
        return Reshape(new, shape), new
    if kind == "affine":
        scale = draw(st.sampled_from([1.0, -2.0, 0.5, 0.0]))
        vector = np.linspace(0.5, 2.0, shape[-1])
        return Affine(draw(st.sampled_from([scale, vector])), draw(st.sampled_from([0.0, 3.0, vector]))), shape
    if kind == "split" and size > 1:
        part = draw(st.integers(0, 1))
        sizes = (1, size - 1)
        return Split(axis, sizes, part), (*shape[:axis], sizes[part], *shape[axis + 1 :])
    return Same(), shape


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[ValueMap], np.ndarray]:
    shape: Shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    array = _array(shape, draw(st.integers(0, 99)))
    links: list[ValueMap] = []
    for _ in range(draw(st.integers(1, 5))):
        link, shape = draw(maps(shape))
        links.append(link)
    return links, array


@settings(max_examples=300, deadline=None)
@given(chains())
def test_composing_maps_is_applying_one_after_the_other(drawn: tuple[list[ValueMap], np.ndarray]) -> None:
    links, array = drawn
    composed: ValueMap = Same()
    expected = array
    for link in links:
        composed = composed.then(link)
        expected = link.apply(expected)
    np.testing.assert_allclose(composed.apply(array), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=300, deadline=None)
@given(chains())
def test_what_has_an_inverse_comes_back(drawn: tuple[list[ValueMap], np.ndarray]) -> None:
    links, array = drawn
    composed: ValueMap = Same()
    for link in links:
        composed = composed.then(link)
    back = composed.invert(composed.apply(array))
    if back is None:
        assert any(link.inverse() is None for link in links)
        return
    np.testing.assert_allclose(back, array, rtol=1e-4, atol=1e-4)


@settings(max_examples=200, deadline=None)
@given(chains())
def test_maps_go_to_json_and_back(drawn: tuple[list[ValueMap], np.ndarray]) -> None:
    links, array = drawn
    composed: ValueMap = Same()
    for link in links:
        composed = composed.then(link)
    again = from_dict(json.loads(json.dumps(composed.to_dict())))
    assert again == composed
    assert hash(again) == hash(composed)
    np.testing.assert_array_equal(again.apply(array), composed.apply(array))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_a_concatenation_comes_apart_again_through_joined_maps(a: int, b: int, seed: int) -> None:
    left, right = _array((a, 4), seed), _array((4, b), seed + 1)
    joined = join(Concat(0, (a, b)), [Affine(2.0, 1.0), Permute((1, 0))]).then(Permute((1, 0)))
    result = joined.apply(left, right)
    np.testing.assert_allclose(result, np.concatenate([left * 2 + 1, right.T]).T)
    back = joined.invert(result)
    assert isinstance(back, tuple)
    np.testing.assert_allclose(back[0], left, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(back[1], right)


def test_neighbours_of_one_kind_become_one_map() -> None:
    assert Take(0, (2, 0), 3).then(Take(0, (1,), 2)) == Take(0, (0,), 3)
    assert Permute((1, 2, 0)).then(Permute((2, 0, 1))) == Same()
    assert Reshape((6,), (2, 3)).then(Reshape((3, 2), (6,))) == Reshape((3, 2), (2, 3))
    assert Affine(2.0, 1.0).then(Affine(3.0, 1.0)) == Affine(6.0, 4.0)
    assert isinstance(Take(0, (0,), 2).then(Take(1, (0,), 2)), Chain)


def test_what_is_gone_stays_gone() -> None:
    gone = Gone("dead code")
    assert Same().then(gone).then(Permute((0,))) == gone
    assert gone.invert(np.zeros(1)) is None
    with pytest.raises(ValueError, match="dead code"):
        gone.apply(np.zeros(1))


def test_pruned_slices_do_not_come_back_but_can_be_put_into_the_old_array() -> None:
    old = _array((4, 3), 0)
    keep = Take(0, (0, 2), 4)
    assert keep.invert(keep.apply(old)) is None
    assert keep.describe() == "take axis 0 keep 2 of 4"
    put = keep.put(keep.apply(old) * 2, old)
    np.testing.assert_allclose(put[[0, 2]], old[[0, 2]] * 2)
    np.testing.assert_array_equal(put[[1, 3]], old[[1, 3]])


def test_quantization_is_reconstructed_but_not_inverted() -> None:
    weights = _array((4, 6), 1)
    per_channel = Cast("int8", "float32", np.abs(weights).max(axis=1) / 127, np.zeros(4), axis=0)
    quantized = per_channel.apply(weights)
    assert quantized.dtype == np.int8
    assert per_channel.invert(quantized) is None
    np.testing.assert_allclose(per_channel.reconstruct(quantized), weights, atol=float(np.abs(weights).max()) / 127)
    blocks = Cast("int8", "float32", np.full((4, 2), 0.02), 0, axis=1, block_size=4)
    np.testing.assert_allclose(blocks.reconstruct(blocks.apply(weights)), weights, atol=0.011)


def test_only_widening_casts_have_an_inverse() -> None:
    assert Cast("float64", "float32").inverse() == Cast("float32", "float64")
    assert Cast("float16", "float32").inverse() is None
    assert Cast("bfloat16").apply(np.ones(2, np.float32)).dtype.name == "bfloat16"


def test_two_factors_of_full_rank_merge_into_the_matrix() -> None:
    matrix = _array((5, 3), 2)
    u, v = Factor("u", 3).apply(matrix), Factor("v", 3).apply(matrix)
    np.testing.assert_allclose(Merge().apply(u, v), matrix, atol=1e-5)
    assert Factor("u", 2).describe() == "take U rank 2"


def _ledger(*steps: dict[str, Mapped]) -> Ledger:
    return Ledger([Action(f"0:test#{i}", 0, "test", "y", i, "", maps) for i, maps in enumerate(steps)])


def test_lineage_composes_through_the_ledger() -> None:
    ledger = _ledger(
        {"qkv": Mapped(Concat(0, (2, 2)), ("q", "k"))},
        {"other": Mapped(Same(), ("x",))},
        {"qkv.t": Mapped(Permute((1, 0)), ("qkv",))},
    )
    found = lineage(ledger, "qkv.t")
    q, k = _array((2, 3), 0), _array((2, 3), 1)
    assert found.sources == ("q", "k")
    np.testing.assert_array_equal(found.map.apply(q, k), np.concatenate([q, k]).T)
    assert lineage(ledger, "untouched") == Mapped(Same(), ("untouched",))


def test_a_parameter_comes_back_from_its_parts_and_a_pruned_one_is_refused_by_name() -> None:
    ledger = _ledger(
        {"w.t": Mapped(Permute((1, 0)), ("w",)), "p": Mapped(Take(0, (0,), 3), ("v",))},
        {"w.0": Mapped(Split(0, (1, 2), 0), ("w.t",)), "w.1": Mapped(Split(0, (1, 2), 1), ("w.t",))},
        {"w.1": Mapped(Affine(2.0), ("w.1",)), "ab": Mapped(Concat(0, (1, 1)), ("a", "b"))},
        {"m.u": Mapped(Factor("u", 2), ("m",)), "m.v": Mapped(Factor("v", 2), ("m",))},
    )
    back = inverses(ledger, ["w.0", "w.1", "p", "ab", "m.v", "m.u"])
    w = _array((2, 3), 3)
    parts = {"w.0": w.T[:1], "w.1": w.T[1:] * 2}
    assert back.known["w"].sources == ("w.0", "w.1")
    np.testing.assert_allclose(back.known["w"].map.apply(*(parts[name] for name in back.known["w"].sources)), w)
    assert back.known["b"] == Mapped(Split(0, (1, 1), 1), ("ab",))
    assert back.known["m"] == Mapped(Merge(), ("m.u", "m.v"))
    assert list(back.refused) == ["v"]
    assert "keep 1 of 3" in back.refused["v"]
