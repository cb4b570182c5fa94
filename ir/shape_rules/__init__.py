"""netwright's own shape rules: where the package has none, or where it assumes more than is proven.

A rule is a function of a `Context` and a node that sets types, shapes and contents of the node's outputs. Other packages add rules
with `register`.
"""

from netwright.ir.shape_rules import broadcasting, contrib, moving, windows
from netwright.ir.shape_rules.moving import slice_length
from netwright.ir.shape_rules.table import has_rule, register, rule_for

__all__ = ["broadcasting", "contrib", "has_rule", "moving", "register", "rule_for", "slice_length", "windows"]
