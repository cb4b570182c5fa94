"""Runs a ChipProgram, bit by bit, and counts what every instruction does.

The result does not depend on chunks, threads or tiles. Values are computed tensor by tensor where the program's check has shown that
all buffers of a tensor hold the same (`steps.together`); `stepwise=True` follows every instruction and gives each buffer and message
values of its own: slower, the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from netwright.backends.cim.engines.prepare import Counting, Engine
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.program.verify import verify
from netwright.backends.cim.simulator.activity import RegionLoader, Trace
from netwright.backends.cim.simulator.counting import count
from netwright.backends.cim.simulator.feeding import batch_axis, check_batch, joined, samples_of
from netwright.backends.cim.simulator.ledger import Ledger, shares_of
from netwright.backends.cim.simulator.products import Products
from netwright.backends.cim.simulator.regions import Regions, dtype_of
from netwright.backends.cim.simulator.running import Progress, Run, output_slot, peak, varying
from netwright.backends.cim.simulator.steps import instruction, literal, together
from netwright.ir.errors import RunError

MEMORY = 2**29
"""Bytes of values that a chunk of samples may take, or one sample where that takes more (up to `LIMIT`).

Besides that a run takes the batch's inputs and outputs; of a product, `products.PIECE` bytes of inputs at a time with what the engine
makes of them; and what a region's session makes of a chunk.
"""
LIMIT = 2**34
"""Bytes of values that one sample may take."""


class Machine:
    """A chip with a program.

    Args:
        chip: the program; held to be sound.
        loader: makes something that runs of a region.
        threads: of the engines; results do not depend on it.
        chunk: samples that go through together; by default as many as `MEMORY` holds. Results do not depend on it.
        engine: of products.
        counts: `exact`, or `fast` where some of what products count is measured on some vectors.
        stepwise: follow every instruction by itself.

    Raises:
        VerifyError: the program is not sound.
    """

    def __init__(
        self,
        chip: ChipProgram,
        loader: RegionLoader,
        *,
        threads: int = 1,
        chunk: int | None = None,
        engine: Engine = "auto",
        counts: Counting = "fast",
        stepwise: bool = False,
    ) -> None:
        order = verify(chip, regions=False)
        self.chip = chip
        self.plan = literal(chip, order) if stepwise else together(chip, order)
        self._asked = stepwise
        self._chunk = chunk
        self._products = Products(chip, threads, engine, counts, {})
        self._regions = Regions(chip, loader, {}, {})
        self._dtypes = {slot: dtype_of(chip.tensors[name]) for slot, name in self.plan.tensors.items()}
        self._varying = varying(self.plan, {port.name for port in chip.inputs if batch_axis(port) >= 0})
        self._outputs = {port.name: output_slot(chip, self.plan, port.name) for port in chip.outputs}
        self._peak = peak(self.plan, self._dtypes)
        self._moved = {place: count(chip, place[0], instruction(chip, place)) for place in order}
        self._shares = shares_of(self.plan)
        if self._peak > LIMIT:
            message = f"One sample would take {self._peak:,} bytes of values, more than {LIMIT:,}."
            raise RunError(message, place=chip.name, remedy="Compile the model for smaller inputs.")

    @property
    def steps(self) -> int:
        """Steps of one chunk: a run's progress counts so many for each."""
        return len(self.plan.steps)

    def run(self, feeds: Mapping[str, object], *, progress: Progress | None = None) -> tuple[dict[str, np.ndarray], Trace]:
        """Run on a batch.

        Args:
            feeds: arrays by input name.
            progress: told how far it is.

        Returns:
            Arrays by output name, and what every instruction did.

        Raises:
            DataError: a feed does not fit, or an output has no axis for several samples.
            RunError: a region failed.
        """
        given, samples = samples_of(self.chip, feeds)
        check_batch(self.chip, samples, [name for name, slot in self._outputs.items() if slot in self._varying])
        chunk = max(1, self._chunk or MEMORY // max(1, self._peak))
        total = -(-samples // chunk) * len(self.plan.steps)
        ledger = Ledger(self._moved, self._shares)
        run = Run(self.chip, self.plan, self._products, self._regions, self._dtypes, self._varying, progress, total, ledger)
        pieces: dict[str, list[np.ndarray]] = {port.name: [] for port in self.chip.outputs}
        for first in range(0, samples, chunk):
            some = {name: array if len(array) == 1 else array[first : first + chunk] for name, array in given.items()}
            found = run.chunk(some, first, min(chunk, samples - first))
            for name, own in pieces.items():
                own.append(found[name])
        outputs = {port.name: joined(port, pieces[port.name], samples) for port in self.chip.outputs}
        return outputs, self._trace(ledger, samples)

    def _trace(self, ledger: Ledger, samples: int) -> Trace:
        trace = Trace(samples, fell_back=self._products.why_slow(), later=partial(ledger.activities, samples))
        if self.plan.reason and not self._asked:
            trace.fell_back.append(f"Instructions were followed one by one, which is slower: {self.plan.reason}.")
        return trace
