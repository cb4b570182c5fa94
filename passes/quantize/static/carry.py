"""Carrying static quantization out: one rewrite for each unit, and one for each neighbour that becomes an integer kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import onnx_ir

from netwright.ir.dims import shape_of
from netwright.ir.editor import Editor
from netwright.ir.program import Program, array
from netwright.passes.base import Proposals
from netwright.passes.quantize.choice import ActivationGrid, Static
from netwright.passes.quantize.rounding import Rounder
from netwright.passes.quantize.sites import GATES
from netwright.passes.quantize.static.convolution import quantize_convolutions
from netwright.passes.quantize.static.fitting import fitted
from netwright.passes.quantize.static.operands import quantize_pair
from netwright.passes.quantize.static.operators import data_inputs
from netwright.passes.quantize.static.pairs import Pairs
from netwright.passes.quantize.static.product import quantize_products
from netwright.passes.quantize.static.regions import Regions
from netwright.passes.quantize.static.strides import stride_of
from netwright.passes.quantize.units import Unit
from netwright.passes.rewrite import Miss, Rewrite, site_of


def quantize_static(
    program: Program,
    choices: Mapping[Unit, Static],
    grids: Mapping[str, ActivationGrid],
    rounder: Rounder,
    *,
    trainable: bool = False,
    prepare: Callable[[Unit, Static], Proposals] | None = None,
) -> Proposals:
    """Write units as kernels between integers, in standard QuantizeLinear and DequantizeLinear.

    Args:
        program: as the units were found in it.
        choices: the decision for each unit.
        grids: of the values that `activations_of` names; where one is missing, the unit or neighbour stays float.
        rounder: makes integers of the weights.
        trainable: keep weights and biases in float32, on their grids by nodes in the graph; the pass `fold` makes integers of them.
        prepare: what is done right before a unit, when everything before it is integers.
    """
    regions = Regions.of(program, choices)
    pairs = Pairs.of(program, fitted(program, grids))
    steps: list[tuple[int, Rewrite | Miss]] = []
    starts: dict[int, Unit] = {}
    for unit, choice in choices.items():
        place = pairs.order.get(unit.sites[0].node, 0)
        reason = _obstacle(unit, pairs, regions)
        if reason is not None:
            steps.extend((place, Miss(reason, site.name)) for site in unit.sites)
            continue
        steps.extend((place, Miss(reason, name)) for name, reason in _strides_kept(unit, choice, trainable))
        write = quantize_convolutions if unit.convolutions else quantize_products
        change = partial(_quantize, write, unit, choice, rounder, pairs, regions, trainable)
        if unit.sites[0].kind == "pair":
            change = partial(quantize_pair, unit.sites[0].node, pairs, regions)
        else:
            starts[len(steps)] = unit
        steps.append((place, Rewrite.edit(unit.sites[0].name, _why(unit, choice), change, anchor=unit.sites[0].node)))
    for node in regions.neighbours:
        reason = _lacking([node.inputs[index] for index in data_inputs(node)], [regions.tails[node].value], pairs)
        if reason is not None:
            steps.append((pairs.order[node], Miss(reason, site_of(node))))
            continue
        change = partial(_neighbour, node, regions.tails[node].last, pairs)
        why = f"{node.op_type} between integers"
        steps.append((pairs.order[node], Rewrite.edit(site_of(node), why, change, anchor=node)))
    for number in sorted(range(len(steps)), key=lambda number: steps[number][0]):
        if prepare is not None and number in starts:
            yield from prepare(starts[number], choices[starts[number]])
        yield steps[number][1]


def _quantize(
    write: Callable[..., None],
    unit: Unit,
    choice: Static,
    rounder: Rounder,
    pairs: Pairs,
    regions: Regions,
    trainable: bool,
    editor: Editor,
) -> None:
    write(editor, unit.sites, choice, rounder, pairs, regions, trainable=trainable)


def _neighbour(node: onnx_ir.Node, last: onnx_ir.Node, pairs: Pairs, editor: Editor) -> None:
    if node.op_type == "HardSwish":
        _hard_swish(node, pairs, editor)
        return
    for index in data_inputs(node):
        pairs.read(editor, node, index)
    pairs.settle(editor, last)


def _hard_swish(node: onnx_ir.Node, pairs: Pairs, editor: Editor) -> None:
    """`x * HardSigmoid(x)` (ONNX), so that the gate becomes integers of x's own."""
    pairs.read(editor, node, 0)
    source, out = node.inputs[0], node.outputs[0]
    gate = editor.op("HardSigmoid", [source], {"alpha": 1 / 6, "beta": 0.5}, name=f"{out.name}.gate", like=out)
    product = editor.op("Mul", [source, gate], name=f"{out.name}.product", like=out)
    made = product.producer()
    assert made is not None
    pairs.order[made] = pairs.order[node]
    pairs.read(editor, made, 1)
    editor.replace(out, product)
    pairs.settle(editor, made)


