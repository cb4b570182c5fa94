"""Operators of object detectors: choosing boxes, and reading feature maps inside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from netwright.backends.torch.ops.elements import single
from netwright.backends.torch.table import torch_op


@torch_op("NonMaxSuppression", host=("max_output_boxes_per_class", "iou_threshold", "score_threshold"))
def non_max_suppression(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    max_output_boxes_per_class: int | Sequence[int] = 0,
    iou_threshold: float | Sequence[float] = 0.0,
    score_threshold: float | Sequence[float] | None = None,
    *,
    center_point_box: int = 0,
) -> torch.Tensor:
    """For each sample and class the best boxes, none of which overlaps a better one too much.

    Args:
        boxes: [batch, boxes, 4]: two opposite corners (y, x, y, x), or with `center_point_box` (x, y, width, height).
        scores: [batch, classes, boxes].
        max_output_boxes_per_class: how many at most.
        iou_threshold: boxes whose intersection over union with a better one exceeds it are left out.
        score_threshold: boxes whose score does not exceed it are left out.
        center_point_box: see `boxes`.

    Returns:
        [chosen, 3]: sample, class and box, best first.
    """
    most, overlap = single(max_output_boxes_per_class or 0), single(iou_threshold or 0.0)
    lowest = None if score_threshold is None else single(score_threshold)
    chosen: list[torch.Tensor] = []
    for sample, corners in enumerate(_corners(boxes, center_point_box)):
        for kind, row in enumerate(scores[sample]):
            kept = _best(corners, row, most, overlap, lowest)
            chosen.append(torch.stack([torch.full_like(kept, sample), torch.full_like(kept, kind), kept], 1))
    return torch.cat(chosen) if chosen else torch.zeros(0, 3, dtype=torch.int64, device=boxes.device)


@torch_op("RoiAlign", since=16)
def roi_align(
    x: torch.Tensor,
    rois: torch.Tensor,
    batch_indices: torch.Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> torch.Tensor:
    """Regions of feature maps read by linear interpolation (He et al., arXiv 1703.06870).

    With `sampling_ratio` 0 the number of samples depends on the regions, which a compiled graph cannot follow.

    Args:
        x: [batch, channels, height, width].
        rois: [regions, 4]: x1, y1, x2, y2.
        batch_indices: [regions]: the sample that each lies in.
        coordinate_transformation_mode: `half_pixel` puts the centres of elements at whole coordinates plus a half.
        mode: `avg`, or `max` of the weighted neighbours of all samples.
        output_height: bins of a region.
        output_width: bins of a region.
        sampling_ratio: samples of a bin along each axis; 0 for as many as the bin has elements.
        spatial_scale: elements of the feature map per unit of `rois`.

    Returns:
        [regions, channels, output_height, output_width].
    """
    _, channels, height, width = x.shape
    shift = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    left, top, right, bottom = (rois * spatial_scale - shift).unbind(1)
    smallest = None if shift else 1.0
    down = _samples(top, bottom, output_height, sampling_ratio, height, smallest)
    across = _samples(left, right, output_width, sampling_ratio, width, smallest)
    flat = x.transpose(0, 1).flatten(1)
    base = batch_indices.to(torch.int64) * (height * width)
    bins = (rois.shape[0], output_height, down.places.shape[2], output_width, across.places.shape[2])
    parts: list[torch.Tensor] = []
    for row, row_weight in down.corners(height):
        for column, column_weight in across.corners(width):
            place = base.reshape(-1, 1, 1, 1, 1) + row[:, :, :, None, None] * width + column[:, None, None]
            weight = row_weight[:, :, :, None, None] * column_weight[:, None, None]
            parts.append(flat.index_select(1, place.expand(bins).reshape(-1)).reshape(channels, *bins) * weight)
    if mode == "max":
        counted = down.counted[:, None, :, None, None] & across.counted[:, None, None, None, :]
        best = torch.stack(parts).amax(0).masked_fill(~counted, -math.inf).amax((3, 5))
        return torch.where(best == -math.inf, torch.zeros_like(best), best).transpose(0, 1)
    total = (parts[0] + parts[1] + parts[2] + parts[3]).sum((3, 5))
    return (total / (down.count * across.count).clamp(min=1).reshape(-1, 1, 1)).transpose(0, 1)


@torch_op("MaxRoiPool")
def max_roi_pool(x: torch.Tensor, rois: torch.Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> torch.Tensor:
    """The largest element of each bin of each region, zero for an empty bin (Girshick, arXiv 1504.08083).

    Args:
        x: [batch, channels, height, width].
        rois: [regions, 5]: sample, x1, y1, x2, y2.
        pooled_shape: bins along height and width.
        spatial_scale: elements of the feature map per unit of `rois`.

    Returns:
        [regions, channels, *pooled_shape].
    """
    sample = rois[:, 0].to(torch.int64)
    left, top, right, bottom = ((rois[:, 1:] * spatial_scale) + 0.5).floor().unbind(1)
    rows = _bin_members(top, bottom, pooled_shape[0], x.shape[2])
    columns = _bin_members(left, right, pooled_shape[1], x.shape[3])
    regions = x[sample]
    across = torch.stack([regions.masked_fill(~member[:, None, None], -math.inf).amax(3) for member in columns.unbind(1)], 3)
    best = torch.stack([across.masked_fill(~member[:, None, :, None], -math.inf).amax(2) for member in rows.unbind(1)], 2)
    return torch.where(best == -math.inf, torch.zeros_like(best), best)


# ---- boxes -------------------------------------------------------------------------------------------------------


def _corners(boxes: torch.Tensor, center_point_box: int) -> torch.Tensor:
    """[…, 4]: the lower corner, then the upper one."""
    one, other = boxes[..., :2], boxes[..., 2:]
    if center_point_box:
        return torch.cat([one - other / 2, one + other / 2], -1)
    return torch.cat([torch.minimum(one, other), torch.maximum(one, other)], -1)


def _best(corners: torch.Tensor, scores: torch.Tensor, most: int, overlap: float, lowest: float | None) -> torch.Tensor:
    waiting = scores.argsort(descending=True, stable=True)
    if lowest is not None:
        waiting = waiting[scores[waiting] > lowest]
    kept: list[torch.Tensor] = []
    while len(kept) < most and waiting.numel():
        kept.append(waiting[0])
        rest = waiting[1:]
        waiting = rest[_shared(corners[waiting[0]], corners[rest]) <= overlap]
    return torch.stack(kept) if kept else waiting[:0]


def _shared(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of a box and others; 0 where one is empty."""
    sides = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0)
    shared = sides.prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return torch.where(shared > 0, shared / union, torch.zeros_like(shared))


