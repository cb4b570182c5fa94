"""An `.onnx` file without its source: fine-tuned on labels, then made to fit 4-bit weights with the file as its own teacher.

python examples/train_a_file.py MODEL.onnx DATA.npz OUT.onnx

DATA.npz holds one array for each input and `labels`, class numbers for the first output.
"""

from __future__ import annotations

import sys

import netwright as nw
from netwright.training import Distill


def main(model: str, data: str, out: str) -> None:
    """Train, compress, save, and print the history of both runs."""
    program = nw.load(model)
    tuned = nw.train(program, data, loss="cross_entropy", epochs=2, lr=1e-3, metric="accuracy", validation=data, threads=1)
    print(f"fine-tuning: loss by step and accuracy by epoch\n{tuned.resources['training.history']}")
    small = nw.train(tuned, data, compressor="quantize(bits=4)", distill=Distill(hidden="auto"), epochs=2, lr=5e-4, threads=1)
    nw.save(small, out)
    for miss in small.ledger.misses:
        print(f"left alone: %{miss.site}: {miss.reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
