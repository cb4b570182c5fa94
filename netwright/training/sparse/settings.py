"""What the sparse optimizer can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from netwright.training.errors import TrainingError
from netwright.training.optimizer_settings import Base, OptimizerSettings, check_base, check_choices, check_number, out_of_range

if TYPE_CHECKING:
    import torch

    from netwright.training.optimizers import OptimizerTask

Method: TypeAlias = Literal["cumulative", "proximal", "hard"]

_CHOICES = {"method": ("cumulative", "proximal", "hard"), "tensors": ("matrices", "all")}
_SHARES = ("begin", "ramp", "settle")


@dataclass(frozen=True, kw_only=True)
class SparseSettings(OptimizerSettings):
    """Zero single weights while training, as many as a preset, cumulative penalty allows.

    A run has four parts, by shares of its steps: `begin` without a penalty; `ramp`, in which it grows; then it holds; and `settle`, in
    which no further penalty is laid on and zeros stay, so that what is left finds its place.

    `cumulative` and `proximal` pull every weight, and those that stay need steps to recover: train from scratch, or about as long. For a
    short run on a trained model take `hard`.
    """

    name: ClassVar[str] = "sparse"

    penalty: float | None = None
    """What pulls each weight towards zero, per unit of learning rate; how many zeros come of it is the data's say."""
    sparsity: float | None = None
    """The share of penalised weights that is to be zero; the penalty is found step by step."""
    method: Method = "cumulative"
    """`cumulative` (clipped L1 by running totals), `proximal` (soft threshold, L1), `hard` (hard threshold, L0)."""
    base: Base = "adamw"
    """The step towards less loss; the penalty stays outside its moments."""
    momentum: float = 0.9
    """Of the base `momentum`."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of the base `adamw`."""
    begin: float = 0.0
    """Share of the steps before the penalty."""
    ramp: float = 0.6
    """Share of the steps in which it grows."""
    settle: float = 0.3
    """Share of the steps at the end in which zeros stay zeros and nothing is penalised."""
    tensors: Literal["matrices", "all"] = "matrices"
    """What is penalised: `matrices` (rank 2 and more; not biases and norms) or `all`."""
    where: tuple[str, ...] = ()
    """Patterns of tensors that are penalised; none means all that `tensors` says."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors that are not."""

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            TrainingError: one is out of range.
        """
        check_choices(self, _CHOICES)
        check_base(self.base, self.momentum, self.betas)
        if self.penalty is not None:
            check_number("penalty", self.penalty, above=0)
        if self.sparsity is not None:
            check_number("sparsity", self.sparsity, above=0, below=1)
        for name in _SHARES:
            share: object = getattr(self, name)
            if not (isinstance(share, int | float) and 0 <= share <= 1):
                raise out_of_range(name, share, "a share of the steps, from 0 to 1")
        if self.begin + self.ramp + self.settle > 1 + 1e-9:
            raise out_of_range("begin + ramp + settle", self.begin + self.ramp + self.settle, "shares of the steps, together 1 at the most")

    def complete(self) -> None:
        """A penalty or a share of zeros, and not both.

        Raises:
            TrainingError: neither, or both.
        """
        if (self.penalty is None) == (self.sparsity is None):
            given = "neither a penalty nor" if self.penalty is None else "both a penalty and"
            raise TrainingError(
                f"The sparse optimizer has {given} a share of zeros to reach.",
                place="optimizer",
                remedy="Give penalty=1e-3 (how hard) or sparsity=0.9 (how many), one of the two.",
            )

    def build(self, task: OptimizerTask) -> torch.optim.Optimizer:
        """The optimizer over a module's parameters."""
        from netwright.training.sparse.building import build_sparse

        return build_sparse(self, task)
