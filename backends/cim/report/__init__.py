"""Reports of runs on chips."""

from netwright.backends.cim.report.layers import HostPart, Layer
from netwright.backends.cim.report.model import ChipReport

__all__ = ["ChipReport", "HostPart", "Layer"]
