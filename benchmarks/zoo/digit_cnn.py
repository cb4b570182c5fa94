"""digit_cnn: a small convolutional network for handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo.assets import asset
from benchmarks.zoo.images import TRAINING_DIGITS, mnist, uci_digits
from benchmarks.zoo.model import Scores, TorchModel, draw, in_batches
from benchmarks.zoo.scoring import accuracy
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

MEAN, SPREAD = 0.1307, 0.3081


class DigitCnnModel(TorchModel):
    """Three convolutions and two linear layers (digit-recognizer-py).

    Its training data is not known; MNIST may be in it, so the primary metric is taken on digits of another origin.
    """

    name = "digit_cnn"
    about = "CNN, 3 Conv + 2 Linear, 0.39 M"
    primary = "uci_digits"
    source = (Path(__file__).parent / "networks" / "digit_cnn.py",)

    def module(self) -> torch.nn.Module:
        """The trained network."""
        import torch

        from benchmarks.zoo.networks.digit_cnn import DigitCnn

        weights = asset("digit_recognizer/models/handwriting_model.pth", "digit-recognizer-py==0.1.0")
        network = DigitCnn()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        return network.eval()

    def trace(self) -> Traceable:
        """Batch is dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        return Traceable(self.module(), {"x": torch.zeros(2, 1, 28, 28)}, {"x": {0: "batch"}}, "logits")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """MNIST digits, of which the last 1,000 are kept for scoring."""
        return draw({"x": normalised(mnist()[0][:TRAINING_DIGITS])}, count, batch, seed)

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """`uci_digits`: accuracy on 1,797 digits; `mnist`: on 1,000."""
        rows = 500 if quick else None
        digits = {"uci_digits": uci_digits(), "mnist": tuple(part[TRAINING_DIGITS:] for part in mnist())}
        return Scores({name: accuracy(in_batches(run, {"x": normalised(x[:rows])}, 250), y[:rows]) for name, (x, y) in digits.items()})


def normalised(pixels: np.ndarray) -> np.ndarray:
    """Pixels as the network was trained on them."""
    return ((pixels - MEAN) / SPREAD).astype(np.float32)
