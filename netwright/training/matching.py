"""Which value of a teacher a student's value is to be like.

A student that descends from its teacher through passes needs no hooks: what became of each value stands in the ledger. For models
that are strangers to each other, outputs go by position and inner values by pairs that the user gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir

from netwright.ir.ledger import Ledger, Miss
from netwright.ir.lineage import lineage
from netwright.ir.maps import Gone, Mapped, Same, Take
from netwright.ir.opinfo import is_float
from netwright.ir.program import Program
from netwright.ir.shapes import rank, shape_of
from netwright.training.errors import TrainingError
from netwright.training.selection import AttentionSite, attention_sites, expose_scores, float_values, hidden_values

PairKind: TypeAlias = Literal["output", "hidden", "attention"]
Selection: TypeAlias = "Literal['auto'] | Sequence[str] | None"
"""What to compare: chosen automatically, by names or patterns, or nothing."""

_ACCOUNTED = 0.75
"""The share of a teacher's matrices that must have become something in the student for the two to be related."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A student's value and what it is to be like.

    Attributes:
        student: name of the student's value.
        teacher: the map and the teacher's values that it is applied to.
        kind: what they are.
        widths: sizes of the last axis, the student's and the teacher's, where they differ and a projection must bridge them.
    """

    student: str
    teacher: Mapped
    kind: PairKind
    widths: tuple[int, int] | None = None


@dataclass(frozen=True)
class Matching:
    """What can be compared, and what not.

    Attributes:
        student: the student; a copy where attention scores had to be exposed.
        teacher: the teacher, likewise.
        pairs: outputs first.
        misses: what was looked at and has no counterpart, with reasons.
    """

    student: Program
    teacher: Program
    pairs: tuple[Pair, ...]
    misses: tuple[Miss, ...] = ()

    def of(self, kind: PairKind) -> tuple[Pair, ...]:
        """The pairs of a kind."""
        return tuple(pair for pair in self.pairs if pair.kind == kind)

    @property
    def student_values(self) -> tuple[str, ...]:
        """The inner values of the student that are compared, each once."""
        return tuple(dict.fromkeys(pair.student for pair in self.pairs if pair.kind != "output"))


def match(
    student: Program,
    teacher: Program,
    *,
    hidden: Selection = None,
    attention: Selection = None,
    pairs: Mapping[str, str] | None = None,
) -> Matching:
    """Find the counterparts of a student's values in its teacher.

    Args:
        student: read only.
        teacher: read only.
        hidden: hidden states of the student: `auto` (see `hidden_values`), or names and patterns of its values.
        attention: attention scores: `auto` for all, or names and patterns of attention's results.
        pairs: further hidden states, by the student's name the teacher's; a learned projection bridges different widths.

    Raises:
        TrainingError: a name or pattern that fits nothing, a pair whose ranks differ, or programs without a common output.
    """
    relation = Relation(student, teacher)
    found, misses = _outputs(relation)
    if not found:
        raise TrainingError(
            "No output of the student has a counterpart in the teacher.", place="teacher", remedy="; ".join(miss.reason for miss in misses)
        )
    names = tuple(
        name for name in (hidden_values(student) if hidden == "auto" else _named(student, hidden, "hidden")) if name not in (pairs or {})
    )
    if hidden == "auto" and not names and not pairs:
        misses.append(Miss("no hidden state was found to compare: there is neither a normalisation nor an activation", "hidden"))
    _collect([_inner(relation, name) for name in names], found, misses)
    _collect([_given(relation, name, other) for name, other in (pairs or {}).items()], found, misses)
    if attention is None:
        return Matching(student, teacher, tuple(found), tuple(misses))
    return _with_attention(relation, attention, found, misses)


# ---- relation -------------------------------------------------------------------------------------------------------


class Relation:
    """How a student descends from a teacher, or from an ancestor of both.

    Attributes:
        stranger: why the two are not related, as a sentence; empty where they are.
    """

    def __init__(self, student: Program, teacher: Program) -> None:
        self.student = student
        self.teacher = teacher
        shared = len(student.ledger.actions) if _is_copy(student, teacher) else student.ledger.shared(teacher.ledger)
        self._student_since = student.ledger.since(shared)
        self._teacher_since = teacher.ledger.since(shared)  # nothing of a copy, whose ledger is shorter
        self._values = _main_values(teacher)
        self._heirs = {source: name for name in self._values if (source := _origin_of(self._teacher_since, name)) is not None}
        self.stranger = self._why_strange()

    def counterpart(self, name: str) -> Mapped | str:
        """How a value of the student comes from values of the teacher, or why it does not, as a sentence."""
        if self.stranger:
            return self.stranger
        origin = lineage(self._student_since, name)
        if isinstance(origin.map, Gone):
            return f"no teacher's value has become it ({origin.map.describe()})"
        missing = next((source for source in origin.sources if source not in self._heirs), None)
        if missing is not None:
            return f"the teacher has no value %{missing}, of which it came"
        return Mapped(origin.map, tuple(self._heirs[source] for source in origin.sources))

    def teacher_value(self, name: str) -> onnx_ir.Value | None:
        """A value of the teacher's main graph."""
        return self._values.get(name)

    def _why_strange(self) -> str:
        if self.student is self.teacher:
            return ""
        matrices = _matrices(self.teacher)
        if not matrices:
            return ""
        own = _matrices(self.student)
        used = {source for action in self._student_since.actions for mapped in action.maps.values() for source in mapped.sources}
        back = {name: _origin_of(self._teacher_since, name) or name for name in matrices}
        known = [name for name, shape in matrices.items() if back[name] in used or own.get(back[name]) == shape]
        if len(known) >= _ACCOUNTED * len(matrices):
            return ""
        return (
            f"the student does not come from the teacher: {len(known)} of the teacher's {len(matrices)} weight matrices are found in it; "
            "give pairs of values"
        )


