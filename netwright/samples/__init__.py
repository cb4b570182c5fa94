"""Inputs made up from a program's signature, for checks and latency where no data is given."""

from netwright.samples.find import find_feeds, sample_feeds
from netwright.samples.sizes import parse_shapes

__all__ = ["find_feeds", "parse_shapes", "sample_feeds"]
