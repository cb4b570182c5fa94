"""`unroll`: layers written out compute what ONNX Runtime's layers compute, with shared weights, and say what they cannot do."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.errors import DataError, PipelineError
from netwright.ir.verify import verify
from netwright.passes import Context, Outcome, Pipeline, run
from netwright.passes.quantize import Quantize
from netwright.passes.recurrent import Unroll
from netwright.passes.values import errors, within
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops, reasons

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 6, 8
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(
    kind: str,
    inputs: str = "x, w, r, b",
    attributes: str = "",
    *,
    directions: int = 1,
    steps: int | str = STEPS,
    outputs: str = "y, yh",
    more: str = "",
    head: str = HEAD,
    hidden: int = HIDDEN,
) -> Program:
    """One recurrent layer; `inputs` may name x, w, r, b, lengths, h, c, p."""
    gates = GATES[kind] * hidden
    weights = {
        "w": normal(directions, gates, INPUTS, seed=1) / 2,
        "r": normal(directions, gates, hidden, seed=2) / 3,
        "b": normal(directions, 2 * gates, seed=3) / 3,
        "lengths": np.full(BATCH, STEPS, np.int32),
        "ragged": np.array([STEPS, 2, 1], np.int32),
        "h": normal(directions, BATCH, hidden, seed=4),
        "c": normal(directions, BATCH, hidden, seed=5),
        "zeros": np.zeros((directions, BATCH, hidden), np.float32),
        "p": normal(directions, 3 * hidden, seed=6) / 2,
        "r2": normal(directions, gates, hidden, seed=7) / 3,
        "w2": normal(directions, gates, hidden, seed=8) / 3,
    }
    last = f"float[{directions}, N, {hidden}]"
    declared = {
        "y": f"float[{steps}, {directions}, N, {hidden}] y",
        "yh": f"{last} yh",
        "yc": f"{last} yc",
        "z": f"float[{steps}, 1, N, {hidden}] z",
    }
    names = [name.strip() for name in outputs.split(",")]
    made = ("y", "yh", "yc")[: 3 if kind == "LSTM" else 2]
    text = f"""{head} g (float[{steps}, N, {INPUTS}] x, WEIGHTS) => ({", ".join(declared[name] for name in names)})
    {{ {", ".join(made)} = {kind} <hidden_size: int = {hidden}{attributes}> ({inputs}) {more} }}"""
    used = {
        name: data
        for name, data in weights.items()
        if name in f"{inputs},{more}".replace("(", ",").replace(" ", "").replace(")", ",").split(",")
    }
    return program_of(text, used)


def unrolled(program: Program, **options: object) -> Outcome:
    """The outcome of `unroll(**options)`, verified after each action."""
    outcome = run(program, [Unroll(**options)], Context(), verify_each=True)  # type: ignore[arg-type]
    verify(outcome.program)
    return outcome


def assert_same(program: Program, result: Program) -> None:
    """Outputs on random inputs are close, as the pass promises."""
    feeds = {"x": normal(STEPS, BATCH, INPUTS, seed=9)}
    names = [value.name or "" for value in program.outputs]
    before, after = (dict(zip(names, evaluate(one, feeds), strict=True)) for one in (program, result))
    assert {name: data.shape for name, data in before.items()} == {name: data.shape for name, data in after.items()}
    assert within(errors(before, after), Unroll.numerics)


BOTH = ', direction: string = "bidirectional"'
BACK = ', direction: string = "reverse"'
CASES = [
    ("LSTM", "x, w, r", "", 1),
    ("LSTM", "x, w, r, b", "", 1),
    ("LSTM", "x, w, r, b", BACK, 1),
    ("LSTM", "x, w, r, b", BOTH, 2),
    ("LSTM", "x, w, r, b, , h, c", "", 1),
    ("LSTM", "x, w, r, b, , h", "", 1),
    ("LSTM", "x, w, r, b, , , c", BOTH, 2),
    ("LSTM", "x, w, r, b, lengths, zeros, zeros", "", 1),
    ("LSTM", "x, w, r, b, , h, c, p", "", 1),
    ("LSTM", "x, w, r, b, , , , p", BOTH, 2),
    ("LSTM", "x, w, r, b, , h", ', activations: strings = ["HardSigmoid", "Relu", "Softsign"]', 1),
    ("GRU", "x, w, r", "", 1),
    ("GRU", "x, w, r, b", BACK, 1),
    ("GRU", "x, w, r, b, , h", BOTH, 2),
    ("GRU", "x, w, r, b", ", linear_before_reset: int = 1", 1),
    ("GRU", "x, w, r", ", linear_before_reset: int = 1", 1),
    ("GRU", "x, w, r, b, , h", BOTH + ", linear_before_reset: int = 1", 2),
    ("GRU", "x, w, r, b, lengths, zeros", ', activations: strings = ["Sigmoid", "Softsign"]', 1),
    ("RNN", "x, w, r, b", "", 1),
    ("RNN", "x, w, r, b, , h", BOTH + ', activations: strings = ["Relu", "Tanh"]', 2),
]


@pytest.mark.parametrize("hoist", [True, False])
@pytest.mark.parametrize(("kind", "inputs", "attributes", "directions"), CASES)
def test_steps_written_out_compute_the_same(kind: str, inputs: str, attributes: str, directions: int, hoist: bool):
    program = layer(kind, inputs, attributes, directions=directions, outputs="y, yh, yc" if kind == "LSTM" else "y, yh")
    outcome = unrolled(program, hoist=hoist)
    assert not set(ops(outcome.program)) & set(GATES)
    assert_same(program, outcome.program)


@pytest.mark.parametrize("outputs", ["y", "yh", "yc", "yh, yc"])
@pytest.mark.parametrize(("attributes", "directions"), [("", 1), (BOTH, 2)])
def test_outputs_that_nobody_reads_are_not_made(outputs: str, attributes: str, directions: int):
    program = layer("LSTM", attributes=attributes, directions=directions, outputs=outputs)
    result = unrolled(program).program
    assert_same(program, result)
    assert ("Unsqueeze" in ops(result)) == ("y" in outputs.split(", "))


def test_a_single_step():
    program = layer("GRU", "x, w, r, b, , h", steps=1)
    result = unrolled(program).program
    feeds = {"x": normal(1, BATCH, INPUTS, seed=9)}
    for before, after in zip(evaluate(program, feeds), evaluate(result, feeds), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_the_input_has_one_product_and_every_step_one_with_the_same_weight():
    result = unrolled(layer("LSTM", attributes=BOTH, directions=2)).program
    products = list(result.nodes("MatMul"))
    readers = Counter(node.inputs[1].name for node in products if node.inputs[1] is not None)
    assert readers == {"w.turned": 1, "r.0.turned": STEPS - 1, "r.1.turned": STEPS - 1}
    assert [name for name, value in result.graph.initializers.items() if not value.uses()] == []


def test_each_step_can_have_its_own_input_product():
    result = unrolled(layer("LSTM", attributes=BOTH, directions=2), hoist=False).program
    readers = Counter(node.inputs[1].name for node in result.nodes("MatMul") if node.inputs[1] is not None)
    assert readers == {"w.turned": STEPS, "r.0.turned": STEPS - 1, "r.1.turned": STEPS - 1}


def test_a_state_of_zeros_costs_no_product():
    count = {
        inputs: len(list(unrolled(layer("GRU", inputs)).program.nodes("MatMul")))
        for inputs in ("x, w, r, b, , h", "x, w, r, b, , zeros", "x, w, r, b")
    }
    assert count == {"x, w, r, b, , h": 1 + 2 * STEPS, "x, w, r, b, , zeros": 2 * STEPS - 1, "x, w, r, b": 2 * STEPS - 1}


def test_layers_that_share_a_weight_go_on_sharing():
    program = layer(
        "LSTM",
        outputs="z",
        more=f"axes = Constant <value_ints = [1]> () s = Squeeze (y, axes) z, zh, zc = LSTM <hidden_size: int = {HIDDEN}> (s, w2, r, b)",
    )
    result = unrolled(program).program
    assert sorted(name for name in result.graph.initializers if name.endswith("turned")) == ["r.turned", "w.turned", "w2.turned"]
    assert_same(program, result)


def test_weights_say_where_they_came_from():
    program = layer("GRU", attributes=BOTH, directions=2)
    outcome = unrolled(program)
    before = {value.name or "": value.const_value for value in program.initializers()}
    maps = {name: mapped for action in outcome.program.ledger.actions for name, mapped in action.maps.items()}
    assert len(maps) == 5
    for name, value in outcome.program.graph.initializers.items():
        if name.endswith("turned"):
            mapped, held = maps[name], value.const_value
            assert held is not None
            sources = [before[source].numpy() for source in mapped.sources]  # type: ignore[union-attr]
            np.testing.assert_array_equal(mapped.map.apply(*sources), held.numpy())


def test_named_steps_can_be_given_a_number():
    program = layer("LSTM", steps="T", outputs="y, yh")
    assert reasons(unrolled(program)) == {"y": "the number of steps is T: unroll(dims={'T': 100}) fixes it, for inputs of that size alone"}
    outcome = unrolled(program, dims={"T": STEPS})
    assert str(outcome.program.inputs[0].shape) == f"[{STEPS},N,{INPUTS}]"
    assert "LSTM" not in ops(outcome.program)
    assert_same(program, outcome.program)
    assert run(outcome.program, [Unroll(dims={"T": STEPS})], Context()).rows[0].actions == 0


def test_dimensions_that_cannot_be_fixed():
    outcome = unrolled(layer("LSTM", steps="T"), dims={"S": 4})
    assert reasons(outcome)["g"] == "no input has a dimension S; those with names: N, T"
    with pytest.raises(DataError, match=r"The dimension T cannot be 0\."):
        unrolled(layer("LSTM", steps="T"), dims={"T": 0})


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "reason"),
    [
        ("LSTM", "x, w, r, b, ragged", "", "%ragged gives sequences lengths of their own; only the full 5 steps can be written out"),
        ("LSTM", "x, w, r, b", ", clip: float = 2.0", "the attribute clip, which has no counterpart among operators of one step"),
        (
            "LSTM",
            "x, w, r, b",
            ", input_forget: int = 1",
            "the attribute input_forget, which has no counterpart among operators of one step",
        ),
        ("RNN", "x, w, r, b", ', activations: strings = ["Affine"]', "the activation Affine; those that can be written out are Elu"),
        ("GRU", "x, w, r, b", ", layout: int = 1", "its first axis is the batch (layout 1)"),
    ],
)
def test_what_cannot_be_written_out_says_why(kind: str, inputs: str, attributes: str, reason: str):
    outcome = unrolled(layer(kind, inputs, attributes))
    assert kind in ops(outcome.program)
    assert reasons(outcome)["y"].startswith(reason)


def test_long_sequences_and_weights_that_are_computed_stay():
    assert reasons(unrolled(layer("GRU"), limit=4)) == {"y": "5 steps; unroll(limit=4) writes out 1 to 4"}
    program = program_of(
        f"{HEAD} g (float[{STEPS}, N, {INPUTS}] x, float[1, {HIDDEN}, {INPUTS}] w, WEIGHTS) => (float[{STEPS}, 1, N, {HIDDEN}] y) "
        f"{{ y = RNN <hidden_size: int = {HIDDEN}> (x, w, r) }}",
        {"r": normal(1, HIDDEN, HIDDEN)},
    )
    assert reasons(unrolled(program)) == {"y": "the weight W (%w) is not constant"}
    old = layer("GRU", head='<ir_version: 10, opset_import: ["" : 12]>')
    assert reasons(unrolled(old)) == {"y": "opset 12 is below 13: simplify(opset=20) raises it"}


def test_integers_come_after():
    outcome = run(layer("LSTM", hidden=256), [Quantize(scheme="dynamic"), Unroll()], Context())
    assert ops(outcome.program).count("DynamicQuantizeLSTM") == 1
    assert list(reasons(outcome).values()) == ["its weights are integers already: `unroll` goes before `quantize`"]


def test_options_print_and_are_checked():
    assert str(Pipeline.parse("unroll(dims={'T': 9})")) == "unroll(dims={'T': 9})"
    with pytest.raises(PipelineError, match="the least is 1"):
        Unroll(limit=0)
