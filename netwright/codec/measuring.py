"""What coding would save: feature maps on data, with their zeros told apart, and a program's integer weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import onnx_ir

from netwright.codec.coding import METHODS, Method, sizes
from netwright.ir.opinfo import int_attr, is_standard
from netwright.ir.program import Program, constant
from netwright.passes.context import Executor, Feeds
from netwright.passes.sparsify import FeatureMap, feature_maps
from netwright.passes.sparsify.padding import Tokens, counted_tokens, counting, padding_of
from netwright.passes.sparsify.walking import MOVES, weight_of


@dataclass(slots=True)
class MapBytes:
    """One feature map over all data.

    Attributes:
        name, kind: of the map.
        grid: where its integers come from: the `graph`, or `assumed`: 127 steps up to the largest magnitude of each batch.
        elements: how many values were seen.
        zeros: that were zero by themselves (behind a ReLU, padding).
        by_threshold: further values that the threshold made zero.
        by_rounding: further values that became zero as integers.
        coded: bytes by method; maps are coded batch by batch.
        best: bytes with the best method of each batch.
        macs: multiply-accumulates of the products that read it.
        skippable: those of them that multiply a zero of this map.
    """

    name: str
    kind: str
    grid: str = "assumed"
    elements: int = 0
    zeros: int = 0
    by_threshold: int = 0
    by_rounding: int = 0
    coded: dict[Method, int] = field(default_factory=lambda: dict.fromkeys(METHODS, 0))
    best: int = 0
    macs: int = 0
    skippable: int = 0

    @property
    def density(self) -> float:
        """The share of values that are not zero."""
        return 1 - (self.zeros + self.by_threshold + self.by_rounding) / self.elements if self.elements else 1.0

    @property
    def ratio(self) -> float:
        """Bytes as dense int8 to bytes coded."""
        return self.elements / self.best if self.best else 1.0

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {**asdict(self), "density": self.density, "ratio": self.ratio}


@dataclass(frozen=True, slots=True)
class MapReport:
    """All feature maps.

    Attributes:
        maps: in graph order.
        positions: tokens that were seen.
    """

    maps: tuple[MapBytes, ...]
    positions: int

    def total(self, kinds: Sequence[str] = ()) -> MapBytes:
        """The sum over maps, of all kinds or some."""
        whole = MapBytes("all", ", ".join(kinds) or "all", "graph")
        for one in self.maps:
            if kinds and one.kind not in kinds:
                continue
            for name in ("elements", "zeros", "by_threshold", "by_rounding", "best", "macs", "skippable"):
                setattr(whole, name, getattr(whole, name) + getattr(one, name))
            for method, size in one.coded.items():
                whole.coded[method] += size
        return whole

    @property
    def cache(self) -> MapBytes:
        """Keys and values alone: what a decoder keeps of each token. `elements` are its bytes as int8, four times that as float32."""
        return self.total(("key", "value"))

    def to_dict(self) -> dict[str, object]:
        """As JSON."""
        return {
            "maps": [one.to_dict() for one in self.maps],
            "total": self.total().to_dict(),
            "cache": self.cache.to_dict(),
            "positions": self.positions,
        }


def measure_maps(program: Program, batches: Iterable[Feeds], executor: Executor, *, mask: str | None = None) -> MapReport:
    """Run a program and encode each of its feature maps, batch by batch; memory is that of one batch.

    Padding is left out, where attention masks it (see `padding_of`): it need not be stored. So are maps of `softmax`. Where integers of
    the graph have a zero point, it is subtracted.

    Args:
        program: as it is shipped: quantized, with its thresholds.
        batches: inputs by name.
        executor: what runs it.
        mask: a value [batch, tokens], not zero where a token counts, where attention's own masks do not tell.

    Raises:
        DataError: the program has no such mask.
    """
    maps = [one for one in feature_maps(program) if isinstance(one, FeatureMap) and one.kind != "softmax"]
    rows = {one: MapBytes(one.name, one.kind, "graph" if _integers(one) else "assumed") for one in maps}
    padding = padding_of(program, mask)
    known = {value.name for value in program.inputs}
    names = list(dict.fromkeys(name for one in maps for name in (one.raw.name or "", one.name, *_integers(one))))
    names += [name for name in padding.names if name not in {*names, *known}]
    positions = 0
    for batch in batches:
        feeds = {name: array for name, array in batch.items() if name in known}
        values = {**feeds, **executor.run(program, feeds, names)}
        tokens = padding.tokens(values)
        shapes = {(one.site, one.kind): values[one.raw.name or ""] for one in maps}
        positions += max((len(_uses(values[one.raw.name or ""], None, tokens)) for one in maps), default=0)
        for one in maps:
            partner = shapes.get((one.site, "key" if one.kind == "query" else "query")) if one.kind in ("query", "key", "value") else None
            uses = _uses(values[one.raw.name or ""], partner, tokens)
            _add(rows[one], one, values, tokens, uses if partner is not None else uses * _columns(one.value))
    return MapReport(tuple(rows.values()), positions)


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Integer weights, as they lie and coded.

    Attributes:
        weights: by name, bytes as they lie and coded.
    """

    weights: Mapping[str, tuple[int, int]]

    @property
    def dense(self) -> int:
        """Bytes as they lie."""
        return sum(dense for dense, _ in self.weights.values())

    @property
    def coded(self) -> int:
        """Bytes coded, each by the best method; never more than as they lie, but for the header."""
        return sum(coded for _, coded in self.weights.values())


