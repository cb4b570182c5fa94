"""Small chip programs made by hand: what a mapping would make, in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import onnx_ir

from netwright.backends.cim.arch.model import Arch, Network
from netwright.backends.cim.coding.model import Coding, Converter
from netwright.backends.cim.program.access import volume, whole
from netwright.backends.cim.program.fractions import denominator_of_parts
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
    Reload,
    Requantize,
    Scaling,
    Send,
    Store,
    Sync,
    Tensor,
    Unit,
    Vector,
    Window,
    Work,
)
from netwright.backends.cim.simulator.activity import Runner
from netwright.backends.onnxruntime import lower
from netwright.ir.program import Program
from netwright.ir.signature import Port

NOTHING = Work()
CHIP = Arch(name="small", network=Network(columns=2, rows=2))
LOSSLESS = Coding(rows=32)
LOSSY = Coding(rows=32, converter=Converter(mode="step", bits=3, step=4))


def on_onnxruntime(program: Program) -> Runner:
    """What runs regions in tests."""
    return lower(program, threads=1).run


class Maker:
    """Collects tensors, buffers and instructions."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.buffers: list[Buffer] = []
        self.tiles: dict[int, list[Instruction]] = {}
        self.room: dict[int, int] = {}

    def tensor(self, name: str, dtype: str, shape: tuple[int, ...], stream: int = 1) -> str:
        self.tensors[name] = Tensor(name, dtype, shape, None, stream, 0)
        return name

    def buffer(self, tile: int, tensor: str, box: Box | None = None) -> int:
        one = self.tensors[tensor]
        box = box or whole(one.shape)
        size = volume(box) * np.dtype(one.dtype).itemsize
        address = self.room.get(tile, 0) if tile != HOST else 0
        self.room[tile] = address + size
        self.buffers.append(Buffer(tile, tensor, box, address, size))
        return len(self.buffers) - 1

    def sums(self, parts: Sequence[str], shape: tuple[int, ...], rows: int, coding: Coding) -> int:
        """Sums `s` and those of parts of K; gives what the latter are over."""
        over = denominator_of_parts(rows, coding)
        for name in parts:
            self.tensor(name, "int64" if over > 1 else "int32", shape)
        self.tensor("s", "int32", shape)
        return over

    def add(self, tile: int, *given: Instruction) -> None:
        self.tiles.setdefault(tile, []).extend(given)

    def program(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        matrices: Sequence[Matrix],
        units: Sequence[Unit],
        scalings: Sequence[Scaling] = (),
        regions: Sequence[Region] = (),
        host: Sequence[Vector] = (),
    ) -> ChipProgram:
        return ChipProgram(
            "made",
            CHIP,
            Options(),
            tuple(map(self._port, inputs)),
            tuple(map(self._port, outputs)),
            self.tensors,
            tuple(self.buffers),
            tuple(matrices),
            tuple(units),
            tuple(regions),
            tuple(scalings),
            {tile: tuple(own) for tile, own in self.tiles.items()},
            tuple(host),
            ("made by hand",),
        )

    def _port(self, name: str) -> Port:
        one = self.tensors[name]
        return Port(name, onnx_ir.DataType.from_numpy(np.dtype(one.dtype)), ("batch", *one.shape[1:]))


def weights(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (rows, columns)).astype(np.int8)


def scaling(columns: int, multiplier: float = 2e-4) -> Scaling:
    bias = np.arange(-columns, columns, 2, dtype=np.int32) * 50
    return Scaling("s", bias, np.full(columns, multiplier, np.float32), 12, 12, 255, "uint8")


def scaled(sums: np.ndarray, one: Scaling) -> np.ndarray:
    """The specification of a Scaling, in float32."""
    raised = np.rint((sums.astype(np.int32) + one.bias).astype(np.float32) * one.multiplier) + one.zero_point
    return np.clip(raised, one.low, one.high).astype(one.dtype)


def region(text: str, work: Work = NOTHING, *, batchable: bool = True, why_host: str = "", **constants: np.ndarray) -> Region:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 20]>\n{text}')
    inputs = tuple(value.name for value in model.graph.input)
    outputs = tuple(value.name for value in model.graph.output)
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return Region(model.graph.name, model.SerializeToString(), inputs, outputs, batchable, work, why_host)


