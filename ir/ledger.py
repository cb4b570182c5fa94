"""The ledger: the ordered record of actions and misses that made a Program what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netwright.ir.maps import Mapped


@dataclass(frozen=True, slots=True)
class Action:
    """One applied rewrite.

    Its identity is `(pass_index, rule, site, ordinal)`, so that leaving other actions out does not rename it;
    `number` is for people.

    Attributes:
        number: such as `2:prune#17`, the 17th rewrite of the pipeline's pass 2 (both counted from 0 and 1).
        pass_index: position of the pass in the pipeline.
        rule: the pass's, or the rule's, name.
        site: name of the value at which the rewrite happened.
        ordinal: how many actions of this rule at this site came before.
        why: the reason, as the pass gave it.
        maps: for each value that changed, how it comes from values of the graph before.
    """

    number: str
    pass_index: int
    rule: str
    site: str
    ordinal: int
    why: str
    maps: Mapping[str, Mapped] = field(default_factory=dict[str, "Mapped"])

    @property
    def identity(self) -> tuple[int, str, str, int]:
        """What bisecting and replay go by."""
        return (self.pass_index, self.rule, self.site, self.ordinal)


@dataclass(frozen=True, slots=True)
class Miss:
    """A site that was looked at and left alone.

    Attributes:
        reason: a sentence that a user can act on, with the numbers in it.
        site: name of the node's first output.
        rule: the pass's, or the rule's, name; filled in by the manager where empty.
    """

    reason: str
    site: str
    rule: str = ""


@dataclass(slots=True)
class Ledger:
    """Everything that was done to a Program, in order."""

    actions: list[Action] = field(default_factory=list[Action])
    misses: list[Miss] = field(default_factory=list[Miss])

    def copy(self) -> Ledger:
        """A ledger that grows on its own; its entries are shared, since they are frozen."""
        return Ledger(list(self.actions), list(self.misses))

    def shared(self, other: Ledger) -> int:
        """How many actions both begin with: what programs of a common ancestor have in common."""
        count = 0
        for mine, theirs in zip(self.actions, other.actions, strict=False):
            if (mine.identity, mine.number) != (theirs.identity, theirs.number):
                break
            count += 1
        return count

    def since(self, count: int) -> Ledger:
        """What was done after the first `count` actions; misses left out."""
        return Ledger(self.actions[count:])

    def at(self, site: str) -> Iterator[Action]:
        """The actions at one site, in order."""
        return (action for action in self.actions if action.site == site)
