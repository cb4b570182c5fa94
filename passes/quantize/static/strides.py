"""A first convolution of stride 2 on few channels, as one of stride 1 on four times the channels: the same sums.

Row `2 i + u - p` of the input is row `i + a`, phase r, of the input after SpaceToDepth(2), where `u - p = 2 a + r`. ONNX Runtime gathers
an integer convolution's windows channel by channel, and three bytes at a time is slow: a 7 x 7 convolution of 3 channels took 0.78 ms,
as a 4 x 4 one of 12 channels 0.49 (in float 1.05); a 3 x 3 one 0.27 ms and 0.12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.opinfo import int_attr, ints_attr, str_attr
from netwright.passes.quantize.sites import Site

_MOST_CHANNELS = 4


@dataclass(frozen=True, slots=True)
class Stride:
    """How a convolution of stride 2 is done on the phases of its input.

    Attributes:
        kernel: its taps along height and width.
        first: for each axis, the least `a`.
        taps: for each axis, the taps of the new kernel.
        ends: for each axis, padding behind.
        odd: for each axis, whether the input needs one more row or column.
    """

    kernel: tuple[int, int]
    begins: tuple[int, int]
    first: tuple[int, int]
    taps: tuple[int, int]
    ends: tuple[int, int]
    odd: tuple[bool, bool]

    @property
    def pads(self) -> list[int]:
        """ONNX's `pads` of the new convolution."""
        return [-self.first[0], -self.first[1], *self.ends]

    def arranged(self, weight: np.ndarray) -> np.ndarray:
        """[outputs, channels, kernel] to [outputs, 4 channels, taps]; taps that were none are 0."""
        outputs, channels = weight.shape[:2]
        new = np.zeros((outputs, 4, channels, *self.taps), weight.dtype)
        for u in range(self.kernel[0]):
            a, r = divmod(u - self.begins[0], 2)
            for v in range(self.kernel[1]):
                b, s = divmod(v - self.begins[1], 2)
                new[:, 2 * r + s, :, a - self.first[0], b - self.first[1]] = weight[:, :, u, v]
        return new.reshape(outputs, 4 * channels, *self.taps)


def stride_of(site: Site) -> Stride | str:
    """How a site's stride folds, or why it does not."""
    node = site.node
    dims = shape_of(node.inputs[0])
    if site.kind != "conv" or dims is None or len(dims) != 4 or list(ints_attr(node, "strides")) != [2, 2]:
        return "it is no convolution of images with stride 2"
    channels, height, width = dims[1:]
    if not (isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)):
        return "the size of its images is not fixed"
    if channels > _MOST_CHANNELS or int_attr(node, "group", 1) != 1 or any(step != 1 for step in ints_attr(node, "dilations", (1, 1))):
        return f"it has {channels} input channels (up to {_MOST_CHANNELS} gain), groups or dilations"
    shape = site.weights[0].shape
    assert shape is not None
    kernel = (int(shape[2]), int(shape[3]))  # type: ignore[arg-type]
    sizes = (height, width)
    plans = [_axis(size, taps, *_padding(node, axis, size, taps)) for axis, (size, taps) in enumerate(zip(sizes, kernel, strict=True))]
    if any(plan[3] < 0 for plan in plans):
        return "rows or columns at its input's end are not read"
    begins, firsts, taps, ends, odds = zip(*plans, strict=True)
    return Stride(kernel, begins, firsts, taps, ends, odds)


def _axis(size: int, taps: int, begin: int, end: int) -> tuple[int, int, int, int, bool]:
    first, last = -begin // 2, (taps - 1 - begin) // 2
    count = last - first + 1
    outputs = (size + begin + end - taps) // 2 + 1
    rows = -(-size // 2)
    return begin, first, count, outputs - rows + first + count - 1, size % 2 == 1


def _padding(node: onnx_ir.Node, axis: int, size: int, taps: int) -> tuple[int, int]:
    mode = str_attr(node, "auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = ints_attr(node, "pads", (0, 0, 0, 0)) if mode == "NOTSET" else (0, 0, 0, 0)
        return pads[axis], pads[axis + 2]
    total = max((-(-size // 2) - 1) * 2 + taps - size, 0)
    return (total // 2, total - total // 2) if mode == "SAME_UPPER" else (total - total // 2, total // 2)
