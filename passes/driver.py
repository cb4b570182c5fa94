"""The worklist driver: runs local rules together to a fixpoint.

Nodes are looked at in graph order; after an action, only what it touched is looked at again. Cost is linear in nodes
plus actions, with one dictionary look-up for a node at which no rule looks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable

import onnx_ir

from netwright.ir.errors import NetwrightError
from netwright.ir.program import Program
from netwright.passes.rewrite import Applied, Miss, Rewrite
from netwright.passes.rules import RuleIndex

LOOP_LIMIT = 200
"""Actions at one site after which two rules are taken to chase each other."""


class RuleLoopError(NetwrightError):
    """Rules undo each other's work without end; the message names them."""


def drive(
    program: Program, index: RuleIndex, seeds: Iterable[onnx_ir.Node] | None = None
) -> Generator[Rewrite | Miss, Applied | None, tuple[onnx_ir.Node, ...]]:
    """Yield rewrites until no rule matches any more, then the misses of sites that are still there.

    Args:
        program: seen, never changed, from here.
        index: the rules.
        seeds: the nodes to start from; all nodes of all graphs where not given.

    Returns:
        The nodes touched by applied rewrites.

    Raises:
        RuleLoopError: more than `LOOP_LIMIT` actions happened at one site.
    """
    start = [node for node in (program.nodes() if seeds is None else seeds) if index.at(node)]
    work = deque(start)
    queued = set(start)
    misses: dict[tuple[str, onnx_ir.Node], Miss] = {}
    history: dict[str, list[str]] = {}
    touched: dict[onnx_ir.Node, None] = {}
    while work:
        node = work.popleft()
        queued.discard(node)
        for rule in index.at(node):
            if node.graph is None:
                break
            found = rule.match(node, program)
            if found is None:
                misses.pop((rule.name, node), None)
                continue
            if isinstance(found, Miss):
                misses[rule.name, node] = Miss(found.reason, found.site, found.rule or rule.name)
                continue
            misses.pop((rule.name, node), None)
            applied = yield found.named(rule.name)
            if applied is None:
                continue
            _check_loop(history, applied.action.site, rule.name)
            for neighbour in (*applied.touched, node):
                touched[neighbour] = None
                if neighbour.graph is not None and neighbour not in queued and index.at(neighbour):
                    queued.add(neighbour)
                    work.append(neighbour)
            break
    for (_, node), miss in misses.items():
        if node.graph is not None:
            yield miss
    return tuple(node for node in touched if node.graph is not None)


def _check_loop(history: dict[str, list[str]], site: str, rule: str) -> None:
    at_site = history.setdefault(site, [])
    at_site.append(rule)
    if len(at_site) <= LOOP_LIMIT:
        return
    chasing = ", ".join(name for name, _ in Counter(at_site[-20:]).most_common(2))
    raise RuleLoopError(
        f"Rules chase each other: {LOOP_LIMIT} actions at one site, lately by {chasing}.",
        place=site,
        remedy="Leave one of them out of the pipeline and report this.",
    )
