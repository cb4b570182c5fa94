"""From a PyTorch module to a small `.onnx` file, with a metric and the report.

python examples/from_torch.py [OUT.onnx]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

import netwright as nw

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class Classifier(nn.Module):
    """Two hidden layers; trained below to tell whether a vector's first half outweighs its second."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [batch, 2] of features [batch, 64]."""
        return self.body(features)


def trained() -> Classifier:
    """The classifier after 200 steps."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(200):
        features, labels = samples(256, generator)
        loss = nn.functional.cross_entropy(model(torch.from_numpy(features)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def samples(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features [count, 64] and labels [count]."""
    features = generator.normal(size=(count, 64)).astype(np.float32)
    return features, (features[:, :32].sum(1) > features[:, 32:].sum(1)).astype(np.int64)


def main() -> None:
    """Trace, compile, report, save."""
    features, labels = samples(2000, np.random.default_rng(1))

    def accuracy(run: Run) -> float:
        (logits,) = run({"features": features}).values()
        return float((logits.argmax(1) == labels).mean())

    program = nw.trace(trained(), (torch.zeros(2, 64),), dynamic_shapes={"features": {0: "batch"}})
    result = nw.compile(program, "simplify, quantize(scheme='dynamic')", metric=accuracy, check=True)
    sys.stdout.write(str(result.report))
    result.save(sys.argv[1] if len(sys.argv) > 1 else "classifier.small.onnx")


if __name__ == "__main__":
    main()
