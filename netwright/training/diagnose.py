"""Where a loss that is not finite comes from: the batch is run again, node by node, and the first bad value is named."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import fx

from netwright.backends.torch.binding import KEY
from netwright.training.objective import Objective, TorchBatch


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that is not finite.

    Attributes:
        name: of the value in the Program.
        what: `NaN`, `inf` or `-inf`.
        op_type: what made it; empty for an input or a weight.
        place: module path and source line of the node, where known.
        reads: which of its inputs are not finite themselves, such as a mask of -inf.
    """

    name: str
    what: str
    op_type: str = ""
    place: str = ""
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        maker = f", {self.op_type}" if self.op_type else ""
        place = f" of {self.place}" if self.place else ""
        reads = f" (it reads {', '.join(self.reads)})" if self.reads else ""
        return f"%{self.name}{maker}{place}, has {self.what}{reads}"


def first_not_finite(objective: Objective, batch: TorchBatch, step: int) -> Finding | None:
    """The first value of a step, in the order of execution, that is not finite; None where only the loss itself is not.

    -inf alone is taken for a mask unless nothing else is wrong.

    Args:
        objective: whose module's GraphModules are watched.
        batch: as it was given to the step; torch's generators must be as they were too.
        step: number of the step.
    """
    for name, tensor in (*batch.items(), *objective.module.named_parameters()):
        if what := _flaw(tensor):
            return Finding(name, what)
    seen: list[Finding] = []
    with watched(objective.module, seen), torch.no_grad():
        objective.loss(objective.module, batch, step)
    return next((one for one in seen if one.what != "-inf"), seen[0] if seen else None)


@contextmanager
def watched(module: torch.nn.Module, findings: list[Finding]) -> Generator[None]:
    """Run every GraphModule in a module node by node, and note the values that are not finite."""
    with ExitStack() as stack:
        for one in module.modules():
            if isinstance(one, fx.GraphModule):
                stack.enter_context(_interpreted(one, findings))
        yield


@contextmanager
def _interpreted(module: fx.GraphModule, findings: list[Finding]) -> Generator[None]:
    own = vars(module).get("forward")
    interpreter = _Watcher(module, findings)
    vars(module)["forward"] = interpreter.run
    try:
        yield
    finally:
        if own is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = own


class _Watcher(fx.Interpreter):
    """Notes which nodes give values that are not finite."""

    def __init__(self, module: fx.GraphModule, findings: list[Finding]) -> None:
        super().__init__(module, garbage_collect_values=False)
        self._findings = findings
        self._flawed: dict[fx.Node, str] = {}

    def run_node(self, n: fx.Node) -> object:
        result: object = super().run_node(n)
        if n.op == "output":
            return result
        what = next((flaw for tensor in _tensors(result) if (flaw := _flaw(tensor))), "")
        if what:
            self._flawed[n] = what
            self._findings.append(self._finding(n, what))
        return result

    def _finding(self, node: fx.Node, what: str) -> Finding:
        facts = cast("Mapping[str, object]", node.meta.get(KEY, {}))
        place = " ".join(str(facts[key]) for key in ("module", "source") if facts.get(key))
        reads = tuple(f"%{_name(one)} with {self._flawed[one]}" for one in node.all_input_nodes if one in self._flawed)
        return Finding(_name(node), what, str(facts.get("op_type", "")), place, reads)


def _name(node: fx.Node) -> str:
    facts = cast("Mapping[str, object]", node.meta.get(KEY, {}))
    return str(facts.get("value", node.name))


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in cast("list[object]", value):
            yield from _tensors(one)


def _flaw(tensor: torch.Tensor) -> str:
    """`NaN`, `inf`, `-inf`, or nothing."""
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
        return ""
    if bool(torch.isnan(tensor).any()):
        return "NaN"
    return "inf" if bool(torch.isposinf(tensor).any()) else "-inf"
