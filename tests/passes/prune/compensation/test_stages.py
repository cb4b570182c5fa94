"""What is solved when, toward what, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program, array
from netwright.ir.coupling import coupling
from netwright.ir.errors import DataError
from netwright.passes import Context, run
from netwright.passes.prune import Prune
from netwright.passes.prune.compensation.compensate import removed_units
from netwright.passes.prune.compensation.find import find_sites
from netwright.passes.refit import prefix, stages
from netwright.passes.refit.patches import PatchSite
from netwright.passes.refit.site import Site
from netwright.passes.refit.solve import Held, solve
from netwright.passes.rewrite import Miss
from netwright.passes.statistics import Moments, feeds
from tests.models.registry import SMALL_MODELS, traced
from tests.passes.programs import program_of
from tests.passes.prune.compensation.support import HEAD, batches, drawn, error, outputs, reasons, solved, without


def weight(program: Program, name: str) -> np.ndarray:
    found = array(program.value(name))
    assert found is not None
    return found


def residual_net() -> Program:
    """Two layers on a stream. All units of the first have twins in the second, whose unit 1 does nothing."""
    weights = drawn(0, a1=(5, 6), a2=(6, 5), b1=(5, 7), b2=(7, 5))
    weights["b1"] = np.insert(weights["a1"], 1, 1e-3, axis=1)
    return program_of(
        f"""{HEAD}
        residual (float[N, 5] x, WEIGHTS) => (float[N, 5] y)
        {{
            h0 = MatMul (x, a1)
            h = Relu (h0)
            f = MatMul (h, a2)
            s = Add (x, f)
            k0 = MatMul (x, b1)
            k = Relu (k0)
            g = MatMul (k, b2)
            y = Add (s, g)
        }}""",
        weights,
    )


def test_a_layer_makes_up_for_what_the_residual_lost() -> None:
    program = residual_net()
    made_up = without(program, [1], batches((64, 5)))
    held_out = batches((64, 5), 1, seed=99)[0]
    assert solved(made_up) == ["f", "g"]
    first = OrtExecutor().run(made_up.program, held_out, ["s"])["s"] - OrtExecutor().run(program, held_out, ["s"])["s"]
    assert np.abs(first).max() > 0.1, "the first layer alone could not"
    assert error(made_up.program, program, held_out) < 5e-3


def branches() -> Program:
    """Two convolutions of what one made, added."""
    return program_of(
        f"""{HEAD}
        branches (float[N, 3, 6, 6] x, WEIGHTS) => (float[N, 4, 6, 6] y)
        {{
            c = Conv (x, w)
            r = Relu (c)
            a = Conv <pads: ints = [1, 1, 1, 1]> (r, u)
            b = Conv (r, v)
            s = Add (a, b)
            y = Relu (s)
        }}""",
        drawn(0, w=(6, 3, 1, 1), u=(4, 6, 3, 3), v=(4, 6, 1, 1)),
    )


def test_of_two_that_go_into_one_sum_the_second_sees_what_became_of_the_first() -> None:
    program = branches()
    calibration = batches((8, 3, 6, 6))
    made_up = without(program, [1], calibration)
    assert solved(made_up) == ["a", "b"]
    sites = find_sites(program, made_up.program, program.fact(coupling).groups, removed_units(made_up.plans[0]))
    found = [stage.sites for stage in stages.stages(program, made_up.program, list(_sites(sites)))]
    assert [[(site.name, site.wanted) for site in stage] for stage in found] == [[("a", ("a", "r"))], [("b", ("s", "r"))]]
    held_out = batches((8, 3, 6, 6), 1, seed=99)[0]
    assert error(made_up.program, program, held_out) < 0.7 * error(without(program, [1], None).program, program, held_out)


def chain(depth: int = 4) -> Program:
    """Convolutions one after the other."""
    body, value = "", "x"
    for index in range(depth):
        body += f"c{index} = Conv <pads: ints = [1, 1, 1, 1]> ({value}, w{index})\nr{index} = Relu (c{index})\n"
        value = f"r{index}"
    shapes = {f"w{index}": (6, 6, 3, 3) for index in range(depth)}
    weights = {name: one / 5 for name, one in drawn(0, **shapes).items()}
    return program_of(f"{HEAD}\nchain (float[N, 6, 5, 5] x, WEIGHTS) => (float[N, 6, 5, 5] r{depth - 1}) {{ {body} }}", weights)


class Counting(OrtExecutor):
    """Remembers what it was given and asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, ...]] = []

    def run(self, program: Program, feeds: Mapping[str, object], wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self.given.append(tuple(feeds))
        return super().run(program, feeds, wanted)


def compensated(program: Program, calibration: Sequence[Mapping[str, np.ndarray]], executor: OrtExecutor) -> Program:
    chosen = Prune(ratio=0.34, round_to=1, compensate=True)
    return run(program, [chosen], Context(calibration=calibration, executor=executor)).program


def test_what_no_longer_changes_is_not_run_again() -> None:
    """Three layers lose inputs. Ten batches go through the program before, and through each stage from the border of the last one on."""
    executor = Counting()
    compensated(chain(), batches((2, 6, 5, 5)), executor)
    assert executor.given == [("x",)] * 20 + [("r0",)] * 10 + [("r1",)] * 10


def test_memory_decides_how_often_not_what() -> None:
    calibration = batches((2, 6, 5, 5))
    whole = compensated(chain(), calibration, OrtExecutor())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "PREFIX_BYTES", 0)
        patch.setattr(stages, "STAGE_BYTES", 0)
        executor = Counting()
        again = compensated(chain(), calibration, executor)
    assert set(executor.given) == {("x",)}
    for name in ("w1", "w2", "w3"):
        np.testing.assert_allclose(weight(whole, name), weight(again, name), rtol=1e-4, atol=1e-6)


