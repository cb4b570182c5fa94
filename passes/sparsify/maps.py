"""The feature maps of a transformer: queries, keys, values, contexts, hidden states of feed-forward layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import onnx_ir

from netwright.ir.errors import PipelineError
from netwright.ir.opinfo import float_attr, is_standard
from netwright.ir.origin import origin_of
from netwright.ir.program import Program
from netwright.passes.planning import first_match
from netwright.passes.rewrite import Miss
from netwright.passes.sparsify.attention import Attending, attentions
from netwright.passes.sparsify.feedforward import hidden_states
from netwright.passes.sparsify.walking import clamps, grid_behind, quantizer_of, readers, source_of

Kind: TypeAlias = Literal["query", "key", "value", "context", "ffn", "softmax"]
KINDS: tuple[Kind, ...] = ("query", "key", "value", "context", "ffn")
"""What `all` means; `softmax`, the rows of attention weights, has to be named."""

_FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.DOUBLE)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """One feature map.

    Attributes:
        value: what its readers see: thresholded, and on a grid, where that was done.
        kind: what it is to the attention or feed-forward layer.
        site: name of that layer's result.
        module: path of the module that it was made in; empty where unknown.
        shrink: the node that makes its small values zero, if there is one.
        grid: the QuantizeLinear to int8 or uint8 that reads the map, whoever put it there, if there is one.
    """

    value: onnx_ir.Value
    kind: Kind
    site: str
    module: str = ""
    shrink: onnx_ir.Node | None = None
    grid: onnx_ir.Node | None = None

    @property
    def name(self) -> str:
        """The value's name, by which plans and reports know it."""
        return self.value.name or ""

    @property
    def raw(self) -> onnx_ir.Value:
        """The value before anything of it was made zero."""
        source = self.value if self.shrink is None else self.shrink.inputs[0]
        assert source is not None
        return source

    @property
    def threshold(self) -> float:
        """Values up to it are zero; 0 where there is none."""
        return 0.0 if self.shrink is None else float_attr(self.shrink, "lambd", 0.5)

    @property
    def clamped(self) -> bool:
        """Whether its grid makes negative values zero: a Relu that became part of the rounding."""
        return self.grid is not None and clamps(self.grid)

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns are held against."""
        return (self.name, self.kind, self.module)


def feature_maps(program: Program) -> list[FeatureMap | Miss]:
    """All feature maps of the main graph in graph order, and what looks like one and cannot be changed, with the reason.

    Attention may be one node (of ONNX or `com.microsoft`) or spelt out as `softmax(q kᵀ …) v`, in float or quantized. Each map is the
    earliest value from which only moves of elements and factors lead to the layer that reads it: what a program stores, or sends.
    Linear in nodes.
    """
    found: list[FeatureMap | Miss] = []
    taken: set[onnx_ir.Value] = set()
    sites = list(attentions(program))
    reads = {read for site in sites if isinstance(site, Attending) for read in site.reads}
    for site in sites:
        if isinstance(site, Miss):
            found.append(site)
            continue
        for kind, value in site.parts():
            found.extend(_map_at(value, cast("Kind", kind), site.name, reads, taken))
    for hidden in hidden_states(program):
        uses = {(use.node, use.idx) for use in hidden.value.uses()}
        found.extend(_map_at(hidden.value, "ffn", hidden.site, uses, taken))
    order = {value: place for place, node in enumerate(program.graph) for value in node.outputs}
    return sorted(found, key=lambda one: order.get(one.value, 0) if isinstance(one, FeatureMap) else len(order))


def select_maps(maps: Iterable[FeatureMap], where: str | Sequence[str]) -> list[FeatureMap]:
    """The maps that are meant.

    Args:
        maps: of a program.
        where: `all`, kinds, or patterns (`*`, `?`) of names of maps or paths of modules.

    Raises:
        PipelineError: one of them fits no map.
    """
    wanted = (where,) if isinstance(where, str) else tuple(where)
    every = list(maps)
    chosen: dict[FeatureMap, None] = {}
    for pattern in wanted:
        fitting = [one for one in every if (one.kind in KINDS if pattern == "all" else first_match((pattern,), one.names) is not None)]
        if not fitting:
            kinds = ", ".join(dict.fromkeys(one.kind for one in every)) or "none"
            raise PipelineError(
                f"where={pattern!r} fits no feature map.",
                place="where",
                remedy=f"The program has maps of these kinds: {kinds}. Give 'all', a kind, or a pattern of names or modules.",
            )
        chosen.update(dict.fromkeys(fitting))
    return [one for one in every if one in chosen]


def _map_at(
    value: onnx_ir.Value, kind: Kind, site: str, reads: set[tuple[onnx_ir.Node, int]], taken: set[onnx_ir.Value]
) -> list[FeatureMap | Miss]:
    source = source_of(value)
    name = source.name or ""
    if source in taken:
        return []
    taken.add(source)
    node = source.producer()
    if node is None:
        return [Miss(f"the {kind} of %{site} is an input or a constant: nothing can be made zero before it", name)]
    if source.dtype not in _FLOATS:
        return [Miss(f"the {kind} of %{site} is {source.dtype}, not float16, float32 or float64", name)]
    strangers = [node for node, index in readers(source) if (node, index) not in reads] if source is value else []
    if strangers:
        other = strangers[0]
        what = f"{other.op_type} %{other.outputs[0].name}"
        return [Miss(f"the {kind} of %{site} is read by others too ({what}), which zeros would change", name)]
    module = origin_of(node).module
    if is_standard(node, "Shrink"):
        return [FeatureMap(source, kind, site, module, node, grid_behind(source))]
    if is_standard(node, "DequantizeLinear"):
        grid = quantizer_of(node)
        inner = grid.inputs[0].producer() if grid is not None and grid.inputs[0] is not None else None
        if grid is not None and inner is not None and is_standard(inner, "Shrink"):
            return [FeatureMap(source, kind, site, module, inner, grid)]
    return [FeatureMap(source, kind, site, module, None, grid_behind(source))]
