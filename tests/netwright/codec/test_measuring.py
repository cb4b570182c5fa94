"""What maps and weights take, counted on real programs and held against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.codec import measure_maps, measure_weights, sizes
from netwright.ir.errors import DataError
from netwright.passes import Context, Pipeline, run
from tests.netwright.training.encoders import WIDTH, encoder, sentences

FEEDS = {"ids": sentences()["ids"][:24]}


@pytest.mark.parametrize("operator", [False, True])
def test_zeros_by_threshold_and_by_rounding_are_told_apart(operator: bool) -> None:
    executor = OrtExecutor()
    context = Context(calibration=[FEEDS], executor=executor)
    sparse = run(encoder(operator=operator), Pipeline.parse("sparsify_activations(zeros=0.5, bits=8)"), context).program
    measured = measure_maps(sparse, [FEEDS], executor)
    assert sorted(one.kind for one in measured.maps) == sorted(["query", "key", "value", "context", "ffn"] * 2)
    one = next(one for one in measured.maps if one.kind == "query")
    values = executor.run(sparse, FEEDS, [f"{one.name}.int8", f"{one.name}.shrunk"])
    integers, shrunk = (values[f"{one.name}.{what}"][:, : None if operator else -1].reshape(-1, WIDTH) for what in ("int8", "shrunk"))
    assert one.grid == "graph"
    assert one.elements == integers.size, "the spelt-out mask tells that the last word is padding; the node keeps its weights to itself"
    assert one.zeros + one.by_threshold == np.count_nonzero(shrunk == 0)
    assert one.by_rounding == np.count_nonzero((integers == 0) & (shrunk != 0))
    assert one.density == pytest.approx(np.count_nonzero(integers) / integers.size)
    assert one.best == min(sizes(integers).values()) + (8 if operator else 0), "a header holds 8 bytes for each axis"
    assert 0.4 < 1 - one.density < 0.6
    hidden = next(one for one in measured.maps if one.kind == "ffn")
    assert hidden.zeros > 0, "a Relu makes zeros by itself"


def test_padding_counts_neither_by_attentions_masks_nor_by_one_that_is_named() -> None:
    executor = OrtExecutor()
    rows, tokens = FEEDS["ids"].shape
    found = measure_maps(encoder(), [FEEDS], executor)
    assert found.positions == rows * (tokens - 1), "the last word is masked out"
    assert {one.elements for one in found.maps if one.kind == "key"} == {rows * (tokens - 1) * WIDTH}
    names = [one.name for one in measure_maps(encoder(operator=True), [FEEDS], executor).maps]
    assert names, "its mask is a constant, and the node keeps its weights to itself"
    named = measure_maps(encoder(operator=True), [FEEDS], executor, mask="ids")
    real = int(np.count_nonzero(FEEDS["ids"]))
    assert named.positions == real < rows * tokens
    assert {one.elements for one in named.maps if one.kind == "query"} == {real * WIDTH}
    lengths = np.count_nonzero(FEEDS["ids"], axis=1)
    assert {one.macs for one in named.maps if one.kind == "query"} == {int((lengths**2).sum()) * WIDTH}
    with pytest.raises(DataError, match="no value %nothing"):
        measure_maps(encoder(), [FEEDS], executor, mask="nothing")


@pytest.mark.parametrize("operator", [False, True])
def test_integers_of_static_quantization_are_counted_from_their_zero_point(operator: bool) -> None:
    executor = OrtExecutor()
    context = Context(calibration=[FEEDS], executor=executor)
    text = "quantize(scheme='static'), sparsify_activations(zeros=0.7, bits=8)"
    sparse = run(encoder(operator=operator, width=64), Pipeline.parse(text), context).program
    for one in measure_maps(sparse, [FEEDS], executor, mask="ids").maps:
        assert one.grid == "graph"
        assert 1 - one.density == pytest.approx(0.7, abs=0.07), one.name
        assert one.by_rounding <= 0.02 * one.elements, "a Relu within the rounding is no rounding"


def test_skippable_work_is_zeros_times_what_each_value_is_multiplied_with() -> None:
    executor = OrtExecutor()
    program = run(encoder(), Pipeline.parse("sparsify_activations(threshold={'query': 1000, 'ffn': 1000})"), Context()).program
    maps = {one.kind: one for one in measure_maps(program, [FEEDS], executor).maps}
    query, hidden = maps["query"], maps["ffn"]
    rows, tokens = FEEDS["ids"].shape
    seen = tokens - 1  # the last word is masked out
    assert query.macs == query.skippable == rows * seen * WIDTH * seen
    assert hidden.macs == hidden.skippable == rows * seen * 2 * WIDTH * WIDTH
    cache = measure_maps(program, [FEEDS], executor).cache
    assert cache.elements == 2 * 2 * rows * seen * WIDTH


def test_integer_weights_are_counted_as_they_lie_and_coded() -> None:
    program = run(encoder(width=64), Pipeline.parse("quantize(scheme='dynamic')"), Context()).program
    measured = measure_weights(program)
    assert measured.weights
    assert measured.dense == sum(
        value.const_value.nbytes for value in program.initializers() if value.const_value is not None and value.name in measured.weights
    )
    assert measured.coded <= measured.dense