def test_weights_that_are_turned_at_run_time_are_turned_again() -> None:
    """What is made of weights alone is never kept from stage to stage."""
    body, value = "", "x"
    for index in range(3):
        body += f"t{index} = Transpose (w{index})\nc{index} = MatMul ({value}, t{index})\nr{index} = Relu (c{index})\n"
        value = f"r{index}"
    weights = drawn(0, w0=(8, 6), w1=(8, 8), w2=(6, 8))
    program = program_of(f"{HEAD}\nturned (float[N, 6] x, WEIGHTS) => (float[N, 6] r2) {{ {body} }}", weights)
    calibration = batches((16, 6))
    kept = compensated(program, calibration, OrtExecutor())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix, "PREFIX_BYTES", 0)
        again = compensated(program, calibration, OrtExecutor())
    for name in ("w1", "w2"):
        np.testing.assert_allclose(weight(kept, name), weight(again, name), rtol=1e-4, atol=1e-6)


def test_deep_networks_share_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "STAGES", 1)
    program, executor = chain(), Counting()
    made_up = compensated(program, batches((2, 6, 5, 5)), executor)
    assert len(executor.given) == 20, "once through each program"
    held_out = batches((8, 6, 5, 5), 1, seed=99)[0]
    plain = run(program, [Prune(ratio=0.34, round_to=1, compensate=False)], Context(executor=OrtExecutor())).program
    assert error(made_up, program, held_out) < 0.9 * error(plain, program, held_out)


def test_the_same_data_gives_the_same_weights() -> None:
    first, again = (compensated(chain(), batches((2, 6, 5, 5)), OrtExecutor()) for _ in range(2))
    assert all((weight(first, name) == weight(again, name)).all() for name in ("w1", "w2", "w3"))


def test_a_layer_that_gains_nothing_stays() -> None:
    """Twelve rows of units that have nothing to do with each other."""
    weights = {"w1": np.eye(8, dtype=np.float32), "w2": drawn(0, w=(8, 3))["w"]}
    program = program_of(f"{HEAD}\neye (float[N, 8] x, WEIGHTS) => (float[N, 3] y) {{ h = MatMul (x, w1)\ny = MatMul (h, w2) }}", weights)
    rows = {"x": np.random.default_rng(4).normal(size=(12, 8)).astype(np.float32)}
    outcome = without(program, [1], [rows])
    assert not solved(outcome)
    assert reasons(outcome)["y"].startswith("left as it was: solved anew it would gain nothing (error on held-out rows ")
    np.testing.assert_array_equal(weight(outcome.program, "w2"), np.delete(weights["w2"], 1, axis=0))


