"""What passes learn from running a model: second moments of activations, streamed, and the rows that layers see."""

from netwright.passes.statistics.feeds import Repeated, feeds_of, pieces, places
from netwright.passes.statistics.layers import LinearLayer, constant_root, layer_of
from netwright.passes.statistics.moments import Moments
from netwright.passes.statistics.observe import observe
from netwright.passes.statistics.positive import solve_positive
from netwright.passes.statistics.seen import Seen
from netwright.passes.statistics.views import Channels, Entries, Patches, Rows, States, View
from netwright.passes.statistics.windows import Window

__all__ = [
    "Channels",
    "Entries",
    "LinearLayer",
    "Moments",
    "Patches",
    "Repeated",
    "Rows",
    "Seen",
    "States",
    "View",
    "Window",
    "constant_root",
    "feeds_of",
    "layer_of",
    "observe",
    "pieces",
    "places",
    "solve_positive",
]
