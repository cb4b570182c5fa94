"""Distillation: a student comes near to a teacher's outputs, hidden states and attention scores, with labels or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from netwright.backends.torch import lower_to_torch, write_back
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.training.errors import TrainingError
from netwright.training.feature_maps import FeatureMapPenalty, MapPenalties
from netwright.training.likeness import scores_apart, soft_targets, squared, unaligned
from netwright.training.matching import Matching, Pair, Selection, match
from netwright.training.objective import Loss, TorchBatch
from netwright.training.output_kinds import OutputsLike, OutputTerm, output_term
from netwright.training.student import StudentModule, run_student
from netwright.training.teacher import Runtime, Teacher
from netwright.training.terms import BatchLoss, LossLike, batch_loss, describe_loss

_TITLES = {"output": "outputs", "hidden": "hidden", "attention": "attention"}


@dataclass(frozen=True, kw_only=True)
class Distill:
    """What of a teacher is learned, and how much each part counts.

    The loss is `output_weight · outputs + hidden_weight · Σ hidden + attention_weight · Σ attention + label_weight · labels`, as in
    TernaryBERT (arXiv 2009.12812).

    Attributes:
        outputs: `soft` (soft targets), `mse` or `cosine`, one for all or by output; `auto` goes by what the output is.
        temperature: of soft targets; their loss is multiplied by its square.
        hidden: hidden states to compare: `auto`, or names and patterns of the student's values.
        attention: attention scores to compare: `auto`, or names and patterns of attentions' results.
        pairs: further hidden states, by the student's name the teacher's, for models that are strangers to each other.
        normalise: measure squared differences in units of the teacher's mean square, so that layers of any magnitude count alike.
        output_weight: weight of the outputs.
        hidden_weight: weight of each hidden state.
        attention_weight: weight of each attention.
        label_weight: weight of the loss on labels, where one is given.
        runtime: what runs the teacher: `onnxruntime`, `torch`, or `auto` (ONNX Runtime on the CPU, torch on a GPU).
        cache: a folder that keeps the teacher's outputs.
    """

    outputs: OutputsLike = "auto"
    temperature: float = 1.0
    hidden: Selection = None
    attention: Selection = None
    pairs: Mapping[str, str] = field(default_factory=dict[str, str])
    normalise: bool = True
    output_weight: float = 1.0
    hidden_weight: float = 1.0
    attention_weight: float = 1.0
    label_weight: float = 1.0
    runtime: Runtime = "auto"
    cache: str | None = None

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            TrainingError: one is out of range.
        """
        if not self.temperature > 0:
            raise TrainingError(f"The temperature is {self.temperature!r}.", place="temperature", remedy="Give a number above 0.")
        for name in ("output_weight", "hidden_weight", "attention_weight", "label_weight"):
            if not getattr(self, name) >= 0:
                raise TrainingError(f"{name} is {getattr(self, name)!r}.", place=name, remedy="Give a number from 0.")
        if self.runtime not in ("auto", "onnxruntime", "torch"):
            raise TrainingError(f"runtime is {self.runtime!r}.", place="runtime", remedy="Give 'auto', 'onnxruntime' or 'torch'.")


