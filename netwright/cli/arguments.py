"""Arguments that several commands take, and how their text is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]
PipelineText = Annotated[str, typer.Option("-p", "--pipeline", help="Passes, such as \"simplify, quantize(scheme='dynamic')\".")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the backend.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Shapes = Annotated[
    list[str] | None, typer.Option("--shape", metavar="NAME=2x128", help="Shape of an input, or NAME=N for a symbolic dimension; repeatable.")
]


def read_shapes(given: list[str] | None) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Split `NAME=2x128` into shapes of inputs and `NAME=4` into values that may be dimensions.

    Returns:
        Shapes by input name, and sizes by name of a symbolic dimension (a plain number may mean either).

    Raises:
        typer.BadParameter: text of another form.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    dims: dict[str, int] = {}
    for text in given or []:
        name, found, sizes = text.rpartition("=")
        parts = sizes.split("x")
        if not found or not name or not all(part.isdigit() for part in parts):
            raise typer.BadParameter(f"--shape {text!r} is not of the form NAME=2x128 or NAME=4.")
        shapes[name] = tuple(int(part) for part in parts)
        if len(parts) == 1:
            dims[name] = int(parts[0])
    return shapes, dims


def input_shapes(given: list[str] | None, inputs: Mapping[str, object]) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes and dimensions of `--shape`, told apart by the model's input names.

    Raises:
        DataError: a shape for an input that the model does not have.
    """
    from netwright.ir.errors import DataError

    shapes, dims = read_shapes(given)
    for name in shapes:
        if name not in inputs and name not in dims:
            raise DataError(f"The model has no input {name}.", place=f"--shape {name}", remedy=f"Its inputs: {', '.join(inputs)}.")
    return {n: s for n, s in shapes.items() if n in inputs}, {n: s for n, s in dims.items() if n not in inputs}


def read_budget(text: str | None) -> dict[str, float] | None:
    """Read `bytes=10MB, metric_drop=0.01`.

    Raises:
        typer.BadParameter: text of another form.
    """
    if text is None:
        return None
    units = {"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "ms": 1.0, "b": 1.0, "": 1.0}
    budget: dict[str, float] = {}
    for item in text.split(","):
        name, found, amount = (part.strip() for part in item.partition("="))
        digits = amount.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        unit = amount[len(digits) :].strip().lower()
        try:
            value = float(digits)
        except ValueError:
            value = float("nan")
        if not found or unit not in units or value != value:
            raise typer.BadParameter(f"--budget {item.strip()!r} is not of the form bytes=10MB or metric_drop=0.01.")
        budget[name] = value * units[unit]
    return budget


def read_function(text: str | None) -> str | Callable[..., object] | None:
    """A built-in name as it is, or `module:function` imported (from the current folder too).

    Raises:
        NetwrightError: the module or function is not there.
    """
    if text is None or ":" not in text:
        return text
    import sys
    from importlib import import_module

    from netwright.ir.errors import NetwrightError

    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise NetwrightError(f"{text} cannot be loaded: {error}.", place=text, remedy="Write module:function.") from error
    if not callable(found):
        raise NetwrightError(f"{text} is not a function.", place=text)
    return found
