# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Convolutions one after the other: exact at every border, or refused with the reason."""

from __future__ import annotations

import pytest

from tests.passes.merge.support import merge
from tests.passes.simplify.weights import Weights

X1, X2 = "float[N, 4, 11] x", "float[N, 4, 9, 10] x"

MERGED: dict[str, tuple[str, str, Weights, str, tuple[int, ...]]] = {
    "k×k, then 1×1 with a bias": (X2, "h = Conv(x, u, b) y = Conv<strides: ints = [2, 1]>(h, v, c)", {"u": (6, 4, 3, 3), "v": (8, 6, 1, 1), "b": (6,), "c": (8,)}, "Conv", (8, 4, 3, 3)),
    "padding first": (X2, "h = Conv<pads: ints = [1, 1, 0, 2]>(x, u, b) y = Conv(h, v)", {"u": (6, 4, 3, 3), "v": (8, 6, 1, 1), "b": (6,)}, "Conv", (8, 4, 3, 3)),
    "1×1, then k×k with padding": (X2, "h = Conv(x, u) y = Conv<strides: ints = [2, 2], pads: ints = [1, 1, 1, 1], dilations: ints = [2, 1]>(h, v)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3)}, "Conv", (8, 4, 3, 3)),
    "a strided 1×1 first": (X2, "h = Conv<strides: ints = [2, 3]>(x, u) y = Conv<pads: ints = [1, 0, 2, 1]>(h, v)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3)}, "Conv", (8, 4, 3, 3)),
    "a padded 1×1 first": (X2, "h = Conv<strides: ints = [2, 3], pads: ints = [1, 0, 1, 2]>(x, u) y = Conv<pads: ints = [1, 0, 2, 1]>(h, v)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3)}, "Conv", (8, 4, 3, 3)),
    "a bias into a kernel without padding": (X2, "h = Conv(x, u, b) y = Conv(h, v, c)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3), "b": (6,), "c": (8,)}, "Conv", (8, 4, 3, 3)),
    "a bias added between": (X2, "h = Conv(x, u) i = Add(h, b) y = Conv(i, v)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3), "b": (6, 1, 1)}, "Conv", (8, 4, 3, 3)),
    "spatial": (X2, "h = Conv<pads: ints = [1, 0, 1, 0], strides: ints = [2, 1]>(x, u) y = Conv<strides: ints = [1, 2], pads: ints = [0, 1, 0, 1]>(h, v, c)", {"u": (6, 4, 3, 1), "v": (8, 6, 1, 3), "c": (8,)}, "Conv", (8, 4, 3, 3)),
    "Tucker": (X2, "h = Conv(x, u) i = Conv<pads: ints = [1, 1, 1, 1]>(h, k) y = Conv(i, v, c)", {"u": (3, 4, 1, 1), "k": (5, 3, 3, 3), "v": (8, 5, 1, 1), "c": (8,)}, "Conv", (8, 4, 3, 3)),
    "CP": (X2, "h = Conv(x, u) i = Conv<group: int = 6, pads: ints = [1, 0, 1, 0]>(h, a) j = Conv<group: int = 6, pads: ints = [0, 1, 0, 1]>(i, b) y = Conv(j, v, c)", {"u": (6, 4, 1, 1), "a": (6, 1, 3, 1), "b": (6, 1, 1, 3), "v": (8, 6, 1, 1), "c": (8,)}, "Conv", (8, 4, 3, 3)),
    "equal groups": (X2, "h = Conv<group: int = 2>(x, u, b) y = Conv<group: int = 2>(h, v)", {"u": (6, 2, 1, 1), "v": (8, 3, 3, 3), "b": (6,)}, "Conv", (8, 2, 3, 3)),
    "groups of 6 and 4": ("float[N, 12, 9] x", "h = Conv<group: int = 6>(x, u) y = Conv<group: int = 4>(h, v)", {"u": (12, 2, 1), "v": (8, 3, 3)}, "Conv", (8, 6, 3)),
    "one axis": (X1, "h = Conv<auto_pad: string = \"VALID\">(x, u) y = Conv<strides: ints = [2]>(h, v)", {"u": (6, 4, 3), "v": (8, 6, 1)}, "Conv", (8, 4, 3)),
    "auto_pad beside a 1×1": (X1, "h = Conv(x, u) y = Conv<auto_pad: string = \"SAME_UPPER\", strides: ints = [2]>(h, v)", {"u": (6, 4, 1), "v": (8, 6, 3)}, "Conv", (8, 4, 3)),
    "1×1, then transposed": (X2, "h = Conv(x, u) y = ConvTranspose<strides: ints = [2, 2], pads: ints = [1, 0, 1, 1]>(h, v, c)", {"u": (6, 4, 1, 1), "v": (6, 8, 3, 3), "c": (8,)}, "ConvTranspose", (4, 8, 3, 3)),
    "transposed, then 1×1 with a bias": (X2, "h = ConvTranspose<strides: ints = [2, 2], output_padding: ints = [1, 1]>(x, u, b) y = Conv(h, v, c)", {"u": (4, 6, 3, 3), "v": (8, 6, 1, 1), "b": (6,), "c": (8,)}, "ConvTranspose", (4, 8, 3, 3)),
    "transposed with groups": (X2, "h = Conv<group: int = 2>(x, u) y = ConvTranspose<group: int = 2, strides: ints = [2, 1]>(h, v)", {"u": (6, 2, 1, 1), "v": (6, 4, 2, 3)}, "ConvTranspose", (4, 4, 2, 3)),
    "transposed, spatial": (X2, "h = ConvTranspose<strides: ints = [2, 1], pads: ints = [1, 0, 0, 0]>(x, u) y = ConvTranspose<strides: ints = [1, 2], pads: ints = [0, 1, 0, 1]>(h, v)", {"u": (4, 6, 3, 1), "v": (6, 8, 1, 3)}, "ConvTranspose", (4, 8, 3, 3)),
    "a 1×1 ConvTranspose is a Conv": (X2, "h = ConvTranspose(x, u) y = Conv<pads: ints = [1, 1, 1, 1]>(h, v)", {"u": (4, 6, 1, 1), "v": (8, 6, 3, 3)}, "Conv", (8, 4, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "body", "weights", "op", "shape"), MERGED.values(), ids=MERGED.keys())
def test_two_convolutions_become_one(inputs: str, body: str, weights: Weights, op: str, shape: tuple[int, ...]):
    axes = ", ".join("ABC"[: len(shape) - 2])
    found = merge(inputs, f"float[N, 8, {axes}] y", body, weights, when="always")
    assert found.ops == [op]
    assert shape in found.weights.values()
    dense = op == "Conv" and "group" not in body and "ConvTranspose" not in body
    assert bool(found.exact_maps) == dense


REFUSED: dict[str, tuple[str, str, Weights, str]] = {
    "a bias before padding": (X2, "h = Conv(x, u, b) y = Conv<pads: ints = [1, 1, 1, 1]>(h, v)", {"u": (6, 4, 1, 1), "v": (8, 6, 3, 3), "b": (6,)}, "pads with zeros, where there would be no bias"),
    "a bias before a transposed one": (X2, "h = Conv(x, u, b) y = ConvTranspose(h, v)", {"u": (6, 4, 1, 1), "v": (6, 8, 3, 3), "b": (6,)}, "adds up different numbers of it"),
    "two kernels": (X2, "h = Conv(x, u) y = Conv(h, v)", {"u": (6, 4, 3, 1), "v": (8, 6, 3, 3)}, "along spatial axis 0 both kernels have several taps, 3 and 3"),
    "padding after": (X2, "h = Conv(x, u) y = Conv<pads: ints = [1, 0, 1, 0]>(h, v)", {"u": (6, 4, 3, 3), "v": (8, 6, 1, 1)}, "along spatial axis 0 the second pads by 1"),
    "both directions": (X2, "h = Conv(x, u) y = ConvTranspose(h, v)", {"u": (6, 4, 3, 3), "v": (6, 8, 3, 3)}, "both reach over space"),
    "two transposed": (X2, "h = ConvTranspose(x, u) y = ConvTranspose(h, v)", {"u": (4, 6, 3, 3), "v": (6, 8, 3, 3)}, "both transposed convolutions have taps"),
    "auto_pad and a stride": (X1, "h = Conv<strides: ints = [2]>(x, u) y = Conv<auto_pad: string = \"SAME_UPPER\">(h, v)", {"u": (6, 4, 1), "v": (8, 6, 3)}, "auto_pad or output_shape"),
    "more work": (X2, "h = Conv<strides: ints = [2, 2]>(x, u) y = ConvTranspose<strides: ints = [2, 2]>(h, v)", {"u": (6, 4, 1, 1), "v": (6, 8, 2, 2)}, "both reach over space"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "body", "weights", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_convolution_does_is_refused(inputs: str, body: str, weights: Weights, reason: str):
    axes = "A" if inputs == X1 else "A, B"
    found = merge(inputs, f"float[N, 8, {axes}] y", body, weights, when="always")
    assert found.ops == [node.op_type for node in found.before.graph]
    assert reason in found.reasons


def test_smaller_counts_work_as_well_as_weights():
    weights: Weights = {"u": (2, 16, 1, 1), "v": (2, 2, 1, 1), "w": (2, 2, 1, 1)}
    found = merge(
        "float[N, 16, 8, 8] x", "float[N, 2, A, B] y", "h = Conv<strides: ints = [4, 4]>(x, u) i = Conv(h, v) y = Conv(i, w)", weights
    )
    assert found.ops == ["Conv"]
    body = "h = Conv(x, u) y = ConvTranspose<strides: ints = [4, 4]>(h, v)"
    found = merge("float[N, 16, 8, 8] x", "float[N, 2, A, B] y", body, {"u": (16, 16, 1, 1), "v": (16, 2, 4, 4)})
    assert found.ops == ["ConvTranspose"]
    body = "h = ConvTranspose<strides: ints = [4, 4]>(x, u) y = Conv<strides: ints = [2, 2]>(h, v)"
    found = merge("float[N, 16, 8, 8] x", "float[N, 2, A, B] y", body, {"u": (16, 16, 4, 4), "v": (2, 16, 1, 1)})
    assert found.ops == ["ConvTranspose", "Conv"]


def test_a_smaller_kernel_at_more_places_stays():
    """A depthwise stage that strides, after a dense one: the product works at fewer places; before it, at more."""
    body = "h = Conv<group: int = 8, strides: ints = [2, 2]>(x, u) y = Conv<group: int = 8>(h, v)"
    found = merge("float[N, 8, 9, 9] x", "float[N, 8, A, B] y", body, {"u": (8, 1, 3, 3), "v": (8, 1, 1, 1)})
    assert found.ops == ["Conv"]
    assert found.weights == {"v.merged": (8, 1, 3, 3)}
