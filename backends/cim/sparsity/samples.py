"""What products read and what their weights are, gathered from calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import onnx_ir

from netwright.ir.errors import ContractError
from netwright.ir.program import Program
from netwright.passes.context import Context, Feeds

SAMPLES = 16
"""Samples that are looked at."""

VECTORS = 1024
"""Input vectors of a product that are kept, evenly taken from all samples."""


def products(program: Program) -> list[onnx_ir.Node]:
    """All products on crossbars, in graph order."""
    return list(program.nodes("CrossbarMatMul", domain="netwright.cim"))


def inputs_of(program: Program, nodes: Sequence[onnx_ir.Node], context: Context, *, samples: int = SAMPLES) -> dict[str, np.ndarray]:
    """Vectors [N, K] that products read on calibration data, by the name of what they read.

    Raises:
        ContractError: there is no data, or nothing that runs the program.
    """
    if context.calibration is None or context.executor is None:
        raise ContractError("There is no calibration data to measure zeros on.", place="calibration", remedy="Give calibration=… batches.")
    wanted = list(dict.fromkeys(node.inputs[0].name or "" for node in nodes if node.inputs[0] is not None))
    share = max(1, VECTORS // samples)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for feeds in islice(one_by_one(program, context.calibration), samples):
        for name, value in context.executor.run(program, feeds, wanted).items():
            vectors = value.reshape(-1, value.shape[-1])
            taken = np.unique(np.linspace(0, len(vectors) - 1, share).round().astype(int))
            parts[name].append(vectors[taken])
    empty = [name for name, some in parts.items() if not some]
    if empty:
        raise ContractError("The calibration data holds no sample.", place="calibration", remedy="Give calibration=… batches.")
    return {name: np.concatenate(some) for name, some in parts.items()}


def one_by_one(program: Program, batches: Iterable[Feeds]) -> Iterator[Mapping[str, np.ndarray]]:
    """Batches taken apart into feeds of one sample each: lowered programs have fixed shapes. Feeds that are no inputs are left out."""
    leads = {value.name or "": _lead(value) for value in program.inputs}
    for batch in batches:
        feeds = {name: np.asarray(given) for name, given in batch.items() if name in leads}
        counts = {name: len(given) // leads[name] if given.ndim else 1 for name, given in feeds.items()}
        total = max(counts.values(), default=0)
        for number in range(total):
            yield {
                name: given if counts[name] != total or not given.ndim else given[number * leads[name] : (number + 1) * leads[name]]
                for name, given in feeds.items()
            }


def _lead(value: onnx_ir.Value) -> int:
    """The first size of one sample: 1 where it is a symbol."""
    first = value.shape[0] if value.shape is not None and len(value.shape) else 1
    return first if isinstance(first, int) and first > 0 else 1
