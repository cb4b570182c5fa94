"""Models made to a size: deep, long, or larger than memory should allow. Written node by node, without torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir

from netwright.ir.pause import collector_paused

_IR_VERSION = 10
_OPSET = 20


def deep_transformer(layers: int = 96, width: int = 64, heads: int = 4, seed: int = 0) -> onnx_ir.Model:
    """An encoder of many small layers, attention written out as MatMul, Div, Softmax, MatMul, heads split by shape arithmetic.

    Args:
        layers: 41 nodes each.
        width: model width.
        heads: must divide the width.
        seed: of the weights.
    """
    build = _Builder(seed)
    x = build.input("x", ["batch", "sequence", width])
    for index in range(layers):
        x = _encoder_layer(build, x, f"layers.{index}", width, heads)
    return build.model(x, ["batch", "sequence", width])


def chain_model(nodes: int, width: int = 16, seed: int = 0) -> onnx_ir.Model:
    """A chain of mixed operators, of which a simplifier finds work in about every third: identities, neutral elements, casts, shapes.

    Args:
        nodes: how many nodes to stop after (1,000, 10,000, 100,000 in the growth benchmark).
        width: last dimension of the one activation.
        seed: of the weights.
    """
    build = _Builder(seed)
    x = build.input("x", ["batch", width])
    link = 0
    with collector_paused():
        while len(build.nodes) < nodes:
            x = _LINKS[link % len(_LINKS)](build, x, width)
            link += 1
        return build.model(x, ["batch", width])


def big_external(path: Path, gb: float = 4.0, width: int = 4096) -> Path:
    """Write a model of MatMul, Add and Relu layers with `gb` GiB of weights as external data beside it, in seconds.

    Every weight is written from one block of random bytes at another offset, so that no two are equal, with only that block in memory.

    Args:
        path: the `.onnx` file; its weights go to the same name with `.data`.
        gb: size of the weights in GiB, rounded up to whole layers.
        width: rows and columns of a weight.

    Returns:
        `path`.
    """
    size = 4 * width * width
    layers = max(1, -(-int(gb * 2**30) // size))
    data = path.with_name(f"{path.name}.data")
    path.parent.mkdir(parents=True, exist_ok=True)
    block = (np.random.default_rng(0).standard_normal(width * width, dtype=np.float32) / np.float32(width**0.5)).tobytes()
    with data.open("wb") as file:
        for layer in range(layers):
            start = (layer * 4093 * 4) % size
            file.write(memoryview(block)[start:])
            file.write(memoryview(block)[:start])
    build = _Builder(0)
    x = build.input("x", ["batch", width])
    for layer in range(layers):
        weight = onnx_ir.ExternalTensor(
            data.name,
            layer * size,
            size,
            onnx_ir.DataType.FLOAT,
            shape=onnx_ir.Shape([width, width]),
            name=f"layers.{layer}.weight",
            base_dir=path.parent,
        )
        bias = build.vector(f"layers.{layer}.bias", width)
        x = build.node("Relu", build.node("Add", build.node("MatMul", x, build.weight(weight)), bias))
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    onnx_ir.save(build.model(x, ["batch", width]), partial)
    partial.replace(path)
    return path


class _Builder:
    """Appends nodes to a graph under construction; names values by a counter."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx_ir.Node] = []
        self.initializers: list[onnx_ir.Value] = []
        self.inputs: list[onnx_ir.Value] = []
        self.rng = np.random.default_rng(seed)
        self.known: dict[tuple[int, ...], onnx_ir.Value] = {}

    def input(self, name: str, shape: list[int | str]) -> onnx_ir.Value:
        value = onnx_ir.Value(name=name, type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT), shape=onnx_ir.Shape(shape))
        self.inputs.append(value)
        return value

    def node(self, operator: str, *inputs: onnx_ir.Value, **attributes: int | float | list[int]) -> onnx_ir.Value:
        number = len(self.nodes)
        made = onnx_ir.node(operator, inputs, attributes, name=f"{operator}_{number}", outputs=[onnx_ir.Value(name=f"v{number}")])
        self.nodes.append(made)
        return made.outputs[0]

    def weight(self, tensor: onnx_ir.TensorProtocol) -> onnx_ir.Value:
        shape = onnx_ir.Shape(tensor.shape.numpy())
        value = onnx_ir.Value(name=tensor.name, type=onnx_ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        self.initializers.append(value)
        return value

    def array(self, name: str, array: np.ndarray) -> onnx_ir.Value:
        return self.weight(onnx_ir.tensor(array, name=name))

    def matrix(self, name: str, rows: int, columns: int) -> onnx_ir.Value:
        return self.array(name, self.rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(rows**0.5))

    def vector(self, name: str, size: int, mean: float = 0.0) -> onnx_ir.Value:
        return self.array(name, (mean + 0.05 * self.rng.standard_normal(size)).astype(np.float32))

    def integers(self, *elements: int) -> onnx_ir.Value:
        if elements not in self.known:
            self.known[elements] = self.array(f"ints_{len(self.known)}", np.array(elements, dtype=np.int64))
        return self.known[elements]

    def scalar(self, value: float) -> onnx_ir.Value:
        return self.array(f"scalar_{len(self.initializers)}", np.array(value, dtype=np.float32))

    def model(self, output: onnx_ir.Value, shape: list[int | str]) -> onnx_ir.Model:
        output.type, output.shape = onnx_ir.TensorType(onnx_ir.DataType.FLOAT), onnx_ir.Shape(shape)
        graph = onnx_ir.Graph(
            self.inputs, [output], nodes=self.nodes, initializers=self.initializers, opset_imports={"": _OPSET}, name="generated"
        )
        return onnx_ir.Model(graph, ir_version=_IR_VERSION)


def _linear(build: _Builder, x: onnx_ir.Value, name: str, inputs: int, outputs: int) -> onnx_ir.Value:
    product = build.node("MatMul", x, build.matrix(f"{name}.weight", inputs, outputs))
    return build.node("Add", product, build.vector(f"{name}.bias", outputs))


def _normalised(build: _Builder, x: onnx_ir.Value, name: str, width: int) -> onnx_ir.Value:
    weight, bias = build.vector(f"{name}.weight", width, 1.0), build.vector(f"{name}.bias", width)
    return build.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=1e-5)


