"""Weight decay of factored weights: on their product, not on each factor.

Of a weight W that is computed as a product, ‖W‖² is what decay is about; decay of each factor shrinks the nuclear norm of W instead and
pulls its rank down (Khodak, Tenenholtz, Mackey and Fusi, "Initialization and Regularization of Factorized Neural Layers", ICLR 2021:
Frobenius decay). With x F₁ … F_k the gradient of ½‖F₁ … F_k‖² with respect to F_j is M_{j−1} F_j N_{j+1}, where M_j = F_jᵀ M_{j−1} F_j
and N_j = F_j N_{j+1} F_jᵀ are Gram matrices of inner sizes (M₀ = N_{k+1} = I): (U V Vᵀ, Uᵀ U V) of two factors. The product itself is never
computed. Kernels whose taps lie along different axes are sums over taps of the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from netwright.training.factors import Chain, Factor
from netwright.training.sharding import split_like, whole


@dataclass(frozen=True, slots=True)
class FactorTensor:
    """A parameter as a factor; see `Factor`.

    Attributes:
        parameter: as it is stored.
        split: sizes into which its axes are cut.
        perm: the order of these that gives [groups, *taps, in, out].
    """

    parameter: torch.nn.Parameter
    split: tuple[int, ...]
    perm: tuple[int, ...]

    def matrices(self) -> torch.Tensor:
        """The factor as [groups, taps, in, out], float32 at the least."""
        held = whole(self.parameter.detach())
        permuted = (held if held.dtype is torch.float64 else held.float()).reshape(self.split).permute(self.perm)
        return permuted.reshape(permuted.shape[0], -1, *permuted.shape[-2:])

    def stored(self, matrices: torch.Tensor) -> torch.Tensor:
        """[groups, taps, in, out] in the layout, type and shards of the parameter."""
        inverse = sorted(range(len(self.perm)), key=self.perm.__getitem__)
        permuted = matrices.reshape([self.split[axis] for axis in self.perm]).permute(inverse)
        return split_like(permuted.reshape(self.parameter.shape).to(self.parameter.dtype), self.parameter)


@dataclass(frozen=True, slots=True)
class ProductDecay:
    """Decay of products, one for each chain of factors.

    Attributes:
        products: the factors of each, in the order in which they are applied.
        rate: weight decay, per unit of learning rate.
        in_gradient: whether it is added to the gradient, as SGD, Adam and RMSprop do, rather than taken off the weights, as AdamW does.
    """

    products: tuple[tuple[FactorTensor, ...], ...] = ()
    rate: float = 0.0
    in_gradient: bool = False

    @property
    def parameters(self) -> frozenset[torch.nn.Parameter]:
        """All factors."""
        return frozenset(factor.parameter for product in self.products for factor in product)

    @torch.no_grad()
    def apply(self, lr: float) -> None:
        """Decay, just before a step of the optimizer; what has no gradient is left alone, as optimizers do.

        Args:
            lr: of the step.
        """
        for parameter, gradient in self.gradients().items():
            if parameter.grad is None:
                continue
            if self.in_gradient:
                parameter.grad.add_(gradient, alpha=self.rate)
            else:
                parameter.sub_(gradient, alpha=lr * self.rate)

    def gradients(self) -> dict[torch.nn.Parameter, torch.Tensor]:
        """The gradient of half the sum of the products' squares, by parameter. Quadratic in the inner sizes."""
        found: dict[torch.nn.Parameter, torch.Tensor] = {}
        for product in self.products:
            for factor, gradient in zip(product, _gradients([factor.matrices() for factor in product]), strict=True):
                stored = factor.stored(gradient)
                known = found.get(factor.parameter)
                found[factor.parameter] = stored if known is None else known + stored
        return found


def _gradients(factors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """M_{j−1} F_j N_{j+1} of each factor [groups, taps, in, out]."""
    before: list[torch.Tensor | None] = [None]
    for factor in factors[:-1]:
        before.append(_gram(factor.mT, before[-1]))
    after: list[torch.Tensor | None] = [None]
    for factor in reversed(factors[1:]):
        after.append(_gram(factor, after[-1]))
    found: list[torch.Tensor] = []
    for factor, left, right in zip(factors, before, reversed(after), strict=True):
        gradient = factor if left is None else left @ factor
        found.append(gradient if right is None else gradient @ right)
    return found


def _gram(factor: torch.Tensor, inner: torch.Tensor | None) -> torch.Tensor:
    """F G Fᵀ, summed over taps: [groups, 1, in, in] of [groups, taps, in, out] and [groups, 1, out, out]; G = I where not given."""
    return ((factor if inner is None else factor @ inner) @ factor.mT).sum(1, keepdim=True)


def product_decay(chains: Sequence[Chain], parameters: Mapping[str, torch.nn.Parameter], rate: float, *, in_gradient: bool) -> ProductDecay:
    """The decay of the chains all of whose factors are trained.

    Args:
        chains: of the program.
        parameters: what is trained, by the name of the initializer.
        rate: weight decay.
        in_gradient: see `ProductDecay`.
    """
    trained = [chain for chain in chains if all(_is_stored(factor, parameters) for factor in chain)]
    products = tuple(tuple(FactorTensor(parameters[one.weight], one.split, one.perm) for one in chain) for chain in trained)
    return ProductDecay(products, rate, in_gradient)


def _is_stored(factor: Factor, parameters: Mapping[str, torch.nn.Parameter]) -> bool:
    """Whether a factor is a parameter, as large as the initializer."""
    held = parameters.get(factor.weight)
    return held is not None and held.is_floating_point() and held.numel() == math.prod(factor.split)
