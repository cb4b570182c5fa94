"""LSTM, GRU and RNN: every direction, layout, activation and option, all differentiable.

What torch's own kernels compute goes through them, gates put in their order so that gradients reach W, R and B; peepholes,
clipping, other activations and a reset before the product run step by step.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from netwright.backends.torch.ops.recurrent_activations import Activation, activations_of
from netwright.backends.torch.ops.recurrent_layer import Layer, States, Step, arranged, fused, laid_out, stepped
from netwright.backends.torch.table import torch_op

_LSTM_ORDER = (0, 2, 3, 1)
"""ONNX's i, o, f, c as torch's i, f, g, o."""
_GRU_ORDER = (1, 0, 2)
"""ONNX's z, r, h as torch's r, z, n; in both, z is the part of the old state that stays."""


@torch_op("LSTM", frozen=("sequence_lens", "initial_h", "initial_c"))
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    input_forget: int = 0,
    layout: int = 0,
    wanted: tuple[bool, ...] = (),
) -> tuple[Tensor, ...]:
    """A long short-term memory (Hochreiter and Schmidhuber 1997, peepholes of Gers and Schmidhuber 2000).

    Args:
        x: [T, B, I]; in layout 1, [B, T, I].
        w: [directions, 4H, I], gates i, o, f, c.
        r: [directions, 4H, H].
        b: [directions, 8H].
        sequence_lens: [B].
        initial_h: [directions, B, H]; in layout 1, [B, directions, H].
        initial_c: as initial_h.
        p: peepholes [directions, 3H], gates i, o, f.
        activation_alpha: taken in turn by the activations that have an alpha.
        activation_beta: likewise.
        activations: f, g and h for each direction; Sigmoid, Tanh, Tanh by default.
        clip: bound of what enters f and g; 0 for none. ONNX Runtime does not bound what enters h, and so neither does this.
        direction: `forward`, `reverse` or `bidirectional`.
        hidden_size: H, as R has it.
        input_forget: the forget gate is 1 − i.
        layout: 1 for batch first.
        wanted: which outputs are read.

    Returns:
        Y [T, directions, B, H], Y_h and Y_c [directions, B, H]; in layout 1, Y [B, T, directions, H] and [B, directions, H].
    """
    layer = arranged(x, w, r, b, sequence_lens, (initial_h, initial_c), direction, layout)
    default = _lowered(activations) in ((), ("sigmoid", "tanh", "tanh") * len(layer.backward))
    cell_known = sequence_lens is None or (len(wanted) > 0 and not any(wanted[2:]))
    if default and p is None and clip == 0 and not input_forget and cell_known:
        return laid_out(*fused(layer, "lstm", _LSTM_ORDER), layout)
    functions = activations_of(activations or ("Sigmoid", "Tanh", "Tanh") * len(layer.backward), activation_alpha, activation_beta)
    steps: list[tuple[Tensor, Step]] = []
    for index in range(len(layer.backward)):
        f, g, h = functions[3 * index : 3 * index + 3]
        recur = partial(torch.nn.functional.linear, weight=layer.r[index])
        peepholes = None if p is None else p[index]
        steps.append((_contributed(layer, index), LstmStep(recur, f, g, h, peepholes, clip, bool(input_forget))))
    return laid_out(*stepped(layer, steps), layout)


class LstmStep:
    """One step of an LSTM, gates in ONNX's order i, o, f, c.

    Args:
        recur: what the hidden state contributes to the gates: [B, H] → [B, 4H].
        f: activation of the gates.
        g: that of the cell's input.
        h: that of the cell's state.
        peepholes: [3H], gates i, o, f.
        clip: bound of what enters f and g; 0 for none.
        coupled: the forget gate is 1 − i.
    """

    def __init__(
        self, recur: Activation, f: Activation, g: Activation, h: Activation, peepholes: Tensor | None, clip: float, coupled: bool
    ) -> None:
        self.recur, self.f, self.g, self.h = recur, f, g, h
        self.peepholes = (None, None, None) if peepholes is None else peepholes.chunk(3)
        self.clip, self.coupled = clip, coupled

    def __call__(self, given: Tensor, states: States) -> States:
        """From the input's contribution [B, 4H] and (H, C) the next (H, C)."""
        hidden, cell = states
        i, o, f, c = (given + self.recur(hidden)).chunk(4, dim=-1)
        for_i, for_o, for_f = self.peepholes
        i = self.f(clipped(_peeped(i, for_i, cell), self.clip))
        f = 1.0 - i if self.coupled else self.f(clipped(_peeped(f, for_f, cell), self.clip))
        cell = f * cell + i * self.g(clipped(c, self.clip))
        o = self.f(clipped(_peeped(o, for_o, cell), self.clip))
        return o * self.h(cell), cell


