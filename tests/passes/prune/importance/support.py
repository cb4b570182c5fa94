"""What the importance tests share: small programs, their groups, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.coupling import Group, coupling
from netwright.passes import Context
from netwright.passes.prune.importance import Importance, importance
from netwright.training.gradients import TorchGradients
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Normal weights, float32."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def two_layers(weights: Mapping[str, np.ndarray] | None = None) -> Program:
    """x [N, 4] through 6 hidden units, with a bias and ReLU, to y [N, 3]."""
    given = weights or drawn(0, w1=(4, 6), b1=(6,), w2=(6, 3))
    return program_of(
        f"""{HEAD}
        two (float[N, 4] x, WEIGHTS) => (float[N, 3] y)
        {{
            h0 = MatMul (x, w1)
            h = Add (h0, b1)
            r = Relu (h)
            y = MatMul (r, w2)
        }}""",
        given,
    )


def conv_net(weights: Mapping[str, np.ndarray]) -> Program:
    """Two convolutions with a batch norm between them."""
    return program_of(
        f"""{HEAD}
        convs (float[N, 2, 6, 6] x, WEIGHTS) => (float[N, 3, 4, 4] y)
        {{
            c = Conv <pads: ints = [1, 1, 1, 1]> (x, w1)
            n = BatchNormalization (c, gamma, beta, mean, var)
            r = Relu (n)
            y = Conv (r, w2, b2)
        }}""",
        weights,
    )


def conv_weights() -> dict[str, np.ndarray]:
    """Weights of `conv_net`."""
    weights = drawn(1, w1=(5, 2, 3, 3), gamma=(5,), beta=(5,), mean=(5,), w2=(3, 5, 3, 3), b2=(3,))
    return {**weights, "var": np.array([0.5, 1, 2, 1, 1.5], np.float32)}


def groups_of(program: Program, kind: str = "") -> list[Group]:
    """Groups that can lose units; of one kind where given."""
    return [group for group in program.fact(coupling).groups if not group.frozen and kind in ("", group.kind)]


def context(batches: Sequence[Mapping[str, np.ndarray]] | None = None, **given: object) -> Context:
    """Calibration data and backends; `training=` and `loss=` for gradients."""
    return Context(calibration=batches, executor=OrtExecutor(), gradients=TorchGradients(threads=1), **given)  # type: ignore[arg-type]


def judged(program: Program, criterion: object, given: Context | None = None, kind: str = "") -> Importance:
    """What a criterion says of all groups."""
    return importance(program, given or context(), groups_of(program, kind), criterion)  # type: ignore[arg-type]


def only(found: Importance) -> np.ndarray:
    """The scores of the only group."""
    (scores,) = found.scores.values()
    return scores
