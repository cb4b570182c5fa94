"""How much faster factorized encoders run: a 4×512 encoder with 50, 25 and 10 % of its products' parameters, against itself.

    python -m benchmarks.factorize_latency [--rounds N] [--tokens 128] [--threads 1] [--check]

ONNX Runtime, interleaved, best of all runs; weights are random, for they do not matter to the clock. Targets: 1.7, 2.8 and 4.5 times.
With `--check`, exits with 1 where one is missed.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from benchmarks.table import Row, report
from netwright.backends.onnxruntime import SessionOptions, lower, measure
from netwright.frontends.torch import trace
from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.factorize import Factorize
from netwright.passes.simplify import Simplify

KEPT = {0.5: 1.7, 0.25: 2.8, 0.1: 4.5}
"""Targets by the share of each product's parameters that is kept."""


def encoder(layers: int, width: int, heads: int = 8) -> nn.Module:
    """A pre-norm transformer encoder with random weights."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).eval()


def main() -> None:
    """Factorize, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    x = torch.randn(1, options.tokens, 512)
    program = run(trace(encoder(4, 512), (x,)), [Simplify()], Context()).program
    made: list[Program] = [program]
    for share in KEPT:
        made.append(run(program, [Factorize(method="svd", ratio=1 - share)], Context()).program)
    feeds = {program.inputs[0].name or "": x.numpy().astype(np.float32)}
    executables = [lower(one, options=SessionOptions(threads=options.threads)) for one in made]
    times = measure(executables, feeds, rounds=options.rounds, seconds=120)
    rows: list[Row] = []
    missed = False
    for one, share, time in zip(made, (1.0, *KEPT), times, strict=True):
        speedup = times[0].best_ms / time.best_ms
        target = KEPT.get(share)
        missed |= target is not None and speedup < target
        rows.append(
            {
                "kept": share,
                "parameters": sum(int(np.prod(value.const_value.shape.numpy())) for value in one.initializers() if value.const_value),
                "best ms": round(time.best_ms, 2),
                "times faster": round(speedup, 2),
                "target": target,
            }
        )
    report(f"4×512 encoder, {options.tokens} tokens, {options.threads} thread(s)", rows)
    if options.check and missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
