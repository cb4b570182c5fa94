"""Operators of com.microsoft on torch: the values that ONNX Runtime gives, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from netwright.backends.torch.table import TORCH_OPS
from netwright.ir.contrib import CONTRIB
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.schemas import CONTRIB_DOMAIN
from tests.backends.torch.single import Array, assert_same, by_torch

B, S, N, H, WIDTH = 2, 5, 4, 8, 32


def draw(seed: int = 3) -> Callable[..., np.ndarray]:
    """Normal floats of the shapes asked for."""
    generator = np.random.default_rng(seed)
    return lambda *shape: generator.normal(0, 0.7, shape).astype(np.float32)


def whole(kind: type[np.signedinteger | np.unsignedinteger], *shape: int, seed: int = 5) -> np.ndarray:
    """Integers over the whole range of a type."""
    info = np.iinfo(np.dtype(kind))
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(kind)


def f32(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def same(op_type: str, inputs: Sequence[Array], attributes: dict[str, object] | None = None, **keywords: object) -> None:
    assert_same(op_type, inputs, attributes, domain=CONTRIB_DOMAIN, **keywords)  # pyright: ignore[reportArgumentType]


def test_every_known_operator_has_an_entry() -> None:
    assert set(CONTRIB) <= {name for domain, name in TORCH_OPS if domain == CONTRIB_DOMAIN}


# ---- floats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op_type", ["FusedMatMul", "TransposeMatMul"])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_products_with_transposed_factors(op_type: str, transposed: tuple[int, int]) -> None:
    random = draw()
    a = random(2, 3, 5, 4) if transposed[0] else random(2, 3, 4, 5)
    b = random(2, 3, 6, 5) if transposed[1] else random(2, 3, 5, 6)
    same(op_type, [a, b], {"alpha": 0.5, "transA": transposed[0], "transB": transposed[1]})


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1)])
def test_products_whose_matrices_begin_with_the_first_axis(transposed: tuple[int, int]) -> None:
    random = draw()
    a = random(5, 2, 3, 4) if transposed[0] else random(4, 2, 3, 5)
    b = random(6, 2, 3, 5) if transposed[1] else random(5, 2, 3, 6)
    same("FusedMatMul", [a, b], {"transBatchA": 1, "transBatchB": 1, "transA": transposed[0], "transB": transposed[1]})


@pytest.mark.parametrize(
    ("activation", "settings"),
    [
        ("Relu", {}),
        ("LeakyRelu", {"activation_alpha": 0.3}),
        ("Tanh", {}),
        ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4}),
    ],
)
def test_gemm_with_an_activation(activation: str, settings: dict[str, object]) -> None:
    random = draw()
    same(
        "FusedGemm", [random(3, 4), random(5, 4), random(5)], {"transB": 1, "alpha": 0.7, "beta": 0.2, "activation": activation, **settings}
    )


@pytest.mark.parametrize(
    ("activation", "settings"),
    [("", []), ("Relu", []), ("LeakyRelu", [0.2]), ("Clip", [-0.3, 0.6]), ("HardSigmoid", [0.3, 0.4]), ("Sigmoid", [])],
)
def test_convolution_with_a_summand_and_an_activation(activation: str, settings: list[float]) -> None:
    random = draw()
    attributes: dict[str, object] = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    attributes |= {"activation": activation} if activation else {}
    attributes |= {"activation_params": settings} if settings else {}
    same("FusedConv", [random(2, 3, 6, 6), random(4, 3, 3, 3), random(4), random(2, 4, 6, 6)], attributes)


def test_an_activation_that_nobody_knows_is_refused() -> None:
    random = draw()
    with pytest.raises(UnsupportedModelError, match="'Swoosh'"):
        by_torch("FusedGemm", [random(3, 4), random(4, 5)], {"activation": "Swoosh"}, domain=CONTRIB_DOMAIN)


def test_gelus() -> None:
    random = draw()
    same("BiasGelu", [random(3, 8), random(8)])
    same("FastGelu", [random(3, 8), random(8)])
    same("FastGelu", [random(3, 8)])
    same("Gelu", [random(3, 8)])
    same("QuickGelu", [random(3, 8)], {"alpha": 1.3})


def test_inverse_pad_and_trilu() -> None:
    random = draw()
    same("Inverse", [random(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)], rtol=1e-3)
    same("Pad", [random(2, 3), np.array([0, 1, 1, 2], np.int64), f32(1.5)])
    same("Pad", [random(4, 5), np.array([1, 1, 2, 2], np.int64)], {"mode": "reflect"})
    same("Trilu", [random(3, 4), np.array(1, np.int64)], {"upper": 0})


@pytest.mark.parametrize("biases", [(False, False), (True, True)])
def test_normalization_of_a_sum(biases: tuple[bool, bool]) -> None:
    random = draw()
    gamma, beta, bias = random(WIDTH), random(WIDTH) if biases[0] else None, random(WIDTH) if biases[1] else None
    outputs = (True, False, False, True)
    for skip in (random(B, S, WIDTH), random(S, WIDTH), random(1, S, WIDTH)):
        same("SkipLayerNormalization", [random(B, S, WIDTH), skip, gamma, beta, bias], {"epsilon": 1e-5}, outputs=outputs)
        same("SkipSimplifiedLayerNormalization", [random(B, S, WIDTH), skip, gamma, bias], {"epsilon": 1e-5}, outputs=outputs)


@pytest.mark.parametrize("op_type", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_statistics_of_a_normalized_sum(op_type: str) -> None:
    random = draw()
    inputs = [random(B, S, WIDTH), random(B, S, WIDTH), np.ones(WIDTH, np.float32)]
    y, mean, inverse, total = by_torch(op_type, inputs, {"epsilon": 1e-5}, outputs=(True,) * 4, domain=CONTRIB_DOMAIN)
    torch.testing.assert_close(y, (total - mean) * inverse)
    assert mean.shape == inverse.shape == (B, S, 1)


def test_embedding_with_normalization() -> None:
    random = draw()
    ids = np.array([[1, 4, 2, 0, 9], [3, 3, 8, 7, 1]], np.int32)
    tables = [random(10, WIDTH), random(8, WIDTH), random(2, WIDTH)]
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    places = np.array([[3, 2, 1, 0, 4], [0, 1, 2, 3, 5]], np.int32)
    segments = (ids % 2).astype(np.int32)
    gamma, beta = random(WIDTH), random(WIDTH)
    same("EmbedLayerNormalization", [ids, segments, *tables, gamma, beta, mask], {"epsilon": 1e-5}, outputs=(True, True, True))
    same("EmbedLayerNormalization", [ids, segments, *tables, gamma, beta, mask, places], outputs=(True, True))
    same("EmbedLayerNormalization", [ids, None, *tables[:2], None, gamma, beta], outputs=(True, True))


# ---- attention -----------------------------------------------------------------------------------------------------

MASKS: dict[str, np.ndarray | None] = {
    "none": None,
    "lengths": np.array([3, 5], np.int32),
    "ends and beginnings": np.array([4, 5, 1, 0], np.int32),
    "tokens": np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], np.int32),
    "pairs": np.tril(np.ones((B, S, S), np.int32)),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_its_projection(mask: str, causal: int) -> None:
    random = draw()
    inputs = [random(B, S, WIDTH), random(WIDTH, 3 * WIDTH) * 0.3, random(3 * WIDTH), MASKS[mask]]
    same("Attention", inputs, {"num_heads": N, "unidirectional": causal}, outputs=(True, True), atol=1e-4)


def test_attention_with_past_bias_and_widths() -> None:
    random = draw()
    past = random(2, B, N, 3, H)
    inputs: list[Array] = [random(B, S, WIDTH), random(WIDTH, 3 * WIDTH) * 0.3, random(3 * WIDTH), None, past]
    same("Attention", inputs, {"num_heads": N, "unidirectional": 1}, outputs=(True, True), atol=1e-4)
    widths: list[Array] = [random(B, S, WIDTH), random(WIDTH, 80) * 0.3, random(80)]
    same("Attention", widths, {"num_heads": N, "qkv_hidden_sizes": [32, 32, 16], "scale": 0.2}, atol=1e-4)
    same("Attention", [*inputs[:4], None, random(1, N, S, S)], {"num_heads": N}, atol=1e-4)


@pytest.mark.parametrize("mask", ["none", "lengths", "tokens", "pairs"])
@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention(mask: str, causal: int) -> None:
    random = draw()
    q, k, v = random(B, S, WIDTH), random(B, S, WIDTH), random(B, S, WIDTH)
    attributes: dict[str, object] = {"num_heads": N, "unidirectional": causal}
    same("MultiHeadAttention", [q, k, v, random(3 * WIDTH), MASKS[mask]], attributes, outputs=(True, True, True), atol=1e-4)


def test_multi_head_attention_with_past_bias_and_keys_on_heads() -> None:
    random = draw()
    q, k, v = random(B, S, WIDTH), random(B, S, WIDTH), random(B, S, WIDTH)
    past = [random(B, N, 3, H), random(B, N, 3, H)]
    same("MultiHeadAttention", [q, k, v, None, None, None, *past], {"num_heads": N}, outputs=(True, True, True), atol=1e-4)
    same("MultiHeadAttention", [q, k, v, None, None, random(B, N, S, S)], {"num_heads": N, "scale": 0.3}, atol=1e-4)
    same("MultiHeadAttention", [q, random(B, N, 7, H), random(B, N, 7, H)], {"num_heads": N}, atol=1e-4)


def test_multi_head_attention_takes_packed_inputs() -> None:
    random = draw()
    q, k, v = (random(B, S, N, H) for _ in range(3))
    apart = by_torch(
        "MultiHeadAttention", [q.reshape(B, S, -1), k.reshape(B, S, -1), v.reshape(B, S, -1)], {"num_heads": N}, domain=CONTRIB_DOMAIN
    )
    packed = by_torch("MultiHeadAttention", [np.stack([q, k, v], 3)], {"num_heads": N}, domain=CONTRIB_DOMAIN)
    pairs = by_torch("MultiHeadAttention", [q.reshape(B, S, -1), np.stack([k, v], 3)], {"num_heads": N}, domain=CONTRIB_DOMAIN)
    torch.testing.assert_close(packed[0], apart[0])
    torch.testing.assert_close(pairs[0], apart[0])


GROUPS = 2
QUERY_OPTIONS: list[dict[str, object]] = [
    {},
    {"local_window_size": 2},
    {"softcap": 1.5},
    {"scale": 0.2},
    {"smooth_softmax": 1},
]


@pytest.mark.parametrize("options", QUERY_OPTIONS)
@pytest.mark.parametrize("past", [False, True])
def test_grouped_queries(options: dict[str, object], past: bool) -> None:
    random = draw()
    new = 1 if past else S
    cache: list[Array] = [random(B, GROUPS, 6, H), random(B, GROUPS, 6, H)] if past else [None, None]
    lengths = np.array([3, 5] if past else [S - 1, S - 1], np.int32)
    total = np.array(6 if past else S, np.int32)
    inputs = [random(B, new, N * H), random(B, new, GROUPS * H), random(B, new, GROUPS * H), *cache, lengths, total]
    attributes = {"num_heads": N, "kv_num_heads": GROUPS, **options}
    same("GroupQueryAttention", inputs, attributes, outputs=(True, True, True), atol=1e-4)
    packed = np.concatenate([array for array in inputs[:3] if array is not None], axis=-1)
    same("GroupQueryAttention", [packed, None, None, *cache, lengths, total], attributes, outputs=(True, True, True), atol=1e-4)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("past", [False, True])
def test_grouped_queries_with_rotary_positions(interleaved: int, past: bool) -> None:
    random, wide = draw(), 16
    new = 1 if past else S
    cache: list[Array] = [random(B, GROUPS, 6, wide), random(B, GROUPS, 6, wide)] if past else [None, None]
    lengths = np.array([3, 5] if past else [S - 1, S - 1], np.int32)
    total = np.array(6 if past else S, np.int32)
    angles = random(12, wide // 2)
    inputs = [
        random(B, new, N * wide),
        random(B, new, GROUPS * wide),
        random(B, new, GROUPS * wide),
        *cache,
        lengths,
        total,
        np.cos(angles),
        np.sin(angles),
    ]
    attributes: dict[str, object] = {"num_heads": N, "kv_num_heads": GROUPS, "do_rotary": 1, "rotary_interleaved": interleaved}
    same("GroupQueryAttention", inputs, attributes, outputs=(True, True, True), atol=1e-4)


def test_grouped_queries_with_a_sink_and_a_bias() -> None:
    random = draw()
    inputs: list[Array] = [random(B, S, N * H), random(B, S, GROUPS * H), random(B, S, GROUPS * H), None, None]
    inputs += [np.array([S - 1, S - 1], np.int32), np.array(S, np.int32), None, None, None]
    attributes: dict[str, object] = {"num_heads": N, "kv_num_heads": GROUPS}
    same("GroupQueryAttention", [*inputs, random(B, N, S, S)], attributes, atol=1e-4)
    same("GroupQueryAttention", [*inputs, None, random(N)], attributes, atol=1e-4)


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("options", [{}, {"softcap": 1.5}, {"causal": 0}])
def test_grouped_queries_show_their_scores(which: int, options: dict[str, object]) -> None:
    random = draw()
    inputs: list[Array] = [random(B, S, N * H), random(B, S, GROUPS * H), random(B, S, GROUPS * H), None, None]
    inputs += [np.array([S - 1, S - 1], np.int32), np.array(S, np.int32)]
    attributes = {"num_heads": N, "kv_num_heads": GROUPS, "qk_output": which, **options}
    same("GroupQueryAttention", inputs, attributes, outputs=(True,) * 4, floats=True, atol=1e-4)


def test_multi_head_attention_shows_its_scores() -> None:
    random = draw()
    inputs = [random(B, S, WIDTH), random(B, S, WIDTH), random(B, S, WIDTH), None, MASKS["tokens"]]
    same("MultiHeadAttention", inputs, {"num_heads": N}, outputs=(True, False, False, True), floats=True, atol=1e-4)


def test_grouped_queries_are_turned_by_given_positions_and_normalized() -> None:
    random, wide = draw(), 16
    angles = random(12, wide // 2)
    inputs: list[Array] = [random(B, S, N * wide), random(B, S, GROUPS * wide), random(B, S, GROUPS * wide), None, None]
    inputs += [np.array([S - 1, S - 1], np.int32), np.array(S, np.int32), np.cos(angles), np.sin(angles)]
    places = np.tile(np.arange(3, 3 + S), (B, 1))
    attributes: dict[str, object] = {"num_heads": N, "kv_num_heads": GROUPS, "do_rotary": 1}
    same("GroupQueryAttention", [*inputs, places], attributes, floats=True, atol=1e-4)
    plain = by_torch("GroupQueryAttention", inputs, attributes, domain=CONTRIB_DOMAIN)[0]
    normal = [None] * 5 + [np.ones(wide, np.float32), np.ones(wide, np.float32)]
    changed = by_torch("GroupQueryAttention", [*inputs, *normal], attributes, domain=CONTRIB_DOMAIN)[0]
    scaled = [array * 7 if place < 2 and array is not None else array for place, array in enumerate(inputs)]
    again = by_torch("GroupQueryAttention", [*scaled, *normal], attributes, domain=CONTRIB_DOMAIN)[0]
    assert not torch.allclose(plain, changed)
    torch.testing.assert_close(again, changed, rtol=1e-3, atol=1e-4)


def test_a_quantized_cache_is_refused() -> None:
    random = draw()
    inputs: list[Array] = [random(B, S, N * H), random(B, S, GROUPS * H), random(B, S, GROUPS * H), None, None]
    inputs += [np.array([S - 1, S - 1], np.int32), np.array(S, np.int32)]
    with pytest.raises(UnsupportedModelError, match="k_quant_type"):
        by_torch(
            "GroupQueryAttention", inputs, {"num_heads": N, "kv_num_heads": GROUPS, "k_quant_type": "PER_TENSOR"}, domain=CONTRIB_DOMAIN
        )


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
def test_rotary_positions(interleaved: int, width: int) -> None:
    random = draw()
    angles = random(12, (width or H) // 2)
    tables = [np.cos(angles), np.sin(angles)]
    attributes: dict[str, object] = {"interleaved": interleaved, "num_heads": N, "rotary_embedding_dim": width}
    places = np.random.default_rng(0).integers(0, 12, (B, S))
    same("RotaryEmbedding", [random(B, S, N * H), places, *tables], attributes)
    same("RotaryEmbedding", [random(B, N, S, H), np.array([3]), *tables], attributes)


# ---- integers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero_points", [False, True])
def test_products_with_weights_of_a_few_bits(bits: int, zero_points: bool) -> None:
    random = draw()
    n, k, block = 6, 48, 16
    blocks = k // block
    b = whole(np.uint8, n, blocks, block * bits // 8)
    zeros = whole(np.uint8, n, -(-blocks * bits // 8)) if zero_points else None
    attributes: dict[str, object] = {"K": k, "N": n, "bits": bits, "block_size": block}
    inputs = [random(3, 2, k), b, np.abs(random(n, blocks)) * 0.1, zeros, None, random(n)]
    same("MatMulNBits", inputs, attributes, constant=(1, 2, 3), rtol=1e-3, atol=1e-3)


def test_products_with_weights_of_four_bits_take_float_zero_points_and_shuffled_groups() -> None:
    random = draw()
    n, k, block = 6, 48, 16
    attributes: dict[str, object] = {"K": k, "N": n, "bits": 4, "block_size": block}
    b, scales, zeros = whole(np.uint8, n, 3, 8), np.abs(random(n, 3)), random(n, 3)
    same("MatMulNBits", [random(3, k), b, scales, zeros], attributes, constant=(1, 2, 3), rtol=1e-3, atol=1e-3)
    groups = np.random.default_rng(0).integers(0, 3, k).astype(np.int32)
    same("MatMulNBits", [random(3, k), b, scales, None, groups], attributes, constant=(1, 2, 4), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero_points", [False, True])
def test_look_up_in_a_packed_table(bits: int, zero_points: bool) -> None:
    random = draw()
    data = whole(np.uint8, 7, 32 * bits // 8)
    zeros = whole(np.uint8, 7, 2 * bits // 8) if zero_points else None
    indices = np.array([[0, 6, 3], [2, 2, 5]], np.int64)
    attributes: dict[str, object] = {"bits": bits, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    same("GatherBlockQuantized", [data, indices, random(7, 2), zeros], attributes, constant=(0, 2, 3))


def test_look_up_in_a_table_of_four_bit_integers() -> None:
    import ml_dtypes

    random = draw()
    numbers = np.random.default_rng(0).integers(-8, 8, (7, 32))
    zeros = np.random.default_rng(1).integers(-8, 8, (7, 2)).astype(ml_dtypes.int4)
    indices = np.array([0, 6, 3], np.int64)
    attributes: dict[str, object] = {"block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    same("GatherBlockQuantized", [numbers.astype(ml_dtypes.int4), indices, random(7, 2), zeros], attributes, constant=(0, 2, 3))
    same("GatherBlockQuantized", [(numbers + 8).astype(ml_dtypes.uint4), indices, random(7, 2)], attributes, constant=(0, 2))


@pytest.mark.parametrize("per_column", [False, True])
def test_products_of_integers_as_floats(per_column: bool) -> None:
    random = draw()
    a, b = whole(np.uint8, 3, 40), whole(np.int8, 40, 6, seed=6)
    scale = np.abs(random(6)) if per_column else f32(0.02)
    zero = whole(np.int8, 6) if per_column else np.array(3, np.int8)
    same("MatMulIntegerToFloat", [a, b, f32(0.01), scale, np.array(120, np.uint8), zero, random(6)], rtol=1e-4, atol=1e-3)
    same("DynamicQuantizeMatMul", [random(3, 40), b, scale, zero, random(6)], rtol=1e-3, atol=2e-2, constant=(1, 2, 3))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("per_column", [False, True])
def test_lstm_with_integer_weights(direction: str, per_column: bool) -> None:
    random = draw()
    ways, hidden = 2 if direction == "bidirectional" else 1, 6
    w, r = whole(np.int8, ways, 4, 4 * hidden), whole(np.int8, ways, hidden, 4 * hidden, seed=9)
    shape = (ways, 4 * hidden) if per_column else (ways,)
    scales = [np.full(shape, 0.004, np.float32), np.zeros(shape, np.int8), np.full(shape, 0.005, np.float32), np.zeros(shape, np.int8)]
    inputs = [random(5, 3, 4), w, r, random(ways, 8 * hidden), None, None, None, None, *scales]
    attributes: dict[str, object] = {"direction": direction, "hidden_size": hidden}
    same("DynamicQuantizeLSTM", inputs, attributes, outputs=(True, True, True), constant=(1, 2, 3, 8, 9, 10, 11), atol=5e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_quantized_elementwise(kind: type[np.signedinteger | np.unsignedinteger]) -> None:
    a, b = whole(kind, 3, 4, 16), whole(kind, 4, 16, seed=8)
    zero = [np.array(value, kind) for value in (7, 11, 20)]
    scales = [f32(0.02), f32(0.03), f32(0.05)]
    same("QLinearAdd", [a, scales[0], zero[0], b, scales[1], zero[1], scales[2], zero[2]], atol=1)
    same("QLinearAdd", [a, scales[0], zero[0], b, scales[1], zero[1], scales[2]], atol=1)
    same("QLinearMul", [a, scales[0], zero[0], b, scales[1], zero[1], scales[2], zero[2]], atol=1)
    same("QLinearSigmoid", [a, scales[0], zero[0], f32(1 / 256), np.array(0 if kind is np.uint8 else -128, kind)], atol=1)
    same("QLinearLeakyRelu", [a, scales[0], zero[0], scales[1], zero[1]], {"alpha": 0.3}, atol=1)


@pytest.mark.parametrize("opset", [12, 13])
def test_quantized_softmax(opset: int) -> None:
    inputs = [whole(np.uint8, 2, 3, 8), f32(0.03), np.array(100, np.uint8), f32(1 / 256), np.array(0, np.uint8)]
    same("QLinearSoftmax", inputs, {"axis": 1 if opset < 13 else -1, "opset": opset}, atol=1)


@pytest.mark.parametrize("last", [0, 1])
def test_quantized_pooling(last: int) -> None:
    x = whole(np.uint8, 2, 6, 6, 3) if last else whole(np.uint8, 2, 3, 6, 6)
    between = [f32(0.02), np.array(30, np.uint8), f32(0.018), np.array(20, np.uint8)]
    window: dict[str, object] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "channels_last": last}
    same("QLinearAveragePool", [x, *between], window, atol=1)
    same("QLinearAveragePool", [x, *between], {**window, "count_include_pad": 1}, atol=1)
    same("QLinearGlobalAveragePool", [x, *between], {"channels_last": last}, atol=1)


def test_pooling_with_channels_last() -> None:
    for kind in (np.uint8, np.int8):
        same("NhwcMaxPool", [whole(kind, 2, 7, 7, 3)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})


def test_quantized_concat_and_where() -> None:
    x, y = whole(np.uint8, 2, 3, 4), whole(np.uint8, 2, 5, 4, seed=8)
    one, two = [f32(0.02), np.array(100, np.uint8)], [f32(0.03), np.array(120, np.uint8)]
    out = [f32(0.04), np.array(110, np.uint8)]
    same("QLinearConcat", [*out, x, *one, y, *two], {"axis": 1}, atol=1)
    condition = np.random.default_rng(0).random((2, 3, 4)) > 0.5
    same("QLinearWhere", [condition, x, *one, y[:, :3], *two, *out], atol=1)


@pytest.mark.parametrize("last", [0, 1])
def test_quantized_convolution_in_either_layout(last: int) -> None:
    x = whole(np.uint8, 2, 6, 6, 4) if last else whole(np.uint8, 2, 4, 6, 6)
    w = whole(np.int8, 6, 4, 3, 3, seed=8)
    scales = np.abs(draw()(6)) * 0.01 + 0.001
    inputs = [x, f32(0.02), np.array(120, np.uint8), w, scales, np.zeros(6, np.int8), f32(0.2), np.array(128, np.uint8)]
    bias = np.arange(-3000, 3000, 1000, dtype=np.int32)
    attributes: dict[str, object] = {"pads": [1, 1, 1, 1], "strides": [2, 2], "channels_last": last}
    same("QLinearConv", [*inputs, bias], attributes, constant=(3, 4, 5), atol=1)


@pytest.mark.parametrize("quantized", [False, True])
def test_quantized_gemm(quantized: bool) -> None:
    a, b = whole(np.uint8, 3, 20), whole(np.int8, 6, 20, seed=4)
    c = np.arange(6, dtype=np.int32) * 100
    inputs: list[Array] = [a, f32(0.02), np.array(128, np.uint8), b, f32(0.01), np.array(3, np.int8), c]
    if quantized:
        inputs += [f32(0.3), np.array(100, np.uint8)]
    same("QGemm", inputs, {"transB": 1, "alpha": 0.8}, atol=1 if quantized else 1e-3)


@pytest.mark.parametrize("mask", ["none", "tokens"])
@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_an_integer_projection(mask: str, causal: int) -> None:
    random = draw()
    x, weight = whole(np.uint8, B, S, WIDTH), whole(np.int8, WIDTH, 3 * WIDTH, seed=4)
    inputs = [x, weight, random(3 * WIDTH), f32(0.01), f32(0.01), MASKS[mask], np.array(128, np.uint8), np.array(0, np.int8)]
    same("QAttention", inputs, {"num_heads": N, "unidirectional": causal}, atol=1e-3)


def test_quantizer_and_dequantizer() -> None:
    x, y_scale, zero = draw()(4, 6), f32(0.02), np.array(1000, np.uint16)
    same("QuantizeLinear", [x, y_scale, zero])
    same("DequantizeLinear", [whole(np.int8, 4, 6), np.abs(draw()(4)), np.arange(4, dtype=np.int8)], {"axis": 0})


# ---- gradients -----------------------------------------------------------------------------------------------------

FLOATS: list[tuple[str, list[tuple[int, ...]], dict[str, object]]] = [
    ("FusedMatMul", [(2, 3, 4), (2, 5, 4)], {"transB": 1, "alpha": 0.5}),
    ("FusedGemm", [(3, 4), (4, 5), (5,)], {"activation": "Tanh"}),
    ("FusedConv", [(1, 2, 4, 4), (3, 2, 3, 3), (3,), (1, 3, 2, 2)], {"activation": "Sigmoid"}),
    ("BiasGelu", [(3, 4), (4,)], {}),
    ("FastGelu", [(3, 4), (4,)], {}),
    ("Gelu", [(3, 4)], {}),
    ("QuickGelu", [(3, 4)], {}),
    ("SkipLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,), (4,)], {"epsilon": 1e-5}),
    ("SkipSimplifiedLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,), (4,)], {"epsilon": 1e-5}),
    ("Attention", [(1, 3, 4), (4, 12), (12,)], {"num_heads": 2, "unidirectional": 1}),
    ("MultiHeadAttention", [(1, 3, 4), (1, 3, 4), (1, 3, 4), (12,)], {"num_heads": 2}),
    ("Inverse", [(2, 3, 3)], {}),
]


@pytest.mark.parametrize(("op_type", "shapes", "attributes"), FLOATS)
def test_gradients_of_float_operators(op_type: str, shapes: list[tuple[int, ...]], attributes: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(lambda *given: by_torch(op_type, given, attributes, domain=CONTRIB_DOMAIN)[0], leaves, fast_mode=True)


@pytest.mark.parametrize("options", [{}, {"softcap": 2.0}, {"smooth_softmax": 1}, {"local_window_size": 2}])
def test_gradients_of_grouped_queries(options: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(1, 3, width, dtype=torch.float64, generator=generator).requires_grad_() for width in (8, 4, 4)]

    def run(*given: torch.Tensor) -> torch.Tensor:
        inputs = [*given, None, None, torch.tensor([2]), torch.tensor(3)]
        return by_torch("GroupQueryAttention", inputs, {"num_heads": 4, "kv_num_heads": 2, **options}, domain=CONTRIB_DOMAIN)[0]

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_gradients_pass_through_quantized_operators_where_nothing_is_clipped() -> None:
    a = torch.tensor([10.0, 100.0, 200.0], requires_grad=True)
    b = torch.tensor([20.0, 30.0, 240.0], requires_grad=True)
    one, zero = torch.tensor(0.1), torch.tensor(0, dtype=torch.uint8)
    (y,) = by_torch("QLinearAdd", [a, one, zero, b, one, zero, one, zero], domain=CONTRIB_DOMAIN, carried=True)
    assert y.tolist() == [30.0, 130.0, 255.0]
    y.sum().backward()
    assert a.grad is not None
    torch.testing.assert_close(a.grad, torch.tensor([1.0, 1.0, 0.0]))


def test_gradients_reach_input_and_carried_weights_of_dynamically_quantized_products() -> None:
    a = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    b = torch.randint(-20, 20, (8, 4), generator=torch.Generator().manual_seed(1)).float().requires_grad_()
    scale = torch.tensor(0.1)
    (y,) = by_torch("DynamicQuantizeMatMul", [a, b, scale, torch.tensor(0, dtype=torch.int8)], domain=CONTRIB_DOMAIN)
    y.sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    torch.testing.assert_close(a.grad, (b.detach() * scale).sum(1).expand(3, 8))
    torch.testing.assert_close(b.grad, (a.detach().sum(0, keepdim=True).T * scale).expand(8, 4), rtol=0.1, atol=0.01)
