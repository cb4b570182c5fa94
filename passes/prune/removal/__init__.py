"""Structural removal: units go, with all slices, attributes and shapes that must change with them."""

from netwright.passes.prune.removal.mend import Change
from netwright.passes.prune.removal.mend.table import RemovalError
from netwright.passes.prune.removal.remove import remove

__all__ = ["Change", "RemovalError", "remove"]
