"""Where a kernel's windows lie on spatial axes: padding, counts, and the windows themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netwright.ir.errors import NetwrightError

Ints = Sequence[int]


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over the spatial axes of a tensor; each field has one number an axis.

    Attributes:
        kernel: number of taps.
        strides: distance between neighbouring windows.
        dilations: distance between neighbouring taps.
        before: elements of padding at the beginning.
        after: elements of padding at the end.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def is_symmetric(self) -> bool:
        """True when both ends are padded alike, as torch's own operators pad."""
        return self.before == self.after

    @property
    def is_dilated(self) -> bool:
        """True when taps lie apart."""
        return any(dilation != 1 for dilation in self.dilations)

    def spans(self) -> tuple[int, ...]:
        """Elements from a window's first tap to its last, both included."""
        return tuple((taps - 1) * dilation + 1 for taps, dilation in zip(self.kernel, self.dilations, strict=True))

    def overhang(self, sizes: Ints) -> tuple[int, ...]:
        """How far the last windows reach over the padded end when counts are rounded up (`ceil_mode`).

        A window that would start in the padding at the end is left out, as in torch.
        """
        found: list[int] = []
        for axis, span in enumerate(self.spans()):
            padded = sizes[axis] + self.before[axis] + self.after[axis]
            stride = self.strides[axis]
            last = -((span - padded) // stride)
            if last * stride >= sizes[axis] + self.before[axis]:
                last -= 1
            found.append(max(last * stride + span - padded, 0))
        return tuple(found)


def window_of(sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints, auto_pad: str) -> Window:
    """A window from ONNX's attributes, in which an empty list stands for the default.

    Args:
        sizes: of the spatial axes.
        kernel: number of taps.
        strides: default 1.
        dilations: default 1.
        pads: all beginnings, then all ends; default 0.
        auto_pad: `NOTSET` takes `pads`; `VALID` none; `SAME_UPPER` and `SAME_LOWER` as many as give ceil(size / stride)
            windows, an odd one at the end or at the beginning.

    Raises:
        NetwrightError: no such `auto_pad`.
    """
    rank = len(kernel)
    strides = tuple(strides) or (1,) * rank
    dilations = tuple(dilations) or (1,) * rank
    before = after = (0,) * rank
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        spans = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
        totals = [max(((size - 1) // stride) * stride + span - size, 0) for size, stride, span in zip(sizes, strides, spans, strict=True)]
        less, more = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
        before, after = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
    elif auto_pad == "NOTSET":
        before, after = (tuple(pads[:rank]), tuple(pads[rank:])) if pads else (before, after)
    elif auto_pad != "VALID":
        raise NetwrightError(f"{auto_pad!r} is no way of padding.", remedy="auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER.")
    return Window(tuple(kernel), strides, dilations, before, after)


def windows_of(x: torch.Tensor, window: Window) -> torch.Tensor:
    """A view of all windows on a tensor that is padded already: [batch, channels, *windows, *taps]."""
    rank = len(window.kernel)
    for axis, (span, stride) in enumerate(zip(window.spans(), window.strides, strict=True)):
        x = x.unfold(axis + 2, span, stride)
    return x[(..., *(slice(None, None, dilation) for dilation in window.dilations))] if rank else x


def around(before: Ints, after: Ints) -> list[int]:
    """Padding of spatial axes in the order of `F.pad`: last axis first."""
    return [count for pair in zip(reversed(before), reversed(after), strict=True) for count in pair]
