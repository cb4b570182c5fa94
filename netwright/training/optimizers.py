"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias, cast, runtime_checkable

import torch
from torch import fx

from netwright.backends.torch import binding_of
from netwright.backends.torch.binding import KEY
from netwright.ir.program import Program
from netwright.training.errors import TrainingError
from netwright.training.factors import factor_chains
from netwright.training.optimizer_settings import SETTINGS
from netwright.training.options import TrainOptions
from netwright.training.product_decay import ProductDecay, product_decay
from netwright.training.quantizer_steps import freeze_steps, split_steps

Groups: TypeAlias = list[dict[str, object]]

_FUSED = frozenset({"cpu", "cuda"})
"""Devices on which torch has fused steps; for split weights it has none of SGD's."""


@dataclass(frozen=True, slots=True)
class OptimizerEntry:
    """An optimizer by name.

    Attributes:
        build: makes it of parameter groups (each with its own weight decay), the learning rate, and whether one kernel may do a whole
            step (three times as fast on the CPU).
        lr: the learning rate where none is given; meant for weights that are trained already.
        weight_decay: where none is given.
        decays_gradient: weight decay is part of the gradient, and not apart from it.
        scale_rate: of the scales of quantizers, as a multiple of the learning rate, where none is given. What divides by the gradient's
            size moves each logarithm of a scale by the learning rate, which is made for weights, and slow for scales.
    """

    build: Callable[[Groups, float, bool], torch.optim.Optimizer]
    lr: float
    weight_decay: float = 0.0
    decays_gradient: bool = True
    scale_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class OptimizerTask:
    """All that an optimizer with settings may know of the run that it is made for.

    Attributes:
        parameters: what is trained, by name in the module.
        module: that holds them.
        program: that the module was made of, with all its facts (coupling groups, say).
        steps: how many optimizer steps there will be.
        lr: the highest learning rate, where one was given; the loop sets each step's in the parameter groups.
        weight_decay: where one was given.
        options: of the run.
    """

    parameters: Mapping[str, torch.nn.Parameter]
    module: torch.nn.Module
    program: Program
    steps: int
    lr: float | None
    weight_decay: float | None
    options: TrainOptions

    def program_names(self) -> dict[str, str]:
        """For each parameter the name of the initializer that it stands for; its own where it stands for none."""
        return program_names(self.module, self.parameters)


def program_names(module: torch.nn.Module, parameters: Iterable[str]) -> dict[str, str]:
    """For each parameter of a module the name of the initializer that it stands for; its own where it stands for none."""
    names = {name: name for name in parameters}
    for path, part in cast("Iterable[tuple[str, torch.nn.Module]]", module.named_modules()):
        if not isinstance(part, fx.GraphModule) or KEY not in part.meta:
            continue
        for key, bound in binding_of(part).tensors.items():
            name = f"{path}.{key}" if path else key
            if name in names:
                names[name] = bound.value
    return names


@runtime_checkable
class Settling(Protocol):
    """An optimizer on its way somewhere (to so many zeros): weights from before it arrives are no result, however well they score."""

    @property
    def settled(self) -> bool:
        """Whether it has arrived, so that from now on the best epoch may be chosen, and patience may end the run."""
        ...


OPTIMIZERS: Mapping[str, OptimizerEntry] = MappingProxyType(
    {
        "adamw": OptimizerEntry(
            lambda groups, lr, fused: torch.optim.AdamW(groups, lr=lr, fused=fused), lr=2e-4, weight_decay=0.01, decays_gradient=False
        ),
        "adam": OptimizerEntry(lambda groups, lr, fused: torch.optim.Adam(groups, lr=lr, fused=fused), lr=2e-4),
        "sgd": OptimizerEntry(lambda groups, lr, fused: torch.optim.SGD(groups, lr=lr, momentum=0.9, fused=fused), lr=1e-2),
        "rmsprop": OptimizerEntry(lambda groups, lr, fused: torch.optim.RMSprop(groups, lr=lr), lr=2e-4),
    }
)
"""By name; `sgd` has momentum 0.9. Those that make zeros have settings of their own: see `SETTINGS`."""


