"""`prune_train`: zeros made while training, by an optimizer that sees weights and gradients only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from netwright.ir.program import Program
from netwright.ir.sparsity import share_of_zeros, zeros_by_weight
from netwright.passes.context import Context
from netwright.training.errors import TrainingError
from netwright.training.history import History
from netwright.training.optimizer_settings import SETTINGS, OptimizerSettings, settings_of
from netwright.training.options import TrainOptions
from netwright.training.recover import Recover


@dataclass(frozen=True, kw_only=True)
class PruneTrain(Recover):
    """Train the program so that most of its weights become exactly zero, as many as a preset penalty allows.

    A run of `recover` whose optimizer makes zeros (Tsuruoka et al., ACL 2009; see `SparseSettings`): no fine-tuning is needed
    afterwards. Shapes stay as they are and ONNX Runtime has no sparse kernels, so nothing runs faster: what shrinks is the file, saved with
    `sparse=True`.
    """

    name: ClassVar[str] = "prune_train"

    optimizer: str = "sparse"
    """Which makes the zeros, with settings where wanted: 'sparse', "sparse(method='proximal', exclude=('head.*',))"."""
    penalty: float | None = None
    """What pulls each weight towards zero, per unit of learning rate; give this or sparsity."""
    sparsity: float | None = None
    """The share of the penalised weights that is to be zero; give this or penalty."""

    def __post_init__(self) -> None:
        """Check the options; whether there is a penalty or a share of zeros, `check` says.

        Raises:
            TrainingError: one is out of range.
        """
        Recover.__post_init__(self)
        self.settings()

    def settings(self) -> OptimizerSettings:
        """Of the optimizer.

        Raises:
            TrainingError: it is none that makes zeros, or an option is out of range.
        """
        found = settings_of(self.optimizer, penalty=self.penalty, sparsity=self.sparsity)
        if found is None:
            raise TrainingError(
                f"The optimizer {self.optimizer} makes no zeros.", place="optimizer", remedy=f"These do: {', '.join(SETTINGS)}."
            )
        return found

    def options(self, context: Context) -> TrainOptions:
        """The options of the run."""
        return self.options_with(self.settings(), context)

    def check_options(self) -> None:
        """Check what every training pass has."""
        self.options_with("adamw", Context())

    def check(self) -> None:
        """Check that there is a penalty or a share of zeros.

        Raises:
            TrainingError: there is neither, or both.
        """
        self.settings().complete()

    def why(self, history: History, changed: Mapping[str, onnx_ir.TensorProtocol], trained: Program) -> str:
        """How the run went, and the zeros of each weight."""
        found = zeros_by_weight(trained)
        each = ", ".join(f"{weight.name} {weight.share:.1%}" for weight in found if weight.zeros)
        return f"{Recover.why(self, history, changed, trained)}; {share_of_zeros(found):.1%} of all weights are zero: {each or 'none'}"
