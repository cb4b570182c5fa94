"""Arguments that several commands take, and how their text is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from netwright.ir.program import Program

Model = Annotated[str, typer.Argument(metavar="MODEL", help="An .onnx file.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]
PipelineText = Annotated[str, typer.Option("-p", "--pipeline", help="Passes, such as \"simplify, quantize(scheme='dynamic')\".")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the backend.")]
Sparse = Annotated[bool, typer.Option("--sparse", help="Write weights with many zeros in compact form.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=2x128", help="Shape of an input, or NAME=N for a symbolic dimension; repeatable."),
]


def input_shapes(given: list[str] | None, program: Program) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """What `--shape` says: shapes by input name, and sizes by name of a symbolic dimension.

    Raises:
        DataError: text of another form, or a name that is neither an input nor a dimension of the program's.
    """
    from netwright.ir.errors import DataError
    from netwright.samples import parse_shapes

    inputs = {value.name or "": value for value in program.inputs}
    symbols = {str(dim) for value in inputs.values() for dim in value.shape or () if not isinstance(dim, int)}
    shapes: dict[str, tuple[int, ...]] = {}
    dims: dict[str, int] = {}
    for name, sizes in parse_shapes(given or []).items():
        if name in inputs:
            shapes[name] = sizes
        elif name in symbols and len(sizes) == 1:
            dims[name] = sizes[0]
        else:
            known = f"Its inputs: {', '.join(inputs)}; its dimensions: {', '.join(sorted(symbols)) or 'none'}."
            raise DataError(f"The model has no input or dimension {name}.", place=f"--shape {name}", remedy=known)
    return shapes, dims


def read_budget(text: str | None) -> dict[str, float] | None:
    """Read `bytes=10MB, metric_drop=0.01`.

    Raises:
        typer.BadParameter: text of another form.
    """
    if text is None:
        return None
    units = {"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "ms": 1.0, "uj": 1.0, "b": 1.0, "": 1.0}
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
