"""What an operator's attributes and shape inputs must become once units are gone, by operator."""

from netwright.passes.prune.removal.mend import attributes, norms, places, shapes
from netwright.passes.prune.removal.mend.table import Change, mend_for

__all__ = ["Change", "attributes", "mend_for", "norms", "places", "shapes"]
