"""Attention and linear layers that are spelled out: recognised in every spelling, computed by one call, left alone where need be."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.backends.torch import lower_to_torch
from netwright.backends.torch.fuse.attention import AttentionMatch, find_attention
from netwright.backends.torch.fuse.linear import find_linear
from netwright.backends.torch.ops.fused import fused_attention, fused_linear
from netwright.frontends.torch import trace
from netwright.ir.program import Program
from tests.backends.torch.single import by_torch
from tests.models import SMALL_MODELS, traced
from tests.passes.programs import program_of

NONE: frozenset[str] = frozenset()
WITH_SCORES = (True, False, False, True)
SIZES = {"B": 2, "L": 3, "S": 5}


def program(
    body: str, *, more: str = "", outputs: str = "float[B, 2, L, 4] y", opset: int = 20, weights: dict[str, np.ndarray] | None = None
) -> Program:
    """A graph of q [B, 2, L, 4], k and v [B, 2, S, 4] and further inputs."""
    declared = f"float[B, 2, L, 4] q, float[B, 2, S, 4] k, float[B, 2, S, 4] v{', ' + more if more else ''}"
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    holder = ", WEIGHTS" if weights else ""
    return program_of(f"{head} attention ({declared}{holder}) => ({outputs}) {{ {body} }}", weights or {})


def feeds_of(given: Program) -> dict[str, np.ndarray]:
    """Random inputs; conditions hold for two thirds of the keys, and for the first always."""
    draw = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for value in given.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        shape = [dim if isinstance(dim, int) else SIZES[str(dim)] for dim in value.shape]
        kind = value.dtype.numpy()
        array = draw.random(shape) < 0.67 if kind == np.bool_ else draw.normal(size=shape).astype(kind)
        if kind == np.bool_:
            array[..., 0] = True
        feeds[value.name or ""] = array
    return feeds


def assert_same_values(given: Program, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Lowered with its patterns fused, a program gives what ONNX Runtime gives."""
    feeds = feeds_of(given)
    names = [value.name or "" for value in given.outputs]
    expected = OrtExecutor().run(given, feeds)
    found: object = lower_to_torch(given)(*(torch.from_numpy(feeds[value.name or ""]) for value in given.inputs))
    for name, one in zip(names, cast("tuple[torch.Tensor, ...]", found if isinstance(found, tuple) else (found,)), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), expected[name], rtol=rtol, atol=atol)


def single(given: Program, keep: frozenset[str] = NONE) -> AttentionMatch:
    """The one attention of a program."""
    found = find_attention(given, keep)
    assert len(found) == 1
    return found[0]


