"""Marks that one pass leaves on nodes, in their metadata, for another to read."""

CHAIN = "netwright.chain"
"""On every node of a chain that is one operator with folded channels (a tensor train, a Kronecker sum): the chain's own id."""
