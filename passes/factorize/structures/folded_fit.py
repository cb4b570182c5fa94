"""Cores of a train fitted in turn under a moment that mixes the inputs' axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_STEPS = 12
_LEAST = 3
_WORK = 3e10
"""Multiply-accumulates for all steps of one train, about a second; less than two rounds of `_LEAST` steps becomes one."""


def fitted(cores: list[np.ndarray], weight: np.ndarray, moment: np.ndarray | None) -> list[np.ndarray]:
    """Cores that lose no more of tr(ΔC Δᵀ), Δ = W − Ŵ, than those given: each core in turn by conjugate gradients, twice or,
    of large weights, once.

    Args:
        cores: G_k [r_{k-1}, m_k, n_k, r_k].
        weight: with axes m₁, n₁, m₂, n₂ and so on.
        moment: C, [n, n]; None for the identity, for which the cores are taken to be good.
    """
    if moment is None:
        return cores
    inputs = len(moment)
    outputs = weight.size // inputs
    rank = max(core.shape[3] for core in cores)
    able = _WORK / (float(outputs) * inputs * (inputs + 2 * rank) * len(cores))  # steps on each core
    rounds = 2 if able >= 2 * _LEAST else 1
    steps = int(np.clip(able / rounds, _LEAST, _STEPS))
    cores = list(cores)
    for _ in range(rounds):
        for index in range(len(cores)):
            cores[index] = _stepped(cores, index, weight, moment, steps)
    return cores


def train(cores: Sequence[np.ndarray]) -> np.ndarray:
    """The train multiplied out: axes r_0, m₁, n₁, m₂, n₂, …, r_d."""
    whole = cores[0]
    for core in cores[1:]:
        whole = np.tensordot(whole, core, axes=1)
    return whole


def _stepped(cores: Sequence[np.ndarray], index: int, weight: np.ndarray, moment: np.ndarray, steps: int) -> np.ndarray:
    """One core after some steps on the least-squares problem of its correction, the others given."""
    core = cores[index]
    before = train(cores[:index]).reshape(-1, core.shape[0]) if index else np.ones((1, 1))
    after = train(cores[index + 1 :]).reshape(core.shape[3], -1) if index + 1 < len(cores) else np.ones((1, 1))

    def forward(change: np.ndarray) -> np.ndarray:
        ahead = before @ change.reshape(core.shape[0], -1)
        return (ahead.reshape(-1, core.shape[3]) @ after).reshape(weight.shape)

    def adjoint(energy: np.ndarray) -> np.ndarray:
        behind = energy.reshape(-1, after.shape[1]) @ after.T
        return (before.T @ behind.reshape(before.shape[0], -1)).reshape(core.shape)

    weigh = _weigher(weight.shape, moment)
    rest = adjoint(weigh(weight - forward(core)))
    return core + _conjugate_gradients(lambda change: adjoint(weigh(forward(change))), rest, steps)


def _weigher(shape: tuple[int, ...], moment: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Δ ↦ Δ C for arrays with axes m₁, n₁, m₂, n₂ and so on."""
    count = len(shape) // 2
    apart = [*range(0, 2 * count, 2), *range(1, 2 * count, 2)]
    paired = [axis for core in range(count) for axis in (core, count + core)]
    sizes = [shape[axis] for axis in apart]

    def weigh(array: np.ndarray) -> np.ndarray:
        return (array.transpose(apart).reshape(-1, len(moment)) @ moment).reshape(sizes).transpose(paired)

    return weigh


def _conjugate_gradients(apply: Callable[[np.ndarray], np.ndarray], target: np.ndarray, steps: int) -> np.ndarray:
    """X with apply(x) near the target, from zero: every step lowers ½ x·apply(x) − x·target (Hestenes and Stiefel, 1952)."""
    found = np.zeros_like(target)
    rest, direction = target, target
    square = start = float(np.vdot(rest, rest))
    for _ in range(steps):
        if square <= 1e-24 * start or square == 0:
            break
        image = apply(direction)
        curvature = float(np.vdot(direction, image))
        if curvature <= 0:
            break
        found = found + (square / curvature) * direction
        rest = rest - (square / curvature) * image
        square, previous = float(np.vdot(rest, rest)), square
        direction = rest + (square / previous) * direction
    return found
