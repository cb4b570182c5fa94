"""Plan: all decisions of one compressing pass, by site, as data: saved, edited, diffed, replayed, searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from netwright.ir.errors import PlanError
from netwright.ir.ledger import Miss
from netwright.passes.curves import Curve

VERSION = 1

Scalar = str | int | float | bool | None
DecisionValue = Scalar | list[Scalar] | list[list[Scalar]]
Decision = Mapping[str, DecisionValue]
"""What is chosen at one site, such as `{"scheme": "dynamic", "bits": 8}`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decisions of one pass for one program.

    Attributes:
        pass_name: the pass that made it, and the only one that carries it out.
        fingerprint: of the program it was made for.
        decisions: by site.
        misses: the sites that were looked at and left alone, with reasons; not part of the JSON.
        note: what the report must say of the plan as a whole, such as a scheme chosen for want of data; not part of the JSON.
        curves: trade-offs that the pass looked at while deciding, for the report to draw; not part of the JSON.
        evidence: what the pass learnt from data while deciding, for its own use when it carries the plan out; not part of the JSON.
    """

    pass_name: str
    fingerprint: str
    decisions: Mapping[str, Decision]
    misses: tuple[Miss, ...] = field(default=(), compare=False)
    note: str = field(default="", compare=False)
    curves: tuple[Curve, ...] = field(default=(), compare=False)
    evidence: object = field(default=None, compare=False, repr=False)

    def check_fits(self, pass_name: str, fingerprint: str) -> None:
        """Refuse to carry out a plan of another pass, or for another program.

        Args:
            pass_name: the pass that is to carry it out.
            fingerprint: of the program at hand.

        Raises:
            PlanError: it is another's.
        """
        if self.pass_name != pass_name:
            raise PlanError(
                f"The plan was made by {self.pass_name}, not by {pass_name}.", place=pass_name, remedy="Give each pass its own plan."
            )
        if self.fingerprint != fingerprint:
            raise PlanError(
                f"The plan was made for a program with fingerprint {self.fingerprint}; this one has {fingerprint}.",
                place=pass_name,
                remedy="Make the plan again with --save-plans, for this model and with the same passes before.",
            )

    def to_dict(self) -> dict[str, object]:
        """`{"version", "pass", "fingerprint", "decisions": {site: {…}}}`."""
        decisions = {site: dict(decision) for site, decision in self.decisions.items()}
        return {"version": VERSION, "pass": self.pass_name, "fingerprint": self.fingerprint, "decisions": decisions}

    def to_json(self) -> str:
        """The plan as JSON text, one that a person can edit."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, place: str = "plan") -> Plan:
        """Read a plan from JSON text.

        Raises:
            PlanError: it is not JSON, or not of the shape above.
        """
        try:
            data: object = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(f"A plan must be JSON: {error}.", place=place, remedy="Write one with --save-plans and edit that.") from error
        if not isinstance(data, dict):
            raise PlanError("A plan must be a JSON object.", place=place, remedy="Write one with --save-plans and edit that.")
        fields = cast("dict[str, object]", data)
        missing = [key for key in ("version", "pass", "fingerprint", "decisions") if key not in fields]
        if missing:
            raise PlanError(f"The plan lacks {', '.join(missing)}.", place=place, remedy="Write one with --save-plans and edit that.")
        if fields["version"] != VERSION:
            raise PlanError(f"The plan is of version {fields['version']}; this netwright reads version {VERSION}.", place=place)
        decisions = fields["decisions"]
        if not isinstance(decisions, dict) or not all(isinstance(d, dict) for d in cast("dict[str, object]", decisions).values()):
            raise PlanError("'decisions' must map each site to an object.", place=place)
        return cls(pass_name=str(fields["pass"]), fingerprint=str(fields["fingerprint"]), decisions=cast("dict[str, Decision]", decisions))

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan from a file.

        Raises:
            PlanError: the file is missing or is no plan.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"The plan cannot be read: {error}.", place=str(path)) from error
        return cls.from_json(text, place=str(path))