def counted_kernel(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The keyword arguments of every call of torch's fused attention from now on."""
    calls: list[dict[str, object]] = []
    kernel = cast("Callable[..., torch.Tensor]", F.scaled_dot_product_attention)

    def counted(*args: object, **keywords: object) -> torch.Tensor:
        calls.append(keywords)
        return kernel(*args, **keywords)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    return calls


TURN = "kt = Transpose <perm: ints = [0, 1, 3, 2]> (k) "
CONSTANTS = (
    "half = Constant <value = float {0.5}> () low = Constant <value = float {-3.4028235e38}> () "
    "minus = Constant <value = float {-1e9}> () two = Constant <value = float {2.0}> () zero = Constant <value = float {0}> () "
)

SPELLINGS: dict[str, tuple[str, str, float]] = {
    "no scale": (f"{TURN} s = MatMul (q, kt) p = Softmax <axis: int = -1> (s) y = MatMul (p, v)", "", 1.0),
    "scores times a number": (f"{TURN} s = MatMul (q, kt) t = Mul (half, s) p = Softmax <axis: int = 3> (t) y = MatMul (p, v)", "", 0.5),
    "scores over a number": (f"{TURN} s = MatMul (q, kt) t = Div (s, two) p = Softmax (t) y = MatMul (p, v)", "", 0.5),
    "number on q": (f"{TURN} u = Mul (q, half) s = MatMul (u, kt) p = Softmax (s) y = MatMul (p, v)", "", 0.5),
    "number on k": (
        "u = Div (k, two) kt = Transpose <perm: ints = [0, 1, 3, 2]> (u) s = MatMul (q, kt) p = Softmax (s) y = MatMul (p, v)",
        "",
        0.5,
    ),
    "root on both": (f"{TURN} u = Mul (q, half) w = Mul (kt, half) s = MatMul (u, w) p = Softmax (s) y = MatMul (p, v)", "", 0.25),
    "a mask added": (
        f"{TURN} s = MatMul (q, kt) t = Div (s, two) m = Add (t, mask) p = Softmax (m) y = MatMul (p, v)",
        "float[B, 1, 1, S] mask",
        0.5,
    ),
    "a mask and a bias added": (
        f"{TURN} s = MatMul (q, kt) t = Add (bias, s) m = Add (t, mask) p = Softmax (m) y = MatMul (p, v)",
        "float[B, 1, 1, S] mask, float[2, L, S] bias",
        1.0,
    ),
    "a condition that keeps": (
        f"{TURN} s = MatMul (q, kt) m = Where (keep, s, low) p = Softmax (m) y = MatMul (p, v)",
        "bool[B, 1, L, S] keep",
        1.0,
    ),
    "a condition that hides": (
        f"{TURN} s = MatMul (q, kt) n = Not (keep) m = Where (n, minus, s) p = Softmax (m) y = MatMul (p, v)",
        "bool[B, 1, 1, S] keep",
        1.0,
    ),
    "a condition, then a mask": (
        f"{TURN} s = MatMul (q, kt) t = Div (s, two) m = Where (keep, t, low) a = Add (m, mask) p = Softmax (a) y = MatMul (p, v)",
        "bool[L, S] keep, float[B, 1, 1, S] mask",
        0.5,
    ),
    "casts around the softmax": (
        f"{TURN} s = MatMul (q, kt) c = Cast <to: int = 1> (s) p = Softmax (c) d = Cast <to: int = 1> (p) y = MatMul (d, v)",
        "",
        1.0,
    ),
    "numbers typed by CastLike": (
        f"{TURN} s = MatMul (q, kt) h = CastLike (half, s) t = Mul (s, h) f = CastLike (low, t) m = Where (keep, t, f) "
        "p = Softmax (m) y = MatMul (p, v)",
        "bool[B, 1, 1, S] keep",
        0.5,
    ),
    "a guard against NaN": (
        f"{TURN} s = MatMul (q, kt) m = Add (s, mask) p = Softmax (m) n = IsNaN (p) g = Where (n, zero, p) y = MatMul (g, v)",
        "float[B, 1, L, S] mask",
        1.0,
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_one_attention_with_the_same_values(spelling: str) -> None:
    body, more, scale = SPELLINGS[spelling]
    given = program(CONSTANTS + body, more=more)
    match = single(given)
    assert match.scale == pytest.approx(scale)
    assert match.q.name == "q"
    assert match.key.name == "k"
    assert not match.transposed
    assert match.output.name == "y"
    assert_same_values(given)


def test_a_scale_that_is_computed_from_a_static_size_is_a_number() -> None:
    match = single(
        program(
            "n = Shape <start: int = -1> (q) f = Cast <to: int = 1> (n) r = Sqrt (f) one = Constant <value = float {1}> () "
            f"c = Div (one, r) w = Sqrt (c) {TURN} u = Mul (q, w) z = Mul (kt, w) s = MatMul (u, z) p = Softmax (s) y = MatMul (p, v)"
        )
    )
    assert match.scale == pytest.approx(0.5)


def through_rank_three(batch: str) -> Program:
    """Keys transposed as torch's exporter does it at opset 20; only with a static batch the shapes prove what it is."""
    return program_of(
        f'<ir_version: 10, opset_import: ["" : 20]> g (float[{batch}, 2, L, 4] q, float[{batch}, 2, 5, 4] k, float[{batch}, 2, 5, 4] v) '
        f"=> (float[{batch}, 2, L, 4] y) {{"
        "a = Constant <value = int64[3] {-1, 5, 4}> () k3 = Reshape (k, a) t3 = Transpose <perm: ints = [0, 2, 1]> (k3) "
        "b = Constant <value = int64[4] {2, 2, 4, 5}> () kt = Reshape (t3, b) s = MatMul (q, kt) p = Softmax (s) y = MatMul (p, v) }",
        {},
    )


def test_a_key_transposed_through_rank_three_is_taken_as_it_was() -> None:
    given = through_rank_three("2")
    match = single(given)
    assert match.key.name == "k"
    assert not match.transposed
    assert_same_values(given)


def test_a_key_that_is_not_proven_to_be_transposed_is_taken_as_it_comes() -> None:
    given = through_rank_three("B")
    match = single(given)
    assert match.key.name == "kt"
    assert match.transposed
    assert_same_values(given)


def test_keys_that_come_transposed_are_taken_so() -> None:
    body = "kt = Transpose <perm: ints = [0, 2, 3, 1]> (flat) s = MatMul (q, kt) p = Softmax (s) y = MatMul (p, v)"
    given = program(body, more="float[B, S, 2, 4] flat")
    match = single(given)
    assert match.transposed
    assert match.key.name == "kt"
    assert_same_values(given)


def test_scores_of_rank_three_are_attention_too() -> None:
    given = program_of(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[B, L, 4] q, float[B, S, 4] k, float[B, S, 4] v, float[B, L, S] mask) '
        "=> (float[B, L, 4] y) { kt = Transpose <perm: ints = [0, 2, 1]> (k) s = MatMul (q, kt) m = Add (s, mask) "
        "p = Softmax (m) y = MatMul (p, v) }",
        {},
    )
    assert single(given).mask is not None
    assert_same_values(given)


PLAIN = f"{TURN} s = MatMul (q, kt) t = Div (s, two) m = Add (t, mask) p = Softmax <axis: int = -1> (m) y = MatMul (p, v)"
MASK = "float[B, 1, 1, S] mask"

REFUSED: dict[str, tuple[str, str, str]] = {
    "the weights are an output": (PLAIN, MASK, "float[B, 2, L, 4] y, float[B, 2, L, S] p"),
    "the scores have another reader": (PLAIN + " z = Relu (t)", MASK, "float[B, 2, L, 4] y, float[B, 2, L, S] z"),
    "softmax over another axis": (PLAIN.replace("-1", "2"), MASK, "float[B, 2, L, 4] y"),
    "scaled after the mask": (
        f"{TURN} s = MatMul (q, kt) m = Add (s, mask) t = Div (m, two) p = Softmax (t) y = MatMul (p, v)",
        MASK,
        "float[B, 2, L, 4] y",
    ),
    "a fill that scores show beside": (
        f"{TURN} s = MatMul (q, kt) m = Where (keep, s, half) p = Softmax (m) y = MatMul (p, v)",
        "bool[B, 1, 1, S] keep",
        "float[B, 2, L, 4] y",
    ),
    "scores enlarged by their mask": (
        f"{TURN} s = MatMul (q, kt) m = Add (s, mask) p = Softmax (m) y = MatMul (p, v)",
        "float[5, B, 1, 1, S] mask",
        "float[5, B, 2, L, 4] y",
    ),
    "a negative scale": (PLAIN.replace("two", "minus"), MASK, "float[B, 2, L, 4] y"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_attention_or_shows_its_inside_is_left_alone(reason: str) -> None:
    body, more, outputs = REFUSED[reason]
    assert find_attention(program(CONSTANTS + body, more=more, outputs=outputs), NONE) == []


@pytest.mark.parametrize("name", ["s", "t", "m", "p"])
def test_an_inner_value_that_is_to_be_kept_is_kept(name: str) -> None:
    given = program(CONSTANTS + PLAIN, more=MASK)
    assert len(find_attention(given, frozenset({"y", "q"}))) == 1
    assert find_attention(given, frozenset({name})) == []


def test_wanted_scores_come_out_of_the_lowered_module() -> None:
    given = program(CONSTANTS + PLAIN, more=MASK)
    feeds = feeds_of(given)
    tensors = [torch.from_numpy(feeds[value.name or ""]) for value in given.inputs]
    fused = lower_to_torch(given)(*tensors)
    y, weights = lower_to_torch(given, wanted=("p",))(*tensors)
    torch.testing.assert_close(y, fused)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 3))


def test_a_scaled_query_with_another_reader_is_taken_scaled() -> None:
    body = f"{TURN} u = Mul (q, half) z = Relu (u) s = MatMul (u, kt) p = Softmax (s) y = MatMul (p, v)"
    match = single(program(CONSTANTS + body, outputs="float[B, 2, L, 4] y, float[B, 2, L, 4] z"))
    assert match.q.name == "u"
    assert match.scale == 1.0


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "opset"), [("encoder_separate_qkv", 20), ("encoder_fused_qkv", 23), ("decoder", 20)])
def test_every_attention_of_a_traced_model_is_found(name: str, opset: int) -> None:
    given = traced(name, opset)
    assert sum(node.op_type == "Softmax" for node in given.nodes()) == 2
    assert len(find_attention(given, NONE)) == 2


