"""Attention heads of an `.onnx` file: which there are, what they score, and the file without the least of them.

python examples/prune_heads.py MODEL.onnx DATA.npz OUT.onnx [RATIO]

DATA.npz holds an array for each input, without labels: with it, what reads the heads that stay is fitted to make up for those that went.
"""

from __future__ import annotations

import sys

import netwright as nw
from netwright.ir.coupling import coupling
from netwright.passes import Context
from netwright.passes.prune.importance import scores


def main(model: str, data: str, out: str, ratio: float) -> None:
    """Show the heads, prune, and compare with and without compensation."""
    program = nw.compile(model, "simplify", latency=False).program
    heads = [group for group in program.fact(coupling).groups if group.kind == "heads"]
    for name, found in scores(program, Context(), heads, "qkv").items():
        print(f"{name}: {', '.join(f'{score:.2f}' for score in found)}")
    pipeline = f"prune(ratio={ratio}, scope='heads', importance='qkv')"
    plain = nw.compile(program, pipeline, check=data, latency=False)
    fitted = nw.compile(program, pipeline, calibration=data, check=data, latency=False)
    for label, result in (("removed", plain), ("removed and compensated", fitted)):
        row = result.report.passes[0]
        print(f"{label}: {row.note}; relative error of the outputs {row.rel_error:.3f}")
        for miss in row.misses:
            print(f"  left alone: %{miss.site}: {miss.reason}")
    fitted.save(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]) if len(sys.argv) > 4 else 0.25)
