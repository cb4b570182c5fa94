"""How many cells, digits and adder inputs the chip's arrays have for one output: what energies, areas and delays multiply."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding, WeightCoding
from netwright.backends.cim.coding.slicing import weight_places


def polarities(encoding: WeightCoding) -> int:
    """Arrays that hold a weight: two for differential pairs."""
    return 2 if encoding == "differential" else 1


@dataclass(frozen=True, slots=True)
class Periphery:
    """What stands at the foot of one output's columns. Fixed when the chip is made: from its description, not from a layer's coding.

    Attributes:
        slices: columns of an output in one array, at the chip's widest weights.
        outputs: outputs of an array.
        rows: rows added at once.
        input_bits: widest input.
        digit_bits: bits of a cycle.
        weight_bits: widest weight.
        analog: converters instead of adder trees over the rows.
        converter_bits: of the converters.
    """

    slices: int
    outputs: int
    rows: int
    input_bits: int
    digit_bits: int
    weight_bits: int
    analog: bool
    converter_bits: int

    @property
    def serial(self) -> bool:
        """Inputs take several cycles, so that there is an accumulator."""
        return self.digit_bits < self.input_bits

    @property
    def depth(self) -> float:
        """Levels of the adder tree over the rows."""
        return math.log2(self.rows)

    @property
    def tree_bits(self) -> float:
        """Width of the tree's result."""
        return self.weight_bits + self.depth

    @property
    def tree_adders(self) -> float:
        """Full adders of a tree over the rows: R·(w + 1) − (w + log2 R + 1)."""
        return self.rows * (self.weight_bits + 1) - (self.weight_bits + self.depth + 1)

    @property
    def placed(self) -> int:
        """Inputs of the adder tree that puts place values together: columns of an output, or bits of a digit on digital arrays."""
        return self.slices if self.analog else self.digit_bits

    @property
    def placed_bits(self) -> float:
        """Width of those inputs."""
        return self.converter_bits if self.analog else self.tree_bits

    @property
    def placing_adders(self) -> float:
        """Full adders of that tree: b·(n − 1) + n·(log2 n − ½)."""
        inputs = self.placed
        return 0.0 if inputs == 1 else self.placed_bits * (inputs - 1) + inputs * (math.log2(inputs) - 0.5)

    @property
    def placed_width(self) -> float:
        """Width of its result."""
        return self.placed_bits if self.placed == 1 else self.placed + self.placed_bits

    @property
    def accumulator_bits(self) -> float:
        """Width of an output's accumulator; 0 where there is none."""
        if not self.serial:
            return 0.0
        return self.input_bits + self.weight_bits + (self.converter_bits if self.analog else self.depth)


def periphery(arch: Arch) -> Periphery:
    """What stands at the foot of the chip's arrays."""
    array = arch.array
    widest = Coding(weight_bits=arch.weight_bits, cell_bits=array.cell_bits, encoding=array.encoding, subtract="before")
    columns = len(weight_places(widest))
    return Periphery(
        slices=columns,
        outputs=array.columns // columns,
        rows=array.active_rows,
        input_bits=arch.input_bits,
        digit_bits=array.digit_bits,
        weight_bits=arch.weight_bits,
        analog=array.kind == "analog",
        converter_bits=array.adc.bits if array.adc is not None else 0,
    )
