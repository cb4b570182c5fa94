"""How fast the simulator runs a ResNet-20 for CIFAR images: converters on every sum, and lossless ones collapsed.

    python -m benchmarks.cim_resnet20

The network has the shape of He et al. (arXiv 1512.03385, §4.2), random weights, and is quantized by netwright; 8 images at a time, one
thread, thread CPU time, best of several, with the account of what every instruction did. CrossSim 3.2 runs the same shape at 2.5 to 3.5
images a second with 8 digits of 1 bit and a converter on each (measured elsewhere, on 2 cores of the same kind).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import netwright as nw
from netwright.backends.cim.arch import resolve
from netwright.backends.cim.arch.model import Adc, Arch
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program.model import ChipProgram, Options
from netwright.backends.cim.simulator import Machine
from netwright.backends.onnxruntime import lower
from netwright.ir.program import Program
from netwright.passes.context import Context
from netwright.targets import region_runner

IMAGES = 8
WIDTHS = (16, 32, 64)
BLOCKS = 3
ROUNDS = 7


def resnet20(seed: int = 0) -> onnx.ModelProto:
    """The float network, batch norms already in its convolutions."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(x: str, name: str, inner: int, outer: int, stride: int, size: int = 3, *, relu: bool = True) -> str:
        scale = np.sqrt(2 / (inner * size * size))
        weights.append(numpy_helper.from_array((rng.standard_normal((outer, inner, size, size)) * scale).astype(np.float32), f"{name}.w"))
        weights.append(numpy_helper.from_array((rng.standard_normal(outer) * 0.05).astype(np.float32), f"{name}.b"))
        pads, strides = [size // 2] * 4, [stride, stride]
        made = [f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", [x, *made], [name], name, kernel_shape=[size, size], pads=pads, strides=strides))
        if not relu:
            return name
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu"))
        return f"{name}.relu"

    x, inner = conv("image", "stem", 3, WIDTHS[0], 1), WIDTHS[0]
    for stage, width in enumerate(WIDTHS):
        for block in range(BLOCKS):
            stride = 2 if stage and not block else 1
            name = f"stage{stage}.{block}"
            y = conv(x, f"{name}.a", inner, width, stride)
            y = conv(y, f"{name}.b", width, width, 1, relu=False)
            short = conv(x, f"{name}.s", inner, width, stride, 1, relu=False) if stride > 1 else x
            nodes.append(helper.make_node("Add", [y, short], [f"{name}.add"], f"{name}.add"))
            nodes.append(helper.make_node("Relu", [f"{name}.add"], [name], name))
            x, inner = name, width
    weights.append(numpy_helper.from_array((rng.standard_normal((10, inner)) * 0.2).astype(np.float32), "fc.w"))
    weights.append(numpy_helper.from_array(np.zeros(10, np.float32), "fc.b"))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], "flat"))
    nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], "fc", transB=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "resnet20", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def quantized(images: np.ndarray) -> Program:
    """The network in integers."""
    model = nw.load(resnet20().SerializeToString())
    calibration = [{"image": images[start : start + IMAGES]} for start in range(0, len(images), IMAGES)]
    return nw.compile(model, "simplify, quantize(scheme='static'), fold", calibration=calibration, latency=False, threads=1).program


def lossy(arch: Arch, bits: int) -> Arch:
    """The chip with converters of fewer bits."""
    return replace(arch, array=replace(arch.array, adc=replace(arch.array.adc or Adc(), bits=bits)))


def mapped(program: Program, arch: Arch, *, duplicate: bool) -> ChipProgram:
    """The network on a chip."""
    return build(lower_graph(program, Context(), arch=arch).program, arch, Options(duplicate=duplicate), name="resnet20")


def measure(chip: ChipProgram, images: np.ndarray, rounds: int) -> tuple[float, np.ndarray, str]:
    """Seconds of thread time a batch, best of several; the logits; the engines."""
    machine = Machine(chip, region_runner)
    logits, best, engines = np.empty(0), float("inf"), ""
    for _ in range(rounds + 1):
        start = time.thread_time()
        outputs, trace = machine.run({"image": images})
        activities = trace.activities.values()
        best = min(best, time.thread_time() - start)
        logits = outputs["logits"]
        engines = ", ".join(sorted({one.engine for one in activities if one.engine}))
    return best, logits, engines


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    images = np.random.default_rng(1).standard_normal((4 * IMAGES, 3, 32, 32)).astype(np.float32)
    program, batch = quantized(images), images[:IMAGES]
    wanted = lower(program, threads=1).run({"image": batch})["logits"]
    print(f"ResNet-20, {IMAGES} images at a time, one thread\n")
    print(f"{'configuration':<42} {'ms/batch':>9} {'images/s':>9}  engine; largest difference from ONNX Runtime's integers")
    for bits in (8, 6, 5):
        for duplicate in (False, True):
            chip = mapped(program, lossy(resolve("generic-28nm"), bits), duplicate=duplicate)
            seconds, logits, engines = measure(chip, batch, rounds)
            told = f"generic-28nm, converters of {bits} bits{', copies' if duplicate else ''}"
            error = float(np.abs(logits - wanted).max())
            print(f"{told:<42} {1e3 * seconds:>9.1f} {IMAGES / seconds:>9.0f}  {engines}; {error:.2g} of {np.abs(wanted).max():.2g}")


if __name__ == "__main__":
    main()
