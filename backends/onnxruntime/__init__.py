"""Program → ONNX Runtime: sessions, files, any inner value, latency. The library itself is loaded when a session is made."""

from netwright.backends.onnxruntime.executable import Executable
from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.backends.onnxruntime.kernels import OrtKernels
from netwright.backends.onnxruntime.latency import Latency, OrtTimer, measure
from netwright.backends.onnxruntime.lower import lower
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.onnxruntime.target import OrtTarget, cpu_target

__all__ = [
    "Executable",
    "Latency",
    "OrtExecutor",
    "OrtKernels",
    "OrtTarget",
    "OrtTimer",
    "SessionOptions",
    "cpu_target",
    "lower",
    "measure",
]
