"""What can be compared inside of a model: hidden states at the ends of blocks, and attention scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import onnx_ir

from netwright.ir.opinfo import int_attr, is_float, is_standard
from netwright.ir.origin import origin_of
from netwright.ir.program import Program
from netwright.ir.schemas import CONTRIB_DOMAIN
from netwright.ir.shapes import rank

NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
"""Operators whose outputs are the states between a transformer's blocks."""

CONTRIB_NORMS = frozenset({"SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization"})

ACTIVATIONS = frozenset({"Celu", "Clip", "Elu", "Gelu", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Swish", "Tanh"})
"""Operators that end a convolutional block; `x · Sigmoid(x)` written out counts too."""

RECURRENT = frozenset({"GRU", "LSTM", "RNN"})

_NORM_CLASS = re.compile(r"(Layer|RMS|Rms)_?Norm")
_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Transpose"})
_BETWEEN = frozenset({"Add", "Cast", "Div", "Identity", "Mul", "Sub", "Where", "Dropout"})

BIASED_MODE = 2
"""`qk_matmul_output_mode` of Attention: what goes into its softmax, mask and all."""


def hidden_values(program: Program) -> tuple[str, ...]:
    """The states between blocks, in graph order.

    Those are the outputs of normalisations, if the model has any (spelt-out ones count: simplify finds them on a copy); else the
    outputs of recurrent layers, and of the last activation of each block, a block being what the numbers in module paths tell apart
    (every activation, where paths are not known). Outputs of the program are none.
    """
    found = [*_norm_outputs(program)] or [*_norms_by_class(program)] or [*_spelt_out_norms(program)] or [*_block_ends(program)]
    outputs = {value.name for value in program.outputs}
    return tuple(name for name in dict.fromkeys(found) if name not in outputs)


def float_values(program: Program, patterns: Sequence[str]) -> tuple[str, ...]:
    """Inner float values of the main graph whose names, or whose modules' paths, fit one of the patterns."""
    outputs = {value.name for value in program.outputs}
    found: list[str] = []
    for node in program.graph:
        for value in node.outputs:
            name = value.name or ""
            if not name or name in outputs or not (value.dtype is None or is_float(value.dtype)):
                continue
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                found.append(name)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class AttentionSite:
    """One attention.

    Attributes:
        names: of its result, and of the same with axes moved: by which it is found again in another form of the model.
        scores: name of what goes into its softmax; empty for the Attention operator, which keeps it to itself (`expose_scores`).
        node: Softmax, or Attention.
    """

    names: tuple[str, ...]
    scores: str
    node: onnx_ir.Node


def attention_sites(program: Program) -> tuple[AttentionSite, ...]:
    """All attentions of the main graph, in graph order: Attention operators, and `softmax(q kᵀ …) v` spelt out."""
    found: list[AttentionSite] = []
    for node in program.graph:
        if is_standard(node, "Attention"):
            found.append(AttentionSite(_moved(node.outputs[0]), "", node))
        elif is_standard(node, "Softmax") and (result := _weighted_sum(node)) is not None and _from_product(node.inputs[0]):
            scores = node.inputs[0]
            assert scores is not None
            found.append(AttentionSite(_moved(result), scores.name or "", node))
    return tuple(found)


def expose_scores(program: Program, sites: Sequence[AttentionSite]) -> tuple[Program, dict[str, str]]:
    """A copy in which Attention operators hand out what goes into their softmax.

    Args:
        program: left as it is.
        sites: which attentions are wanted.

    Returns:
        The copy, and the names of scores by the first of each site's names; those that are spelt out are as they were.
    """
    scores = {site.names[0]: site.scores for site in sites if site.scores}
    fused = [site.names[0] for site in sites if not site.scores]
    if not fused:
        return program, scores
    copy = program.clone()
    for name in fused:
        node = copy.value(name).producer()
        assert node is not None
        with copy.edit(at=node) as editor:
            attributes: dict[str, onnx_ir.Attr | int] = dict(node.attributes)
            attributes["qk_matmul_output_mode"] = BIASED_MODE
            names = [name, *(f"{name}.{part}" for part in ("keys", "values", "scores"))]
            made = editor.ops("Attention", list(node.inputs), attributes, names=names)
            made[3].shape = None
            for old, new in zip(node.outputs[:3], made, strict=False):
                if old.name:
                    editor.replace(old, new)
            scores[name] = editor.op("Identity", [made[3]], name=f"{name}.compared").name or ""
    return copy, scores


# ---- hidden states --------------------------------------------------------------------------------------------------


def _norm_outputs(program: Program) -> Iterator[str]:
    for node in program.graph:
        standard = is_standard(node) and node.op_type in NORMS
        if standard or (node.domain == CONTRIB_DOMAIN and node.op_type in CONTRIB_NORMS):
            yield node.outputs[0].name or ""


def _norms_by_class(program: Program) -> Iterator[str]:
    """The last value of each module whose class is a normalisation's."""
    last: dict[str, str] = {}
    for node in program.graph:
        origin = origin_of(node)
        if _NORM_CLASS.search(origin.cls.rpartition(".")[2]) and is_float(node.outputs[0].dtype):
            last[origin.module] = node.outputs[0].name or ""
    yield from last.values()


def _spelt_out_norms(program: Program) -> list[str]:
    """Normalisations that simplify makes of several nodes, by the names that they keep."""
    if not any(True for _ in program.nodes("ReduceMean")):
        return []
    from netwright.passes import Context, Pipeline, run

    simplified = run(program, Pipeline.parse("simplify"), Context()).program
    own = {value.name for node in program.graph for value in node.outputs}
    return [name for name in _norm_outputs(simplified) if name in own]


def _block_ends(program: Program) -> Iterator[str]:
    last: dict[str, str] = {}
    for index, node in enumerate(program.graph):
        if is_standard(node) and node.op_type in RECURRENT:
            used = next((value.name for value in node.outputs if value.name and (value.uses() or value.is_graph_output())), None)
            last[f"{node.op_type} {index}"] = used or ""
        elif _is_activation(node):
            last[_block_of(node) or f"activation {index}"] = node.outputs[0].name or ""
    yield from filter(None, last.values())


def _is_activation(node: onnx_ir.Node) -> bool:
    if not is_standard(node):
        return False
    if node.op_type != "Mul":
        return node.op_type in ACTIVATIONS
    left, right = node.inputs
    return _gates(left, right) or _gates(right, left)


def _gates(gate: onnx_ir.Value | None, value: onnx_ir.Value | None) -> bool:
    """True where one is the sigmoid of the other."""
    node = gate.producer() if gate is not None else None
    return node is not None and is_standard(node, "Sigmoid", "HardSigmoid") and node.inputs[0] is value


def _block_of(node: onnx_ir.Node) -> str:
    """The module path up to its last number; empty where there is none."""
    parts = origin_of(node).module.split(".")
    numbered = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbered[-1] + 1]) if numbered else ""


