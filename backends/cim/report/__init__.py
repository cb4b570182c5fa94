"""Reports of runs on chips."""

from netwright.backends.cim.report.host import HostPart
from netwright.backends.cim.report.layers import Layer
from netwright.backends.cim.report.model import ChipReport

__all__ = ["ChipReport", "HostPart", "Layer"]
