"""Removal of units in one small graph for each rule, against the same model with those units at zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.coupling import coupling
from netwright.ir.editor import Editor
from netwright.ir.errors import PlanError
from netwright.ir.ledger import Miss
from netwright.ir.lineage import lineage
from netwright.ir.verify import verify
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.prune import Prune
from netwright.passes.prune.masked import masked
from netwright.passes.prune.removal import remove
from netwright.passes.rewrite import Applied
from tests.passes.programs import program_of
from tests.passes.prune.graphs import GRAPHS

_EXECUTOR = OrtExecutor()


def carried_out(program: Program, proposals: Proposals) -> list[Miss]:
    """Apply every proposal to the program; returns the misses."""
    misses: list[Miss] = []
    answer: Applied | None = None
    while True:
        try:
            proposal = proposals.send(answer)
        except StopIteration:
            return misses
        answer = None
        if isinstance(proposal, Miss):
            misses.append(proposal)
            continue
        with Editor(program, by="0:prune#1", at=proposal.anchor) as editor:
            proposal.change(editor)
        verify(program)


def without(program: Program, units: Mapping[str, Sequence[int]], *, approximate: bool = False) -> tuple[Program, list[Miss]]:
    """A copy from which units were removed, and what was not."""
    copy = program.clone()
    return copy, carried_out(copy, remove(copy, units, approximate=approximate))


def assert_equal(left: Program, right: Program, feeds: Mapping[str, np.ndarray]) -> None:
    """Both give the same, but for rounding."""
    for name, wanted in _EXECUTOR.run(left, feeds).items():
        found = _EXECUTOR.run(right, feeds)[name]
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("name", GRAPHS)
def test_groups(name: str) -> None:
    graph = GRAPHS[name]
    found = {group.name: (group.kind, group.size) for group in coupling(graph.program()).groups if not group.frozen and not group.inexact}
    assert found == graph.groups


@pytest.mark.parametrize("name", GRAPHS)
def test_each_unit_alone(name: str) -> None:
    graph, program = GRAPHS[name], GRAPHS[name].program()
    original = _EXECUTOR.run(program, graph.inputs())
    for group, (_, size) in graph.groups.items():
        mattered = False
        for unit in range(size):
            smaller, misses = without(program, {group: [unit]})
            assert not misses
            zeroed = masked(program, {group: [unit]})
            assert_equal(zeroed, smaller, graph.inputs())
            mattered |= any(not np.allclose(array, original[key]) for key, array in _EXECUTOR.run(zeroed, graph.inputs()).items())
            assert any(_elements(smaller, name) < _elements(program, name) for name in graph.weights)
        assert mattered


@pytest.mark.parametrize("name", [name for name, graph in GRAPHS.items() if any(size > 2 for _, size in graph.groups.values())])
def test_all_groups_one_after_the_other(name: str) -> None:
    """The labels, biases and means that one removal leaves are right for the next."""
    graph, program = GRAPHS[name], GRAPHS[name].program()
    units = {group: [0, size - 1] if size > 2 else [0] for group, (_, size) in graph.groups.items()}
    smaller, misses = without(program, units)
    assert not misses
    assert_equal(masked(program, units), smaller, graph.inputs())
    left = [group for group in coupling(smaller).groups if not group.frozen and not group.inexact]
    again = {group.name: [int(np.flatnonzero(group.removable)[0])] for group in left if min(map(len, group.parts)) > 1}
    smallest, misses = without(smaller, again)
    assert not misses
    assert_equal(masked(smaller, again), smallest, graph.inputs())


def _elements(program: Program, name: str) -> int:
    tensor = program.value(name).const_value
    return 0 if tensor is None else tensor.size


def test_a_weight_knows_which_slices_it_kept() -> None:
    program = GRAPHS["conv"].program()
    before = {name: program.value(name).const_value for name in ("w", "v")}
    result = run(program, [Prune(ratio=0.5, round_to=1)], Context()).program
    for name, old in before.items():
        new = result.value(name).const_value
        assert old is not None
        assert new is not None
        assert new.size < old.size
        origin = lineage(result.ledger, name)
        np.testing.assert_array_equal(origin.map.apply(old.numpy()), new.numpy())


LAYER_NORM = """<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 5] x, WEIGHTS) => (float[N, 2] y) {
    a = MatMul(x, w)
    n = LayerNormalization(a, g, h)
    y = MatMul(n, u)
}"""


def layer_norm() -> Program:
    rng = np.random.default_rng(0)
    shapes = {"w": (5, 6), "g": (6,), "h": (6,), "u": (6, 2)}
    return program_of(LAYER_NORM, {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def test_a_mean_over_units_is_refused_unless_approximate() -> None:
    program = layer_norm()
    same, misses = without(program, {"a": [1]})
    assert [miss.site for miss in misses] == ["a"]
    assert "LayerNormalization at %n takes a mean over it" in misses[0].reason
    assert _elements(same, "w") == _elements(program, "w")
    smaller, misses = without(program, {"a": [1]}, approximate=True)
    assert not misses
    assert smaller.value("u").const_value.shape.numpy() == (5, 2)  # pyright: ignore[reportOptionalMemberAccess]


def test_a_constant_before_padding_is_refused() -> None:
    rng = np.random.default_rng(0)
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 3, 6, 6] x, WEIGHTS) => (float[N, 2, A, B] y) {
            a = Conv(x, w)
            s = Sigmoid(a)
            y = Conv<pads=[1, 1, 1, 1]>(s, u)
        }""",
        {"w": rng.normal(size=(4, 3, 1, 1)).astype(np.float32), "u": rng.normal(size=(2, 4, 3, 3)).astype(np.float32)},
    )
    _, misses = without(program, {"a": [1]})
    assert "zero has become 0.5 before Conv at %y" in misses[0].reason
    assert "pads its input with zeros" in misses[0].reason


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"nothing": [0]}, "no group nothing"),
        ({"a": [4]}, "units 0 to 3"),
        ({"a": [-1]}, "units 0 to 3"),
        ({"a": [0, 1, 2, 3]}, "All 4 units"),
        ({"y": [0]}, "output of the model"),
    ],
)
def test_plans_that_cannot_be_carried_out(units: dict[str, list[int]], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        without(GRAPHS["conv"].program(), units)


def test_the_masked_model_leaves_the_original_alone() -> None:
    program = GRAPHS["one vector, many readers"].program()
    before = program.value("b").const_value
    changed = masked(program, {"a": [0, 1, 2]})
    assert program.value("b").const_value is before
    assert before is not None
    feeds = GRAPHS["one vector, many readers"].inputs()
    assert not np.allclose(_EXECUTOR.run(program, feeds)["y"], _EXECUTOR.run(changed, feeds)["y"])


@pytest.mark.parametrize(("code", "dtype"), [("float16", np.float16), ("double", np.float64)])
def test_experts_of_other_widths_get_no_share(code: str, dtype: type[np.floating]) -> None:
    graph = GRAPHS["experts"]
    rng = np.random.default_rng(0)
    drawn = {name: (rng.normal(size=shape) * 0.5).astype(dtype) for name, shape in graph.weights.items()}
    given = {name: np.asarray(values, dtype=np.int64) for name, values in (graph.integers or {}).items()}
    program = program_of(graph.text.replace("float[", f"{code}["), {**drawn, **given})
    zeroed = masked(program, {"s:experts": [1]})
    verify(zeroed)
    smaller, misses = without(program, {"s:experts": [1]})
    assert not misses
    feeds = {name: value.astype(dtype) for name, value in graph.inputs().items()}
    wanted, found = _EXECUTOR.run(zeroed, feeds)["y"], _EXECUTOR.run(smaller, feeds)["y"]
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(found, wanted, atol=4 * float(np.finfo(dtype).eps) * float(np.abs(wanted).max()))
