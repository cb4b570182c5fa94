"""What every pass that trains has in common: the options of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netwright.passes.base import RewritePass
from netwright.passes.context import Context
from netwright.training.options import OptimizerLike, TrainOptions


@dataclass(frozen=True, kw_only=True)
class TrainingPass(RewritePass):
    """A pass that trains."""

    epochs: int = 1
    """How often to go through the training data."""
    steps: int | None = None
    """How many optimizer steps to make; where given, it decides and not `epochs`."""
    lr: float | None = None
    """Highest learning rate; the optimizer's own default where not given."""
    optimizer: str = "adamw"
    """adamw, adam, sgd, rmsprop, or one with settings, such as 'sparse(sparsity=0.9)'."""
    schedule: str = "cosine"
    """How the learning rate goes: constant, linear or cosine."""
    warmup: float = 0.05
    """Steps in which the learning rate grows: below 1 a share of all, else a number."""
    weight_decay: float | None = None
    """Weight decay of tensors of rank 2 and more; the optimizer's default where not given."""
    product_decay: bool = True
    """Weight decay of factored weights acts on their product, not on each factor."""
    scale_rate: float | None = None
    """Learning rate of the scales of quantizers, as a multiple of that of weights; 0 leaves them as they are."""
    clip: float | None = 1.0
    """Largest norm of the whole gradient."""
    batch_size: int | None = None
    """Rows to a batch; 32 for arrays that hold everything, batches as they are otherwise."""
    accumulate: int = 1
    """Batches to a step."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; weights stay as they are."""
    train_norms: bool = False
    """Train BatchNormalization with the statistics of each batch."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            TrainingError: one is out of range.
        """
        self.check_options()

    def check_options(self) -> None:
        """Check the options of the run.

        Raises:
            TrainingError: one is out of range.
        """
        self.options(Context())

    def options(self, context: Context) -> TrainOptions:
        """The options of the run."""
        return self.options_with(self.optimizer, context)

    def options_with(self, optimizer: OptimizerLike, context: Context) -> TrainOptions:
        """The options of the run, with another optimizer."""
        return TrainOptions(
            epochs=self.epochs,
            steps=self.steps,
            lr=self.lr,
            optimizer=optimizer,
            schedule=self.schedule,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            product_decay=self.product_decay,
            scale_rate=self.scale_rate,
            clip=self.clip,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            precision=self.precision,
            seed=context.seed,
            threads=context.threads,
        )
