"""What `factorize` splits, `merge` puts together again: the same operators, names and shapes, and the values of the factored program."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.passes import Context, Pipeline, run
from netwright.passes.values import errors
from tests.passes.programs import PROGRAMS, feeds_for
from tests.passes.simplify.weights import program


def layers() -> Program:
    """A convolution, a strided one and a transposed one."""
    return program(
        """g (float[N, 16, 9, 9] x) => (float[N, 32, A, B] y) {
            a = Conv <pads: ints = [1, 1, 1, 1]> (x, k, b) r = Relu (a)
            c = Conv <strides: ints = [2, 2], pads: ints = [2, 1, 1, 0]> (r, l, d) s = Relu (c)
            y = ConvTranspose <strides: ints = [2, 2]> (s, m) }""",
        {"k": (32, 16, 3, 3), "b": (32,), "l": (32, 32, 3, 3), "d": (32,), "m": (32, 32, 3, 3)},
    )


def products() -> Program:
    """Gemm both ways, and q, k and v of one input."""
    return program(
        """g (float[N, 64] x) => (float[N, 64] y) {
            a = Gemm <transB: int = 1> (x, w, b) r = Relu (a) e = Gemm <alpha: float = 0.5> (r, v, b) s = Relu (e)
            q = MatMul (s, wq) k = MatMul (s, wk) p = Mul (q, k) y = Relu (p) }""",
        {"w": (64, 64), "b": (64,), "v": (64, 64), "wq": (64, 64), "wk": (64, 64)},
    )


MODELS = {"layers": layers, "products": products, "attention": PROGRAMS["attention"], "lstm": PROGRAMS["lstm"]}
CASES = [
    *[(model, "factorize(expand=True)") for model in MODELS],
    *[(model, "factorize(expand=True, factors=3)") for model in ("products", "attention", "lstm")],
    *[(model, "factorize(ratio=0.5, method='svd')") for model in MODELS],
    *[("layers", f"factorize(ratio=0.5, method='{method}')") for method in ("tucker2", "spatial", "cp")],
    *[("attention", f"factorize(ratio=0.5, method='{method}')") for method in ("tt", "kronecker")],
    ("lstm", "factorize(ratio=0.5, method='tt')"),
]


@pytest.mark.parametrize(("model", "pipeline"), CASES)
def test_factors_are_multiplied_back(model: str, pipeline: str):
    original = MODELS[model]()
    factored = run(original, Pipeline.parse(pipeline), Context()).program
    assert factored.ledger.actions, "nothing to merge"
    when = "smaller" if "expand" in pipeline else "always"
    found = run(factored, Pipeline.parse(f"merge(when='{when}')"), Context(), verify_each=True).program
    feeds, executor = feeds_for(original), OrtExecutor()
    assert errors(executor.run(factored, feeds), executor.run(found, feeds)).rel < 1e-5
    assert _weights(found) == _weights(original)
    assert [node.op_type for node in found.graph] == [node.op_type for node in original.graph]
    if "expand" in pipeline:
        assert errors(executor.run(original, feeds), executor.run(found, feeds)).rel < 1e-4


def test_smaller_factors_stay_factors():
    factored = run(products(), Pipeline.parse("factorize(ratio=0.5, method='svd')"), Context()).program
    found = run(factored, Pipeline.parse("merge"), Context()).program
    assert len(found.ledger.actions) == len(factored.ledger.actions)
    assert any("parameters, the product 4,0" in miss.reason for miss in found.ledger.misses)


def _weights(one: Program) -> dict[str, tuple[int, ...]]:
    return {value.name or "": tuple(np.shape(value.const_value.numpy())) for value in one.initializers() if value.const_value is not None}
