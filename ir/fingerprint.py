"""A program's fingerprint: equal for equal structure, names and weights."""

from __future__ import annotations

from hashlib import blake2b

from netwright.ir.digest import digest
from netwright.ir.dump import dump
from netwright.ir.program import Program


def fingerprint(program: Program) -> str:
    """A stable hash, 32 hexadecimal digits, of a program's structure and weights.

    Names of values count, since plans go by them; so do operators, attributes, types, shapes, opsets, subgraphs, functions
    and the digests of weights (of large ones, samples: `netwright.ir.digest`). Names of nodes, provenance, the ledger and
    the place where weights are stored do not.
    """
    state = blake2b(dump(program, origins=False, actions=False, weights=False).encode(), digest_size=16)
    for value in program.initializers():
        if value.const_value is not None:
            state.update(digest(value.const_value, size=8).encode())
    return state.hexdigest()