def linear(coding: Coding = LOSSLESS) -> tuple[ChipProgram, np.ndarray]:
    """y = Requantize(x · w), x [1, 3, 40], its last 8 rows and its last 3 columns on a second tile."""
    m = Maker()
    m.tensor("x", "uint8", (1, 3, 40))
    over = m.sums(("s#k0", "s#k1"), (1, 3, 6), 40, coding)
    m.tensor("y", "uint8", (1, 3, 6))
    w = weights(40, 6)
    units = (Unit(0, (0, 32), (0, 6), 0, 0, 2), Unit(0, (32, 40), (0, 6), 1, 0, 2))
    x, y = m.buffer(HOST, "x"), m.buffer(HOST, "y")
    full: Box = ((0, 1), (0, 3), (0, 6))
    low, high = ((0, 1), (0, 3), (0, 32)), ((0, 1), (0, 3), (32, 40))
    x0, s0, came, s, y0 = m.buffer(0, "x", low), m.buffer(0, "s#k0"), m.buffer(0, "s#k1"), m.buffer(0, "s"), m.buffer(0, "y")
    x1, s1 = m.buffer(1, "x", high), m.buffer(1, "s#k1")
    m.add(0, Load(x, x0, low, "fc"), Mvm(0, x0, s0, full, None, "fc"), Receive(0, came, full, "fc"))
    m.add(0, Accumulate((s0, came), s, full, "fc", over), Requantize(0, s, y0, full, "fc"), Store(y0, y, full, "fc"))
    m.add(1, Load(x, x1, high, "fc"), Mvm(1, x1, s1, full, None, "fc"), Send(0, s1, full, 0, "fc"))
    return m.program(["x"], ["y"], [Matrix("w", w, coding, "fc")], units, [scaling(6)]), w


WINDOW = Window((3, 3), (2, 1), (1, 1), (1, 1, 1, 1), 7, (6, 5))


def conv(coding: Coding = LOSSLESS) -> tuple[ChipProgram, np.ndarray]:
    """A convolution of x [1, 6, 5, 8] with stride (2, 1): two copies by rows; the rows of K on two tiles each."""
    m = Maker()
    m.tensor("x", "uint8", (1, 6, 5, 8))
    over = m.sums(("s#k0", "s#k1"), (1, 3, 5, 4), 72, coding)
    m.tensor("y", "uint8", (1, 3, 5, 4))
    w = weights(72, 4, 1)
    x, y = m.buffer(HOST, "x"), m.buffer(HOST, "y")
    units: list[Unit] = []
    for copy, (rows, first, second) in enumerate((((0, 2), (0, 4), (0, 4)), ((2, 3), (3, 6), (5, 6)))):
        home, other = 2 * copy, 2 * copy + 1
        units += [Unit(0, (0, 64), (0, 4), home, 0, 4, copy=copy), Unit(0, (64, 72), (0, 4), other, 0, 2, copy=copy)]
        box: Box = ((0, 1), rows, (0, 5), (0, 4))
        low: Box = ((0, 1), first, (0, 5), (0, 8))
        high: Box = ((0, 1), second, (0, 5), (0, 8))
        x0, s0, came, s, y0 = (m.buffer(home, name, low if name == "x" else box) for name in ("x", "s#k0", "s#k1", "s", "y"))
        x1, s1 = m.buffer(other, "x", high), m.buffer(other, "s#k1", box)
        m.add(home, Load(x, x0, low), Mvm(2 * copy, x0, s0, box, WINDOW, "conv"), Receive(copy, came, box))
        m.add(home, Accumulate((s0, came), s, box, denominator=over), Requantize(0, s, y0, box), Store(y0, y, box))
        m.add(other, Load(x, x1, high), Mvm(2 * copy + 1, x1, s1, box, WINDOW, "conv"), Send(copy, s1, box, home))
    return m.program(["x"], ["y"], [Matrix("w", w, coding, "conv")], units, [scaling(4)]), w


