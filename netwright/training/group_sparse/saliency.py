"""Which units matter least: what x and the gradient g = ∂f/∂x at x say of taking a unit x_u away.

The sign of the cosine. Taking u away goes along −x_u. For a small share t of that way

    f(x − t x_u) = f(x) − t ⟨x_u, g_u⟩ + O(t²),

so f falls if and only if ⟨x_u, g_u⟩ > 0, that is cos(x_u, g_u) > 0: gradient descent, which goes along −g_u, wants u smaller by itself.
A high cosine marks a redundant unit, a low one a unit that is still growing. Both papers say so (the saliency of DHSPG, arXiv
2303.06862, and that of HESSO, arXiv 2409.09085, is the cosine between the way to zero −x_u and steepest descent −g_u). Published codes
differ: in one a high cosine is redundancy, in the other it adds to importance. Here it is redundancy in both.
`tests/netwright/training/group_sparse/test_saliency.py` holds this against differences of f.

g is noisy: where the optimizer has a first moment, that stands for it. Only its direction, and its size relative to that of other
units, count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_TINY = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Sums over each unit's numbers, float64 [count].

    Attributes:
        sizes: |u|, how many numbers there are.
        squares: ‖x_u‖².
        products: ⟨x_u, g_u⟩.
        gradients: ‖g_u‖².
    """

    sizes: torch.Tensor
    squares: torch.Tensor
    products: torch.Tensor
    gradients: torch.Tensor

    @property
    def cosines(self) -> torch.Tensor:
        """cos(x_u, g_u); 0 where either is zero."""
        return self.products / (self.squares * self.gradients).sqrt().clamp_min(_TINY)

    @property
    def root_mean_squares(self) -> torch.Tensor:
        """‖x_u‖ / √|u|: how large the numbers of a unit are, however many there are."""
        return (self.squares / self.sizes).sqrt()


def redundancy(measured: Measured) -> torch.Tensor:
    """The score by which DHSPG chooses; higher is more redundant.

    Half the cosine, half the reciprocal of the size of the unit's numbers, each as a vector over all units scaled to length 1.
    """
    small = 1 / (measured.root_mean_squares + 1e-6)
    return 0.5 * _unit_length(measured.cosines) + 0.5 * _unit_length(small)


def importance(measured: Measured) -> torch.Tensor:
    """The score by which HESSO chooses; lower goes first.

    The mean of five vectors over all units, each scaled to length 1: norm, size of the numbers, 1 − cosine (see above), and the first
    and second order of the change in f when the unit is taken away, |⟨x, g⟩| (by size: near a minimum its sign is noise) and ½ ⟨x, g⟩² (a
    Fisher approximation of ½ xᵀ H x).
    """
    parts = (
        measured.squares.sqrt(),
        measured.root_mean_squares,
        1 - measured.cosines,
        measured.products.abs(),
        0.5 * measured.products.square(),
    )
    return torch.stack([0.2 * _unit_length(part) for part in parts]).sum(0)


def _unit_length(scores: torch.Tensor) -> torch.Tensor:
    return scores / scores.square().sum().sqrt().clamp_min(_TINY)
