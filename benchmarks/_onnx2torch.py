"""onnx2torch as a peer, without torchvision: its two operators that need that package fail when called, the others are its own."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import onnx
    import torch

OLD = 18
"""The lowest opset that torch's exporter writes; onnx2torch knows few of the newer operators."""

FIRST = f"torch's default export, opset {OLD}"


def convert(model: onnx.ModelProto) -> torch.nn.Module:
    """onnx2torch's module for a model.

    Raises:
        ImportError: onnx2torch is not installed (`make bench` installs it without its dependencies).
    """
    with _stand_in_for_torchvision():
        peer = import_module("onnx2torch")
    return cast("Callable[[onnx.ModelProto], torch.nn.Module]", peer.convert)(model)


def convert_any(module: torch.nn.Module, given: Mapping[str, torch.Tensor], check: Callable[[torch.nn.Module], object]) -> str:
    """Convert a module by the first of torch's exports that works out, and say which.

    Args:
        module: what to export; of all of its outputs, those of floats.
        given: example inputs.
        check: called with what was converted; where it raises, the next form is tried.

    Raises:
        RuntimeError: no form works out; with the reason of the first.
    """
    reasons: list[str] = []
    forms: Mapping[str, Callable[[], onnx.ModelProto]] = {
        FIRST: lambda: _by_dynamo(module, given),
        "TorchScript export, opset 16": lambda: _by_torchscript(module, given, 16),
        "TorchScript export, opset 14": lambda: _by_torchscript(module, given, 14),
    }
    for label, export in forms.items():
        try:
            check(convert(export()))
        except Exception as error:  # noqa: BLE001  (whatever the peer or the exporter raises is a reason)
            reasons.append(f"{label}: {type(error).__name__}: {error}")
            continue
        return label
    raise RuntimeError(reasons[0])


def _by_dynamo(module: torch.nn.Module, given: Mapping[str, torch.Tensor]) -> onnx.ModelProto:
    import torch

    exported = torch.onnx.export(module, kwargs=dict(given), opset_version=OLD, dynamo=True, verbose=False)
    assert exported is not None
    return exported.model_proto


def _by_torchscript(module: torch.nn.Module, given: Mapping[str, torch.Tensor], opset: int) -> onnx.ModelProto:
    import onnx
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        positional = _positional(module, tuple(given)).eval()
        torch.onnx.export(positional, tuple(given.values()), path, opset_version=opset, dynamo=False, do_constant_folding=False)
        return onnx.load(path)


def _positional(module: torch.nn.Module, names: tuple[str, ...]) -> torch.nn.Module:
    """A module by the order of its arguments, as torch's older exporter wants it."""
    import torch

    from benchmarks._gradients import floats

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(floats(self.module(**dict(zip(names, given, strict=True)))))

    return Positional()


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
