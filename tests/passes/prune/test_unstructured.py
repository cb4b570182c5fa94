"""`prune(structured=False)`: which elements become zero, what the others become, plans, reports."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import DataError, PlanError
from netwright.ir.program import Program, array
from netwright.ir.zeros import zeros_kept
from netwright.passes import Context, Miss, Outcome, Pipeline, Plan, run
from netwright.passes.prune.unstructured.masks import lowest_in_rows, lowest_share
from netwright.passes.prune.unstructured.sites import SparseSite, find_sparse_sites
from netwright.passes.statistics.supported import solve_supported
from netwright.passes.values import errors
from tests.passes.programs import attention, branches, conv_net, embedding, feeds_for, lstm, program_of


def sparse(program: Program, text: str, context: Context | None = None) -> Outcome:
    return run(program, Pipeline.parse(f"prune(structured=False, {text})"), context or Context(), verify_each=True)


def elements(program: Program, name: str) -> np.ndarray:
    data = array(program.value(name))
    assert data is not None
    return data


def convolutions() -> Program:
    """A plain convolution and one in two groups."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in {"w": (16, 4, 3, 3), "g": (32, 8, 3, 3), "b": (32,)}.items()
    }
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        convolutions (float[N, 4, 9, 9] x, WEIGHTS) => (float[N, 32, 9, 9] y)
        {
            c = Conv <pads: ints = [1, 1, 1, 1]> (x, w)
            r = Relu (c)
            y = Conv <group: int = 2, pads: ints = [1, 1, 1, 1]> (r, g, b)
        }""",
        weights,
    )


def together(seed: int, count: int = 10) -> list[dict[str, np.ndarray]]:
    """Inputs of `attention` whose features go together and differ in size."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(16, 64))
    scale = np.geomspace(0.1, 3, 64)
    return [{"x": (rng.normal(size=(8, 5, 16)) @ mixing / 4 * scale).astype(np.float32)} for _ in range(count)]


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_the_lowest_go_and_of_equal_ones_the_first() -> None:
    scores = np.array([[3, 1, 2], [1, 0, 1.0]])
    assert lowest_share(scores, 0.5).tolist() == [[False, True, False], [True, True, False]]
    assert lowest_share(scores, 0.0).sum() == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_of_each_few_in_a_row_so_many_stay(axis: int) -> None:
    scores = np.random.default_rng(0).random((8, 8))
    gone = lowest_in_rows(scores, 1, 4, axis)
    moved, masks = np.moveaxis(scores, axis, -1).reshape(-1, 4), np.moveaxis(gone, axis, -1).reshape(-1, 4)
    assert (masks.sum(axis=1) == 3).all()
    assert (np.argmax(moved, axis=1) == np.argmin(masks, axis=1)).all()


# ---- magnitude -------------------------------------------------------------------------------------------------------


def test_the_smallest_of_each_weight_become_zero_and_the_rest_stays() -> None:
    program = attention()
    outcome = sparse(program, "sparsity=0.6")
    for name in ("wq", "wk", "wv", "w1", "w2"):
        old, new = elements(program, name), elements(outcome.program, name)
        assert np.count_nonzero(new == 0) == round(0.6 * old.size)
        assert np.array_equal(new[new != 0], old[new != 0])
        assert np.abs(old[new == 0]).max() <= np.abs(old[new != 0]).min()
    assert zeros_kept(outcome.program) == ("wq", "wk", "wv", "w1", "w2")
    assert outcome.rows[0].note == (
        "27,034 of 45,056 elements of 5 weights become zero (5 by magnitude), 59.4% of the model's 45,504 parameters; "
        "runtimes without sparse kernels are no faster for it"
    )
    assert outcome.program.ledger.actions[0].why == "2,458 of 4,096 elements are zero, 60.0%, the smallest by |w|"


def test_a_pattern_lies_along_what_a_layer_sums_over() -> None:
    program = convolutions()
    outcome = sparse(program, "pattern='2:4'")
    for name in ("w", "g"):
        new = elements(outcome.program, name)
        in_fours = np.moveaxis(new, 1, -1).reshape(-1, 4)
        assert ((in_fours != 0).sum(axis=1) == 2).all()
    linear = sparse(attention(), "pattern='1:4'").program
    assert (np.count_nonzero(elements(linear, "w1").reshape(16, 4, 256), axis=1) == 1).all()
    recurrent = sparse(lstm(), "pattern='2:4'").program
    assert (np.count_nonzero(elements(recurrent, "W").reshape(-1, 4), axis=1) == 2).all()


