"""Batch normalisation with fixed statistics goes into the linear operator before it, or, exactly, into the one after it."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor, can_replace
from netwright.ir.opinfo import float_attr, int_attr, ints_attr, str_attr
from netwright.ir.program import Program, constant
from netwright.ir.shapes import rank
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Rule
from netwright.passes.simplify.match import dims_of, fusion, only_reader, producer, reader, readers, split_constant
from netwright.passes.simplify.parameters import Linear, channel_numbers, linear, multiply, per_channel, refusal, scale, shift

_BEFORE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_AFTER = ("Conv", "Gemm", "MatMul")


@fusion("BatchNormalization", since=9)
def fold_batch_norm(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """`γ·(W x + b − μ)/√(σ² + ε) + β` is another linear operator: W scaled per output channel, b likewise and shifted.

    After anything else, the norm may still go into the linear operator that alone reads it, scaling W per input channel,
    as long as that one pads with no zeros (a padded zero would have to become the norm's shift).
    """
    if len(node.outputs) > 1 or int_attr(node, "training_mode", 0):
        return None
    constants = [constant(value) for value in node.inputs[1:5]]
    source = node.inputs[0]
    if source is None or any(tensor is None for tensor in constants):
        return Miss("its scale, bias, mean or variance is not constant", site_of(node))
    gamma, beta, mean, variance = (tensor.numpy().astype(np.float64) for tensor in constants if tensor is not None)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + float_attr(node, "epsilon", 1e-5))
    summand = beta - mean * factor
    if "Trainable" in program.properties:
        return Miss("the program is marked Trainable: every parameter stays reachable", site_of(node))
    if not (np.isfinite(factor).all() and np.isfinite(summand).all()):
        return Miss("its variance plus epsilon is not positive for every channel", site_of(node))
    return _backward(node, source, program, factor, summand) or _forward(node, program, factor, summand) or _standing(node, source)


def _standing(node: onnx_ir.Node, source: onnx_ir.Value) -> Miss:
    before = source.producer()
    after = only_reader(node.outputs[0])
    return Miss(
        f"it stands between {before.op_type if before is not None else 'an input'} and "
        f"{after.op_type if after is not None else 'several readers'}, neither of which takes it",
        site_of(node),
    )


def _backward(
    node: onnx_ir.Node, source: onnx_ir.Value, program: Program, factor: np.ndarray, summand: np.ndarray
) -> Rewrite | Miss | None:
    bias = producer(source, "Add")
    biased = split_constant(bias) if bias is not None else None
    start = biased[0] if biased is not None else source
    found = linear(start.producer(), program)
    if found is None or found.node.op_type not in _BEFORE or found.channels != factor.size:
        return None
    added = per_channel(biased[1], found) if biased is not None else np.zeros(factor.size)
    if added is None:
        return None
    if found.kind.channel == -1 and not _is_flat(found):
        return None
    for value in (source, start):
        if only_reader(value) is None:
            return Miss(f"into {found.node.op_type} %{start.name}: {readers(value)}", site_of(node))
    reason = refusal(found, program, factor)
    if reason:
        return Miss(f"into {found.node.op_type} %{start.name}: {reason}", site_of(node))
    total = added * factor + summand
    if not can_replace(node.outputs[0], start):
        return None

    def change(editor: Editor) -> None:
        scale(editor, found, factor)
        editor.at(node)
        if found.kind.bias is not None:
            shift(editor, found, total)
            editor.at(node).replace(node.outputs[0], start)
            return
        dtype = start.dtype.numpy() if start.dtype is not None else np.dtype(np.float32)
        constant_bias = editor.constant(total.astype(dtype), f"{node.outputs[0].name}.bias")
        editor.replace(node.outputs[0], editor.op("Add", [start, constant_bias], like=node.outputs[0]))

    return Rewrite.edit(site_of(node), f"batch norm into {found.node.op_type} %{start.name}", change, anchor=node)


def _is_flat(found: Linear) -> bool:
    """Whether a MatMul or Gemm has a two-dimensional output, so that its last axis is batch norm's channel axis."""
    return found.node.op_type == "Gemm" or rank(found.output) == 2


def _forward(node: onnx_ir.Node, program: Program, factor: np.ndarray, summand: np.ndarray) -> Rewrite | Miss | None:
    after = reader(node.outputs[0], *_AFTER)
    source = node.inputs[0]
    return None if after is None or source is None else into_following(node, source, after, factor, summand, program)


def into_following(
    node: onnx_ir.Node, source: onnx_ir.Value, after: onnx_ir.Node, factor: np.ndarray, summand: np.ndarray, program: Program
) -> Rewrite | Miss | None:
    """`W (s·x + t) + b` is `(W s) x + (b + W t)`: what scales and shifts a linear operator's input goes into that operator.

    Args:
        node: makes `s·x + t`, which only `after` reads.
        source: x.
        after: the linear operator.
        factor: s, one number per input channel.
        summand: t, likewise.
        program: where they are.
    """
    found, value = linear(after, program), node.outputs[0]
    if found is None or after.inputs[0] is not value:
        return None
    what = f"into the {after.op_type} after it, %{after.outputs[0].name}"
    if after.op_type == "Conv" and summand.any() and _pads(after):
        return Miss(f"{what}: that one pads with zeros", site_of(node))
    weight = constant(after.inputs[1])
    if weight is None or (after.op_type == "Gemm" and (int_attr(after, "transA", 0) or float_attr(after, "alpha", 1.0) != 1.0)):
        return None
    if after.op_type == "MatMul" and not _is_flat(found):
        return None
    groups = int_attr(after, "group", 1)
    rows, columns = _input_factor(found, factor, groups), _input_factor(found, summand, groups)
    if rows is None or columns is None:
        return None
    reason = refusal(found, program, factor)
    if reason:
        return Miss(f"{what}: {reason}", site_of(node))
    if found.kind.bias is None and summand.any():
        return Miss(f"{what}: that one has no bias", site_of(node))

    def change(editor: Editor) -> None:
        if summand.any():
            axes = tuple(axis for axis in range(len(found.shape)) if axis != found.axis)
            shift(editor, found, (weight.numpy().astype(np.float64) * columns).sum(axis=axes))
        if (factor != 1.0).any():
            multiply(editor, after, found.kind.weight, rows)
        editor.at(node).replace(value, source)

    return Rewrite.edit(site_of(node), what, change, anchor=node)


@fusion("Mul", "Add")
def fold_before_conv(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
    """A constant factor, or summand, on the way into a Conv goes into its weight, or bias."""
    after = reader(node.outputs[0], "Conv")
    split = split_constant(node) if after is not None else None
    found = linear(after, program) if split is not None else None
    if after is None or split is None or found is None:
        return None
    channels = found.shape[1] * int_attr(after, "group", 1)
    numbers = channel_numbers(split[1], channels, 1, len(found.shape))
    if numbers is None or not np.isfinite(numbers).all() or rank(split[0]) != len(found.shape):
        return None
    dims = dims_of(split[0])
    if dims is None or dims[1] != channels:
        return None
    if node.op_type == "Mul":
        return into_following(node, split[0], after, numbers, np.zeros(channels), program)
    return into_following(node, split[0], after, np.ones(channels), numbers, program)


def _pads(node: onnx_ir.Node) -> bool:
    return str_attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(ints_attr(node, "pads"))


def _input_factor(found: Linear, numbers: np.ndarray, groups: int) -> np.ndarray | None:
    """One number per input channel, shaped to be multiplied with the weight: a Conv's groups each see their own channels."""
    if found.node.op_type != "Conv":
        if found.shape[1 - found.axis] != numbers.size:
            return None
        return numbers.reshape((1, -1) if found.axis == 0 else (-1, 1))
    if found.shape[1] * groups != numbers.size or found.shape[0] % groups:
        return None
    per_group = np.repeat(numbers.reshape(groups, found.shape[1]), found.shape[0] // groups, axis=0)
    return per_group.reshape(found.shape[:2] + (1,) * (len(found.shape) - 2))


RULES: tuple[Rule, ...] = (fold_batch_norm, fold_before_conv)