def test_one_weight_of_two_layers_stays() -> None:
    weights = drawn(0, w1=(5, 6), u1=(4, 6), w2=(6, 3))
    program = program_of(
        f"""{HEAD}
        tied (float[N, 5] x, float[N, 4] z, WEIGHTS) => (float[N, 3] y)
        {{
            h = MatMul (x, w1)
            k = MatMul (z, u1)
            hr = Relu (h)
            kr = Relu (k)
            a = MatMul (hr, w2)
            b = MatMul (kr, w2)
            y = Mul (a, b)
        }}""",
        weights,
    )
    rows = [{**x, **z} for x, z in zip(batches((32, 5)), batches((32, 4), name="z"), strict=True)]
    outcome = without(program, [1], rows)
    assert reasons(outcome) == {
        "a": "left as removal made it: its weight %w2 is shared with %b",
        "b": "left as removal made it: its weight %w2 is shared with %a",
    }


def test_consumers_inside_branches_are_named() -> None:
    program = program_of(
        f"""{HEAD}
        inner (float[N, 5] x, bool c, WEIGHTS) => (float[N, 3] y)
        {{
            h = MatMul (x, w1)
            r = Relu (h)
            y = If (c) <
                then_branch = yes () => (float[N, 3] u) {{ u = MatMul (r, w2) }},
                else_branch = no () => (float[N, 3] v) {{ v = MatMul (r, w3) }}>
        }}""",
        drawn(0, w1=(5, 6), w2=(6, 3), w3=(6, 3)),
    )
    rows = [{**row, "c": np.array(True)} for row in batches((32, 5))]
    found = reasons(without(program, [1], rows))
    assert found["u"].startswith("left as removal made it: MatMul inside a subgraph or function reads %w2; only Conv")


def test_a_bias_that_others_read_is_theirs_still() -> None:
    weights = drawn(0, w1=(5, 6), w2=(6, 4), w3=(5, 4), b=(4,))
    weights["w1"][:, 1] = 2 * weights["w1"][:, 0] + 1
    program = program_of(
        f"""{HEAD}
        shared (float[N, 5] x, WEIGHTS) => (float[N, 4] y, float[N, 4] z)
        {{
            h = MatMul (x, w1)
            r = Relu (h)
            a = MatMul (r, w2)
            y = Add (a, b)
            k = MatMul (x, w3)
            z = Add (k, b)
        }}""",
        weights,
    )
    outcome = without(program, [1], batches((64, 5)))
    assert solved(outcome) == ["y"]
    row = batches((8, 5), 1, seed=9)[0]
    was, now = (OrtExecutor().run(one, row, ["z"])["z"] for one in (program, outcome.program))
    np.testing.assert_array_equal(was, now)
    own, theirs = (array(node.inputs[1]) for node in outcome.program.nodes("Add"))
    assert own is not None
    assert theirs is not None
    assert (own != theirs).any()
    np.testing.assert_array_equal(theirs, weights["b"])


def test_few_batches_lend_their_last_rows_to_judge() -> None:
    program = residual_net()
    made_up = without(program, [1], batches((300, 5), 1))
    assert "f" in solved(made_up)
    assert outputs(made_up.program, batches((3, 5), 1)[0]).shape == (3, 5)


def test_the_solution_is_least_squares_with_a_ridge_toward_what_is_there() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(2, 1, (400, 5)) @ rng.normal(size=(5, 5))
    residual = x @ rng.normal(size=(5, 3)) + 4 + 0.1 * rng.normal(size=(400, 3))
    fit = Moments(5, 3)
    fit.add(x[:320], residual[:320])
    solution = solve(fit, Held(x[320:], residual[320:], float((residual[320:] ** 2).sum())))
    assert solution.after < 0.05 < solution.before
    ones = np.concatenate([x, np.ones((400, 1))], axis=1)
    wanted = np.linalg.lstsq(ones, residual, rcond=None)[0]
    np.testing.assert_allclose(solution.delta, wanted[:5].T, atol=0.05)
    np.testing.assert_allclose(solution.shift, wanted[5], atol=0.3)
    none = solve(_moments(x, residual), Held(x[320:], residual[320:], 1.0), constant="none")
    assert not none.shift.any()


