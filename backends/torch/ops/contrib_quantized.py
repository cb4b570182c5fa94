"""Operators of com.microsoft: products with integer weights, scaled to real numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.backends.torch.ops.integer import centred, per_row, product_of_integers, sum_type
from netwright.backends.torch.ops.quantized import rounded_by_range
from netwright.backends.torch.ops.recurrent import LstmStep
from netwright.backends.torch.ops.recurrent_activations import activations_of
from netwright.backends.torch.ops.recurrent_layer import Step, arranged, laid_out, stepped
from netwright.backends.torch.ops.rounding import CODES, at_least_single, encoded
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import UnsupportedModelError
from netwright.ir.schemas import CONTRIB_DOMAIN

# ---- weights of a few bits -----------------------------------------------------------------------------------------


def unpacked(x: Tensor, bits: int) -> Tensor:
    """Numbers of 2, 4 or 8 bits out of bytes, the low bits first: [..., n] → [..., n · 8 / bits]."""
    if bits == 8:
        return x
    shifts = torch.arange(0, 8, bits, device=x.device, dtype=torch.uint8)
    return ((x.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)).flatten(-2)


@torch_op("MatMulNBits", domain=CONTRIB_DOMAIN)
def matmul_nbits(
    a: Tensor,
    b: Tensor,
    scales: Tensor,
    zero_points: Tensor | None = None,
    g_idx: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    K: int,
    N: int,
    block_size: int,
    bits: int = 4,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Tensor:
    """`A Wᵀ + bias`, W [N, K] in blocks along K of a few bits: `W = (q − zero_point) · scale`.

    Gradients reach the scales; the integers are packed, and so are not trained.

    Args:
        a: [..., K].
        b: packed integers [N, blocks, block_size · bits / 8].
        scales: [N, blocks], or in one row.
        zero_points: packed as b along the blocks, or of a's type and not packed; the middle of the range by default.
        g_idx: the block of each index of K, where they do not follow each other.
        bias: [N].
        K: length of the sums.
        N: number of outputs.
        block_size: weights that share a scale.
        bits: 2, 4 or 8.
        accuracy_level: how coarsely a runtime may compute; not needed.
        weight_prepacked: a layout of b for one kind of device.

    Raises:
        UnsupportedModelError: b is in such a layout.
    """
    if weight_prepacked:
        raise UnsupportedModelError("MatMulNBits with prepacked weights can only be read by the device they were packed for.")
    blocks = (K + block_size - 1) // block_size
    scale = scales.reshape(N, blocks)
    zero = _zero_points(zero_points, scale, bits)
    numbers = unpacked(b.reshape(N, blocks, -1), bits)[..., :block_size].to(scale.dtype)
    if g_idx is None:
        weight = ((numbers - zero.unsqueeze(-1)) * scale.unsqueeze(-1)).flatten(1)[:, :K]
    else:
        places = g_idx.long()
        weight = (numbers.flatten(1)[:, :K] - zero.expand(N, blocks)[:, places]) * scale[:, places]
    return F.linear(a, weight.to(a.dtype), bias)


def _zero_points(zero_points: Tensor | None, scale: Tensor, bits: int) -> Tensor:
    """One zero point a block [N, blocks], or one for all [1, 1], in the scale's type."""
    if zero_points is None:
        return torch.full((1, 1), float(1 << (bits - 1)), dtype=scale.dtype, device=scale.device)
    if zero_points.is_floating_point():
        return zero_points.reshape(scale.shape).to(scale.dtype)
    return unpacked(zero_points.reshape(scale.shape[0], -1), bits)[:, : scale.shape[1]].to(scale.dtype)


