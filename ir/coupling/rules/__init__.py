"""What operators do to axes, by operator: which axes of their inputs and outputs must change together.

Supporting an operator is adding a rule to the file of its family and a test. The rules are those of DepGraph (Fang et al., CVPR 2023)
in spirit, index by index rather than layer by layer.
"""

from netwright.ir.coupling.rules import attention, control, elementwise, linear, moving, norms, recurrent, reducing, reshaping, windows
from netwright.ir.coupling.rules.table import rule_for

__all__ = ["attention", "control", "elementwise", "linear", "moving", "norms", "recurrent", "reducing", "reshaping", "rule_for", "windows"]
