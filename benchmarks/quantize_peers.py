"""`quantize` against other tools' quantizers on every real model: latency, size, and what is lost of the primary metric.

    python -m benchmarks.quantize_peers [--pipeline TEXT] [--samples N] [--seconds S] [--json FILE] [NAME ...]

Peers, each in a process of its own, on the model's own file (where that fails, on the file that `simplify` writes, which is said) and on
the same calibration data as ours: ONNX Runtime's dynamic and static quantizers with their options, NNCF, Neural Compressor's successor
for ONNX, and onnxsim's. What they make is kept in `.cache/quantizers` and scored once; all files of a model are timed in this run, in
turns, one thread, batch 1: the best CPU time of the thread.

A peer's file that takes more than 1.3 times as long as the float model is told as slower and not scored. `best peer` is the fastest that
loses at most two points of the primary metric; `most accurate` the one that loses least. Targets: latency at most 1.02 of the best peer's
everywhere and at most 0.95 on three or more; loss no larger than the most accurate's, up to noise; size no larger.
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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.quantizers.files import digest
from benchmarks.table import Row, report
from benchmarks.zoo import Run, Scores, ZooModel, open_session, zoo

PIPELINE = "simplify(opset=20), quantize(tune='latency', recipe='balanced')"
CACHE = Path(".cache/quantizers")
OWN_ENVIRONMENT = Path(".venv-quantizers/bin/python")
"""Where NNCF and Neural Compressor are installed (`make bench` does it): their dependencies must not come in here."""
BEARABLE = 2.0
"""Points of the primary metric that the fastest peer may lose and still count as one."""

SLOWER = 1.3
"""Over float's time, from which a peer's file is not scored: nobody would use it, and some take minutes."""

HERE = ("ORT dynamic", "ORT static", "onnxsim")
VARIANTS: Mapping[str, Sequence[str]] = {
    "ORT dynamic": ("QInt8 per channel", "QInt8", "QUInt8 per channel", "QUInt8"),
    "ORT static": ("MinMax", "MinMax layers", "Percentile", "Entropy"),
    "NNCF": ("fast", "accurate", "transformer"),
    "neural-compressor": ("dynamic", "static", "smooth"),
    "onnxsim": ("dynamic", "minmax", "minmax whole", "entropy"),
}


@dataclass(slots=True)
class Made:
    """What one peer made of a model.

    Attributes:
        label: peer and variant.
        path: the file; None where it failed.
        failure: how.
        simplified: it failed on the model's own file, and took the simplified one.
        metric: the primary metric of the file.
    """

    label: str
    path: str | None = None
    failure: str = ""
    simplified: bool = False
    metric: float | None = None


def main() -> None:
    """Measure the models named, all where none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="real models; all where left out")
    parser.add_argument("--pipeline", default=PIPELINE)
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--seconds", type=float, default=30.0, help="timing of one model ends after this long")
    parser.add_argument("--peers-only", action="store_true", help="make and score the peers' files, time nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row = _row(zoo[options.names[0]], options.pipeline, options.samples, options.seconds, peers_only=options.peers_only)
        options.one.write_text(json.dumps(row))
        return
    rows: list[Row] = []
    for name in options.names or list(zoo):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "row.json"
            arguments = [name, "--one", os.fspath(target), "--pipeline", options.pipeline, "--samples", str(options.samples)]
            arguments += ["--seconds", str(options.seconds), *(["--peers-only"] if options.peers_only else [])]
            done = subprocess.run([sys.executable, "-m", "benchmarks.quantize_peers", *arguments], check=False)
            if done.returncode == 0:
                rows.append(json.loads(target.read_text()))
                sys.stderr.write(f"{rows[-1]}\n")
            else:
                rows.append({"model": name, "best peer": "this benchmark failed"})
    report(f"quantize against its peers: {options.pipeline}", rows, path=options.json)
    if not options.peers_only:
        _verdict(rows)


def _verdict(rows: Sequence[Row]) -> None:
    ratios = [float(row["latency / best"]) for row in rows if isinstance(row.get("latency / best"), float)]  # type: ignore[arg-type]
    gains = [
        (float(row["least lost"]) - float(row["lost"]))  # type: ignore[arg-type]
        for row in rows
        if row.get("lost") is not None and row.get("least lost") is not None
    ]
    near, faster = sum(ratio <= 1.02 for ratio in ratios), sum(ratio <= 0.95 for ratio in ratios)
    print(f"latency: {near} of {len(ratios)} at most 1.02, {faster} at most 0.95")
    smaller, larger = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    print(f"loss against the most accurate peer: smaller on {smaller}, larger on {larger}, of {len(gains)}")


def _row(model: ZooModel, pipeline: str, samples: int, seconds: float, *, peers_only: bool) -> Row:
    import netwright as nw

    source, feeds = model.onnx(), model.feeds(samples)
    folder = CACHE / f"{model.name}-{digest(source)}-{samples}"
    folder.mkdir(parents=True, exist_ok=True)
    original = model.original()
    before = model.evaluate(original, original=original)
    simplified = folder / "simplified.onnx"
    if not simplified.exists():
        nw.compile(source, "simplify", latency=False, threads=1).save(simplified)
    made = _peers(model, source, simplified, feeds, folder, original)
    for one in made:
        _score(one, model, original, source, folder)
    if peers_only:
        return {one.label: _lost(model, before, one.metric) for one in made}
    ours = folder / "ours.onnx"
    started = time.perf_counter()
    nw.compile(source, pipeline, calibration=feeds, latency=False, threads=1).save(ours)
    took = time.perf_counter() - started
    return _compared(model, source, ours, made, before, original, seconds) | {"seconds": round(took, 1)}


def _compared(model: ZooModel, source: Path, ours: Path, made: Sequence[Made], before: Scores, original: Run, seconds: float) -> Row:
    own_metric = model.evaluate(open_session(ours), original=original)
    own_lost = model.loss(before, own_metric)
    lost = {one.label: _lost(model, before, one.metric) for one in made}
    usable = {one.label: Path(one.path) for one in made if one.path is not None and lost[one.label] is not None}
    bearable = {label: path for label, path in usable.items() if (lost[label] or 0.0) <= BEARABLE}
    feeds = model.feeds(1)[0]
    times = best_ms({"float": source, "ours": ours, **(bearable or usable)}, feeds, seconds)
    best = min(bearable, key=times.__getitem__, default="")
    accurate = min(usable, key=lambda label: (lost[label], times.get(label, 0.0)), default="")
    size = {label: path.stat().st_size / source.stat().st_size for label, path in {"ours": ours, **usable}.items()}
    row: Row = {
        "model": model.name,
        "float ms": round(times["float"], 3),
        "speed-up": round(times["float"] / times["ours"], 2),
        "lost": None if own_lost is None else round(own_lost, 2),
        "size": round(size["ours"], 3),
        "best peer": best or "none within two points",
        "its speed-up": round(times["float"] / times[best], 2) if best else None,
        "its lost": None if not best else round(lost[best] or 0.0, 2),
        "its size": round(size[best], 3) if best else None,
        "latency / best": round(times["ours"] / times[best], 3) if best else None,
        "most accurate": accurate,
        "least lost": None if not accurate else round(lost[accurate] or 0.0, 2),
        "failed": sum(one.path is None and not one.failure.startswith("slower") for one in made),
        "slower than float": sum(one.failure.startswith("slower") for one in made),
        "broken": len(usable) - len(bearable),
    }
    for name in ("cosine",):
        if name in own_metric.metrics:
            row[name] = round(own_metric.metrics[name], 4)
    return row


def _lost(model: ZooModel, before: Scores, metric: float | None) -> float | None:
    return None if metric is None else model.loss(before, Scores({model.primary: metric}))


def _peers(
    model: ZooModel, source: Path, simplified: Path, feeds: Sequence[Mapping[str, np.ndarray]], folder: Path, original: Run
) -> list[Made]:
    del original
    found: list[Made] = []
    with tempfile.TemporaryDirectory() as data:
        for index, one in enumerate(feeds):
            np.savez(Path(data) / f"{index:04d}.npz", allow_pickle=False, **dict(one))
        for peer, variants in VARIANTS.items():
            python = Path(sys.executable) if peer in HERE else OWN_ENVIRONMENT
            for variant in variants:
                found.append(_made(peer, variant, python, source, simplified, Path(data), folder))
    return found


def _made(peer: str, variant: str, python: Path, source: Path, simplified: Path, data: Path, folder: Path) -> Made:
    label = f"{peer} {variant}"
    stem = label.replace(" ", "_")
    note, target = folder / f"{stem}.json", folder / f"{stem}.onnx"
    if note.exists():
        return Made(**json.loads(note.read_text()))
    if not python.exists():
        return Made(label, failure="not installed")
    made = Made(label)
    for file in (source, simplified):
        script = os.fspath(Path(__file__).parent / "quantizers" / "run_peer.py")
        command = [os.fspath(python), script, peer, variant, os.fspath(file), os.fspath(target), os.fspath(data)]
        try:
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=one_thread)
            failure = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["killed"])[-1]
        except subprocess.TimeoutExpired:
            failure = "took longer than 600 s"
        made.simplified, made.failure = file is simplified, failure
        if not failure:
            made.path = os.fspath(target)
            break
    note.write_text(json.dumps(asdict(made)))
    return made


