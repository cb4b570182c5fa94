"""Export an architecture once and keep the file."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.exports.models import ARCHITECTURES, Architecture, Feeds

if TYPE_CHECKING:
    import torch

    from netwright.ir.program import Program

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "exports"
"""Where exports are kept: ignored by git, safe to delete."""


def architecture(name: str) -> Architecture:
    """The architecture of this name.

    Raises:
        SystemExit: there is none; the message lists those that exist.
    """
    if name not in ARCHITECTURES:
        raise SystemExit(f"No export named {name!r}; there are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def export_path(name: str, opset: int = 20, cache: Path = CACHE) -> Path:
    """The `.onnx` file of an architecture as torch's exporter writes it by default; exported on the first call."""
    path = cache / f"{name}.opset{opset}.onnx"
    if not path.exists():
        export(architecture(name), path, opset)
    return path


def export(arch: Architecture, path: Path, opset: int) -> None:
    """Export to `path` with `torch.onnx.export(dynamo=True)` and its default optimisation, weights inside the file."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.onnx")
    module = arch.module()
    with quiet():
        exported = torch.onnx.export(
            module,
            kwargs=example_kwargs(arch),
            dynamic_shapes=arch.dynamic,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        if exported is None:
            raise SystemExit(f"torch exported nothing for {arch.name}.")
        exported.save(partial, external_data=False)
    partial.replace(path)


def traced(name: str, opset: int = 23) -> Program:
    """The Program that `nw.trace` makes of an architecture, with the same dynamic dimensions; nothing is kept on disk."""
    from netwright.frontends.torch import trace

    arch = architecture(name)
    return trace(arch.module(), kwargs=example_kwargs(arch), dynamic_shapes=arch.dynamic, opset=opset)


def example_feeds(name: str, batch: int = 1, seq: int | None = None, seed: int = 0) -> Feeds:
    """Sample inputs by input name: token ids within the vocabulary, masks of ones, normal floats."""
    return architecture(name).example_feeds(batch, seq, seed)


def dims(name: str, batch: int = 1, seq: int | None = None) -> dict[str, int]:
    """Sizes of the dynamic dimensions by name, for counting MACs."""
    return architecture(name).dims(batch, seq)


def example_kwargs(arch: Architecture) -> dict[str, torch.Tensor]:
    """Keyword arguments of `forward`, of batch 2."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arch.example_feeds(2).items()}


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Keep the exporter's progress lines, warnings and log messages off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
