"""Pruning at 50 % of the units of every group, on any kind of model in any form, beside Torch-Pruning and onnxsim.

    python -m benchmarks.prune_coverage [NAME …] [--form module] [--ours] [--zoo] [--frozen] [--check] [--json FILE]

First table: each model as an `nn.Module`, as torch's default export, and as its TorchScript export, batch and length dynamic. Torch-Pruning
prunes the module, onnxsim the files; of the ways to use them (features of every head or whole heads; the file as it is or simplified) the
smallest valid result counts. A pruner's crash is its result. Second table: the trained models of the zoo, ours.

A file is valid if onnx's checker passes it and ONNX Runtime gives finite outputs of the original's shapes at two other batch sizes. Ours
must also be equal to the masked original: the same network with those units at zero. So features that a LayerNorm averages over stay; the
columns with "also" are without that promise (`approximate=True`), which is how the peers prune. Sizes are netwright's counts for all alike.

With `--check`, exits with 1 where ours is invalid, differs by more than 1e-5 of the largest output, lost a dynamic axis, left a group whole
without a reason, or removed nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import netwright as nw
from benchmarks._coverage_models import COVERAGE_MODELS
from benchmarks._forms import FORMS, Form, file_of, program_of
from benchmarks._pruned import Size, dynamic_dims
from benchmarks._pruning import prune
from benchmarks._pruning_peers import WAYS, best, said
from benchmarks.table import Row, report
from benchmarks.zoo import Feeds, zoo
from netwright.ir.errors import MissingExtraError
from netwright.ir.program import Program

PEER: dict[Form, str] = {"module": "Torch-Pruning", "dynamo": "onnxsim", "torchscript": "onnxsim"}


def main() -> None:
    """Parse the command line, prune everything by everyone, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models of either table; all where left out")
    parser.add_argument("--form", action="append", choices=FORMS, help="default: all three")
    parser.add_argument("--ours", action="store_true", help="without the peers")
    parser.add_argument("--zoo", action="store_true", help="only the second table")
    parser.add_argument("--frozen", action="store_true", help="list what stayed whole, and why")
    parser.add_argument("--check", action="store_true", help="exit with 1 where ours is not as promised")
    parser.add_argument("--json", type=Path, help="write the first table here too")
    options = parser.parse_args()
    failed: list[str] = []
    stayed: list[str] = []
    rows: list[Row] = []
    for name in [] if options.zoo else [name for name in options.names or COVERAGE_MODELS if name in COVERAGE_MODELS]:
        for form in options.form or FORMS:
            if reason := _no_export(name, form):
                rows.append({"model": name, "form": form, "pruner": "none", "valid": reason})
                continue
            if not options.ours:
                rows.append({"model": name, "form": form, "pruner": PEER[form], **_peer(name, form)})
            rows.append({"model": name, "form": form, "pruner": "netwright", **_ours(name, form, failed, stayed)})
    if rows:
        report("Pruned by half", rows, path=options.json)
    rows = [{"model": name, **_trained(name, failed, stayed)} for name in options.names or zoo if name in zoo]
    if rows:
        report("Trained models pruned by half", rows)
    for line in stayed if options.frozen else ():
        print(line)
    for line in failed:
        print(f"failed: {line}")
    if options.check and failed:
        raise SystemExit(1)


def _no_export(name: str, form: Form) -> str:
    try:
        if form != "module":
            file_of(COVERAGE_MODELS[name], form)
    except Exception as error:  # noqa: BLE001 (whatever an exporter raises is why there is no such form)
        return f"no export: {said(error)}"
    return ""


def _peer(name: str, form: Form) -> Row:
    found = best(name, form)
    if found.after is None or found.before is None:
        return {"valid": found.wrong}
    used = f" ({found.way})" if found.way != WAYS[form][0] else ""
    return {**_left(found.before, found.after), "valid": f"yes{used}"}


def _ours(name: str, form: Form, failed: list[str], stayed: list[str]) -> Row:
    model = COVERAGE_MODELS[name]
    return _judged(f"{name}, {form}", program_of(model, form), [model.feeds(batch=2), model.feeds(batch=3, length=5)], failed, stayed)


def _trained(name: str, failed: list[str], stayed: list[str]) -> Row:
    try:
        program = nw.load(zoo[name].onnx())
        batches = [zoo[name].feeds(1)[0]]
        if all(axis == 0 for _, axis, _ in dynamic_dims(program)) and dynamic_dims(program):
            batches += [zoo[name].feeds(1, batch=2)[0]]
    except MissingExtraError as error:
        return {"valid": f"not installed: {error}"}
    return _judged(name, program, batches, failed, stayed)


def _judged(label: str, program: Program, batches: Sequence[Feeds], failed: list[str], stayed: list[str]) -> Row:
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = prune(program, batches, Path(folder), approximate=True)
    except Exception as error:  # noqa: BLE001 (a crash is a cell of the table, for us as for others)
        failed.append(f"{label}: {said(error)}")
        return {"valid": said(error)}
    failed.extend(f"{label}: {failure}" for failure in found.failures)
    stayed.extend(f"{label}: {reason}" for reason in found.missed)
    return {
        **_left(found.before, found.after),
        "also params": _share(found.before.params, found.loose.params),
        "also MACs": _share(found.before.macs, found.loose.macs),
        "valid": found.wrong or "yes",
        "difference": found.difference,
        "axes kept": found.axes_kept,
        "groups": found.groups,
        "frozen": len(found.frozen),
        "without a reason": len(found.silent),
    }


def _left(before: Size, after: Size) -> Row:
    return {"params left": _share(before.params, after.params), "MACs left": _share(before.macs, after.macs)}


def _share(before: int | None, after: int | None) -> float | None:
    return round(after / before, 3) if before and after is not None else None


if __name__ == "__main__":
    main()
