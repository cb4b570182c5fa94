"""`distill_compress`: three-model compression as a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.training.base import TrainingPass
from netwright.training.errors import TrainingError
from netwright.training.extra import require_extra
from netwright.training.recover import read_distill

if TYPE_CHECKING:
    from netwright.data import DataLike
    from netwright.training.terms import LossLike

_COMPRESSOR = "quantize(bits=8)"


@dataclass(frozen=True, kw_only=True)
class DistillCompress(TrainingPass):
    """Compress while training toward the program as it is: the compressed model runs, full-precision weights learn.

    Three models (TernaryBERT, arXiv 2009.12812): the teacher, which stays; latent weights in full precision; and, at every step, the
    latent weights compressed, whose outputs are compared with the teacher's. The result is the compressed model. It needs inputs only;
    with a loss, labels count too.
    """

    name: ClassVar[str] = "distill_compress"
    numerics: ClassVar[Numerics] = Lossy("metric")
    breaks: ClassVar[frozenset[str]] = frozenset({"Trainable"})

    compressor: str = _COMPRESSOR
    """What compresses: quantize(bits=2 … 8 or 'ternary'), lowrank(ratio=…), prune(sparsity=…), share, or any compressing pass."""
    teacher: Literal["program", "original"] = "program"
    """Who teaches: the program as it stands here in the pipeline, or the one that the pipeline began with."""
    distill: Mapping[str, object] | None = None
    """Options of `Distill`, such as {'hidden': 'auto', 'attention': 'auto', 'temperature': 2.0}."""
    labels: bool = True
    """Count the loss on labels too, where a loss is given."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            TrainingError: one is out of range.
        """
        TrainingPass.__post_init__(self)
        if self.teacher not in ("program", "original"):
            raise TrainingError(f"teacher is {self.teacher!r}.", place="teacher", remedy="Give 'program' or 'original'.")
        if self.distill:
            read_distill(self.distill)

    def needs(self) -> frozenset[str]:
        """Training data, labelled or not; the original program where it teaches.

        Raises:
            PipelineError: the compressor does not exist, or does not have these options.
        """
        if self.compressor != _COMPRESSOR:
            require_extra(self.name)
            from netwright.training.compressors import parse_compressor

            parse_compressor(self.compressor)
        return frozenset({"training", "original"} if self.teacher == "original" else {"training"})

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Train a copy, then propose its weights, and for each compressed tensor what stores it."""
        require_extra(self.name)
        from netwright.training.compress import NothingToCompressError, compression_objective
        from netwright.training.loop import fit

        try:
            objective = compression_objective(
                program.clone(),
                self.compressor,
                teacher=context.original if self.teacher == "original" else None,
                distill=read_distill(self.distill) if self.distill else None,
                loss=cast("LossLike | None", context.loss) if self.labels else None,
                train_norms=self.train_norms,
                seed=context.seed,
                threads=context.threads,
                context=context,
            )
        except NothingToCompressError as error:
            yield from error.misses
            yield Miss("there is nothing to compress, and so nothing was trained", program.outputs[0].name or "")
            return
        fit(objective, cast("DataLike", context.training), self.options(context))
        yield from objective.misses
        yield from objective.rewrites(program)