class Likeness:
    """The part of the loss that compares with the teacher.

    Attributes:
        matching: what is compared.
        terms: how each output is.
        teacher: what gives the targets.
    """

    def __init__(self, student: Program, teacher: Program, distill: Distill, loss: LossLike | None, *, threads: int | None = None) -> None:
        self.distill = distill
        self.matching: Matching = match(student, teacher, hidden=distill.hidden, attention=distill.attention, pairs=distill.pairs)
        self.terms: dict[str, OutputTerm] = {
            pair.student: output_term(student, pair.student, distill.outputs, loss) for pair in self.matching.of("output")
        }
        inputs = [value.name or "" for value in student.inputs]
        self._weights = {"output": distill.output_weight, "hidden": distill.hidden_weight, "attention": distill.attention_weight}
        self._pairs = tuple(pair for pair in self.matching.pairs if self._weights[pair.kind] > 0)
        self.teacher = Teacher(self.matching.teacher, self._pairs, inputs, runtime=distill.runtime, cache=distill.cache, threads=threads)

    def parts(self, values: Mapping[str, torch.Tensor], batch: TorchBatch) -> dict[str, torch.Tensor]:
        """The weighted parts of the loss: outputs, hidden states, attention.

        Raises:
            TrainingError: a student's value and its target differ in shape.
        """
        if not self._pairs:
            return {}
        targets = self.teacher.targets(batch)
        found: dict[str, torch.Tensor] = {}
        for pair in self._pairs:
            part = self._part(pair, values[pair.student], targets[pair.student]) * self._weights[pair.kind]
            title = _TITLES[pair.kind]
            found[title] = found[title] + part if title in found else part
        return found

    def describe(self) -> str:
        """What is compared, how and with what weight."""
        distill = self.distill
        kinds = ", ".join(f"{name}: {term.kind}" for name, term in self.terms.items())
        counted = f"{len(self.matching.of('hidden'))} hidden states, {len(self.matching.of('attention'))} attentions"
        weights = f"{distill.output_weight:g}/{distill.hidden_weight:g}/{distill.attention_weight:g}/{distill.label_weight:g}"
        scaled = ", normalised" if distill.normalise else ""
        whose = fingerprint(self.matching.teacher)[:12]
        return f"likeness to {whose} ({kinds}; T {distill.temperature:g}; {counted}{scaled}; weights {weights})"

    def _part(self, pair: Pair, ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        if ours.shape != theirs.shape:
            raise TrainingError(
                f"%{pair.student} has shape {list(ours.shape)}, and what it is to be like {list(theirs.shape)}.",
                place=", ".join(pair.teacher.sources),
                remedy="Leave this value out of hidden=… or attention=….",
            )
        if pair.kind == "attention":
            return scores_apart(ours, theirs, normalise=self.distill.normalise)
        if pair.kind == "hidden":
            return squared(ours, theirs, normalise=self.distill.normalise)
        term = self.terms[pair.student]
        if term.kind == "soft":
            return soft_targets(ours, theirs, temperature=self.distill.temperature, scale=term.scale, binary=term.binary)
        return squared(ours, theirs, normalise=self.distill.normalise) if term.kind == "mse" else unaligned(ours, theirs)


class DistilledObjective:
    """A student near to its teacher; near to labels too, where a loss is given.

    Args:
        program: the student; left as it is.
        teacher: left as it is.
        distill: what is learned of it.
        loss: on labels; none where they are not to count.
        train_norms: train BatchNormalization with the statistics of the batch.
        seed: of projections between values of different width.
        threads: of the teacher on ONNX Runtime.
        penalties: on the student's feature maps, beside the rest.

    Raises:
        TrainingError: nothing to compare, or an option that does not fit.
        UnsupportedModelError: an operator that the torch backend lacks.
    """

    def __init__(
        self,
        program: Program,
        teacher: Program,
        distill: Distill | None = None,
        loss: LossLike | None = None,
        *,
        train_norms: bool = False,
        seed: int = 0,
        threads: int | None = None,
        penalties: Sequence[FeatureMapPenalty] = (),
    ) -> None:
        self.program = program
        self._penalties = MapPenalties(program, penalties)
        self.likeness = Likeness(program, teacher, distill or Distill(), loss, threads=threads)
        self._labels: BatchLoss | None = None if loss is None else batch_loss(loss, program)
        matching = self.likeness.matching
        model = lower_to_torch(
            matching.student, train_norms=train_norms, wanted=tuple(dict.fromkeys((*matching.student_values, *self._penalties.names)))
        )
        projections = {pair.student: pair.widths for pair in matching.pairs if pair.widths is not None}
        self.module = StudentModule(model, projections=projections, seed=seed)
        labels = "" if loss is None else f" and {describe_loss(loss)}"
        self._description = f"{self.likeness.describe()}{labels}{self._penalties.describe()}{', norms trained' if train_norms else ''}"

    @property
    def misses(self) -> tuple[Miss, ...]:
        """What could not be compared, with reasons."""
        return self.likeness.matching.misses

    def describe(self) -> str:
        """What is compared, in one line."""
        return self._description

    def loss(self, module: torch.nn.Module, batch: TorchBatch, step: int) -> Loss:
        """The loss on one batch."""
        values = run_student(module, self.module, batch, step)
        return self._penalties.added(total_loss(self.likeness, self._labels, values, batch), values)

    def product(self) -> Program:
        """The program with the module's weights of now."""
        return write_back(self.program, self.module.model)


def distillation_objective(
    program: Program,
    teacher: Program,
    distill: Distill | None = None,
    loss: LossLike | None = None,
    *,
    train_norms: bool = False,
    seed: int = 0,
    threads: int | None = None,
    penalties: Sequence[FeatureMapPenalty] = (),
) -> DistilledObjective:
    """What `fit` minimises in distillation; see `DistilledObjective`."""
    return DistilledObjective(program, teacher, distill, loss, train_norms=train_norms, seed=seed, threads=threads, penalties=penalties)


def total_loss(likeness: Likeness, labels: BatchLoss | None, values: Mapping[str, torch.Tensor], batch: TorchBatch) -> Loss:
    """The sum of what is compared with the teacher and the loss on labels, with its parts.

    Raises:
        TrainingError: all weights are 0.
    """
    parts = likeness.parts(values, batch)
    if labels is not None and likeness.distill.label_weight > 0:
        parts["labels"] = labels(values, batch).total * likeness.distill.label_weight
    if not parts:
        raise TrainingError("Nothing is compared: all weights are 0.", place="distill", remedy="Give a weight above 0.")
    total = torch.stack([part.reshape(()) for part in parts.values()]).sum()
    return Loss(total, {name: part.detach() for name, part in parts.items()})