@torch_op("GRU", frozen=("sequence_lens", "initial_h"))
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """A gated recurrent unit (Cho et al., arXiv 1406.1078).

    Args:
        x: [T, B, I]; in layout 1, [B, T, I].
        w: [directions, 3H, I], gates z, r, h.
        r: [directions, 3H, H].
        b: [directions, 6H].
        sequence_lens: [B].
        initial_h: [directions, B, H]; in layout 1, [B, directions, H].
        activation_alpha: taken in turn by the activations that have an alpha.
        activation_beta: likewise.
        activations: f and g for each direction; Sigmoid, Tanh by default.
        clip: bound of what enters an activation; 0 for none.
        direction: `forward`, `reverse` or `bidirectional`.
        hidden_size: H, as R has it.
        layout: 1 for batch first.
        linear_before_reset: the reset gate multiplies the product (as in torch and cuDNN) rather than the state.

    Returns:
        Y [T, directions, B, H] and Y_h [directions, B, H]; in layout 1, [B, T, directions, H] and [B, directions, H].
    """
    layer = arranged(x, w, r, b, sequence_lens, (initial_h,), direction, layout)
    default = _lowered(activations) in ((), ("sigmoid", "tanh") * len(layer.backward))
    if default and clip == 0 and linear_before_reset:
        return laid_out(*fused(layer, "gru", _GRU_ORDER), layout)
    functions = activations_of(activations or ("Sigmoid", "Tanh") * len(layer.backward), activation_alpha, activation_beta)
    steps: list[tuple[Tensor, Step]] = []
    for index in range(len(layer.backward)):
        f, g = functions[2 * index : 2 * index + 2]
        biases = layer.biases(index)
        given = torch.nn.functional.linear(layer.x, layer.w[index], None if biases is None else biases[0])
        bias = None if biases is None else biases[1]
        steps.append((given, GruStep(layer.r[index], bias, f, g, clip, reset_after=bool(linear_before_reset))))
    return laid_out(*stepped(layer, steps), layout)


class GruStep:
    """One step of a GRU, gates in ONNX's order z, r, h.

    Args:
        weight: R of one direction [3H, H].
        bias: its bias [3H].
        f: activation of the gates.
        g: that of the new state.
        clip: bound of what enters an activation; 0 for none.
        reset_after: the reset gate multiplies the product rather than the state.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, f: Activation, g: Activation, clip: float, *, reset_after: bool) -> None:
        size = weight.shape[-1]
        self.for_gates, self.for_new = weight[: 2 * size], weight[2 * size :]
        self.gate_bias, self.new_bias = (None, None) if bias is None else (bias[: 2 * size], bias[2 * size :])
        self.f, self.g, self.clip, self.reset_after = f, g, clip, reset_after

    def __call__(self, given: Tensor, states: States) -> States:
        """From the input's contribution [B, 3H] and (H,) the next (H,)."""
        (hidden,) = states
        linear = torch.nn.functional.linear
        size = hidden.shape[-1]
        gates = self.f(clipped(given[..., : 2 * size] + linear(hidden, self.for_gates, self.gate_bias), self.clip))
        z, r = gates.chunk(2, dim=-1)
        product = r * linear(hidden, self.for_new, self.new_bias) if self.reset_after else linear(r * hidden, self.for_new, self.new_bias)
        new = self.g(clipped(given[..., 2 * size :] + product, self.clip))
        return ((1.0 - z) * new + z * hidden,)


@torch_op("RNN", frozen=("sequence_lens", "initial_h"))
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] = ("Tanh", "Tanh"),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """A simple recurrent layer, `H = f(x Wᵀ + H Rᵀ + b)`.

    Args:
        x: [T, B, I]; in layout 1, [B, T, I].
        w: [directions, H, I].
        r: [directions, H, H].
        b: [directions, 2H].
        sequence_lens: [B].
        initial_h: [directions, B, H]; in layout 1, [B, directions, H].
        activation_alpha: taken in turn by the activations that have an alpha.
        activation_beta: likewise.
        activations: f for each direction.
        clip: bound of what enters the activation; 0 for none.
        direction: `forward`, `reverse` or `bidirectional`.
        hidden_size: H, as R has it.
        layout: 1 for batch first.

    Returns:
        Y [T, directions, B, H] and Y_h [directions, B, H]; in layout 1, [B, T, directions, H] and [B, directions, H].
    """
    layer = arranged(x, w, r, b, sequence_lens, (initial_h,), direction, layout)
    names = activations[: len(layer.backward)]
    kinds = set(_lowered(names))
    if clip == 0 and len(kinds) == 1 and kinds <= {"tanh", "relu"}:
        return laid_out(*fused(layer, f"rnn_{names[0].lower()}", (0,)), layout)
    functions = activations_of(names, activation_alpha, activation_beta)
    steps: list[tuple[Tensor, Step]] = [
        (_contributed(layer, index), partial(_rnn_step, layer.r[index], functions[index], clip)) for index in range(len(layer.backward))
    ]
    return laid_out(*stepped(layer, steps), layout)


def _rnn_step(weight: Tensor, f: Activation, clip: float, given: Tensor, states: States) -> States:
    return (f(clipped(given + torch.nn.functional.linear(states[0], weight), clip)),)


# ---- shared ------------------------------------------------------------------------------------------------------


def clipped(x: Tensor, bound: float) -> Tensor:
    """A tensor within ±bound; as it is for a bound of 0."""
    return x.clamp(-bound, bound) if bound > 0 else x


def _contributed(layer: Layer, index: int) -> Tensor:
    """What the input contributes to the gates in a direction, both biases included: [T, B, gates·H]."""
    biases = layer.biases(index)
    return torch.nn.functional.linear(layer.x, layer.w[index], None if biases is None else biases[0] + biases[1])


def _peeped(gate: Tensor, weight: Tensor | None, cell: Tensor) -> Tensor:
    return gate if weight is None else gate + weight * cell


def _lowered(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
