"""How matrices are cut and copied: against every other way."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.mapping.duplication import Layer, copies_of
from netwright.backends.cim.mapping.units import pattern_of
from netwright.ir.errors import UnsupportedModelError
from tests.backends.cim.mapping.graphs import CODING, small_arch

LAYERS = st.lists(
    st.builds(Layer, arrays=st.integers(1, 4), row_ns=st.floats(0.5, 9).map(lambda ns: round(ns, 2)), extent=st.integers(1, 5)),
    min_size=1,
    max_size=3,
)


@given(LAYERS, st.integers(1, 24))
def test_no_other_copies_make_the_slowest_layer_faster(layers: list[Layer], arrays: int) -> None:
    found = copies_of(layers, arrays)
    slowest = max(layer.time_ns(copies) for layer, copies in zip(layers, found, strict=True))
    for other in product(*(range(1, layer.extent + 1) for layer in layers)):
        if sum(layer.arrays * copies for layer, copies in zip(layers, other, strict=True)) <= arrays:
            assert slowest <= max(layer.time_ns(copies) for layer, copies in zip(layers, other, strict=True)) + 1e-9
    if any(copies > 1 for copies in found):
        assert sum(layer.arrays * copies for layer, copies in zip(layers, found, strict=True)) <= arrays


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 12), st.sampled_from(["offset", "differential", "twos_complement"]))
def test_units_cover_a_matrix_once_and_fit_a_tile(k: int, j: int, room: int, encoding: str) -> None:
    arch = replace(small_arch(), tile=replace(small_arch().tile, arrays=room))
    pattern = pattern_of(arch, replace(CODING, encoding=encoding), (k, j))  # type: ignore[arg-type]
    for size, spans in ((k, pattern.rows), (j, pattern.columns)):
        assert [place for start, stop in spans for place in range(start, stop)] == list(range(size))
    assert all(start % CODING.rows == 0 for start, _ in pattern.rows)
    assert all(pattern.arrays_of(rows, columns) <= room for rows in pattern.rows for columns in pattern.columns)
    if len(pattern.rows) > 1:
        assert -(-k // pattern.array[0]) > room, "rows are cut only where one column of arrays is too much"


def test_an_array_without_room_for_one_output_is_an_error() -> None:
    arch = small_arch()
    with pytest.raises(UnsupportedModelError, match="needs 8 columns an output"):
        pattern_of(replace(arch, array=replace(arch.array, columns=7)), Coding(rows=16), (4, 4))
