"""Distillation-aware compression with three models (TernaryBERT, arXiv 2009.12812).

The teacher f1 stays as it is. The latent student f2 starts from f1's weights and keeps full precision. At every step f3 = compress(f2)
runs on the same data as f1; the loss between what both give updates f2, straight through the rounding. The product is compress(f2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from netwright.backends.torch import lower_to_torch, to_array, write_back
from netwright.ir.editor import Editor
from netwright.ir.ledger import Miss
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.passes.base import Proposals, RewritePass
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Plan
from netwright.passes.rewrite import Rewrite
from netwright.training.compressors import Compression, Compressor, parse_compressor
from netwright.training.distill import Distill, Likeness, total_loss
from netwright.training.errors import TrainingError
from netwright.training.objective import Loss, TorchBatch
from netwright.training.student import StudentModule, run_student
from netwright.training.terms import BatchLoss, LossLike, batch_loss, describe_loss

CompressorLike = str | Compressor | Sequence[Compressor]


class NothingToCompressError(TrainingError):
    """Not one tensor can be compressed.

    Attributes:
        misses: why each is left as it is.
    """

    def __init__(self, compressor: Compressor, misses: Sequence[Miss]) -> None:
        reasons = "; ".join(f"%{miss.site} {miss.reason}" for miss in misses[:4])
        super().__init__("There is nothing to compress.", place=str(compressor), remedy=reasons or None)
        self.misses = tuple(misses)


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """What a model's weights take.

    Attributes:
        before: as the program was given.
        nominal: with compressed tensors at the bits that they need (2 for 2-bit weights, log2 3 for ternary ones), scales included.
        stored: as the product holds them.
    """

    before: int
    nominal: int
    stored: int


class CompressionObjective:
    """Three-model compression of one program.

    Without a teacher the program as it is given is f1. Without a teacher's part (`distill.output_weight` and all others 0) and with a
    loss, it is plain straight-through training.

    Args:
        program: f1 and the first f2; left as it is.
        compressor: pipeline text such as `quantize(bits=2)` (see `parse_compressor`), or compressors.
        teacher: another f1.
        distill: what of the teacher is learned.
        loss: on labels; none where they are not to count.
        train_norms: train BatchNormalization with the statistics of the batch.
        seed: of projections.
        threads: of the teacher on ONNX Runtime.
        context: what a pass that is carried out may use.

    Raises:
        TrainingError: nothing to compress or to compare.
        PipelineError: a compressor that does not exist, or options that it does not have.
        UnsupportedModelError: an operator that the torch backend lacks.
    """

    def __init__(
        self,
        program: Program,
        compressor: CompressorLike,
        teacher: Program | None = None,
        distill: Distill | None = None,
        loss: LossLike | None = None,
        *,
        train_norms: bool = False,
        seed: int = 0,
        threads: int | None = None,
        context: Context | None = None,
    ) -> None:
        self.program = program
        self.compressors = _compressors(compressor)
        self.context = context or Context(seed=seed, threads=threads)
        plans = [one.choose(program, self.context) for one in self.compressors]
        adapted = program
        for one, plan in zip(self.compressors, plans, strict=True):
            adapted = one.adapt(adapted, plan)
        self._likeness = Likeness(adapted, program if teacher is None else teacher, distill or Distill(), loss, threads=threads)
        self._labels: BatchLoss | None = None if loss is None else batch_loss(loss, program)
        matching = self._likeness.matching
        model = lower_to_torch(matching.student, train_norms=train_norms, wanted=matching.student_values)
        trained = StudentModule(model).trained
        self.plans = tuple(_trained_only(plan, trained) for plan in plans)
        if not any(plan.decisions for plan in self.plans):
            raise NothingToCompressError(self.compressors[0], [miss for plan in self.plans for miss in plan.misses])
        self._compressions: list[Compression] = [
            one.bind(program, plan, self.context) for one, plan in zip(self.compressors, self.plans, strict=True)
        ]
        projections = {pair.student: pair.widths for pair in matching.pairs if pair.widths is not None}
        self.module = StudentModule(model, self._compressions, projections, seed=seed)
        text = ", ".join(map(str, self.compressors))
        labels = "" if loss is None else f" and {describe_loss(loss)}"
        self._description = f"{text}: {self._likeness.describe()}{labels}{', norms trained' if train_norms else ''}"

    @property
    def misses(self) -> tuple[Miss, ...]:
        """What stays as it is, and what could not be compared, with reasons."""
        return (*(miss for plan in self.plans for miss in plan.misses), *self._likeness.matching.misses)

    def describe(self) -> str:
        """What is compressed and compared, in one line."""
        return self._description

    def loss(self, module: torch.nn.Module, batch: TorchBatch, step: int) -> Loss:
        """The loss between f1 and f3 on one batch."""
        values = run_student(module, self.module, batch, step)
        return total_loss(self._likeness, self._labels, values, batch)

    def latent(self) -> Program:
        """f2: the program with the trained weights in full precision."""
        return write_back(self.program, self.module.model)

    def product(self) -> Program:
        """compress(f2): integers, factors, shared tensors, as the compressor has it."""
        return run(self.program, [_Store(objective=self)], Context(seed=self.context.seed, threads=self.context.threads)).program

    def rewrites(self, program: Program) -> Proposals:
        """The rewrites that make the product of the program that was given, or of a clone of it.

        The first one puts all trained weights in, the compressed ones rounded already; each further one stores a tensor. `misses` are
        not among them.

        Args:
            program: is rewritten meanwhile.
        """
        steps = self.module.settled()
        weights = _arrays(self.latent(), steps[-1])
        changed = {name: array for name, array in weights.items() if _differs(program, name, array)}
        if changed:
            site = program.outputs[0].name or ""
            why = f"{len(changed)} tensors were trained ({', '.join(map(str, self.compressors))})"
            yield Rewrite.edit(site, why, lambda editor: _set(editor, changed))
        for compression, before in zip(self._compressions, steps, strict=False):
            yield from compression.store(program, before)

    def bytes(self) -> WeightBytes:
        """What the weights take before, at their nominal bits, and in the product."""
        stored = _weight_bytes(self.product())
        return WeightBytes(_weight_bytes(self.program), min(self._nominal_bytes(), stored), stored)

    def _nominal_bytes(self) -> int:
        total = 0.0
        for name, value in self.program.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or not is_float(tensor.dtype):
                continue
            shape, width = tuple(int(size) for size in tensor.shape.numpy()), round(tensor.dtype.itemsize * 8)
            bits = [one.nominal_bits(name, shape, width) for one in self._compressions if name in one.names]
            total += min(bits, default=float(width * tensor.size))
        return round(total / 8)


def compression_objective(
    program: Program,
    compressor: CompressorLike,
    teacher: Program | None = None,
    distill: Distill | None = None,
    loss: LossLike | None = None,
    *,
    train_norms: bool = False,
    seed: int = 0,
    threads: int | None = None,
    context: Context | None = None,
) -> CompressionObjective:
    """What `fit` minimises in three-model compression; see `CompressionObjective`."""
    return CompressionObjective(
        program, compressor, teacher, distill, loss, train_norms=train_norms, seed=seed, threads=threads, context=context
    )


@dataclass(frozen=True, kw_only=True)
class _Store(RewritePass):
    """Store what a compression objective has trained."""

    name: ClassVar[str] = "distill_compress"
    numerics: ClassVar[Numerics] = Lossy()

    objective: CompressionObjective = field()

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Those of the objective."""
        del context
        yield from self.objective.rewrites(program)