def _score(made: Made, model: ZooModel, original: Run, source: Path, folder: Path) -> None:
    if made.path is None or made.metric is not None:
        return
    try:
        times = best_ms({"float": source, "made": Path(made.path)}, model.feeds(1)[0], 1.0)
        if times["made"] > SLOWER * times["float"]:
            made.path, made.failure = None, f"slower than float: {times['made'] / times['float']:.1f} x its time"
        else:
            made.metric = model.evaluate(open_session(made.path), original=original).metrics.get(model.primary)
    except Exception as error:  # noqa: BLE001 - a peer's model may fail at any input
        made.path, made.failure = None, f"does not run: {type(error).__name__}"
    (folder / f"{made.label.replace(' ', '_')}.json").write_text(json.dumps(asdict(made)))


def best_ms(files: Mapping[str, Path], feeds: Mapping[str, np.ndarray], seconds: float) -> dict[str, float]:
    """The best CPU time of each in milliseconds, taken in turns. After a fifth of the time, what is over 1.5 of the fastest drops out."""
    runs = {label: open_session(path) for label, path in files.items()}
    best = dict.fromkeys(runs, float("inf"))
    one = dict(feeds)
    for run in runs.values():
        run(one)
    began = time.perf_counter()
    rounds = 0
    while rounds < 400 and (rounds < 5 or time.perf_counter() - began < seconds):
        for label, run in runs.items():
            started = time.thread_time()
            run(one)
            run(one)
            best[label] = min(best[label], 500 * (time.thread_time() - started))
        rounds += 1
        if rounds >= 5 and time.perf_counter() - began > seconds / 5:
            limit = 1.5 * min(best.values())
            runs = {label: run for label, run in runs.items() if label in ("float", "ours") or best[label] <= limit}
    return best


if __name__ == "__main__":
    main()
