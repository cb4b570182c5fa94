"""Torch-Pruning as a peer: what its user has to tell it of a model is found out here, so that it is used as its examples use it.

The library carries no types: this module is its typed face.
"""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree

Criterion = Literal["l1", "l2", "bn_scale", "lamp", "fpgm", "random", "taylor", "hessian"]
"""Its criteria; the last two take gradients, which `learn` leaves in the module."""


class Learner(Protocol):
    """What its Hessian criterion wants of gradients."""

    def zero_grad(self) -> None:
        """Forget all."""
        ...

    def accumulate_grad(self, module: nn.Module) -> None:
        """Take the gradients of one row."""
        ...


_HEADS = ("heads", "num_heads", "num_attention_heads")
_KEY_HEADS = ("groups", "num_key_value_heads")
_HEAD_SIZES = ("head_dim", "attention_head_size")
_QUERIES = ("q", "q_proj", "query", "qkv", "c_attn")
_KEYS = ("k", "v", "k_proj", "v_proj", "key", "value")


def prune(
    module: nn.Module,
    example: Mapping[str, Tensor],
    *,
    ratio: float = 0.5,
    criterion: Criterion = "l2",
    whole_heads: bool = False,
    global_pruning: bool = False,
    ratios: Callable[[nn.Module], Mapping[nn.Module, float]] | None = None,
    learn: Callable[[nn.Module, Learner], None] | None = None,
) -> nn.Module:
    """A pruned copy of a module.

    Layers that make the module's outputs are left as they are. Attention modules are told the number of their heads, and have it and
    the size of a head corrected afterwards.

    Args:
        module: in eval mode.
        example: inputs by argument name.
        ratio: fraction of the channels to remove in each group.
        criterion: what ranks channels.
        whole_heads: remove heads, not features of every head.
        global_pruning: rank across groups.
        ratios: of a module's layers; those that it leaves out stay whole. One ratio for all where not given.
        learn: leaves gradients in the copy, and tells the criterion of them, before anything goes.

    Raises:
        ImportError: torch_pruning is not installed (`make bench` installs it without its dependencies).
    """
    pruning = import_module("torch_pruning")
    pruned = copy.deepcopy(module)
    attentions = [found for found in pruned.modules() if _heads(found)]
    counts = {layer: count for owner in attentions for layer, count in _heads(owner).items()}
    importance = _importance(criterion)
    pruner = pruning.pruner.BasePruner(
        pruned,
        dict(example),
        importance=importance,
        pruning_ratio=ratio if ratios is None else 0.0,
        pruning_ratio_dict=None if ratios is None else dict(ratios(pruned)),
        global_pruning=global_pruning,
        ignored_layers=output_layers(pruned, example),
        in_channel_groups={},
        out_channel_groups={},
        num_heads=dict(counts),
        prune_num_heads=whole_heads,
        prune_head_dims=not whole_heads,
        head_pruning_ratio=ratio if whole_heads else 0.0,
        root_module_types=[nn.modules.conv._ConvNd, nn.Linear, nn.LSTM, nn.GRU],  # pyright: ignore[reportPrivateUsage]
    )
    if learn is not None:
        learn(pruned, cast("Learner", importance))
    pruner.step()
    for owner in attentions:
        _mend(owner, pruner.num_heads if whole_heads else counts)
    return pruned


def output_layers(module: nn.Module, example: Mapping[str, Tensor]) -> list[nn.Module]:
    """The layers that make what the module returns: of a result without weights, such as a Tanh's, the last one with weights before it."""
    made: list[tuple[nn.Module, object]] = []
    layers = [layer for layer in module.modules() if not any(True for _ in layer.children())]
    hooks = [layer.register_forward_hook(lambda layer, _, output: made.append((layer, output))) for layer in layers]
    try:
        with torch.no_grad():
            outputs = {id(leaf) for leaf in cast("list[object]", _pytree.tree_leaves(module(**example)))}
    finally:
        for hook in hooks:
            hook.remove()
    found: list[nn.Module] = []
    for place, (layer, output) in enumerate(made):
        if id(output) in outputs:
            before = (earlier for earlier, _ in reversed(made[:place]) if any(True for _ in earlier.parameters()))
            found += [layer] if any(True for _ in layer.parameters()) else [layer, *itertools.islice(before, 1)]
    return found


def _importance(criterion: Criterion) -> object:
    importance = import_module("torch_pruning").pruner.importance
    makers = {
        "l1": lambda: importance.GroupMagnitudeImportance(p=1),
        "l2": lambda: importance.GroupMagnitudeImportance(p=2),
        "bn_scale": importance.BNScaleImportance,
        "lamp": importance.LAMPImportance,
        "fpgm": importance.FPGMImportance,
        "random": importance.RandomImportance,
        "taylor": importance.GroupTaylorImportance,
        "hessian": importance.GroupHessianImportance,
    }
    return makers[criterion]()


def _heads(owner: nn.Module) -> dict[nn.Module, int]:
    """How many heads each projection of an attention module has; nothing for any other module."""
    projections = {name: child for name, child in owner.named_children() if name in _QUERIES + _KEYS}
    count = _first(owner, _HEADS) or _first(getattr(owner, "config", None), _HEADS)
    if not projections or not count:
        return {}
    shared = _first(owner, _KEY_HEADS) or _first(getattr(owner, "config", None), _KEY_HEADS) or count
    return {child: shared if name in _KEYS else count for name, child in projections.items()}


def _mend(owner: nn.Module, counts: Mapping[nn.Module, int]) -> None:
    """Write the new number of heads, and their new size, where the module keeps them."""
    queries = next(child for name, child in owner.named_children() if name in _QUERIES)
    keys = next((child for name, child in owner.named_children() if name in _KEYS), queries)
    fused = 1 if keys is not queries else 3
    width = cast("int", queries.out_features if isinstance(queries, nn.Linear) else getattr(queries, "nf", 0)) // fused
    for names, value in ((_HEADS, counts[queries]), (_KEY_HEADS, counts[keys]), (_HEAD_SIZES, width // counts[queries])):
        for name in names:
            if isinstance(getattr(owner, name, None), int):
                setattr(owner, name, value)


def _first(owner: object, names: tuple[str, ...]) -> int:
    return next((found for name in names if isinstance(found := getattr(owner, name, None), int)), 0)


def multiplications(module: nn.Module, example: Mapping[str, Tensor]) -> float:
    """Multiply-accumulates of one run by its own count, by which a ratio is found; tables show netwright's."""
    count = import_module("torch_pruning").utils.count_ops_and_params
    with torch.no_grad():
        return float(count(module, dict(example))[0])
