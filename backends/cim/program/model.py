"""A ChipProgram: what every tile of a chip does, one instruction after the other, for one sample.

Tiles run their lists on their own; they meet in messages (`Send`/`Receive` of one channel), in what the host holds (`Load`, `Store`)
and in `Sync`. An instruction reads buffers of its own tile and writes a box of a buffer of its own tile. A **buffer** is a box of a
tensor in a tile's memory; every element of a buffer is written before it is read, and once: so the result does not depend on how the
tiles interleave. It may have room for several samples, which take it in turn. Tensors have the shape of one sample (a batch runs the
program once for each sample; a simulator may run many at once).

Products stream: an instruction works along its output's `stream` axis, row by row, and a consumer may begin when the rows that it needs
are there. `ring` bounds the rows that a buffer keeps; 0 keeps all.

The host is tile −1: its buffers have no address, its instructions are `Vector` only, for regions that the chip cannot run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.program.layout import Box, Layout
from netwright.ir.signature import Port

HOST = -1
"""The tile number of the host."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the program.

    Attributes:
        name: the value's name in the lowered graph; partial sums are `NAME#k0`, `NAME#k1` ….
        dtype: numpy's name of the element type.
        shape: of one sample.
        layout: where it lies when it is made; None for values of the host.
        stream: the axis along which it is made row by row; −1 for all at once.
        batch_axis: the axis of size 1 that is the batch in the graph, −1 where there is none (weights of attention masks, say).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: Layout | None
    stream: int = -1
    batch_axis: int = -1


@dataclass(frozen=True, slots=True)
class Buffer:
    """A box of a tensor in a tile's memory.

    Attributes:
        tile: whose memory.
        tensor: name.
        box: which part, in the tensor's axes.
        address: first byte; 0 on the host.
        bytes: room that it takes, once: of `ring` rows where it is a ring.
        ring: rows along the tensor's stream axis that are kept; 0 for all.
        copies: how many samples it has room for: sample n's rows stand at `address` + (n mod `copies`) · `bytes`, so that only sample
            n + `copies` waits for them to be done with.
    """

    tile: int
    tensor: str
    box: Box
    address: int
    bytes: int
    ring: int = 0
    copies: int = 1

    @property
    def room(self) -> int:
        """Bytes of all copies together."""
        return self.bytes * self.copies


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights in crossbars.

    Attributes:
        name: the weight's name in the lowered graph.
        values: int8 [K, J].
        coding: how products with it are computed.
        layer: the layer's name in reports.
        source: tensor [..., K, J] that it is written from, for every sample; empty for weights that are there from the start. Its
            `values` are 0 then, and a unit holds the matrix of one place of the leading axes at a time.
    """

    name: str
    values: np.ndarray
    coding: Coding
    layer: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a matrix on one tile.

    Attributes:
        matrix: index of the matrix.
        rows: first and last + 1 of K; the first a multiple of the coding's rows.
        columns: first and last + 1 of J.
        tile: which tile.
        first_array: first of its arrays, counted within the tile.
        arrays: how many of them: block rows × block columns (twice for differential pairs).
        phase: from which `Reload` on it is there; 0 for the chip's first load.
        copy: which of the copies of these weights.
    """

    matrix: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    tile: int
    first_array: int
    arrays: int
    phase: int = 0
    copy: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What a region is for a vector unit.

    Attributes:
        elements: elements of simple operations.
        macs: multiply-accumulates.
        special: elements of exp, tanh, erf, division and the like.
        moved: bytes only moved (a Transpose that no other operation absorbs).
    """

    elements: int = 0
    macs: int = 0
    special: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """Which rows of a source a row of a region's results needs: row · stride + first … row · stride + last, along the stream axes.

    Attributes:
        stride: source rows from one row of the results to the next.
        last: the last source row that row 0 needs; below 0 where it needs none yet.
        first: the first source row that row 0 needs; below 0 where padding comes before.
        whole: every row needs all of the source; the others are 0 then.
    """

    stride: int = 1
    last: int = 0
    first: int = 0
    whole: bool = False

    def after(self, inner: Reach) -> Reach:
        """This reach into rows that are themselves made with the other."""
        if self.whole or inner.whole:
            return Reach(0, whole=True)
        stride = inner.stride
        return Reach(self.stride * stride, self.last * stride + inner.last, self.first * stride + inner.first)


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of the graph that runs on a vector unit, or on the host.

    Attributes:
        name: for reports.
        model: an ONNX model, as bytes: inputs and outputs named as the tensors; standard operators only (expanded). Sizes are numbers,
            but for the batch axes of a batchable one and the axes that an instruction cuts: these are symbols.
        inputs: tensors that it reads.
        outputs: tensors that it makes.
        batchable: samples may be stacked along the tensors' batch axes and give the same bits.
        work: of one sample, by the whole region.
        why_host: the reason, where it runs on the host; empty elsewhere. `host_note` tells it.
        reaches: by input, which of its rows a row of the outputs needs; empty: all rows of all.
    """

    name: str
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batchable: bool
    work: Work
    why_host: str = ""
    reaches: tuple[Reach, ...] = ()


