"""Golden text: what the sample programs look like after the passes (`--update-golden` writes them anew)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netwright.ir.dump import dump
from netwright.passes import Context, Pipeline, run
from tests.passes.programs import PROGRAMS


@pytest.mark.parametrize("sample", PROGRAMS)
@pytest.mark.parametrize("pipeline", ["simplify", "simplify, quantize(scheme='dynamic')", "simplify, quantize(scheme='weights', bits=4)"])
def test_the_dump_is_as_written(sample: str, pipeline: str, golden: Callable[[str, str], None]) -> None:
    program = run(PROGRAMS[sample](), Pipeline.parse(pipeline), Context()).program
    label = pipeline.removeprefix("simplify").strip(", ").partition("scheme='")[2].partition("'")[0] or "simplify"
    misses = "".join(f"miss  %{miss.site}: {miss.reason}\n" for miss in program.ledger.misses)
    golden(dump(program, weights=False) + misses, f"{sample}.{label}.txt")
