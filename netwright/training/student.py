"""The module that is trained: a program as a GraphModule, whose weights may be compressed at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import fx, nn

from netwright.backends.torch import binding_of
from netwright.training.compressors.base import Compression
from netwright.training.objective import TorchBatch


class StudentModule(nn.Module):
    """A GraphModule, compressions of its weights, and projections of its values.

    Its parameters are the latent, full-precision weights; what runs is the graph with `compress(weights)` in their place.

    Args:
        model: made by `lower_to_torch`.
        compressions: applied one after the other.
        projections: by value, the sizes (from, to) of a learned linear map of its last axis.
        seed: of the projections' first weights.
    """

    def __init__(
        self,
        model: fx.GraphModule,
        compressions: Sequence[Compression] = (),
        projections: Mapping[str, tuple[int, int]] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.binding = binding_of(model)
        self.compressions = nn.ModuleList(compressions)
        self._projected = tuple(projections or {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projections = nn.ModuleList(nn.Linear(*widths, bias=False) for widths in (projections or {}).values())
        parameters = dict(model.named_parameters())
        self._keys = {bound.value: key for key, bound in self.binding.tensors.items() if key in parameters}

    @property
    def trained(self) -> frozenset[str]:
        """The initializers that are parameters."""
        return frozenset(self._keys)

    def forward(self, step: int, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The model's outputs and wanted values, in the order of `binding.outputs`, projected where a projection is learned."""
        found: object
        if len(self.compressions) == 0:
            found = self.model(*inputs)
        else:
            found = torch.func.functional_call(self.model, self.compressed(step), inputs)
        values = list((found,) if isinstance(found, torch.Tensor) else cast("tuple[torch.Tensor, ...]", found))
        for name, projection in zip(self._projected, self.projections, strict=True):
            place = self.binding.outputs.index(name)
            values[place] = projection(values[place])
        return tuple(values)

    def compressed(self, step: int) -> dict[str, torch.Tensor]:
        """The compressed weights by their keys in the model; outside of training as the product has them."""
        weights = self.latent()
        for compression in self._stages():
            found = compression.compress(weights, step) if self.training else compression.evaluate(weights)
            weights = {**weights, **found}
        return {self._keys[name]: tensor for name, tensor in weights.items()}

    def latent(self) -> dict[str, torch.Tensor]:
        """The weights that any of the compressions takes, by the names of their initializers."""
        parameters = dict(self.model.named_parameters())
        names = dict.fromkeys(name for compression in self._stages() for name in compression.names)
        return {name: parameters[self._keys[name]] for name in names}

    @torch.no_grad()
    def settled(self) -> list[dict[str, torch.Tensor]]:
        """The weights before the first compression, after it, after the second and so on, as the product has them."""
        weights = {name: tensor.detach() for name, tensor in self.latent().items()}
        steps = [weights]
        for compression in self._stages():
            weights = {**weights, **compression.settle(weights)}
            steps.append(weights)
        return steps

    def _stages(self) -> tuple[Compression, ...]:
        return tuple(cast("Compression", one) for one in self.compressions)


def run_student(module: nn.Module, student: StudentModule, batch: TorchBatch, step: int) -> dict[str, torch.Tensor]:
    """All values that a student hands out, by name.

    Args:
        module: the student as the loop prepared it.
        student: the same, bare.
        batch: has its inputs by name.
        step: optimizer steps made before.
    """
    found = cast("tuple[torch.Tensor, ...]", module(step, *[batch[name] for name in student.binding.inputs]))
    return dict(zip(student.binding.outputs, found, strict=True))
