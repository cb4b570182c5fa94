"""Small programs with units that can go, and data that they learn in a moment."""

from __future__ import annotations

import numpy as np

from netwright.ir.program import Program
from tests.passes.programs import program_of

CLASSES, PIXELS, FRAMES, FEATURES, HIDDEN = 3, 8, 6, 5, 16


def conv_net() -> Program:
    """Convolution, normalisation, a depthwise convolution, a residual block, two linear layers."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": _normal(rng, 16, 1, 3, 3),
        "b1": np.zeros(16, np.float32),
        "gamma": np.ones(16, np.float32),
        "beta": np.zeros(16, np.float32),
        "mean": np.zeros(16, np.float32),
        "var": np.ones(16, np.float32),
        "wd": _normal(rng, 16, 1, 3, 3),
        "w2": _normal(rng, 16, 16, 3, 3),
        "b2": np.zeros(16, np.float32),
        "fc1": _normal(rng, 24, 16),
        "c1": np.zeros(24, np.float32),
        "fc2": _normal(rng, CLASSES, 24),
        "c2": np.zeros(CLASSES, np.float32),
    }
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        conv_net (float[N, 1, {PIXELS}, {PIXELS}] x, WEIGHTS) => (float[N, {CLASSES}] logits)
        {{
            c = Conv <pads: ints = [1, 1, 1, 1]> (x, w1, b1)
            n = BatchNormalization (c, gamma, beta, mean, var)
            a = Relu (n)
            d = Conv <group: int = 16, pads: ints = [1, 1, 1, 1]> (a, wd)
            e = Conv <pads: ints = [1, 1, 1, 1]> (d, w2, b2)
            s = Add (a, e)
            r = Relu (s)
            p = GlobalAveragePool (r)
            f = Flatten (p)
            h = Gemm <transB: int = 1> (f, fc1, c1)
            k = Relu (h)
            logits = Gemm <transB: int = 1> (k, fc2, c2)
        }}""",
        weights,
    )


def lstm() -> Program:
    """A bidirectional LSTM, and a linear layer over its last states."""
    rng = np.random.default_rng(1)
    weights = {
        "W": _normal(rng, 2, 4 * HIDDEN, FEATURES),
        "R": _normal(rng, 2, 4 * HIDDEN, HIDDEN),
        "B": (rng.normal(size=(2, 8 * HIDDEN)) / 10).astype(np.float32),
        "fc": _normal(rng, CLASSES, 2 * HIDDEN),
        "c": np.zeros(CLASSES, np.float32),
        "flat": np.array([0, -1]),
    }
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        lstm (float[{FRAMES}, N, {FEATURES}] x, WEIGHTS) => (float[N, {CLASSES}] logits)
        {{
            y, last = LSTM <hidden_size: int = {HIDDEN}, direction: string = "bidirectional"> (x, W, R, B)
            t = Transpose <perm: ints = [1, 0, 2]> (last)
            f = Reshape (t, flat)
            logits = Gemm <transB: int = 1> (f, fc, c)
        }}""",
        weights,
    )


def attention() -> Program:
    """Four heads of width 8 and a feed-forward layer, without norms."""
    rng = np.random.default_rng(2)
    weights = {name: _normal(rng, 32, 32) for name in ("wq", "wk", "wv", "wo")} | {
        "w1": _normal(rng, 32, 64),
        "b1": np.zeros(64, np.float32),
        "w2": _normal(rng, 64, 32),
        "wc": _normal(rng, 32, CLASSES),
        "split": np.array([0, 0, 4, 8]),
        "merge": np.array([0, 0, 32]),
        "one": np.array([1]),
        "width": np.array(8**0.5, np.float32),
    }
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        attention (float[N, T, 32] x, WEIGHTS) => (float[N, {CLASSES}] logits)
        {{
            q0 = MatMul (x, wq)
            q1 = Reshape (q0, split)
            q = Transpose <perm: ints = [0, 2, 1, 3]> (q1)
            k0 = MatMul (x, wk)
            k1 = Reshape (k0, split)
            k = Transpose <perm: ints = [0, 2, 3, 1]> (k1)
            v0 = MatMul (x, wv)
            v1 = Reshape (v0, split)
            v = Transpose <perm: ints = [0, 2, 1, 3]> (v1)
            s0 = MatMul (q, k)
            s = Div (s0, width)
            p = Softmax <axis: int = -1> (s)
            c0 = MatMul (p, v)
            c1 = Transpose <perm: ints = [0, 2, 1, 3]> (c0)
            c = Reshape (c1, merge)
            o = MatMul (c, wo)
            u = Add (x, o)
            h0 = MatMul (u, w1)
            h1 = Add (h0, b1)
            h = Relu (h1)
            g = MatMul (h, w2)
            z = Add (u, g)
            m = ReduceMean <keepdims: int = 0> (z, one)
            logits = MatMul (m, wc)
        }}""",
        weights,
    )


def rows_for(program: Program, rows: int = 192, seed: int = 3) -> dict[str, np.ndarray]:
    """Inputs of three kinds with noise, and the kind of each; time comes first for the LSTM, so its rows are batches."""
    rng = np.random.default_rng(seed)
    shape = [dim if isinstance(dim, int) else FRAMES for dim in program.inputs[0].shape or ()][1:]
    labels = rng.integers(0, CLASSES, rows)
    kinds = np.random.default_rng(77).normal(size=(CLASSES, *shape))
    return {"x": (kinds[labels] + 0.5 * rng.normal(size=(rows, *shape))).astype(np.float32), "labels": labels}


def frames(batches: int = 6, rows: int = 32, seed: int = 3) -> list[dict[str, np.ndarray]]:
    """Batches for the LSTM: [frames, rows, features]."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(77).normal(size=(CLASSES, FRAMES, FEATURES))
    found: list[dict[str, np.ndarray]] = []
    for _ in range(batches):
        labels = rng.integers(0, CLASSES, rows)
        x = kinds[labels] + 0.5 * rng.normal(size=(rows, FRAMES, FEATURES))
        found.append({"x": np.ascontiguousarray(x.transpose(1, 0, 2)).astype(np.float32), "labels": labels})
    return found


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    fan = int(np.prod(shape[1:]))
    return (rng.normal(size=shape) * np.sqrt(2 / fan)).astype(np.float32)
