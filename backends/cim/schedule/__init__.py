"""Schedules: when everything happens, with contention."""

from netwright.backends.cim.schedule.model import Resource, Span, Timeline
from netwright.backends.cim.schedule.run import schedule

__all__ = ["Resource", "Span", "Timeline", "schedule"]
