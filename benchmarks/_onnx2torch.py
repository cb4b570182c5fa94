"""onnx2torch as a peer, without torchvision: its two operators that need that package fail when called, the others are its own."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import torch


def convert(model: onnx.ModelProto) -> torch.nn.Module:
    """onnx2torch's module for a model.

    Raises:
        ImportError: onnx2torch is not installed (`make bench` installs it without its dependencies).
    """
    _stand_in_for_torchvision()
    from onnx2torch import convert as convert_model

    return convert_model(model)


def _stand_in_for_torchvision() -> None:
    """Modules of the names that onnx2torch imports at its start."""
    if "torchvision" in sys.modules:
        return
    outer, inner = ModuleType("torchvision"), ModuleType("torchvision.ops")

    def absent(*args: object, **keywords: object) -> object:
        raise RuntimeError("torchvision is not installed")

    for name in ("nms", "box_convert", "roi_align"):
        setattr(inner, name, absent)
    outer.ops = inner  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules.update({"torchvision": outer, "torchvision.ops": inner})
