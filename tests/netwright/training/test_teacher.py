"""A teacher gives the same on either runtime, and its outputs, once on disk, are found in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from netwright.ir.errors import DataError
from netwright.ir.maps import Mapped, Same, Take
from netwright.ir.program import Program
from netwright.training.cache import OutputCache, teacher_key
from netwright.training.errors import TrainingError
from netwright.training.matching import Pair
from netwright.training.objective import TorchBatch
from netwright.training.teacher import Runtime, Teacher
from tests.netwright.training.encoders import encoder, sentences
from tests.passes.programs import lstm

OUTPUT = Pair("logits", Mapped(Same(), ("logits",)), "output")


def batch_of(rows: Sequence[int]) -> TorchBatch:
    data = sentences()
    return {"ids": torch.from_numpy(data["ids"][list(rows)]), "labels": torch.from_numpy(data["labels"][list(rows)])}


def teacher(
    cache: Path | None = None, *, program: Program | None = None, pairs: Sequence[Pair] = (OUTPUT,), runtime: Runtime = "auto"
) -> Teacher:
    return Teacher(program or encoder(), pairs, ("ids",), runtime=runtime, cache=cache, threads=1)


def keep(cache: Path, rows: Sequence[int]) -> dict[str, torch.Tensor]:
    """What a teacher gives for rows, and writes down."""
    return teacher(cache).targets(batch_of(rows))


def test_both_runtimes_give_the_same() -> None:
    pairs = (OUTPUT, Pair("n1", Mapped(Same(), ("n1",)), "hidden"))
    first, second = (teacher(pairs=pairs, runtime=runtime).targets(batch_of(range(5))) for runtime in ("onnxruntime", "torch"))
    assert first.keys() == second.keys() == {"logits", "n1"}
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
        assert not second[name].requires_grad


def test_value_maps_are_applied_to_what_comes_out() -> None:
    kept = Pair("n1", Mapped(Take(2, (3, 1), 16), ("n1",)), "hidden")
    whole = teacher(pairs=(Pair("n1", Mapped(Same(), ("n1",)), "hidden"),)).targets(batch_of(range(4)))["n1"]
    torch.testing.assert_close(teacher(pairs=(kept,)).targets(batch_of(range(4)))["n1"], whole[:, :, [3, 1]])


def test_a_map_that_does_not_fit_says_which_values() -> None:
    with pytest.raises(DataError, match="What became of the teacher's n1 does not fit: axis 2 has 16 slices, not 9"):
        teacher(pairs=(Pair("n1", Mapped(Take(2, (3, 1), 9), ("n1",)), "hidden"),)).targets(batch_of(range(4)))


def test_inputs_of_other_names_go_by_position() -> None:
    one = Teacher(encoder(), (OUTPUT,), ("words",), threads=1)
    given = batch_of(range(3))
    torch.testing.assert_close(one.targets({"words": given["ids"]})["logits"], teacher().targets(given)["logits"])


def test_a_teachers_missing_input_is_named() -> None:
    one = Teacher(encoder(), (OUTPUT,), ("a", "b"), threads=1)
    with pytest.raises(DataError, match="The batch lacks ids, which the teacher takes"):
        one.targets({"a": torch.zeros(1), "b": torch.zeros(1)})


# ---- the cache -----------------------------------------------------------------------------------------------------


def test_rows_are_found_in_another_order_and_another_batch_size(tmp_path: Path) -> None:
    expected = keep(tmp_path, range(32))["logits"]
    again = teacher(tmp_path)
    first, second = again.targets(batch_of(range(31, 11, -1)))["logits"], again.targets(batch_of((4, 4, 0)))["logits"]
    assert torch.equal(first, expected[range(31, 11, -1)])
    assert torch.equal(second, expected[[4, 4, 0]])
    assert again.cache is not None
    assert (again.cache.computed, again.cache.found) == (0, 23)


def test_only_rows_that_are_not_there_are_computed(tmp_path: Path) -> None:
    keep(tmp_path, range(10))
    again = teacher(tmp_path)
    found = again.targets(batch_of(range(5, 20)))["logits"]
    assert again.cache is not None
    assert again.cache.computed == 10
    torch.testing.assert_close(found, teacher().targets(batch_of(range(5, 20)))["logits"], rtol=1e-5, atol=1e-6)


def test_an_epoch_fills_the_cache_within_one_run_too(tmp_path: Path) -> None:
    one = teacher(tmp_path)
    for rows in (range(16), range(16, 32), range(8, 24)):
        one.targets(batch_of(rows))
    assert one.cache is not None
    assert (one.cache.computed, one.cache.found) == (32, 16)


def test_other_weights_and_other_values_are_kept_apart(tmp_path: Path) -> None:
    keys = {teacher_key(encoder(), ("logits",)), teacher_key(encoder(seed=1), ("logits",)), teacher_key(encoder(), ("n1",))}
    assert len(keys) == 3
    keep(tmp_path, range(8))
    other = teacher(tmp_path, program=encoder(seed=1))
    other.targets(batch_of(range(8)))
    assert other.cache is not None
    assert other.cache.found == 0


def test_a_teacher_whose_rows_depend_on_each_other_is_kept_by_batch(tmp_path: Path) -> None:
    """The LSTM's first axis is time."""
    pair = Pair("y", Mapped(Same(), ("y",)), "output")
    program, x = lstm(), torch.randn(5, 2, 16)
    one = Teacher(program, (pair,), ("x",), cache=tmp_path, threads=1)
    first = one.targets({"x": x})["y"]
    turned = one.targets({"x": x.flip(0)})["y"]
    plain = Teacher(program, (pair,), ("x",), threads=1)
    torch.testing.assert_close(turned, plain.targets({"x": x.flip(0)})["y"])
    assert torch.equal(one.targets({"x": x})["y"], first)
    assert one.cache is not None
    assert (one.cache.computed, one.cache.found) == (2, 1)


def test_a_damaged_file_is_left_aside(tmp_path: Path) -> None:
    expected = keep(tmp_path, range(8))["logits"]
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    again = teacher(tmp_path)
    torch.testing.assert_close(again.targets(batch_of(range(8)))["logits"], expected)
    assert again.cache is not None
    assert again.cache.computed == 8


def test_files_are_written_beside_their_place(tmp_path: Path) -> None:
    keep(tmp_path, range(8))
    assert sorted(file.suffix for file in tmp_path.rglob("*") if file.is_file()) == [".json", ".safetensors"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="The cache cannot be used"):
        OutputCache(tmp_path / "file" / "cache", encoder(), ("logits",))


def test_every_row_is_kept_once(tmp_path: Path) -> None:
    one = teacher(tmp_path)
    for _ in range(3):
        one.targets(batch_of(range(16)))
    (file,) = tmp_path.rglob("*.safetensors")
    assert file.stat().st_size < 16 * (3 * 4 + 16) + 400
