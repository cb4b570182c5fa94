"""The commands put together, and how errors become exit codes: 0 ok, 1 user error, 2 usage, 3 internal error."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from netwright.cli import bench, calibrate, cim_, codec_, compile_, diff, inspect_, opt, passes_, run_, train
from netwright.cli.output import INTERRUPTED, fail, internal_error, note, usage_error

app = typer.Typer(
    name="netwright",
    help="A compiler for trained neural networks: ONNX in, a smaller and faster ONNX out, every rewrite accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("inspect")(inspect_.inspect)
app.command("passes")(passes_.passes)
app.command("compile")(compile_.compile_)
app.command("calibrate")(calibrate.calibrate)
app.command("opt")(opt.opt)
app.command("run")(run_.run)
app.command("train")(train.train)
app.command("bench")(bench.bench)
app.command("diff")(diff.diff)
app.command("codec")(codec_.codec)
app.add_typer(cim_.app, name="cim")

_USAGE_ERROR = typer.BadParameter.__mro__[1]
"""The base of all usage errors, wherever typer keeps it."""


def _version(wanted: bool) -> None:
    if wanted:
        from netwright import __version__

        typer.echo(f"netwright {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """A compiler for trained neural networks."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = app(args=given, standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the outermost frame: every failure becomes a paragraph and an exit code
        if isinstance(error, _USAGE_ERROR):
            sys.exit(usage_error(error, as_json=as_json))
        from netwright.ir.errors import NetwrightError

        if isinstance(error, NetwrightError):
            sys.exit(fail(error, as_json=as_json))
        sys.exit(internal_error(error, as_json=as_json))
    if code == INTERRUPTED:
        note("interrupted")
    sys.exit(code if isinstance(code, int) else 0)
