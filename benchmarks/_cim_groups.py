"""Chips that switch rows in groups only: models as they are, and with channels that rest together made neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks._cim_models import OnChip
from benchmarks.table import Row
from benchmarks.zoo import zoo
from netwright.backends.cim.arch import Arch
from netwright.backends.cim.arch.model import Disabling, Granularity
from netwright.backends.cim.ops import coding_of
from netwright.backends.cim.simulator.graph import GraphExecutor
from netwright.backends.cim.sparsity import DisableCells, Resequence
from netwright.backends.cim.sparsity.samples import inputs_of, products
from netwright.backends.cim.sparsity.zeros import zeros
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.passes.context import Context
from netwright.targets import region_runner

MASKS: tuple[Granularity, ...] = ("row_group", "plane_group")
UNSEEN = 7
"""Seed of the samples on which resting rows are counted; the passes look at others."""


def group_rows(name: str, arch: Arch, sizes: tuple[int, ...], *, quick: bool) -> Iterator[Row]:
    """A model's resting rows, metric and energy by granularity and size of groups, before and after `resequence(by='inputs')`.

    Energy is with `fewer_bits`, where resting rows save conversions; the metric without, where they make steps finer.

    Args:
        name: of the model.
        arch: the chip, but for what it switches together.
        sizes: of groups.
        quick: score on a part of the evaluation data.
    """
    for masks in MASKS:
        for size in sizes:
            disabling = replace(arch.array.disabling, granularities=("none", "pad", masks), group=size)
            plain = OnChip.of(name, replace(arch, array=replace(arch.array, disabling=disabling)))
            ordered, outcome = plain.with_pass(Resequence(by="inputs", threshold=0.0))
            sites = len(outcome.program.ledger.actions) - len(plain.program.ledger.actions)
            row: Row = {"masks": masks, "group": size, "sites": f"{sites} of {sum(1 for _ in products(plain.program))}"}
            shares, metrics, energies = zip(*(_measured(one, disabling, quick=quick) for one in (plain, ordered)), strict=True)
            row["rows that rest"] = " → ".join(f"{share:.3f}" for share in shares)
            row["metric"] = " → ".join(f"{metric:.4f}" for metric in metrics)
            row["arrays µJ, fewer bits"] = " → ".join(f"{energy:.3f}" for energy in energies)
            yield row


def _measured(chip: OnChip, disabling: Disabling, *, quick: bool) -> tuple[float, float, float]:
    finer, _ = chip.with_pass(DisableCells(threshold=0.0))
    fewer, _ = chip.with_pass(DisableCells(threshold=0.0, fewer_bits=True))
    return _resting(chip, disabling), finer.score(quick=quick).metric, fewer.score(quick=quick).total_pj / 1e6


def _resting(chip: OnChip, disabling: Disabling) -> float:
    """Mean share of rows that groups let rest, over the model's vectors, those of products with few rows aside."""
    masks, size = disabling.granularities[-1], disabling.group
    data = zoo[chip.name].feeds(16, seed=UNSEEN)
    context = Context(executor=GraphExecutor(region_runner, OrtExecutor()), target=CimTarget(chip.arch), calibration=data)
    nodes = products(chip.program)
    inputs = inputs_of(chip.program, nodes, context)
    shares: list[float] = []
    for node in nodes:
        x = inputs[(node.inputs[0].name if node.inputs[0] is not None else "") or ""]
        if x.shape[1] >= size:
            shares.append(zeros(x, coding_of(node), masks, size, 0.0).sparsity)
    return sum(shares) / len(shares)
