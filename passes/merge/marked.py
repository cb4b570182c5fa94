"""Rule: a chain on folded channels (tensor train, Kronecker product), which `factorize` marked, becomes one product.

Such a chain is Reshape, Transpose and MatMul with constants. What it computes is found by running it on the rows of the identity matrix,
and checked on random rows: y = x W + b at every row, whatever the other rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.maps import Gone, Mapped
from netwright.ir.opinfo import int_attr, ints_attr, is_float
from netwright.ir.origin import origin_of
from netwright.ir.program import Program, array, constant
from netwright.ir.shapes import rank
from netwright.passes.merge.naming import put_weight
from netwright.passes.merge.ownership import freed, in_one_graph, owner_of, readers_of
from netwright.passes.merge.policy import Measure, Policy, Size
from netwright.passes.merge.timing import change_by
from netwright.passes.rewrite import Miss, Rewrite, site_of
from netwright.passes.rules import Match
from netwright.passes.simplify.evaluate import EvaluationError, evaluate
from netwright.passes.simplify.match import only_reader
from netwright.passes.statistics.layers import constant_root

CHAIN = "netwright.chain"
"""Metadata key of the nodes of a chain; its value is the same for all of them."""

_TOLERANCE = 1e-9
"""How far random rows may be off, relative to the largest result: everything is computed in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A marked chain.

    Attributes:
        nodes: in order; each but the last is read by the next alone.
        data: what the first reads besides constants, [..., inputs].
        inputs: size of its last axis.
        weights: float constants.
    """

    nodes: tuple[onnx_ir.Node, ...]
    data: onnx_ir.Value
    inputs: int
    weights: tuple[onnx_ir.Value, ...]

    @property
    def result(self) -> onnx_ir.Value:
        """What the last gives."""
        return self.nodes[-1].outputs[0]

    @property
    def name(self) -> str:
        """Of the weight that was factorized: what all its factors' names begin with; else the first one's."""
        stems = {(weight.name or "").rpartition(".")[0] for weight in self.weights}
        return stems.pop() or f"{self.result.name}.weight" if len(stems) == 1 else f"{self.weights[0].name}.merged"


def unfold(policy: Policy) -> Match:
    """The rule, under a policy; it looks at the last node of a marked chain."""

    def match(node: onnx_ir.Node, program: Program) -> Rewrite | Miss | None:
        found = _folded(node)
        if found is None or isinstance(found, Miss):
            return found
        runner = _Runner(found, program.opset)
        names = [*(weight.name or "" for weight in found.weights), found.name, origin_of(node).module]
        try:
            macs, outputs = runner.macs()
            chains = _same_products(found)
            counted = freed(found.weights, {one for chain in chains for one in chain.nodes})
            factors = Size(sum(_size(weight) for weight in found.weights if weight in counted), macs)
            product = Size(found.inputs * outputs, found.inputs * outputs)
            measure = Measure(program, (found.data,), (found.result,), change_by(unfold(Policy("always"))))
            what = f"{len(found.weights)} factors of {found.inputs}×{outputs}"
            reason = policy.excluded(names) or policy.refusal(factors, product, what, measure)
            matrix = None if reason else runner.matrix()
        except EvaluationError as error:
            return Miss(f"kept as factors: the marked chain cannot be evaluated: {error.message}", site_of(node))
        if reason or matrix is None:
            return Miss(reason or "kept as factors: the marked chain does not act on its last axis row by row", site_of(node))
        dtype = found.weights[0].dtype
        assert dtype is not None, "a float constant"
        with np.errstate(over="ignore"):
            weight, bias = (part.astype(dtype.numpy()) for part in matrix)
        if not (np.isfinite(weight.astype(np.float64)).all() and np.isfinite(bias.astype(np.float64)).all()):
            return Miss(f"kept as factors: the product does not fit {dtype.numpy().name}", site_of(node))

        def change(editor: Editor) -> None:
            made = put_weight(editor, weight, found.name, owner_of(found.weights[0]), counted)
            editor.map(made.name or "", Mapped(Gone(f"{len(found.weights)} factors multiplied"), ()))
            for chain in chains:
                product = editor.at(chain.nodes[-1]).op("MatMul", [chain.data, made], like=chain.result)
                if bias.any():
                    product = editor.op("Add", [product, editor.constant(bias, f"{found.name}.bias")], like=chain.result)
                editor.replace(chain.result, product)

        return Rewrite.edit(site_of(node), f"{what} multiplied into %{found.name}", change, anchor=node)

    return match


def _folded(node: onnx_ir.Node) -> Folded | Miss | None:
    mark = node.metadata_props.get(CHAIN)
    if not mark or len(node.outputs) != 1:
        return None
    after = only_reader(node.outputs[0])
    if after is not None and after.metadata_props.get(CHAIN) == mark:
        return None
    nodes, data = [node], _data(node)
    while data is not None and (before := data.producer()) is not None and before.metadata_props.get(CHAIN) == mark:
        if only_reader(data) is None or len(before.outputs) != 1:
            return Miss(f"kept as factors: the value between, %{data.name}, is read outside the chain {mark!r} too", site_of(node))
        nodes.insert(0, before)
        data = _data(before)
    if nodes[0].op_type == "Transpose" and data is not None and rank(data) == 2:
        data = nodes.pop(0).outputs[0]  # of a Gemm that transposes its data
    if data is None:
        return Miss(f"kept as factors: a node of the chain {mark!r} does not read one value and constants", site_of(node))
    dims = shape_of(data)
    if not dims or not isinstance(dims[-1], int):
        return Miss(f"kept as factors: the last axis of %{data.name} has no known size", site_of(node))
    roots = [constant_root(value)[0] for one in nodes for value in one.inputs]
    weights = tuple(dict.fromkeys(root for root in roots if root is not None))
    if not any(one.op_type == "MatMul" for one in nodes) or not weights:
        return None
    return Folded(tuple(nodes), data, dims[-1], weights)


def _same_products(found: Folded) -> tuple[Folded, ...]:
    """This chain and all others that compute the same from the same weights: tied layers stay tied."""
    chains = {found.nodes[-1]: found}
    for reader in readers_of(found.weights[-1]) if in_one_graph(found.weights) else ():
        last = reader
        while last is not None and (after := only_reader(last.outputs[0])) is not None:
            if after.metadata_props.get(CHAIN) != last.metadata_props.get(CHAIN):
                break
            last = after
        other = None if last is None or last in chains else _folded(last)
        if isinstance(other, Folded) and _steps(other) == _steps(found):
            chains[other.nodes[-1]] = other
    return tuple(chains.values())


def _steps(chain: Folded) -> list[tuple[object, ...]]:
    """What each node does, constants of integers written out."""
    made: list[tuple[object, ...]] = []
    for node in chain.nodes:
        operands = [_operand(value) for value in node.inputs]
        made.append((node.op_type, ints_attr(node, "perm"), int_attr(node, "allowzero", 0), *operands))
    return made


def _operand(value: onnx_ir.Value | None) -> object:
    root, turned = constant_root(value)
    known = array(value)
    return (root, turned) if root is not None else None if known is None else tuple(known.reshape(-1).tolist())


def _data(node: onnx_ir.Node) -> onnx_ir.Value | None:
    variable = [value for value in node.inputs if value is not None and _known(value) is None]
    return variable[0] if len(variable) == 1 else None


def _known(value: onnx_ir.Value | None) -> np.ndarray | None:
    """A constant's elements, also behind Transpose."""
    root, turned = constant_root(value)
    found = array(value if root is None else root)
    return found.T if found is not None and turned else found


