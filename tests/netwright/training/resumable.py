"""A run that can be killed at any moment: `python -m tests.netwright.training.resumable CHECKPOINTS OUTPUT`.

It says on stdout when it begins a step.
"""

from __future__ import annotations

import sys

import torch

import netwright as nw
from netwright.training import train
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from tests.netwright.training.support import classifier, labelled_rows

EPOCHS, STEPS = 2, 16


def spoken(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
    """Cross-entropy that says that it was asked."""
    sys.stdout.write("step\n")
    sys.stdout.flush()
    return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])


def main(folder: str, output: str) -> None:
    """Train with dropout, momentum, warmup, a metric, and a checkpoint every third step."""
    rows = labelled_rows()
    trained = train(
        classifier(dropout=True),
        rows,
        loss=spoken,
        epochs=EPOCHS,
        lr=1e-2,
        batch_size=32,
        metric="accuracy",
        validation=rows,
        checkpoint=folder,
        checkpoint_every=3,
        resume=True,
        threads=1,
    )
    nw.save(trained, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
