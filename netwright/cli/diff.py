"""`netwright diff A B`."""

from __future__ import annotations

from typing import Annotated

import typer

from netwright.cli.arguments import Json, Seed, Shapes


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The reference, an .onnx file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    inputs: Annotated[str | None, typer.Option("--input", "-i", help="An .npz with one array per input; made up where not given.")] = None,
    all_values: Annotated[bool, typer.Option("--all", help="Compare inner values too, not only outputs.")] = False,
    seed: Seed = 0,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Tell two models apart: nodes and weights by name, and values on the same inputs."""
    import netwright as nw
    from netwright.cli.arguments import input_shapes
    from netwright.cli.output import emit, show
    from netwright.data import as_batches
    from netwright.debug import compare, structure
    from netwright.samples import find_feeds
    from netwright.targets import backend_for

    one, other = nw.load(a), nw.load(b)
    shapes, dims = input_shapes(shape, one)
    if inputs is not None:
        names = {value.name for value in one.inputs}
        feeds = {name: array for name, array in next(iter(as_batches(inputs, one))).items() if name in names}
    else:
        feeds = find_feeds(one, backend_for("onnxruntime").executor(None), seed=seed, dims=dims, shapes=shapes)
    graph = structure(one, other)
    values = compare(one, other, feeds, values="all" if all_values else "outputs")
    if json:
        emit({"a": a, "b": b, "structure": graph.to_dict(), "values": values.to_dict()})
        return
    show(graph, values)
