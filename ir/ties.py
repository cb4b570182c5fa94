"""Sharing: weights that several nodes read, and equal weights that are stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir

from netwright.ir.digest import digest
from netwright.ir.opinfo import is_float, site
from netwright.ir.program import Program

TWIN_BYTES = 4096
"""Tensors of fewer bytes are not looked at for twins: small ones are often equal by chance."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A weight with several readers: its name, and the sites of the nodes that read it."""

    name: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Twins:
    """Weights of equal content, stored apart; `transposed` names those that equal the first one's transpose."""

    names: tuple[str, ...]
    transposed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ties:
    """What is shared in a program.

    Attributes:
        ties: weights of rank 2 and up with several readers: they change as one.
        accidental: vectors and scalars with several readers: exporters merge equal ones; split before anything changes them.
        twins: ties that the export lost.
    """

    ties: tuple[Shared, ...]
    accidental: tuple[Shared, ...]
    twins: tuple[Twins, ...]

    def to_dict(self) -> dict[str, list[dict[str, str | list[str]]]]:
        """The same as JSON."""

        def listed(shared: tuple[Shared, ...]) -> list[dict[str, str | list[str]]]:
            return [{"name": item.name, "readers": list(item.readers)} for item in shared]

        twins: list[dict[str, str | list[str]]] = [{"names": list(t.names), "transposed": list(t.transposed)} for t in self.twins]
        return {"ties": listed(self.ties), "accidental": listed(self.accidental), "twins": twins}


def ties(program: Program) -> Ties:
    """Find what is shared. Reads samples of large weights, and the whole of those that look equal.

    A weight read through a Transpose of its own counts once for each reader, like any other; only float weights count as
    accidental, for shapes and axes are shared on purpose.
    """
    found: list[Shared] = []
    accidental: list[Shared] = []
    weights: list[onnx_ir.Value] = []
    for value in _weights(program):
        tensor = value.const_value
        if tensor is None:
            continue
        weights.append(value)
        readers = tuple(dict.fromkeys(site(use.node) for use in value.uses()))
        if len(readers) < 2:
            continue
        if len(tensor.shape) >= 2:
            found.append(Shared(value.name or "", readers))
        elif is_float(tensor.dtype):
            accidental.append(Shared(value.name or "", readers))
    return Ties(tuple(found), tuple(accidental), tuple(_twins(weights)))


def _weights(program: Program) -> Iterator[onnx_ir.Value]:
    yield from program.initializers()


def _twins(weights: list[onnx_ir.Value]) -> Iterator[Twins]:
    """Equal tensors, up to transposition; candidates by type, size and dimensions, then compared in full."""
    groups: dict[tuple[object, ...], list[onnx_ir.Value]] = {}
    for value in weights:
        tensor = value.const_value
        if tensor is None or tensor.nbytes < TWIN_BYTES or len(tensor.shape) < 2 or tensor.dtype == onnx_ir.DataType.STRING:
            continue
        dims = tensor.shape.numpy()
        groups.setdefault((tensor.dtype, tuple(sorted(dims)) if len(dims) == 2 else dims), []).append(value)
    for group in groups.values():
        if len(group) > 1:
            yield from _equal_ones(group)


def _equal_ones(group: list[onnx_ir.Value]) -> Iterator[Twins]:
    by_digest: dict[tuple[int, ...], list[onnx_ir.Value]] = {}
    for value in group:
        by_digest.setdefault(_sample(value), []).append(value)
    for candidates in by_digest.values():
        while len(candidates) > 1:
            first, *others = candidates
            equal, turned = [first], list[onnx_ir.Value]()
            for other in others:
                relation = _relation(first, other)
                if relation:
                    (turned if relation == "transposed" else equal).append(other)
            if len(equal) + len(turned) > 1:
                names = tuple(value.name or "" for value in (*equal, *turned))
                yield Twins(names, tuple(value.name or "" for value in turned))
            candidates = [value for value in others if value not in equal and value not in turned]


def _sample(value: onnx_ir.Value) -> tuple[int, ...]:
    """A few bytes that are the same for a matrix and its transpose: the corners of the diagonal; for others the digest."""
    tensor = value.const_value
    if tensor is None:
        return ()
    if len(tensor.shape) != 2:
        return tuple(digest(tensor, size=8).encode())
    array = tensor.numpy()
    last = min(array.shape) - 1
    steps = [last * step // 7 for step in range(8)]
    return tuple(np.ascontiguousarray(array[steps, steps]).tobytes())


def _relation(first: onnx_ir.Value, other: onnx_ir.Value) -> str:
    if first.const_value is None or other.const_value is None:
        return ""
    a, b = first.const_value.numpy(), other.const_value.numpy()
    if a.shape == b.shape and np.array_equal(a, b):
        return "equal"
    return "transposed" if a.ndim == 2 and a.shape == b.shape[::-1] and np.array_equal(a, b.T) else ""