# ---- attention ------------------------------------------------------------------------------------------------------


def _weighted_sum(softmax: onnx_ir.Node) -> onnx_ir.Value | None:
    """The MatMul of a softmax's weights, over the last axis, with values; what makes NaN of empty rows zero may lie between."""
    last = rank(softmax.outputs[0])
    axis = int_attr(softmax, "axis", -1)
    if last is None or last < 3 or axis not in (-1, last - 1):
        return None
    pending, steps = [softmax.outputs[0]], 0
    while pending and steps < 8:
        value, steps = pending.pop(), steps + 1
        for use in value.uses():
            if is_standard(use.node, "MatMul") and use.idx == 0:
                return use.node.outputs[0]
            if is_standard(use.node) and use.node.op_type in _BETWEEN:
                pending.append(use.node.outputs[0])
    return None


def _from_product(value: onnx_ir.Value | None) -> bool:
    """True where a MatMul of two computed values lies behind scale and mask."""
    pending, steps = [value], 0
    while pending and steps < 12:
        current, steps = pending.pop(), steps + 1
        node = current.producer() if current is not None else None
        if node is None or not is_standard(node):
            continue
        if node.op_type == "MatMul":
            return True
        if node.op_type in _BETWEEN:
            pending.extend(node.inputs)
    return False


def _moved(value: onnx_ir.Value) -> tuple[str, ...]:
    """A value's name, and the names of what only moves its axes."""
    names = [value.name or ""]
    while len(uses := value.uses()) == 1 and is_standard(node := next(iter(uses)).node) and node.op_type in _MOVES:
        value = node.outputs[0]
        names.append(value.name or "")
    return tuple(names)