def _is_copy(student: Program, teacher: Program) -> bool:
    """True where a teacher without a ledger (from a file) is a copy of the student as it is now, not of what the student came from.

    It has the student's values by name, and some weight in the shape that it has now and that its maps would not give.
    """
    if teacher.ledger.actions or not student.ledger.actions or set(_main_values(student)) != set(_main_values(teacher)):
        return False
    own, theirs = _matrices(student), _matrices(teacher)
    if own != theirs:
        return False
    return any(not _leads(lineage(student.ledger, name), theirs, shape) for name, shape in own.items())


def _leads(mapped: Mapped, shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    """True where a map makes the shape of the shapes of its sources."""
    if isinstance(mapped.map, Same):
        return True
    try:
        return mapped.map.apply(*(np.zeros(shapes[source], np.float32) for source in mapped.sources)).shape == shape
    except (ValueError, KeyError, IndexError):
        return False


def _origin_of(since: Ledger, name: str) -> str | None:
    """The ancestor's value that a value still is, unchanged."""
    origin = lineage(since, name)
    return origin.sources[0] if isinstance(origin.map, Same) else None


def _main_values(program: Program) -> dict[str, onnx_ir.Value]:
    found = {value.name or "": value for value in (*program.graph.inputs, *program.graph.initializers.values())}
    found.update({value.name or "": value for node in program.graph for value in node.outputs if value.name})
    return found


def _matrices(program: Program) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, value in program.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and is_float(tensor.dtype) and len(tensor.shape) >= 2 and value.uses():
            found[name] = tuple(int(size) for size in tensor.shape.numpy())
    return found


# ---- pairs ----------------------------------------------------------------------------------------------------------


def _collect(results: Sequence[Pair | Miss], pairs: list[Pair], misses: list[Miss]) -> None:
    pairs.extend(result for result in results if isinstance(result, Pair))
    misses.extend(result for result in results if isinstance(result, Miss))


def _outputs(relation: Relation) -> tuple[list[Pair], list[Miss]]:
    student, teacher = relation.student, relation.teacher
    theirs = [value.name or "" for value in teacher.outputs]
    pairs: list[Pair] = []
    misses: list[Miss] = []
    for position, value in enumerate(student.outputs):
        name = value.name or ""
        if not (value.dtype is None or is_float(value.dtype)):
            misses.append(Miss(f"it is of type {value.dtype}, which has no gradient", name))
            continue
        found = relation.counterpart(name)
        if isinstance(found, str):
            same = name if name in theirs else theirs[position] if position < len(theirs) else None
            found = Mapped(Same(), (same,)) if same is not None else f"the teacher has {len(theirs)} outputs"
        pair = found if isinstance(found, str) else _checked(relation, name, found, "output")
        _collect([Miss(pair, name) if isinstance(pair, str) else pair], pairs, misses)
    return pairs, misses


def _inner(relation: Relation, name: str) -> Pair | Miss:
    found = relation.counterpart(name)
    pair = found if isinstance(found, str) else _checked(relation, name, found, "hidden")
    return Miss(pair, name) if isinstance(pair, str) else pair


def _checked(relation: Relation, name: str, mapped: Mapped, kind: PairKind) -> Pair | str:
    """The pair, or why its shapes cannot agree."""
    if isinstance(mapped.map, Same):
        own = shape_of(relation.student.value(name))
        other = shape_of(relation.teacher_value(mapped.sources[0]))
        if own is not None and other is not None:
            clash = len(own) != len(other) or any(
                isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(own, other, strict=False)
            )
            if clash:
                return f"its shape is {_shown(own)}, and that of the teacher's %{mapped.sources[0]} {_shown(other)}"
    return Pair(name, mapped, kind)


def _given(relation: Relation, name: str, other: str) -> Pair | Miss:
    ours = _main_values(relation.student).get(name)
    theirs = relation.teacher_value(other)
    for value, called, whose in ((ours, name, "student"), (theirs, other, "teacher")):
        if value is None:
            raise TrainingError(f"The {whose} has no value %{called}.", place="pairs", remedy="`netwright inspect` lists values.")
    own, target = shape_of(ours), shape_of(theirs)
    mapped = Mapped(Same(), (other,))
    if own is None or target is None:
        return Pair(name, mapped, "hidden")
    if len(own) != len(target):
        raise TrainingError(
            f"%{name} has shape {_shown(own)}, and the teacher's %{other} {_shown(target)}.",
            place="pairs",
            remedy="Pair values of the same rank.",
        )
    last = own[-1], target[-1]
    widths = (last[0], last[1]) if isinstance(last[0], int) and isinstance(last[1], int) and last[0] != last[1] else None
    return Pair(name, mapped, "hidden", widths)


def _named(student: Program, selection: Selection, place: str) -> tuple[str, ...]:
    if selection is None or selection == "auto":
        return ()
    found: list[str] = []
    for pattern in (selection,) if isinstance(selection, str) else selection:
        fitting = float_values(student, (pattern,))
        if not fitting:
            raise TrainingError(
                f"No inner float value of the student fits '{pattern}'.", place=place, remedy="`netwright inspect` lists values."
            )
        found.extend(fitting)
    return tuple(dict.fromkeys(found))


# ---- attention ------------------------------------------------------------------------------------------------------


def _with_attention(relation: Relation, selection: Selection, pairs: list[Pair], misses: list[Miss]) -> Matching:
    ours, theirs = attention_sites(relation.student), attention_sites(relation.teacher)
    if selection != "auto":
        wanted = frozenset(_named(relation.student, selection, "attention"))
        ours = tuple(site for site in ours if wanted.intersection((*site.names, site.scores)))
    if not ours:
        misses.append(Miss("no attention was found to compare", "attention"))
    matched: list[tuple[AttentionSite, AttentionSite, Mapped]] = []
    for site in ours:
        found = _counterpart_attention(relation, site, theirs)
        if isinstance(found, str):
            misses.append(Miss(found, site.names[0]))
        else:
            matched.append((site, *found))
    student, own_scores = expose_scores(relation.student, [site for site, _, _ in matched])
    teacher, other_scores = expose_scores(relation.teacher, [other for _, other, _ in matched])
    for site, other, mapped in matched:
        sources = mapped.sources if other.scores else (other_scores[other.names[0]],)
        pairs.append(Pair(own_scores[site.names[0]], Mapped(mapped.map, sources), "attention"))
    return Matching(student, teacher, tuple(pairs), tuple(misses))


def _counterpart_attention(relation: Relation, site: AttentionSite, theirs: Sequence[AttentionSite]) -> tuple[AttentionSite, Mapped] | str:
    """The teacher's attention that a student's came from, and how its scores come from the teacher's."""
    reason = "the teacher has no such attention"
    for name in site.names:
        found = relation.counterpart(name)
        if isinstance(found, str):
            reason = found
            continue
        other = next((one for one in theirs if found.sources[0] in one.names), None)
        if other is not None:
            heads_first = rank(relation.teacher_value(found.sources[0])) == 4
            return _scores(relation, site, other, found, heads_first=heads_first)
    return reason


def _scores(
    relation: Relation, site: AttentionSite, other: AttentionSite, result: Mapped, *, heads_first: bool
) -> tuple[AttentionSite, Mapped] | str:
    """How scores come from the teacher's: as their own history says where both are spelt out, else as the result's heads do."""
    if site.scores and other.scores:
        found = relation.counterpart(site.scores)
        if not isinstance(found, str) and found.sources == (other.scores,):
            return other, found
    if isinstance(result.map, Same):
        return other, Mapped(Same(), (other.scores,))
    if isinstance(result.map, Take) and result.map.axis == 1 and heads_first:
        return other, Mapped(result.map, (other.scores,))
    return f"its result is changed ({result.map.describe()}) in a way that does not tell what became of its scores"


def _shown(shape: Sequence[object]) -> str:
    return f"[{', '.join(map(str, shape))}]"
