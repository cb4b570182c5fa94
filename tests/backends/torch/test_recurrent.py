"""LSTM, GRU and RNN on torch: ONNX Runtime's values, and gradients for every option."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from netwright.backends.torch.ops import recurrent_layer
from netwright.ir.errors import NetwrightError
from tests.backends.torch.single import Array, assert_same, by_torch, entry

TIME, BATCH, WIDTH, HIDDEN = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = ("forward", "reverse", "bidirectional")
LENGTHS = np.array([5, 2, 4], np.int32)


def operands(
    op_type: str, direction: str, *, lengths: bool = False, initial: bool = True, biases: bool = True, peepholes: bool = False
) -> list[Array]:
    """Random inputs of a recurrent operator in layout 0."""
    draw = np.random.default_rng(7)
    ways, gates = 2 if direction == "bidirectional" else 1, GATES[op_type]

    def random(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.6, shape).astype(np.float32)

    state = functools.partial(random, ways, BATCH, HIDDEN)
    inputs: list[Array] = [
        random(TIME, BATCH, WIDTH),
        random(ways, gates * HIDDEN, WIDTH),
        random(ways, gates * HIDDEN, HIDDEN),
        random(ways, 2 * gates * HIDDEN) if biases else None,
        LENGTHS if lengths else None,
        state() if initial else None,
    ]
    if op_type == "LSTM":
        inputs += [state() if initial else None, random(ways, 3 * HIDDEN) if peepholes else None]
    return inputs


def batch_first(inputs: list[Array]) -> list[Array]:
    """Inputs of layout 1 from those of layout 0."""
    turned = {
        place: np.ascontiguousarray(array.swapaxes(0, 1)) for place, array in enumerate(inputs) if place in (0, 5, 6) and array is not None
    }
    return [turned.get(place, array) for place, array in enumerate(inputs)]


def outputs_of(op_type: str) -> tuple[bool, ...]:
    return (True, True, True) if op_type == "LSTM" else (True, True)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_values_are_those_of_onnx_runtime(op_type: str, lengths: bool, direction: str) -> None:
    attributes: dict[str, object] = {"direction": direction, "hidden_size": HIDDEN}
    for initial, biases in ((True, True), (False, False)):
        inputs = operands(op_type, direction, lengths=lengths, initial=initial, biases=biases)
        assert_same(op_type, inputs, attributes, outputs=outputs_of(op_type))


OPTIONS: list[tuple[str, dict[str, object]]] = [
    ("LSTM", {"clip": 0.4}),
    ("LSTM", {"input_forget": 1}),
    ("LSTM", {"activations": ["HardSigmoid", "ScaledTanh", "Elu"], "activation_alpha": [0.3, 0.9, 0.7], "activation_beta": [0.4, 1.2]}),
    ("LSTM", {"activations": ["Sigmoid", "LeakyRelu", "Softsign"]}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"linear_before_reset": 1, "clip": 0.3}),
    ("GRU", {"clip": 0.3}),
    ("GRU", {"activations": ["HardSigmoid", "Softplus"]}),
    ("GRU", {"activations": ["Sigmoid", "Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]}),
    ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]}),
    ("RNN", {"activations": ["Sigmoid"], "clip": 0.5}),
]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op_type", "options"), OPTIONS)
def test_every_option_gives_the_values_of_onnx_runtime(op_type: str, options: dict[str, object], direction: str) -> None:
    attributes = {"direction": direction, "hidden_size": HIDDEN, **options}
    if direction == "bidirectional":
        attributes |= {name: [*value, *value] for name, value in options.items() if isinstance(value, list)}
    for lengths in (False, True):
        assert_same(op_type, operands(op_type, direction, lengths=lengths), attributes, outputs=outputs_of(op_type))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("lengths", [False, True])
def test_peepholes_give_the_values_of_onnx_runtime(lengths: bool, direction: str) -> None:
    inputs = operands("LSTM", direction, lengths=lengths, peepholes=True)
    assert_same("LSTM", inputs, {"direction": direction, "hidden_size": HIDDEN}, outputs=outputs_of("LSTM"))


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_layout_1_puts_the_batch_first(op_type: str) -> None:
    inputs = operands(op_type, "bidirectional", lengths=True)
    first = batch_first(inputs)
    attributes: dict[str, object] = {"direction": "bidirectional", "hidden_size": HIDDEN}
    expected = by_torch(op_type, inputs, attributes, outputs=outputs_of(op_type))
    found = by_torch(op_type, first, {**attributes, "layout": 1}, outputs=outputs_of(op_type))
    torch.testing.assert_close(found[0], expected[0].permute(2, 0, 1, 3))
    for one, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other.transpose(0, 1))


def test_beyond_a_length_outputs_are_zero_and_the_last_state_is_the_last_valid_one() -> None:
    y, last = by_torch("GRU", operands("GRU", "forward", lengths=True), {"linear_before_reset": 1}, outputs=(True, True))
    for sample, length in enumerate(LENGTHS):
        assert (y[length:, :, sample] == 0).all()
        torch.testing.assert_close(last[0, sample], y[length - 1, 0, sample])


def test_an_empty_sequence_keeps_its_initial_state() -> None:
    inputs = operands("GRU", "reverse")
    inputs[4] = np.array([0, 5, 5], np.int32)
    for before in (0, 1):
        y, last = by_torch("GRU", inputs, {"direction": "reverse", "linear_before_reset": before}, outputs=(True, True))
        assert (y[:, :, 0] == 0).all()
        assert inputs[5] is not None
        torch.testing.assert_close(last[0, 0], torch.from_numpy(inputs[5][0, 0]))


def test_an_unknown_activation_is_refused_by_name() -> None:
    with pytest.raises(NetwrightError, match="'Swoosh'"):
        by_torch("RNN", operands("RNN", "forward"), {"activations": ["Swoosh"]}, outputs=(True, True))


GRADIENTS: list[tuple[str, dict[str, object], bool, bool]] = [
    *(
        (op_type, {"direction": way}, lengths, False)
        for op_type in ("LSTM", "GRU", "RNN")
        for way in DIRECTIONS
        for lengths in (False, True)
    ),
    *(("GRU", {"direction": way, "linear_before_reset": 1}, lengths, False) for way in DIRECTIONS for lengths in (False, True)),
    ("LSTM", {"direction": "bidirectional"}, True, True),
    ("LSTM", {"clip": 0.9, "input_forget": 1}, False, True),
    ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Softplus"]}, False, False),
    ("GRU", {"activations": ["Sigmoid", "ScaledTanh"], "layout": 1}, False, False),
]


@pytest.mark.parametrize(("op_type", "attributes", "lengths", "peepholes"), GRADIENTS)
def test_gradients_reach_every_operand(op_type: str, attributes: dict[str, object], lengths: bool, peepholes: bool) -> None:
    inputs = operands(op_type, str(attributes.get("direction", "forward")), lengths=lengths, peepholes=peepholes)
    if attributes.get("layout"):
        inputs = batch_first(inputs)
    places = [index for index, array in enumerate(inputs) if array is not None and array.dtype == np.float32]
    leaves = [torch.tensor(inputs[index], dtype=torch.float64, requires_grad=True) for index in places]

    def run(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        filled: list[Array | torch.Tensor] = list(inputs)
        for index, tensor in zip(places, given, strict=True):
            filled[index] = tensor
        return tuple(by_torch(op_type, filled, attributes, outputs=outputs_of(op_type)))

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("lengths", [False, True])
def test_plain_layers_run_through_the_kernels_of_torch(op_type: str, lengths: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("step by step")

    monkeypatch.setattr("netwright.backends.torch.ops.recurrent.stepped", refuse)
    attributes: dict[str, object] = {"linear_before_reset": 1} if op_type == "GRU" else {}
    outputs = (True, True, False) if op_type == "LSTM" else (True, True)
    y, last = by_torch(op_type, operands(op_type, "forward", lengths=lengths), attributes, outputs=outputs)
    monkeypatch.undo()
    assert recurrent_layer.stepped is entry(op_type).function.__globals__["stepped"]
    slow, slow_last = by_torch(op_type, operands(op_type, "forward", lengths=lengths), {**attributes, "clip": 1e9}, outputs=outputs)
    torch.testing.assert_close(y, slow)
    torch.testing.assert_close(last, slow_last)
