"""Layouts are part of programs: see `netwright.backends.cim.program.layout`."""

from netwright.backends.cim.program.layout import AxisLayout, Box, Layout, block_layout

__all__ = ["AxisLayout", "Box", "Layout", "block_layout"]
