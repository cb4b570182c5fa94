"""Run an `.onnx` file on ONNX Runtime: the independent way that every other way of running a model is compared with.

The library carries no types: this module is its typed face.
"""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

Feeds: TypeAlias = dict[str, np.ndarray]
"""Inputs by name."""
Run: TypeAlias = Callable[[Feeds], Mapping[str, np.ndarray]]
"""Runs a model: inputs by name in, outputs by name out, in the model's own order."""

ERROR_LEVEL = 3
"""ONNX Runtime's log level that leaves out its warnings of stale shapes."""


def open_session(path: str | os.PathLike[str], threads: int = 1) -> Run:
    """A session on the CPU that runs with `threads` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERROR_LEVEL
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Feeds) -> Mapping[str, np.ndarray]:
        return dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))

    return run
