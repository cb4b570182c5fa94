"""What the optimizers over coupling groups can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

from netwright.training.errors import TrainingError
from netwright.training.optimizer_settings import Base, OptimizerSettings, check_base, check_choices, check_number, out_of_range

if TYPE_CHECKING:
    import torch

    from netwright.training.optimizers import OptimizerTask

UnitScope: TypeAlias = Literal["channels", "heads", "hidden", "experts", "all"]


@dataclass(frozen=True, kw_only=True)
class GroupSparseSettings(OptimizerSettings):
    """Zero whole units (channels, heads, hidden units) while training, so that `prune` can remove them and nothing changes.

    A run has three parts: `begin` of its steps without pruning, then pruning, then `settle` of its steps in which zero units stay zero
    and nothing is penalised, so that what is left finds its place.
    """

    sparsity: float | None = None
    """The share of units that is to be zero: of each group, or with `global_ranking` of all together."""
    base: Base = "adamw"
    """The step towards less loss; penalties stay outside its moments."""
    momentum: float = 0.9
    """Of the base `momentum`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of the base `adamw`."""
    begin: float = 0.1
    """Share of the steps before pruning."""
    settle: float = 0.5
    """Share of the steps after it."""
    scope: UnitScope = "all"
    """Which units may go: channels (and features of heads), heads, hidden, experts or all."""
    global_ranking: bool = False
    """Rank the units of all groups together, rather than take the same share of each."""
    round_to: int = 8
    """Kept counts are multiples of it, except of heads and experts; smaller groups get a smaller one."""
    exclude: tuple[str, ...] = ()
    """Patterns of groups, of weights that make their units, or of modules, that are only trained."""

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            TrainingError: one is out of range.
        """
        check_choices(self, {"scope": get_args(UnitScope)})
        check_base(self.base, self.momentum, self.betas)
        if self.sparsity is not None:
            check_number("sparsity", self.sparsity, above=0, below=1)
        for name in ("begin", "settle"):
            check_number(name, getattr(self, name), least=0, below=1)
        if self.begin + self.settle >= 1:
            raise out_of_range("begin + settle", self.begin + self.settle, "shares of the steps that leave some for pruning")
        if self.round_to < 1:
            raise out_of_range("round_to", self.round_to, "a whole number from 1")

    def complete(self) -> None:
        """A share of units to reach.

        Raises:
            TrainingError: there is none.
        """
        if self.sparsity is None:
            raise TrainingError(
                f"The optimizer {self.name} has no share of units to reach.", place="optimizer", remedy="Give sparsity=0.7, say."
            )

    def build(self, task: OptimizerTask) -> torch.optim.Optimizer:
        """The optimizer over a module's parameters."""
        from netwright.training.group_sparse.building import build_group_sparse

        return build_group_sparse(self, task)


@dataclass(frozen=True, kw_only=True)
class _Penalised(GroupSparseSettings):
    """Where a penalty on all units alike drives some to zero."""

    penalty: float | None = None
    """What pulls each unit towards zero, per unit of learning rate. With `sparsity` where it starts: it grows while zeros are missing."""

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        if self.penalty is not None:
            check_number("penalty", self.penalty, above=0)

    def complete(self) -> None:
        """A penalty, or a share of units to reach, or both.

        Raises:
            TrainingError: neither.
        """
        if self.penalty is None:
            GroupSparseSettings.complete(self)


@dataclass(frozen=True, kw_only=True)
class HspgSettings(_Penalised):
    """Half-space projected gradient: all units are pulled towards zero; those that turn back on themselves become zero, and stay so."""

    name: ClassVar[str] = "hspg"

    half_space: float = 0.0
    """ε: a unit becomes zero where ⟨x', x⟩ < ε ‖x‖²; larger is more aggressive."""

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        check_number("half_space", self.half_space, least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class GroupLassoSettings(_Penalised):
    """Proximal group lasso: the norm of each unit is lowered by the same amount in each step, to zero at the least."""

    name: ClassVar[str] = "group_lasso"


@dataclass(frozen=True, kw_only=True)
class DhspgSettings(GroupSparseSettings):
    """Dual half-space projected gradient: redundant units are chosen once; only they are pulled to zero, while the loss falls too."""

    name: ClassVar[str] = "dhspg"

    penalty: float | None = None
    """λ₀, the least penalty; 1e-2 with AdamW and 1e-3 otherwise where not given."""
    amplify: float | None = None
    """How many times what outweighs the gradient is laid on; 20 with AdamW and 2 otherwise where not given."""
    ceiling: float | None = None
    """The largest penalty, as a multiple of the least; 1000 with AdamW and 10 otherwise where not given."""
    half_space: float = 0.0
    """ε: a chosen unit becomes zero where ⟨x', x⟩ < ε ‖x‖²; larger is more aggressive."""

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        for name in ("penalty", "amplify", "ceiling"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_number("half_space", self.half_space, least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class HessoSettings(GroupSparseSettings):
    """Hybrid efficient structured sparse optimizer: in each of some periods the least important units shrink to zero, evenly."""

    name: ClassVar[str] = "hesso"

    periods: int = 5
    """In how many steps the share is reached."""

    def __post_init__(self) -> None:
        """Check every option."""
        super().__post_init__()
        if self.periods < 1:
            raise out_of_range("periods", self.periods, "a whole number from 1")
