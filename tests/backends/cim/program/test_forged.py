"""Files signed anew with something changed in them: each is an error that says so, or a program that can be carried out."""

from __future__ import annotations

import time

import numpy as np
import pytest

from netwright.backends.cim.program import assemble, disassemble
from netwright.backends.cim.program.file import from_bytes, pack, to_bytes
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.schedule import schedule
from netwright.backends.cim.simulator.machine import Machine
from netwright.ir.errors import DataError, ModelFileError, NetwrightError, RunError, VerifyError
from tests.backends.cim.program import chips
from tests.backends.cim.program.forging import forged

MADE = {"linear": chips.linear()[0], "conv": chips.conv()[0], "residual": chips.residual(), "reload": chips.reload()[0]}
SLOW = 2.0
"""Seconds of processor that one forged file may take; the sound ones take a hundredth."""


def read(chip: ChipProgram, seed: int) -> ChipProgram | NetwrightError:
    """What a forged file of a program is read as."""
    rng = np.random.default_rng(seed)
    data = pack(*forged(chip, rng, int(rng.integers(1, 4))))
    start = time.thread_time()
    try:
        return from_bytes(data)
    except NetwrightError as error:
        return error
    finally:
        assert time.thread_time() - start < SLOW, seed


@pytest.mark.parametrize("name", MADE)
def test_forged_files_are_errors_or_programs_that_can_be_carried_out(name: str):
    chip = MADE[name]
    kinds: dict[type[object], int] = {}
    carried_out = 0
    for seed in range(200):
        found = read(chip, seed)
        kinds[type(found)] = kinds.get(type(found), 0) + 1
        if not isinstance(found, ChipProgram):
            assert found.place, seed
            continue
        assert to_bytes(from_bytes(to_bytes(found))) == to_bytes(found), seed
        if seed % 10 == 0:
            assert to_bytes(assemble(disassemble(found, data=True))) == to_bytes(found), seed
            carried_out += carry_out(found)
    assert min(kinds[ChipProgram], kinds[ModelFileError], kinds[VerifyError]) >= 20
    assert carried_out >= 2


def carry_out(chip: ChipProgram) -> bool:
    """Run a program on two samples, and time it; False where its inputs are not what the feeds are, or one sample is what it takes."""
    try:
        Machine(chip, chips.on_onnxruntime).run(chips.random_feeds(chip, 2))
    except (DataError, RunError):
        return False
    return schedule(chip).latency_ns > 0