def test_what_stays_whole_is_told() -> None:
    def misses(outcome: Outcome) -> dict[str, str]:
        return {miss.site: miss.reason for miss in outcome.rows[0].misses}

    assert misses(sparse(conv_net(), "sparsity=0.5")) == {
        "w": "left whole: it has 216 elements, under 256",
        "fc": "left whole: it has 80 elements, under 256",
    }
    chosen = misses(sparse(attention(), "sparsity={'w?': 0.5, 'none*': 0.1}, exclude='w1'"))
    assert chosen["w1"] == "left whole: exclude names it ('w1')"
    assert chosen["none*"] == "sparsity names no weight with 'none*'"
    assert misses(sparse(attention(), "sparsity={'w1': 0.5}"))["wq"] == "left whole: no pattern of sparsity names it"
    assert misses(sparse(embedding(), "pattern='3:7'"))["table"] == "left whole: its 64 inputs are no multiple of 7"
    assert misses(sparse(lstm(), "sparsity=0.5"))["B"] == "left whole: LSTM %y reads it as a bias or a state"
    inner = branches()
    found = find_sparse_sites(inner)
    assert [site.name for site in found if isinstance(site, SparseSite)] == ["w"]
    assert [site.layers for site in found if isinstance(site, SparseSite)] == [()], "an inner value cannot be handed out"


def test_a_tied_table_is_pruned_once_for_both_readers() -> None:
    program = embedding()
    (site,) = [entry for entry in find_sparse_sites(program) if not isinstance(entry, Miss)]
    assert (site.layers, site.in_axis) == ((), 1)
    outcome = sparse(program, "sparsity=0.25", Context(calibration=[feeds_for(program)], executor=OrtExecutor()))
    assert outcome.plans[0].decisions["table"]["criterion"] == "magnitude"
    assert [miss.reason for miss in outcome.rows[0].misses] == [
        "the elements that stay are not fitted: what reads it is no Conv, MatMul or Gemm of the main graph"
    ]


# ---- by activation ---------------------------------------------------------------------------------------------------


def test_with_data_an_element_counts_by_what_it_meets() -> None:
    program, executor = attention(), OrtExecutor()
    data = together(0)
    outcome = sparse(program, "sparsity=0.5, compensate=False", Context(calibration=data, executor=executor))
    decision = outcome.plans[0].decisions["wq"]
    norms = np.array(decision["norms"])
    x = np.concatenate([one["x"] for one in data]).reshape(-1, 64)
    assert decision["criterion"] == "activation"
    assert norms == pytest.approx(np.sqrt((x**2).mean(axis=0)), rel=1e-4)
    old, new = elements(program, "wq"), elements(outcome.program, "wq")
    scores = np.abs(old) * norms[:, None]
    assert scores[new == 0].max() <= scores[new != 0].min()


def test_convolutions_see_patches_and_groups_their_own_channels() -> None:
    program, executor = convolutions(), OrtExecutor()
    x = np.random.default_rng(1).normal(size=(4, 4, 9, 9)).astype(np.float32)
    x[:, 1] *= 10
    context = Context(calibration=[{"x": x}], executor=executor)
    outcome = sparse(program, "sparsity=0.5, compensate=False", context)
    norms = np.array(outcome.plans[0].decisions["w"]["norms"])
    assert norms.shape == (4,)
    assert norms[1] > 8 * norms[[0, 2, 3]].max()
    assert np.count_nonzero(elements(outcome.program, "w")[:, 1]) > 0.9 * 16 * 9
    assert np.array(outcome.plans[0].decisions["g"]["norms"]).shape == (16,)


