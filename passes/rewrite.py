"""The three forms of a rewrite, and what becomes of it.

A rewrite is the smallest change that leaves the graph valid: a site, a reason, and the change. A pass yields it; the
manager applies it in a transaction and sends back an `Applied`, or `None` where it declined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.ledger import Action, Miss

__all__ = ["Applied", "Miss", "Rewrite", "site_of"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A proposed change.

    Attributes:
        site: name of the first output of the node at which it happens.
        why: the reason, for the ledger.
        change: makes the change through the editor; an exception rolls it back.
        anchor: the node before which new nodes go, and whose provenance they inherit.
        rule: the rule that proposes it; the manager fills in the pass's name where empty.
    """

    site: str
    why: str
    change: Callable[[Editor], object]
    anchor: onnx_ir.Node | None = None
    rule: str = ""

    @classmethod
    def replace(cls, value: onnx_ir.Value, *, by: onnx_ir.Value, why: str, rule: str = "") -> Rewrite:
        """Route the readers of `value` to `by`, a value that exists already."""
        return cls(value.name or "", why, lambda editor: editor.replace(value, by), value.producer(), rule)

    @classmethod
    def build(
        cls,
        root: onnx_ir.Node,
        make: Callable[[Editor], onnx_ir.Value | Sequence[onnx_ir.Value]],
        *,
        why: str,
        rule: str = "",
        outputs: Sequence[onnx_ir.Value] | None = None,
    ) -> Rewrite:
        """Put new nodes in the place of matched ones.

        Args:
            root: the last matched node; new nodes go before it. What else the match covers dies with it if unread.
            make: makes the new nodes with the editor and returns what replaces `outputs`, in order.
            why: the reason, for the ledger.
            rule: name of the rule.
            outputs: the values to be replaced; the root's outputs where not given.
        """
        olds = tuple(root.outputs) if outputs is None else tuple(outputs)

        def change(editor: Editor) -> None:
            made = make(editor)
            news = (made,) if isinstance(made, onnx_ir.Value) else tuple(made)
            for old, new in zip(olds, news, strict=True):
                editor.replace(old, new)

        return cls(site_of(root), why, change, root, rule)

    @classmethod
    def edit(
        cls, site: str, why: str, change: Callable[[Editor], object], *, anchor: onnx_ir.Node | None = None, rule: str = ""
    ) -> Rewrite:
        """One coupled change in many places, as a transaction; value maps are recorded with `editor.map`."""
        return cls(site, why, change, anchor, rule)

    def named(self, rule: str) -> Rewrite:
        """The same rewrite under a rule's name, unless it has one."""
        return self if self.rule else replace(self, rule=rule)


@dataclass(frozen=True, slots=True)
class Applied:
    """What the manager sends back for a rewrite that it applied.

    Attributes:
        action: the ledger's entry.
        touched: nodes whose surroundings changed, for a driver to look at again.
    """

    action: Action
    touched: tuple[onnx_ir.Node, ...]


def site_of(node: onnx_ir.Node) -> str:
    """The name by which a node is known in ledgers and plans: that of its first output."""
    return (node.outputs[0].name if node.outputs else node.name) or ""
