"""Give a freshly built model the generic weights that a trained one has.

Fresh modules have zero biases, unit norm weights and standard BatchNorm statistics; exporters merge such tensors and
simplifiers drop them, so sizes and node counts would flatter everyone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw all vectors (biases, norm weights, layer scales) and norm statistics of `module` anew, in place.

    Ranges are modest so that activations stay finite through deep models: weights of norms in [0.8, 1.2], other
    vectors and all biases normal with deviation 0.05, running means likewise, running variances in [0.6, 1.4].
    Constant matrices (a zero class token, zero position embeddings) are drawn like biases; other matrices keep their
    initial values.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for owner in module.modules():
            is_norm = "norm" in type(owner).__name__.lower()
            for name, parameter in owner.named_parameters(recurse=False):
                flat = parameter.numel() == max(parameter.shape, default=1)
                constant = bool((parameter == parameter.flatten()[0]).all())
                if is_norm and name == "weight" and flat:
                    parameter.uniform_(0.8, 1.2, generator=generator)
                elif flat or constant:
                    parameter.normal_(0.0, 0.05, generator=generator)
            for name, buffer in owner.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.normal_(0.0, 0.05, generator=generator)
                if name == "running_var":
                    buffer.uniform_(0.6, 1.4, generator=generator)
