"""Runs ChipPrograms: bit by bit, counting what the hardware does."""

from netwright.backends.cim.simulator.activity import Activity, RegionLoader, Runner, Trace
from netwright.backends.cim.simulator.machine import Machine
from netwright.backends.cim.simulator.running import Progress

__all__ = ["Activity", "Machine", "Progress", "RegionLoader", "Runner", "Trace"]
