"""Recurrent models as integers: latency, accuracy, and by how much each layer is off.

    python -m benchmarks.quantize_recurrent [--zoo NAME …] [--lstm HIDDEN …] [--gru HIDDEN …] [--rounds N] [--check]

First table: the zoo's recurrent models after `simplify, quantize(scheme='dynamic')`, calibrated on inputs that no evaluation uses.
`layers` are those that became integers, `chunks` into how many the range of their input is cut (see `passes/quantize/recurrent/inputs.py`).
Second: LSTMs of random weights, 100 steps. Third: GRUs of random weights as a Scan of integer products, which pays from some width on.
Latency is ONNX Runtime's on one thread, in turns with the float model's: `ratio` is float time over integer time,
best of all runs (the thread's CPU time, which other processes disturb less than the clock).
With `--check`, exits with 1 where resemblyzer is under 2.7 times as fast or an LSTM of 128 units under 1.7 times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks._other_voices import spoken
from benchmarks.table import Row, report
from benchmarks.zoo import Feeds, ZooModel, open_session, zoo
from benchmarks.zoo.audio import can_speak
from netwright.backends.onnxruntime import OrtExecutor, SessionOptions, lower
from netwright.ir.editor import Editor
from netwright.ir.program import Program
from netwright.ir.storage import saved_bytes
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.recurrent import quantize_lstm
from netwright.passes.quantize.recurrent.gru import quantize_gru
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import units_of

ZOO = ("resemblyzer", "train_small_lstm", "silero", "g2p_gru")
STEPS = 100
TARGETS = {"resemblyzer": 2.7, "LSTM 128": 1.7}
"""Float time over integer time."""


def main() -> None:
    """Quantize, score, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", nargs="*", default=list(ZOO))
    parser.add_argument("--lstm", nargs="*", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--gru", nargs="*", type=int, default=[128, 256, 384, 512, 1024])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    ratios: dict[str, float] = {}
    tables = (
        ("the zoo's recurrent models", [trained(zoo[name], options.rounds) for name in options.zoo]),
        (f"LSTMs, {STEPS} steps", [alone("LSTM", hidden, rows, options.rounds) for hidden in options.lstm for rows in (1, 8)]),
        (f"GRUs, {STEPS} steps", [alone("GRU", hidden, rows, options.rounds) for hidden in options.gru for rows in (1, 8)]),
    )
    for title, rows in tables:
        if rows:
            report(title, rows)
        for row in rows:
            ratios.setdefault(str(row["model"]), float(str(row["ratio"])))
    missed = [f"{name}: x{ratios[name]:.2f}, target {least}" for name, least in TARGETS.items() if ratios.get(name, least) < least]
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


def trained(model: ZooModel, rounds: int) -> Row:
    """A model of the zoo."""
    before = nw.compile(model.onnx(), "simplify", latency=False).program
    calibration = calibration_of(model)
    result = nw.compile(before, "quantize(scheme='dynamic')", calibration=calibration, latency=False)
    (plan,) = result.plans.values()
    recurrent = [site.name for site in find_sites(before, grus=True) if isinstance(site, Site) and site.kind in ("lstm", "gru")]
    chosen = {name: plan.decisions[name] for name in recurrent if name in plan.decisions}
    with tempfile.TemporaryDirectory() as folder:
        scores = [_score(model, program, Path(folder) / "model.onnx") for program in (before, result.program)]
    first, second = ratio(before, result.program, model.feeds(1, seed=5)[0], rounds)
    return {
        "model": model.name,
        "layers": f"{len(chosen)} of {len(recurrent)}",
        "chunks": " ".join(str(decision.get("chunks", 1)) for decision in chosen.values()),
        "metric": model.primary,
        "float": scores[0].get(model.primary),
        "int8": scores[1].get(model.primary),
        "cosine": scores[1].get("cosine"),
        "MB": round(saved_bytes(result.program.model) / 1e6, 2),
        "float ms": first,
        "int8 ms": second,
        "ratio": first / second,
    }


def calibration_of(model: ZooModel) -> list[Feeds]:
    """Inputs that no evaluation uses; for voices, speech where it can be synthesised."""
    if model.name == "resemblyzer" and can_speak():
        return spoken(4, batch=4, seed=1)
    return model.feeds(4, batch=4, seed=1)


def _score(model: ZooModel, program: Program, path: Path) -> dict[str, float]:
    nw.save(program, path)
    return model.evaluate(open_session(path)).metrics


def alone(kind: str, hidden: int, rows: int, rounds: int) -> Row:
    """One layer of random weights."""
    before = layer(kind, hidden, rows)
    after = before.clone()
    for unit in units_of(site for site in find_sites(after, grus=True) if isinstance(site, Site)):
        with Editor(after, at=unit.sites[0].node) as editor:
            if kind == "LSTM":
                quantize_lstm(editor, unit, Dynamic())
            else:
                quantize_gru(editor, unit, Dynamic())
    feeds = {"x": np.random.default_rng(1).normal(size=(STEPS, rows, hidden)).astype(np.float32)}
    expected, found = (OrtExecutor().run(program, feeds)["y"] for program in (before, after))
    first, second = ratio(before, after, feeds, rounds)
    return {
        "model": f"{kind} {hidden}",
        "rows": rows,
        "error": float(np.linalg.norm(found - expected) / np.linalg.norm(expected)),
        "float ms": first,
        "int8 ms": second,
        "ratio": first / second,
    }


def layer(kind: str, hidden: int, rows: int) -> Program:
    """LSTM or GRU, as many inputs as hidden units."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[kind](hidden, hidden)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[0]

    torch.manual_seed(0)
    traced = nw.trace(Net().eval(), (torch.zeros(STEPS, rows, hidden),))
    program = nw.compile(traced, "simplify", latency=False).program
    with program.edit() as editor:
        editor.rename(program.inputs[0], "x")
        editor.rename(program.outputs[0], "y")
    return program


def ratio(before: Program, after: Program, feeds: Feeds, rounds: int) -> tuple[float, float]:
    """Best times in milliseconds, in turns."""
    runs = [lower(program, options=SessionOptions(threads=1)).bind(feeds) for program in (before, after)]
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for place, run in enumerate(runs):
            for _ in range(3):
                started = time.thread_time()
                run()
                best[place] = min(best[place], time.thread_time() - started)
    return 1e3 * best[0], 1e3 * best[1]


if __name__ == "__main__":
    main()
