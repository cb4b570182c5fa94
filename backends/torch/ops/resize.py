"""Resampling along axes.

Every mode is separable: along each axis an output element lies at a coordinate of the input, and takes the nearest element
or a weighted sum of neighbours. What torch's own kernels compute goes there; the rest is one small matrix an axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.elements import axis_view
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import NetwrightError

Ints = Sequence[int]
Floats = Sequence[float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """How one axis is resized.

    Attributes:
        axis: which.
        size: of the input.
        result: of the output.
        scale: output per input.
        start: where the region of interest begins, as a share of the input.
        end: where it ends.
        exact: the output is the input's size times the scale, with no fraction cut off.
    """

    axis: int
    size: int
    result: int
    scale: float
    start: float = 0.0
    end: float = 1.0
    exact: bool = True

    @property
    def extent(self) -> float:
        """The output's size with its fraction."""
        return self.result if self.exact else self.size * self.scale


@dataclass(frozen=True, slots=True)
class Sampling:
    """Where output elements lie, and what they take from around there; the fields are Resize's attributes."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    extrapolation: float


@torch_op("Resize", since=11, host=("roi", "scales", "sizes"))
def resize(
    x: torch.Tensor,
    roi: Floats | None = None,
    scales: Floats | None = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> torch.Tensor:
    """Resize axes by `scales` or to `sizes`.

    A size is floor(size · scale) in float32, as ONNX Runtime computes it. With `align_corners`, coordinates are those of
    the output's size before rounding down, as in ONNX's reference.

    Args:
        x: the tensor; integers are computed in float32, rounded and clipped.
        roi: begin, then end of the region of interest an axis, as shares; for `tf_crop_and_resize`.
        scales: output per input.
        sizes: of the output.
        antialias: stretch the filter when shrinking.
        axes: those that the lists speak of; all where None.
        coordinate_transformation_mode: where output elements lie on the input.
        cubic_coeff_a: of Keys' cubic convolution (IEEE ASSP 29, 1981).
        exclude_outside: neighbours beyond the edge weigh nothing; else the edge repeats.
        extrapolation_value: of elements outside the input, with `tf_crop_and_resize`.
        keep_aspect_ratio_policy: `not_larger` and `not_smaller` scale all axes alike, to at most or at least `sizes`.
        mode: `nearest`, `linear` or `cubic`.
        nearest_mode: which way `nearest` rounds.

    Raises:
        NetwrightError: a mode is unknown, or neither `scales` nor `sizes` are given.
    """
    how = Sampling(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(antialias), bool(exclude_outside), extrapolation_value
    )
    _require_known(how)
    stretches = _stretches(x, roi, scales, sizes, axes, keep_aspect_ratio_policy)
    cropped = how.coordinates == "tf_crop_and_resize"
    moved = [one for one in stretches if one.result != one.size or one.scale != 1 or (cropped and (one.start, one.end) != (0, 1))]
    kernel = _torch_kernel(x, moved, how)
    if kernel is not None:
        wanted = list(x.shape[2:])
        for one in moved:
            wanted[one.axis - 2] = one.result
        return F.interpolate(x, size=wanted, mode=kernel.names[x.ndim - 3], align_corners=kernel.align_corners)
    return _resampled(x, moved, how) if moved else x


@torch_op("Upsample", host=("scales",))
def upsample(x: torch.Tensor, scales: Floats, *, mode: str = "nearest") -> torch.Tensor:
    """Resize as opsets up to 9 have it: output element i lies at i / scale."""
    return resize(x, None, scales, coordinate_transformation_mode="asymmetric", mode=mode, nearest_mode="floor")


# ---- sizes -------------------------------------------------------------------------------------------------------


def _stretches(
    x: torch.Tensor, roi: Floats | None, scales: Floats | None, sizes: Ints | None, axes: Ints | None, policy: str
) -> list[Stretch]:
    places = [axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)]
    starts = roi[: len(places)] if roi else [0.0] * len(places)
    ends = roi[len(places) :] if roi else [1.0] * len(places)
    if scales:
        return [
            _by_scale(axis, x.shape[axis], scale, start, end) for axis, scale, start, end in zip(places, scales, starts, ends, strict=True)
        ]
    if not sizes:
        raise NetwrightError("Resize has neither scales nor sizes.", place="Resize", remedy="Give one of them.")
    ratios = [size / x.shape[axis] for axis, size in zip(places, sizes, strict=True)]
    if policy == "stretch":
        return [
            Stretch(axis, x.shape[axis], size, ratio, start, end)
            for axis, size, ratio, start, end in zip(places, sizes, ratios, starts, ends, strict=True)
        ]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [
        Stretch(axis, x.shape[axis], math.floor(ratio * x.shape[axis] + 0.5), ratio, start, end, exact=False)
        for axis, start, end in zip(places, starts, ends, strict=True)
    ]


def _by_scale(axis: int, size: int, scale: float, start: float, end: float) -> Stretch:
    if scale == int(scale):
        return Stretch(axis, size, size * int(scale), scale, start, end)
    result = math.floor(_as_float32(size * scale))
    return Stretch(axis, size, result, scale, start, end, exact=result == size * scale)


def _as_float32(number: float) -> float:
    """A double rounded to float32's 24 bits (Dekker's splitting), in arithmetic that symbolic sizes follow too."""
    shifted = number * (2.0**29 + 1)
    return shifted - (shifted - number)


# ---- torch's kernels ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kernel:
    """One of torch's modes of interpolation.

    Attributes:
        names: what `F.interpolate` calls it for one, two and three spatial axes; empty where there is none.
        align_corners: as `F.interpolate` takes it.
    """

    names: tuple[str, str, str]
    align_corners: bool | None = None


_NEAREST = Kernel(("nearest", "nearest", "nearest"))
_NEAREST_EXACT = Kernel(("nearest-exact", "nearest-exact", "nearest-exact"))
_LINEAR, _LINEAR_CORNERS = (Kernel(("linear", "bilinear", "trilinear"), corners) for corners in (False, True))
_CUBIC, _CUBIC_CORNERS = (Kernel(("", "bicubic", ""), corners) for corners in (False, True))

_KERNELS: Mapping[tuple[str, str], Kernel] = MappingProxyType(
    {
        ("linear", "half_pixel"): _LINEAR,
        ("linear", "align_corners"): _LINEAR_CORNERS,
        ("cubic", "half_pixel"): _CUBIC,
        ("cubic", "align_corners"): _CUBIC_CORNERS,
    }
)


def _torch_kernel(x: torch.Tensor, stretches: Sequence[Stretch], how: Sampling) -> Kernel | None:
    """The kernel of torch that computes the same, if there is one."""
    if not stretches or not x.is_floating_point() or not 3 <= x.ndim <= 5 or how.antialias or how.exclude_outside:
        return None
    if any(one.axis < 2 or not one.exact for one in stretches):
        return None
    coordinates = how.coordinates
    if coordinates == "half_pixel_symmetric" or (coordinates == "pytorch_half_pixel" and all(one.result > 1 for one in stretches)):
        coordinates = "half_pixel"
    if how.mode == "nearest":
        return _nearest_kernel(stretches, coordinates, how.nearest)
    kernel = _KERNELS.get((how.mode, coordinates))
    if kernel is None or not kernel.names[x.ndim - 3] or (how.mode == "cubic" and how.cubic != -0.75):
        return None
    return kernel


def _nearest_kernel(stretches: Sequence[Stretch], coordinates: str, rounding: str) -> Kernel | None:
    if (coordinates, rounding) == ("asymmetric", "floor"):
        return _NEAREST
    if coordinates != "half_pixel":
        return None
    if rounding == "round_prefer_ceil":
        return _NEAREST_EXACT
    whole = all(one.scale >= 1 and one.scale == int(one.scale) for one in stretches)
    return _NEAREST if whole and rounding == "round_prefer_floor" else None


# ---- all else ----------------------------------------------------------------------------------------------------


def _resampled(x: torch.Tensor, stretches: Sequence[Stretch], how: Sampling) -> torch.Tensor:
    exact = how.mode == "nearest" or x.dtype in (torch.float32, torch.float64)
    y = x if exact else x.float()
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    outside: torch.Tensor | None = None
    for one in stretches:
        coordinates = _COORDINATES[how.coordinates](torch.arange(one.result, device=x.device, dtype=precision), one)
        if how.mode == "nearest":
            y = y.index_select(one.axis, _ROUNDED[how.nearest](coordinates).to(torch.int64).clamp(0, one.size - 1))
        else:
            weights = _weights(coordinates, one, how).to(y.dtype)
            y = torch.matmul(y.movedim(one.axis, -1), weights.T).movedim(-1, one.axis)
        if how.coordinates == "tf_crop_and_resize":
            beyond = axis_view((coordinates < 0) | (coordinates > one.size - 1), one.axis, x.ndim)
            outside = beyond if outside is None else outside | beyond
    if outside is not None:
        y = y.masked_fill(outside, how.extrapolation)
    return y if exact else _saturated(y, x.dtype)


def _weights(coordinates: torch.Tensor, stretch: Stretch, how: Sampling) -> torch.Tensor:
    """What each output element takes of each input element: [output, input]."""
    radius = 1 if how.mode == "linear" else 2
    narrowed = min(stretch.scale, 1.0) if how.antialias else 1.0
    first = math.floor(-radius / narrowed) + 1
    taps = torch.arange(first, 2 - first, device=coordinates.device)
    floor = coordinates.floor()
    neighbours = floor.to(torch.int64)[:, None] + taps
    distance = ((taps - (coordinates - floor)[:, None]) * narrowed).abs()
    weights = (1 - distance).clamp(min=0) if how.mode == "linear" else _keys(distance, how.cubic)
    if how.exclude_outside:
        weights = weights * ((neighbours >= 0) & (neighbours < stretch.size))
    weights = weights / weights.sum(1, keepdim=True)
    whole = weights.new_zeros(stretch.result, stretch.size)
    return whole.scatter_add(1, neighbours.clamp(0, stretch.size - 1), weights)


def _keys(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Keys' cubic convolution kernel: two cubics, over the first and the second unit of distance."""
    near = ((a + 2) * distance - (a + 3)) * distance.square() + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _saturated(y: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_floating_point:
        return y.to(dtype)
    limits = torch.iinfo(dtype)
    return y.round().clamp(limits.min, limits.max).to(dtype)


def _half_pixel(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    return (place + 0.5) / one.scale - 0.5


def _half_pixel_symmetric(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    return one.size / 2 * (1 - one.result / one.extent) + _half_pixel(place, one)


def _pytorch_half_pixel(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    return _half_pixel(place, one) if one.result > 1 else place * 0


def _align_corners(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    return place * ((one.size - 1) / (one.extent - 1)) if one.extent != 1 else place * 0


def _asymmetric(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    return place / one.scale


def _cropped(place: torch.Tensor, one: Stretch) -> torch.Tensor:
    last = one.size - 1
    if one.result == 1:
        return place * 0 + (one.start + one.end) * last / 2
    return one.start * last + place * ((one.end - one.start) * last / (one.result - 1))


_COORDINATES: Mapping[str, Callable[[torch.Tensor, Stretch], torch.Tensor]] = MappingProxyType(
    {
        "half_pixel": _half_pixel,
        "half_pixel_symmetric": _half_pixel_symmetric,
        "pytorch_half_pixel": _pytorch_half_pixel,
        "align_corners": _align_corners,
        "asymmetric": _asymmetric,
        "tf_crop_and_resize": _cropped,
    }
)
"""Where output elements lie on the input, by the name of the transformation."""

_ROUNDED: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "round_prefer_floor": lambda coordinates: (coordinates - 0.5).ceil(),
        "round_prefer_ceil": lambda coordinates: (coordinates + 0.5).floor(),
        "floor": torch.floor,
        "ceil": torch.ceil,
    }
)


def _require_known(how: Sampling) -> None:
    for value, known in (
        (how.coordinates, tuple(_COORDINATES)),
        (how.nearest, tuple(_ROUNDED)),
        (how.mode, ("nearest", "linear", "cubic")),
    ):
        if value not in known:
            raise NetwrightError(f"Resize has no mode {value!r}.", place="Resize", remedy=f"Modes are {', '.join(known)}.")