@pytest.mark.parametrize("spelled", [False, True])
def test_attention_with_dropout_is_found_with_its_probability(spelled: bool) -> None:
    class Dropped(torch.nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            if spelled:
                return F.dropout((q @ k.transpose(-1, -2) / 2.0).softmax(-1), 0.25, self.training) @ v
            return F.scaled_dot_product_attention(q, k, v, dropout_p=0.25 if self.training else 0.0)

    q, k, v = (torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    given = trace(Dropped().train(), (q, k, v), dropout=True)
    match = single(given)
    assert match.dropout == pytest.approx(0.25)
    assert match.scale == pytest.approx(0.5)
    module = lower_to_torch(given)
    torch.testing.assert_close(module(q, k, v), F.scaled_dot_product_attention(q, k, v))
    module.train()
    torch.manual_seed(0)
    drawn = module(q, k, v)
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, F.scaled_dot_product_attention(q, k, v, dropout_p=0.25))


@pytest.mark.parametrize(("name", "opset"), [("encoder_separate_qkv", 23), ("encoder_separate_qkv", 20), ("encoder_fused_qkv", 23)])
def test_both_forms_of_attention_run_through_the_fused_kernel(name: str, opset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = traced(name, opset)
    has_operator = any(node.op_type == "Attention" for node in given.nodes())
    assert has_operator == (opset == 23 and name != "encoder_fused_qkv")
    module = lower_to_torch(given)
    calls = counted_kernel(monkeypatch)
    feeds = SMALL_MODELS[name].feeds()
    found = module(**{key: torch.from_numpy(array) for key, array in feeds.items()})
    assert len(calls) == 2
    expected = OrtExecutor().run(given, feeds)
    np.testing.assert_allclose(found.detach().numpy(), next(iter(expected.values())), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_operator_runs_through_the_fused_kernel_unless_scores_are_wanted(
    causal: bool, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_kernel(monkeypatch)
    heads = 2 if grouped else 4
    inputs = [torch.randn(2, 4, 3, 8), torch.randn(2, heads, 3, 8), torch.randn(2, heads, 3, 8)]
    (y,) = by_torch("Attention", inputs, {"is_causal": int(causal)}, opset=23)
    assert len(calls) == 1
    assert calls[0]["is_causal"] is causal
    assert calls[0].get("enable_gqa", False) is grouped
    assert calls[0]["attn_mask"] is None
    spelled, _ = by_torch("Attention", inputs, {"is_causal": int(causal)}, outputs=WITH_SCORES, opset=23)
    assert len(calls) == 1
    torch.testing.assert_close(spelled, y)


def test_a_mask_repeated_by_a_view_reaches_the_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted_kernel(monkeypatch)
    inputs = [torch.randn(2, 4, 3, 8) for _ in range(3)]
    mask = torch.tensor([[[[True, False, True]]], [[[True, True, True]]]])
    (y,) = by_torch("Attention", [*inputs, mask.expand(2, 4, 3, 3)], opset=23)
    seen = calls[0]["attn_mask"]
    assert isinstance(seen, torch.Tensor)
    assert seen.shape == (2, 1, 1, 3)
    (whole,) = by_torch("Attention", [*inputs, mask.expand(2, 4, 3, 3).contiguous()], opset=23)
    torch.testing.assert_close(y, whole)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("outputs", [(True,), WITH_SCORES])
def test_a_query_that_sees_no_key_gives_zeros_and_finite_gradients_either_way(causal: int, outputs: tuple[bool, ...]) -> None:
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1] = False
    leaves = [torch.randn(1, 2, size, 4, dtype=torch.float64).requires_grad_() for size in (3, 5, 5)]
    y = by_torch("Attention", [*leaves, mask], {"is_causal": causal}, outputs=outputs, opset=23)[0]
    assert (y[:, :, 1] == 0).all()
    y.sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("settings", [{}, {"softcap": 1.5}, {"is_causal": 1}, {"qk_matmul_output_mode": 3}])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_the_operator(settings: dict[str, object], masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(1, heads, 3, 4, dtype=torch.float64, generator=generator).requires_grad_() for heads in (4, 2, 2)]
    mask = torch.randn(3, 3, dtype=torch.float64, generator=generator) if masked else None
    outputs = WITH_SCORES if "qk_matmul_output_mode" in settings else (True,)

    def run(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(by_torch("Attention", [*given, mask], settings, outputs=outputs, opset=24))

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_gradients_of_the_fused_call() -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(1, 2, *shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in ((3, 4), (4, 5), (5, 4))]
    bias = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator).requires_grad_()
    keep = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    keep[..., 4] = False

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return fused_attention(q, k, v, b, keep, scale=0.5, fill=-1e30)

    assert torch.autograd.gradcheck(run, [*leaves, bias], fast_mode=True)


# ---- linear layers -------------------------------------------------------------------------------------------------

W, WT, BIAS = (np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in ((4, 6), (6, 4), (6,)))

LAYERS: dict[str, tuple[str, dict[str, np.ndarray], bool, bool]] = {
    "a product": ("y = MatMul (x, w)", {"w": W}, False, False),
    "a product and a bias": ("z = MatMul (x, w) y = Add (z, b)", {"w": W, "b": BIAS}, False, True),
    "a bias and a product": ("z = MatMul (x, w) y = Add (b, z)", {"w": W, "b": BIAS}, False, True),
    "a transposed weight": ("t = Transpose <perm: ints = [1, 0]> (w) y = MatMul (x, t)", {"w": WT}, True, False),
    "a transposed weight and a bias": ("t = Transpose (w) z = MatMul (x, t) y = Add (z, b)", {"w": WT, "b": BIAS}, True, True),
}


def layer(body: str, weights: dict[str, np.ndarray], outputs: str = "float[N, T, 6] y") -> Program:
    return program_of(f'<ir_version: 10, opset_import: ["" : 21]> g (float[N, T, 4] x, WEIGHTS) => ({outputs}) {{ {body} }}', weights)


@pytest.mark.parametrize("spelling", LAYERS)
def test_every_spelling_of_a_linear_layer_is_one_call(spelling: str) -> None:
    body, weights, transposed, biased = LAYERS[spelling]
    given = layer(body, weights)
    (match,) = find_linear(given, NONE)
    assert match.transposed is transposed
    assert (match.bias is not None) is biased
    assert match.weight.name == "w"
    assert len(match.nodes) == len(list(given.nodes()))
    module = lower_to_torch(given)
    assert [node.target for node in module.graph.nodes if node.op == "call_function"] == [fused_linear]
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = OrtExecutor().run(given, {"x": x.numpy()})
    np.testing.assert_allclose(module(x).detach().numpy(), expected["y"], rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_dequantized_is_a_weight() -> None:
    weights = {"w": np.ones((6, 4), np.int64), "s": np.full((), 0.5, np.float32)}
    body = "i = Cast <to: int = 3> (w) d = DequantizeLinear (i, s) t = Transpose (d) y = MatMul (x, t)"
    (match,) = find_linear(layer(body, weights), NONE)
    assert match.weight.name == "d"
    assert match.transposed


def test_a_bias_is_left_outside_where_the_product_is_needed_or_it_is_no_bias() -> None:
    body, weights, *_ = LAYERS["a product and a bias"]
    read = layer(body, weights, "float[N, T, 6] y, float[N, T, 6] z")
    kept = layer(body, weights)
    long = layer(body, {**weights, "b": np.ones((1, 1, 6), np.float32)})
    one = layer(body, {**weights, "b": np.ones((1,), np.float32)})
    for given, keep in ((read, NONE), (kept, frozenset({"z"})), (long, NONE), (one, NONE)):
        (match,) = find_linear(given, keep)
        assert match.bias is None
        assert match.output.name == "z"


def test_a_transposed_weight_of_several_products_is_read_as_it_is_by_each() -> None:
    given = layer("t = Transpose (w) a = MatMul (x, t) c = Relu (x) b = MatMul (c, t) y = Add (a, b)", {"w": WT})
    one, other = find_linear(given, NONE)
    assert one.transposed
    assert other.transposed
    assert all(node.op_type != "Transpose" for match in (one, other) for node in match.nodes)


def test_a_product_of_two_values_is_no_linear_layer() -> None:
    given = program_of(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N, 4] x, float[4, 6] z) => (float[N, 6] y) { y = MatMul (x, z) }', {}
    )
    assert find_linear(given, NONE) == []


@pytest.mark.parametrize("name", ["encoder_separate_qkv", "lstm"])
def test_no_product_with_a_weight_is_left_in_a_traced_model(name: str) -> None:
    module = lower_to_torch(traced(name))
    targets = [getattr(node.target, "__name__", "") for node in module.graph.nodes if node.op == "call_function"]
    assert "matmul" not in targets
    assert targets.count("fused_linear") == len(find_linear(traced(name), NONE)) > 0


@pytest.mark.parametrize(
    ("shape", "transposed"), [((4, 6), False), ((6, 4), True), ((2, 9), False), ((9, 2), False), ((9, 2), True), ((2, 9), True)]
)
def test_gradients_of_a_linear_layer(shape: tuple[int, int], transposed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = reversed(shape) if transposed else shape
    leaves = [torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_() for size in ((2, 3, inputs), shape, (outputs,))]

    def run(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return fused_linear(x, w, b, transposed=transposed)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 8), (8, 32), (16, 8)])
def test_thin_weights_are_trained_with_their_longer_side_in_rows(
    inputs: int, outputs: int, transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        seen.append(weight.stride())
        return x @ weight.t()

    monkeypatch.setattr(F, "linear", linear)
    weight = torch.randn((outputs, inputs) if transposed else (inputs, outputs), requires_grad=True)
    fused_linear(torch.randn(3, inputs), weight, transposed=transposed)
    with torch.no_grad():
        fused_linear(torch.randn(3, inputs), weight, transposed=transposed)
    stored = (inputs, 1) if transposed else (1, outputs)
    assert seen == [{(32, 8): (32, 1), (8, 32): (1, 32)}.get((inputs, outputs), stored), stored]
