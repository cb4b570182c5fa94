"""Convolutions, transposed ones too: a chain of thinner ones, each with the stride, dilation and padding of its own axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Permute, Reshape, Same, ValueMap
from netwright.ir.program import array
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering.bias import add_behind, shifted_input
from netwright.passes.factorize.lowering.maps import TURN, Lineage, gone, lineage_of
from netwright.passes.factorize.lowering.store import dtype_of, folds, is_low_rank, keep, suffixes
from netwright.passes.factorize.lowering.windows import Geometry
from netwright.passes.factorize.sites.site import FactorSite, Reader
from netwright.passes.factorize.sites.weights import data_of, weight_of


def conv_refusal(site: FactorSite, factors: Factors) -> str | None:
    """Why convolutions cannot become this chain; None where they can."""
    if folds(factors):
        return "convolutions have no folded channels"
    transposed = site.kind == "deconv"
    channels = site.shape[0] if transposed else site.shape[1] * site.groups
    kernel = site.shape[2:]
    for number, stage in enumerate(factors.stages):
        if stage.array.ndim not in (2, site_rank := len(site.shape)):
            return f"stage {number} has {stage.array.ndim} axes, neither 2 nor {site_rank}"
        taken, made = _channels(stage)
        if taken != channels or taken % stage.groups or made % stage.groups:
            return f"stage {number} takes {taken} channels in {stage.groups} groups, there are {channels}"
        channels = made
        taps = stage.array.shape[2:] or (1,) * len(kernel)
        due = tuple(size if axis in stage.spatial else 1 for axis, size in enumerate(kernel))
        if taps != due:
            return f"stage {number} has a kernel of {list(taps)}, its axes {list(stage.spatial)} ask for {list(due)}"
        if stage.transposed and not transposed:
            return f"stage {number} is transposed, the convolution is not"
        if transposed and stage.array.ndim > 2 and stage.spatial and not stage.transposed:
            return f"stage {number} is not transposed, the convolution is"
    outputs = site.shape[1] * site.groups if transposed else site.shape[0]
    if channels != outputs:
        return f"the chain gives {channels} channels, the weight {outputs}"
    carried = [axis for stage in factors.stages for axis in stage.spatial]
    for reader in site.readers:
        geometry = Geometry.of(reader.node, kernel)
        missing = [axis for axis in range(len(kernel)) if geometry.matters(axis) and axis not in carried]
        if missing or len(set(carried)) < len(carried):
            return f"spatial axes {missing or carried} are carried out by {'no stage' if missing else 'several stages'}"
        reason = geometry.refusal()
        if reason is not None:
            return f"of {reader.node.op_type} %{reader.node.outputs[0].name} {reason}"
    return None


def lower_conv(editor: Editor, site: FactorSite, factors: Factors, shift: np.ndarray | None) -> None:
    """Replace each reader; the bias is the last stage's."""
    editor.at(site.readers[0].node)
    stored = _store(editor, site, factors)
    for reader in site.readers:
        editor.at(reader.node)
        _replace(editor, site, reader, stored, shift)


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    value: onnx_ir.Value
    stage: Stage
    kernel: tuple[int, ...]
    transposed: bool
    suffix: str


def _replace(editor: Editor, site: FactorSite, reader: Reader, stored: Sequence[_Stored], shift: np.ndarray | None) -> None:
    node, result, dtype = reader.node, reader.node.outputs[0], dtype_of(site)
    geometry = Geometry.of(node, site.shape[2:])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    behind = shift is not None and bias is not None and array(bias) is None
    if shift is not None and not behind:
        bias = shifted_input(editor, node, 2, shift, dtype)
    value = data_of(reader)
    for number, part in enumerate(stored):
        last = number == len(stored) - 1
        attributes = geometry.attributes(part.stage.spatial, part.kernel, part.stage.groups)
        inputs = [value, part.value, *([bias] if last and bias is not None else [])]
        op_type = "ConvTranspose" if part.transposed else "Conv"
        value = editor.op(op_type, inputs, attributes, name=f"{result.name}.{part.suffix}", like=result if last else None)
    if behind and shift is not None:
        value = add_behind(editor, value, shift, -1 - len(geometry.kernel), dtype, result.name or "sum")
    editor.replace(result, value)


