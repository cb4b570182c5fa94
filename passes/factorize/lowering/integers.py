"""Constants of integers that nodes take as inputs: shapes, axes, sizes of parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor


def integers(editor: Editor, numbers: Sequence[int], name: str) -> onnx_ir.Value:
    """A new constant vector of int64."""
    return editor.constant(np.array(numbers, np.int64), name)
