"""The pass `resequence`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir

from netwright.backends.cim import ops
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.coding.model import Coding
from netwright.backends.cim.coding.slicing import columns_of, input_places
from netwright.backends.cim.cost.adc import conversion
from netwright.backends.cim.sparsity.grouping import grouped, order_for_readers
from netwright.backends.cim.sparsity.rebuilding import Target, course_of, obstacle, rebuild
from netwright.backends.cim.sparsity.samples import inputs_of, products
from netwright.backends.cim.sparsity.sequencing import Group, Sequencing, sequence
from netwright.backends.cim.target import arch_of
from netwright.ir.errors import ContractError, PipelineError, PlanError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.program import Program, array
from netwright.passes.base import PlannedPass, Proposals
from netwright.passes.context import Context
from netwright.passes.numerics import Lossy, Numerics
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Miss, Rewrite, site_of


@dataclass(frozen=True, kw_only=True)
class Resequence(PlannedPass):
    """Reorder rows and columns of weights on crossbars, so that zeros fill whole rows, columns and arrays, or groups of rows, which rest.

    By the weights' zeros: columns of zeros go; columns whose weights stand in the same rows share arrays; rows that an array's columns do
    not need are taken out of it (of a convolution, whole channels), and its inputs are gathered in the order that is left. The order of
    columns goes on into scalings and into the rows of the products that read them, where the operators between let it.
    By the inputs' zeros, on chips that switch rows in groups: channels that are often 0 together, on calibration data, become neighbours,
    as columns of the product that makes them and rows of those that read them; `disable_cells` then finds more groups that rest.
    Integer products stay what they are; where conversions lose something, other rows share one, so that they lose something else.
    Source: US 12,288,142 B2 (weight path; resequencing by the input's sparsity).
    """

    name: ClassVar[str] = "resequence"
    numerics: ClassVar[Numerics] = Lossy("metric")

    threshold: float = 0.5
    """Share of zeros among a product's weights (or its readers' inputs) that must be exceeded; apart from that of `disable_cells`."""
    by: Literal["weights", "inputs"] = "weights"
    """Whose zeros are brought together."""

    def check(self) -> None:
        """Refuse options that mean nothing."""
        if not 0.0 <= self.threshold <= 1.0:
            raise PipelineError(f"threshold is {self.threshold}.", place=self.name, remedy="Give a share from 0 to 1.")
        if self.by not in ("weights", "inputs"):
            raise PipelineError(f"by is {self.by!r}.", place=self.name, remedy="'weights' or 'inputs'.")

    def needs(self) -> frozenset[str]:
        """The chip: how large its arrays are; by the inputs' zeros also data to measure them on, and what runs the program."""
        if self.plan is not None:
            return frozenset()
        return frozenset({"target"} if self.by == "weights" else {"target", "calibration", "executor"})

    def make_plan(self, program: Program, context: Context) -> Plan:
        """A decision for each product that another order serves."""
        arch = arch_of(context.target)
        if arch is None:
            remedy = "Compile for a chip: --target cim:NAME."
            raise ContractError("How large arrays are is the chip's to say.", place=self.name, remedy=remedy)
        decisions: dict[str, Decision] = {}
        misses: list[Miss] = []
        nodes = products(program)
        decide = self._by_weights(arch) if self.by == "weights" else self._by_inputs(program, nodes, arch, context)
        for node in nodes:
            found = decide(node)
            if isinstance(found, str):
                misses.append(Miss(found, site_of(node)))
            else:
                decisions[site_of(node)] = found
        if not nodes:
            nothing = "no product stands on crossbars: put the pass behind crossbars, and that behind quantize(scheme='static')"
            misses.append(Miss(nothing, "graph"))
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses))

    def carry_out(self, program: Program, plan: Plan) -> Proposals:
        """Rebuild product after product."""
        plan.check_fits(self.name, fingerprint(program))
        for site, decision in plan.decisions.items():
            node = next((one for one in products(program) if site_of(one) == site), None)
            weight = None if node is None else array(node.inputs[1])
            if node is None or weight is None:
                raise PlanError(f"There is no product on crossbars at {site}.", place=site, remedy="Make the plan again.")
            target = Target.of(node)
            if "order" in decision:
                ordered = _ordered(decision, weight, site)
                yield Rewrite.edit(site, _why_ordered(decision), rebuild(target, weight, ordered), anchor=node)
                continue
            block, width = decision.get("rows"), decision.get("columns")
            if not isinstance(block, int) or not isinstance(width, int) or block < 1 or width < 1:
                raise PlanError(f"Not a decision of resequence: {dict(decision)}.", place=site, remedy="rows and columns are an array's.")
            found = sequence(weight, block, width, places=target.places, reorder=decision.get("reorder") is not False)
            yield Rewrite.edit(site, _why(weight, found, target), rebuild(target, weight, found), anchor=node)

    def _by_weights(self, arch: Arch) -> Callable[[onnx_ir.Node], Decision | str]:
        return lambda node: self._decide(node, arch)

    def _by_inputs(
        self, program: Program, nodes: list[onnx_ir.Node], arch: Arch, context: Context
    ) -> Callable[[onnx_ir.Node], Decision | str]:
        masks, size = grouped(arch), arch.array.disabling.group
        if masks is None or size < 2:
            listed = ", ".join(arch.array.disabling.granularities)
            alone = f"the chip {arch.name} switches no groups of rows (it offers {listed}): which rows are neighbours changes nothing"
            return lambda node: alone
        inputs = inputs_of(program, nodes, context) if nodes else {}

        def decide(node: onnx_ir.Node) -> Decision | str:
            if array(node.inputs[1]) is None:
                return f"its weight is not constant: %{node.inputs[1].name if node.inputs[1] is not None else ''}"
            found = order_for_readers(Target.of(node), inputs, masks, size, self.threshold)
            if isinstance(found, str):
                return found
            return {
                "order": [int(column) for column in found.columns],
                "masks": masks,
                "group": size,
                "readers": found.readers,
                "zeros": round(found.zeros, 4),
                "rest_before": round(found.before, 4),
                "rest": round(found.after, 4),
            }

        return decide

    def _decide(self, node: onnx_ir.Node, arch: Arch) -> Decision | str:
        weight = array(node.inputs[1])
        if weight is None:
            return f"its weight is not constant: %{node.inputs[1].name if node.inputs[1] is not None else ''}"
        coding = ops.coding_of(node)
        if coding.encoding == "xnor":
            return "its weights are ±1, which has no zeros (XNOR)"
        zeros = float((weight == 0).mean())
        if zeros <= self.threshold:
            return f"{zeros:.1%} of its weights are 0, which does not exceed the threshold of {self.threshold:.1%}"
        block, width = array_size(coding, arch)
        target = Target.of(node)
        found, reorder = sequence(weight, block, width, places=target.places), True
        reason = obstacle(target, found)
        if reason:
            return reason
        course = course_of(target, found)
        if found.arrays == found.arrays_before and not _pays(found, coding, arch, back=isinstance(course, str)):
            found, reorder = sequence(weight, block, width, places=target.places, reorder=False), False
        if not len(found.idle) and found.rows_freed == 0.0:
            idle = int((weight == 0).all(axis=0).sum())
            some = f" ({idle} columns do, and moving the others' bytes costs more: prune removes them)" if idle else ""
            return (
                f"{zeros:.1%} of its weights are 0, but in no order of columns does a row or column of its {found.arrays} arrays of "
                f"{block} × {width} weights rest{some}{_conducting(coding)}"
            )
        return {
            "rows": block,
            "columns": width,
            "reorder": reorder,
            "zeros": round(zeros, 4),
            "arrays_before": found.arrays_before,
            "arrays": found.arrays,
            "rows_freed": round(found.rows_freed, 4),
            "columns_freed": len(found.idle),
        }


