"""Factors as initializers: named, typed, mapped, and stored in the order of axes that their readers want."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Concat, Mapped, Same, Split, ValueMap, join
from netwright.ir.program import constant
from netwright.passes.factorize.factors import Factors
from netwright.passes.factorize.lowering.maps import TURN, Lineage, gone, lineage_of
from netwright.passes.factorize.sites.site import FactorSite
from netwright.passes.factorize.sites.weights import stored_as_operator, weight_of


def dtype_of(site: FactorSite) -> np.dtype:
    """The type that a site's weights have, and its factors get."""
    tensor = constant(site.weights[0])
    assert tensor is not None, "sites are found by their constant weights"
    return tensor.dtype.numpy()


def suffixes(factors: Factors) -> tuple[str, ...]:
    """What the stages' names end in: `v`, `u` of two dense ones on channels as they are, else their numbers."""
    if is_low_rank(factors):
        return ("v", "u")
    return tuple(str(number) for number in range(len(factors.stages)))


def is_low_rank(factors: Factors) -> bool:
    """Whether a chain is W ≈ U V: two stages, on channels as they are, of which one is dense."""
    return len(factors.stages) == 2 and not folds(factors) and any(stage.array.ndim == 2 for stage in factors.stages)


def folds(factors: Factors) -> bool:
    """Whether channels are seen as arrays of several axes anywhere in a chain."""
    return bool(factors.dims) or any(stage.dims for stage in factors.stages)


def keep(editor: Editor, data: np.ndarray, dtype: np.dtype, name: str, mapped: Mapped) -> onnx_ir.Value:
    """A new initializer, and where it comes from."""
    blank = not any(data.strides)  # of shapes alone: zeros that take no memory until they are written to
    value = editor.constant(np.zeros(data.shape, dtype) if blank else np.ascontiguousarray(data.astype(dtype)), name)
    editor.map(value.name or "", mapped)
    return value


class Matrices:
    """The dense stages of a site of products, each stored once; of joined weights the last one in parts, one for each weight.

    Of two, `u` is the left factor of the weight as it is stored, and `v` the right one: the product of what is stored is the weight.

    Args:
        editor: stands at the first reader.
        site: linear or a table.
        factors: dense stages.
        into: whether matrices are stored as [inputs, outputs], else as [outputs, inputs].
    """

    def __init__(self, editor: Editor, site: FactorSite, factors: Factors, *, into: bool) -> None:
        self._editor = editor
        self._turned: dict[onnx_ir.Value, onnx_ir.Value] = {}
        self.into = into
        self.suffixes = ("u", "v") if into and is_low_rank(factors) else suffixes(factors)
        self._stages: list[onnx_ir.Value] = []
        self._parts: dict[tuple[int, int], onnx_ir.Value] = {}
        lineage, dtype = _lineage(site, factors, into=into), dtype_of(site)
        for stage, suffix in zip(factors.stages[:-1], self.suffixes, strict=False):
            self._stages.append(keep(editor, self._laid(stage.array), dtype, f"{site.name}.{suffix}", lineage.mapped(suffix)))
        rows = [(start, stop) for start, stop, _ in ranges(site)]
        sizes = tuple(stop - start for start, stop in rows)
        last, suffix = factors.stages[-1].array, self.suffixes[-1]
        if len(rows) == 1:
            self._parts[rows[0]] = keep(editor, self._laid(last), dtype, f"{site.name}.{suffix}", lineage.mapped(suffix))
            return
        for part, (start, stop, weight) in enumerate(ranges(site)):
            mapped = lineage.mapped(suffix, Split(1 if into else 0, sizes, part))
            self._parts[start, stop] = keep(editor, self._laid(last[start:stop]), dtype, f"{weight.name}.{suffix}", mapped)

    def __len__(self) -> int:
        return len(self._stages) + 1

    def stage(self, number: int, rows: tuple[int, int]) -> onnx_ir.Value:
        """A stage as it is stored; of the last one, the part that computes these rows."""
        return self._stages[number] if number < len(self._stages) else self._parts[rows]

    def laid(self, number: int, rows: tuple[int, int], *, into: bool) -> onnx_ir.Value:
        """A stage as [inputs, outputs], or else as [outputs, inputs]: a Transpose, made once, where it is not stored so."""
        value = self.stage(number, rows)
        if into == self.into:
            return value
        if value not in self._turned:
            self._turned[value] = self._editor.op("Transpose", [value], {"perm": [1, 0]}, name=f"{value.name}.turned")
        return self._turned[value]

    def _laid(self, array: np.ndarray) -> np.ndarray:
        return array.T if self.into else array


def ranges(site: FactorSite) -> list[tuple[int, int, onnx_ir.Value]]:
    """For each weight of a product's site, the rows of the operator that are its own."""
    found: list[tuple[int, int, onnx_ir.Value]] = []
    start = 0
    for weight in site.weights:
        stop = start + (site.shape[0] if len(site.weights) == 1 else _outputs(site, weight))
        found.append((start, stop, weight))
        start = stop
    return found


def _outputs(site: FactorSite, weight: onnx_ir.Value) -> int:
    tensor = constant(weight)
    assert tensor is not None, "sites are found by their constant weights"
    return int(tensor.shape.numpy()[0 if stored_as_operator(site, weight) else 1])


def _lineage(site: FactorSite, factors: Factors, *, into: bool) -> Lineage:
    """How two factors come from the weights, in the orientation in which they are stored."""
    names = [weight.name or "" for weight in site.weights]
    if not is_low_rank(factors):
        return gone(names, f"one of {len(factors.stages)} stages of {factors.structure}")
    first, last = (stage.array for stage in factors.stages)
    if not (any(first.strides) and any(last.strides)):
        return gone(names, "shapes alone")
    return lineage_of(names, _to_matrix(site, into=into), weight_of(site), last, first, turned=into)


def _to_matrix(site: FactorSite, *, into: bool) -> ValueMap:
    """From the stored weights to the operator's matrix, or, for `into`, its transpose."""
    turns: Sequence[ValueMap] = [TURN if stored_as_operator(site, weight) == into else Same() for weight in site.weights]
    if len(turns) == 1:
        return turns[0]
    return join(Concat(1 if into else 0, tuple(stop - start for start, stop, _ in ranges(site))), turns)
