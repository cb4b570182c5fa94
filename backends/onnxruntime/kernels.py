"""The kernels that ONNX Runtime makes of a program, read from the graph that it writes after its own rewriting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.onnxruntime.prepare import prepare
from netwright.backends.onnxruntime.wire import load
from netwright.ir.program import Program
from netwright.passes.kernels import Kernel, KernelReport

WEIGHING = frozenset(
    {
        "Attention", "Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "GRU", "Gemm",
        "GroupQueryAttention", "LSTM", "MatMul", "MultiHeadAttention", "NhwcFusedConv", "RNN", "TransposeMatMul",
    }
)  # fmt: skip
"""Operators that multiply and sum in float."""

INTEGER = frozenset(
    {
        "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QAttention",
        "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
        "QLinearMatMul", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
    }
)  # fmt: skip
"""Operators that compute with integers."""

_SUMMING = INTEGER - {
    "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean",
    "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
}  # fmt: skip


class OrtKernels:
    """Loads programs into ONNX Runtime and reads back what became of them.

    Up to the level at which operators are fused: above it, ONNX Runtime only lays tensors out anew, under other names.
    """

    def of(self, program: Program) -> KernelReport:
        """The kernels that would run; costs loading the program once and writing it to a folder for temporary files.

        Raises:
            RunError: ONNX Runtime refuses the program.
        """
        with TemporaryDirectory(prefix="netwright-") as folder:
            path = Path(folder, "optimized.onnx")
            options = replace(SessionOptions(level="extended", threads=1), config=_WEIGHTS_ASIDE)
            load(prepare(program).model, options, optimized=path)
            graph = onnx.load(str(path), load_external_data=False).graph
        return KernelReport(tuple(_kernels(graph)))


_WEIGHTS_ASIDE = {
    "session.optimized_model_external_initializers_file_name": "optimized.weights",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}
"""Weights go into a file of their own, which is not read again."""


def _kernels(graph: onnx.GraphProto) -> Iterator[Kernel]:
    for node in graph.node:
        is_integer = node.op_type in INTEGER
        yield Kernel(node.op_type, tuple(node.output), node.op_type in WEIGHING or node.op_type in _SUMMING, is_integer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _kernels(attribute.g)
