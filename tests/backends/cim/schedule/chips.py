"""Chip programs by hand, as small as what a test is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from netwright.backends.cim.arch.model import Adc, Arch, Array, Dram, Memory, Network, Tile, Vector
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.program.layout import Box
from netwright.backends.cim.program.model import (
    HOST,
    Accumulate,
    Buffer,
    ChipProgram,
    Instruction,
    Load,
    Matrix,
    Mvm,
    Options,
    Receive,
    Region,
    Requantize,
    Scaling,
    Send,
    Store,
    Tensor,
    Unit,
    Window,
    Work,
)

ARCH = Arch(
    name="test",
    clock_mhz=1000.0,
    array=Array(rows=64, columns=64, active_rows=64, cycle_ns=10.0, adc=Adc(bits=7)),
    tile=Tile(cores=1, arrays=64, memory=Memory(bytes=1 << 20, bytes_per_cycle=16), vector=Vector(lanes=8, macs=8, special=1)),
    network=Network(columns=4, rows=4, link_bytes=8, hop_cycles=2, setup_cycles=4, header_bytes=8),
    dram=Dram(bytes_per_cycle=8, latency_cycles=50),
)
"""A chip with round figures: a clock of 1 ns, 80 ns for a vector of 8 bits."""


def whole(shape: tuple[int, ...]) -> Box:
    """The box of everything."""
    return tuple((0, extent) for extent in shape)


@dataclass
class Builder:
    """Collects the parts of a program; buffers lie one behind the other in their tile."""

    arch: Arch = ARCH
    options: Options = field(default_factory=Options)
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    matrices: list[Matrix] = field(default_factory=list[Matrix])
    units: list[Unit] = field(default_factory=list[Unit])
    regions: list[Region] = field(default_factory=list[Region])
    scalings: list[Scaling] = field(default_factory=list[Scaling])
    tiles: dict[int, list[Instruction]] = field(default_factory=dict[int, list[Instruction]])
    top: dict[int, int] = field(default_factory=dict[int, int])
    arrays: dict[int, int] = field(default_factory=dict[int, int])
    channels: int = 0

    def tensor(self, name: str, shape: tuple[int, ...], *, dtype: str = "uint8", stream: int = 1) -> str:
        self.tensors[name] = Tensor(name, dtype, shape, None, stream)
        return name

    def buffer(self, tile: int, name: str, *, box: Box | None = None, ring: int = 0, address: int | None = None) -> int:
        tensor = self.tensors[name]
        box = box or whole(tensor.shape)
        extents = [stop - start for start, stop in box]
        if ring:
            extents[tensor.stream] = ring
        size = prod(extents) * np.dtype(tensor.dtype).itemsize
        place = self.top.get(tile, 0) if address is None else address
        self.top[tile] = max(self.top.get(tile, 0), place + size)
        self.buffers.append(Buffer(tile, name, box, 0 if tile == HOST else place, size, ring))
        return len(self.buffers) - 1

    def unit(self, tile: int, k: int, j: int, layer: str) -> int:
        coding = Coding(rows=min(64, k))
        arrays = -(-k // 64) * -(-j * 8 // 64)
        first = self.arrays.get(tile, 0)
        self.arrays[tile] = first + arrays
        self.matrices.append(Matrix(f"{layer}.w", np.ones((k, j), np.int8), coding, layer))
        self.units.append(Unit(len(self.matrices) - 1, (0, k), (0, j), tile, first, arrays))
        return len(self.units) - 1

    def region(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], work: Work) -> int:
        self.regions.append(Region(name, b"", inputs, outputs, True, work))
        return len(self.regions) - 1

    def scaling(self, j: int) -> int:
        self.scalings.append(Scaling("s", np.zeros(j, np.int32), np.ones(j, np.float32), 0, 0, 255, "uint8"))
        return len(self.scalings) - 1

    def add(self, tile: int, one: Instruction) -> None:
        self.tiles.setdefault(tile, []).append(one)

    def load(self, tile: int, name: str, *, ring: int = 0, layer: str = "in") -> int:
        source = self.buffer(HOST, name)
        target = self.buffer(tile, name, ring=ring)
        self.add(tile, Load(source, target, self.buffers[target].box, layer))
        return target

    def store(self, tile: int, source: int, layer: str = "out") -> int:
        target = self.buffer(HOST, self.buffers[source].tensor)
        self.add(tile, Store(source, target, self.buffers[source].box, layer))
        return target

    def send(self, source: int, to: int, *, ring: int = 0, layer: str = "") -> int:
        """A buffer to another tile; the buffer there."""
        have = self.buffers[source]
        target = self.buffer(to, have.tensor, box=have.box, ring=ring)
        self.add(have.tile, Send(self.channels, source, have.box, to, layer))
        self.add(to, Receive(self.channels, target, have.box, layer))
        self.channels += 1
        return target

    def conv(
        self, tile: int, source: int, name: str, j: int, *, kernel: int = 3, stride: int = 1, ring: int = 0, copies: int = 1, keep: int = 0
    ) -> int:
        """Product and requantization of a map on one tile, by copies that share the columns of the map; the buffer of bytes."""
        _, height, width, channels = self.tensors[self.buffers[source].tensor].shape
        pad = kernel // 2
        size = (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1
        sums = self.buffer(tile, self.tensor(f"{name}#k0", (1, *size, j), dtype="int32"), ring=ring)
        made = self.buffer(tile, self.tensor(name, (1, *size, j)), ring=keep)
        window = Window((kernel, kernel), (stride, stride), (1, 1), (pad, pad, pad, pad), 0, (height, width))
        for copy in range(min(copies, size[1])):
            unit = self.unit(tile, kernel * kernel * channels, j, name)
            share = (size[1] * copy // min(copies, size[1]), size[1] * (copy + 1) // min(copies, size[1]))
            box = ((0, 1), (0, size[0]), share, (0, j))
            self.add(tile, Mvm(unit, source, sums, box, window, name))
            self.add(tile, Requantize(self.scaling(j), sums, made, box, name))
        return made

    def add_up(self, tile: int, sources: tuple[int, ...], name: str) -> int:
        shape = self.tensors[self.buffers[sources[0]].tensor].shape
        target = self.buffer(tile, self.tensor(name, shape, dtype="int32"))
        self.add(tile, Accumulate(sources, target, whole(shape), name))
        return target

    def build(self) -> ChipProgram:
        return ChipProgram(
            name="hand",
            arch=self.arch,
            options=self.options,
            inputs=(),
            outputs=(),
            tensors=self.tensors,
            buffers=tuple(self.buffers),
            matrices=tuple(self.matrices),
            units=tuple(self.units),
            regions=tuple(self.regions),
            scalings=tuple(self.scalings),
            tiles={tile: tuple(part) for tile, part in sorted(self.tiles.items())},
        )


def chain(
    depth: int, *, pipeline: bool = True, size: int = 16, channels: int = 8, ring: int = 0, stride: int = 1, arch: Arch = ARCH
) -> ChipProgram:
    """A chain of 3×3 convolutions, one on each tile, handed on from tile to tile."""
    build = Builder(arch, Options(pipeline=pipeline))
    here = build.load(0, build.tensor("x", (1, size, size, channels)), ring=ring)
    for layer in range(depth):
        made = build.conv(layer, here, f"conv{layer}", channels, stride=stride, ring=0)
        here = build.send(made, layer + 1, ring=ring, layer=f"conv{layer}") if layer < depth - 1 else made
    build.store(depth - 1, here)
    return build.build()
