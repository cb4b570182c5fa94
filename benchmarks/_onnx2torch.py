"""onnx2torch as a peer, without torchvision: its two operators that need that package fail when called, the others are its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
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
    with _stand_in_for_torchvision():
        from onnx2torch import convert as convert_model

    return convert_model(model)


@contextlib.contextmanager
def _stand_in_for_torchvision() -> Generator[None]:
    """Modules of the names that onnx2torch imports at its start; afterwards they are gone, as others ask whether there is torchvision."""
    outer, inner = ModuleType("torchvision"), ModuleType("torchvision.ops")

    def absent(*args: object, **keywords: object) -> object:
        raise RuntimeError("torchvision is not installed")

    for name in ("nms", "box_convert", "roi_align"):
        setattr(inner, name, absent)
    outer.ops = inner  # pyright: ignore[reportAttributeAccessIssue]
    stand_ins = {"torchvision": outer, "torchvision.ops": inner}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
