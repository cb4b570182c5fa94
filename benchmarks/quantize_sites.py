"""From which size on quantizing one site pays: MatMul, LSTM and table look-ups of growing sizes, float beside dynamic int8.

    python -m benchmarks.quantize_sites [--rounds N]

One operator a model, one thread, in turns, best of all; the quantizing of the activation is included. `speed-up` is float time over
quantized time. The thresholds of `passes/quantize/thresholds.py` come from this table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import netwright as nw
from benchmarks.table import Row, report
from netwright.backends.onnxruntime import SessionOptions, lower, measure
from netwright.ir import Program
from netwright.ir.fingerprint import fingerprint
from netwright.passes import Context, Pipeline, Plan, run

PRODUCTS = [
    (rows, inner, columns)
    for inner, columns in ((16, 64), (64, 64), (64, 128), (128, 128), (256, 256), (768, 768), (768, 2))
    for rows in (1, 8, 64)
]
RECURRENT = [(steps, inputs, hidden) for inputs, hidden in ((12, 64), (128, 128), (512, 512)) for steps in (1, 20, 100)]
TABLES = [(1_000, 64), (1_024, 256), (30_000, 384)]
LOOK_UPS = 32


def main() -> None:
    """Measure all sites and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    rows: list[Row] = []
    for label, program, feeds in _sites():
        quantized = run(program, Pipeline.parse("quantize"), Context(plans={"quantize": _forced(program)})).program
        threads = SessionOptions(threads=1)
        before, after = measure([lower(one, options=threads) for one in (program, quantized)], feeds, rounds=options.rounds, seconds=None)
        rows.append(
            {
                "site": label,
                "float us": round(before.best_ms * 1e3, 1),
                "int8 us": round(after.best_ms * 1e3, 1),
                "speed-up": round(before.best_ms / after.best_ms, 2),
            }
        )
    report("One site, float beside dynamic int8", rows)


def _forced(program: Program) -> Plan:
    """A plan for the only site, whatever its size."""
    axis = "row" if next(iter(program.nodes())).op_type == "Gather" else "column"
    decisions = {"y": {"scheme": "dynamic", "bits": 8, "axis": axis}}
    return Plan(pass_name="quantize", fingerprint=fingerprint(program), decisions=decisions)


def _sites() -> Iterator[tuple[str, Program, dict[str, np.ndarray]]]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32) / 8

    for rows, inner, columns in PRODUCTS:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        program = _program(node, {"x": (TensorProto.FLOAT, [rows, inner])}, {"w": normal(inner, columns)})
        yield f"MatMul {rows} x {inner} x {columns}", program, {"x": normal(rows, inner)}
    for steps, inputs, hidden in RECURRENT:
        node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)
        weights = {"w": normal(1, 4 * hidden, inputs), "r": normal(1, 4 * hidden, hidden)}
        program = _program(node, {"x": (TensorProto.FLOAT, [steps, 1, inputs])}, weights)
        yield f"LSTM {inputs} -> {hidden}, {steps} steps", program, {"x": normal(steps, 1, inputs)}
    for entries, width in TABLES:
        node = helper.make_node("Gather", ["table", "x"], ["y"])
        program = _program(node, {"x": (TensorProto.INT64, [LOOK_UPS])}, {"table": normal(entries, width)})
        yield f"Gather {LOOK_UPS} of {entries} x {width}", program, {"x": rng.integers(0, entries, LOOK_UPS)}


def _program(node: onnx.NodeProto, inputs: dict[str, tuple[int, list[int]]], weights: dict[str, np.ndarray]) -> Program:
    signature = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "site", signature, [output], stored)
    return nw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


if __name__ == "__main__":
    main()
