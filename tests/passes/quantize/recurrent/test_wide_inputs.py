"""LSTMs whose inputs and weights span orders of magnitude: smoothed, and cut into chunks."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.editor import Editor
from netwright.ir.maps import Gone
from netwright.ir.verify import verify
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.recurrent import lstm_errors, lstm_trials, quantize_lstm
from netwright.passes.quantize.recurrent.inputs import COARSER, FINER, FINEST, part_input, part_weight
from netwright.passes.quantize.recurrent.trial import WELL, input_factors
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import Unit, units_of
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops

HIDDEN, INPUTS, STEPS, BATCH = 64, 24, 12, 3
SPREAD = np.logspace(0, -3, INPUTS).astype(np.float32)
"""Of channels: what is small comes with weights that are large."""


def spectra(signed: bool = False) -> np.ndarray:
    """Powers of channels: heavy tails over time, orders of magnitude over channels; [steps, batch, inputs]."""
    found = np.exp(1.5 * normal(STEPS, BATCH, 1, seed=7)) * normal(STEPS, BATCH, INPUTS, seed=8) ** 2 * SPREAD
    return found * np.sign(normal(STEPS, BATCH, INPUTS, seed=9)) if signed else found


def encoder() -> Program:
    """An LSTM for such inputs."""
    weights = {
        "w": normal(1, 4 * HIDDEN, INPUTS, seed=1) / SPREAD / 3,
        "r": normal(1, 4 * HIDDEN, HIDDEN, seed=2) / 8,
        "b": normal(1, 8 * HIDDEN, seed=3) / 4,
    }
    text = f"""{HEAD} g (float[T, N, {INPUTS}] x, WEIGHTS) => (float[T, 1, N, {HIDDEN}] y)
    {{ y = LSTM <hidden_size: int = {HIDDEN}> (x, w, r, b) }}"""
    return program_of(text, weights)


def units(program: Program) -> list[Unit]:
    """Its layers."""
    return units_of(site for site in find_sites(program) if isinstance(site, Site))


def quantized(program: Program, choice: Dynamic) -> Program:
    """A clone with integers."""
    clone = program.clone()
    for unit in units(clone):
        with Editor(clone, at=unit.sites[0].node) as editor:
            quantize_lstm(editor, unit, choice)
    verify(clone)
    return clone


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("chunks", [2, 4, 8])
def test_parts_of_input_and_weight_multiply_to_the_product(chunks: int, signed: bool) -> None:
    data, weight = spectra(signed), normal(40, INPUTS, seed=1) / SPREAD
    program = program_of(f"{HEAD} g (float[T, N, {INPUTS}] x) => (float[T, N, K] y) {{ y = Identity (x) }}", {})
    node = program.graph[0]
    with Editor(program, at=node) as editor:
        source = node.inputs[0]
        assert source is not None
        editor.set_input(node, 0, part_input(editor, source, chunks))
    (parts,) = evaluate(program, {"x": data})
    assert parts.shape == (STEPS, BATCH, (chunks + 3) * INPUTS)
    found = part_weight(weight, np.ones(INPUTS, np.float32), chunks, bits=8, per_channel=True)
    integers = found.values[:, :INPUTS].astype(np.float64)
    scale = found.scale.astype(np.float64)[:, None]
    at = chunks * INPUTS
    fine = found.values[:, at : at + INPUTS].astype(np.float64) * scale
    exact = np.concatenate(
        [*[integers * scale] * chunks, fine, (weight / FINER - fine) * FINEST, (weight - integers * scale) * COARSER], axis=1
    )
    assert np.allclose(parts @ exact.T, data @ weight.T, rtol=1e-4, atol=1e-4 * np.abs(data @ weight.T).max())
    assert np.abs(found.values * scale - exact).max() <= scale.max() / 2 + 1e-6
    chunk = np.abs(data).max() / chunks
    assert np.abs(parts).max() <= chunk * (1 + 1e-5)


def test_an_input_of_zeros_stays_zero() -> None:
    made = quantized(encoder(), Dynamic(8, chunks=4))
    assert np.isfinite(evaluate(made, {"x": np.zeros((STEPS, BATCH, INPUTS), np.float32)})[0]).all()


def test_factors_are_powers_of_two_that_level_channels() -> None:
    program = encoder()
    (factors,) = input_factors(program, OrtExecutor(), [{"x": spectra()}], units(program)).values()
    assert all(factor > 1 and factor & (factor - 1) == 0 for _, factor in factors)
    by_channel = np.ones(INPUTS)
    for channel, factor in factors:
        by_channel[channel] = factor
    assert by_channel[0] > by_channel[-1]
    weight = np.abs(program.value("w").const_value.numpy()[0]).max(axis=0)  # type: ignore[union-attr]
    ratio = weight * by_channel
    assert ratio.max() / ratio.min() < (weight.max() / weight.min()) ** 0.75


def test_smoothing_helps_and_chunks_help_more() -> None:
    program, feeds = encoder(), [{"x": spectra()}]
    layers = units(program)
    plain = lstm_errors(program, OrtExecutor(), feeds, layers, Dynamic(8))
    factors = input_factors(program, OrtExecutor(), feeds, layers)
    errors = [lstm_errors(program, OrtExecutor(), feeds, layers, Dynamic(8), factors=factors, chunks=chunks) for chunks in (1, 4)]
    (first, smoothed, cut) = (next(iter(found.values())) for found in (plain, *errors))
    assert first > 2 * smoothed > 4 * cut
    assert cut < 0.05


def test_a_trial_takes_the_first_way_that_does_well_and_its_choice_gives_its_error() -> None:
    program, feeds = encoder(), [{"x": spectra()}]
    ((unit, trial),) = lstm_trials(program, OrtExecutor(), feeds, units(program), Dynamic(8)).items()
    assert trial.chunks > 1
    assert trial.error < trial.plain / 5
    made = quantized(program, Dynamic(8, outliers=trial.outliers, chunks=trial.chunks))
    expected, found = (evaluate(one, feeds[0])[0] for one in (program, made))
    assert np.isclose(np.linalg.norm(found - expected) / np.linalg.norm(expected), trial.error, rtol=1e-3)
    assert ops(made).count("DynamicQuantizeLSTM") == 1
    assert unit.sites[0].kind == "lstm"


def test_small_weights_are_resolved_beyond_a_step_of_the_row() -> None:
    program, feeds = encoder(), [{"x": spectra()}]
    factors = input_factors(program, OrtExecutor(), feeds, units(program))
    errors = [
        next(iter(lstm_errors(program, OrtExecutor(), feeds, units(program), Dynamic(8), factors=factors, chunks=chunks).values()))
        for chunks in (1, 2, 8)
    ]
    assert errors[0] > 3 * errors[1]
    assert errors[2] < 0.02


def test_a_layer_that_does_well_is_left_as_it_is() -> None:
    program = encoder()
    with program.edit() as editor:
        editor.set_constant(program.value("w"), normal(1, 4 * HIDDEN, INPUTS, seed=1) / 5)
    (trial,) = lstm_trials(program, OrtExecutor(), [{"x": normal(STEPS, BATCH, INPUTS)}], units(program), Dynamic(8)).values()
    assert trial.error == trial.plain <= WELL
    assert (trial.outliers, trial.chunks) == ((), 1)


def test_maps_tell_of_factors_and_that_parts_lead_nowhere_back() -> None:
    program = encoder()
    clone, choice = program.clone(), Dynamic(8, outliers=((0, 8), (3, 2)))
    with Editor(clone, at=units(clone)[0].sites[0].node) as editor:
        quantize_lstm(editor, units(clone)[0], choice)
        maps = dict(editor.maps)
    weight, stored = program.value("w").const_value, clone.value("w.int8").const_value
    assert weight is not None
    assert stored is not None
    assert np.array_equal(maps["w.int8"].map.apply(weight.numpy()), stored.numpy())
    clone = program.clone()
    with Editor(clone, at=units(clone)[0].sites[0].node) as editor:
        quantize_lstm(editor, units(clone)[0], Dynamic(8, chunks=4))
        assert isinstance(editor.maps["w"].map, Gone)
