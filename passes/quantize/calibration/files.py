"""Statistics in files: `.npz` without objects, written beside their place and renamed."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from netwright.ir.errors import DataError
from netwright.ir.files import write_arrays
from netwright.passes.quantize.calibration.channels import ChannelStatistics
from netwright.passes.quantize.calibration.histogram import BINS, Histogram
from netwright.passes.quantize.calibration.tensors import TensorStatistics

FORMAT = "netwright-statistics-1"

_TENSOR_COUNTS = ("batches", "count", "infinite")
_TENSOR_RANGES = ("low", "high", "moving_low", "moving_high")
_CHANNEL_ARRAYS = ("low", "high", "total", "squares")

Contents = tuple[str, int, dict[str, TensorStatistics], dict[str, ChannelStatistics]]


def write_statistics(
    path: str | Path, fingerprint: str, runs: int, tensors: Mapping[str, TensorStatistics], channels: Mapping[str, ChannelStatistics]
) -> None:
    """Write statistics, atomically.

    Raises:
        NetwrightError: the file cannot be written.
    """
    arrays = {"head": np.array([FORMAT, fingerprint, str(runs)]), **_tensor_arrays(tensors), **_channel_arrays(channels)}
    write_arrays(path, arrays, compressed=True)


def read_statistics(path: str | Path) -> Contents:
    """Read what `write_statistics` wrote: fingerprint, runs, tensors and channels.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            head = archive["head"]
            if head.dtype.kind != "U" or head.shape != (3,) or head[0] != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            arrays = {name: archive[name] for name in archive.files}
        return str(head[1]), int(head[2]), _read_tensors(arrays), _read_channels(arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(
            f"The statistics cannot be read: {error}.", place=str(path), remedy="Write them with netwright calibrate, or Statistics.save."
        ) from error


def _tensor_arrays(tensors: Mapping[str, TensorStatistics]) -> dict[str, np.ndarray]:
    every = list(tensors.values())
    return {
        "names": np.array(list(tensors), np.str_),
        "counts": np.array([[getattr(one, key) for key in _TENSOR_COUNTS] for one in every], np.int64).reshape(-1, 3),
        "ranges": np.array([[getattr(one, key) for key in _TENSOR_RANGES] for one in every], np.float64).reshape(-1, 4),
        "widths": np.array([one.histogram.width for one in every], np.float64),
        "bins": np.array([[one.histogram.first, one.histogram.counts.size, one.histogram.zeros] for one in every], np.int64).reshape(-1, 3),
        "histograms": np.concatenate([np.zeros(0, np.int64), *(one.histogram.counts for one in every)]),
    }


def _channel_arrays(channels: Mapping[str, ChannelStatistics]) -> dict[str, np.ndarray]:
    every = list(channels.values())
    return {
        "channel_names": np.array(list(channels), np.str_),
        "channel_counts": np.array([[one.axis, one.count, one.low.size] for one in every], np.int64).reshape(-1, 3),
        **{f"channel_{key}": np.concatenate([np.zeros(0), *(getattr(one, key) for one in every)]) for key in _CHANNEL_ARRAYS},
    }


def _read_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, TensorStatistics]:
    found: dict[str, TensorStatistics] = {}
    start = 0
    rows = zip(arrays["names"], arrays["counts"], arrays["ranges"], arrays["widths"], arrays["bins"], strict=True)
    for name, counts, ranges, width, (first, size, zeros) in rows:
        if not 0 <= size <= BINS or start + size > arrays["histograms"].size:
            raise ValueError(f"the histogram of %{name} has {size} bins")
        bins = arrays["histograms"][start : start + size].astype(np.int64)
        histogram = Histogram(float(width), int(first), bins, int(zeros))
        batches, count, infinite = map(int, counts)
        low, high, moving_low, moving_high = map(float, ranges)
        found[str(name)] = TensorStatistics(batches, count, infinite, low, high, moving_low, moving_high, histogram)
        start += int(size)
    return found


def _read_channels(arrays: Mapping[str, np.ndarray]) -> dict[str, ChannelStatistics]:
    found: dict[str, ChannelStatistics] = {}
    start = 0
    for name, (axis, count, size) in zip(arrays["channel_names"], arrays["channel_counts"], strict=True):
        parts = [arrays[f"channel_{key}"][start : start + size] for key in _CHANNEL_ARRAYS]
        if size < 0 or any(part.shape != (size,) for part in parts):
            raise ValueError(f"%{name} has {size} channels")
        found[str(name)] = ChannelStatistics(int(axis), int(count), *parts)
        start += int(size)
    return found