def _size(weight: onnx_ir.Value) -> int:
    tensor = constant(weight)
    return 0 if tensor is None else tensor.size


@dataclass(frozen=True, slots=True, eq=False)
class _Runner:
    """Runs a chain in float64 on rows."""

    chain: Folded
    opset: int

    def _lead(self, rows: int) -> tuple[int, ...]:
        """Leading axes that hold so many rows, where they are free to; the first free one takes what is needed."""
        dims = (shape_of(self.chain.data) or ())[:-1]
        fixed = prod(dim for dim in dims if isinstance(dim, int))
        lead: list[int] = []
        for dim in dims:
            lead.append(dim if isinstance(dim, int) else max(1, ceil(rows / fixed)))
            if not isinstance(dim, int):
                rows = 1
        return tuple(lead)

    def run(self, rows: np.ndarray) -> np.ndarray:
        """[n, inputs] → [n, outputs], as many at a time as the data's fixed axes allow."""
        lead = self._lead(len(rows))
        many = prod(lead)
        padded = np.concatenate([rows, np.zeros((-len(rows) % many, rows.shape[1]))])
        parts = [self._once(part.reshape(*lead, -1))[-1] for part in np.split(padded, len(padded) // many)]
        return np.concatenate([part.reshape(many, -1) for part in parts])[: len(rows)]

    def _once(self, x: np.ndarray) -> list[np.ndarray]:
        """What each node gives."""
        values: dict[onnx_ir.Value, np.ndarray] = {self.chain.data: x}
        made: list[np.ndarray] = []
        for node in self.chain.nodes:
            try:
                (result,) = _evaluate(node, values, self.opset)
            except (ValueError, IndexError) as error:
                raise EvaluationError(f"{node.op_type}: {error}", place=node.outputs[0].name) from error
            values[node.outputs[0]] = result
            made.append(result)
        if made[-1].shape[:-1] != x.shape[:-1]:
            raise EvaluationError(f"its result is {list(made[-1].shape)} for data of {list(x.shape)}", place=self.chain.result.name)
        return made

    def macs(self) -> tuple[float, int]:
        """Multiply-accumulates for one row, and outputs."""
        lead = self._lead(1)
        made = self._once(np.zeros((*lead, self.chain.inputs)))
        total = 0
        for node, result in zip(self.chain.nodes, made, strict=True):
            known = [found for value in node.inputs if (found := _known(value)) is not None]
            if node.op_type == "MatMul" and known:
                total += result.size * known[0].shape[-2 if _known(node.inputs[1]) is not None else -1]
        return total / prod(lead), made[-1].shape[-1]

    def matrix(self) -> tuple[np.ndarray, np.ndarray] | None:
        """W: [inputs, outputs] and b: [outputs]; None where random rows say that there is more to it."""
        bias = self.run(np.zeros((1, self.chain.inputs)))[0]
        weight = self.run(np.eye(self.chain.inputs)) - bias
        rows = np.random.default_rng(0).normal(size=(7, self.chain.inputs))
        expected, found = rows @ weight + bias, self.run(rows)
        close = np.abs(found - expected).max(initial=0.0) <= _TOLERANCE * max(1.0, np.abs(expected).max(initial=0.0))
        return (weight, bias) if close else None


def _evaluate(node: onnx_ir.Node, values: Mapping[onnx_ir.Value, np.ndarray], opset: int) -> Sequence[np.ndarray]:
    inputs: list[np.ndarray | None] = []
    for value in node.inputs:
        known = None if value is None else values.get(value)
        if known is None:
            found = _known(value)
            known = found.astype(np.float64) if found is not None and value is not None and is_float(value.dtype) else found
        inputs.append(known)
    if node.op_type == "MatMul" and all(given is not None for given in inputs):
        left, right = (given for given in inputs if given is not None)
        return [left @ right]
    return evaluate(node, inputs, opset)
