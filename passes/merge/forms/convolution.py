"""Convolutions and transposed ones in any number of spatial dimensions, and when two of them are one.

Along one axis, y₁[p] = Σ k₁[a] x[s₁p + d₁a − l₁] followed by y₂[q] = Σ k₂[b] y₁[s₂q + d₂b − l₂], zeros outside. One of the two kernels must
have a single tap there:

- the first: y₁ is x at every s₁-th place, and zero exactly where x is, so that stride s₁s₂, dilation s₁d₂ and padding s₁l₂ + l₁ give the
  same outputs, as many of them;
- the second, without padding: it picks every s₂-th of y₁. Stride s₁s₂, the rest is the first's.

Two kernels of several taps would make a third that is larger than both, and where the second pads, none. Transposed convolutions compose
where along each axis one of the two does nothing (one tap, no stride, no padding). Groups g₁ and g₂ leave gcd(g₁, g₂).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import onnx_ir

from netwright.ir.editor import AttributeValue
from netwright.ir.maps import Merge, Permute, Reshape, ValueMap, join
from netwright.ir.opinfo import int_attr, ints_attr, str_attr
from netwright.passes.merge.forms.base import Form


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution: taps, stride, dilation, padding before and after, and of a transposed one output_padding."""

    taps: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    extra: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing happens along it."""
        return self.taps == 1 and self.stride == 1 and not (self.before or self.after or self.extra)

    def then(self, other: Axis) -> Axis | None:
        """Of a convolution after this one; None where no convolution does both."""
        if self.taps == 1:
            dilation = self.stride * other.dilation if other.taps > 1 else 1
            before, after = self.stride * other.before + self.before, self.stride * other.after + self.after
            return Axis(other.taps, self.stride * other.stride, dilation, before, after)
        if other.taps == 1 and not (other.before or other.after):
            return replace(self, stride=self.stride * other.stride)
        return None


@dataclass(frozen=True, slots=True)
class Convolution(Form):
    """A Conv or ConvTranspose.

    Attributes:
        weight: shape of the weight: [outputs, inputs / groups, *kernel], of a transposed one [inputs, outputs / groups, *kernel].
        axes: the spatial ones.
        groups: of channels.
        transposed: whether it is a ConvTranspose.
        kept: attributes that decide the geometry by the input's size (auto_pad, output_shape) and stay as they are.
    """

    weight: tuple[int, ...]
    axes: tuple[Axis, ...]
    groups: int = 1
    transposed: bool = False
    kept: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])

    @classmethod
    def of(cls, node: onnx_ir.Node, weight: tuple[int, ...]) -> Convolution:
        """Of a Conv or ConvTranspose with a weight of this shape."""
        kernel = weight[2:]
        count = len(kernel)
        ones, zeros = (1,) * count, (0,) * count
        strides, dilations = ints_attr(node, "strides", ones), ints_attr(node, "dilations", ones)
        auto, pads = str_attr(node, "auto_pad", "NOTSET"), ints_attr(node, "pads", zeros + zeros)
        extra = ints_attr(node, "output_padding", zeros)
        by_size = auto.startswith("SAME") and any(tap != 1 or stride != 1 for tap, stride in zip(kernel, strides, strict=True))
        if auto != "NOTSET":
            pads = zeros + zeros
        axes = tuple(map(Axis, kernel, strides, dilations, pads[:count], pads[count:], extra))
        kept: dict[str, AttributeValue] = {}
        if by_size or "output_shape" in node.attributes:
            kept = {name: node.attributes[name] for name in ("auto_pad", "output_shape", "pads") if name in node.attributes}
        return cls(weight, axes, int_attr(node, "group", 1), node.op_type == "ConvTranspose", kept)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return self.weight

    @property
    def outputs(self) -> int:
        """Of all groups."""
        return self.weight[1] * self.groups if self.transposed else self.weight[0]

    @property
    def inputs(self) -> int:
        """Of all groups."""
        return self.weight[0] if self.transposed else self.weight[1] * self.groups

    @property
    def channel_axis(self) -> int:
        """Channels come after samples."""
        return 1

    @property
    def idle(self) -> bool:
        """Whether only channels are mixed, place by place."""
        return not self.kept and all(axis.idle for axis in self.axes)

    @property
    def spreads(self) -> str:
        """Padding has no bias yet; of a transposed convolution, outputs see different numbers of inputs."""
        if self.idle:
            return ""
        if self.transposed:
            return "the transposed convolution after it adds up different numbers of it at different places"
        padded = bool(self.kept) or any(axis.before or axis.after for axis in self.axes)
        return "the convolution after it pads with zeros, where there would be no bias" if padded else ""

    def places(self, before: float, after: float) -> float:
        """Those of the output; of a transposed one, of the input."""
        return before if self.transposed else after

    def growth(self) -> float:
        """By the strides."""
        strides = math.prod(axis.stride for axis in self.axes)
        return float(strides) if self.transposed else 1.0 / strides

    def then(self, other: Form) -> Form | str:
        """One kernel for both."""
        if not isinstance(other, Convolution) or len(other.axes) != len(self.axes):
            return "a product and a convolution lay their channels out differently"
        if self.outputs != other.inputs:
            return f"the first gives {self.outputs} channels, the second takes {other.inputs}"
        if self.transposed != other.transposed and not (self.idle or other.idle):
            return "one is a convolution and one a transposed one, and both reach over space"
        if (self.kept and not other.idle) or (other.kept and not self.idle):
            return "auto_pad or output_shape lets the input's size decide on the padding"
        transposed = self.transposed if other.idle else other.transposed
        axes = self._axes(other, transposed)
        if isinstance(axes, str):
            return axes
        groups, kernel = math.gcd(self.groups, other.groups), tuple(axis.taps for axis in axes)
        channels = (self.inputs, other.outputs // groups) if transposed else (other.outputs, self.inputs // groups)
        return Convolution((*channels, *kernel), axes, groups, transposed, self.kept or other.kept)

    def _axes(self, other: Convolution, transposed: bool) -> tuple[Axis, ...] | str:
        if self.idle or other.idle:
            return self.axes if other.idle else other.axes
        made: list[Axis] = []
        for number, (first, second) in enumerate(zip(self.axes, other.axes, strict=True)):
            both = (second if first.idle else first if second.idle else None) if transposed else first.then(second)
            if both is None:
                return f"along spatial axis {number} {_conflict(first, second, transposed)}"
            made.append(both)
        return tuple(made)

    def product(self, numbers: np.ndarray, other: Form, others: np.ndarray) -> np.ndarray:
        """Summed over the channels between, group by group."""
        second, both = cast("Convolution", other), cast("Convolution", self.then(other))
        groups, count = both.groups, len(self.axes)
        u, v = second.blocks(others, groups), self.blocks(numbers, groups)
        u = np.moveaxis(u, 2, -1)  # [groups, outputs, *taps of the second, between]
        product = u.reshape(groups, -1, u.shape[-1]) @ v.reshape(groups, v.shape[1], -1)
        apart = product.reshape(*u.shape[:-1], *v.shape[2:])  # [groups, outputs, *second's taps, inputs, *first's taps]
        pairs = [axis for place in range(count) for axis in (2 + place, 3 + count + place)]
        merged = apart.transpose(0, 1, 2 + count, *pairs).reshape(groups, u.shape[1], v.shape[2], *both.weight[2:])
        if both.transposed:
            return np.swapaxes(merged, 1, 2).reshape(both.weight)
        return merged.reshape(both.weight)

    def blocks(self, numbers: np.ndarray, groups: int) -> np.ndarray:
        """The kernel as [groups, outputs / groups, inputs / groups, *kernel] for a divisor of its groups, zeros between finer ones."""
        own, kernel = self.groups, self.weight[2:]
        fine = numbers.reshape(own, self.weight[0] // own, self.weight[1], *kernel)
        fine = np.swapaxes(fine, 1, 2) if self.transposed else fine
        each, (outputs, inputs) = own // groups, fine.shape[1:3]
        coarse = np.zeros((groups, each, outputs, each, inputs, *kernel))
        for part in range(each):
            coarse[:, part, :, part] = fine[part::each]
        return coarse.reshape(groups, each * outputs, each * inputs, *kernel)

    def push(self, bias: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Summed over taps."""
        blocks = self.blocks(numbers, self.groups)
        matrices = blocks.reshape(*blocks.shape[:3], -1).sum(axis=-1)
        return (matrices @ bias.reshape(self.groups, -1, 1)).reshape(-1)

    def product_map(self, other: Form) -> ValueMap | None:
        """Kernels as matrices, their product, and back; of groups and transposed ones, none."""
        second = cast("Convolution", other)
        if self.transposed or second.transposed or self.groups > 1 or second.groups > 1:
            return None
        (out, between, *b), (_, inputs, *a), count = second.weight, self.weight, len(self.axes)
        last = Permute((0, *range(2, 2 + count), 1)).then(Reshape((out * math.prod(b), between), (out, *b, between)))
        first = Reshape((between, inputs * math.prod(a)), self.weight)
        pairs = [axis for place in range(count) for axis in (1 + place, 2 + count + place)]
        apart = join(Merge(), (last, first)).then(Reshape((out, *b, inputs, *a), (out * math.prod(b), inputs * math.prod(a))))
        shape = (out, inputs, *(size for pair in zip(b, a, strict=True) for size in pair))
        kernel = tuple(x * y for x, y in zip(a, b, strict=True))
        return apart.then(Permute((0, 1 + count, *pairs))).then(Reshape((out, inputs, *kernel), shape))

    def attributes(self) -> dict[str, AttributeValue]:
        """Those of a node of this form."""
        found: dict[str, AttributeValue] = {
            "kernel_shape": self.weight[2:],
            "strides": [axis.stride for axis in self.axes],
            "dilations": [axis.dilation for axis in self.axes],
            "group": self.groups,
        }
        if any(axis.extra for axis in self.axes):
            found["output_padding"] = [axis.extra for axis in self.axes]
        if self.kept:
            return {**found, **self.kept}
        return {**found, "pads": [*(axis.before for axis in self.axes), *(axis.after for axis in self.axes)]}


def _conflict(first: Axis, second: Axis, transposed: bool) -> str:
    if transposed:
        return "both transposed convolutions have taps, strides or padding"
    if second.taps == 1:
        return f"the second pads by {max(second.before, second.after)} what the first, of {first.taps} taps, has made"
    return f"both kernels have several taps, {first.taps} and {second.taps}"
