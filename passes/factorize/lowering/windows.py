"""Geometry of a convolution, axis by axis, so that each stage of a chain can carry out that of its own axes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from netwright.ir.editor import AttributeValue
from netwright.ir.opinfo import ints_attr, str_attr
from netwright.ir.shapes import shape_of


@dataclass(frozen=True, slots=True)
class Geometry:
    """Of a Conv or ConvTranspose, in `len(kernel)` spatial axes.

    Attributes:
        kernel: taps along each.
        strides, dilations: along each.
        pads: before and after each.
        auto_pad: `SAME_UPPER` or `SAME_LOWER` where the size along each axis decides over its padding; `NOTSET` otherwise.
            Axes whose stride is one and whose kernel has one tap get none, so a stage may have it whichever axes are its own.
        output_padding: of transposed convolutions, along each.
        output_shape: likewise, where it is given; None otherwise.
        sizes: of the data along each; None where not known.
        transposed: whether it is a ConvTranspose's.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str
    output_padding: tuple[int, ...]
    output_shape: tuple[int, ...] | None
    sizes: tuple[int | None, ...]
    transposed: bool

    @classmethod
    def of(cls, node: onnx_ir.Node, kernel: tuple[int, ...]) -> Geometry:
        """Of a node whose weight has these taps."""
        count = len(kernel)
        ones, zeros = (1,) * count, (0,) * count
        auto = str_attr(node, "auto_pad", "NOTSET")
        given = ints_attr(node, "pads", zeros * 2) if auto == "NOTSET" else zeros * 2
        shape = shape_of(node.inputs[0])
        sizes = (None,) * count if shape is None else tuple(dim if isinstance(dim, int) else None for dim in shape[2:])
        return cls(
            kernel,
            ints_attr(node, "strides", ones),
            ints_attr(node, "dilations", ones),
            tuple(zip(given[:count], given[count:], strict=True)),
            auto if auto.startswith("SAME") else "NOTSET",
            ints_attr(node, "output_padding", zeros),
            ints_attr(node, "output_shape") or None,
            sizes,
            node.op_type == "ConvTranspose",
        )

    def matters(self, axis: int) -> bool:
        """Whether some stage has to carry out an axis: it is not left as it is."""
        plain = (self.kernel[axis], self.strides[axis], self.pads[axis], self.output_padding[axis]) == (1, 1, (0, 0), 0)
        return not plain or (self.output_shape is not None and self.output_shape[axis] != self.sizes[axis])

    def refusal(self) -> str | None:
        """Why padding cannot be told axis by axis; None where it can."""
        if self.output_shape is None:
            return None
        if len(self.output_shape) != len(self.kernel):
            return f"output_shape has {len(self.output_shape)} numbers for {len(self.kernel)} axes"
        if None in self.sizes:
            return "output_shape decides over its padding, and the size of its data is not known"
        totals = [self._total(axis) for axis in range(len(self.kernel))]
        return None if min(totals) >= 0 else f"output_shape {list(self.output_shape)} asks for a padding of {min(totals)}"

    def attributes(self, axes: tuple[int, ...], kernel: tuple[int, ...], groups: int) -> dict[str, AttributeValue]:
        """Attributes of a stage that carries out these axes and leaves the others as they are; defaults are left out."""
        count = range(len(kernel))
        found: dict[str, AttributeValue] = {"kernel_shape": list(kernel)}
        if groups != 1:
            found["group"] = groups
        strides = [self.strides[axis] if axis in axes else 1 for axis in count]
        dilations = [self.dilations[axis] if axis in axes else 1 for axis in count]
        if strides != [1] * len(kernel):
            found["strides"] = strides
        if dilations != [1] * len(kernel):
            found["dilations"] = dilations
        if axes and self.transposed and any(self.output_padding[axis] for axis in axes):
            found["output_padding"] = [self.output_padding[axis] if axis in axes else 0 for axis in count]
        if axes and self.auto_pad != "NOTSET" and self.output_shape is None:
            found["auto_pad"] = self.auto_pad
            return found
        pads = [self._padding(axis) if axis in axes else (0, 0) for axis in count]
        if any(before or after for before, after in pads):
            found["pads"] = [before for before, _ in pads] + [after for _, after in pads]
        return found

    def _padding(self, axis: int) -> tuple[int, int]:
        if self.output_shape is None:
            return self.pads[axis]
        total = self._total(axis)
        half = total // 2
        return (half, total - half) if self.auto_pad == "SAME_UPPER" else (total - half, half)

    def _total(self, axis: int) -> int:
        """The padding that an output_shape asks for along an axis, as ONNX has it for ConvTranspose."""
        size, shape = self.sizes[axis], self.output_shape
        assert size is not None
        assert shape is not None, "asked only where both are known"
        taps = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        return self.strides[axis] * (size - 1) + self.output_padding[axis] + taps - shape[axis]
