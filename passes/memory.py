"""Giving memory back between steps that read a whole model: pages of mapped weights, and sessions that hold a copy of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import onnx_ir

from netwright.ir.storage.mapped import MappedTensor


@runtime_checkable
class Releasing(Protocol):
    """An executor that keeps something for the next run."""

    def release(self) -> None:
        """Let go of it."""
        ...


def release_session(executor: object) -> None:
    """Let go of what an executor keeps, which may be a copy of all weights; the next run makes it again."""
    if isinstance(executor, Releasing):
        executor.release()


def release_pages(*weights: onnx_ir.Value) -> None:
    """Give back the pages of weights that lie in files; reading them again brings them back."""
    for weight in weights:
        tensor = weight.const_value
        if isinstance(tensor, MappedTensor):
            tensor.release()
