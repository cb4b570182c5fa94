"""Recurrent layers: factors of what the input meets, before and inside the layer; of what the state meets, inside a Scan."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.dump import dump
from netwright.ir.maps import Gone
from netwright.ir.maps.numbers import svd_factors
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering import CHAIN, lower, unlowerable
from tests.passes.factorize.lowering.chains import check, drawn, kronecker, low_rank, lowered, numbers, product, run, site_of, three
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
H, N = 16, 24

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def layer(kind: str, direction: str = "forward", *, more: str = "", inputs: str = "", batch: str = "B", head: str = HEAD) -> str:
    """A layer with all its outputs."""
    outputs = ["y", "yh", *(["yc"] if kind == "LSTM" else [])]
    given = {"": "", "b": ", b", "states": ", b, , h0" + (", c0" if kind == "LSTM" else "")}.get(inputs, inputs)
    states = f", float[D, {batch}, {H}] h0, float[D, {batch}, {H}] c0" if inputs == "states" and kind == "LSTM" else ""
    states = states or (f", float[D, {batch}, {H}] h0" if inputs == "states" else "")
    return f"""{head}
    net (float[T, {batch}, {N}] x{states}, WEIGHTS) => ({", ".join(outputs)})
    {{
        {", ".join(outputs)} = {kind} <hidden_size: int = {H}, direction: string = "{direction}"{more}> (x, w, r{given})
    }}""".replace("[D,", f"[{DIRECTIONS[direction]},")


def weights(kind: str, direction: str, *names: str) -> dict[str, np.ndarray]:
    d, g = DIRECTIONS[direction], GATES[kind] * H
    shapes = {"w": (d, g, N), "r": (d, g, H), "b": (d, 2 * g)}
    return {name: drawn(len(name) + ord(name[0]), *shapes[name]).astype(np.float32) for name in names}


def feeds(kind: str, direction: str, inputs: str = "", batch: int = 3) -> dict[str, np.ndarray]:
    d = DIRECTIONS[direction]
    found = {"x": drawn(0, 5, batch, 1).repeat(N, axis=2) * drawn(1, 1, 1, N) * 20}
    if inputs == "states":
        found |= {name: drawn(2, d, batch, H) for name in (("h0", "c0") if kind == "LSTM" else ("h0",))}
    return {name: array.astype(np.float32) for name, array in found.items()}


def shifted_by(half: int) -> Callable[[Program, np.ndarray], None]:
    """Puts a shift into a bias with numpy."""

    def add(program: Program, shift: np.ndarray) -> None:
        bias = program.graph.initializers["b"]
        known = numbers(program, "b").copy()
        d, both = known.shape
        known[:, half * both // 2 : (half + 1) * both // 2] += shift.reshape(d, -1)
        with program.edit() as editor:
            editor.set_constant(bias, known)

    return add


# ---- what the input meets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_the_first_factor_goes_before_the_layer(kind: str, direction: str) -> None:
    shape = (DIRECTIONS[direction], GATES[kind] * H, N)
    rows = shape[0] * shape[1]
    for factors in (low_rank(rows, N, 5), three(rows, N, (4, 6))):
        program, maps = check(
            layer(kind, direction, inputs="states"),
            shape,
            factors,
            feeds(kind, direction, "states"),
            weights=weights(kind, direction, "r", "b"),
        )
        assert [node.op_type for node in program.graph] == [*["MatMul"] * (len(factors.stages) - 1), kind]
        assert any(isinstance(mapped.map, Gone) for mapped in maps.values()) == (len(factors.stages) > 2)


def test_folded_stages_go_before_the_layer_but_for_the_last() -> None:
    rows = 4 * H
    folded = kronecker((5, 3), (8, 8))
    factors = Factors("tt", (), (*folded.stages, Stage(drawn(5, rows, 40))))
    program, _ = check(layer("LSTM"), (1, rows, N), factors, feeds("LSTM", "forward"), weights=weights("LSTM", "forward", "r"))
    assert all(CHAIN in node.metadata_props for node in program.graph if node.op_type != "LSTM")
    site = site_of(program_of(layer("LSTM"), weights("LSTM", "forward", "w", "r")))
    folded = Factors("kronecker", (), (Stage(drawn(0, 8, 8), dims=(3, 8), perm=(0, 1)), Stage(drawn(0, 8, 3), dims=(3, 8), perm=(1, 0))))
    assert unlowerable(site, folded) == "the last stage folds its channels, which a recurrent layer does not"


def test_a_train_whose_outputs_are_the_last_cores_ends_inside_the_layer() -> None:
    """Its last stage multiplies all channels: the permutations around it go into the weight."""
    first = Stage(drawn(1, 5, 4), dims=(4, 6), perm=(1, 0))
    last = Stage(drawn(2, 4 * H, 30), dims=(6, 5), perm=(1, 0))
    factors = Factors("tt", (5,), (first, last), dims=(H, 4), perm=(1, 0))
    program, _ = check(layer("LSTM"), (1, 4 * H, N), factors, feeds("LSTM", "forward"), weights=weights("LSTM", "forward", "r"))
    assert [node.op_type for node in program.graph] == ["Reshape", "Transpose", "MatMul", "Reshape", "LSTM"]


@pytest.mark.parametrize("turn", ["1, 0, 2", "0, 2, 1"])
def test_where_time_and_batch_change_places_the_first_factor_goes_before(turn: str) -> None:
    """A product of channels may come before a Transpose of the other axes, where a table before it can take it up."""
    shape, factors = (1, 4 * H, N), low_rank(4 * H, N, 5)
    size = f"B, {N}, T" if turn == "0, 2, 1" else f"T, B, {N}"
    text = f"""{HEAD}
    net (float[{size}] x, WEIGHTS) => (y, yh, yc)
    {{
        t = Transpose <perm: ints = [{turn}]> (x)
        y, yh, yc = LSTM <hidden_size: int = {H}> (t, w, r)
    }}"""
    given = feeds("LSTM", "forward")["x"]
    given = given.transpose(0, 2, 1) if turn == "0, 2, 1" else given
    program, _ = check(text, shape, factors, {"x": given}, weights=weights("LSTM", "forward", "r"))
    before = ["Transpose", "MatMul"] if turn == "0, 2, 1" else ["MatMul", "Transpose"]
    assert [node.op_type for node in program.graph] == [*before, "LSTM"]


def test_a_transpose_that_others_read_stays_before_the_first_factor() -> None:
    text = f"""{HEAD}
    net (float[T, B, {N}] x, WEIGHTS) => (y, z)
    {{
        t = Transpose <perm: ints = [1, 0, 2]> (x)
        y = LSTM <hidden_size: int = {H}> (t, w, r)
        z = Relu (t)
    }}"""
    program, _ = check(text, (1, 4 * H, N), low_rank(4 * H, N, 5), feeds("LSTM", "forward"), weights=weights("LSTM", "forward", "r"))
    assert [node.op_type for node in program.graph] == ["Transpose", "MatMul", "LSTM", "Relu"]


def test_nothing_is_left_of_a_change_that_fails() -> None:
    held = weights("LSTM", "forward", "w", "r", "b")
    for name in ("w", "r"):
        program = program_of(layer("LSTM", inputs="b"), held)
        before, said = run(program, feeds("LSTM", "forward")), sorted(dump(program).splitlines())
        factors = low_rank(4 * H, N, 5) if name == "w" else state_chain("LSTM", "forward", 5)
        editor = program.edit(by="x")
        lower(editor, site_of(program, name), factors, np.ones(4 * H))
        assert sorted(dump(program).splitlines()) != said
        editor.rollback()
        assert sorted(dump(program).splitlines()) == said
        for output, expected in run(program, feeds("LSTM", "forward")).items():
            np.testing.assert_array_equal(expected, before[output])


def test_layers_without_their_first_output_are_named_by_another() -> None:
    held = weights("GRU", "forward", "w", "r")
    for name in ("w", "r"):
        program = program_of(layer("GRU").replace("=> (y, yh)", "=> (yh)"), held)
        next(node for node in program.graph if node.op_type == "GRU").outputs[0].name = ""
        before = run(program, feeds("GRU", "forward"))["yh"]
        rank = {"w": N, "r": H}[name]
        u, v = svd_factors(held[name][0], rank)
        lowered(program, site_of(program, name), Factors("low_rank", (rank,), (Stage(v), Stage(u))), np.zeros(3 * H) + 1e-9)
        assert all(value.name and not value.name.startswith("None") for node in program.graph for value in node.outputs if value.uses())
        np.testing.assert_allclose(run(program, feeds("GRU", "forward"))["yh"], before, atol=1e-4)


@pytest.mark.parametrize("bias", ["own", "shared", "computed", "none"])
def test_shifts_go_into_the_input_bias(bias: str) -> None:
    rows, held = 3 * H, weights("GRU", "forward", "r", "b")
    shift = drawn(7, rows, 1)[:, 0]
    inputs = {"own": "b", "shared": "b", "computed": ", c", "none": ""}[bias]
    text = layer("GRU", inputs=inputs)
    if bias == "computed":
        text = text.replace("        y, yh =", "        c = Exp (b)\n        y, yh =")
    if bias == "shared":
        text = text.replace("(y, yh)", "(y, yh, z)").replace("    }", "        z = Exp (b)\n    }")
    if bias == "none":
        held.pop("b")

    def add(program: Program, shift: np.ndarray) -> None:
        node = next(node for node in program.graph if node.op_type == "GRU")
        zeros = np.concatenate([shift, np.zeros(rows)])[None].astype(np.float32)
        with program.edit(at=node) as editor:
            extra = editor.constant(zeros, "extra")
            if len(node.inputs) < 4:
                editor.resize_inputs(node, 4)
                editor.set_input(node, 3, extra)
            else:
                editor.set_input(node, 3, editor.op("Add", [node.inputs[3], extra]))

    check(text, (1, rows, N), low_rank(rows, N, 5), feeds("GRU", "forward"), weights=held, shift=shift, shifted=add)


# ---- what the state meets -------------------------------------------------------------------------------------------

CELLS: Mapping[str, tuple[str, str]] = {
    "LSTM": ("LSTM", ""),
    "RNN": ("RNN", ""),
    "GRU": ("GRU", ""),
    "GRU, linear before": ("GRU", ", linear_before_reset: int = 1"),
}


def state_text(text: str) -> str:
    """The weight to factorize is called w in `check`."""
    return text.replace("(x, w, r", "(x, v, w")


def state_chain(kind: str, direction: str, *ranks: int) -> Factors:
    d = DIRECTIONS[direction]
    sizes = [H, *ranks, GATES[kind] * H]
    stages = [Stage(drawn(number, d * size, before), d) for number, (before, size) in enumerate(itertools.pairwise(sizes))]
    return Factors("low_rank" if len(ranks) == 1 else "three", ranks, tuple(stages))


def check_state(kind: str, direction: str, text: str, factors: Factors, *, inputs: str = "", shift: np.ndarray | None = None) -> Program:
    shape = (DIRECTIONS[direction], GATES[kind] * H, H)
    held = weights(kind, direction, "w", *(["b"] if inputs else []))
    held["v"] = held.pop("w")
    given = [feeds(kind, direction, inputs), *([feeds(kind, direction, inputs, batch=1)] if "float[T, B," in text else [])]
    shifted = None if shift is None else shifted_by(1)
    program, maps = check(state_text(text), shape, factors, given, weights=held, shift=shift, shifted=shifted)
    two = len(factors.stages) == 2
    assert all(isinstance(mapped.map, Gone) != (two or name.startswith("v")) for name, mapped in maps.items())
    return program


@pytest.mark.parametrize("inputs", ["", "b", "states"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_layers_become_scans(cell: str, direction: str, inputs: str) -> None:
    kind, more = CELLS[cell]
    text = layer(kind, direction, more=more, inputs=inputs)
    program = check_state(kind, direction, text, state_chain(kind, direction, 5), inputs=inputs)
    assert sum(node.op_type == "Scan" for node in program.graph) == DIRECTIONS[direction]
    assert sum(node.op_type == "MatMul" for node in program.graph) == 1
    assert not any(node.op_type in GATES for node in program.nodes())
    assert all("0:factorize#1" in node.metadata_props["netwright.by"] for node in program.nodes())


@pytest.mark.parametrize("cell", CELLS)
def test_states_take_chains_of_three_and_shifts(cell: str) -> None:
    kind, more = CELLS[cell]
    shift = drawn(7, 2 * GATES[kind] * H, 1)[:, 0]
    text = layer(kind, "bidirectional", more=more, inputs="b", batch="3")
    check_state(kind, "bidirectional", text, state_chain(kind, "bidirectional", 4, 6), inputs="b", shift=shift)


@pytest.mark.parametrize("opset", [11, 14])
def test_earlier_operator_sets_have_their_own_forms(opset: int) -> None:
    head = HEAD.replace("20", str(opset))
    for kind in ("LSTM", "GRU"):
        check_state(kind, "bidirectional", layer(kind, "bidirectional", head=head), state_chain(kind, "bidirectional", 5))


def test_input_and_state_are_factorized_one_after_the_other() -> None:
    rows = 4 * H
    first, last = low_rank(rows, N, 5), state_chain("LSTM", "forward", 6)
    held = weights("LSTM", "forward", "b")
    held["w"] = product(first, N)[None].astype(np.float32)
    held["r"] = product(last, H)[None].astype(np.float32)
    text = layer("LSTM", inputs="b")
    original, program = program_of(text, held), program_of(text, held)
    inputs, state = site_of(program, "w"), site_of(program, "r")
    lowered(program, inputs, first)
    lowered(program, state, last)
    assert [node.op_type for node in program.graph if node.op_type in ("MatMul", "Scan")] == ["MatMul", "MatMul", "Scan"]
    before, after = run(original, feeds("LSTM", "forward")), run(program, feeds("LSTM", "forward"))
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=1e-4)


def test_unread_outputs_are_not_made() -> None:
    text = layer("LSTM").replace("=> (y, yh, yc)", "=> (yh)")
    program = check_state("LSTM", "forward", text, state_chain("LSTM", "forward", 5))
    assert sum(node.op_type == "Unsqueeze" for node in program.graph) == 1


LAYERS_OF_THEIR_OWN: Mapping[str, tuple[str, str]] = {
    "activations": (
        layer("LSTM", more=', activations: strings = ["Sigmoid", "Tanh", "Relu"]'),
        "LSTM %y has activations of its own",
    ),
    "clip": (layer("LSTM", more=", clip: float = 3.0"), "LSTM %y has the attribute clip"),
    "layout": (layer("LSTM", more=", layout: int = 1"), "LSTM %y has the attribute layout"),
    "input_forget": (layer("LSTM", more=", input_forget: int = 1"), "LSTM %y has the attribute input_forget"),
    "sequence_lens": (layer("LSTM", inputs=", , lens"), "LSTM %y has sequence_lens"),
    "peepholes": (layer("LSTM", inputs=", , , , , p"), "LSTM %y has peepholes"),
    "computed": (
        layer("LSTM", inputs=", c").replace("        y, yh", "        c = Exp (b)\n        y, yh"),
        "LSTM %y has a W or B that is not constant",
    ),
    "opset": (layer("LSTM", head=HEAD.replace("20", "8")), "LSTM %y is of opset 8, whose Scan has a batch axis; raise the opset first"),
}


@pytest.mark.parametrize("case", LAYERS_OF_THEIR_OWN)
def test_layers_of_another_kind_stay(case: str) -> None:
    text, reason = LAYERS_OF_THEIR_OWN[case]
    held = weights("LSTM", "forward", "w", "r", "b") | {"lens": np.array([5, 4, 3], np.int32), "p": np.zeros((1, 3 * H), np.float32)}
    used = {name: array for name, array in held.items() if name in ("w", "r") or f", {name})" in text or f"({name})" in text}
    if "lens" in used:
        text, used = text.replace("x, WEIGHTS", "x, int32[3] lens, WEIGHTS"), {name: used[name] for name in ("w", "r")}
    site = site_of(program_of(text, used), "r")
    assert unlowerable(site, state_chain("LSTM", "forward", 5)) == reason


def test_state_chains_that_do_not_fit_are_refused() -> None:
    site = site_of(program_of(layer("LSTM", "bidirectional"), weights("LSTM", "bidirectional", "w", "r")), "r")
    assert unlowerable(site, low_rank(8 * H, H, 5)) == "stage 0 is no dense matrix for each of 2 directions"
    assert unlowerable(site, low_rank(8 * H, H + 1, 5, 2)) == "stage 0 takes 17 channels, there are 16"
    assert unlowerable(site, low_rank(6 * H, H, 5, 2)) == "the chain gives 48 channels, the weight 64"