def _compressors(given: CompressorLike) -> tuple[Compressor, ...]:
    if isinstance(given, str):
        return parse_compressor(given)
    return (given,) if isinstance(given, Compressor) else tuple(given)


def _trained_only(plan: Plan, trained: frozenset[str]) -> Plan:
    """A plan without tensors that are no parameters."""
    left = [name for name in plan.decisions if name not in trained]
    if not left:
        return plan
    misses = tuple(Miss("left as it is: it is a constant, not a weight that is trained", name) for name in left)
    kept = {name: decision for name, decision in plan.decisions.items() if name in trained}
    return replace(plan, decisions=kept, misses=(*plan.misses, *misses))


def _arrays(latent: Program, compressed: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """All initializers' contents, the compressed ones as the product has them."""
    found: dict[str, np.ndarray] = {}
    for name, value in latent.graph.initializers.items():
        if value.const_value is None:
            continue
        tensor = compressed.get(name)
        found[name] = value.const_value.numpy() if tensor is None else to_array(tensor, value.const_value.dtype)
    return found


def _differs(program: Program, name: str, array: np.ndarray) -> bool:
    value = program.graph.initializers.get(name)
    held = value.const_value if value is not None else None
    if held is None:
        return False
    before = held.numpy()
    return before is not array and (before.shape != array.shape or before.tobytes() != np.ascontiguousarray(array).tobytes())


def _set(editor: Editor, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        editor.set_constant(editor.program.graph.initializers[name], array)


def _weight_bytes(program: Program) -> int:
    """Bytes of all float and small integer initializers; shapes and indexes are not counted."""
    total = 0
    for value in program.initializers():
        tensor = value.const_value
        if tensor is not None and (is_float(tensor.dtype) or tensor.dtype.itemsize <= 1):
            total += tensor.nbytes
    return total
