"""The pass `disable_cells`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import onnx_ir

from netwright.backends.cim import ops
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.sparsity.deciding import decide, offered, zero_point_of
from netwright.backends.cim.sparsity.samples import inputs_of, products
from netwright.backends.cim.sparsity.zeros import MASKS
from netwright.backends.cim.target import arch_of
from netwright.ir.editor import Editor
from netwright.ir.errors import ContractError, PipelineError, PlanError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program, array
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Miss, Rewrite, site_of

Choice: TypeAlias = Literal["auto", "row", "row_group", "plane", "plane_group"]


@dataclass(frozen=True, kw_only=True)
class DisableCells(PlannedPass):
    """Disable crossbar cells whose input is 0, where inputs are sparse enough, and compensate the sums for it.

    A column of a charge-domain array settles at (sum / enabled rows) of the supply: with fewer rows enabled the same converter resolves
    smaller steps, and the digital side multiplies by the number of enabled rows. Where masks change no value they must save energy.
    Zeros are measured on calibration data; masks are formed when the chip runs, of each input. Source: US 12,288,142 B2 (input path).
    """

    name: ClassVar[str] = "disable_cells"
    numerics: ClassVar[Numerics] = Lossy("metric")

    threshold: float = 0.5
    """Share of zeros to exceed: by a product's inputs, to get masks at all; by a block's rows, each time, to use one."""
    granularity: Choice = "auto"
    """What a mask tells apart; `auto` for the best that the chip offers and whose zeros exceed the threshold."""
    group: int = 0
    """Rows of a group; 0 for the chip's."""
    fewer_bits: bool = False
    """Keep the converter's step and resolve fewer bits instead: values as they were, at less energy."""

    def check(self) -> None:
        """Refuse options that mean nothing."""
        if not 0.0 <= self.threshold <= 1.0:
            raise PipelineError(f"threshold is {self.threshold}.", place=self.name, remedy="Give a share from 0 to 1.")
        if self.granularity not in ("auto", *MASKS):
            raise PipelineError(f"There is no granularity {self.granularity!r}.", place=self.name, remedy=f"auto, {', '.join(MASKS)}.")
        if self.group < 0:
            raise PipelineError(f"group is {self.group}.", place=self.name, remedy="Give a number of rows, or 0 for the chip's.")

    def needs(self) -> frozenset[str]:
        """Data to measure zeros on, what runs the program, the chip."""
        return frozenset() if self.plan is not None else frozenset({"calibration", "executor", "target"})

    def make_plan(self, program: Program, context: Context) -> Plan:
        """A decision for each product whose inputs are sparse enough."""
        arch = arch_of(context.target)
        if arch is None:
            raise ContractError(
                "Which masks there are is the chip's to say.", place=self.name, remedy="Compile for a chip: --target cim:NAME."
            )
        nodes = products(program)
        masks = offered(arch, self.granularity, self.group)
        if not nodes:
            nothing = "no product stands on crossbars: put the pass behind crossbars, and that behind quantize(scheme='static')"
            return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions={}, misses=(Miss(nothing, "graph"),))
        if isinstance(masks, str):
            without = tuple(Miss(masks, site_of(node)) for node in nodes)
            return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions={}, misses=without)
        inputs = inputs_of(program, nodes, context)
        decisions: dict[str, Decision] = {}
        misses: list[Miss] = []
        for node in nodes:
            x, weight = node.inputs[0], array(node.inputs[1])
            assert x is not None, "products read something"
            if weight is None:
                misses.append(
                    Miss(f"its weight is not constant: %{node.inputs[1].name if node.inputs[1] is not None else ''}", site_of(node))
                )
                continue
            verdict = decide(
                inputs[x.name or ""],
                weight,
                ops.coding_of(node),
                arch,
                masks,
                threshold=self.threshold,
                fewer_bits=self.fewer_bits,
                zero_point=zero_point_of(x),
            )
            if verdict.masking is None or verdict.zeros is None:
                misses.append(Miss(verdict.reason, site_of(node)))
                continue
            decisions[site_of(node)] = {
                "granularity": verdict.masking.granularity,
                "group": verdict.masking.group,
                "threshold": self.threshold,
                "fewer_bits": self.fewer_bits,
                "sparsity": round(verdict.zeros.sparsity, 4),
                "enabled": round(verdict.zeros.enabled, 4),
                "energy": round(verdict.energy, 4),
                "why": verdict.reason,
            }
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses))

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """Set the masks' attributes, product by product."""
        plan.check_fits(self.name, fingerprint(program))
        by_site = {site_of(node): node for node in products(program)}
        for site, decision in plan.decisions.items():
            node = by_site.get(site)
            if node is None:
                raise PlanError(f"There is no product on crossbars at {site}.", place=site, remedy="Make the plan again.")
            coding = _with_masks(ops.coding_of(node), decision, site)
            yield Rewrite.edit(site, str(decision.get("why", "as the plan says")), _setter(node, coding), anchor=node)


def _with_masks(coding: Coding, decision: Decision, site: str) -> Coding:
    granularity, group = decision.get("granularity"), decision.get("group", coding.masking.group)
    threshold, fewer_bits = decision.get("threshold", coding.masking.threshold), decision.get("fewer_bits", False)
    if granularity not in MASKS or not isinstance(group, int) or not isinstance(threshold, (int, float)) or group < 1:
        raise PlanError(
            f"Not a decision of disable_cells: {dict(decision)}.", place=site, remedy=f"granularity is one of {', '.join(MASKS)}."
        )
    masking = replace(
        coding.masking,
        granularity=granularity,
        group=group,
        threshold=float(threshold),
        fewer_bits=bool(fewer_bits),
    )
    return replace(coding, masking=masking)


def _setter(node: onnx_ir.Node, coding: Coding) -> Callable[[Editor], None]:
    """Sets the attributes of a coding's masks."""

    def change(editor: Editor) -> None:
        for name, value in ops.coding_attributes(coding).items():
            if name.startswith("mask_"):
                editor.set_attribute(node, name, value)

    return change