@pytest.mark.parametrize("text", ["sparsity=0.6", "pattern='2:4'"])
def test_what_stays_is_fitted_and_that_pays_on_other_data(text: str) -> None:
    program, executor = attention(), OrtExecutor()
    context = Context(calibration=together(0, 20), executor=executor)
    test = {"x": np.concatenate([one["x"] for one in together(1)])}
    expected = executor.run(program, test)
    found = {
        name: sparse(program, f"{text}, {options}", context)
        for name, options in (
            ("magnitude", "importance='magnitude', compensate=False"),
            ("activation", "compensate=False"),
            ("fitted", "compensate=None"),
        )
    }
    off = {name: errors(expected, executor.run(one.program, test)).rel for name, one in found.items()}
    assert off["fitted"] < 0.7 * off["activation"] < 0.7 * off["magnitude"]
    for name in ("wq", "w1", "w2"):
        masks = [elements(found[kind].program, name) == 0 for kind in ("activation", "fitted")]
        assert np.array_equal(*masks)
    assert zeros_kept(found["fitted"].program) == ("wq", "wk", "wv", "w1", "w2")
    assert any("error on held-out rows" in action.why for action in found["fitted"].program.ledger.actions)


def test_empty_data_is_refused() -> None:
    with pytest.raises(DataError, match="holds no batch"):
        sparse(attention(), "sparsity=0.5", Context(calibration=[], executor=OrtExecutor()))


def test_rows_are_solved_over_their_own_unknowns() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(60, 20))
    matrix, right, free = root.T @ root / 60 + 0.1 * np.eye(20), rng.normal(size=(7, 20)), rng.random((7, 20)) < 0.5
    found = solve_supported(matrix, right, free)
    assert (found[~free] == 0).all()
    for row in range(7):
        own = np.flatnonzero(free[row])
        part = matrix[np.ix_(own, own)]
        assert part @ found[row, own] == pytest.approx(right[row, own], abs=0.05)


# ---- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_of_weights_is_replayed_without_data() -> None:
    context = Context(calibration=together(0), executor=OrtExecutor())
    made = sparse(attention(), "sparsity=0.5, compensate=False", context)
    plan = Plan.from_json(made.plans[0].to_json())
    again = run(attention(), Pipeline.parse("prune"), Context(plans={"prune": plan})).program
    assert np.array_equal(elements(again, "w1"), elements(made.program, "w1"))
    edited = json.loads(made.plans[0].to_json())
    edited["decisions"] = {"w1": {"sparsity": 0.9}}
    again = run(attention(), Pipeline.parse("prune"), Context(plans={"prune": Plan.from_json(json.dumps(edited))})).program
    assert np.count_nonzero(elements(again, "w1") == 0) == round(0.9 * 64 * 256)
    assert np.count_nonzero(elements(again, "wq") == 0) == 0


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ({"pattern": "2:4"}, "has no 'sparsity'"),
        ({"sparsity": 0.5, "bits": 8}, "unknown keys: bits"),
        ({"sparsity": 1.0}, "sparsity of %w1 is 1.0"),
        ({"sparsity": 0.5, "criterion": "luck"}, "criterion for %w1 is 'luck'"),
        ({"sparsity": 0.5, "pattern": "four"}, "not of the form N:M"),
        ({"sparsity": 0.6, "pattern": "2:4"}, "pattern 2:4 and sparsity 0.6, which differ"),
        ({"sparsity": 0.5, "criterion": "activation"}, "must list 'norms'"),
        ({"sparsity": 0.5, "norms": [1.0]}, "must list 'norms' with criterion 'activation', and only then"),
        ({"sparsity": 0.5, "criterion": "activation", "norms": [1.0, -1.0]}, "not all numbers from 0"),
        ({"sparsity": 0.5, "criterion": "activation", "norms": [1.0, 2.0]}, "has 2 norms for %w1, whose layers have 64 inputs"),
        ({"sparsity": 1 - 3 / 7, "pattern": "3:7"}, "pattern of 3:7 does not fit %w1"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(decision: dict[str, object], message: str) -> None:
    made = sparse(attention(), "sparsity=0.5").plans[0]
    wrong = Plan.from_json(json.dumps({**made.to_dict(), "decisions": {"w1": decision}}))
    with pytest.raises(PlanError, match=message):
        run(attention(), Pipeline.parse("prune"), Context(plans={"prune": wrong}))


def test_a_weight_that_is_not_there_is_refused() -> None:
    made = sparse(attention(), "sparsity=0.5").plans[0]
    with pytest.raises(PlanError, match="decides on %nowhere"):
        run(attention(), Pipeline.parse("prune"), Context(plans={"prune": replace(made, decisions={"nowhere": {"sparsity": 0.5}})}))