def _moments(x: np.ndarray, residual: np.ndarray) -> Moments:
    fit = Moments(x.shape[1], residual.shape[1])
    fit.add(x[:320], residual[:320])
    return fit


def test_traced_networks_with_batch_norms() -> None:
    """The export reads shapes of weights, makes biases of zeros at run time, and adds behind norms."""
    model = SMALL_MODELS["resnet"]
    program = traced("resnet")
    calibration = [model.feeds(batch=8, seed=seed) for seed in range(10)]
    made_up = run(program, [Prune(ratio=0.3, round_to=1, compensate=True)], Context(calibration=calibration, executor=OrtExecutor()))
    assert not reasons(made_up)
    assert len(solved(made_up)) == 11, "two convolutions a block, two shortcuts, the classifier"
    plain = run(program, [Prune(ratio=0.3, round_to=1, compensate=False)], Context(executor=OrtExecutor())).program
    held_out = model.feeds(batch=16, seed=99)
    assert error(made_up.program, program, held_out) < 0.4 * error(plain, program, held_out)
    sites = find_sites(program, made_up.program, program.fact(coupling).groups, removed_units(made_up.plans[0]))
    found = [site for stage in stages.stages(program, made_up.program, list(_sites(sites))) for site in stage.sites]
    behind = [site for site in found if isinstance(site, PatchSite) and site.factor is not None]
    assert len(behind) == 4, "one for each residual block"


def _sites(found: Iterable[Site | Miss]) -> Iterator[Site]:
    return (site for site in found if isinstance(site, Site))


class Shuffled:
    """A loader that shuffles."""

    def __init__(self, data: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._data = list(data)
        self._rng = np.random.default_rng(0)
        self.passes = 0

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        self.passes += 1
        return iter([self._data[int(at)] for at in self._rng.permutation(len(self._data))])


def test_loaders_that_shuffle_are_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program, loader = residual_net(), Shuffled(batches((64, 5)))
    made_up = without(program, [1], loader)  # type: ignore[arg-type]
    assert loader.passes == 1
    assert error(made_up.program, program, batches((64, 5), 1, seed=99)[0]) < 5e-3
    monkeypatch.setattr(feeds, "REPEATED_BYTES", 0)
    with pytest.raises(DataError, match=r"not the same every time that it is gone through. \(at batch \d+\)"):
        without(program, [1], Shuffled(batches((64, 5))))  # type: ignore[arg-type]
    assert "g" in solved(without(program, [1], batches((64, 5)))), "what does not shuffle may be larger"


def test_no_batch_is_an_error() -> None:
    with pytest.raises(DataError, match="no batch"):
        without(residual_net(), [1], [])


def test_what_is_not_finite_is_left_alone() -> None:
    rows = batches((64, 5))
    rows[0]["x"][0, 0] = np.inf
    found = reasons(without(residual_net(), [1], rows))
    assert found["f"] == "left as it was: what it sees or makes of the calibration data is not finite"


def test_half_precision() -> None:
    program = residual_net()
    half = program_of(
        f"{HEAD}\nhalf (float16[N, 5] x, WEIGHTS) => (float16[N, 5] y)\n"
        "{ h0 = MatMul (x, a1)\nh = Relu (h0)\nk0 = MatMul (h, a2)\ny = Add (k0, b) }",
        {**{name: weight(program, name).astype(np.float16) for name in ("a1", "a2")}, "b": np.zeros(5, np.float16)},
    )
    rows = [{"x": one["x"].astype(np.float16)} for one in batches((64, 5))]
    made_up = without(half, [1], rows)
    assert solved(made_up) == ["y"]
    assert all(weight(made_up.program, name).dtype == np.float16 for name in ("a1", "a2", "b"))
    assert error(made_up.program, half, rows[0]) < 0.8 * error(without(half, [1], None).program, half, rows[0])
