"""One small graph for each rule of coupling, with the groups that it must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netwright.ir import Program
from tests.passes.programs import program_of


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph and what it must come to.

    Attributes:
        text: in ONNX's textual syntax, WEIGHTS standing for the weights.
        weights: shapes by name.
        feeds: shapes of the inputs by name.
        groups: for each group that can be removed exactly: its kind and size.
        integers: weights that are given rather than drawn.
    """

    text: str
    weights: dict[str, tuple[int, ...]]
    feeds: dict[str, tuple[int, ...]]
    groups: dict[str, tuple[str, int]]
    integers: Mapping[str, tuple[int | float | tuple[int, ...], ...] | int] | None = None

    def program(self) -> Program:
        """The program, its weights drawn."""
        rng = np.random.default_rng(0)
        drawn = {name: rng.normal(size=shape).astype(np.float32) * 0.5 for name, shape in self.weights.items()}
        given = {
            name: np.asarray(values, dtype=np.int64 if np.asarray(values).dtype.kind == "i" else np.float32)
            for name, values in (self.integers or {}).items()
        }
        return program_of(self.text, {**drawn, **given})

    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs, drawn."""
        rng = np.random.default_rng(1)
        return {name: rng.normal(size=shape).astype(np.float32) for name, shape in self.feeds.items()}


def _text(body: str, inputs: str, outputs: str, opset: int = 23) -> str:
    return f'<ir_version: 10, opset_import: ["" : {opset}]>\ng ({inputs}, WEIGHTS) => ({outputs}) {{ {body} }}'


_X = "float[N, 3, 6, 6] x"
_IMAGE = {"x": (2, 3, 6, 6)}
_ROW = "float[N, 5] x"
_ROWS = {"x": (3, 5)}
_SEQ = "float[T, N, 5] x"
_SEQS = {"x": (4, 2, 5)}

GRAPHS: dict[str, Graph] = {
    "conv": Graph(
        _text("a = Conv(x, w, b)\nr = Relu(a)\ny = Conv(r, v)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 3, 3), "b": (4,), "v": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "depthwise": Graph(
        _text("a = Conv(x, w)\nd = Conv<group=4>(a, k, b)\ny = Conv(d, v)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "k": (4, 1, 3, 3), "b": (4,), "v": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "depthwise multiplier": Graph(
        _text("a = Conv(x, w)\nd = Conv<group=4>(a, k)\ny = Conv(d, v)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "k": (8, 1, 3, 3), "v": (2, 8, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "grouped": Graph(
        _text("a = Conv(x, w)\nd = Conv<group=2>(a, k)\ny = Conv(d, v)", _X, "float[N, 2, A, B] y"),
        {"w": (8, 3, 1, 1), "k": (6, 4, 3, 3), "v": (2, 6, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4), "d": ("channels", 3)},
    ),
    "transposed convolution": Graph(
        _text("a = ConvTranspose<strides=[2, 2]>(x, w, b)\nr = Relu(a)\ny = ConvTranspose(r, v)", _X, "float[N, 2, A, B] y"),
        {"w": (3, 4, 2, 2), "b": (4,), "v": (4, 2, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "batch norm": Graph(
        _text(
            "a = Conv(x, w)\nn = BatchNormalization(a, g, h, m, s)\nr = Relu(n)\nf = GlobalMaxPool(r)\ny = Conv(f, v)",
            _X,
            "float[N, 2, A, B] y",
        ),
        {"w": (4, 3, 1, 1), "g": (4,), "h": (4,), "m": (4,), "v": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
        {"s": (0.5, 1.5, 1.0, 2.0)},
    ),
    "instance norm": Graph(
        _text("a = Conv(x, w)\nn = InstanceNormalization(a, g, h)\ny = Conv(n, v)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "g": (4,), "h": (4,), "v": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "one vector, many readers": Graph(
        _text("a = Conv(x, w, b)\nr = Relu(a)\nc = Conv(r, v, b)\nq = Relu(c)\ny = Conv(q, u)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "b": (4,), "v": (4, 4, 1, 1), "u": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4), "c": ("channels", 4)},
    ),
    "residual": Graph(
        _text("a = Conv(x, w)\nc = Conv(a, v)\ns = Add(a, c)\nr = Relu(s)\ny = Conv(r, u)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1), "u": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "concat": Graph(
        _text("a = Conv(x, w)\nc = Conv(x, v)\ns = Concat<axis=1>(a, x, c)\ny = Conv(s, u)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "v": (2, 3, 1, 1), "u": (2, 9, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4), "c": ("channels", 2)},
    ),
    "split": Graph(
        _text("a = Conv(x, w)\np, q = Split<axis=1, num_outputs=2>(a)\ns = Add(p, q)\ny = Conv(s, u)", _X, "float[N, 2, A, B] y"),
        {"w": (8, 3, 1, 1), "u": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "split into unequal parts": Graph(
        _text("a = Conv(x, w)\np, q = Split<axis=1>(a, sizes)\nc = Conv(p, u)\nd = Conv(q, v)\ny = Add(c, d)", _X, "float[N, 2, A, B] y"),
        {"w": (8, 3, 1, 1), "u": (2, 3, 1, 1), "v": (2, 5, 1, 1)},
        _IMAGE,
        {"a": ("channels", 8)},
        {"sizes": (3, 5)},
    ),
    "slice": Graph(
        _text(
            "a = Conv(x, w)\np = Slice(a, zero, four, one)\nq = Slice(a, last, before, one, back)\nr = Slice(p, zero, four, one, two)\n"
            "c = Conv(q, u)\nd = Conv(r, v)\ny = Add(c, d)",
            _X,
            "float[N, 2, A, B] y",
        ),
        {"w": (8, 3, 1, 1), "u": (2, 4, 1, 1), "v": (2, 2, 1, 1)},
        _IMAGE,
        {"a": ("channels", 8)},
        {"zero": (0,), "four": (4,), "one": (1,), "last": (-1,), "before": (3,), "back": (-1,), "two": (2,)},
    ),
    "channel shuffle": Graph(
        _text(
            "a = Conv(x, w)\ns = Reshape(a, cut)\nt = Transpose<perm=[0, 2, 1, 3, 4]>(s)\nm = Reshape(t, back)\ny = Conv(m, u)",
            _X,
            "float[N, 2, A, B] y",
        ),
        {"w": (8, 3, 1, 1), "u": (2, 8, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
        {"cut": (0, 2, 4, 6, 6), "back": (0, 8, 6, 6)},
    ),
    "gather by constants": Graph(
        _text("a = Conv(x, w)\np = Gather<axis=1>(a, order)\ny = Conv(p, u)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "u": (2, 5, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
        {"order": (3, 0, 1, 2, 3)},
    ),
    "depth to space": Graph(
        _text("a = Conv(x, w)\np = DepthToSpace<blocksize=2>(a)\ny = Conv(p, u)", _X, "float[N, 2, A, B] y"),
        {"w": (12, 3, 1, 1), "u": (2, 3, 1, 1)},
        _IMAGE,
        {"a": ("channels", 3)},
    ),
    "pixel shuffle": Graph(
        _text('a = Conv(x, w)\np = DepthToSpace<blocksize=2, mode="CRD">(a)\ny = Conv(p, u)', _X, "float[N, 2, A, B] y"),
        {"w": (12, 3, 1, 1), "u": (2, 3, 1, 1)},
        _IMAGE,
        {"a": ("channels", 3)},
    ),
    "space to depth": Graph(
        _text("a = Conv(x, w)\np = SpaceToDepth<blocksize=2>(a)\ny = Conv(p, u)", _X, "float[N, 2, A, B] y"),
        {"w": (3, 3, 1, 1), "u": (2, 12, 1, 1)},
        _IMAGE,
        {"a": ("channels", 3)},
    ),
    "flatten and Gemm": Graph(
        _text("a = Conv(x, w)\nf = Flatten(a)\nh = Gemm<transB=1>(f, v, b)\nr = Relu(h)\ny = Gemm<transB=1>(r, u)", _X, "float[N, 2] y"),
        {"w": (4, 3, 1, 1), "v": (6, 144), "b": (6,), "u": (2, 6)},
        _IMAGE,
        {"a": ("channels", 4), "h": ("hidden", 6)},
    ),
    "resize and pad": Graph(
        _text('a = Conv(x, w)\np = Pad(a, amounts)\nz = Resize<mode="nearest">(p, , , sizes)\ny = Conv(z, u)', _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "u": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
        {"amounts": (0, 0, 1, 1, 0, 0, 1, 1), "sizes": (2, 4, 16, 16)},
    ),
    "squeeze and excite": Graph(
        _text(
            "a = Conv(x, w)\ng = ReduceMean<keepdims=1>(a, axes)\nh = Conv(g, v)\nr = Relu(h)\ne = Conv(r, u)\ns = Sigmoid(e)\n"
            "m = Mul(a, s)\ny = Conv(m, t)",
            _X,
            "float[N, 2, A, B] y",
        ),
        {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1), "u": (4, 2, 1, 1), "t": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4), "h": ("channels", 2)},
        {"axes": (2, 3)},
    ),
    "mean over channels": Graph(
        _text("a = Conv(x, w)\nm = ReduceMean<keepdims=1>(a, axes)\ns = Mul(a, m)\ny = Conv(s, u)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "u": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4)},
        {"axes": (1,)},
    ),
    "a constant into a convolution": Graph(
        _text("a = Conv(x, w)\ns = Sigmoid(a)\ny = Conv(s, u, b)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "u": (2, 4, 2, 2), "b": (2,)},
        _IMAGE,
        {"a": ("channels", 4)},
    ),
    "a constant into a biasless convolution that is cut next": Graph(
        _text("a = Conv(x, w)\ns = Sigmoid(a)\nc = Conv(s, u)\nr = Relu(c)\ny = Conv(r, v)", _X, "float[N, 2, A, B] y"),
        {"w": (4, 3, 1, 1), "u": (4, 4, 2, 2), "v": (2, 4, 1, 1)},
        _IMAGE,
        {"a": ("channels", 4), "c": ("channels", 4)},
    ),
    "a constant into a Gemm": Graph(
        _text("a = MatMul(x, w)\ns = Sigmoid(a)\ny = Gemm(s, u, b)", _ROW, "float[N, 2] y"),
        {"w": (5, 4), "u": (4, 2), "b": (2,)},
        _ROWS,
        {"a": ("hidden", 4)},
    ),
    "a constant into a MatMul that is cut next": Graph(
        _text("a = MatMul(x, w)\ns = Sigmoid(a)\nc = MatMul(s, u)\nr = Relu(c)\ny = MatMul(r, v)", _ROW, "float[N, 2] y"),
        {"w": (5, 4), "u": (4, 4), "v": (4, 2)},
        _ROWS,
        {"a": ("hidden", 4), "c": ("hidden", 4)},
    ),
    "a constant into an LSTM": Graph(
        _text("a = MatMul(x, w)\ns = Sigmoid(a)\ny, h, c = LSTM<hidden_size=3>(s, i, r)", _SEQ, "float[T, D, N, H] y"),
        {"w": (5, 4), "i": (1, 12, 4), "r": (1, 12, 3)},
        _SEQS,
        {"a": ("hidden", 4)},
    ),
    "gated feed-forward": Graph(
        _text("a = MatMul(x, w)\nc = MatMul(x, v)\ng = Sigmoid(a)\ns = Mul(a, g)\nm = Mul(s, c)\ny = MatMul(m, u)", _ROW, "float[N, 2] y"),
        {"w": (5, 6), "v": (5, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
    "RMS norm": Graph(
        _text("a = MatMul(x, w)\nn = RMSNormalization<epsilon=0.01>(a, g)\ny = MatMul(n, u)", _ROW, "float[N, 2] y"),
        {"w": (5, 6), "g": (6,), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
    "RMS norm written out": Graph(
        _text(
            "a = MatMul(x, w)\nq = Pow(a, two)\nm = ReduceMean<keepdims=1>(q, axes)\ne = Add(m, eps)\ns = Sqrt(e)\nn = Div(a, s)\n"
            "z = Mul(n, g)\ny = MatMul(z, u)",
            _ROW,
            "float[N, 2] y",
        ),
        {"w": (5, 6), "g": (6,), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
        {"two": (2.0,), "axes": (-1,), "eps": (0.01,)},
    ),
    "unit vectors": Graph(
        _text("a = MatMul(x, w)\nn = LpNormalization(a)\ny = MatMul(n, u)", _ROW, "float[N, 2] y"),
        {"w": (5, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
    "Einsum": Graph(
        _text('a = Einsum<equation="nd,dh->nh">(x, w)\ny = Einsum<equation="nh,ho->no">(a, u)', _ROW, "float[N, 2] y"),
        {"w": (5, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
    "weights computed in the graph": Graph(
        _text("t = Transpose(w)\nk = Mul(t, g)\na = MatMul(x, k)\nr = Relu(a)\ny = MatMul(r, u)", _ROW, "float[N, 2] y"),
        {"w": (6, 5), "g": (1, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
    "LSTM": Graph(
        _text(
            'l, h, c = LSTM<hidden_size=4, direction="bidirectional">(x, i, r, b)\nt = Transpose<perm=[0, 2, 1, 3]>(l)\n'
            "m = Reshape(t, shape)\ny = MatMul(m, u)",
            _SEQ,
            "float[T, N, 2] y",
        ),
        {"i": (2, 16, 5), "r": (2, 16, 4), "b": (2, 32), "u": (8, 2)},
        _SEQS,
        {"l": ("hidden", 4)},
        {"shape": (0, 0, -1)},
    ),
    "LSTM with peepholes": Graph(
        _text("l, h, c = LSTM<hidden_size=4>(x, i, r, b, , , , p)\ns = Squeeze(l, axes)\ny = MatMul(s, u)", _SEQ, "float[T, N, 2] y"),
        {"i": (1, 16, 5), "r": (1, 16, 4), "b": (1, 32), "p": (1, 12), "u": (4, 2)},
        _SEQS,
        {"l": ("hidden", 4)},
        {"axes": (1,)},
    ),
    "GRU": Graph(
        _text(
            "l, h = GRU<hidden_size=4, linear_before_reset=1>(x, i, r, b)\ns = Squeeze(h, axes)\ny = MatMul(s, u)", _SEQ, "float[N, 2] y"
        ),
        {"i": (1, 12, 5), "r": (1, 12, 4), "b": (1, 24), "u": (4, 2)},
        _SEQS,
        {"l": ("hidden", 4)},
        {"axes": (0,)},
    ),
    "RNN": Graph(
        _text("l, h = RNN<hidden_size=4>(x, i, r)\ns = Squeeze(l, axes)\ny = MatMul(s, u)", _SEQ, "float[T, N, 2] y"),
        {"i": (1, 4, 5), "r": (1, 4, 4), "u": (4, 2)},
        _SEQS,
        {"l": ("hidden", 4)},
        {"axes": (1,)},
    ),
    "heads": Graph(
        _text(
            "q = MatMul(x, wq)\nk = MatMul(x, wk)\nv = MatMul(x, wv)\nqs = Reshape(q, cut)\nks = Reshape(k, cut)\nvs = Reshape(v, cut)\n"
            "qt = Transpose<perm=[0, 2, 1, 3]>(qs)\nkt = Transpose<perm=[0, 2, 3, 1]>(ks)\nvt = Transpose<perm=[0, 2, 1, 3]>(vs)\n"
            "s = MatMul(qt, kt)\np = Softmax(s)\no = MatMul(p, vt)\not = Transpose<perm=[0, 2, 1, 3]>(o)\nm = Reshape(ot, back)\n"
            "y = MatMul(m, wo)",
            "float[N, T, 5] x",
            "float[N, T, 5] y",
        ),
        {"wq": (5, 12), "wk": (5, 12), "wv": (5, 12), "wo": (12, 5)},
        {"x": (2, 3, 5)},
        {"q:heads": ("heads", 3), "q": ("head_dim", 4), "v": ("head_dim", 4)},
        {"cut": (0, 0, 3, 4), "back": (0, 0, 12)},
    ),
    "heads of one fused weight": Graph(
        _text(
            "f = MatMul(x, w)\nc = Reshape(f, cut)\nt = Transpose<perm=[2, 0, 3, 1, 4]>(c)\nq = Gather(t, zero)\nk = Gather(t, one)\n"
            "v = Gather(t, two)\nkt = Transpose<perm=[0, 1, 3, 2]>(k)\ns = MatMul(q, kt)\np = Softmax(s)\no = MatMul(p, v)\n"
            "ot = Transpose<perm=[0, 2, 1, 3]>(o)\nm = Reshape(ot, back)\ny = MatMul(m, wo)",
            "float[N, T, 5] x",
            "float[N, T, 5] y",
        ),
        {"w": (5, 36), "wo": (12, 5)},
        {"x": (2, 3, 5)},
        {"f:heads": ("heads", 3), "f": ("head_dim", 4)},
        {"cut": (0, 0, 3, 3, 4), "back": (0, 0, 12), "zero": 0, "one": 1, "two": 2},
    ),
    "grouped queries in one node": Graph(
        _text(
            "q = MatMul(x, wq)\nk = MatMul(x, wk)\nv = MatMul(x, wv)\no = Attention<q_num_heads=4, kv_num_heads=2>(q, k, v)\n"
            "y = MatMul(o, wo)",
            "float[N, T, 5] x",
            "float[N, T, 5] y",
        ),
        {"wq": (5, 16), "wk": (5, 8), "wv": (5, 8), "wo": (16, 5)},
        {"x": (2, 3, 5)},
        {"q:heads": ("heads", 2), "q": ("head_dim", 4), "v": ("head_dim", 4)},
    ),
    "experts": Graph(
        _text(
            "s = MatMul(x, r)\np = Softmax(s)\nx3 = Unsqueeze(x, zero)\na = MatMul(x3, w)\nh = Relu(a)\no = MatMul(h, v)\n"
            "t = Transpose<perm=[1, 0]>(p)\nt3 = Unsqueeze(t, minus)\nm = Mul(o, t3)\ny = ReduceSum<keepdims=0>(m, zero)",
            _ROW,
            "float[N, 2] y",
        ),
        {"r": (5, 3), "w": (3, 5, 4), "v": (3, 4, 2)},
        _ROWS,
        {"s:experts": ("experts", 3), "a": ("hidden", 4)},
        {"zero": (0,), "minus": (-1,)},
    ),
    "a branch": Graph(
        _text(
            "a = MatMul(x, w)\nn = ReduceSum<keepdims=0>(x)\nc = Greater(n, z)\n"
            "i = If(c)<then_branch = t () => (float[N, 6] o) { o = Relu(a) }, else_branch = e () => (float[N, 6] q) { q = Neg(a) }>\n"
            "y = MatMul(i, u)",
            _ROW,
            "float[N, 2] y",
        ),
        {"w": (5, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
        {"z": (0.0,)},
    ),
    "a scan": Graph(
        _text(
            "s0 = ConstantOfShape(shape)\nf, ys = Scan<num_scan_inputs=1, body = b (float[2, 6] s, float[2, 5] xt) => "
            "(float[2, 6] sn, float[2, 6] so) { p = MatMul(xt, w)\nq = MatMul(s, r)\nt = Add(p, q)\nsn = Tanh(t)\nso = Identity(sn) }>"
            "(s0, x)\ny = MatMul(ys, u)",
            "float[T, 2, 5] x",
            "float[T, 2, 2] y",
        ),
        {"w": (5, 6), "r": (6, 6), "u": (6, 2)},
        _SEQS,
        {"p": ("channels", 6)},
        {"shape": (2, 6)},
    ),
    "a loop": Graph(
        _text(
            "a = MatMul(x, w)\nl = Loop<body = b (int64 i, bool c, float[N, 6] s) => (bool k, float[N, 6] sn) "
            "{ k = Identity(c)\nq = MatMul(s, r)\nsn = Tanh(q) }>(rounds, , a)\ny = MatMul(l, u)",
            _ROW,
            "float[N, 2] y",
        ),
        {"w": (5, 6), "r": (6, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
        {"rounds": 3},
    ),
    "a size that is computed with": Graph(
        _text(
            "a = MatMul(x, w)\ns = Shape<start=-1>(a)\nf = Cast<to=1>(s)\nq = Sqrt(f)\nd = Div(a, q)\ny = MatMul(d, u)",
            _ROW,
            "float[N, 2] y",
        ),
        {"w": (5, 6), "u": (6, 2)},
        _ROWS,
        {"a": ("hidden", 6)},
    ),
}
"""By what they show."""
