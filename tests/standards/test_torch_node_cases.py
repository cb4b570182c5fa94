"""ONNX's own node tests through `to_torch`: every case gives the expected values, or stands in `torch_exceptions.json` with its reason."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from benchmarks.node_tests import TestCase, cases
from benchmarks.torch_node_tests import run_all

SHARDS = 8
"""Every eighth case each, so that they spread over processes."""
EXCEPTIONS: dict[str, list[str]] = json.loads((Path(__file__).parent / "torch_exceptions.json").read_text(encoding="utf8"))
"""By reason, the cases that it holds for."""


@cache
def all_cases() -> list[TestCase]:
    return cases()


@cache
def excepted() -> frozenset[str]:
    return frozenset(name for names in EXCEPTIONS.values() for name in names)


@cache
def by_processor() -> frozenset[str]:
    """Cases in half precision, which may come out on a processor whose kernels round elsewhere."""
    return frozenset(name for reason, names in EXCEPTIONS.items() for name in names if "half precision" in reason)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_node_cases_give_their_values_through_torch(shard: int) -> None:
    found = run_all(all_cases()[shard::SHARDS])
    unlisted = [f"{one.name}: {one.reason}" for one in found if not one.equal and one.name not in excepted()]
    assert not unlisted, "list them with a reason in torch_exceptions.json, or mend them:\n" + "\n".join(unlisted)
    stale = [one.name for one in found if one.equal and one.name in excepted() and one.name not in by_processor()]
    assert not stale, "these pass now; take them off torch_exceptions.json: " + ", ".join(stale)


def test_at_least_1500_cases_pass() -> None:
    assert len(all_cases()) - len(excepted()) >= 1500


def test_every_exception_is_a_case_once_and_has_a_reason() -> None:
    listed = [name for names in EXCEPTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= {case.name for case in all_cases()}
    assert all(len(reason) > 20 for reason in EXCEPTIONS)
