"""What passes may know of a chip."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.backends.cim.arch.model import Arch


@dataclass(frozen=True)
class CimTarget:
    """A chip as a target.

    Attributes:
        arch: its description.
    """

    arch: Arch

    @property
    def name(self) -> str:
        """Such as `cim:isaac`."""
        return f"cim:{self.arch.name}"

    @property
    def in_arrays(self) -> bool:
        """True: crossbars take static integers, of any size."""
        return True

    def why_vector(self, count: int, vectors: int, rows: int, outputs: int) -> str | None:
        """Why so many products [vectors, rows]·[rows, outputs] of two activations had better stay on vector units, with prices."""
        from netwright.backends.cim.lowering.prices import Attention

        return Attention(count, vectors, rows, outputs).why_vector(self.arch)

    def supports(self, op_type: str, domain: str = "", dtype: onnx_ir.DataType | None = None) -> bool:
        """True of standard operators and the chip's own; which of them run on the host, mapping tells."""
        return domain in ("", "ai.onnx", "netwright.cim")


def arch_of(target: object) -> Arch | None:
    """The chip that a context's target is; None for another target."""
    return target.arch if isinstance(target, CimTarget) else None
