"""ONNX's own node tests: what ONNX Runtime gives on the original, it gives on what netwright saves, as imported and simplified.

Exceptions stand in `exceptions.json`, each with its reason: those under "" hold for the import, and so for every variant.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from benchmarks.node_tests import DIFFERENT, SAME, TestCase, cases, outcomes, pipeline_transform

SHARDS = 8
"""Every eighth case each; every second shard runs with `make test`, the others with `make test-all`."""
EXCEPTIONS: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "exceptions.json").read_text(encoding="utf8"))


@cache
def all_cases() -> list[TestCase]:
    return cases()


def excepted(variant: str) -> dict[str, str]:
    return {**EXCEPTIONS[""], **EXCEPTIONS[variant]}


@pytest.mark.parametrize("shard", [pytest.param(shard, marks=[pytest.mark.slow] if shard % 2 else []) for shard in range(SHARDS)])
def test_node_cases_keep_their_values(shard: int) -> None:
    found = list(outcomes(all_cases()[shard::SHARDS], {"simplify": pipeline_transform("simplify")}))
    unlisted = [
        f"{o.name} ({o.variant or 'import'}): {o.reason}" for o in found if o.status == DIFFERENT and o.name not in excepted(o.variant)
    ]
    assert not unlisted, "list them with a reason in exceptions.json, or mend them:\n" + "\n".join(unlisted)
    stale = [f"{o.name} ({o.variant or 'import'})" for o in found if o.status != DIFFERENT and o.name in excepted(o.variant)]
    assert not stale, "these pass now; take them off exceptions.json: " + ", ".join(stale)
    assert sum(o.status == SAME for o in found) > 2 * 150, "ONNX Runtime runs some 190 of the 235 cases of a shard"


def test_every_exception_is_a_case_and_has_a_reason() -> None:
    names = {case.name for case in all_cases()}
    for listed in EXCEPTIONS.values():
        assert set(listed) <= names
        assert all(len(reason) > 10 for reason in listed.values())
