"""`netwright opt MODEL -p PIPELINE`: for pass authors."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import Json, Seed, Shapes

if TYPE_CHECKING:
    from rich.tree import Tree

    from netwright.ir.program import Program
    from netwright.passes.instruments import Instrument
    from netwright.passes.manager import PassRow


def opt(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="An .onnx file; none with --repro.")] = None,
    pipeline: Annotated[str | None, typer.Option("-p", "--pipeline", help="Passes, such as 'simplify'.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .onnx file to write.")] = None,
    print_before: Annotated[str, typer.Option(help="Dump the graph before a pass: its name, or all.")] = "",
    print_after: Annotated[str, typer.Option(help="Dump the graph after a pass: its name, all, or changed.")] = "",
    verify_each: Annotated[bool, typer.Option("--verify-each", help="Verify after every rewrite, not only after every pass.")] = False,
    time_: Annotated[bool, typer.Option("--time", help="Show the timing tree.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show how often each rule was applied.")] = False,
    until: Annotated[str | None, typer.Option(help="Stop after this action, such as 0:simplify#12.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every stage with the original (needs a session).")] = False,
    repro_dir: Annotated[str | None, typer.Option(help="Where to leave a reproducer when a pass crashes.")] = None,
    repro: Annotated[str | None, typer.Option(help="Replay a reproducer.")] = None,
    seed: Seed = 0,
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Run passes over a model and look at what they do; creates no session unless --check."""
    from netwright import api
    from netwright.cli.arguments import input_shapes
    from netwright.cli.output import emit, note, show
    from netwright.cli.progress import pass_progress
    from netwright.compiling import peak_rss_mb, run_with_reproducer
    from netwright.ir.cost import default_bindings
    from netwright.ir.files import require_folders
    from netwright.passes import Context, Pipeline
    from netwright.passes.instruments import PrintStages
    from netwright.report import Report, measure_size

    require_folders(output, repro_dir)
    if repro is not None:
        from netwright.reproducer import read_reproducer

        path, text, dims, seed = read_reproducer(repro)
        program = api.load(path)
        shapes: dict[str, tuple[int, ...]] = {}
    else:
        if model is None or pipeline is None:
            raise typer.BadParameter("opt takes a MODEL and -p PIPELINE, or --repro FOLDER.")
        text = pipeline
        program = api.load(model)
        shapes, dims = input_shapes(shape, program)
    parsed = Pipeline.parse(text)
    bindings = {**default_bindings(program), **dims}
    context = Context(seed=seed, dims=bindings)
    sink = sys.stderr.write if json else sys.stdout.write
    before = measure_size(program, bindings)
    started = time.perf_counter()
    with pass_progress(quiet=json) as instruments:
        tools = [*instruments, PrintStages(lambda dump: sink(dump + "\n"), before=print_before, after=print_after)]
        if check:
            tools.append(_oracle(program, seed, dims, shapes))
        outcome = run_with_reproducer(program, parsed, context, tools, folder=repro_dir, until=until, verify_each=verify_each)
    seconds = time.perf_counter() - started
    if output is not None:
        api.save(outcome.program, output)
    after = measure_size(outcome.program, bindings)
    report = Report(before, after, outcome.rows, seconds, peak_rss_mb(), bindings, str(output) if output else None)
    if json:
        emit(report.to_dict())
        return
    show(report)
    for index, row in enumerate(outcome.rows):
        if time_ or stats:
            show(_tree(index, row, seconds=time_))
    if output is not None:
        note(f"wrote {output}")


def _oracle(program: Program, seed: int, dims: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> Instrument:
    from netwright.passes.instruments import OracleCheck
    from netwright.samples import find_feeds
    from netwright.targets import backend_for

    executor = backend_for("onnxruntime").executor(None)
    return OracleCheck(executor, [find_feeds(program, executor, seed=seed, dims=dims, shapes=shapes)])


def _tree(index: int, row: PassRow, *, seconds: bool) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    def label(name: str, one: PassRow) -> Text:
        took = f"{one.seconds * 1e3:9.1f} ms  " if seconds else ""
        return Text(f"{took}{one.actions:6d} actions  {name}")

    tree = Tree(label(f"{index}:{row.name}", row))
    for child in sorted(row.children, key=lambda one: -one.seconds if seconds else -one.actions):
        tree.add(label(child.name, child))
    return tree