def make_optimizer(
    module: torch.nn.Module, program: Program, steps: int, options: TrainOptions, products: ProductDecay | None = None
) -> torch.optim.Optimizer:
    """The optimizer that the options name, over the parameters that require a gradient.

    Weight decay is for tensors of rank 2 and more: biases, norms and scales are left alone (the usual practice; Loshchilov and
    Hutter, arXiv 1711.05101, for decay apart from the gradient).

    Args:
        module: that is trained.
        program: that it was made of.
        steps: how many there will be.
        options: of the run.
        products: whose factors have no decay of their own; of built-in optimizers without settings.

    Raises:
        TrainingError: no optimizer of this name, or no parameter to train.
    """
    if options.scale_rate == 0:
        freeze_steps(module)
    named = _trained(module)
    trained = list(named.values())
    if not trained:
        raise TrainingError(
            "There is no weight to train.", place="optimizer", remedy="Integer weights and frozen ones are left as they are."
        )
    settings = options.optimizer_settings()
    if settings is not None:
        return settings.build(OptimizerTask(named, module, program, steps, options.lr, options.weight_decay, options))
    if callable(options.optimizer):
        return options.optimizer(trained)
    entry = OPTIMIZERS.get(str(options.optimizer))
    if entry is None:
        raise TrainingError(
            f"There is no optimizer named {options.optimizer}.",
            place="optimizer",
            remedy=f"Built in: {', '.join((*OPTIMIZERS, *SETTINGS))}; or give a function from a list of parameters to an optimizer.",
        )
    decay = entry.weight_decay if options.weight_decay is None else options.weight_decay
    fused = not options.shard and all(parameter.is_floating_point() and parameter.device.type in _FUSED for parameter in trained)
    factors = frozenset[torch.nn.Parameter]() if products is None else products.parameters
    lr = entry.lr if options.lr is None else options.lr
    weights, scales = split_steps(trained, module)
    groups = decayed(weights, decay, factors | _rows(module, program, weights))
    if scales:
        rate = entry.scale_rate if options.scale_rate is None else options.scale_rate
        groups.append({"params": scales, "weight_decay": 0.0, "lr": lr * rate})
    return entry.build(groups, lr, fused)


def decay_of_products(module: torch.nn.Module, program: Program, options: TrainOptions) -> ProductDecay:
    """The weight decay of factored weights, which then is no factor's own; of none where the options or the optimizer do not have it.

    Args:
        module: that is trained.
        program: that it was made of, whose chains of factors are looked for.
        options: of the run.
    """
    entry = OPTIMIZERS.get(options.optimizer) if isinstance(options.optimizer, str) else None
    if entry is None or not options.product_decay:
        return ProductDecay()
    rate = entry.weight_decay if options.weight_decay is None else options.weight_decay
    if not rate:
        return ProductDecay()
    trained = _trained(module)
    parameters = {value: trained[name] for name, value in program_names(module, trained).items()}
    return product_decay(factor_chains(program), parameters, rate, in_gradient=entry.decays_gradient)


def decayed(trained: list[torch.nn.Parameter], decay: float, apart: frozenset[torch.nn.Parameter] = frozenset()) -> Groups:
    """Parameter groups: tensors of rank 2 and more with weight decay, others without, as are those whose decay comes from elsewhere."""
    groups: Groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2 and parameter not in apart], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2 or parameter in apart], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _rows(module: torch.nn.Module, program: Program, trained: list[torch.nn.Parameter]) -> frozenset[torch.nn.Parameter]:
    """Biases in the form of a matrix of one row: what is only ever added."""
    known = frozenset(trained)
    flat = {name: one for name, one in _trained(module).items() if one in known and one.ndim >= 2 and max(one.shape) == one.numel()}
    values = {value.name or "": value for value in program.initializers()} if flat else {}
    found: set[torch.nn.Parameter] = set()
    for name, held in program_names(module, flat).items():
        uses = list(values[held].uses()) if held in values else []
        if uses and all(use.node.op_type in ("Add", "Sub", "Sum") for use in uses):
            found.add(flat[name])
    return frozenset(found)


def _trained(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
