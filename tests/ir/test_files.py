"""Files written beside their place and renamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netwright.ir.files import write_arrays


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_may_have_any_name(tmp_path: Path, compressed: bool) -> None:
    arrays = {"file": np.arange(3), "allow_pickle": np.ones((2, 0), "f4"), "a/b": np.array(True), "y": np.asfortranarray(np.eye(3))}
    write_arrays(tmp_path / "x.npz", arrays, compressed=compressed)
    with np.load(tmp_path / "x.npz") as found:
        assert list(found) == list(arrays)
        assert all(np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_objects_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        write_arrays(tmp_path / "x.npz", {"y": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []
