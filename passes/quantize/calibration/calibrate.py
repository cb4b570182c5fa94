"""Running a program on data once, and keeping of every activation what grids are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir

from netwright.ir.errors import ContractError, DataError
from netwright.ir.fingerprint import fingerprint
from netwright.passes.memory import release_session
from netwright.passes.quantize.calibration.channels import ChannelStatistics
from netwright.passes.quantize.calibration.memory import KEPT_BYTES, Sizes, chunks, groups_of, rows_that_fit
from netwright.passes.quantize.calibration.statistics import Statistics
from netwright.passes.quantize.calibration.tensors import TensorStatistics
from netwright.passes.statistics.feeds import cut, feeds_of

if TYPE_CHECKING:
    import numpy as np

    from netwright.ir.program import Program
    from netwright.passes.context import Context, Executor, Feeds


def calibrate(
    program: Program,
    names: Iterable[str],
    context: Context,
    *,
    channels: Mapping[str, int] | None = None,
    batches: Iterable[Feeds] | None = None,
) -> Statistics:
    """Statistics of activations, in one pass over the data.

    Memory is bounded whatever the data's and the model's size: batches are cut into rows where the model's first axis is free, and where
    the values of one run still take more than 128 MB, the model runs once for each group of them. Shapes may differ from batch to batch.

    Args:
        program: left as it is.
        names: of float values of the main graph, inputs among them.
        context: gives the executor and, unless `batches` are given, calibration data, or else made-up inputs.
        channels: axes, by name, of values whose channels are wanted too.
        batches: the data.

    Raises:
        DataError: no data, an unknown name, or a value that holds no floats.
        ContractError: the context has no executor.
    """
    if context.executor is None:
        raise ContractError("Calibration runs the program, and the context has no executor.", place="calibrate", remedy="Give one.")
    axes = dict(channels or {})
    tensors = {name: TensorStatistics() for name in dict.fromkeys((*names, *axes))}
    sums = {name: ChannelStatistics(axis) for name, axis in axes.items()}
    _check_names(program, tensors)
    if not tensors:
        return Statistics(fingerprint(program), 0, {})
    runs = 0
    for values, first in _observed(program, list(tensors), _data(program, context, batches), context.executor):
        runs += first
        for name, array in values.items():
            if array.dtype.kind in "iubcOSU":
                raise DataError(f"%{name} holds {array.dtype}, and floats are calibrated.", place=name, remedy="Leave it out.")
            tensors[name].add(array)
            if name in sums:
                sums[name].add(array, name)
    release_session(context.executor)
    if not runs:
        raise DataError("The data holds no batch.", place="calibration", remedy="Give at least one.")
    return Statistics(fingerprint(program), runs, tensors, sums)


def activations(program: Program) -> tuple[str, ...]:
    """Every value of the main graph that calibration can look at: float inputs, and results of nodes that are not constant."""
    results = (value for node in program.graph if node.op_type != "Constant" for value in node.outputs)
    return tuple(
        value.name
        for value in (*program.inputs, *results)
        if value.name and value.dtype is not None and value.dtype.is_floating_point() and not isinstance(value.type, onnx_ir.SequenceType)
    )


def _data(program: Program, context: Context, batches: Iterable[Feeds] | None) -> Iterator[Feeds]:
    given = batches if batches is not None else context.calibration
    if given is None and context.samples is not None:
        given = context.samples(program)
    if given is None:
        raise DataError("There is no calibration data.", place="calibration", remedy="Give some: a few hundred samples are enough.")
    yield from feeds_of(program, given)


def _observed(
    program: Program, names: Sequence[str], batches: Iterator[Feeds], executor: Executor
) -> Iterator[tuple[dict[str, np.ndarray], bool]]:
    """The values of each run, group by group, and whether it is the batch's first."""
    sizes = Sizes(program, names)
    for kept in chunks(_pieces(program, batches, sizes), lambda: 1 if sizes.guessing else KEPT_BYTES):
        largest = max(kept, key=lambda feeds: sum(sizes.of(feeds).values()))
        groups = groups_of(sizes.of(largest))
        for number, group in enumerate(groups):
            for feeds in kept:
                values = executor.run(program, feeds, group)
                sizes.saw(feeds, values)
                yield values, number == 0


def _pieces(program: Program, batches: Iterator[Feeds], sizes: Sizes) -> Iterator[Feeds]:
    """Batches cut so that the values of each take little memory."""
    for feeds in batches:
        yield from cut(program, [feeds], rows_that_fit(feeds, sizes.of(feeds)))


def _check_names(program: Program, names: Iterable[str]) -> None:
    known = {value.name: value for value in (*program.inputs, *(value for node in program.graph for value in node.outputs))}
    for name in names:
        if name not in known:
            raise DataError(
                f"The graph has no activation {name!r}.",
                place=name,
                remedy="Name inputs or results of nodes of the main graph; weights need no data.",
            )
        dtype = known[name].dtype
        if dtype is not None and not dtype.is_floating_point():
            raise DataError(f"%{name} is {dtype.name.lower()}, and floats are calibrated.", place=name, remedy="Leave it out.")
