"""`netwright compile MODEL -p PIPELINE -o OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from netwright.cli.arguments import Json, Model, PipelineText, Seed, Shapes, Sparse, Threads

if TYPE_CHECKING:
    from netwright.compiling import Result
    from netwright.metrics import MetricLike


def compile_(
    model: Model,
    pipeline: PipelineText,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    calibration: Annotated[str | None, typer.Option(help="Batches: an .npz or a folder of them.")] = None,
    training: Annotated[str | None, typer.Option(help="Labelled batches, likewise.")] = None,
    metric: Annotated[str | None, typer.Option(help="A built-in name (accuracy, agreement, cosine, mse) or module:function.")] = None,
    loss: Annotated[str | None, typer.Option(help="Name of the training loss, or module:function.")] = None,
    target: Annotated[str, typer.Option(help="What to compile for.")] = "onnxruntime",
    budget: Annotated[str | None, typer.Option(help="Limits, such as 'bytes=10MB, metric_drop=0.01'.")] = None,
    plan: Annotated[list[Path] | None, typer.Option(help="A plan to carry out; repeatable.")] = None,
    save_plans: Annotated[Path | None, typer.Option(help="Folder for the plans that were carried out.")] = None,
    sparse: Sparse = False,
    seed: Seed = 0,
    threads: Threads = None,
    shape: Shapes = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every stage with the original.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the report as an HTML page.")] = None,
    json: Json = False,
) -> None:
    """Compile a model: run the passes, write the result, report before and after."""
    import netwright as nw
    from netwright.cli.arguments import input_shapes, read_budget, read_function
    from netwright.cli.output import emit, note, show
    from netwright.cli.progress import pass_progress
    from netwright.compiling import compile_program
    from netwright.ir.files import require_folders, write_text
    from netwright.ir.sparsity import transport
    from netwright.passes import Plan

    require_folders(output, report, save_plans)
    limits = read_budget(budget)
    plans = {loaded.pass_name: loaded for loaded in (Plan.load(path) for path in plan or [])}
    program = nw.load(model)
    shapes, dims = input_shapes(shape, program)
    with pass_progress(quiet=json) as instruments:
        result = compile_program(
            program,
            pipeline,
            target=target,
            calibration=calibration,
            training=training,
            metric=cast("MetricLike | None", read_function(metric)),
            loss=read_function(loss),
            budget=limits,
            check=check,
            seed=seed,
            threads=threads,
            dims=dims,
            plans=plans,
            latency=True,
            instruments=instruments,
            shapes=shapes,
            name=Path(model).stem,
        )
    result.save(output, sparse=sparse)
    sent = transport(result.program) if sparse else None
    saved = _save_plans(result, save_plans) if save_plans is not None else []
    if report is not None:
        write_text(report, result.report.html())
    chip = _chip(result)
    if json:
        emit({**result.report.to_dict(), **({"transport": sent.to_dict()} if sent else {}), **({"chip": chip} if chip else {})})
        return
    show(result.report)
    for line in cast("list[str]", chip["notes"]) if chip else ():
        note(line)
    note(f"wrote {output}{f': {sent}' if sent else ''}")
    for path in (*saved, *([report] if report is not None else [])):
        note(f"wrote {path}")


def _chip(result: Result) -> dict[str, object] | None:
    """What mapping made of the result, where the target is a chip."""
    from netwright.targets import CimBackend

    if not isinstance(result.backend, CimBackend):
        return None
    from netwright.backends.cim.executable import CimExecutable

    made = result.executable
    assert isinstance(made, CimExecutable), "the backend is a chip's"
    return made.summary()


def _save_plans(result: Result, folder: Path) -> list[Path]:
    from netwright.ir.files import write_text

    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for index, plan in result.plans.items():
        path = folder / f"{index}-{plan.pass_name}.json"
        write_text(path, plan.to_json())
        written.append(path)
    return written