def _channels(stage: Stage) -> tuple[int, int]:
    """Inputs and outputs of all groups."""
    first, second = stage.array.shape[:2]
    return (first, second * stage.groups) if stage.transposed and stage.array.ndim > 2 else (second * stage.groups, first)


def _store(editor: Editor, site: FactorSite, factors: Factors) -> list[_Stored]:
    lineage, after = _lineage(site, factors)
    stored: list[_Stored] = []
    for stage, suffix in zip(factors.stages, suffixes(factors), strict=True):
        transposed = site.kind == "deconv" and bool(stage.spatial)
        kernel = tuple(stage.array.shape[2:]) or (1,) * (len(site.shape) - 2)
        data, links = stage.array, after.get(suffix, ())
        if data.ndim == 2:
            if transposed:
                data = _turned_groups(data, stage.groups)
                lineage = gone(lineage.sources, "a stage of a transposed convolution") if stage.groups != 1 else lineage
                links = (*links, TURN)
            links = (*links, Reshape((*data.shape, *kernel), data.shape))
            data = data.reshape(*data.shape, *kernel)
        mapped = lineage.mapped(suffix, *links)
        value = keep(editor, data, dtype_of(site), f"{site.name}.{suffix}", mapped)
        stored.append(_Stored(value, stage, kernel, transposed, suffix))
    return stored


def _turned_groups(array: np.ndarray, groups: int) -> np.ndarray:
    """[outputs, inputs / groups] of each group, as [inputs, outputs / groups]."""
    grouped = array.reshape(groups, array.shape[0] // groups, array.shape[1])
    return np.concatenate([part.T for part in grouped])


def _lineage(site: FactorSite, factors: Factors) -> tuple[Lineage, Mapping[str, tuple[ValueMap, ...]]]:
    """How two stages of low rank, of which one is dense, come from a weight without groups; and how each is laid out after that.

    The kernel's axes stay with the stage that has the taps: W is read as a matrix whose rows are what u makes and whose columns are what
    v takes.
    """
    nothing: tuple[ValueMap, ...] = ()
    if not is_low_rank(factors) or any(stage.groups != 1 for stage in factors.stages) or site.groups != 1:
        return gone([site.name], f"one of {len(factors.stages)} stages of {factors.structure}"), {}
    first, last = factors.stages[0].array, factors.stages[1].array
    taps = site.shape[2:]
    if (first if first.ndim > 2 else last).shape[2:] not in (taps, ()):
        return gone([site.name], "a stage with some of the taps"), {}
    if site.kind == "deconv":
        kernels = [stage.array.swapaxes(0, 1) if stage.transposed and stage.array.ndim > 2 else stage.array for stage in factors.stages]
        first, last = kernels  # [outputs, inputs, *kernel]
    swap = Permute((1, 0, *range(2, len(site.shape)))) if site.kind == "deconv" else Same()
    weight = swap.apply(weight_of(site))  # [outputs, inputs, *kernel]
    rank = first.shape[0]
    if last.ndim == 2:
        matrix = Reshape((weight.shape[0], -1), weight.shape)
        v_after: tuple[ValueMap, ...] = (Reshape(first.shape, (rank, -1)),) if first.ndim > 2 else ()
        laid = {"u": nothing, "v": (*v_after, *((swap,) if first.ndim > 2 else ()))}
        return lineage_of([site.name], swap.then(matrix), matrix.apply(weight), last, first.reshape(rank, -1)), laid
    outputs_last = Permute((0, *range(2, weight.ndim), 1))  # [outputs, *kernel, inputs]
    turned = outputs_last.apply(weight)
    matrix = Reshape((-1, weight.shape[1]), turned.shape)
    spread = outputs_last.apply(last)
    back = outputs_last.inverse()
    laid = {"v": nothing, "u": (Reshape(spread.shape, (-1, rank)), back, swap)}
    return lineage_of([site.name], swap.then(outputs_last).then(matrix), matrix.apply(turned), spread.reshape(-1, rank), first), laid
