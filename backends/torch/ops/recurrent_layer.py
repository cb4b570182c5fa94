"""One recurrent layer, whatever its cell: through torch's own kernels where they compute it, else step by step.

Shapes throughout: x [T, B, I], W [directions, gates·H, I], R [directions, gates·H, H], biases [directions, 2·gates·H] (W's, then
R's), states [directions, B, H]. What lies beyond a sequence's length does not count: its outputs are zero, its states those
of its last step, and the reverse direction begins at that step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

States = tuple[Tensor, ...]
"""What a cell hands on: (H,) or (H, C), each [B, H] in a step and [directions, B, H] for a layer."""

Step = Callable[[Tensor, States], States]
"""One step: what the input contributes to the gates [B, gates·H], and the states before; the states after."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The operands of a recurrent operator, time first.

    Attributes:
        x: [T, B, I].
        w: [directions, gates·H, I].
        r: [directions, gates·H, H].
        b: [directions, 2·gates·H], or None.
        lengths: of each sequence [B], or None where all are whole.
        states: the initial ones.
        direction: `forward`, `reverse` or `bidirectional`.
    """

    x: Tensor
    w: Tensor
    r: Tensor
    b: Tensor | None
    lengths: Tensor | None
    states: States
    direction: str

    @property
    def backward(self) -> tuple[bool, ...]:
        """For each direction, whether it runs from the end."""
        return {"forward": (False,), "reverse": (True,)}.get(self.direction, (False, True))

    def biases(self, index: int) -> tuple[Tensor, Tensor] | None:
        """W's and R's biases in a direction, each [gates·H]."""
        if self.b is None:
            return None
        one, two = self.b[index].chunk(2)
        return one, two


def arranged(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    initial: tuple[Tensor | None, ...],
    direction: str,
    layout: int,
) -> Layer:
    """A layer from an operator's inputs: time first, absent initial states zero."""
    if layout:
        x = x.transpose(0, 1)
        initial = tuple(None if state is None else state.transpose(0, 1) for state in initial)
    zero = x.new_zeros((w.shape[0], x.shape[1], r.shape[-1]))
    return Layer(x, w, r, b, lengths, tuple(zero if state is None else state for state in initial), direction)


def laid_out(y: Tensor, states: States, layout: int) -> tuple[Tensor, ...]:
    """Y [T, directions, B, H] and the states as an operator returns them: in layout 1, batch first."""
    if not layout:
        return (y, *states)
    return (y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in states))


# ---- step by step ------------------------------------------------------------------------------------------------


def stepped(layer: Layer, steps: list[tuple[Tensor, Step]]) -> tuple[Tensor, States]:
    """Run a cell step by step.

    Args:
        layer: the operands.
        steps: for each direction, what the input contributes to the gates [T, B, gates·H], and the step.
    """
    ys: list[Tensor] = []
    lasts: list[States] = []
    for index, (backward, (given, step)) in enumerate(zip(layer.backward, steps, strict=True)):
        y, last = _stepped(given, step, tuple(state[index] for state in layer.states), layer.lengths, backward=backward)
        ys.append(y)
        lasts.append(last)
    return torch.stack(ys, dim=1), tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _stepped(given: Tensor, step: Step, states: States, lengths: Tensor | None, *, backward: bool) -> tuple[Tensor, States]:
    parts = given.unbind(0)
    outputs: list[Tensor] = []
    for time in reversed(range(len(parts))) if backward else range(len(parts)):
        after = step(parts[time], states)
        if lengths is None:
            states = after
            outputs.append(after[0])
            continue
        alive = (lengths > time).unsqueeze(-1)
        states = tuple(torch.where(alive, new, old) for new, old in zip(after, states, strict=True))
        outputs.append(torch.where(alive, after[0], 0.0))
    return torch.stack(outputs[::-1] if backward else outputs), states


# ---- torch's kernels ---------------------------------------------------------------------------------------------


def fused(layer: Layer, kernel: str, order: tuple[int, ...]) -> tuple[Tensor, States]:
    """Run a layer through a kernel of torch.

    With lengths, the reverse direction runs forward over sequences that are turned around in themselves, and the last state is
    taken from the outputs; so a kernel's cell state C is not that of the last step there.

    Args:
        layer: the operands.
        kernel: `lstm`, `gru`, `rnn_tanh` or `rnn_relu`.
        order: which gate of ONNX's comes where in torch's order.
    """
    weights = [_weights(layer, index, order) for index in range(len(layer.backward))]
    if layer.lengths is None:
        return _whole(layer, kernel, weights)
    ys: list[Tensor] = []
    lasts: list[States] = []
    for index, backward in enumerate(layer.backward):
        states = tuple(state[index : index + 1] for state in layer.states)
        x = turned_around(layer.x, layer.lengths) if backward else layer.x
        y, last = _run(kernel, x, states, weights[index], bidirectional=False)
        hidden = last_valid(y, layer.lengths, states[0][0])
        y = torch.where((torch.arange(y.shape[0], device=y.device).unsqueeze(-1) < layer.lengths).unsqueeze(-1), y, 0.0)
        ys.append(turned_around(y, layer.lengths) if backward else y)
        lasts.append((hidden, *(state[0] for state in last[1:])))
    return torch.stack(ys, dim=1), tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))


def turned_around(x: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence of x [T, B, F] in reverse, what lies beyond its length left in place."""
    time = torch.arange(x.shape[0], device=x.device).unsqueeze(-1)
    places = torch.where(time < lengths, lengths - 1 - time, time)
    return x.gather(0, places.unsqueeze(-1).expand(x.shape))


def last_valid(y: Tensor, lengths: Tensor, initial: Tensor) -> Tensor:
    """The outputs y [T, B, H] at each sequence's last step; the initial state for an empty one. [B, H]."""
    places = (lengths.long() - 1).clamp(min=0).reshape(1, -1, 1).expand(1, y.shape[1], y.shape[2])
    return torch.where((lengths > 0).unsqueeze(-1), y.gather(0, places).squeeze(0), initial)


def _whole(layer: Layer, kernel: str, weights: list[list[Tensor]]) -> tuple[Tensor, States]:
    only_backward = layer.backward == (True,)
    x = layer.x.flip(0) if only_backward else layer.x
    y, last = _run(kernel, x, layer.states, [tensor for one in weights for tensor in one], bidirectional=len(weights) == 2)
    y = y.flip(0) if only_backward else y
    return y.reshape((*y.shape[:2], len(weights), y.shape[2] // len(weights))).transpose(1, 2), last


def _weights(layer: Layer, index: int, order: tuple[int, ...]) -> list[Tensor]:
    """A direction's weights and biases as torch has them."""
    biases = layer.biases(index) or ()
    return [reordered(tensor, order) for tensor in (layer.w[index], layer.r[index], *biases)]


def reordered(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    """The gates, equal parts of the first axis, in another order."""
    if order == tuple(range(len(order))):
        return tensor
    parts = tensor.chunk(len(order))
    return torch.cat([parts[gate] for gate in order])


def _run(kernel: str, x: Tensor, states: States, weights: list[Tensor], *, bidirectional: bool) -> tuple[Tensor, States]:
    has_biases = len(weights) == (8 if bidirectional else 4)
    if kernel == "lstm":
        y, hidden, cell = torch.lstm(x, list(states), weights, has_biases, 1, 0.0, False, bidirectional, False)
        return y, (hidden, cell)
    function = {"gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[kernel]
    y, hidden = function(x, states[0], weights, has_biases, 1, 0.0, False, bidirectional, False)
    return y, (hidden,)
