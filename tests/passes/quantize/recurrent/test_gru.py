"""GRU to a Scan of integer products."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.editor import Editor
from netwright.ir.verify import verify
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.recurrent.gru import quantize_gru
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.units import units_of
from netwright.passes.rewrite import Miss
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal, ops

HIDDEN, INPUTS, STEPS, BATCH = 48, 24, 7, 3


def gru(attributes: str = "", inputs: str = "x, w, r, b", directions: int = 1, outputs: str = "y, yh", extra: str = "") -> Program:
    """One GRU layer; `inputs` may name x, w, r, b, h; `extra` are more nodes, giving z from y."""
    weights = {
        "w": normal(directions, 3 * HIDDEN, INPUTS, seed=1) / 5,
        "r": normal(directions, 3 * HIDDEN, HIDDEN, seed=2) / 7,
        "b": normal(directions, 6 * HIDDEN, seed=3) / 3,
        "h": 3 * normal(directions, BATCH, HIDDEN, seed=4),
        "lengths": np.array([7, 5, 2]),
    }
    used = [name.strip() for name in inputs.split(",")]
    shapes = {"y": f"[T, {directions}, N, {HIDDEN}] y", "yh": f"[{directions}, N, {HIDDEN}] yh", "z": f"[T, 1, N, {HIDDEN}] z"}
    declared = ", ".join(f"float{shapes[name.strip()]}" for name in outputs.split(","))
    text = f"""{HEAD} g (float[T, N, {INPUTS}] x, WEIGHTS) => ({declared})
    {{ y, yh = GRU <hidden_size: int = {HIDDEN}{attributes}> ({inputs}) {extra} }}"""
    return program_of(text, {name: array for name, array in weights.items() if name in used})


def integers(program: Program, bits: int = 8) -> Program:
    """A clone whose GRUs are Scans."""
    clone = program.clone()
    for unit in units_of(site for site in find_sites(clone, grus=True) if isinstance(site, Site) and site.kind == "gru"):
        with Editor(clone, at=unit.sites[0].node) as editor:
            quantize_gru(editor, unit, Dynamic(bits))
    verify(clone)
    return clone


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    ("attributes", "inputs", "directions"),
    [
        ("", "x, w, r", 1),
        ("", "x, w, r, b", 1),
        (', direction: string = "reverse"', "x, w, r, b", 1),
        (', direction: string = "bidirectional"', "x, w, r, b", 2),
        (', direction: string = "bidirectional"', "x, w, r, b, , h", 2),
        ("", "x, w, r, b, , h", 1),
    ],
)
def test_every_kind_of_gru_is_close_to_float(attributes: str, inputs: str, directions: int, before: int) -> None:
    program = gru(f"{attributes}, linear_before_reset: int = {before}", inputs, directions)
    made = integers(program)
    assert "GRU" not in ops(made)
    assert ops(made).count("Scan") == directions
    x = normal(STEPS, BATCH, INPUTS, seed=7)
    for expected, found in zip(evaluate(program, {"x": x}), evaluate(made, {"x": x}), strict=True):
        assert found.shape == expected.shape
        assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)


def test_states_that_stay_within_one_have_a_fixed_step_and_others_do_not() -> None:
    assert "QuantizeLinear" in ops(integers(gru()))
    assert ops(integers(gru(inputs="x, w, r, b, , h"))).count("DynamicQuantizeLinear") > 1


def test_fewer_bits_err_more() -> None:
    program, x = gru(), {"x": normal(STEPS, BATCH, INPUTS, seed=7)}
    expected = evaluate(program, x)[0]
    errors = [float(np.linalg.norm(evaluate(integers(program, bits), x)[0] - expected)) for bits in (8, 5, 3)]
    assert errors[0] < errors[1] / 2 < errors[2] / 4


def test_layers_that_share_weights_go_on_sharing() -> None:
    shared = gru(outputs="y, z", extra=f"z, zh = GRU <hidden_size: int = {HIDDEN}> (x, w, r, b)")
    made = integers(shared)
    assert ops(made).count("Scan") == 2
    assert sum(1 for name in made.graph.initializers if name.startswith("w") and name.endswith(".int8")) == 1
    assert (
        sum(1 for name in made.graph.initializers if name.startswith("r") and name.endswith(".int8")) == 2
    )  # two gates, and the new state


def test_stored_integers_are_those_that_the_maps_tell() -> None:
    program = gru()
    clone = program.clone()
    unit = next(iter(units_of(site for site in find_sites(clone, grus=True) if isinstance(site, Site))))
    with Editor(clone, at=unit.sites[0].node) as editor:
        quantize_gru(editor, unit, Dynamic(8))
        maps = dict(editor.maps)
    stored = {name: maps[name] for name in maps if name.endswith(".int8")}
    assert len(stored) == 3
    for name, mapped in stored.items():
        source = program.value(mapped.sources[0]).const_value
        made = clone.value(name).const_value
        assert source is not None
        assert made is not None
        assert np.array_equal(mapped.map.apply(source.numpy()), made.numpy())


@pytest.mark.parametrize(
    ("attributes", "inputs", "reason"),
    [
        (", clip: float = 0.5", "x, w, r, b", "the attribute clip"),
        (', activations: strings = ["Sigmoid", "Relu"]', "x, w, r, b", "activations of its own"),
        ("", "x, w, r, b, lengths", "lengths of sequences"),
    ],
)
def test_what_a_scan_does_not_do_is_a_miss(attributes: str, inputs: str, reason: str) -> None:
    (found,) = find_sites(gru(attributes, inputs), grus=True)
    assert isinstance(found, Miss)
    assert reason in found.reason
