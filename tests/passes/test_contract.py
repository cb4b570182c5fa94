"""What every registered pass must keep to, on every sample program: one test covers each new pass by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import pytest

from netwright.backends.cim.arch import preset
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.catalog import describe
from netwright.ir.dump import dump
from netwright.ir.origin import origin_of
from netwright.ir.program import Program
from netwright.ir.verify import verify
from netwright.passes import Context, Lossy, Pass, Pipeline, Plan, pass_class, pass_names, run
from netwright.passes.context import Feeds
from netwright.passes.sizes import batch_name
from netwright.passes.values import errors, within
from tests.passes.programs import PROGRAMS, feeds_for

REQUIRED: Mapping[str, Mapping[str, object]] = {
    "factorize": {"ratio": 0.2, "round_to": 1},
    "prune": {"ratio": 0.25, "round_to": 1},
    "prune_train": {"penalty": 1e-6},
    "sparsify_activations": {"threshold": 0.01},
}
"""Options without which a pass says that something is missing."""
ERRORS: Mapping[str, float] = {"factorize": 0.5, "prune": 0.5}
"""How far outputs may be off, relative to their norm, after a lossy pass; 0.1 for those not named. Untrained nets lose a quarter of their
channels, or a fifth of matrices that are all noise, hard."""

FIXES_SIZES = frozenset({"bind"})
"""Passes after which a program takes one sample, of the sizes that the context says."""


def one_sample(program: Program, feeds: Feeds) -> tuple[Feeds, dict[str, int]]:
    """The first sample of feeds, and the numbers of its named dimensions."""
    batch = batch_name(program)
    cut: dict[str, np.ndarray] = {}
    sizes: dict[str, int] = {}
    for value in program.inputs:
        name, dims = value.name or "", [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        cut[name] = feeds[name].take([0], dims.index(batch)) if batch and batch in dims else feeds[name]
        sizes.update((dim, size) for dim, size in zip(dims, cut[name].shape, strict=True) if isinstance(dim, str))
    return cut, sizes


@pytest.mark.parametrize("name", pass_names())
def test_a_pass_is_frozen_data_with_help_and_documented_options(name: str) -> None:
    cls = pass_class(name)
    info = describe(name)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert info.summary.endswith(".")
    assert [option.name for option in info.options if not option.help] == []


@pytest.mark.parametrize("name", pass_names())
def test_options_print_and_parse_back(name: str) -> None:
    for one in Pipeline.parse(name):
        assert Pipeline.parse(str(one)).passes == (one,)


@pytest.mark.parametrize("sample", PROGRAMS)
@pytest.mark.parametrize("name", pass_names())
def test_a_pass_keeps_its_promises(name: str, sample: str) -> None:
    cls = pass_class(name)
    one = cast("Callable[..., Pass]", cls)(**REQUIRED.get(name, {}))
    program = PROGRAMS[sample]()
    verify(program)
    before = set(program.nodes())
    executor = OrtExecutor()
    feeds = feeds_for(program)
    sizes: dict[str, int] = {}
    if name in FIXES_SIZES:
        feeds, sizes = one_sample(program, feeds)
    expected = executor.run(program, feeds)

    context = dataclasses.replace(_context(one, program, feeds, expected), dims=sizes)
    outcome = run(program, [one], context, verify_each=True)
    verify(outcome.program)
    again = run(outcome.program, [one], context).rows[0]

    assert [node for node in program.nodes() if node not in before] == []
    numbers = {action.number for action in outcome.program.ledger.actions}
    original_names = {value.name for node in before for value in node.outputs}
    for node in outcome.program.nodes():
        made = node.outputs[0].name not in original_names
        assert not made or set(origin_of(node).by) & numbers, f"{node.op_type} %{node.outputs[0].name} has no origin"
    if not isinstance(cls.numerics, Lossy):
        assert within(errors(expected, executor.run(outcome.program, feeds)), cls.numerics)
    else:
        stats = errors(expected, executor.run(outcome.program, feeds))
        assert stats.rel < ERRORS.get(name, 0.1)
    if cls.fixpoint:
        assert again.actions == 0
    for plan in outcome.plans.values():
        assert Plan.from_json(plan.to_json()) == plan
        replayed = run(PROGRAMS[sample](), [one], Context(plans={plan.pass_name: plan}))
        assert [a.identity for a in replayed.program.ledger.actions] == [a.identity for a in outcome.program.ledger.actions]


def _context(one: Pass, program: Program, feeds: Feeds, expected: Feeds) -> Context:
    """What a pass needs: for one that trains, the program's own outputs as labels, so that there is nothing to change."""
    if not one.needs():
        return Context()
    if "target" in one.needs():
        assert one.needs() <= {"calibration", "executor", "target"}, "a pass with other needs: add them here"
        return Context(calibration=[feeds], executor=OrtExecutor(), target=CimTarget(preset()))
    assert one.needs() <= {"training", "loss", "original"}, "a pass with other needs: add them here"
    labels = {f"labels_{name}": array for name, array in expected.items() if array.dtype.kind == "f"}
    losses = {name.removeprefix("labels_"): "mse" for name in labels}
    return Context(training=[{**feeds, **labels}], loss=losses, original=program, threads=1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("sample", PROGRAMS)
def test_passes_are_deterministic(sample: str) -> None:
    program = PROGRAMS[sample]()
    first, second = (run(program, Pipeline.parse("simplify, quantize"), Context()).program for _ in range(2))
    assert dump(first) == dump(second)
