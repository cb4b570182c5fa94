"""Heads by their queries, keys and values: against norms of whole products, in every way that a model writes attention."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.coupling import Group
from netwright.passes import Context, run
from netwright.passes.simplify import Simplify
from tests.models.registry import SMALL_MODELS, traced
from tests.passes.programs import program_of
from tests.passes.prune.importance.support import HEAD, context, drawn, groups_of, judged, only

WIDTH, HEADS, SIZE = 8, 4, 3


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    inner = HEADS * SIZE
    return drawn(seed, wq=(WIDTH, inner), wk=(WIDTH, inner), wv=(WIDTH, inner), wo=(inner, WIDTH), bq=(inner,), bk=(inner,), bv=(inner,))


def attention(given: dict[str, np.ndarray]) -> Program:
    """Multi-head attention written out, with biases of queries, keys and values."""
    shapes = {"split": np.array([0, 0, HEADS, SIZE]), "join": np.array([0, 0, HEADS * SIZE])}
    turns = {"q": "1, 3", "k": "3, 1", "v": "1, 3"}
    split = "\n".join(
        f"{p}0 = MatMul (x, w{p})\n{p}1 = Add ({p}0, b{p})\n{p}2 = Reshape ({p}1, split)\n"
        f"{p} = Transpose <perm: ints = [0, 2, {turn}]> ({p}2)"
        for p, turn in turns.items()
    )
    return program_of(
        f"""{HEAD}
        attention (float[N, T, {WIDTH}] x, WEIGHTS) => (float[N, T, {WIDTH}] y)
        {{
            {split}
            s = MatMul (q, k)
            p = Softmax <axis: int = -1> (s)
            c = MatMul (p, v)
            t = Transpose <perm: ints = [0, 2, 1, 3]> (c)
            j = Reshape (t, join)
            y = MatMul (j, wo)
        }}""",
        {**given, **shapes},
    )


def relative(norms: np.ndarray) -> np.ndarray:
    return norms / norms.mean()


def head(array: np.ndarray, number: int, axis: int = -1) -> np.ndarray:
    return np.take(array.astype(np.float64), range(number * SIZE, (number + 1) * SIZE), axis=axis)


def test_without_data_heads_score_by_norms_of_products() -> None:
    given = weights()
    ones = {name: np.vstack([given[f"w{name}"], given[f"b{name}"]]) for name in ("q", "v")}
    spread = [np.linalg.norm(head(ones["q"], h) @ head(given["wk"], h).T) for h in range(HEADS)]
    written = [np.linalg.norm(head(ones["v"], h) @ head(given["wo"], h, 0)) for h in range(HEADS)]
    found = judged(attention(given), "qkv", Context(), "heads")
    np.testing.assert_allclose(only(found), relative(np.array(spread)) + relative(np.array(written)), rtol=1e-5)
    assert not found.misses


def test_the_keys_bias_changes_nothing() -> None:
    given = weights()
    moved = {**given, "bk": given["bk"] + 10}
    first, second = (only(judged(attention(one), "qkv", Context(), "heads")) for one in (given, moved))
    np.testing.assert_array_equal(first, second)


def test_with_data_the_first_part_is_the_spread_of_logits() -> None:
    given = weights()
    batches = [
        {"x": array * np.linspace(0.1, 3, WIDTH, dtype=np.float32) + 1} for array in drawn(7, a=(6, 5, WIDTH), b=(6, 5, WIDTH)).values()
    ]
    x = np.concatenate([batch["x"].reshape(-1, WIDTH) for batch in batches]).astype(np.float64)
    spread, written = np.zeros(HEADS), np.zeros(HEADS)
    for h in range(HEADS):
        logits = (x @ head(given["wq"], h) + head(given["bq"], h)) @ (x @ head(given["wk"], h) + head(given["bk"], h)).T
        spread[h] = np.sqrt(logits.var(axis=1).mean())
        values = (x @ head(given["wv"], h) + head(given["bv"], h)) @ head(given["wo"], h, 0)
        written[h] = np.sqrt((values**2).sum(1).mean())
    found = only(judged(attention(given), "qkv", context(batches), "heads"))
    np.testing.assert_allclose(found, relative(spread) + relative(written), rtol=1e-4)


def heads_of(program: Program) -> list[Group]:
    return groups_of(program, "heads")


WAYS = ("encoder_separate_qkv", "encoder_fused_qkv", "encoder_packed_qkv", "decoder", "decoder_written_out", "swin", "audio_encoder")


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_writing_attention_is_followed(name: str) -> None:
    program = traced(name)
    found = judged(program, "qkv", Context(), "heads")
    assert len(found.scores) >= 2
    assert not found.misses
    for scores in found.scores.values():
        np.testing.assert_allclose(scores.sum(), 2 * len(scores), rtol=1e-6)
        assert len(set(scores.tolist())) == len(scores)


@pytest.mark.parametrize("pair", [("encoder_fused_qkv", "encoder_packed_qkv"), ("decoder", "decoder_written_out")])
def test_the_same_heads_score_the_same_however_written(pair: tuple[str, str]) -> None:
    """Both models of a pair have the same weights; in the decoders a key head serves two query heads, and halves rotate."""
    first, second = (judged(traced(name), "qkv", Context(), "heads") for name in pair)
    for one, other in zip(first.scores.values(), second.scores.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("name", ["encoder_separate_qkv", "decoder"])
def test_with_data_on_traced_models(name: str) -> None:
    model = SMALL_MODELS[name]
    batches = [model.feeds(batch=3, seed=seed) for seed in range(2)]
    found = judged(traced(name), "qkv", context(batches), "heads")
    assert not found.misses
    assert any(
        np.abs(scores - judged(traced(name), "qkv", Context(), "heads").scores[key]).max() > 1e-3 for key, scores in found.scores.items()
    )


def test_what_simplify_fuses_scores_the_same() -> None:
    plain = traced("audio_encoder")
    fused = run(plain, [Simplify()], Context()).program
    assert any(node.op_type == "Attention" for node in fused.nodes()), "nothing was fused"
    both = [judged(one, "qkv", Context(), "heads") for one in (plain, fused)]
    for one, other in zip(both[0].scores.values(), both[1].scores.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_operators_of_onnx_runtime_are_followed() -> None:
    given = weights()
    split = "\n".join(f"{p}0 = MatMul (x, w{p})\n{p} = Add ({p}0, b{p})" for p in "qkv")
    program = program_of(
        f"""<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        fused (float[N, T, {WIDTH}] x, WEIGHTS) => (float[N, T, {WIDTH}] y)
        {{
            {split}
            j = com.microsoft.MultiHeadAttention <num_heads: int = {HEADS}> (q, k, v)
            y = MatMul (j, wo)
        }}""",
        given,
    )
    np.testing.assert_allclose(
        only(judged(program, "qkv", Context(), "heads")), only(judged(attention(given), "qkv", Context(), "heads")), rtol=1e-5
    )


def test_query_heads_that_share_all_keys_and_values_are_ranked_alone() -> None:
    """One key and value head (Shazeer, arXiv 1911.02150)."""
    given = drawn(0, wq=(WIDTH, HEADS * SIZE), wk=(WIDTH, SIZE), wv=(WIDTH, SIZE), wo=(HEADS * SIZE, WIDTH))
    program = program_of(
        f"""<ir_version: 10, opset_import: ["" : 23]>
        shared (float[N, T, {WIDTH}] x, WEIGHTS) => (float[N, T, {WIDTH}] y)
        {{
            q = MatMul (x, wq)
            k = MatMul (x, wk)
            v = MatMul (x, wv)
            j = Attention <q_num_heads: int = {HEADS}, kv_num_heads: int = 1> (q, k, v)
            y = MatMul (j, wo)
        }}""",
        given,
    )
    spread = np.array([np.linalg.norm(head(given["wq"], h) @ given["wk"].T) for h in range(HEADS)])
    written = np.array([np.linalg.norm(given["wv"] @ head(given["wo"], h, 0)) for h in range(HEADS)])
    found = judged(program, "qkv", Context(), "heads")
    assert not found.misses
    np.testing.assert_allclose(only(found), relative(spread) + relative(written), rtol=1e-5)


def test_a_key_head_counts_with_its_query_heads() -> None:
    """The decoder's norms by hand: four query heads, two key and value heads."""
    program = traced("decoder")
    found = judged(program, "qkv", Context(), "heads")
    w = {part: _weight(program, f"layers.0.{part}.weight") for part in ("q", "k", "v", "out")}
    size = 8
    spread, written = np.zeros(2), np.zeros(2)
    for query in range(4):
        key = query // 2
        q, k, v = (w[part][number * size : (number + 1) * size] for part, number in (("q", query), ("k", key), ("v", key)))
        spread[key] += np.linalg.norm(q.T @ k) ** 2
        written[key] += np.linalg.norm(w["out"][:, query * size : (query + 1) * size] @ v) ** 2
    expected = relative(np.sqrt(spread)) + relative(np.sqrt(written))
    np.testing.assert_allclose(next(iter(found.scores.values())), expected, rtol=1e-5)


def _weight(program: Program, name: str) -> np.ndarray:
    tensor = program.value(name).const_value
    assert tensor is not None
    return tensor.numpy().astype(np.float64)
