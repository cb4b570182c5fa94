"""Units that are not zero where they end: removal equals the masked model, or is refused with the reason."""

from __future__ import annotations

import onnx_ir
import pytest

from netwright.ir.coupling import coupling
from netwright.ir.coupling.axes import Fixed
from netwright.ir.coupling.rules import table
from netwright.ir.coupling.walk import Walk
from netwright.passes.prune.masked import masked
from tests.passes.prune.graphs import Graph
from tests.passes.prune.test_removal import assert_equal, without

_HEAD = '<ir_version: 10, opset_import: ["" : 23, "some" : 1, "com.microsoft" : 1]>\n'


def _row(body: str) -> str:
    return f"{_HEAD}g (float[N, 5] x, WEIGHTS) => (float[N, 2] y) {{ {body} }}"


def _sequence(body: str) -> str:
    return f"{_HEAD}g (float[N, T, 5] x, WEIGHTS) => (float[N, T, 5] y) {{ {body} }}"


_ROWS, _SEQUENCES = {"x": (3, 5)}, {"x": (2, 3, 5)}

REFUSED: dict[str, tuple[Graph, str, str]] = {
    "a constant into a grouped convolution": (
        Graph(
            f"{_HEAD}g (float[N, 3, 6, 6] x, WEIGHTS) => (float[N, 2, A, B] y) "
            "{ a = Conv(x, w)\ns = Sigmoid(a)\nd = Conv<group=2>(s, k)\ny = Conv(d, v) }",
            {"w": (8, 3, 1, 1), "k": (6, 4, 3, 3), "v": (2, 6, 1, 1)},
            {"x": (2, 3, 6, 6)},
            {},
        ),
        "a",
        "zero has become 0.5 before Conv at %d, and Conv at %d works on 2 groups of channels",
    ),
    "a constant into an Einsum": (
        Graph(
            _row('a = MatMul(x, w)\ns = Sigmoid(a)\ny = Einsum<equation="nh,ho->no">(s, u)'),
            {"w": (5, 6), "u": (6, 2)},
            _ROWS,
            {},
        ),
        "a",
        "zero has become 0.5 before Einsum at %y",
    ),
    "features of queries and keys": (
        Graph(
            _sequence(
                "m = ReduceSum<keepdims=1>(x, last)\nq = MatMul(x, wq)\nqm = Add(q, m)\nk = MatMul(x, wk)\nkm = Add(k, m)\n"
                "v = MatMul(x, wv)\no = Attention<q_num_heads=2, kv_num_heads=2>(qm, km, v)\ny = MatMul(o, wo)"
            ),
            {"wq": (5, 8), "wk": (5, 8), "wv": (5, 8), "wo": (8, 5)},
            _SEQUENCES,
            {},
            {"last": (-1,)},
        ),
        "q",
        "what Attention at %o sums over is not zero where its units are",
    ),
    "a constant into an RMS norm": (
        Graph(
            _row("a = MatMul(x, w)\ns = Sigmoid(a)\nn = RMSNormalization(s, g)\ny = MatMul(n, u)"),
            {"w": (5, 6), "g": (6,), "u": (6, 2)},
            _ROWS,
            {},
        ),
        "a",
        "zero has become 0.5 before RMSNormalization at %n",
    ),
    "features of queries and keys, as ONNX Runtime writes it": (
        Graph(
            _sequence(
                "m = ReduceSum<keepdims=1>(x, last)\nq = MatMul(x, wq)\nqm = Add(q, m)\nk = MatMul(x, wk)\nkm = Add(k, m)\n"
                "v = MatMul(x, wv)\no = com.microsoft.MultiHeadAttention<num_heads=2>(qm, km, v)\ny = MatMul(o, wo)"
            ),
            {"wq": (5, 8), "wk": (5, 8), "wv": (5, 8), "wo": (8, 5)},
            _SEQUENCES,
            {},
            {"last": (-1,)},
        ),
        "q",
        "what MultiHeadAttention at %o sums over is not zero where its units are",
    ),
    "a constant into a unit vector": (
        Graph(_row("a = MatMul(x, w)\ns = Sigmoid(a)\nn = LpNormalization(s)\ny = MatMul(n, u)"), {"w": (5, 6), "u": (6, 2)}, _ROWS, {}),
        "a",
        "zero has become 0.5 before LpNormalization at %n",
    ),
    "a constant that turns": (
        Graph(
            _sequence(
                "a = MatMul(x, w)\ns = Sigmoid(a)\nc = Reshape(s, cut)\nt = Transpose<perm=[0, 2, 1, 3]>(c)\n"
                "r = RotaryEmbedding(t, cosine, sine, places)\nb = Transpose<perm=[0, 2, 1, 3]>(r)\nm = Reshape(b, back)\ny = MatMul(m, u)"
            ),
            {"w": (5, 8), "u": (8, 5), "cosine": (3, 2), "sine": (3, 2)},
            _SEQUENCES,
            {},
            {"cut": (0, 0, 2, 4), "back": (0, 0, 8), "places": ((0, 1, 2), (0, 1, 2))},
        ),
        "a",
        "what MatMul at %y sums over is not zero where its units are",
    ),
    "a norm of a weight, over what goes": (
        Graph(
            _row("a = MatMul(x, w)\nn = ReduceL2<keepdims=1>(u, first)\nk = Div(u, n)\ny = MatMul(a, k)"),
            {"w": (5, 6), "u": (6, 2)},
            _ROWS,
            {},
            {"first": (0,)},
        ),
        "a",
        "what ReduceL2 at %n sums over is not zero where its units are",
    ),
    "a table's entries against zero": (
        Graph(
            _row("a = MatMul(x, w)\nt = Gather(g, order)\ne = Exp(t)\nm = Max(a, e)\ny = MatMul(m, u)"),
            {"w": (5, 6), "g": (6,), "u": (6, 2)},
            _ROWS,
            {},
            {"order": (3, 0, 1, 2, 5, 4)},
        ),
        "a",
        "what MatMul at %y sums over is not zero where its units are",
    ),
    "a state that does not stay zero": (
        Graph(
            f"{_HEAD}g (float[T, 2, 5] x, WEIGHTS) => (float[T, 2, 2] y) {{ s0 = ConstantOfShape(shape)\n"
            "f, y = Scan<num_scan_inputs=1, body = b (float[2, 6] s, float[2, 5] xt) => (float[2, 6] sn, float[2, 2] so) "
            "{ p = MatMul(xt, w)\nq = MatMul(s, r)\nt = Add(p, q)\nsn = Sigmoid(t)\nso = MatMul(s, u) }>(s0, x) }",
            {"w": (5, 6), "r": (6, 6), "u": (6, 2)},
            {"x": (4, 2, 5)},
            {},
            {"shape": (2, 6)},
        ),
        "p",
        "what MatMul at %q sums over is not zero where its units are",
    ),
}
"""A graph, the group of which units are to go, and why they cannot."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_differs_from_the_masked_model_is_refused(name: str) -> None:
    graph, group, reason = REFUSED[name]
    program = graph.program()
    smaller, misses = without(program, {group: [1]}, approximate=True)
    assert not misses
    with pytest.raises(AssertionError):
        assert_equal(masked(program, {group: [1]}), smaller, graph.inputs())
    _, misses = without(program, {group: [1]})
    assert [miss.site for miss in misses] == [group]
    assert reason in misses[0].reason


EXACT: dict[str, tuple[Graph, str]] = {
    "ONNX Runtime's Gelu with its bias inside": (
        Graph(
            _row("a = MatMul(x, w)\ng = com.microsoft.FastGelu(a, b)\nq = com.microsoft.QuickGelu(g)\ny = MatMul(q, u)"),
            {"w": (5, 6), "b": (6,), "u": (6, 2)},
            _ROWS,
            {},
        ),
        "a",
    ),
    "one number added to all": (
        Graph(_row("a = Gemm(x, w, b)\ny = Gemm(a, u, c)"), {"w": (5, 6), "b": (1,), "u": (6, 2), "c": (2,)}, _ROWS, {}),
        "a",
    ),
    "one of queries and keys is zero": (
        Graph(
            _sequence(
                "m = ReduceSum<keepdims=1>(x, last)\nq = MatMul(x, wq)\nqm = Add(q, m)\nk = MatMul(x, wk)\n"
                "v = MatMul(x, wv)\no = Attention<q_num_heads=2, kv_num_heads=2>(qm, k, v)\ny = MatMul(o, wo)"
            ),
            {"wq": (5, 8), "wk": (5, 8), "wv": (5, 8), "wo": (8, 5)},
            _SEQUENCES,
            {},
            {"last": (-1,)},
        ),
        "q",
    ),
    "a Slice drops what is not zero": (
        Graph(
            _row("a = MatMul(x, w)\ns = Sigmoid(a)\nh = Slice(s, zero, two, one)\ny = Identity(h)"),
            {"w": (5, 6)},
            _ROWS,
            {},
            {"zero": (0,), "two": (2,), "one": (1,)},
        ),
        "a",
    ),
}
"""A graph and a group of which the last unit can go."""


@pytest.mark.parametrize("name", EXACT)
def test_what_equals_the_masked_model_goes(name: str) -> None:
    graph, group = EXACT[name]
    program = graph.program()
    unit = coupling(program).group(group).size - 1
    smaller, misses = without(program, {group: [unit]})
    assert not misses
    assert_equal(masked(program, {group: [unit]}), smaller, graph.inputs())


def test_an_rms_norm_as_onnx_runtime_writes_it() -> None:
    body = "a = MatMul(x, w)\ns = Sigmoid(a)\nn = SimplifiedLayerNormalization(s, g)\ny = MatMul(n, u)"
    program = Graph(_row(body), {"w": (5, 6), "g": (6,), "u": (6, 2)}, _ROWS, {}).program()
    _, misses = without(program, {"a": [1]})
    assert "zero has become 0.5 before SimplifiedLayerNormalization at %n" in misses[0].reason


def test_an_operator_that_takes_units_in_and_gives_none_must_get_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an operator does that is not known here: zeros may go, constants may not."""

    def total(walk: Walk, node: onnx_ir.Node) -> None:
        walk.set(node.outputs[0], (Fixed("it is the batch"), Fixed("it has the fixed size 2")))

    monkeypatch.setitem(table.RULES, ("some", "Total"), total)
    for body, refused in (("r = Relu(a)", False), ("r = Sigmoid(a)", True)):
        program = Graph(_row(f"a = MatMul(x, w)\n{body}\ny = some.Total(r)"), {"w": (5, 6)}, _ROWS, {}).program()
        _, misses = without(program, {"a": [1]})
        assert bool(misses) is refused
        if refused:
            assert "what Total at %y takes in is not zero where its units are" in misses[0].reason


def test_shapes_and_types_do_not_depend_on_values() -> None:
    graph = Graph(
        _row("a = MatMul(x, w)\ns = Sigmoid(a)\nc = CastLike(x, s)\ny = MatMul(c, u)\nz = MatMul(a, v)").replace(
            "float[N, 2] y", "float[N, 2] y, float[N, 2] z"
        ),
        {"w": (5, 6), "u": (5, 2), "v": (6, 2)},
        _ROWS,
        {},
    )
    smaller, misses = without(graph.program(), {"a": [1]})
    assert not misses
    assert_equal(masked(graph.program(), {"a": [1]}), smaller, graph.inputs())
