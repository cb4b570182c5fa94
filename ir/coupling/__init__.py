"""Coupling: which indices of which axes must be removed together, and which can never be."""

from netwright.ir.coupling.analysis import coupling
from netwright.ir.coupling.group import PRODUCING, Coupling, Group, Kind, Role, Slice, ValueAxis

__all__ = ["PRODUCING", "Coupling", "Group", "Kind", "Role", "Slice", "ValueAxis", "coupling"]
