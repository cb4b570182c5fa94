"""What the compensation tests share: units that others can stand in for, and a pass that removes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.coupling import Group
from netwright.ir.verify import verify
from netwright.passes import Context, Outcome, run
from netwright.passes.prune import Prune
from netwright.passes.prune.importance import Evidence

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'

Arrays = Mapping[str, np.ndarray]


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Normal arrays, float32."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def batches(shape: tuple[int, ...], count: int = 10, seed: int = 7, name: str = "x") -> list[dict[str, np.ndarray]]:
    """Inputs of one shape, not centred."""
    rng = np.random.default_rng(seed)
    return [{name: (rng.normal(size=shape) + 0.5).astype(np.float32)} for _ in range(count)]


def without(program: Program, units: Collection[int], calibration: Sequence[Arrays] | None, **options: object) -> Outcome:
    """The program without some units of each group, solved anew where there is calibration data."""

    def judge(group: Group, evidence: Evidence) -> np.ndarray:
        del evidence
        return np.array([-1.0 if unit in units else 1.0 for unit in range(group.size)])

    chosen = Prune(threshold=0.0, importance=judge, compensate=calibration is not None, **options)  # type: ignore[arg-type]
    outcome = run(program, [chosen], Context(calibration=calibration, executor=OrtExecutor()), verify_each=True)
    verify(outcome.program)
    assert outcome.rows[0].actions, "nothing was removed"
    return outcome


def outputs(program: Program, feeds: Arrays) -> np.ndarray:
    """The first output."""
    return next(iter(OrtExecutor().run(program, feeds).values()))


def error(program: Program, reference: Program, feeds: Arrays) -> float:
    """Relative error of the first output."""
    wanted = outputs(reference, feeds).astype(np.float64)
    return float(np.linalg.norm(outputs(program, feeds) - wanted) / np.linalg.norm(wanted))


def solved(outcome: Outcome) -> list[str]:
    """Sites whose weights were solved anew."""
    return [action.site for action in outcome.program.ledger.actions if "solved anew" in action.why]


def reasons(outcome: Outcome) -> dict[str, str]:
    """Reason by site, of what was left as it is."""
    return {miss.site: miss.reason for miss in outcome.rows[0].misses if miss.reason.startswith("left as")}
