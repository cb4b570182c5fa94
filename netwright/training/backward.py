"""Backward passes over data, summed up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch

from netwright.backends.torch import binding_of, lower_to_torch, to_array
from netwright.backends.torch.roles import Role, role_of
from netwright.ir.errors import DataError
from netwright.training.errors import TrainingError
from netwright.training.randomness import seeded
from netwright.training.stepper import batch_tensors
from netwright.training.terms import LossLike, batch_loss

if TYPE_CHECKING:
    import numpy as np

    from netwright.ir.program import Program


def trainable(program: Program) -> frozenset[str]:
    """Names of the weights that have gradients."""
    return frozenset(value.name or "" for value in program.graph.initializers.values() if role_of(value, program) is Role.PARAMETER)


def mean_gradients(
    program: Program,
    batches: Iterable[Mapping[str, np.ndarray]],
    loss: LossLike,
    values: Sequence[str],
    *,
    squared: bool = False,
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """The mean gradient of a loss with respect to weights and inner values.

    The program runs in eval mode. Each batch counts by its rows. The gradient with respect to an inner value has that value's shape,
    rows included, so all batches must have equal shapes for one.

    Args:
        program: left as it is.
        batches: inputs and labels by name.
        loss: see `LossLike`.
        values: names of float initializers, and of values of the main graph.
        squared: the mean of squares, element by element, instead; with batches of one row this is the diagonal of the empirical Fisher
            matrix.
        threads: of torch on the CPU.

    Returns:
        Arrays by name, float64 where the program computes in float64 and float32 otherwise; zero where the loss does not depend on
        the value.

    Raises:
        TrainingError: a value that has no gradient: integers, or no such value.
        DataError: no batch; batches of different shapes and an inner value.
    """
    sums: dict[str, torch.Tensor] = {}
    rows = 0
    for count, gradients in _batch_gradients(program, batches, loss, values, threads):
        rows += count
        for name, gradient in gradients.items():
            _add(sums, name, (gradient.square() if squared else gradient) * count)
    if not rows:
        raise DataError("The data holds no batch.", place="gradients", remedy="Give at least one.")
    return {name: to_array(one / rows) for name, one in sums.items()}


def batch_gradients(
    program: Program,
    batches: Iterable[Mapping[str, np.ndarray]],
    loss: LossLike,
    values: Sequence[str],
    *,
    threads: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """The gradient of each batch, one after the other; otherwise as `mean_gradients`."""
    for _, gradients in _batch_gradients(program, batches, loss, values, threads):
        yield {name: to_array(gradient) for name, gradient in gradients.items()}


def _batch_gradients(
    program: Program, batches: Iterable[Mapping[str, np.ndarray]], loss: LossLike, values: Sequence[str], threads: int | None
) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """How many rows each batch has, and its gradients."""
    total = batch_loss(loss, program)
    weights = {value.name for value in program.graph.initializers.values()}
    module = lower_to_torch(program, wanted=[name for name in values if name not in weights])
    binding = binding_of(module)
    parameters = dict(module.named_parameters())
    keys = {name: binding.key_of(name) for name in values if name in weights}
    frozen = [name for name, key in keys.items() if key is None or key not in parameters or binding.tensors[key].kind == "latent"]
    if frozen:
        raise TrainingError(
            f"{', '.join(frozen)} has no gradient: it is not a float weight.",
            place="gradients",
            remedy="Ask for float weights or inner values.",
        )
    with seeded(0, 0, threads=threads):
        for batch in batches:
            tensors = batch_tensors(dict(batch), torch.device("cpu"))
            found: object = module(*[tensors[name] for name in binding.inputs])
            listed = (found,) if isinstance(found, torch.Tensor) else cast("tuple[torch.Tensor, ...]", found)
            outputs = dict(zip(binding.outputs, listed, strict=True))
            wanted = [parameters[key] if (key := keys.get(name)) is not None else outputs[name] for name in values]
            _check_floats(values, wanted)
            gradients = torch.autograd.grad(total(outputs, tensors).total, wanted, allow_unused=True, materialize_grads=True)
            count = max((len(tensors[name]) for name in binding.inputs if tensors[name].ndim), default=1)
            yield count, dict(zip(values, gradients, strict=True))


def _check_floats(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> None:
    for name, tensor in zip(names, tensors, strict=True):
        if not tensor.requires_grad:
            raise TrainingError(
                f"%{name} has no gradient: it does not depend on a weight or is no float.",
                place="gradients",
                remedy="Ask for float weights or values that are computed from them.",
            )


def _add(sums: dict[str, torch.Tensor], name: str, gradient: torch.Tensor) -> None:
    if name not in sums:
        sums[name] = gradient
    elif sums[name].shape == gradient.shape:
        sums[name] += gradient
    else:
        raise DataError(
            f"%{name} has shape {list(sums[name].shape)} in one batch and {list(gradient.shape)} in another.",
            place="gradients",
            remedy="Give batches of one shape, or ask for weights only.",
        )
