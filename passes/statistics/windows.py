"""What a convolution sees at each of its output positions: patches of its input, gathered only where they are wanted."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.opinfo import int_attr, ints_attr, str_attr


@dataclass(frozen=True, slots=True)
class Window:
    """Geometry of a convolution in any number of spatial dimensions.

    Attributes:
        kernel: taps along each dimension.
        strides, dilations: along each.
        pads: before each dimension; None where `auto_pad` decides by the input's size.
        lower: whether `auto_pad` puts the odd one before.
        groups: of channels.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    lower: bool
    groups: int

    @classmethod
    def of(cls, node: onnx_ir.Node, kernel: tuple[int, ...]) -> Window:
        """Of a Conv node whose weight has these taps."""
        ones = (1,) * len(kernel)
        auto = str_attr(node, "auto_pad", "NOTSET")
        pads = ints_attr(node, "pads", (0,) * (2 * len(kernel)))[: len(kernel)]
        return cls(
            kernel,
            ints_attr(node, "strides", ones),
            ints_attr(node, "dilations", ones),
            None if auto.startswith("SAME") else (0,) * len(kernel) if auto == "VALID" else pads,
            auto == "SAME_LOWER",
            int_attr(node, "group", 1),
        )

    @property
    def taps(self) -> int:
        """How many positions of the input each output position sees."""
        return math.prod(self.kernel)

    def begin(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Padding before each dimension of an input of this spatial size."""
        if self.pads is not None:
            return self.pads
        made: list[int] = []
        for length, kernel, stride, dilation in zip(size, self.kernel, self.strides, self.dilations, strict=True):
            total = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            made.append(total - total // 2 if self.lower else total // 2)
        return tuple(made)

    def patches(self, x: np.ndarray, output: tuple[int, ...], chosen: np.ndarray) -> np.ndarray:
        """What the chosen output positions see, zeros for padding: [chosen, taps, channels].

        Args:
            x: [n, channels, *size].
            output: spatial size of the output.
            chosen: numbers of output positions, samples first: n · prod(output) of them exist.
        """
        size = x.shape[2:]
        sample, place = np.divmod(chosen, math.prod(output))
        where = np.stack(np.unravel_index(place, output), axis=-1)  # [chosen, dimensions]
        taps = np.array(list(itertools.product(*map(range, self.kernel)))).reshape(self.taps, len(self.kernel))
        at = (where * self.strides - self.begin(size))[:, None] + taps * self.dilations  # [chosen, taps, dimensions]
        inside = ((at >= 0) & (at < size)).all(axis=-1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(at, -1, 0)), size, mode="clip")
        found = x.reshape(*x.shape[:2], -1)[sample[:, None], :, flat]
        found[~inside] = 0
        return found
