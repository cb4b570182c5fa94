"""Layers whose patches are too large, or whose output is no plain sum: the input's channels are what is wanted back.

Each old input channel is fitted by those that are left, x_old ≈ (S + ΔA) x, S: [old channels, channels] the choice that removal made. The
weight absorbs the mixing: W' = W_old (S + ΔA) at every tap and gate. Errors count by what the weight makes of them: eᵀ (W_oldᵀ W_old) e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.program import array
from netwright.passes.refit.bias import BiasPlace
from netwright.passes.refit.site import Found, Site
from netwright.passes.refit.solve import Constant


@dataclass(frozen=True, slots=True, eq=False)
class MixSite(Site):
    """A large Conv, a ConvTranspose, or the input or state weight of a recurrent layer.

    Attributes:
        weight: in the pruned program; `old_weight`: in the program before.
        in_axis: of the weight, along which input channels lie.
        out_axis: along which outputs (gates of units) lie.
        data: name of what it multiplies, in the pruned program; `old_data`: before.
        axis: of the data, along which channels lie.
        kept: the old channels that are left.
        kept_outputs: the old outputs that are left.
        direction: of a recurrent layer's states [time, directions, batch, units], whose directions are solved apart.
        bias: of a Conv.
    """

    weight: onnx_ir.Value
    old_weight: onnx_ir.Value
    in_axis: int
    out_axis: int
    data: str
    old_data: str
    axis: int
    kept: np.ndarray
    kept_outputs: np.ndarray
    states: bool = False
    bias: BiasPlace | None = None

    @property
    def wanted_old(self) -> tuple[str, ...]:
        """The data."""
        return (self.old_data,)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The data."""
        return (self.data,)

    @property
    def blocks(self) -> int:
        """Directions, of states."""
        return _constant(self.weight).shape[0] if self.states else 1

    @property
    def features(self) -> int:
        """Channels that are left."""
        return len(self.kept)

    @property
    def targets(self) -> int:
        """Channels before."""
        return _constant(self.old_weight).shape[self.in_axis]

    @property
    def constant(self) -> Constant:
        """The bias; of a transposed convolution none, since its outputs do not all see the same taps."""
        return "none" if self.node.op_type == "ConvTranspose" else "free"

    def places(self, old: Found) -> int:
        """Positions of the data."""
        return self._last(old[self.old_data])[0].shape[0]

    def target(self, old: Found, chosen: np.ndarray) -> np.ndarray:
        """All old channels."""
        return self._last(old[self.old_data])[:, chosen]

    def rows(self, found: Found, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The channels that are left, and the same in their old places."""
        x = self._last(found[self.data])[:, chosen]
        placed = np.zeros((*x.shape[:2], self.targets), x.dtype)
        placed[..., self.kept] = x
        return x, placed

    def metric(self, block: int) -> np.ndarray:
        """WᵀW of the old weight, over taps and the outputs that are left."""
        flat = self._flat(block)
        return flat @ flat.T

    def apply(self, editor: Editor, deltas: Sequence[np.ndarray], shifts: Sequence[np.ndarray]) -> None:
        """W + W_old ΔA; the bias takes what the constant becomes."""
        weight = _constant(self.weight)
        made = np.moveaxis(weight.astype(np.float64), self.in_axis, 0)  # [channels, ...]
        turned = np.array(made)
        constants: list[np.ndarray] = []
        for block, (delta, shift) in enumerate(zip(deltas, shifts, strict=True)):
            old = self._old(block)  # [old channels, ...]
            added = np.tensordot(delta, old, axes=(0, 0))
            constants.append(np.tensordot(shift, old, axes=(0, 0)))
            if self.states:
                turned[:, block] += added[:, 0]
            else:
                turned += added
        editor.set_constant(self.weight, np.ascontiguousarray(np.moveaxis(turned, 0, self.in_axis).astype(weight.dtype)))
        self._add_constant(editor, constants)

    def _add_constant(self, editor: Editor, constants: Sequence[np.ndarray]) -> None:
        if self.node.op_type == "ConvTranspose":
            return
        if self.bias is not None:  # each constant: the weight's shape without its input axis, outputs first, then taps
            self.bias.add(editor, constants[0].reshape(constants[0].shape[0], -1).sum(axis=1))
            return
        shift = np.concatenate(constants) if self.states else constants[0]  # [directions, gates · units]
        value = self.node.inputs[3] if len(self.node.inputs) > 3 else None
        known = array(value)
        if value is not None and known is None:
            return
        width = shift.shape[1]
        base = np.zeros((shift.shape[0], 2 * width), _constant(self.weight).dtype) if known is None else np.array(known)
        half = slice(width, None) if self.states else slice(width)  # biases of inputs, then of states
        base[:, half] += shift.astype(base.dtype)
        if value is not None and value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
            editor.set_constant(value, base)
            return
        if len(self.node.inputs) < 4:
            editor.resize_inputs(self.node, 4)
        hint = f"{self.name}.bias" if value is None else value.name or "bias"
        editor.set_input(self.node, 3, editor.at(self.node).constant(base, hint))

    def _last(self, x: np.ndarray) -> np.ndarray:
        """[blocks, places, channels]."""
        if self.states:
            return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1, x.shape[-1])
        return np.moveaxis(x, self.axis, -1).reshape(1, -1, x.shape[self.axis])

    def _old(self, block: int) -> np.ndarray:
        """The old weight with the outputs that are left, [old channels, ...]; of states, of one direction."""
        weight = np.take(_constant(self.old_weight).astype(np.float64), self.kept_outputs, axis=self.out_axis)
        return np.moveaxis(weight[block : block + 1] if self.states else weight, self.in_axis, 0)

    def _flat(self, block: int) -> np.ndarray:
        return self._old(block).reshape(self.targets, -1)


def _constant(value: onnx_ir.Value) -> np.ndarray:
    data = array(value)
    assert data is not None, "found by its constant weight"
    return data
