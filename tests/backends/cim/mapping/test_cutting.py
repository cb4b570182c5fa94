"""Which axes a region may be cut along: those where what is left has the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.mapping.cutting import cut_axes
from netwright.backends.cim.mapping.regions import Piece
from netwright.backends.cim.mapping.seams import cut_to_fit
from netwright.backends.cim.mapping.tracks import follow
from netwright.ir.program import Program
from tests.backends.cim.mapping.graphs import FLOAT, Net, small_arch

ROWS, WIDTH = 6, 4


def region(op: str, shape: tuple[int, ...], *constants: tuple[int, ...]) -> Program:
    """One operator on x and constants of some shapes."""
    net = Net(np.random.default_rng(0))
    held = [net.constant(f"c{n}", net.rng.normal(size=one).astype(np.float32)) for n, one in enumerate(constants)]
    return net.program({"x": (FLOAT, shape)}, {net.node(op, "x", *held): FLOAT})


def axes(program: Program) -> tuple[int, ...]:
    _, stages, facts = cut_to_fit(program, small_arch())
    (piece,) = stages
    assert isinstance(piece, Piece)
    return cut_axes(piece, facts.tensors)


@pytest.mark.parametrize(("op", "constants"), [("Gemm", [(WIDTH, 3)]), ("Gemm", [(WIDTH, 3), (3,)]), ("MatMul", [(WIDTH, 3)])])
def test_rows_of_float_sums_beside_constants_are_not_cut_where_they_are_the_first_axis(op: str, constants: list[tuple[int, ...]]) -> None:
    program = region(op, (ROWS, WIDTH), *constants)
    node = next(iter(program.graph))

    assert follow(node, (0, *(None for _ in constants))) == (0,)  # rows are carried: only their number may change a sum's order
    assert axes(program) == ()


def test_rows_of_float_sums_are_not_cut_elsewhere_either() -> None:
    assert axes(region("MatMul", (1, ROWS, WIDTH), (WIDTH, 3))) == ()


def test_what_sums_nothing_is_cut_along_the_first_axis_too() -> None:
    assert axes(region("Add", (ROWS, WIDTH), (WIDTH,))) == (0,)
    assert set(axes(region("Add", (ROWS, WIDTH), (1,)))) == {0, 1}
