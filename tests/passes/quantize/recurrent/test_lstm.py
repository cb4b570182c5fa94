"""LSTM to DynamicQuantizeLSTM."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.passes import Context
from netwright.passes.quantize.grus import NO_GRU
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops, quantized, reasons

HIDDEN, INPUTS, STEPS, BATCH = 80, 40, 6, 3


def lstm(attributes: str = "", inputs: str = "x, w, r, b", directions: int = 1, outputs: str = "y", dtype: str = "float") -> Program:
    """One LSTM layer; `inputs` may name x, w, r, b, lengths, h, c, p."""
    weights = {
        "w": normal(directions, 4 * HIDDEN, INPUTS, seed=1) / 6,
        "r": normal(directions, 4 * HIDDEN, HIDDEN, seed=2) / 9,
        "b": normal(directions, 8 * HIDDEN, seed=3) / 4,
        "lengths": np.array([6, 4, 2], np.int64),
        "h": normal(directions, BATCH, HIDDEN, seed=4),
        "c": normal(directions, BATCH, HIDDEN, seed=5),
        "p": normal(directions, 3 * HIDDEN, seed=6),
    }
    used = [name.strip() for name in inputs.split(",")]
    declared = {
        "y": f"{dtype}[T, {directions}, N, {HIDDEN}] y",
        "yh": f"{dtype}[{directions}, N, {HIDDEN}] yh",
        "yc": f"{dtype}[{directions}, N, {HIDDEN}] yc",
    }
    results = ", ".join(declared[name.strip()] for name in outputs.split(",") if name.strip())
    cast = "l32 = Cast <to: int = 6> (lengths)" if "lengths" in used else ""
    text = f"""{HEAD} g ({dtype}[T, N, {INPUTS}] x, WEIGHTS) => ({results})
    {{ {cast}  {outputs} = LSTM <hidden_size: int = {HIDDEN}{attributes}> ({inputs.replace("lengths", "l32")}) }}"""
    return program_of(text, {name: array for name, array in weights.items() if name in used})


@pytest.mark.parametrize(
    ("attributes", "inputs", "directions", "outputs"),
    [
        ("", "x, w, r", 1, "y"),
        ("", "x, w, r, b", 1, "y, yh, yc"),
        (', direction: string = "reverse"', "x, w, r, b", 1, "y"),
        (', direction: string = "bidirectional"', "x, w, r, b", 2, "y, yh, yc"),
        ("", "x, w, r, b, lengths, h, c", 1, "y, yh, yc"),
        (', direction: string = "bidirectional"', "x, w, r, b, lengths, h, c, p", 2, "y, yh, yc"),
        (", clip: float = 0.5", "x, w, r, b", 1, "y"),
        (', activations: strings = ["HardSigmoid", "Tanh", "Relu"]', "x, w, r, b", 1, "y"),
        ("", "x, w, r, b", 1, "y, yh"),
    ],
)
def test_every_kind_of_lstm_is_close_to_float(attributes: str, inputs: str, directions: int, outputs: str) -> None:
    program = lstm(attributes, inputs, directions, outputs)
    outcome = quantized(program, scheme="dynamic")
    assert "DynamicQuantizeLSTM" in ops(outcome.program)
    assert "LSTM" not in ops(outcome.program)
    x = normal(STEPS, BATCH, INPUTS, seed=7)
    for before, after in zip(evaluate(program, {"x": x}), evaluate(outcome.program, {"x": x}), strict=True):
        assert np.linalg.norm(after - before) < 0.03 * np.linalg.norm(before)


def test_scales_belong_to_gates() -> None:
    program = lstm()
    outcome = quantized(program, scheme="dynamic")
    weight, stored, scale = (
        program.value("w").const_value,
        outcome.program.value("w.int8").const_value,
        outcome.program.value("w.scale").const_value,
    )
    assert weight is not None
    assert stored is not None
    assert scale is not None
    assert tuple(stored.shape) == (1, INPUTS, 4 * HIDDEN)
    assert np.abs(stored.numpy() * scale.numpy()[:, None, :] - weight.numpy().transpose(0, 2, 1)).max() <= scale.numpy().max() / 2 + 1e-6
    assert np.array_equal(outcome.program.ledger.actions[0].maps["w.int8"].map.apply(weight.numpy()), stored.numpy())


def test_layers_that_share_weights_go_on_sharing_them() -> None:
    weights = {"w": normal(1, 320, 80) / 9, "r": normal(1, 320, 80, seed=1) / 9}
    text = f"""{HEAD} g (float[T, N, 80] x, WEIGHTS) => (float[T, 1, N, 80] z)
    {{ y = LSTM <hidden_size: int = 80> (x, w, r)  axes = Constant <value_ints = [1]> ()
      s = Squeeze (y, axes)  z = LSTM <hidden_size: int = 80> (s, w, r) }}"""
    outcome = quantized(program_of(text, weights), scheme="dynamic")
    assert ops(outcome.program).count("DynamicQuantizeLSTM") == 2
    assert outcome.rows[0].actions == 1
    assert [value.name for value in outcome.program.initializers() if "int8" in (value.name or "")] == ["w.int8", "r.int8"]


def test_a_batch_first_lstm_stays_float() -> None:
    weights = {"w": normal(1, 320, 80), "r": normal(1, 320, 80)}
    text = (
        f"{HEAD} g (float[N, T, 80] x, WEIGHTS) => (float[N, T, 1, 80] y) {{ y = LSTM <hidden_size: int = 80, layout: int = 1> (x, w, r) }}"
    )
    assert "no batch-first layout" in reasons(quantized(program_of(text, weights), scheme="dynamic"))["y"]


def test_a_small_lstm_stays_float_with_the_numbers() -> None:
    weights = {"w": normal(1, 128, 20), "r": normal(1, 128, 32)}
    text = f"{HEAD} g (float[T, N, 20] x, WEIGHTS) => (float[T, 1, N, 32] y) {{ y = LSTM <hidden_size: int = 32> (x, w, r) }}"
    assert (
        "32 hidden units with 20 inputs have 6656 weights, under 32768"
        in reasons(quantized(program_of(text, weights), scheme="dynamic"))["y"]
    )


def test_weights_that_nodes_assemble_ask_for_simplify_first() -> None:
    weights = {"w": normal(1, 320, 80), "r": normal(1, 320, 80)}
    text = f"""{HEAD} g (float[T, N, 80] x, WEIGHTS) => (float[T, 1, N, 80] y)
    {{ v = Identity (w)  y = LSTM <hidden_size: int = 80> (x, v, r) }}"""
    assert "run simplify first" in reasons(quantized(program_of(text, weights), scheme="dynamic"))["y"]


def test_steep_gates_stay_float_with_the_number() -> None:
    program = lstm()
    weight = program.value("w").const_value
    assert weight is not None
    steep = weight.numpy().copy()
    steep[0, 3, 5] = 40
    with program.edit() as editor:
        editor.set_constant(program.value("w"), steep)
    assert "its input weights reach 40, over 16" in reasons(quantized(program, scheme="dynamic"))["y"]


def test_a_layer_that_comes_out_wrong_on_its_data_stays_float_with_the_error() -> None:
    program = lstm()
    spiked = normal(STEPS, BATCH, INPUTS, seed=7)
    spiked[0, 0, :] = 1e6 * np.sign(spiked[0, 0])  # all other inputs lie under a hundredth of a step, in however many parts
    context = Context(executor=OrtExecutor(), calibration=[{"x": spiked}])
    outcome = quantized(program, context, scheme="dynamic")
    assert "as int8 its outputs are off by 0." in reasons(outcome)["y"]
    assert "LSTM" in ops(outcome.program)


def test_a_layer_that_comes_out_right_on_its_data_is_quantized() -> None:
    context = Context(executor=OrtExecutor(), calibration=[{"x": normal(STEPS, BATCH, INPUTS, seed=7)}])
    assert "DynamicQuantizeLSTM" in ops(quantized(lstm(), context, scheme="dynamic").program)


def test_gru_and_rnn_stay_float() -> None:
    weights = {"w": normal(1, 240, 80), "r": normal(1, 240, 80), "v": normal(1, 80, 80), "s": normal(1, 80, 80)}
    text = f"""{HEAD} g (float[T, N, 80] x, WEIGHTS) => (float[T, 1, N, 80] y, float[T, 1, N, 80] z)
    {{ y = GRU <hidden_size: int = 80> (x, w, r)  z = RNN <hidden_size: int = 80> (x, v, s) }}"""
    outcome = quantized(program_of(text, weights), scheme="dynamic")
    assert reasons(outcome) == {
        "y": f"left float: {NO_GRU}",
        "z": "left float: ONNX Runtime has no integer kernel for RNN",
    }