def residual(rows: tuple[tuple[int, int], tuple[int, int]] = ((0, 2), (2, 4))) -> ChipProgram:
    """y = x + Requantize(x · w) by QuantizeLinear, rows on two tiles that may compute more than they store; on the host, sums of y."""
    m = Maker()
    for name in ("x", "t", "y"):
        m.tensor(name, "uint8", (1, 4, 6))
    m.tensor("s", "int32", (1, 4, 6))
    m.tensor("z", "float32", (1, 4, 6))
    hosted = {name: m.buffer(HOST, name) for name in ("x", "y", "z")}
    units = tuple(Unit(0, (0, 6), (0, 6), tile, 0, 1, copy=tile) for tile in (0, 1))
    for tile in (0, 1):
        box: Box = ((0, 1), rows[tile], (0, 6))
        kept: Box = ((0, 1), (2 * tile, 2 * tile + 2), (0, 6))
        x, s, t, y = (m.buffer(tile, name, box) for name in ("x", "s", "t", "y"))
        m.add(tile, Load(hosted["x"], x, box), Mvm(tile, x, s, box, None, "fc"), Requantize(0, s, t, box))
        m.add(tile, Vector(0, (x, t), (y,), box, "add"), Store(y, hosted["y"], kept))
    add = region(
        """add (uint8[N, 4, 6] x, uint8[N, 4, 6] t) => (uint8[N, 4, 6] y) {
            scale = Constant<value = float {0.5}>()
            zero = Constant<value = uint8 {3}>()
            a = DequantizeLinear(x, scale, zero)
            b = DequantizeLinear(t, scale, zero)
            c = Add(a, b)
            y = QuantizeLinear(c, scale, zero)
        }""",
        Work(elements=120),
    )
    sums = region(
        "sums (uint8[N, 4, 6] y) => (float[N, 4, 6] z) { axis = Constant<value = int64 {1}>() f = Cast<to = 1>(y) z = CumSum(f, axis) }",
        why_host="a test",
    )
    host = [Vector(1, (hosted["y"],), (hosted["z"],), whole((1, 4, 6)), "sums")]
    return m.program(["x"], ["y", "z"], [Matrix("w", weights(6, 6), LOSSLESS, "fc")], units, [scaling(6, 1e-3)], [add, sums], host)


def reload() -> tuple[ChipProgram, np.ndarray, np.ndarray]:
    """Two layers in turn on the same arrays."""
    m = Maker()
    m.tensor("x", "uint8", (1, 40))
    m.tensor("a", "uint8", (1, 40))
    m.tensor("s", "int32", (1, 40))
    m.tensor("y", "int32", (1, 5))
    hosted = {name: m.buffer(HOST, name) for name in ("x", "y")}
    x, s, a, y = (m.buffer(0, name) for name in ("x", "s", "a", "y"))
    one, two = weights(40, 40, 2), weights(40, 5, 3)
    units = (Unit(0, (0, 40), (0, 40), 0, 0, 4), Unit(1, (0, 40), (0, 5), 0, 2, 2, phase=1))
    m.add(0, Reload(0), Load(hosted["x"], x, whole((1, 40))), Mvm(0, x, s, whole((1, 40))), Requantize(0, s, a, whole((1, 40))))
    m.add(0, Sync(0), Reload(1, "two"), Mvm(1, a, y, whole((1, 5))), Store(y, hosted["y"], whole((1, 5))))
    m.add(1, Sync(0))
    matrices = [Matrix("one", one, LOSSLESS, "one"), Matrix("two", two, LOSSLESS, "two")]
    return m.program(["x"], ["y"], matrices, units, [scaling(40)]), one, two


def random_feeds(chip: ChipProgram, samples: int, seed: int = 5) -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {port.name: rng.integers(0, 256, (samples, *chip.tensors[port.name].shape[1:])).astype(np.uint8) for port in chip.inputs}


def without(chip: ChipProgram, *, tile: int, index: int) -> ChipProgram:
    """The program with an instruction less."""
    own = chip.tiles[tile]
    return replace(chip, tiles={**chip.tiles, tile: own[:index] + own[index + 1 :]})


def with_instruction(chip: ChipProgram, tile: int, index: int, **changes: object) -> ChipProgram:
    """The program with an instruction changed."""
    own = list(chip.tiles[tile])
    own[index] = replace(own[index], **changes)
    return replace(chip, tiles={**chip.tiles, tile: tuple(own)})


def replaced_matrix(chip: ChipProgram, values: np.ndarray) -> ChipProgram:
    """The program with other weights in its first matrix."""
    return replace(chip, matrices=(replace(chip.matrices[0], values=values), *chip.matrices[1:]))
