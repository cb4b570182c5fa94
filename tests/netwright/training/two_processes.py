"""What each process of a run sees: `torchrun --nproc_per_node 2 -m tests.netwright.training.two_processes FOLDER [split|factored]`.

Each writes `RANK.json`: how many processes there are, which rows it was given, the losses; and `RANK.onnx`, what came out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch

import netwright as nw
from netwright.ir.program import Program
from netwright.metrics import Run
from netwright.training import train
from netwright.training.objective import TorchBatch
from netwright.training.terms import Outputs
from tests.netwright.training.support import classifier, factored, history_of, labelled_rows

ROWS, STEPS = 44, 3
"""The last batch of 16 has 12 rows: 6 for each of two processes."""


def rows() -> dict[str, np.ndarray]:
    """Rows with numbers."""
    return {**labelled_rows(ROWS), "number": np.arange(ROWS)}


def program(kind: str) -> Program:
    """What is trained."""
    return factored() if kind == "factored" else classifier()


def likelihood(run: Run) -> float:
    """Mean logarithm of the probability of the labels."""
    logits = run({"x": rows()["x"]})["logits"].astype(np.float64)
    chosen = np.take_along_axis(logits, rows()["labels"][:, None], 1)[:, 0]
    return float((chosen - np.log(np.exp(logits).sum(1))).mean())


def main(folder: str, kind: str = "whole", *, batch_size: int = 8, checkpoint: str | None = None, shard: bool = False) -> None:
    """Train with SGD, weights split where they are not `whole`, and note what was seen."""
    seen: list[list[int]] = []

    def noted(outputs: Outputs, batch: TorchBatch) -> torch.Tensor:
        seen.append(cast("list[int]", batch["number"].tolist()))
        return torch.nn.functional.cross_entropy(outputs["logits"], batch["labels"])

    trained = train(
        program(kind),
        rows(),
        loss=noted,
        optimizer="sgd",
        lr=0.5,
        weight_decay=0.05 if kind == "factored" else None,
        clip=0.1,
        batch_size=batch_size,
        threads=1,
        metric=likelihood,
        shard=shard,
        checkpoint=checkpoint,
        device="cpu",
    )
    is_distributed = torch.distributed.is_initialized()
    rank, count = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if is_distributed else (0, 1)
    history = history_of(trained)
    facts = {"count": count, "seen": seen, "losses": history.losses, "scores": history.scores}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(facts))
    nw.save(trained, Path(folder) / f"{rank}.onnx")
    if is_distributed:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    given = sys.argv[2] if len(sys.argv) > 2 else "whole"
    main(sys.argv[1], given, checkpoint=sys.argv[3] if len(sys.argv) > 3 else None, shard=given != "whole")
