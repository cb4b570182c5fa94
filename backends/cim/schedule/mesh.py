"""Ways through the mesh: along a row first, then along a column, so that messages never wait for each other in a circle."""

from __future__ import annotations

from netwright.backends.cim.arch.model import Network

PORT = 0
"""The tile at which outer memory is."""


def route(network: Network, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Directed links (from tile, to tile) from one tile to another."""
    x, y = start % network.columns, start // network.columns
    to_x, to_y = end % network.columns, end // network.columns
    links: list[tuple[int, int]] = []
    here = start
    while x != to_x:
        x += 1 if to_x > x else -1
        links.append((here, y * network.columns + x))
        here = links[-1][1]
    while y != to_y:
        y += 1 if to_y > y else -1
        links.append((here, y * network.columns + x))
        here = links[-1][1]
    return tuple(links)


def hops(network: Network, start: int, end: int) -> int:
    """Routers passed."""
    return abs(start % network.columns - end % network.columns) + abs(start // network.columns - end // network.columns)


def byte_hops(network: Network, start: int, end: int, payload: int, packets: int) -> int:
    """Bytes times routers passed: what all links on the way carry together, a header for each packet included."""
    return (payload + packets * network.header_bytes) * hops(network, start, end)