def host_note(name: str, why: str) -> str:
    """What a program's notes, and reports, say of a region that the host runs."""
    return f"{name} runs on the host: {why}."


@dataclass(frozen=True, slots=True)
class Scaling:
    """What makes bytes of sums: y = saturate(rhe(float32(acc + bias) · multiplier) + zero_point), as ONNX Runtime's kernels do.

    Attributes:
        name: for reports.
        bias: int32 [J]: the layer's, less what zero points contribute.
        multiplier: float32 [J].
        zero_point: of the result.
        low: smallest result (a folded Relu or Clip).
        high: largest result.
        dtype: `uint8` or `int8`.
    """

    name: str
    bias: np.ndarray
    multiplier: np.ndarray
    zero_point: int
    low: int
    high: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Window:
    """How rows of K are read from a tensor [1, H, W, C]: (kh, kw, c) order, c fastest.

    Attributes:
        kernel: height and width.
        strides: down and right.
        dilations: down and right.
        pads: top, left, bottom, right.
        pad_value: what stands outside: the input's zero point.
        size: H and W of the whole tensor.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    pad_value: int
    size: tuple[int, int]


# ---- instructions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Host buffer → this tile, through the DRAM port: `box` of the tensor."""

    source: int
    target: int
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """This tile → host buffer, through the DRAM port."""

    source: int
    target: int
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Mvm:
    """Products on a unit's arrays: `box` of the target (sums, int32 [..., J]) from the source: integers [..., K], or a map and a window."""

    unit: int
    source: int
    target: int
    box: Box
    window: Window | None = None
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Sums of partial sums: `box` of the target is the sum over sources, divided by `denominator` (to the nearest, halves to even).

    Units that hold a part of K make numerators where conversions give fractions: see `program.fractions`.
    """

    sources: tuple[int, ...]
    target: int
    box: Box
    layer: str = ""
    denominator: int = 1


@dataclass(frozen=True, slots=True)
class Requantize:
    """Sums to bytes by a Scaling (its J elements cut to the box's last axis)."""

    scaling: int
    source: int
    target: int
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Vector:
    """A region on whole buffers: sources in the region's input order, targets in its output order.

    `box`: the part of every target that is made. Where it is not the whole tensor, the region works element by element along the
    axes that are cut, and its sources are cut alike.
    """

    region: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """`box` of a buffer to another tile, on a channel that only these two use, once."""

    channel: int
    source: int
    box: Box
    to: int
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Receive:
    """What comes on a channel, to `box` of a buffer."""

    channel: int
    target: int
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Reload:
    """Write a unit's weights into its arrays, read from DRAM: what they held is gone."""

    unit: int
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Write a unit's arrays with a box of its matrix's source: one place of the leading axes, the unit's rows and columns."""

    unit: int
    source: int
    box: Box
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Sync:
    """Wait until every tile that has this barrier has come to it: once on each, so that all meet there once."""

    barrier: int
    layer: str = ""


Instruction: TypeAlias = Load | Store | Mvm | Accumulate | Requantize | Vector | Send | Receive | Reload | Write | Sync


@dataclass(frozen=True, slots=True)
class Options:
    """How it was mapped.

    Attributes:
        duplicate: weights are copied where that makes the slowest layer faster.
        pipeline: layers overlap, row by row.
    """

    duplicate: bool = True
    pipeline: bool = True


@dataclass(frozen=True)
class ChipProgram:
    """Everything that a chip needs to run a model.

    Attributes:
        name: of the model.
        arch: the chip.
        options: of the mapping.
        inputs: what a caller feeds; the axis whose size is a name is the batch (1 in the tensor), where there is one. An input without is
            shared by all samples.
        outputs: what a caller gets, likewise. An output without a batch's axis is of one sample, or what all samples share.
        tensors: by name.
        buffers: by number.
        matrices: weights in arrays.
        units: parts of them on tiles.
        regions: graphs for vector units and the host.
        scalings: of sums.
        tiles: instructions by tile; tiles without any are left out.
        host: the host's instructions (`Vector` only), in order.
        notes: what a user must know: sites left to vector units or host, and why.
    """

    name: str
    arch: Arch
    options: Options
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tensors: dict[str, Tensor]
    buffers: tuple[Buffer, ...]
    matrices: tuple[Matrix, ...]
    units: tuple[Unit, ...]
    regions: tuple[Region, ...]
    scalings: tuple[Scaling, ...]
    tiles: dict[int, tuple[Instruction, ...]]
    host: tuple[Vector, ...] = ()
    notes: tuple[str, ...] = ()
