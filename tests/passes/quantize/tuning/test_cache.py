from __future__ import annotations

from pathlib import Path

import pytest

from netwright.passes.quantize.tuning import TimingCache


def test_timings_survive_the_process_and_belong_to_a_machine(tmp_path: Path) -> None:
    cache = TimingCache(tmp_path, "runtime 1, processor A")
    cache.put("layer", 0.25)
    cache.save()
    assert TimingCache(tmp_path, "runtime 1, processor A").get("layer") == 0.25
    assert TimingCache(tmp_path, "runtime 2, processor A").get("layer") is None


def test_two_processes_fill_one_file(tmp_path: Path) -> None:
    one, other = TimingCache(tmp_path, "machine"), TimingCache(tmp_path, "machine")
    one.put("first", 1.0)
    other.put("second", 2.0)
    one.save()
    other.save()
    both = TimingCache(tmp_path, "machine")
    assert (both.get("first"), both.get("second")) == (1.0, 2.0)


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"ms": 3}', '{"ms": {"layer": "fast", "other": -1, "third": true}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    cache = TimingCache(tmp_path, "machine")
    cache.put("layer", 1.0)
    cache.save()
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    again = TimingCache(tmp_path, "machine")
    assert [again.get(key) for key in ("layer", "other", "third")] == [None, None, None]
    again.put("layer", 2.0)
    again.save()
    assert TimingCache(tmp_path, "machine").get("layer") == 2.0


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = TimingCache(tmp_path / "file" / "below", "machine")
    cache.put("layer", 1.0)
    cache.save()
    assert cache.get("layer") == 1.0


def test_without_a_folder_nothing_is_kept() -> None:
    cache = TimingCache(None, "machine")
    cache.put("layer", 1.0)
    cache.save()
    assert TimingCache(None, "machine").get("layer") is None
