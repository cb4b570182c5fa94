"""ppocr_det, ppocr_rec, ppocr_cls: finding text, reading it, and telling which way up it stands (PP-OCRv4)."""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.zoo.images import Box
from benchmarks.zoo.model import PackagedModel, Scores, first
from benchmarks.zoo.rendered import FONTS_MISSING, PAGE, fonts, line, page, signed, to_height, words
from benchmarks.zoo.scoring import edit_distance
from benchmarks.zoo.sessions import Feeds, Run

SCORED, CALIBRATION = "lee_background.cor", "lee.cor"
HEIGHT, WIDTH, TURNED_WIDTH = 48, 320, 192
SEED = 7


class OcrModel(PackagedModel):
    """What the three networks share: a package and rendered text."""

    requirement = "rapidocr-onnxruntime==1.4.4"

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """The network's own metrics on rendered text; skipped where there is no font to render with."""
        if not fonts():
            return Scores(skipped={self.primary: FONTS_MISSING})
        return Scores(self.read(run, quick=quick))

    def read(self, run: Run, *, quick: bool) -> dict[str, float]:
        """The metrics, given that there are fonts."""
        raise AssertionError(f"{type(self).__name__} reads nothing")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Text of another corpus; noise where there is no font to render with."""
        rng = np.random.default_rng(seed)
        return [{"x": np.concatenate([self.picture(rng) for _ in range(batch)])} for _ in range(count)]

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """One input."""
        raise AssertionError(f"{type(self).__name__} pictures nothing")


class OcrDetection(OcrModel):
    """Text segmentation: 62 Conv, ConvTranspose, Resize; weights in Constant nodes, opset 12 (DBNet)."""

    name = "ppocr_det"
    about = "text segmentation, 62 Conv, 1.2 M"
    primary = "box_f1"
    file = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """A page."""
        if not fonts():
            return noise(rng, PAGE, PAGE)
        return signed(page(rng, words(CALIBRATION)).image.astype(np.float32))[None]

    def read(self, run: Run, *, quick: bool) -> dict[str, float]:
        """F1 of boxes that overlap a line by half; on 20 pages, or 4."""
        rng = np.random.default_rng(SEED)
        hits = found = wanted = 0
        for _ in range(4 if quick else 20):
            image, boxes = page(rng, words(SCORED))
            boxes_found = text_boxes(first(run({"x": signed(image.astype(np.float32))[None]}))[0, 0])
            hits, found, wanted = hits + matches(boxes_found, boxes), found + len(boxes_found), wanted + len(boxes)
        return {"box_f1": 2 * hits / max(1, found + wanted), "precision": hits / max(1, found), "recall": hits / max(1, wanted)}


class OcrRecognition(OcrModel):
    """Reading: Conv and attention, 6,625 classes, CTC (SVTR-LCNet)."""

    name = "ppocr_rec"
    about = "Conv + attention + CTC, 6,625 classes, 2.7 M"
    primary = "characters"
    file = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """A line."""
        return to_height(line(rng, words(CALIBRATION)).image, HEIGHT, WIDTH) if fonts() else noise(rng, HEIGHT, WIDTH)

    def read(self, run: Run, *, quick: bool) -> dict[str, float]:
        """1 - edit distance over length, and the share of lines read without a fault; on 200 lines, or 40."""
        rng = np.random.default_rng(SEED)
        count = 40 if quick else 200
        errors = written = faultless = 0
        for _ in range(count):
            image, text = line(rng, words(SCORED))
            read = self.spell(first(run({"x": to_height(image, HEIGHT, WIDTH, grow=True)}))[0].argmax(-1))
            errors, written, faultless = errors + edit_distance(read, text), written + len(text), faultless + (read.strip() == text)
        return {"characters": 1 - errors / written, "lines": faultless / count}

    def spell(self, classes: np.ndarray) -> str:
        """Classes per step → text: repeats merged, blanks (class 0) dropped."""
        kept = (classes != 0) & (classes != np.concatenate([[-1], classes[:-1]]))
        return "".join(alphabet(str(self.onnx()))[one] for one in classes[kept])


class OcrDirection(OcrModel):
    """Upright or upside down: MobileNetV3-type, 35 unfused BatchNormalizations, opset 11."""

    name = "ppocr_cls"
    about = "MobileNetV3-type, 35 unfused BatchNorms, 0.13 M"
    primary = "accuracy"
    file = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """A line, turned at random."""
        if not fonts():
            return noise(rng, HEIGHT, TURNED_WIDTH)
        image = line(rng, words(CALIBRATION)).image
        return to_height(image[::-1, ::-1] if rng.integers(2) else image, HEIGHT, TURNED_WIDTH)

    def read(self, run: Run, *, quick: bool) -> dict[str, float]:
        """Share of 300 lines, or 60, every other one turned, that are told right."""
        rng = np.random.default_rng(SEED)
        count, right = 60 if quick else 300, 0
        for number in range(count):
            image, turned = line(rng, words(SCORED)).image, number % 2
            shown = to_height(image[::-1, ::-1] if turned else image, HEIGHT, TURNED_WIDTH)
            right += int(first(run({"x": shown})).argmax(-1)[0] == turned)
        return {"accuracy": right / count}


@cache
def alphabet(path: str) -> list[str]:
    """What each class of the reader stands for; the file itself says."""
    import onnx

    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return ["", *metadata["character"].splitlines(), " "]


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An input without text."""
    return rng.uniform(-1, 1, (1, 3, height, width)).astype(np.float32)


def text_boxes(probability: np.ndarray) -> list[Box]:
    """Connected regions of text, each grown as DBNet's post-processing grows them (Liao et al., 2020)."""
    from scipy import ndimage

    regions = np.zeros(probability.shape, np.int32)
    ndimage.label(probability > 0.3, np.ones((3, 3)), output=regions)
    boxes: list[Box] = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        inside = probability[rows, columns][regions[rows, columns] == number]
        if min(width, height) < 3 or inside.mean() < 0.5:
            continue
        grown = width * height * 1.6 / (2 * (width + height))
        boxes.append((columns.start - grown, rows.start - grown, columns.stop + grown, rows.stop + grown))
    return boxes


def matches(found: list[Box], wanted: list[Box]) -> int:
    """How many wanted boxes have a found one of their own that overlaps them by half."""
    left, hits = list(found), 0
    for box in wanted:
        best = max(left, key=lambda other: overlap(other, box), default=None)
        if best is not None and overlap(best, box) >= 0.5:
            left.remove(best)
            hits += 1
    return hits


def overlap(one: Box, other: Box) -> float:
    """Area of the intersection over that of the union."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area, other_area = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area + other_area - width * height)
