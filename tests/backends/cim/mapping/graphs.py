"""Lowered programs by hand: products with windows, regions between them, joins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnx_ir
from onnx import TensorProto, helper, numpy_helper

from netwright.backends.cim import ops
from netwright.backends.cim.arch.model import Adc, Arch, Array, Memory, Network, Tile
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.simulator.machine import Machine
from netwright.backends.onnxruntime.lower import lower
from netwright.ir import shapes
from netwright.ir.program import Program

CODING = Coding(rows=16)
CIM = "netwright.cim"


def small_arch(*, tiles: tuple[int, int] = (4, 4), arrays: int = 4, memory: int = 65_536) -> Arch:
    """A chip of small arrays: 16 rows, 4 outputs of 8 bits."""
    array = Array(rows=16, columns=32, active_rows=16, adc=Adc(bits=8, step=1))
    tile = Tile(cores=1, arrays=arrays, memory=Memory(bytes=memory))
    return Arch(name="small", array=array, tile=tile, network=Network(columns=tiles[0], rows=tiles[1]))


def node_of(op: str, inputs: list[str], outputs: list[str], attributes: Mapping[str, object], domain: str = "") -> onnx.NodeProto:
    """A node of the ONNX format."""
    node = helper.make_node(op, inputs, outputs, domain=domain)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return node


def make(op: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: object) -> onnx.NodeProto:
    """The same, with attributes by name."""
    return node_of(op, inputs, outputs, attributes, domain)


@dataclass
class Net:
    """A lowered network in the making; maps have channels last."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def constant(self, name: str, data: np.ndarray) -> str:
        """An initializer."""
        if all(known.name != name for known in self.weights):
            self.weights.append(numpy_helper.from_array(data, name))
        return name

    def product(self, x: str, k: int, j: int, *, weight: str = "", scale: bool = True, coding: Coding = CODING) -> str:
        """CrossbarMatMul, and a Requantize unless told otherwise."""
        n = len(self.nodes)
        name = self.constant(weight or f"w{n}", self.rng.integers(-128, 128, (k, j)).astype(np.int8))
        self.nodes.append(make("CrossbarMatMul", [x, name], [f"a{n}"], domain=CIM, layer=f"layer{n}", **ops.coding_attributes(coding)))
        if not scale:
            return f"a{n}"
        bias = self.constant(f"b{n}", self.rng.integers(-50, 50, j).astype(np.int32))
        factor = self.constant(f"m{n}", (self.rng.random(j) * 0.01 + 1e-3).astype(np.float32))
        self.nodes.append(make("Requantize", [f"a{n}", bias, factor], [f"y{n}"], domain=CIM, zero_point=7, low=0, high=255, dtype="uint8"))
        return f"y{n}"

    def conv(self, x: str, c: int, j: int, *, kernel: int = 3, stride: int = 1, coding: Coding = CODING) -> str:
        """Im2Col and a product."""
        n = len(self.nodes)
        pad = kernel // 2
        self.nodes.append(
            make(
                "Im2Col",
                [x],
                [f"i{n}"],
                domain=CIM,
                kernel_shape=[kernel, kernel],
                strides=[stride] * 2,
                dilations=[1, 1],
                pads=[pad] * 4,
                pad_value=3,
            )
        )
        return self.product(f"i{n}", kernel * kernel * c, j, coding=coding)

    def line(self, x: str, c: int, j: int, *, kernel: int) -> str:
        """A convolution of one dimension: along rows of one place."""
        n = len(self.nodes)
        facts: dict[str, list[int] | int] = {"kernel_shape": [kernel, 1], "strides": [1, 1], "dilations": [1, 1]}
        facts |= {"pads": [kernel // 2, 0, kernel // 2, 0], "pad_value": 3}
        self.nodes.append(node_of("Im2Col", [x], [f"i{n}"], facts, CIM))
        return self.product(f"i{n}", kernel * c, j)

    def add(self, x: str, y: str) -> str:
        """A join, in floats between bytes."""
        n = len(self.nodes)
        scale, zero = self.constant("scale", np.array(0.05, np.float32)), self.constant("zero", np.array(7, np.uint8))
        self.nodes += [
            make("DequantizeLinear", [x, scale, zero], [f"f{n}"]),
            make("DequantizeLinear", [y, scale, zero], [f"g{n}"]),
            make("Add", [f"f{n}", f"g{n}"], [f"s{n}"]),
            make("QuantizeLinear", [f"s{n}", scale, zero], [f"q{n}"]),
        ]
        return f"q{n}"

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        """A standard operator with one output."""
        n = len(self.nodes)
        self.nodes.append(node_of(op, list(inputs), [f"v{n}"], attributes))
        return f"v{n}"

    def program(self, inputs: Mapping[str, tuple[int, tuple[int, ...]]], outputs: Mapping[str, int]) -> Program:
        """The program: inputs as (type, shape), outputs as types."""
        given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
        made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
        graph = helper.make_graph(self.nodes, "net", given, made, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(CIM, 1)], ir_version=10)
        found = Program(onnx_ir.from_proto(model))
        shapes.infer(found)
        return found


def residual(rng: np.random.Generator, *, channels: int, size: int, kernel: int, stride: int, blocks: int) -> Program:
    """A small residual network: stem, blocks of two convolutions with a join, a product of the mean."""
    net = Net(rng)
    x = net.conv("x", 3, channels, kernel=kernel, stride=stride)
    for _ in range(blocks):
        y = net.conv(net.conv(x, channels, channels), channels, channels, kernel=1)
        x = net.add(x, y)
    n = net.node("ReduceMax", x, net.constant("axes", np.array([1, 2])), keepdims=0)
    out = net.product(n, channels, 5, scale=False)
    return net.program({"x": (UINT8, (1, size, size, 3))}, {out: INT32, x: UINT8})


def loader(program: Program) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """ONNX Runtime on one thread."""
    return lower(program, threads=1).run


def expected(program: Program, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph's own values, without tiles."""
    return GraphExecutor(loader).run(program, feeds)


def on_chip(chip: ChipProgram, feeds: Mapping[str, np.ndarray], *, stepwise: bool = True) -> dict[str, np.ndarray]:
    """The simulator's values, every instruction followed by itself."""
    return Machine(chip, loader, stepwise=stepwise).run(feeds)[0]


def bytes_feed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random bytes, many of them 0."""
    return np.where(rng.random(shape) < 0.4, 0, rng.integers(0, 256, shape)).astype(np.uint8)


UINT8, INT32, FLOAT = TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT
__all__ = ["CODING", "FLOAT", "INT32", "UINT8", "Net", "bytes_feed", "expected", "loader", "on_chip", "replace", "residual", "small_arch"]
