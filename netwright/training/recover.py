"""`recover`: training between passes, so that what they cost is won back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, cast

import onnx_ir

from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.rewrite import Miss, Rewrite
from netwright.training.base import TrainingPass
from netwright.training.errors import TrainingError
from netwright.training.extra import require_extra
from netwright.training.feature_maps import read_penalty
from netwright.training.history import HISTORY, History

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.ir.editor import Editor
    from netwright.training.distill import Distill
    from netwright.training.terms import LossLike


@dataclass(frozen=True, kw_only=True)
class Recover(TrainingPass):
    """Train the program as it is now, to win back what earlier passes cost.

    On labels (`training` data with labels and a `loss`), or, with `distill`, toward the outputs of the program that the pipeline began
    with, for which inputs without labels are enough. All weights change in one action.
    """

    name: ClassVar[str] = "recover"
    numerics: ClassVar[Numerics] = Lossy("metric")

    distill: bool | Mapping[str, object] = False
    """Train toward the original program: True, or options of `Distill`, such as {'hidden': 'auto', 'temperature': 2.0}."""

    feature_maps: Mapping[str, object] | None = None
    """A penalty on attention's feature maps: options of `FeatureMapPenalty`, such as {'where': 'all', 'weight': 3}."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            TrainingError: one is out of range.
        """
        TrainingPass.__post_init__(self)
        if isinstance(self.distill, Mapping):
            read_distill(self.distill)
        if self.feature_maps is not None:
            read_penalty(self.feature_maps)

    def needs(self) -> frozenset[str]:
        """Training data, and a loss or the original program."""
        return frozenset({"training", "original" if self.distill else "loss"})

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Train a copy, then propose all its weights at once."""
        require_extra(self.name)
        from netwright.training.loop import fit
        from netwright.training.training import choose_objective

        options = self.options(context)
        objective = choose_objective(
            program,
            loss=cast("LossLike | None", context.loss),
            teacher=context.original if self.distill else None,
            distill=read_distill(self.distill) if isinstance(self.distill, Mapping) else None,
            compressor=None,
            feature_maps=None if self.feature_maps is None else read_penalty(self.feature_maps),
            train_norms=self.train_norms,
            options=options,
        )
        yield from objective.misses
        trained = fit(objective, cast("DataLike", context.training), options)
        changed = self.stored(changed_weights(program, trained))
        if not changed:
            yield Miss("training changed no weight", program.outputs[0].name or "")
            return
        history = trained.resources[HISTORY]
        assert isinstance(history, History)
        why = self.why(history, changed, trained)
        yield Rewrite.edit(program.outputs[0].name or "", why, lambda editor: set_weights(editor, changed))

    def stored(self, changed: dict[str, onnx_ir.TensorProtocol]) -> dict[str, onnx_ir.TensorProtocol]:
        """The weights that training changed, as they are put into the program."""
        return changed

    def why(self, history: History, changed: Mapping[str, onnx_ir.TensorProtocol], trained: Program) -> str:
        """What the action says: how the run went.

        Args:
            history: of the run.
            changed: the weights that training changed.
            trained: the program with them.
        """
        del trained
        return _why(history, len(changed))


def read_distill(options: Mapping[str, object]) -> Distill:
    """What to learn of a teacher, from options by name.

    Raises:
        TrainingError: an unknown option, or one out of range.
    """
    require_extra("distill")
    from netwright.training.distill import Distill

    known = [field.name for field in fields(Distill)]
    for name in options:
        if name not in known:
            raise TrainingError(f"distill has no option {name}.", place="distill", remedy=f"Its options: {', '.join(known)}.")
    return cast("Callable[..., Distill]", Distill)(**options)


def changed_weights(program: Program, trained: Program) -> dict[str, onnx_ir.TensorProtocol]:
    """The initializers of a trained copy that are no longer the program's own, by name.

    Args:
        program: as it was.
        trained: a program of the same structure, of which untouched tensors are shared.
    """
    before = dict(_tensors(program))
    return {name: tensor for name, tensor in _tensors(trained) if name in before and tensor is not before[name]}


def set_weights(editor: Editor, tensors: Mapping[str, onnx_ir.TensorProtocol]) -> None:
    """Give initializers new contents, by name."""
    for value in editor.program.initializers():
        if (tensor := tensors.get(value.name or "")) is not None:
            editor.set_constant(value, tensor)


def _tensors(program: Program) -> Iterable[tuple[str, onnx_ir.TensorProtocol]]:
    return ((value.name or "", value.const_value) for value in program.initializers() if value.const_value is not None)


def _why(history: History, count: int) -> str:
    first, last = (sum(part) / len(part) for part in (history.losses[:16], history.losses[-16:]))
    decay = f"; weight decay on the products of {history.decayed_products} chains of factors" if history.decayed_products else ""
    return f"{history.steps} steps of training set {count} tensors; loss {first:.4g} at first, {last:.4g} at last{decay}"
