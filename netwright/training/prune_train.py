"""`prune_train`: zeros made while training, of single weights or of whole units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir

from netwright.ir.program import Program
from netwright.ir.sparsity import share_of_zeros, zeros_by_weight
from netwright.ir.zeros import with_kept_zeros
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.training.errors import TrainingError
from netwright.training.extra import require_extra
from netwright.training.group_sparse.settings import GroupSparseSettings
from netwright.training.history import History
from netwright.training.optimizer_settings import SETTINGS, OptimizerSettings, settings_of
from netwright.training.options import TrainOptions
from netwright.training.recover import Recover


@dataclass(frozen=True, kw_only=True)
class PruneTrain(Recover):
    """Train the program so that most of its weights, or of its units, become exactly zero.

    A run of `recover` whose optimizer makes zeros: no fine-tuning is needed afterwards. Single weights go as far as a preset, cumulative
    penalty allows (Tsuruoka et al., ACL 2009; see `SparseSettings`): shapes stay as they are and ONNX Runtime has no sparse kernels, so
    nothing runs faster; what shrinks is the file, saved with `sparse=True`. With `structured`, whole channels, heads and hidden
    units go (DHSPG, arXiv 2303.06862, or another of its family; see `GroupSparseSettings`), and `prune(threshold=0)` takes them out.
    """

    name: ClassVar[str] = "prune_train"

    optimizer: str = "sparse"
    """Which makes the zeros, with settings where wanted: 'sparse', "sparse(method='proximal', exclude=('head.*',))"; of units dhspg (which
    `structured` means), hspg, hesso, group_lasso."""
    structured: bool = False
    """Zero whole units rather than single weights."""
    penalty: float | None = None
    """What pulls each weight towards zero, per unit of learning rate; give this or sparsity."""
    sparsity: float | None = None
    """The share of the penalised weights, or of the units, that is to be zero; give this or penalty."""

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
        optimizer = "dhspg" if self.structured and self.optimizer == "sparse" else self.optimizer
        found = settings_of(optimizer, penalty=self.penalty, sparsity=self.sparsity)
        if found is None:
            raise TrainingError(
                f"The optimizer {self.optimizer} makes no zeros.", place="optimizer", remedy=f"These do: {', '.join(SETTINGS)}."
            )
        if self.structured and not isinstance(found, GroupSparseSettings):
            raise TrainingError(
                f"The optimizer {self.optimizer} zeroes single weights.",
                place="structured",
                remedy="Leave structured out, or name dhspg, hspg, hesso or group_lasso.",
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

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Say which groups of units stay whole, where units are to go; then train a copy, and propose all its weights at once."""
        settings = self.settings()
        if isinstance(settings, GroupSparseSettings):
            require_extra(self.name)
            from netwright.training.group_sparse import prunable, trained_weights

            yield from prunable(program, settings, trained_weights(program)).misses
        yield from Recover.rewrites(self, program, context)

    def stored(self, changed: dict[str, onnx_ir.TensorProtocol]) -> dict[str, onnx_ir.TensorProtocol]:
        """With the mark that zeros are meant on every weight that has them, so that later passes that train keep them."""
        least = 1 if isinstance(self.settings(), GroupSparseSettings) else 2  # a zero unit's biases and norms are meant, too
        return {name: _marked(name, tensor) if len(tensor.shape) >= least else tensor for name, tensor in changed.items()}

    def why(self, history: History, changed: Mapping[str, onnx_ir.TensorProtocol], trained: Program) -> str:
        """How the run went, and the zeros of each weight or group."""
        settings = self.settings()
        if isinstance(settings, GroupSparseSettings):
            from netwright.training.group_sparse import prunable, trained_weights, zero_units

            groups = [group for group, _ in prunable(trained, settings, trained_weights(trained)).groups]
            each = ", ".join(str(one) for one in zero_units(trained, groups))
            return f"{Recover.why(self, history, changed, trained)}; zero are {each}"
        found = zeros_by_weight(trained)
        each = ", ".join(f"{weight.name} {weight.share:.1%}" for weight in found if weight.zeros)
        return f"{Recover.why(self, history, changed, trained)}; {share_of_zeros(found):.1%} of all weights are zero: {each or 'none'}"


def _marked(name: str, tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
    array = tensor.numpy()
    return with_kept_zeros(array, name) if np.count_nonzero(array) < array.size else tensor
