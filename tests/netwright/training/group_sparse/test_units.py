"""Units as index arrays, held against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from netwright.ir.coupling import Group, Slice, coupling
from netwright.training.group_sparse import index_units
from netwright.training.group_sparse.units import Units, trainable
from tests.netwright.training.group_sparse.models import attention, lstm


def group(
    name: str, size: int, slices: tuple[Slice, ...], removable: np.ndarray | None = None, parts: tuple[np.ndarray, ...] | None = None
) -> Group:
    return Group(
        name=name,
        module="",
        kind="channels",
        size=size,
        slices=slices,
        values=(),
        frozen="",
        inexact="",
        removable=np.ones(size, bool) if removable is None else removable,
        parts=(np.arange(size),) if parts is None else parts,
        params=np.zeros(size, np.int64),
        macs=np.zeros(size),
    )


def held(weight: str, axis: int, units: list[int], role: str = "out") -> Slice:
    return Slice(weight, axis, role, np.array(units, np.int32), ())  # pyright: ignore[reportArgumentType]


def two_groups() -> tuple[Units, dict[str, torch.Tensor]]:
    """Gates (several indices to a unit), one axis shared by two groups, one weight with units on both axes, one unit that stays."""
    rng = np.random.default_rng(0)
    parameters = {
        name: torch.from_numpy(rng.normal(size=shape))
        for name, shape in {"gates": (6, 4), "bias": (7,), "square": (3, 4), "in": (5, 3)}.items()
    }
    a = group(
        "a", 3, (held("gates", 0, [0, 1, 2, 0, 1, 2]), held("bias", 0, [0, 1, 2, -1, -1, -1, -1], "shift"), held("in", 1, [0, 1, 2], "in"))
    )
    b = group(
        "b",
        4,
        (held("square", 1, [3, 2, 1, 0]), held("bias", 0, [-1, -1, -1, 0, 1, 2, 3], "shift"), held("square", 0, [0, 1, 2], "scale")),
        np.array([True, False, True, True]),
    )
    return index_units([(a, 1), (b, 2)], parameters), parameters


def by_loop(units: Units, parameters: dict[str, torch.Tensor]) -> list[list[torch.Tensor]]:
    """The slices of each unit, one by one."""
    found: list[list[torch.Tensor]] = []
    for one in units.ranges:
        for number in one.numbers:
            slices = [
                parameters[made.weight].select(made.axis, index)
                for made in one.group.producing
                for index, unit in enumerate(made.units)
                if unit == number
            ]
            found.append(slices)
    return found


def test_sums_are_those_of_a_loop_over_units() -> None:
    units, parameters = two_groups()
    slices = by_loop(units, parameters)
    assert units.count == 6
    assert [one.first for one in units.ranges] == [0, 3]
    np.testing.assert_array_equal(units.ranges[1].numbers, [0, 2, 3])
    expected = [sum(float(part.square().sum()) for part in each) for each in slices]
    np.testing.assert_allclose(units.sums(torch.square).numpy(), expected, rtol=1e-12)
    np.testing.assert_array_equal(units.sizes.numpy(), [sum(part.numel() for part in each) for each in slices])


def test_what_is_spread_reaches_the_slices_of_its_unit_and_nothing_else() -> None:
    units, parameters = two_groups()
    slices = by_loop(units, parameters)
    for number in range(units.count):
        values = torch.zeros(units.count, dtype=torch.float64)
        values[number] = 1.0
        touched = 0
        for parameter in units.places:
            for laid in units.spread(parameter, values, 0.0):
                touched += int(laid.expand_as(parameter).sum())
        assert touched == sum(part.numel() for part in slices[number])
    assert parameters["in"] not in units.places


def test_marked_units_come_back_under_the_numbers_of_their_group() -> None:
    units, _ = two_groups()
    flags = torch.tensor([False, True, False, False, True, True])
    assert units.by_group(flags) == {"a": (1,), "b": (2, 3)}


def test_a_unit_of_an_lstm_is_its_rows_of_all_gates_in_both_directions() -> None:
    program = lstm()
    found = program.fact(coupling).group("y")
    weights = {
        value.name or "": torch.from_numpy(value.const_value.numpy().copy()) for value in program.initializers() if value.const_value
    }
    units = index_units([(found, 8)], weights)
    unit = 5
    W, R, B = (weights[name].numpy().reshape(2, -1, 16, *weights[name].shape[2:])[:, :, unit] for name in ("W", "R", "B"))
    assert W.shape == (2, 4, 5)
    assert R.shape == (2, 4, 16)
    assert B.shape == (2, 8)
    np.testing.assert_allclose(float(units.sums(torch.square)[unit]), sum((part.astype(float) ** 2).sum() for part in (W, R, B)), rtol=1e-6)


def test_heads_and_features_within_them_share_numbers() -> None:
    program = attention()
    groups = [program.fact(coupling).group(name) for name in ("q0", "q0:heads")]
    weights = {
        value.name or "": torch.from_numpy(value.const_value.numpy().copy()) for value in program.initializers() if value.const_value
    }
    units = index_units([(one, 1) for one in groups], weights)
    total = float(weights["wq"].square().sum() + weights["wk"].square().sum())
    sums = units.sums(torch.square)
    np.testing.assert_allclose(float(sums[:8].sum()), total, rtol=1e-5)
    np.testing.assert_allclose(float(sums[8:].sum()), total + float(weights["wv"].square().sum()), rtol=1e-5)


def test_a_group_whose_weights_are_not_all_trained_is_left_with_the_reason() -> None:
    one = group("a", 2, (held("w", 0, [0, 1]), held("b", 0, [0, 1], "shift")))
    none = group("n", 2, (held("w", 0, [0, 1], "in"),))
    assert trainable([one, none], {"w": torch.zeros(2)}) == {
        "a": "%b, which makes its units, is not trained",
        "n": "no weight makes its units",
    }
    assert trainable([one], {"w": torch.zeros(2), "b": torch.zeros(2)}) == {}
