"""netwright: a compiler for trained neural networks.

A model comes in from PyTorch or as an `.onnx` file, is rewritten by passes, and leaves as ONNX for ONNX Runtime:

    import netwright as nw

    program = nw.load("encoder.onnx")
    result = nw.compile(program, "simplify, quantize(scheme='dynamic')")
    print(result.report)
    result.save("encoder.small.onnx")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from netwright.api import calibrate, compare, compile, load, passes, save, to_torch, trace, write_back

if TYPE_CHECKING:
    from netwright.compiling import Result
    from netwright.debug import Comparison
    from netwright.ir import NetwrightError, Program
    from netwright.passes import Pipeline, Plan
    from netwright.passes.quantize.calibration import Statistics
    from netwright.report import Report
    from netwright.training.training import train

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "NetwrightError",
    "Pipeline",
    "Plan",
    "Program",
    "Report",
    "Result",
    "Statistics",
    "__version__",
    "calibrate",
    "compare",
    "compile",
    "load",
    "passes",
    "save",
    "to_torch",
    "trace",
    "train",
    "write_back",
]

_LAZY = {
    "Comparison": "netwright.debug",
    "NetwrightError": "netwright.ir",
    "Pipeline": "netwright.passes",
    "Plan": "netwright.passes",
    "Program": "netwright.ir",
    "Report": "netwright.report",
    "Result": "netwright.compiling",
    "Statistics": "netwright.passes.quantize.calibration",
    "train": "netwright.training.training",
}
"""Names resolved when first used, so that `import netwright` and `netwright --help` stay quick."""


def __getattr__(name: str) -> object:
    if name == "training":
        return import_module("netwright.training")
    if name not in _LAZY:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
