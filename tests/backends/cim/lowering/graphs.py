"""Small quantized graphs, and what ONNX Runtime's integer kernels make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.onnxruntime import lower
from netwright.frontends.onnx.load import load_onnx
from netwright.ir.program import Program
from netwright.passes import Context

ARCH = Arch(name="test")


def parsed(text: str, weights: Mapping[str, np.ndarray | np.floating]) -> Program:
    """A Program from a graph's body in ONNX's textual syntax, whose undefined names are the given weights."""
    import onnx

    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())
    return load_onnx(model)


def quantized(
    shape: Sequence[int | str],
    body: str,
    weights: Mapping[str, np.ndarray | np.floating],
    *,
    signed: bool = False,
    out: str = "y",
    opset: int = 20,
) -> Program:
    """A graph of x, quantized to `q` and back to `d` by scale 0.05 and a zero point, and of the body, which makes `out`."""
    rank = ", ".join(map(str, shape))
    zero = np.array(-7 if signed else 12, np.int8 if signed else np.uint8)
    result = "uint8" if out == "q_y" else "float"
    given = {"xs": np.float32(0.05), "xz": zero, "ys": np.float32(0.11), "yz": np.array(5, np.uint8), **weights}
    text = f"""<ir_version: 10, opset_import: ["" : {opset}]>
    g (float[{rank}] x) => ({result} {out}) {{
        q = QuantizeLinear (x, xs, xz)
        d = DequantizeLinear (q, xs, xz)
        {body}
    }}"""
    return parsed(text, {name: np.asarray(array) for name, array in given.items()})


def kernel(seed: int, *shape: int, axis: int = 0, bias: bool = True) -> dict[str, np.ndarray]:
    """An int8 weight `w` with a scale for each output, and an int32 bias `b` of scale xs·ws."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.005, 0.02, shape[axis]).astype(np.float32)
    found = {"w": rng.integers(-127, 128, shape).astype(np.int8), "ws": scale, "wz": np.zeros(shape[axis], np.int8)}
    if bias:
        found |= {"b": rng.integers(-3000, 3000, shape[axis]).astype(np.int32), "bs": (np.float32(0.05) * scale).astype(np.float32)}
        found["bz"] = np.zeros(shape[axis], np.int32)
    return found


def lowered(program: Program, arch: Arch = ARCH) -> Program:
    """The program on crossbars."""
    return lower_graph(program, Context(), arch=arch).program


def outputs(program: Program, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of it, as it likes to run it: with integer kernels."""
    return lower(program, threads=1).run(feeds)


def count(program: Program, op_type: str) -> int:
    """Nodes of an operator."""
    return sum(1 for _ in program.nodes(op_type))


def normal(seed: int, *shape: int) -> np.ndarray:
    """float32 of a normal distribution, some beyond the grid's ends."""
    return (np.random.default_rng(seed).standard_normal(shape) * 4).astype(np.float32)
