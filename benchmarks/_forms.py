"""A model in the three forms in which people have one: a module that is traced, torch's default export, its older TorchScript export."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
from collections.abc import Generator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from benchmarks.exports.export import quiet
from netwright.frontends.onnx import load_onnx
from netwright.frontends.torch import trace
from netwright.ir.program import Program

Form = Literal["module", "dynamo", "torchscript"]
FORMS: tuple[Form, ...] = get_args(Form)

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "forms"
"""Where exports are kept: ignored by git, safe to delete."""
SOURCES = (ROOT / "tests" / "models", ROOT / "benchmarks" / "exports", ROOT / "benchmarks" / "_networks.py", Path(__file__))
"""What decides how the models look: a change of it makes new exports."""
OPSET = 20


class Exportable(Protocol):
    """What an exporter needs of a model."""

    @property
    def name(self) -> str:
        """Its key in the collection that it comes from."""
        ...

    @property
    def dynamic(self) -> Mapping[str, Mapping[int, str]]:
        """Names of the dynamic dimensions of each input."""
        ...

    def module(self) -> nn.Module:
        """The module in eval mode."""
        ...

    def example(self) -> dict[str, Tensor]:
        """Example inputs by argument name, in the order of `forward`'s arguments."""
        ...


def program_of(model: Exportable, form: Form, cache_folder: Path = CACHE) -> Program:
    """The model as a Program: traced, or loaded from the file that an exporter wrote.

    Raises:
        ExportError: netwright cannot trace it. An exporter's own errors come through as they are.
    """
    if form == "module":
        return trace(model.module(), kwargs=model.example(), dynamic_shapes=model.dynamic)
    return load_onnx(file_of(model, form, cache_folder))


def file_of(model: Exportable, form: Literal["dynamo", "torchscript"], cache_folder: Path = CACHE) -> Path:
    """The model's `.onnx` file as torch's exporter writes it by default, with dynamic axes; made on the first call."""
    path = cache_folder / f"{model.name.replace(' ', '_')}.{form}.{_recipe()}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.onnx")
        with quiet():
            (_dynamo if form == "dynamo" else _torchscript)(model, partial)
        partial.replace(path)
    return path


def _dynamo(model: Exportable, path: Path) -> None:
    for layer in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        layer._dispatch_cache.clear()  # pyright: ignore[reportPrivateUsage] - or torch 2.13 refuses every second one of a process
    torch.onnx.export(
        model.module(),
        kwargs=model.example(),
        f=path,
        dynamic_shapes={name: dict(axes) for name, axes in model.dynamic.items()},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _torchscript(model: Exportable, path: Path) -> None:
    given = model.example()
    with _descriptors_closed():  # where it fails, the exporter writes the whole graph past Python's streams
        torch.onnx.export(
            Positional(model.module(), tuple(given)),
            tuple(given.values()),
            str(path),
            input_names=list(given),
            dynamic_axes={name: dict(axes) for name, axes in model.dynamic.items()},
            opset_version=OPSET,
            dynamo=False,
        )


class Positional(nn.Module):
    """A module by the order of its arguments, as torch's older exporter wants it; of several outputs, the tensors."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(**dict(zip(self.names, given, strict=True)))
        return tuple(leaf for leaf in cast("list[object]", _pytree.tree_leaves(outputs)) if isinstance(leaf, Tensor))


@contextlib.contextmanager
def _descriptors_closed() -> Generator[None]:
    """Send what is written to the process's standard output and error nowhere."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


@cache
def _recipe() -> str:
    """Eight hex digits that change when the code of the models or torch does; comments and layout do not count."""
    digest = hashlib.sha256(version("torch").encode())
    for source in SOURCES:
        for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(ast.dump(ast.parse(file.read_bytes())).encode())
    return digest.hexdigest()[:8]
