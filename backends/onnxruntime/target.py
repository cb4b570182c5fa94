"""What passes may know of ONNX Runtime on this machine's CPU."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx_ir

from netwright.backends.onnxruntime.binding import KernelDef, cpu_kernels, version

_STANDARD = frozenset({"", "ai.onnx"})
_LATEST = 2**31 - 1
_INT8_DOT = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
"""Instruction sets that multiply and add bytes in one instruction; without, int8 MatMul is hardly faster than float."""


@dataclass(frozen=True)
class OrtTarget:
    """ONNX Runtime's CPU provider, read from its own kernel registry (on first use: the library is loaded then).

    Attributes:
        name: `"onnxruntime"`.
        max_opset: the newest standard opset it runs.
        threads: how many worker threads programs will have; None for one per core.
    """

    name: str = "onnxruntime"
    max_opset: int = 26
    threads: int | None = None

    @cached_property
    def version(self) -> str:
        """ONNX Runtime's version."""
        return version()

    @cached_property
    def machine(self) -> str:
        """What timings hold for: ONNX Runtime's version and the processor."""
        return f"onnxruntime {self.version}, {cpu_model(Path('/proc/cpuinfo'))}, {self.cores} cores"

    def supports(self, op_type: str, domain: str = "", dtype: onnx_ir.DataType | None = None, *, opset: int | None = None) -> bool:
        """True when there is a kernel.

        Operators that ONNX Runtime expands as functions have none, and are left out: they run, but no faster than what they expand to.

        Args:
            op_type: such as `MatMulNBits`.
            domain: such as `com.microsoft`.
            dtype: an element type that one of the operator's type parameters must take.
            opset: version of the domain; the newest where not given.
        """
        kernels = self._kernels.get(("" if domain in _STANDARD else domain, op_type), ())
        at = _LATEST if opset is None else opset
        return any(kernel.version_range[0] <= at <= kernel.version_range[1] and _takes(kernel, dtype) for kernel in kernels)

    @cached_property
    def isa(self) -> frozenset[str]:
        """Instruction set extensions of this processor, in Linux's names; empty where unknown."""
        return cpu_flags(Path("/proc/cpuinfo"))

    @property
    def has_int8_dot(self) -> bool:
        """True when the processor multiplies bytes four at a time (VNNI, dot product)."""
        return not self.isa.isdisjoint(_INT8_DOT)

    @property
    def is_x86(self) -> bool:
        """True on x86-64: there, signed times signed int8 is slower than unsigned times signed."""
        return platform.machine().lower() in ("x86_64", "amd64")

    @property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @cached_property
    def _kernels(self) -> dict[tuple[str, str], list[KernelDef]]:
        table: dict[tuple[str, str], list[KernelDef]] = {}
        for kernel in cpu_kernels():
            table.setdefault((kernel.domain, kernel.op_name), []).append(kernel)
        return table


def cpu_target(threads: int | None = None) -> OrtTarget:
    """ONNX Runtime's CPU provider on this machine."""
    return OrtTarget(threads=threads)


def _takes(kernel: KernelDef, dtype: onnx_ir.DataType | None) -> bool:
    if dtype is None:
        return True
    wanted = f"tensor({dtype.name.lower()})"
    return any(wanted in allowed for allowed in kernel.type_constraints.values())


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """The flags of the first processor that Linux lists."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def cpu_model(cpuinfo: Path) -> str:
    """The first processor that Linux lists, by name; elsewhere what Python knows of it."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))), "")
    return named or f"{platform.machine()} {platform.processor()}".strip()
