# ruff: noqa: E501 (a graph reads best with its nodes on one line)
"""Recurrent layers, adapters, marked chains, timing, the pass's options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.errors import NetwrightError
from netwright.passes import Context, Pipeline, run
from netwright.passes.merge import Merge
from tests.passes.merge.support import merge, merged, program
from tests.passes.simplify.weights import Weights

S = "float[S, N, 8] x"
HALF = np.array(0.5, np.float32)

RECURRENT: dict[str, tuple[str, Weights]] = {
    "LSTM": ("y, yh, yc = LSTM<hidden_size: int = 4>(i, w, r, b)", {"w": (1, 16, 8), "r": (1, 16, 4), "b": (1, 32)}),
    "LSTM without a bias": ("y, yh, yc = LSTM<hidden_size: int = 4>(i, w, r)", {"w": (1, 16, 8), "r": (1, 16, 4)}),
    "GRU": ('y, yh = GRU<hidden_size: int = 4, direction: string = "bidirectional", linear_before_reset: int = 1>(i, w, r, b)', {"w": (2, 12, 8), "r": (2, 12, 4), "b": (2, 24)}),
    "RNN": ("y, yh = RNN<hidden_size: int = 4>(i, w, r)", {"w": (1, 4, 8), "r": (1, 4, 4)}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "weights"), RECURRENT.values(), ids=RECURRENT.keys())
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_goes_into_the_gates(body: str, weights: Weights, bias: bool):
    before = "h = MatMul(x, a) i = Add(h, c)" if bias else "i = MatMul(x, a)"
    found = merge(S, "float[S, D, N, 4] y", f"{before} {body}", {"a": (8, 8), **({"c": (8,)} if bias else {}), **weights})
    assert len(found.ops) == 1
    assert found.exact_maps == {"w.merged"}
    assert "a" not in found.weights
    assert "w" not in found.weights


def test_a_low_rank_factor_stays_before_the_gates():
    found = merge(
        S,
        "float[S, D, N, 4] y",
        "i = MatMul(x, a) y, yh = RNN<hidden_size: int = 4>(i, w, r)",
        {"a": (8, 2), "w": (1, 4, 2), "r": (1, 4, 4)},
    )
    assert found.ops == ["MatMul", "RNN"]
    assert found.reasons == "kept as factors: 8×2 and the gates' 4×2 are 24 parameters, the product 32"


def test_a_product_goes_into_the_gates_past_a_transpose_of_time_and_batch():
    body = "h = MatMul(x, a) t = Add(h, c) i = Transpose<perm: ints = [1, 0, 2]>(t) y, yh = RNN<hidden_size: int = 4>(i, w, r)"
    found = merge(S, "float[N, D, S, 4] y", body, {"a": (8, 8), "c": (8,), "w": (1, 4, 8), "r": (1, 4, 4)})
    assert found.ops == ["Transpose", "RNN"]
    assert "a" not in found.weights
    body = "h = MatMul(x, a) i = Transpose<perm: ints = [0, 2, 1]>(h) y, yh = RNN<hidden_size: int = 4>(i, w, r)"
    found = merge("float[S, 8, 8] x", "float[S, D, 8, 4] y", body, {"a": (8, 8), "w": (1, 4, 8), "r": (1, 4, 4)}, when="always")
    assert found.ops == ["MatMul", "Transpose", "RNN"]


def test_a_table_takes_up_the_first_factor_of_a_layer_behind_it():
    """As factorize leaves it where time and batch change places: the table is thin then, and the gates too."""
    body = "e = Gather(u, i) h = MatMul(e, v) t = Transpose<perm: ints = [1, 0, 2]>(h) y, yh = RNN<hidden_size: int = 16>(t, w, r)"
    found = merge("int64[N, S] i", "float[S, D, N, 16] y", body, {"u": (9, 12), "v": (12, 3), "w": (1, 16, 3), "r": (1, 16, 16)})
    assert found.ops == ["Gather", "Transpose", "RNN"]
    assert (9, 3) in found.weights.values()


def test_what_others_read_stays_before_the_gates():
    body = "i = MatMul(x, a) y, yh = RNN<hidden_size: int = 4>(i, w, r) z = Relu(i)"
    found = merge(S, "float[S, D, N, 4] y, float[S, N, 8] z", body, {"a": (8, 8), "w": (1, 4, 8), "r": (1, 4, 4)}, when="always")
    assert found.ops == ["MatMul", "RNN", "Relu"]
    assert "the value between, %i, has 2 readers" in found.reasons


ADAPTERS: dict[str, tuple[str, str, str, Weights, list[str]]] = {
    "MatMul": ("float[N, S, 16] x", "float[N, S, 12] y", "b0 = MatMul(x, w) b1 = Add(b0, c) h = MatMul(x, u) i = MatMul(h, v) j = Mul(i, s) y = Add(b1, j)", {"w": (16, 12), "c": (12,), "u": (16, 3), "v": (3, 12), "s": HALF}, ["MatMul", "Add"]),
    "scaled inside, added before the bias": ("float[N, S, 16] x", "float[N, S, 12] y", "b0 = MatMul(x, w) h = MatMul(x, u) k = Mul(s, h) i = MatMul(k, v) b1 = Add(i, b0) y = Add(c, b1)", {"w": (16, 12), "c": (12,), "u": (16, 3), "v": (3, 12), "s": HALF}, ["MatMul", "Add"]),
    "Gemm": ("float[N, 16] x", "float[N, 12] y", "b0 = Gemm<transB: int = 1>(x, w, c) h = Gemm<transB: int = 1>(x, u) i = Gemm<alpha: float = 0.25, transB: int = 1>(h, v) y = Add(i, b0)", {"w": (12, 16), "c": (12,), "u": (3, 16), "v": (12, 3)}, ["Gemm"]),
    "MatMul and Gemm": ("float[N, 16] x", "float[N, 12] y", "b0 = MatMul(x, w) h = Gemm<transB: int = 1>(x, u) i = Gemm<alpha: float = 0.25, transB: int = 1>(h, v, c) y = Add(i, b0)", {"w": (16, 12), "c": (12,), "u": (3, 16), "v": (12, 3)}, ["Gemm"]),
    "Conv": ("float[N, 4, 9, 9] x", "float[N, 12, A, B] y", "b0 = Conv<pads: ints = [1, 1, 1, 1]>(x, w, c) h = Conv<pads: ints = [1, 1, 1, 1]>(x, u) i = Conv(h, v) y = Add(i, b0)", {"w": (12, 4, 3, 3), "c": (12,), "u": (2, 4, 3, 3), "v": (12, 2, 1, 1)}, ["Conv"]),
    "a table": ("int64[N, S] i", "float[N, S, 6] y", "h = Gather(w, i) k = Gather(u, i) l = MatMul(k, v) y = Add(h, l)", {"w": (9, 6), "u": (9, 2), "v": (2, 6)}, ["Gather"]),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "body", "weights", "left"), ADAPTERS.values(), ids=ADAPTERS.keys())
def test_an_adapter_goes_into_its_layer(inputs: str, outputs: str, body: str, weights: Weights, left: list[str]):
    found = merge(inputs, outputs, body, weights)
    assert found.ops == left
    assert found.weights["w"] == weights["w"]
    assert set(found.weights) == {"w", "c"} & set(weights) or left == ["Gemm"]


def test_branches_of_different_geometry_or_data_stay():
    body = "b = Conv<pads: ints = [1, 1, 1, 1]>(x, w) h = Conv(x, u) y = Add(h, b)"
    found = merge("float[N, 4, 9, 9] x", "float[N, 8, A, B] y", body, {"w": (8, 4, 3, 3), "u": (8, 4, 1, 1)}, when="always")
    assert found.ops == ["Conv", "Conv", "Add"]
    assert "their geometry differs" in found.reasons
    found = merge(
        "float[N, 4] x, float[N, 4] z",
        "float[N, 4] y",
        "a = MatMul(x, w) b = MatMul(z, u) y = Add(a, b)",
        {"w": (4, 4), "u": (4, 4)},
        when="always",
    )
    assert found.ops == ["MatMul", "MatMul", "Add"]


def test_two_thin_branches_stay():
    body = "a = MatMul(x, p) b = MatMul(a, q) c = MatMul(x, r) d = MatMul(c, s) y = Add(b, d)"
    found = merge("float[N, 16] x", "float[N, 16] y", body, {"p": (16, 2), "q": (2, 16), "r": (16, 2), "s": (2, 16)})
    assert len(found.ops) == 5
    assert "16×2, 2×16, 16×2 and 2×16 are 128 parameters, the product 256" in found.reasons


FOLDED = """h = Reshape(x, s1) i = MatMul(h, a) j = Transpose<perm: ints = [0, 1, 3, 2]>(i) k = MatMul(j, b) l = Transpose<perm: ints = [0, 1, 3, 2]>(k)
    y = Reshape(l, s2)"""


def kronecker(mark: str = "w@y", *, data: str = "float[N, S, 12] x", body: str = FOLDED, outer: int = 3) -> Program:
    """y = x (A ⊗ B) for 12 = 4 · 3 channels."""
    shapes = {"s1": np.array([0, 0, 4, 3]), "s2": np.array([0, 0, 4 * outer])}
    made = program(f"g ({data}) => (float[N, S, {4 * outer}] y) {{ {body} }}", {"a": (3, outer), "b": (4, 4), **shapes})
    for node in made.graph:
        if node.op_type != "Relu":
            node.metadata_props["netwright.chain"] = mark
    for value in list(made.initializers()):
        value.name = f"w.{value.name}"
    return made


def test_a_marked_chain_becomes_one_product():
    found = merged(kronecker(), {"when": "always"})
    assert found.ops == ["MatMul"]
    assert found.weights == {"w": (12, 12)}


def test_a_marked_chain_with_a_fixed_batch_becomes_one_product():
    found = merged(kronecker(data="float[2, 5, 12] x"), {"when": "always"})
    assert found.ops == ["MatMul"]


def test_a_marked_chain_that_is_smaller_stays():
    found = merged(kronecker(), {})
    assert len(found.ops) == 6
    assert found.reasons == "kept as factors: 2 factors of 12×12 are 25 parameters, the product 144"


def test_a_marked_chain_that_is_not_linear_stays():
    body = FOLDED.replace("MatMul(j, b)", "Mul(j, j)").replace("y = Reshape(l, s2)", "m = MatMul(l, c) y = Reshape(m, s2)")
    shapes: Weights = {"s1": np.array([0, 0, 4, 3]), "s2": np.array([0, 0, 12]), "a": (3, 3), "c": (3, 3)}
    made = program(f"g (float[N, S, 12] x) => (float[N, S, 12] y) {{ {body} }}", shapes)
    for node in made.graph:
        node.metadata_props["netwright.chain"] = "w"
    found = merged(made, {"when": "always"})
    assert len(found.ops) == 7
    assert "does not read one value and constants" in found.reasons or "row by row" in found.reasons


def test_a_marked_chain_that_mixes_rows_stays():
    body = "h = Transpose<perm: ints = [1, 0, 2]>(x) i = MatMul(h, a) y = Transpose<perm: ints = [0, 1, 2]>(i)"
    made = program(f"g (float[3, 2, 12] x) => (float[2, 3, 12] y) {{ {body} }}", {"a": (12, 12)})
    for node in made.graph:
        node.metadata_props["netwright.chain"] = "w"
    found = merged(made, {"when": "always"})
    assert len(found.ops) == 3
    assert "the marked chain cannot be evaluated" in found.reasons


@dataclass
class Clock:
    """Says the times that it was given, in turn."""

    times: Iterator[float]
    seen: int = 0

    def time(self, program: Program) -> float:
        """The next."""
        self.seen += 1
        assert len(list(program.graph)) in (1, 2)
        return next(self.times)


@pytest.mark.parametrize(("before", "after", "left"), [(2.0, 1.0, 1), (1.0, 1.5, 2), (1.0, 0.99, 2)])
def test_faster_means_measured(before: float, after: float, left: int):
    clock = Clock(iter([before, after] * 20))
    made = program("g (float[N, 16] x) => (float[N, 16] y) { h = MatMul(x, u) y = MatMul(h, v) }", {"u": (16, 2), "v": (2, 16)})
    found = merged(made, {"when": "faster"}, Context(timer=clock))
    assert len(found.ops) == left
    assert clock.seen >= 2
    if left == 2:
        assert f"16×2 and 2×16 take {before:.3g} ms, the product {after:.3g} ms" in found.reasons


def test_every_rule_can_be_timed():
    clock = Clock(iter([2.0, 1.0] * 40))
    clock.time = lambda program: next(clock.times)  # type: ignore[method-assign]
    context = Context(timer=clock)
    fan = "h = MatMul(x, a) q = MatMul(h, wq) y = MatMul(h, wk)"
    assert (
        len(
            merged(
                program(f"g (float[N, 8] x) => (float[N, 8] q, float[N, 8] y) {{ {fan} }}", {"a": (8, 2), "wq": (2, 8), "wk": (2, 8)}),
                {"when": "faster"},
                context,
            ).ops
        )
        == 2
    )
    adapter = "b = MatMul(x, w) h = MatMul(x, u) i = MatMul(h, v) y = Add(b, i)"
    assert merged(
        program(f"g (float[N, 8] x) => (float[N, 8] y) {{ {adapter} }}", {"w": (8, 8), "u": (8, 2), "v": (2, 8)}),
        {"when": "faster"},
        context,
    ).ops == ["MatMul"]
    gates = "i = MatMul(x, a) y, yh = RNN<hidden_size: int = 4>(i, w, r)"
    assert merged(
        program(f"g ({S}) => (float[S, D, N, 4] y) {{ {gates} }}", {"a": (8, 2), "w": (1, 4, 2), "r": (1, 4, 4)}),
        {"when": "faster"},
        context,
    ).ops == ["RNN"]
    assert merged(kronecker(), {"when": "faster"}, context).ops == ["MatMul"]


def test_options_are_checked():
    with pytest.raises(NetwrightError, match=r"when=.never. is not known.*One of smaller"):
        Merge(when="never")  # pyright: ignore[reportArgumentType]
    with pytest.raises(NetwrightError, match="needs timer"):
        run(kronecker(), Pipeline.parse("merge(when='faster')"), Context())
    assert str(Merge(exclude="a*")) == "merge(exclude=('a*',))"
