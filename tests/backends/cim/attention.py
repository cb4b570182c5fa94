"""A block of attention with four heads, in integers for a chip, and on its crossbars."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser

from benchmarks._blocks import HEADS
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering.binding import Bind
from netwright.backends.cim.lowering.channels import ChannelsLast
from netwright.backends.cim.lowering.crossbars import Crossbars
from netwright.backends.cim.lowering.emitting import Attend
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor, lower
from netwright.frontends.onnx.load import load_onnx
from netwright.ir.program import Program
from netwright.passes import Context, Outcome, Pipeline, run

QKV = "q0 = MatMul(x, wq)\n q = Add(q0, bq)\n k0 = MatMul(x, wk)\n k = Add(k0, bk)\n v = MatMul(x, wv)"
FUSED = "a = MatMul(x, wa)\n b = Add(a, ba)\n q, k, v = Split<axis = -1, num_outputs = 3>(b)"
MODEL = f"""<ir_version: 10, opset_import: ["" : 20]>
net (float[N, 12, 16] x) => (float[N, 12, 16] y) {{
    INPUTS
    {HEADS}
}}"""


def model(*, fused: bool = False) -> Program:
    """Float: q, k and v by products of their own, or by one."""
    rng = np.random.default_rng(0)
    graph = onnx.parser.parse_model(MODEL.replace("INPUTS", FUSED if fused else QKV))
    shapes = {"wa": (16, 48), "ba": (48,)} if fused else {"wq": (16, 16), "wk": (16, 16), "wv": (16, 16), "bq": (16,), "bk": (16,)}
    weights = {name: rng.standard_normal(shape) / (4 if len(shape) > 1 else 1) for name, shape in {**shapes, "wo": (16, 16)}.items()}
    for name, data in {**weights, "factor": np.array(0.5)}.items():
        graph.graph.initializer.append(onnx.numpy_helper.from_array(data.astype(np.float32), name))
    for name, shape in {"heads": [0, 12, 4, 4], "back": [0, 12, 16]}.items():
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), name))
    return load_onnx(graph)


def feeds(samples: int, seed: int = 7) -> dict[str, np.ndarray]:
    """Inputs."""
    return {"x": np.random.default_rng(seed).standard_normal((samples, 12, 16)).astype(np.float32)}


def context(arch: Arch) -> Context:
    """Data, and a chip as the target."""
    return Context(calibration=[feeds(8, 1), feeds(8, 2)], executor=OrtExecutor(), target=CimTarget(arch))


def in_integers(arch: Arch, options: str = "attention='arrays'", *, fused: bool = False) -> Outcome:
    """The block with both operands of its products on grids."""
    return run(model(fused=fused), Pipeline.parse(f"simplify, quantize(scheme='static', {options}), fold"), context(arch))


def on_crossbars(program: Program, arch: Arch, attention: Attend = "arrays") -> Program:
    """The same on a chip's arrays."""
    return run(program, (Bind(), Crossbars(attention=attention), ChannelsLast()), Context(target=CimTarget(arch))).program


def one_by_one(program: Program, samples: int) -> np.ndarray:
    """ONNX Runtime's result on the same integers, sample by sample, with the sizes that a chip has."""
    executable, x = lower(run(program, (Bind(),), Context()).program, threads=1), feeds(samples)["x"]
    return np.concatenate([executable.run({"x": x[n : n + 1]})["y"] for n in range(samples)])
