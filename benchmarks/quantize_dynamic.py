"""Dynamic int8 on every export and every real model: speed, error and size, beside ONNX Runtime's own `quantize_dynamic`.

    python -m benchmarks.quantize_dynamic [--opset 20|23] [--zoo] [--rounds N] [NAME ...]

Each model in a process of its own: the float file as exported, `simplify, quantize(scheme='dynamic')`, and ONNX Runtime's quantizer
at its best: after its own pre-processing and with `value_info` deleted (else it crashes on torch's exports), per channel or not, signed
or unsigned weights, never with reduced range; the fastest of the four that run. One thread, batch 1, all files in turns, best of all runs
(the thread's CPU time, which other processes disturb less than the clock).
`error` is |quantized - float| / |float| over all float outputs, for real models on their own data. Real models (`--zoo`) are scored too.
Targets: works on each; speed-up and error no worse than ONNX Runtime's; nothing slower than float.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.table import Row, report
from benchmarks.zoo.sessions import Feeds, Run, open_session

PIPELINE = "simplify, quantize(scheme='dynamic')"
SECONDS = 20.0
"""Timing of one model ends after this long, however many rounds were asked for."""


def main() -> None:
    """Measure the models named, all where none is; with `--one`, a single one, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures, or with --zoo real models; all where left out")
    parser.add_argument("--opset", type=int, default=20, choices=(20, 23))
    parser.add_argument("--zoo", action="store_true", help="real trained models in the place of exports")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(
            json.dumps(
                _zoo_row(options.names[0], options.rounds) if options.zoo else _export_row(options.names[0], options.opset, options.rounds)
            )
        )
        return
    rows = [_apart(name, options.opset, options.rounds, zoo=options.zoo) for name in options.names or _all_names(zoo=options.zoo)]
    report("real models" if options.zoo else f"exports, opset {options.opset}", rows)


def _all_names(*, zoo: bool) -> Sequence[str]:
    if zoo:
        from benchmarks.zoo import zoo as models

        return list(models)
    from benchmarks.exports import ARCHITECTURES

    return list(ARCHITECTURES)


def _apart(name: str, opset: int, rounds: int, *, zoo: bool) -> Row:
    command = [sys.executable, "-m", "benchmarks.quantize_dynamic", name, "--one", "--opset", str(opset), "--rounds", str(rounds)]
    done = subprocess.run([*command, *(["--zoo"] if zoo else [])], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr.strip()[-2000:]}")
    sys.stderr.write(f"{done.stdout.splitlines()[-1]}\n")
    return json.loads(done.stdout.splitlines()[-1])


def _export_row(name: str, opset: int, rounds: int) -> Row:
    from benchmarks.exports import example_feeds, export_path

    return _compare(name, export_path(name, opset), [example_feeds(name, seed=seed) for seed in range(2)], rounds)[0]


def _zoo_row(name: str, rounds: int) -> Row:
    from benchmarks.zoo import zoo

    model = zoo[name]
    with tempfile.TemporaryDirectory() as folder:
        row, ours, peer = _compare(name, model.onnx(), model.feeds(4), rounds, keep=Path(folder))
        original = model.original()
        before = model.evaluate(original, original=original)
        for label, path in (("lost", ours), ("ORT lost", peer)):
            scores = None if path is None else model.evaluate(open_session(path), original=original)
            lost = None if scores is None else model.loss(before, scores)
            row[label] = None if lost is None else round(lost, 2)
            row[label.replace("lost", "cosine")] = (
                None if scores is None or "cosine" not in scores.metrics else round(scores.metrics["cosine"], 4)
            )
        return row


@dataclass(frozen=True, slots=True)
class _Peer:
    """One setting of ONNX Runtime's quantizer."""

    per_channel: bool
    weights: str

    @property
    def label(self) -> str:
        return f"{self.weights}{' per channel' if self.per_channel else ''}"


PEERS = tuple(_Peer(per_channel, weights) for per_channel in (True, False) for weights in ("QInt8", "QUInt8"))


