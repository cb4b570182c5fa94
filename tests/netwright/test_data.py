"""Data in every form becomes the same batches, or is refused with the batch and input named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from netwright.data import DataLike, as_batches
from netwright.ir import Program
from netwright.ir.errors import DataError

TWO = Program(
    onnx_ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 20]> g (float[N, 3] x, int64[N] i) => (float[N, 3] y) { y = Neg(x) }')
)
ONE = Program(onnx_ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 20]> g (float[N, 3] x) => (float[N, 3] y) { y = Neg(x) }'))
FIXED = Program(onnx_ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 20]> g (float[2, 3] x) => (float[2, 3] y) { y = Neg(x) }'))
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
I = np.arange(4).reshape(2, 2)  # noqa: E741
LABELS = np.array([[7, 8], [9, 10]])


def items() -> list[dict[str, np.ndarray]]:
    return [{"x": X[n], "i": I[n], "labels": LABELS[n]} for n in range(2)]


def folder(tmp_path: Path) -> Path:
    for number, item in zip((2, 10), items(), strict=True):
        np.savez(tmp_path / f"part{number}.npz", x=item["x"], i=item["i"], labels=item["labels"])
    (tmp_path / "readme.txt").write_text("not data")
    return tmp_path


def stacked(tmp_path: Path) -> Path:
    np.savez(tmp_path / "all.npz", x=X, i=I, labels=LABELS)
    return tmp_path / "all.npz"


def unnamed(tmp_path: Path) -> Path:
    np.savez(tmp_path / "all.npz", X, I, LABELS)
    return tmp_path / "all.npz"


def loader(tmp_path: Path) -> DataLike:
    torch = pytest.importorskip("torch")
    flat = torch.utils.data.TensorDataset(torch.tensor(X.reshape(4, 3)), torch.tensor(I.reshape(4)), torch.tensor(LABELS.reshape(4)))
    return torch.utils.data.DataLoader(flat, batch_size=2)


FORMS: dict[str, Callable[[Path], DataLike]] = {
    "dicts": lambda tmp_path: items(),
    "tuples": lambda tmp_path: [tuple(item.values()) for item in items()],
    "lists": lambda tmp_path: [list(item.values()) for item in items()],
    "dict and labels": lambda tmp_path: [({"x": X[n], "i": I[n]}, LABELS[n]) for n in range(2)],
    "tuple and labels": lambda tmp_path: [((X[n], I[n]), LABELS[n]) for n in range(2)],
    "function": lambda tmp_path: lambda: iter(items()),
    "generator": lambda tmp_path: (item for item in items()),
    "stacked dict": lambda tmp_path: {"x": X, "i": I, "labels": LABELS},
    "stacked npz": stacked,
    "unnamed npz": unnamed,
    "folder": folder,
    "data loader": loader,
    "other types": lambda tmp_path: [{**item, "x": item["x"].astype(np.float64), "i": item["i"].astype(np.int32)} for item in items()],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_batches(form: str, tmp_path: Path):
    found = list(as_batches(FORMS[form](tmp_path), TWO))
    assert len(found) == 2
    for batch, expected in zip(found, items(), strict=True):
        assert set(batch) == {"x", "i", "labels"}
        assert batch["x"].dtype == np.float32
        assert batch["i"].dtype == np.int64
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array)


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"generator"}))
def test_batches_can_be_gone_through_again(form: str, tmp_path: Path):
    batches = as_batches(FORMS[form](tmp_path), TWO, limit=1)
    assert [len(list(batches)) for _ in range(2)] == [1, 1]


def test_a_generator_is_kept_with_a_limit_and_refused_twice_without():
    kept = as_batches(iter(items()), TWO, limit=5)
    assert [len(list(kept)) for _ in range(2)] == [2, 2]
    once = as_batches(iter(items()), TWO)
    assert len(list(once)) == 2
    with pytest.raises(DataError, match="gone through already"):
        list(once)


def test_nothing_more_is_drawn_than_the_limit():
    def endless() -> Iterator[dict[str, np.ndarray]]:
        while True:
            yield items()[0]

    assert len(list(as_batches(endless(), TWO, limit=3))) == 3


def test_single_arrays_serve_a_program_with_one_input(tmp_path: Path):
    np.save(tmp_path / "x.npy", X)
    for data in (X, list(X), tmp_path / "x.npy", [(x,) for x in X], [x.tolist() for x in X]):
        assert [batch["x"].tolist() for batch in as_batches(data, ONE)] == X.tolist()


def test_arrays_of_the_inputs_rank_are_one_batch_unless_cut():
    flat = X.reshape(4, 3)
    assert [len(batch["x"]) for batch in as_batches(flat, ONE)] == [4]
    assert [len(batch["x"]) for batch in as_batches(flat, ONE, batch_size=3)] == [3, 1]
    assert [len(batch["x"]) for batch in as_batches(flat, FIXED)] == [2, 2]
    labels = as_batches({"x": flat, "labels": np.arange(4)}, FIXED)
    assert [batch["labels"].tolist() for batch in labels] == [[0, 1], [2, 3]]


def test_feeds_leave_labels_out():
    assert [set(feeds) for feeds in as_batches(items(), TWO).feeds()] == [{"x", "i"}] * 2


@pytest.mark.parametrize(
    ("data", "place", "message"),
    [
        ([{"x": X[0], "i": I[0]}, {"x": X[0]}], "batch 1, input i", "No value was given for 'i'"),
        ([{"x": X[0], "i": X[0][:, 0]}], "batch 0, input i", "float32 values"),
        ([{"x": X[0][0], "i": I[0]}], "batch 0, input x", "of rank 2"),
        ([(X[0],)], "batch 0", "1 arrays were given for 2 inputs"),
        ([X[0]], "batch 0", "has 2 inputs"),
        ({"x": X, "i": I[0]}, "data", "Some inputs are stacks"),
        ({"x": X, "i": I, "labels": LABELS[0][:1]}, "data", "disagree on how many batches"),
        ([], "data", "holds no batch"),
        (X, "data", "One array was given"),
        (7, "data", "data of type int"),
        ([{"x": X[0], "i": I[0], "labels": object()}], "batch 0, labels", "no array of numbers"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(data: DataLike, place: str, message: str):
    with pytest.raises(DataError, match=message) as caught:
        list(as_batches(data, TWO))
    assert caught.value.place == place
    assert caught.value.remedy


def test_samples_that_do_not_fill_a_fixed_batch_are_refused():
    with pytest.raises(DataError, match="takes 2 samples at a time, and 3"):
        list(as_batches(X.reshape(4, 3)[:3], FIXED))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npz", None, "no such file"),
        ("text.npz", b"hello", "cannot be read"),
        ("empty.npz", b"", "cannot be read"),
        ("cut.npz", b"PK\x03\x04" + b"\0" * 40, "cannot be read"),
        ("data.csv", b"1,2", "is no data"),
    ],
)
def test_files_that_are_no_data_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(as_batches(tmp_path / name, ONE))
    assert name in (caught.value.place or "")


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        list(as_batches(tmp_path / "x.npy", ONE))


def test_a_folder_without_data_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no .npz"):
        as_batches(tmp_path, ONE)


def test_a_batch_of_a_file_is_named_with_it(tmp_path: Path):
    np.savez(tmp_path / "bad.npz", x=np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match="axis 1 is 3") as caught:
        list(as_batches(tmp_path, ONE))
    assert caught.value.place == "bad.npz, batch 0, input x"