def array_size(coding: Coding, arch: Arch) -> tuple[int, int]:
    """Rows of an array that are read at once, and weights that stand side by side in it."""
    return coding.rows, max(1, arch.array.columns // columns_of(coding))


def _pays(found: Sequencing, coding: Coding, arch: Arch, *, back: bool) -> bool:
    """True where fewer conversions save more than moving an output's bytes together (and `back` in order) costs, for each vector."""
    rows, outputs = found.shape
    before = -(-rows // coding.rows) * outputs
    after = sum(-(-len(group.rows) // coding.rows) * len(group.columns) for group in found.groups)
    saved = (before - after) * columns_of(coding) * len(input_places(coding)) * conversion(arch).energy_pj
    memory = arch.tile.memory
    moved = outputs * (memory.read_pj_per_byte + memory.write_pj_per_byte) * (2 if back else 1)
    return saved > moved


def _why(weight: np.ndarray, found: Sequencing, target: Target) -> str:
    course = course_of(target, found)
    kept = f"{found.rows_freed:.1%} of rows and {len(found.idle)} of {weight.shape[1]} columns rest"
    way = "" if not found.moves else f"; columns put back in order, as {course}" if isinstance(course, str) else "; readers follow"
    return f"{kept}, {found.arrays_before} → {found.arrays} arrays in {len(found.groups)} groups of columns{way}"


def _ordered(decision: Decision, weight: np.ndarray, site: str) -> Sequencing:
    """All rows, and the columns in the order of a decision."""
    listed, outputs = decision["order"], weight.shape[1]
    columns = [one for one in listed if isinstance(one, int)] if isinstance(listed, list) else []
    if sorted(columns) != list(range(outputs)):
        raise PlanError(f"The order is not one of {outputs} columns.", place=site, remedy=f"Each number from 0 to {outputs - 1} once.")
    order = np.array(columns, np.int64)
    return Sequencing((Group(np.array(range(len(weight)), np.int64), order),), order[:0], (len(weight), outputs), 0, 0)


def _why_ordered(decision: Decision) -> str:
    shares = " → ".join(f"{share:.1%}" for key in ("rest_before", "rest") if isinstance(share := decision.get(key), float))
    return f"columns in the order of its readers' inputs: {shares} of their rows rest by {decision.get('masks')} of {decision.get('group')}"


def _conducting(coding: Coding) -> str:
    if coding.encoding != "offset":
        return ""
    return "; in offset encoding a weight of 0 is stored as half the range, so that its top cell conducts"
