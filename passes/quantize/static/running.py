"""Whether what was written as integers also runs as integers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir

from netwright.ir.editor import reader_count
from netwright.ir.opinfo import is_standard
from netwright.ir.program import Program
from netwright.passes.kernels import KernelReport
from netwright.passes.rewrite import Miss, site_of

_WEIGHING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_REACH = 3
"""How many nodes behind a product a float kernel may take in: a bias, a bound."""


def left_float(program: Program, report: KernelReport) -> Iterator[Miss]:
    """A miss for each product and convolution of dequantized operands for which the runtime made a float kernel all the same.

    Args:
        program: quantized and folded.
        report: what the runtime makes of it.
    """
    kinds = {name: kernel.op_type for kernel in report.kernels if kernel.weighs and not kernel.is_integer for name in kernel.outputs}
    for node in program.nodes(*_WEIGHING, domain=""):
        if not all(_is_dequantized(operand) for operand in node.inputs[:2]):
            continue
        found = next((kinds[name] for name in _names_behind(node) if name in kinds), None)
        if found is not None:
            yield Miss(f"runs as a float {found} although its operands are integers: the runtime has not fused it", site_of(node))


def _is_dequantized(value: onnx_ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    return node is not None and is_standard(node, "DequantizeLinear")


def _names_behind(node: onnx_ir.Node) -> Iterator[str]:
    for _ in range(_REACH):
        value = node.outputs[0]
        yield value.name or ""
        if reader_count(value) != 1:
            return
        node = next(iter(value.uses()))[0]
        if node.op_type in _WEIGHING:
            return
