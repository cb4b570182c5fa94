"""T6: a trained CNN at few converter bits, with and without disabled cells; a transformer with GELU as the control."""

from __future__ import annotations

import pytest

from benchmarks._cim_models import OnChip
from benchmarks.cim_sparsity import charge_arch
from netwright.backends.cim.sparsity import DisableCells


@pytest.mark.slow
def test_disabled_cells_keep_a_cnn_at_five_bits() -> None:
    plain = OnChip.of("train_small_cnn", charge_arch(5))
    masked, outcome = plain.with_pass(DisableCells(granularity="plane"))
    before, after = plain.score(quick=True), masked.score(quick=True)
    assert len(outcome.plans[0].decisions) == 5
    assert before.metric < 0.6
    assert after.metric > 0.95
    assert after.total_pj < 0.9 * before.total_pj


@pytest.mark.slow
def test_a_transformer_has_no_zeros_among_values() -> None:
    plain = OnChip.of("train_small_transformer", charge_arch(6))
    _, outcome = plain.with_pass(DisableCells(granularity="row"))
    assert not outcome.plans[0].decisions
    assert len(outcome.plans[0].misses) == 8