def measure_weights(program: Program) -> WeightBytes:
    """Encode each integer weight of 8 or 4 bits with two axes or more. Unsigned ones are coded as distances from the middle."""
    found: dict[str, tuple[int, int]] = {}
    for value in program.initializers():
        tensor = constant(value)
        if tensor is None or len(tensor.shape) < 2 or tensor.dtype not in _SMALL:
            continue
        array = tensor.numpy()
        signed = tensor.dtype in (onnx_ir.DataType.INT8, onnx_ir.DataType.INT4)
        middle = 0 if signed else 128 if tensor.dtype == onnx_ir.DataType.UINT8 else 8
        coded = min(sizes((array.astype(np.int16) - middle).astype(np.int8)).values())
        found[value.name or ""] = (tensor.nbytes, min(coded, tensor.nbytes))
    return WeightBytes(found)


_SMALL = (onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8, onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4)


def _add(row: MapBytes, one: FeatureMap, values: Mapping[str, np.ndarray], tokens: Tokens, uses: np.ndarray) -> None:
    raw, integers = (counting(array, tokens) for array in (values[one.raw.name or ""], _as_integers(one, values)))
    own = np.maximum(raw, 0) if one.clamped else raw
    zero = int(own.size - np.count_nonzero(own))
    gone = int(np.count_nonzero(np.abs(own) <= one.threshold)) - zero if one.shrink is not None else 0
    zeros = integers == 0
    final = int(np.count_nonzero(zeros))
    row.elements += raw.size
    row.zeros += zero
    row.by_threshold += gone
    row.by_rounding += max(final - zero - gone, 0)
    found = sizes(integers)
    for method, size in found.items():
        row.coded[method] += size
    row.best += min(found.values())
    each = zeros.reshape(len(uses), -1) if counted_tokens(values[one.raw.name or ""], tokens) is not None else _by_token(zeros)
    row.macs += each.shape[1] * int(uses.sum())
    row.skippable += int(each.sum(1) @ uses)


def _uses(array: np.ndarray, partner: np.ndarray | None, tokens: Tokens) -> np.ndarray:
    """For each token of a map that counts, in order: how many tokens of its sentence in another map count, or 1."""
    batch, length = _extent(array)
    others = np.ones(batch, np.int64)
    if partner is not None:
        seen = counted_tokens(partner, tokens)
        others = np.full(batch, _extent(partner)[1]) if seen is None else seen.sum(1)
    own = counted_tokens(array, tokens)
    return np.repeat(others, length if own is None else own.sum(1))


def _extent(array: np.ndarray) -> tuple[int, int]:
    """Sentences, and the length of each: axis 1 of [batch, tokens, features], axis 2 of [batch, heads, tokens, features]."""
    return (int(array.shape[0]), int(array.shape[-2])) if array.ndim > 2 else (1, int(array.shape[0]))


def _by_token(array: np.ndarray) -> np.ndarray:
    """[all tokens, features] of a map."""
    return (np.moveaxis(array, -2, 1).reshape(array.shape[0] * array.shape[-2], -1)) if array.ndim > 2 else array


def _as_integers(one: FeatureMap, values: Mapping[str, np.ndarray]) -> np.ndarray:
    names = _integers(one)
    if names:
        integers = values[names[0]].astype(np.int16)
        shifted = integers - values[names[1]].astype(np.int16) if len(names) > 1 else integers
        return shifted.astype(np.int8) if np.abs(shifted).max(initial=0) < 128 else shifted
    seen = values[one.name]
    peak = float(np.abs(seen).max(initial=0.0)) or 1.0
    return np.rint(seen * (127 / peak)).astype(np.int8)


def _integers(one: FeatureMap) -> tuple[str, ...]:
    """Names of the integers that a map becomes in the graph, and of their zero point where there is one; empty where it stays float."""
    if one.grid is not None:
        zero = one.grid.inputs[2] if len(one.grid.inputs) > 2 else None
        return (one.grid.outputs[0].name or "", *(() if zero is None else (zero.name or "",)))
    nodes = list(dict.fromkeys(use.node for use in one.value.uses()))
    if len(nodes) == 1 and is_standard(nodes[0], "DynamicQuantizeLinear"):
        return (nodes[0].outputs[0].name or "", nodes[0].outputs[2].name or "")
    return ()


def _columns(value: onnx_ir.Value) -> int:
    """Output channels of the products that read a value."""
    total, pending = 0, [value]
    while pending:
        for use in pending.pop().uses():
            node = use.node
            weight = weight_of(node.inputs[1]) if is_standard(node, "MatMul", "Gemm", "MatMulInteger") and use.idx == 0 else None
            if weight is not None:
                producer = node.inputs[1].producer() if node.inputs[1] is not None else None
                turned = (producer is not None and is_standard(producer, "Transpose")) != (int_attr(node, "transB", 0) == 1)
                total += int(weight.shape.numpy()[0 if turned else -1])
            elif is_standard(node, *MOVES, "DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"):
                pending.append(node.outputs[0])
    return total