# ---- regions -----------------------------------------------------------------------------------------------------


class _Samples:
    """Where RoiAlign samples one axis.

    Attributes:
        places: coordinates, [regions, bins, samples].
        counted: which samples a region has, [regions, samples].
        count: how many, [regions].
        inside: which lie on the feature map or within one element of it, as `places`.
    """

    def __init__(self, places: torch.Tensor, counted: torch.Tensor, count: torch.Tensor, size: int) -> None:
        self.places = places
        self.counted = counted
        self.count = count
        self.inside = (places >= -1) & (places <= size) & counted[:, None]

    def corners(self, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Places and weights of the two neighbours of each sample."""
        place = self.places.clamp(0, size - 1)
        low = place.detach().floor()
        rest = place - low
        first = low.to(torch.int64)
        return [(first, (1 - rest) * self.inside), ((first + 1).clamp(max=size - 1), rest * self.inside)]


def _samples(start: torch.Tensor, end: torch.Tensor, bins: int, ratio: int, size: int, smallest: float | None) -> _Samples:
    length = end - start
    if smallest is not None:
        length = length.clamp(min=smallest)
    part = length / bins
    count = torch.full_like(part, ratio) if ratio > 0 else part.detach().ceil().clamp(min=0)
    most = ratio if ratio > 0 else int(count.max()) if count.numel() else 0
    steps = torch.arange(most, device=start.device, dtype=start.dtype)
    within = (steps + 0.5) / count.clamp(min=1).unsqueeze(1)
    offsets = torch.arange(bins, device=start.device, dtype=start.dtype)
    places = start[:, None, None] + (offsets[:, None] + within[:, None]) * part[:, None, None]
    return _Samples(places, steps < count.unsqueeze(1), count, size)


def _bin_members(start: torch.Tensor, end: torch.Tensor, bins: int, size: int) -> torch.Tensor:
    """Which elements of an axis lie in which bin: [regions, bins, size]."""
    length = (end - start + 1).clamp(min=1) / bins
    steps = torch.arange(bins, device=start.device)
    first = ((steps * length[:, None]).floor() + start[:, None]).clamp(0, size)
    last = (((steps + 1) * length[:, None]).ceil() + start[:, None]).clamp(0, size)
    elements = torch.arange(size, device=start.device)
    return (elements >= first[..., None]) & (elements < last[..., None])
