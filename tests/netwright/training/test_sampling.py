"""Which rows come in which batch: every form of data, several processes, going on in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.data import DataLike, as_batches
from netwright.ir.errors import DataError
from netwright.training.randomness import with_own_draws
from netwright.training.sampling import Part, Share, TrainingData
from tests.netwright.training.support import FEATURES, classifier

Rows = list[list[int]]


def numbered(rows: int) -> dict[str, np.ndarray]:
    """Rows whose label is their number."""
    return {"x": np.zeros((rows, FEATURES), np.float32), "labels": np.arange(rows)}


def batches_of(rows: int, size: int) -> list[dict[str, np.ndarray]]:
    """The same as a list of batches."""
    whole = numbered(rows)
    return [{name: array[start : start + size] for name, array in whole.items()} for start in range(0, rows, size)]


def epoch(data: TrainingData, *, number: int = 0, share: Share | None = None, accumulate: int = 1, skip: int = 0, seed: int = 0) -> Rows:
    """The row numbers of each step, with those of accumulated batches together."""
    steps = data.steps(seed=seed, epoch=number, share=share or Share(), accumulate=accumulate, skip=skip)
    return [[int(row) for part in parts if part.weight for row in part.batch["labels"]] for parts in steps]


def flat(rows: Rows) -> list[int]:
    return [one for some in rows for one in some]


def test_rows_are_shuffled_anew_in_every_epoch_and_none_is_left_out() -> None:
    data = TrainingData(numbered(70), classifier(), batch_size=16)
    first, second = epoch(data), epoch(data, number=1)
    assert [len(some) for some in first] == [16, 16, 16, 16, 6]
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(70))
    assert flat(first) != flat(second)
    assert flat(first) != list(range(70))
    assert data.count(Share(), 1) == 5


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    one, other = (TrainingData(numbered(40), classifier(), batch_size=8) for _ in range(2))
    epoch(one)
    assert epoch(one, number=3) == epoch(other, number=3)
    assert epoch(one, number=3, seed=1) != epoch(other, number=3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_going_on_in_the_middle_gives_the_rest_of_the_epoch(accumulate: int) -> None:
    for given in (numbered(50), batches_of(50, 8), lambda: iter(batches_of(50, 8))):
        data = TrainingData(given, classifier())
        whole = epoch(data, accumulate=accumulate)
        assert epoch(data, accumulate=accumulate, skip=1) == whole[1:]


def test_arrays_that_hold_everything_are_cut_by_32_where_nothing_is_said() -> None:
    assert [len(some) for some in epoch(TrainingData(numbered(70), classifier()))] == [32, 32, 6]


def test_lists_of_batches_are_shuffled_in_their_order_and_stay_whole() -> None:
    data = TrainingData(batches_of(40, 8), classifier())
    found = epoch(data)
    assert sorted(found) == [list(range(start, start + 8)) for start in range(0, 40, 8)]
    assert found != sorted(found)
    assert data.describe() == "5 batches"


def test_items_of_a_list_are_cut_where_a_batch_size_is_given() -> None:
    found = epoch(TrainingData(batches_of(40, 20), classifier(), batch_size=8))
    assert [len(some) for some in found] == [8, 8, 4, 8, 8, 4]
    assert sorted(flat(found)) == list(range(40))


def test_streams_are_taken_as_they_come() -> None:
    data = TrainingData(lambda: iter(batches_of(40, 8)), classifier())
    assert flat(epoch(data)) == flat(epoch(data, number=1)) == list(range(40))
    assert data.is_stream
    assert data.count(Share(), 2) == 3


def test_a_generator_of_unknown_length_asks_for_steps() -> None:
    data = TrainingData((one for one in batches_of(16, 8)), classifier())
    with pytest.raises(DataError, match="Give steps=N"):
        data.count(Share(), 1)
    assert flat(epoch(data)) == list(range(16))


def test_files_of_a_folder_are_shuffled_and_so_are_their_rows(tmp_path: Path) -> None:
    for index, batch in enumerate(batches_of(60, 20)):
        np.savez(tmp_path / f"part{index}.npz", allow_pickle=False, **batch)
    data = TrainingData(tmp_path, classifier(), batch_size=20)
    found = epoch(data)
    assert sorted(sorted(some) for some in found) == [list(range(start, start + 20)) for start in range(0, 60, 20)]
    assert all(some != sorted(some) for some in found)
    assert data.describe() == "60 rows"
    assert [len(batch["labels"]) for batch in data] == [20, 20, 20]


def test_a_stack_of_batches_is_shuffled_by_batches() -> None:
    stacked = {"x": np.zeros((3, 4, FEATURES), np.float32), "labels": np.arange(12).reshape(3, 4)}
    found = epoch(TrainingData(stacked, classifier()))
    assert sorted(found) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_program_with_a_fixed_batch_gets_full_batches_only() -> None:
    found = epoch(TrainingData(numbered(30), classifier(batch="8")))
    assert [len(some) for some in found] == [8, 8, 8]
    assert len(set(flat(found))) == 24
    with pytest.raises(DataError, match="takes 8 rows at a time, not 4"):
        epoch(TrainingData(numbered(30), classifier(batch="8"), batch_size=4))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("rows", [48, 50, 33])
def test_processes_share_out_what_one_would_take_in_larger_batches(count: int, rows: int) -> None:
    alone = epoch(TrainingData(numbered(rows), classifier(), batch_size=8 * count))
    data = TrainingData(numbered(rows), classifier(), batch_size=8)
    shares = [epoch(data, share=Share(rank, count)) for rank in range(count)]
    assert {len(one) for one in shares} == {len(alone)}
    for step, expected in enumerate(alone):
        assert flat([one[step] for one in shares]) == expected


def steps_of(data: TrainingData, share: Share, accumulate: int) -> list[tuple[Part, ...]]:
    return list(data.steps(seed=0, epoch=0, share=share, accumulate=accumulate))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_make_the_mean_over_processes_the_mean_over_rows(accumulate: int) -> None:
    data = TrainingData(numbered(21), classifier(), batch_size=4)
    per_process = [steps_of(data, Share(rank, 2), accumulate) for rank in range(2)]
    for parts in zip(*per_process, strict=True):
        together = [part for some in parts for part in some]
        rows = sum(len(part.batch["labels"]) for part in together if part.weight)
        mean = sum(part.weight * part.batch["labels"].mean() for part in together) / 2
        assert mean == pytest.approx(sum(part.batch["labels"].sum() for part in together if part.weight) / rows)


@pytest.mark.parametrize("stream", [False, True])
def test_a_process_without_a_batch_keeps_company_and_counts_nothing(stream: bool) -> None:
    batches = batches_of(24, 8)
    data = TrainingData((lambda: iter(batches)) if stream else batches, classifier())
    last = [steps_of(data, Share(rank, 2), 1)[-1][0] for rank in range(2)]
    assert [part.weight for part in last] == [2.0, 0.0]
    assert all(len(part.batch["labels"]) == 8 for part in last)


def test_a_shuffling_loader_draws_from_its_own_generator() -> None:
    rows = torch.utils.data.TensorDataset(torch.zeros(32, FEATURES), torch.arange(32))
    data = TrainingData(torch.utils.data.DataLoader(rows, batch_size=4, shuffle=True), classifier())

    def go(number: int, skip: int = 0) -> Rows:
        steps: Iterator[tuple[Part, ...]] = data.steps(seed=0, epoch=number, share=Share(), skip=skip)
        return [[int(row) for row in parts[0].batch["labels"]] for parts in with_own_draws(steps, 0, number)]

    state = torch.get_rng_state()
    first = go(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert go(0) == first
    assert go(0, skip=3) == first[3:]
    assert go(1) != first
    assert sorted(flat(first)) == list(range(32))
    assert data.count(Share(), 1) == 8


def test_batches_made_elsewhere_are_taken_as_they_are() -> None:
    batches = as_batches(batches_of(16, 8), classifier())
    assert epoch(TrainingData(batches, classifier())) == [list(range(8)), list(range(8, 16))]
    assert [len(some) for some in epoch(TrainingData(batches, classifier(), batch_size=4))] == [4, 4, 4, 4]


BAD: dict[str, DataLike] = {
    "arrays disagree": {"x": np.zeros((4, FEATURES), np.float32), "labels": np.arange(5)},
    "no row": {"x": np.zeros((0, FEATURES), np.float32), "labels": np.arange(0)},
}


@pytest.mark.parametrize("message", BAD)
def test_data_that_does_not_fit_is_refused(message: str) -> None:
    with pytest.raises(DataError, match=message):
        epoch(TrainingData(BAD[message], classifier()))
    with pytest.raises(DataError, match="no batch"):
        TrainingData([], classifier())
