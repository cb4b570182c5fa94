"""Small programs with random weights on which every pass is tried, each with inputs made by shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir

from netwright.ir import Program, shapes


def program_of(text: str, weights: Mapping[str, np.ndarray]) -> Program:
    """A Program from ONNX's textual syntax, whose undefined names are the given weights."""
    declared = ", ".join(f"{_TYPES[array.dtype.name]}[{','.join(map(str, array.shape))}] {name}" for name, array in weights.items())
    model = onnx_ir.from_onnx_text(text.replace("WEIGHTS", declared))
    inputs = {value.name: value for value in model.graph.inputs}
    for name, array in weights.items():
        value = inputs[name]
        model.graph.inputs.remove(value)
        value.const_value = onnx_ir.Tensor(array, name=name)
        model.graph.register_initializer(value)
    program = Program(model)
    shapes.infer(program)
    return program


_TYPES = {"float32": "float", "float64": "double", "int32": "int32", "int64": "int64", "float16": "float16", "bool": "bool", "int8": "int8"}


def _weights(seed: int, **dims: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for name, shape in dims.items()}


def conv_net() -> Program:
    """Conv, BatchNormalization, Relu, pooling, Flatten, Gemm; dynamic batch."""
    weights = _weights(0, w=(8, 3, 3, 3), b=(8,), gamma=(8,), beta=(8,), mean=(8,), fc=(10, 8), bias=(10,))
    weights["var"] = np.random.default_rng(1).uniform(0.5, 2, 8).astype(np.float32)
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        conv_net (float[N, 3, 8, 8] x, WEIGHTS) => (float[N, 10] y)
        {
            c = Conv <pads: ints = [1, 1, 1, 1]> (x, w, b)
            n = BatchNormalization (c, gamma, beta, mean, var)
            r = Relu (n)
            p = GlobalAveragePool (r)
            f = Flatten (p)
            y = Gemm <transB: int = 1> (f, fc, bias)
        }""",
        weights,
    )


def attention() -> Program:
    """One head of attention with a residual and a feed-forward layer; dynamic batch and sequence."""
    weights = _weights(2, wq=(64, 64), wk=(64, 64), wv=(64, 64), bq=(64,), w1=(64, 256), b1=(256,), w2=(256, 64), scale=(64,), shift=(64,))
    weights["root"] = np.array(8.0, np.float32)
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        attention (float[N, T, 64] x, WEIGHTS) => (float[N, T, 64] y)
        {
            i = Identity (x)
            q0 = MatMul (i, wq)
            q = Add (q0, bq)
            k = MatMul (x, wk)
            v = MatMul (x, wv)
            kt = Transpose <perm: ints = [0, 2, 1]> (k)
            s0 = MatMul (q, kt)
            s = Div (s0, root)
            p = Softmax <axis: int = -1> (s)
            c = MatMul (p, v)
            r = Add (x, c)
            n = LayerNormalization (r, scale, shift)
            h0 = MatMul (n, w1)
            h1 = Add (h0, b1)
            h = Relu (h1)
            o = MatMul (h, w2)
            y = Add (o, n)
        }""",
        weights,
    )


def lstm() -> Program:
    """A bidirectional LSTM."""
    weights = _weights(3, W=(2, 128, 16), R=(2, 128, 32), B=(2, 256))
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        lstm (float[T, N, 16] x, WEIGHTS) => (float[T, D, N, 32] y)
        {
            y = LSTM <hidden_size: int = 32, direction: string = "bidirectional"> (x, W, R, B)
        }""",
        weights,
    )


def embedding() -> Program:
    """A table look-up whose table is also the output layer (a tie)."""
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        embedding (int64[N, T] ids, WEIGHTS) => (float[N, T, 512] y)
        {
            e = Gather <axis: int = 0> (table, ids)
            t = Transpose <perm: ints = [1, 0]> (table)
            y = MatMul (e, t)
        }""",
        _weights(4, table=(512, 64)),
    )


def branches() -> Program:
    """A node with subgraphs that capture outer values."""
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        branches (bool c, float[N, 64] x, WEIGHTS) => (float[N, 64] y)
        {
            n = Neg (x)
            y = If (c) <
                then_branch = yes () => (float[N, 64] u) { d = Identity(n)  u = MatMul(d, w) },
                else_branch = no () => (float[N, 64] v) { v = Relu(n) }>
        }""",
        _weights(5, w=(64, 64)),
    )


PROGRAMS: dict[str, Callable[[], Program]] = {one.__name__: one for one in (conv_net, attention, lstm, embedding, branches)}


def feeds_for(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; symbolic dimensions are 3."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in program.inputs:
        shape = tuple(dim if isinstance(dim, int) else 3 for dim in value.shape or ())
        if value.dtype == onnx_ir.DataType.FLOAT:
            feeds[value.name or ""] = rng.normal(size=shape).astype(np.float32)
        elif value.dtype == onnx_ir.DataType.INT64:
            feeds[value.name or ""] = rng.integers(0, 512, shape)
        else:
            feeds[value.name or ""] = np.ones(shape, bool)
    return feeds