def _compare(name: str, source: Path, feeds: Sequence[Feeds], rounds: int, keep: Path | None = None) -> tuple[Row, Path, Path | None]:
    """A row of the table, the quantized file, and the best of ONNX Runtime's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        ours = folder / "ours.onnx"
        started = time.perf_counter()
        misses = _quantize(source, ours)
        seconds = time.perf_counter() - started
        files = {"float": source, "ours": ours}
        failures: dict[str, str] = {}
        for peer in PEERS:
            made = _by_onnxruntime(source, folder, peer)
            if isinstance(made, Path):
                files[peer.label] = made
            else:
                failures[peer.label] = made
        runs = {label: open_session(path) for label, path in files.items()}
        best = _best_ms(runs, feeds[0], rounds)
        errors = {label: _error(runs["float"], run, feeds) for label, run in runs.items()}
        peers = [peer.label for peer in PEERS if peer.label in runs]
        fastest = min(peers, key=best.__getitem__, default="")
        row: Row = {
            "model": name,
            "float ms": round(best["float"], 3),
            "speed-up": round(best["float"] / best["ours"], 2),
            "ORT speed-up": round(best["float"] / best[fastest], 2) if fastest else None,
            "error": float(f"{errors['ours']:.3g}"),
            "ORT error": float(f"{errors[fastest]:.3g}") if fastest else None,
            "size": round(ours.stat().st_size / source.stat().st_size, 3),
            "ORT size": round(files[fastest].stat().st_size / source.stat().st_size, 3) if fastest else None,
            "misses": misses,
            "seconds": round(seconds, 1),
            "ORT setting": fastest or next(iter(failures.values())),
        }
        return row, ours, files.get(fastest)


def _quantize(source: Path, target: Path) -> int:
    import netwright as nw

    result = nw.compile(source, PIPELINE, latency=False, threads=1)
    result.save(target)
    return sum(len(row.misses) for row in result.report.passes[-1:])


def _by_onnxruntime(source: Path, folder: Path, peer: _Peer) -> Path | str:
    """The file that ONNX Runtime's quantizer wrote and can load, or how it failed."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore[reportUnknownVariableType]
    from onnxruntime.quantization.shape_inference import quant_pre_process  # pyright: ignore[reportUnknownVariableType]

    prepared, target = folder / "prepared.onnx", folder / f"{peer.label.replace(' ', '_')}.onnx"
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        streams, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), nowhere, nowhere
        try:
            if not prepared.exists():
                quant_pre_process(os.fspath(source), os.fspath(prepared), skip_symbolic_shape=True)
                model = onnx.load(prepared)
                del model.graph.value_info[:]
                onnx.save(model, prepared)
            quantize_dynamic(prepared, target, per_channel=peer.per_channel, reduce_range=False, weight_type=QuantType[peer.weights])
            open_session(target)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            return f"fails: {type(error).__name__}"
        finally:
            sys.stdout, sys.stderr = streams
    return target


def _best_ms(runs: Mapping[str, Run], feeds: Feeds, rounds: int) -> dict[str, float]:
    """The best time of each, taken in turns; a first run each is not counted. All the work is done in the calling thread."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run(feeds)
    until = time.perf_counter() + SECONDS
    for _ in range(rounds):
        for label, run in runs.items():
            for _ in range(2):
                started = time.thread_time()
                run(feeds)
                best[label] = min(best[label], 1e3 * (time.thread_time() - started))
        if time.perf_counter() > until:
            break
    return best


def _error(reference: Run, run: Run, feeds: Sequence[Feeds]) -> float:
    """Relative error in the Euclidean norm, over all float outputs and all feeds."""
    off = whole = 0.0
    for one in feeds:
        for expected, found in zip(reference(one).values(), run(one).values(), strict=True):
            if np.issubdtype(expected.dtype, np.floating):
                off += float(np.sum((found.astype(np.float64) - expected) ** 2))
                whole += float(np.sum(expected.astype(np.float64) ** 2))
    return (off / whole) ** 0.5 if whole else 0.0


if __name__ == "__main__":
    main()
