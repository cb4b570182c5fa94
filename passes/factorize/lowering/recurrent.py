"""The weights that a recurrent layer's input meets: all stages but the last before the layer, the last in the weight's place.

W = U V is exact so, without a change of the operator: LSTM(x; W) = LSTM(x Vᵀ; U).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Reshape
from netwright.ir.opinfo import ints_attr, is_standard
from netwright.ir.opinfo import site as site_name
from netwright.ir.program import array, constant
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.lowering.folded import Folding, folding_refusal
from netwright.passes.factorize.lowering.maps import TURN, Lineage, gone, lineage_of
from netwright.passes.factorize.lowering.store import dtype_of, folds, is_low_rank, keep, suffixes
from netwright.passes.factorize.sites.site import FactorSite
from netwright.passes.factorize.sites.weights import weight_of


def recurrent_refusal(site: FactorSite, factors: Factors) -> str | None:
    """Why recurrent layers cannot take this chain; None where they can."""
    if factors.dims or factors.stages[-1].dims:
        return "the last stage folds its channels, which a recurrent layer does not"
    return folding_refusal(factors.stages, (), (), site.shape[1], site.shape[0])


def lower_recurrent(editor: Editor, site: FactorSite, factors: Factors, shift: np.ndarray | None) -> None:
    """Change each layer in place: its data, its weight, and with a shift its bias. Layers of the same data share what comes before them."""
    editor.at(site.readers[0].node)
    (weight,), dtype, names = site.weights, dtype_of(site), suffixes(factors)
    tensor = constant(weight)
    assert tensor is not None, "sites are found by their constant weights"
    shape = tuple(int(size) for size in tensor.shape.numpy())  # [directions, gates, inputs]
    lineage = recurrent_lineage(site, factors, shape)
    inner = [
        keep(editor, stage.array.T, dtype, f"{site.name}.{suffix}", lineage.mapped(suffix, TURN))
        for stage, suffix in zip(factors.stages[:-1], names, strict=False)
    ]
    last = factors.stages[-1].array
    inside = Reshape((*shape[:2], last.shape[1]), last.shape)
    stored = keep(editor, inside.apply(last), dtype, f"{site.name}.{names[-1]}", lineage.mapped(names[-1], inside))
    made: dict[onnx_ir.Value | None, onnx_ir.Value] = {}
    for reader in site.readers:
        node, data = reader.node, reader.node.inputs[0]
        editor.at(node)
        if data not in made:
            assert data is not None, "a recurrent layer has its data"
            result = site_name(node)
            turn = _turn(data, [one.node for one in site.readers])
            source = data if turn is None else turn.inputs[0]
            assert source is not None, "a Transpose has its data"
            folding = Folding(editor, source, 2, f"{site.name}@{result}" if folds(factors) else "", f"{result}.{names[0]}")
            for stage, matrix in zip(factors.stages[:-1], inner, strict=True):
                folding.multiply(stage, matrix)
            folding.flatten()
            made[data] = (
                folding.value if turn is None else editor.op("Transpose", [folding.value], {"perm": [1, 0, 2]}, name=data.name or "")
            )
        if shift is not None:
            shift_bias(editor, node, shift, dtype, part=0)
        editor.set_input(node, 0, made[data])
        editor.set_input(node, reader.index, stored)


def _turn(data: onnx_ir.Value, layers: Sequence[onnx_ir.Node]) -> onnx_ir.Node | None:
    """What puts time and batch in the layers' order, if they alone read it: factors may come before it, next to a table."""
    node = data.producer()
    if node is None or not is_standard(node, "Transpose") or ints_attr(node, "perm", ()) != (1, 0, 2) or data.is_graph_output():
        return None
    return node if all(user in layers for user, _ in data.uses()) else None


def recurrent_lineage(site: FactorSite, factors: Factors, shape: tuple[int, ...]) -> Lineage:
    """How the factors of a stacked weight come from it as [directions, gates, inputs]."""
    if not is_low_rank(factors):
        return gone([site.name], f"one of {len(factors.stages)} stages of {factors.structure}")
    v, u = (stage.array for stage in factors.stages)
    return lineage_of([site.name], Reshape(site.shape, shape), weight_of(site), u, v)


def shift_bias(editor: Editor, node: onnx_ir.Node, shift: np.ndarray, dtype: np.dtype, *, part: int) -> None:
    """Add to a recurrent layer's bias B: [directions, 2 · gates].

    Args:
        editor: stands at the layer.
        node: GRU, LSTM or RNN.
        shift: [directions · gates].
        dtype: of a bias that is made.
        part: 0 for the half that goes with W, 1 for the one that goes with R.
    """
    directions = _directions(node)
    halves = [np.zeros((directions, shift.size // directions))] * 2
    halves[part] = shift.reshape(directions, -1)
    added = np.concatenate(halves, axis=1)
    value = node.inputs[3] if len(node.inputs) > 3 else None
    known = array(value)
    if value is not None and known is None:
        summed = editor.op(
            "Add", [value, editor.constant(added.astype(dtype), f"{value.name}.shift")], name=f"{value.name}.shifted", like=value
        )
        editor.set_input(node, 3, summed)
        return
    data = added.astype(dtype) if known is None else (known.astype(np.float64) + added).astype(known.dtype)
    if value is not None and value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output():
        editor.set_constant(value, data)
        return
    if len(node.inputs) < 4:
        editor.resize_inputs(node, 4)
    hint = f"{site_name(node)}.bias" if value is None else value.name or "bias"
    editor.set_input(node, 3, editor.constant(data, hint))


def _directions(node: onnx_ir.Node) -> int:
    found = constant(node.inputs[1]) or constant(node.inputs[2])
    assert found is not None, "a site's weight is constant"
    return int(found.shape.numpy()[0])