def _heads(build: _Builder, x: onnx_ir.Value, heads: int, size: int, perm: list[int]) -> onnx_ir.Value:
    shape = build.node("Shape", x)
    batch = build.node("Slice", shape, build.integers(0), build.integers(1))
    length = build.node("Slice", shape, build.integers(1), build.integers(2))
    split = build.node("Concat", batch, length, build.integers(heads), build.integers(size), axis=0)
    return build.node("Transpose", build.node("Reshape", x, split), perm=perm)


def _encoder_layer(build: _Builder, x: onnx_ir.Value, name: str, width: int, heads: int) -> onnx_ir.Value:
    size = width // heads
    q, k, v = (
        _heads(build, _linear(build, x, f"{name}.{part}", width, width), heads, size, perm)
        for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))
    )
    scores = build.node("Div", build.node("MatMul", q, k), build.scalar(size**0.5))
    attended = build.node("MatMul", build.node("Softmax", scores, axis=-1), v)
    joined = build.node("Reshape", build.node("Transpose", attended, perm=[0, 2, 1, 3]), build.integers(0, 0, width))
    x = _normalised(build, build.node("Add", x, _linear(build, joined, f"{name}.out", width, width)), f"{name}.norm1", width)
    hidden = build.node("Gelu", _linear(build, x, f"{name}.up", width, 4 * width))
    return _normalised(build, build.node("Add", x, _linear(build, hidden, f"{name}.down", 4 * width, width)), f"{name}.norm2", width)


def _plain(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    return build.node("Relu", build.node("Add", x, build.vector(f"bias_{len(build.nodes)}", width)))


def _neutral(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    return build.node("Tanh", build.node("Mul", build.node("Identity", x), build.scalar(1.0)))


def _turned_twice(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    return build.node("Transpose", build.node("Sigmoid", build.node("Transpose", x, perm=[1, 0])), perm=[1, 0])


def _shape_arithmetic(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    batch = build.node("Slice", build.node("Shape", x), build.integers(0), build.integers(1))
    return build.node("Reshape", x, build.node("Concat", batch, build.integers(width), axis=0))


def _dense(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    return _linear(build, x, f"dense_{len(build.nodes)}", width, width)


def _cast_there_and_back(build: _Builder, x: onnx_ir.Value, width: int) -> onnx_ir.Value:
    wide = build.node("Cast", x, to=int(onnx_ir.DataType.DOUBLE))
    return build.node("Softsign", build.node("Cast", wide, to=int(onnx_ir.DataType.FLOAT)))


_LINKS = (_plain, _neutral, _turned_twice, _shape_arithmetic, _dense, _cast_there_and_back)