def _why(unit: Unit, choice: Static) -> str:
    if not unit.weights:
        return "both operands on fixed grids"
    return f"int{choice.bits} weights by {choice.axis}, activations on fixed grids"


def _obstacle(unit: Unit, pairs: Pairs, regions: Regions) -> str | None:
    """Why a unit stays float; None where it need not."""
    if unit.tables or unit.sites[0].kind in GATES:
        return "left float: static quantization is for products and convolutions; scheme='dynamic' quantizes tables, LSTMs and GRUs"
    for site in unit.sites:
        source = site.node.inputs[0]
        sources = list(site.node.inputs) if site.kind == "pair" else [source]
        dtype = source.dtype if source is not None else None
        if dtype not in (None, onnx_ir.DataType.FLOAT) or any(weight.dtype != onnx_ir.DataType.FLOAT for weight in site.weights):
            return (
                f"left float: static quantization takes float32, and %{site.name} is {dtype.name.lower() if dtype else 'of another type'}"
            )
        ranks = [len(dims) for value in sources if (dims := shape_of(value)) is not None]
        if site.kind == "pair" and min(ranks, default=2) < 2:
            return f"left float: one of its operands has {min(ranks)} dimensions, and 2 are the fewest"
        dims = shape_of(source)
        if site.kind == "linear" and dims is not None and len(dims) < 2:
            return f"left float: its activation has {len(dims)} dimensions, and 2 are the fewest"
        bias = site.node.inputs[2] if site.kind == "conv" and len(site.node.inputs) > 2 else None
        if bias is not None and array(bias) is None:
            return f"left float: its bias %{bias.name} is computed"
        results = [regions.tails[site.node].value] if site.node in regions.results else []
        reason = _lacking(sources, results, pairs)
        if reason is not None:
            return reason
    return None


def _strides_kept(unit: Unit, choice: Static, trainable: bool) -> Iterator[tuple[str, str]]:
    """Sites whose stride was to be folded and is not, with the reason."""
    for site in unit.sites if choice.fold_stride else ():
        stride = "taps are trained as they are" if trainable else stride_of(site)
        if isinstance(stride, str):
            yield site.name, f"its stride is not folded: {stride}"


def _lacking(sources: list[onnx_ir.Value | None], results: list[onnx_ir.Value], pairs: Pairs) -> str | None:
    names = [pairs.missing(source) for source in sources]
    names += [result.name if result.name not in pairs.grids else None for result in results]
    missing = next((name for name in names if name is not None), None)
    if missing is not None:
        return f"left float: there is no grid for %{missing} (the plan's activation:{missing})"
    double = next((result.name for result in results if _is_twice_output(result)), None)
    return None if double is None else f"left float: its result %{double} is an output of the graph twice"


def _is_twice_output(value: onnx_ir.Value) -> bool:
    return value.is_graph_output() and value.graph is not None and sum(output is value for output in value.graph.outputs) > 1
