"""A trained network, real digits: how much of what removal costs comes back without any training."""

from __future__ import annotations

from pathlib import Path

import netwright as nw
from benchmarks.zoo import zoo
from benchmarks.zoo.sessions import open_session
from netwright.ir import Program


def test_more_than_half_of_the_drop_comes_back(tmp_path: Path) -> None:
    model = zoo["digit_cnn"]
    program = nw.load(model.onnx())
    calibration = model.feeds(8, batch=64)

    def scored(pruned: Program) -> dict[str, float]:
        nw.save(pruned, tmp_path / "model.onnx")
        return model.evaluate(open_session(tmp_path / "model.onnx"), quick=True).metrics

    def pruned(compensate: bool) -> dict[str, float]:
        text = f"simplify, prune(ratio=0.7, importance='l2', compensate={compensate})"
        return scored(nw.compile(program, text, calibration=calibration, latency=False, threads=1).program)

    before, plain, made_up = scored(program), pruned(compensate=False), pruned(compensate=True)
    for metric in ("uci_digits", "mnist"):
        drop = before[metric] - plain[metric]
        assert drop > 0.05
        assert made_up[metric] - plain[metric] > drop / 2
