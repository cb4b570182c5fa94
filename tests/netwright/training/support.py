"""Small programs and data that can be learned in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.training.history import HISTORY, History
from tests.passes.programs import program_of

FEATURES, HIDDEN, CLASSES = 8, 16, 3


def classifier(*, ending: str = "logits = Identity (z)", dropout: bool = False, batch: str = "N", hidden: int = HIDDEN) -> Program:
    """Two linear layers; the last node, dropout, the batch and the hidden size by choice."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": _normal(rng, FEATURES, hidden),
        "b1": np.zeros(hidden, np.float32),
        "w2": _normal(rng, hidden, CLASSES),
        "b2": np.zeros(CLASSES, np.float32),
        "ratio": np.array(0.3, np.float32),
        "on": np.array(True),
    }
    if not dropout:
        del weights["ratio"], weights["on"]
    kept = "h = Dropout (r, ratio, on)" if dropout else "h = Identity (r)"
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        classifier (float[{batch}, {FEATURES}] x, WEIGHTS) => (float[{batch}, {CLASSES}] logits)
        {{
            m1 = MatMul (x, w1)
            a1 = Add (m1, b1)
            r = Relu (a1)
            {kept}
            m2 = MatMul (h, w2)
            z = Add (m2, b2)
            {ending}
        }}""",
        weights,
    )


def two_headed(seed: int = 0) -> Program:
    """One layer, and two linear outputs: `kind` (classes) and `place` (numbers)."""
    rng = np.random.default_rng(seed)
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        heads (float[N, {FEATURES}] x, WEIGHTS) => (float[N, {CLASSES}] kind, float[N, 2] place)
        {{
            m = MatMul (x, w)
            r = Relu (m)
            kind = MatMul (r, wk)
            place = MatMul (r, wp)
        }}""",
        {"w": _normal(rng, FEATURES, HIDDEN), "wk": _normal(rng, HIDDEN, CLASSES), "wp": _normal(rng, HIDDEN, 2)},
    )


def factored(inner: int = 3) -> Program:
    """The classifier with its first weight as a product `v u` of an inner size."""
    rng = np.random.default_rng(0)
    weights = {"v": _normal(rng, FEATURES, inner), "u": _normal(rng, inner, HIDDEN), "w": _normal(rng, HIDDEN, CLASSES)}
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        factored (float[N, {FEATURES}] x, WEIGHTS) => (float[N, {CLASSES}] logits)
        {{
            a = MatMul (x, v)
            m = MatMul (a, u)
            s = Add (m, b)
            r = Relu (s)
            logits = MatMul (r, w)
        }}""",
        {**weights, "b": np.zeros(HIDDEN, np.float32)},
    )


def labelled_rows(rows: int = 256, seed: int = 1) -> dict[str, np.ndarray]:
    """Inputs, and the classes that a fixed linear map gives them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    return {"x": x, "labels": (x @ np.random.default_rng(99).normal(size=(FEATURES, CLASSES))).argmax(1)}


def accuracy(program: Program, data: Mapping[str, np.ndarray]) -> float:
    """Share of rows that the program gets right, on ONNX Runtime."""
    outputs = OrtExecutor().run(program, {"x": data["x"]})
    return float((next(iter(outputs.values())).argmax(-1) == data["labels"]).mean())


def history_of(program: Program) -> History:
    """The history that a trained program brings along."""
    return cast("History", program.resources[HISTORY])


def weights_of(program: Program) -> dict[str, np.ndarray]:
    """Copies of all initializers by name."""
    return {value.name or "": value.const_value.numpy().copy() for value in program.initializers() if value.const_value is not None}


def same_weights(a: Program, b: Program) -> bool:
    """True when all initializers are equal, bit for bit."""
    one, other = weights_of(a), weights_of(b)
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def _normal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return (rng.normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)
