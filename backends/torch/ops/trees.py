"""Ensembles of decision trees, walked by all rows and trees at once: as many steps as the deepest tree has levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netwright.backends.torch.ops.scores import transformed
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import NetwrightError

_DOMAIN = "ai.onnx.ml"
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_MEMBER = _MODES.index("BRANCH_MEMBER")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes where trees branch; all of shape [nodes].

    Attributes:
        features: which column is compared.
        splits: with what.
        modes: how: an index in `BRANCH_LEQ`, `BRANCH_LT`, `BRANCH_GTE`, `BRANCH_GT`, `BRANCH_EQ`, `BRANCH_NEQ`, `BRANCH_MEMBER`.
        yes: the next node if the comparison holds; numbers from the count of nodes on are leaves.
        no: the next node else.
        missing: whether NaN goes to `yes`.
        members: for `BRANCH_MEMBER`, in the order of such nodes: each one's numbers, NaN after them.
    """

    features: torch.Tensor
    splits: torch.Tensor
    modes: torch.Tensor
    yes: torch.Tensor
    no: torch.Tensor
    missing: torch.Tensor
    members: torch.Tensor | None = None


@torch_op("TreeEnsemble", since=5, domain=_DOMAIN)
def tree_ensemble(
    x: torch.Tensor,
    *,
    tree_roots: Sequence[int],
    nodes_featureids: Sequence[int],
    nodes_splits: torch.Tensor,
    nodes_modes: torch.Tensor,
    nodes_truenodeids: Sequence[int],
    nodes_falsenodeids: Sequence[int],
    nodes_trueleafs: Sequence[int],
    nodes_falseleafs: Sequence[int],
    leaf_targetids: Sequence[int],
    leaf_weights: torch.Tensor,
    n_targets: int = 1,
    aggregate_function: int = 1,
    post_transform: int = 0,
    nodes_hitrates: torch.Tensor | None = None,
    nodes_missing_value_tracks_true: Sequence[int] = (),
    membership_values: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the leaves that each row comes to say of each target: [rows, features] to [rows, targets].

    Attributes are the standard's; hit rates, which are for speed, make no difference.

    Raises:
        NetwrightError: a tree has a cycle.
    """
    count = len(nodes_featureids)
    yes = _next(nodes_truenodeids, nodes_trueleafs, count)
    no = _next(nodes_falsenodeids, nodes_falseleafs, count)
    nodes = Nodes(
        features=_integers(nodes_featureids, x),
        splits=nodes_splits,
        modes=nodes_modes.to(torch.int64),
        yes=_integers(yes, x),
        no=_integers(no, x),
        missing=_integers(nodes_missing_value_tracks_true or (0,) * count, x) != 0,
        members=membership_values,
    )
    leaves = _walk(x, nodes, _integers(tree_roots, x), _depth(tree_roots, yes, no)) - count
    weights = leaf_weights.to(x.dtype)[leaves]
    targets = _integers(leaf_targetids, x)[leaves]
    made = _aggregated(weights, targets, n_targets, _AGGREGATES[aggregate_function])
    return transformed(made, _TRANSFORMS[post_transform])


def _next(ids: Sequence[int], leaf: Sequence[int], count: int) -> tuple[int, ...]:
    """Where a branch leads, leaves being numbered after the nodes."""
    return tuple(one + count if is_leaf else one for one, is_leaf in zip(ids, leaf, strict=True))


def _depth(roots: Sequence[int], yes: Sequence[int], no: Sequence[int]) -> int:
    """Number of comparisons on the longest way down."""
    level, depth = set(roots), 0
    while level:
        depth += 1
        if depth > len(yes):
            raise NetwrightError("A decision tree has a cycle: a branch leads back to a node above it.", place="TreeEnsemble")
        level = {child for node in level for child in (yes[node], no[node]) if child < len(yes)}
    return depth


def _walk(x: torch.Tensor, nodes: Nodes, roots: torch.Tensor, depth: int) -> torch.Tensor:
    """The leaf that each row comes to in each tree: [rows, trees]."""
    count = nodes.yes.numel()
    at = roots.expand(x.shape[0], -1)
    for _ in range(depth):
        node = torch.clamp(at, max=count - 1)
        after = torch.where(_holds(x, nodes, node), nodes.yes[node], nodes.no[node])
        at = torch.where(at < count, after, at)
    return at


def _holds(x: torch.Tensor, nodes: Nodes, node: torch.Tensor) -> torch.Tensor:
    """Whether the nodes' comparisons hold: [rows, trees]."""
    value, split, mode = torch.gather(x, 1, nodes.features[node]), nodes.splits[node], nodes.modes[node]
    member = torch.zeros_like(value, dtype=torch.bool) if nodes.members is None else _is_member(value, node, nodes, nodes.members)
    outcomes = [value <= split, value < split, value >= split, value > split, value == split, value != split, member]
    chosen = torch.gather(torch.stack(outcomes, dim=-1), -1, mode.unsqueeze(-1)).squeeze(-1)
    return torch.where(torch.isnan(value), chosen | nodes.missing[node], chosen)


def _is_member(value: torch.Tensor, node: torch.Tensor, nodes: Nodes, members: torch.Tensor) -> torch.Tensor:
    """Whether a value is one of its node's members; costs rows × trees × members."""
    ends = torch.isnan(members).to(torch.int64)
    set_of_member = torch.cumsum(ends, dim=0) - ends
    set_of_node = torch.cumsum((nodes.modes == _MEMBER).to(torch.int64), dim=0) - 1
    return ((value.unsqueeze(-1) == members) & (set_of_member == set_of_node[node].unsqueeze(-1))).any(dim=-1)


def _aggregated(weights: torch.Tensor, targets: torch.Tensor, count: int, how: str) -> torch.Tensor:
    """The leaves' weights by target: [rows, trees] to [rows, targets]; 0 where no leaf says anything."""
    empty = torch.zeros(weights.shape[0], count, dtype=weights.dtype, device=weights.device)
    if how in ("SUM", "AVERAGE"):
        total = empty.scatter_add(1, targets, weights)
        return total / weights.shape[1] if how == "AVERAGE" else total
    return empty.scatter_reduce(1, targets, weights, "amin" if how == "MIN" else "amax", include_self=False)


def _integers(numbers: Sequence[int], x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device=x.device)
