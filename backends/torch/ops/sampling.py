"""Reading a tensor at fractional places."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F

from netwright.backends.torch.table import torch_op
from netwright.ir.errors import NetwrightError

Taps = Callable[[torch.Tensor], "list[tuple[torch.Tensor, torch.Tensor]]"]
"""Coordinates along one axis → (places, weights) of each neighbour that counts."""

_MODES: Mapping[str, str] = MappingProxyType(
    {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}
)
"""torch's name for each of ONNX's modes, those of opset 16 included."""


@torch_op("GridSample")
def grid_sample(
    x: torch.Tensor, grid: torch.Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> torch.Tensor:
    """A tensor read at the places of a grid (Jaderberg et al., arXiv 1506.02025), over any number of axes.

    Args:
        x: [batch, channels, *sizes].
        grid: [batch, *places, axes]: coordinates in [-1, 1], the last axis first.
        align_corners: ±1 are the centres of the outermost elements, not their edges.
        mode: `linear`, `nearest` or `cubic`.
        padding_mode: what lies outside: `zeros`, the `border`'s element, or the `reflection`.

    Returns:
        [batch, channels, *places].

    Raises:
        NetwrightError: no such mode.
    """
    if mode not in _MODES or padding_mode not in _OUTSIDE:
        raise NetwrightError(
            f"GridSample has no mode {mode!r} with padding {padding_mode!r}.",
            place="GridSample",
            remedy=f"Modes are {', '.join(_MODES)}; paddings are {', '.join(_OUTSIDE)}.",
        )
    rank = x.ndim - 2
    if rank == 2 or (rank == 3 and _MODES[mode] != "bicubic"):
        return F.grid_sample(x, grid, _MODES[mode], padding_mode, bool(align_corners))
    sizes = x.shape[2:]
    places = [_denormalized(part, size, align_corners) for part, size in zip(reversed(grid.flatten(1, -2).unbind(-1)), sizes, strict=True)]
    if _MODES[mode] == "nearest":
        places = [place.round() for place in places]
    outside = _OUTSIDE[padding_mode]
    taps = cubic_taps if _MODES[mode] == "bicubic" else linear_taps
    if taps is linear_taps:
        places = [outside(place, size, align_corners) for place, size in zip(places, sizes, strict=True)]
    found = sample(x, places, taps, lambda place, size: outside(place, size, align_corners))
    return found.reshape([*x.shape[:2], *grid.shape[1:-1]])


@torch_op("AffineGrid", since=20, host=("size",))
def affine_grid(theta: torch.Tensor, size: Sequence[int], *, align_corners: int = 0) -> torch.Tensor:
    """The grid of an affine map for `GridSample`: θ: [N, d, d + 1], size: (N, C, *sizes) → [N, *sizes, d]."""
    return F.affine_grid(theta, list(size), bool(align_corners))


def sample(
    x: torch.Tensor, places: Sequence[torch.Tensor], taps: Taps, inside: Callable[[torch.Tensor, int], torch.Tensor] | None = None
) -> torch.Tensor:
    """Read a tensor at fractional places; elements outside of it are zeros.

    Costs a gather for each combination of neighbours: (taps an axis)^axes.

    Args:
        x: [batch, channels, *sizes].
        places: for each spatial axis its coordinates, [batch, count].
        taps: which neighbours count.
        inside: brings a neighbour's coordinates into the tensor, by the axis' size.

    Returns:
        [batch, channels, count].
    """
    flat = x.flatten(2)
    result: torch.Tensor | None = None
    for corner in itertools.product(*(taps(place) for place in places)):
        row, share = torch.zeros_like(places[0], dtype=torch.int64), torch.ones_like(places[0])
        for (place, weight), size in zip(corner, x.shape[2:], strict=True):
            whole = (place if inside is None else inside(place, size)).round().to(torch.int64)
            counted = weight * ((whole >= 0) & (whole < size))
            row = row * size + whole.clamp(0, size - 1)
            share = share * counted
        part = flat.gather(2, row.unsqueeze(1).expand(-1, x.shape[1], -1)) * share.unsqueeze(1)
        result = part if result is None else result + part
    assert result is not None, "each axis has a tap"
    return result


def linear_taps(place: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The two neighbours of linear interpolation."""
    floor = place.detach().floor()
    rest = place - floor
    return [(floor, 1 - rest), (floor + 1, rest)]


def cubic_taps(place: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The four neighbours of Keys' cubic convolution (IEEE ASSP 29, 1981) with a = -0.75."""
    a = -0.75
    floor = place.detach().floor()
    rest = place - floor

    def near(distance: torch.Tensor) -> torch.Tensor:
        return ((a + 2) * distance - (a + 3)) * distance.square() + 1

    def far(distance: torch.Tensor) -> torch.Tensor:
        return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a

    return [(floor - 1, far(rest + 1)), (floor, near(rest)), (floor + 1, near(1 - rest)), (floor + 2, far(2 - rest))]


def _denormalized(place: torch.Tensor, size: int, align_corners: int) -> torch.Tensor:
    return (place + 1) / 2 * (size - 1) if align_corners else ((place + 1) * size - 1) / 2


def _reflected(place: torch.Tensor, size: int, align_corners: int) -> torch.Tensor:
    """Mirrored at the outermost centres, or at the outermost edges, until it lies inside."""
    low = 0.0 if align_corners else -0.5
    span = size - 1 if align_corners else size
    if span == 0:
        return place * 0
    folded = (place - low).remainder(2 * span)
    return torch.where(folded > span, 2 * span - folded, folded) + low


_OUTSIDE: Mapping[str, Callable[[torch.Tensor, int, int], torch.Tensor]] = MappingProxyType(
    {
        "zeros": lambda place, size, align_corners: place,
        "border": lambda place, size, align_corners: place.clamp(0, size - 1),
        "reflection": _reflected,
    }
)
"""Coordinates, of which some lie outside the tensor, as those that are read."""
