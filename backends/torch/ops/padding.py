"""Padding and cropping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.elements import single
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import NetwrightError


@torch_op("Pad", host=("pads", "constant_value", "axes"), moves=("data",))
def pad(
    data: torch.Tensor,
    pads: Sequence[int],
    constant_value: float | Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    *,
    mode: str = "constant",
) -> torch.Tensor:
    """Elements added before and after each axis; negative counts remove, before anything is added.

    Args:
        data: the tensor.
        pads: counts before, for each of `axes`, then counts after.
        constant_value: what `constant` adds.
        axes: all of them where None.
        mode: `constant`; `edge` repeats the outermost element; `reflect` mirrors at it; `wrap` starts over at the other end.

    Raises:
        NetwrightError: no such mode.
    """
    places = range(data.ndim) if axes is None else axes
    pairs = [(0, 0)] * data.ndim
    for place, axis in enumerate(places):
        pairs[axis] = (pads[place], pads[place + len(places)])
    if mode == "constant":
        return F.pad(data, for_torch(pairs), value=0 if constant_value is None else single(constant_value))
    if mode not in _PLACES:
        raise NetwrightError(f"Pad has no mode {mode!r}.", place="Pad", remedy=f"Modes are constant, {', '.join(_PLACES)}.")
    cropped = F.pad(data, for_torch([(min(before, 0), min(after, 0)) for before, after in pairs]))
    added = [(max(before, 0), max(after, 0)) for before, after in pairs]
    trailing = max([0, *(data.ndim - axis for axis, pair in enumerate(added) if pair != (0, 0))])
    if _torch_pads(cropped, added, trailing, mode):
        return F.pad(cropped, for_torch(added[-trailing:]), mode=_TORCH_MODES[mode])
    for axis, (before, after) in enumerate(added):
        if before or after:
            steps = torch.arange(-before, cropped.shape[axis] + after, device=data.device)
            cropped = cropped.index_select(axis, _PLACES[mode](steps, cropped.shape[axis]))
    return cropped


@torch_op("CenterCropPad", host=("shape",), moves=("data",))
def center_crop_pad(data: torch.Tensor, shape: Sequence[int], *, axes: Sequence[int] | None = None) -> torch.Tensor:
    """Cropped or padded with zeros around the middle to the sizes in `shape`; the odd element goes to the end."""
    pairs = [(0, 0)] * data.ndim
    for axis, wanted in zip(range(data.ndim) if axes is None else axes, shape, strict=False):
        size = data.shape[axis]
        before = (wanted - size) // 2 if wanted >= size else -((size - wanted) // 2)
        pairs[axis] = (before, wanted - size - before)
    return F.pad(data, for_torch(pairs))


def for_torch(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Counts before and after each axis in the order of `F.pad`: last axis first."""
    return [count for pair in reversed(pairs) for count in pair]


def _torch_pads(x: torch.Tensor, pairs: Sequence[tuple[int, int]], trailing: int, mode: str) -> bool:
    """True where torch has a kernel: up to three trailing axes behind one or two others."""
    if not x.is_floating_point() or not 1 <= trailing <= 3 or x.ndim not in (trailing + 1, trailing + 2):
        return False
    limit = {"reflect": 1, "wrap": 0}.get(mode)
    return limit is None or all(max(pair) <= x.shape[axis] - limit for axis, pair in enumerate(pairs) if pair != (0, 0))


def _mirrored(steps: torch.Tensor, size: int) -> torch.Tensor:
    return size - 1 - (size - 1 - steps.remainder(max(2 * size - 2, 1))).abs()


_TORCH_MODES = MappingProxyType({"edge": "replicate", "reflect": "reflect", "wrap": "circular"})
_PLACES: Mapping[str, Callable[[torch.Tensor, int], torch.Tensor]] = MappingProxyType(
    {"edge": lambda steps, size: steps.clamp(0, size - 1), "reflect": _mirrored, "wrap": lambda steps, size: steps.remainder(size)}
)
"""Which element stands at each step, counted from the first element of the axis."""