@torch_op("GatherBlockQuantized", domain=CONTRIB_DOMAIN)
def gather_block_quantized(
    data: Tensor,
    indices: Tensor,
    scales: Tensor,
    zero_points: Tensor | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
) -> Tensor:
    """Rows of a table in blocks of a few bits, as real numbers: `(q − zero_point) · scale`.

    Args:
        data: the table; bytes hold 8 / bits elements of the last axis, unless it comes with one element each.
        indices: any shape; negative ones count from the end.
        scales: as the table, one a block along `quantize_axis`.
        zero_points: as scales, packed as data; by default the middle of the range where data is packed, else 0.
        bits: 2, 4 or 8.
        block_size: elements that share a scale.
        gather_axis: the axis that is indexed.
        quantize_axis: the axis of the blocks.
    """
    axis, along = gather_axis % data.dim(), quantize_axis % data.dim()
    width = data.shape[along]
    packed = data.dtype == torch.uint8 and (bits == 8 or -(-width // block_size) != scales.shape[along] or width < block_size)
    middle = float(1 << (bits - 1)) if packed else 0.0
    places = torch.where(indices < 0, indices + data.shape[axis], indices)
    rows = _gathered(data, places, axis)
    if packed:
        rows = unpacked(rows, bits)
    scale = _gathered(scales, places, axis)
    along = along if along < axis else along + indices.dim() - 1
    spread = _repeated(scale, block_size, along, rows.shape[along])
    if zero_points is None:
        return (rows.to(scale.dtype) - middle) * spread
    whole = unpacked(zero_points, bits) if packed else zero_points
    zero = _gathered(whole.narrow(-1, 0, scales.shape[-1]), places, axis).to(scale.dtype)
    return (rows.to(scale.dtype) - _repeated(zero, block_size, along, rows.shape[along])) * spread


def _gathered(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    found = x.index_select(axis, indices.reshape(-1))
    return found.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _repeated(x: Tensor, count: int, axis: int, size: int) -> Tensor:
    return x.repeat_interleave(count, dim=axis).narrow(axis, 0, size)


# ---- weights of 8 bits ---------------------------------------------------------------------------------------------


@torch_op("MatMulIntegerToFloat", domain=CONTRIB_DOMAIN, carries=("a", "b", "a_zero_point", "b_zero_point"))
def matmul_integer_to_float(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero_point: Tensor | None = None,
    b_zero_point: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """`(a − a_zero_point) (b − b_zero_point) · a_scale · b_scale + bias`; see MatMulInteger."""
    total = product_of_integers(a, b, a_zero_point, b_zero_point, carried=_carries(a, b)).to(at_least_single(a_scale.dtype))
    y = (total * (per_row(a_scale, a) * b_scale)).to(a_scale.dtype)
    return y if bias is None else y + bias


def _carries(*operands: Tensor) -> bool:
    return any(one.is_floating_point() for one in operands)


@torch_op("DynamicQuantizeMatMul", domain=CONTRIB_DOMAIN, carries=("b", "b_zero_point"))
def dynamic_quantize_matmul(
    a: Tensor, b: Tensor, b_scale: Tensor, b_zero_point: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """`A B + bias`, A rounded to 8 bits by its own range, B integers with a scale (and one a column, perhaps).

    Gradients pass straight through the rounding of A.

    Args:
        a: [..., M, K].
        b: integers [K, N], or floats that carry them.
        b_scale: one number, or one a column [N].
        b_zero_point: as b_scale.
        bias: [N].
    """
    y = _rounded_product(a, b, b_scale, b_zero_point)
    return y if bias is None else y + bias


def _rounded_product(a: Tensor, b: Tensor, b_scale: Tensor, b_zero_point: Tensor | None) -> Tensor:
    """`round(a) b` in real numbers, a rounded to 8 bits by its own range."""
    integers, scale, zero = rounded_by_range(a)
    numbers = integers - zero
    work = (
        a.dtype
        if a.requires_grad or b.is_floating_point()
        else torch.promote_types(a.dtype, sum_type(b, b, products=a.shape[-1], carried=False))
    )
    product = torch.matmul(numbers.to(work), centred(b, b_zero_point, work)).to(a.dtype)
    return product * (scale * b_scale)


@torch_op("DynamicQuantizeLSTM", domain=CONTRIB_DOMAIN, carries=("w", "r"), frozen=("sequence_lens", "initial_h", "initial_c"))
def dynamic_quantize_lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    sequence_lens: Tensor | None,
    initial_h: Tensor | None,
    initial_c: Tensor | None,
    p: Tensor | None,
    w_scale: Tensor,
    w_zero_point: Tensor,
    r_scale: Tensor,
    r_zero_point: Tensor,
    *,
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    activations: tuple[str, ...] = (),
    clip: float = 0.0,
    direction: str = "forward",
    hidden_size: int = 0,
    input_forget: int = 0,
) -> tuple[Tensor, ...]:
    """An LSTM whose weights are integers, the input rounded to 8 bits by its own range, the hidden state so at each step.

    Args:
        x: [T, B, I].
        w: integers [directions, I, 4H], gates i, o, f, c.
        r: integers [directions, H, 4H].
        b: [directions, 8H].
        sequence_lens: [B].
        initial_h: [directions, B, H].
        initial_c: [directions, B, H].
        p: peepholes [directions, 3H], gates i, o, f.
        w_scale: [directions], or [directions, 4H].
        w_zero_point: as w_scale.
        r_scale: as w_scale.
        r_zero_point: as w_scale.
        activation_alpha: taken in turn by the activations that have an alpha.
        activation_beta: likewise.
        activations: f, g and h for each direction; Sigmoid, Tanh, Tanh by default.
        clip: see LSTM.
        direction: `forward`, `reverse` or `bidirectional`.
        hidden_size: H, as r has it.
        input_forget: the forget gate is 1 − i.

    Returns:
        Y [T, directions, B, H], Y_h and Y_c [directions, B, H].
    """
    states = r.new_empty((r.shape[0], 0, r.shape[1]))  # carries H, which R has in another place than LSTM's
    layer = arranged(x, w, states, b, sequence_lens, (initial_h, initial_c), direction, 0)
    functions = activations_of(activations or ("Sigmoid", "Tanh", "Tanh") * len(layer.backward), activation_alpha, activation_beta)
    steps: list[tuple[Tensor, Step]] = []
    for index in range(len(layer.backward)):
        f, g, h = functions[3 * index : 3 * index + 3]
        given = _rounded_product(x, w[index], w_scale[index], w_zero_point[index])
        biases = layer.biases(index)
        recur = Recurrence(r[index], r_scale[index], r_zero_point[index])
        step = LstmStep(recur, f, g, h, None if p is None else p[index], clip, bool(input_forget))
        steps.append((given if biases is None else given + (biases[0] + biases[1]), step))
    return laid_out(*stepped(layer, steps), 0)


class Recurrence:
    """What a hidden state, rounded to 8 bits by its own range, contributes to the gates.

    Args:
        weight: integers [H, 4H].
        scale: one number, or [4H].
        zero_point: as scale.
    """

    def __init__(self, weight: Tensor, scale: Tensor, zero_point: Tensor) -> None:
        self.weight, self.scale, self.zero_point = weight, scale, zero_point

    def __call__(self, hidden: Tensor) -> Tensor:
        """[B, H] → [B, 4H]."""
        return _rounded_product(hidden, self.weight, self.scale, self.zero_point)


@torch_op("QGemm", domain=CONTRIB_DOMAIN, carries=("a", "a_zero_point", "b", "b_zero_point", "c"))
def qgemm(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero_point: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    result: torch.dtype = torch.uint8,
    carried: bool = False,
) -> Tensor:
    """`alpha · a_scale · b_scale · (A B + C)`, quantized where there is a scale for the result.

    Args:
        a: integers [M, K], or transposed; or floats that carry them.
        a_scale: one number.
        a_zero_point: one number.
        b: integers [K, N], or transposed.
        b_scale: one number, or one a column [N].
        b_zero_point: as b_scale.
        c: integers that broadcast to [M, N], in steps of a_scale · b_scale.
        y_scale: one number.
        y_zero_point: one number.
        alpha: factor.
        transA: a comes transposed.
        transB: b comes transposed.
        result: type of the result.
        carried: integers are to be floats, through which gradients pass.
    """
    left, right = a.t() if transA else a, b.t() if transB else b
    total = product_of_integers(left, right, a_zero_point.reshape(()), b_zero_point, carried=_carries(a, b))
    if c is not None:
        total = (total if c.is_floating_point() else total.double()) + c.to(total.dtype if c.is_floating_point() else torch.float64)
    y = total.to(a_scale.dtype) * (alpha * a_scale.reshape(()) * b_scale)
    return y if y_scale is None else encoded(y / y_scale, y_zero_point, CODES[result], carried=carried)
