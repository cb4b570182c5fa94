"""`netwright run` with a chip's program: damaged files, feeds that do not fit, batches, interruptions, machines without numba."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import pytest
from numpy.lib import format as npy

from netwright.backends.cim.program import save
from netwright.backends.cim.simulator import Machine, machine
from netwright.backends.cim.simulator.running import Run
from netwright.cli import main, run_chip
from tests.backends.cim.program import chips
from tests.backends.cim.program.chips import on_onnxruntime, random_feeds

CHIP = chips.linear(chips.LOSSY)[0]
Called: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Called:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def called(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(one) for one in arguments])
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return called


@pytest.fixture
def program(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", x=random_feeds(CHIP, 3)["x"])
    return save(CHIP, tmp_path / "net.nwcim")


def other_version(data: bytes) -> bytes:
    return data[:8] + b"\x07\x00" + data[10:]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another version": (other_version, "version 7"),
    "cut in half": (lambda data: data[: len(data) // 2], "claims"),
    "empty": (lambda data: b"", "not a .nwcim file"),
    "one byte": (lambda data: data[:1], "not a .nwcim file"),
    "another file": (lambda data: b"PK\x03\x04" + data, "not a .nwcim file"),
    "a byte changed": (lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:], "checksum is wrong"),
    "more behind it": (lambda data: data + b"\0", "claims"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_paragraph(name: str, call: Called, program: Path):
    damage, message = DAMAGE[name]
    program.write_bytes(damage(program.read_bytes()))
    code, out, err = call("run", program, "-i", program.with_name("x.npz"))

    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert message in " ".join(err.split())
    found = json.loads(call("run", program, "-i", program.with_name("x.npz"), "--json")[1])
    assert found["error"]["kind"] == "ModelFileError"
    assert "net.nwcim" in found["error"]["place"]


@pytest.mark.parametrize("name", ["folder.nwcim", "folder", "missing.nwcim"])
def test_what_is_no_file(name: str, call: Called, program: Path):
    if name.startswith("folder"):
        program.with_name(name).mkdir()
    code, out, _ = call("run", program.with_name(name), "-i", program.with_name("x.npz"), "--json")

    assert code == 1
    assert json.loads(out)["error"]["kind"] == "ModelFileError"


FEEDS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "missing": ({"z": np.zeros((1, 3, 40), np.uint8)}, "x"),
    "nothing": ({}, "x"),
    "wrong shape": ({"x": np.zeros((1, 3, 41), np.uint8)}, "41"),
    "wrong rank": ({"x": np.zeros((3, 40), np.uint8)}, "3, 40"),
    "floats": ({"x": np.zeros((1, 3, 40), np.float32)}, "float32"),
    "too large": ({"x": np.full((1, 3, 40), 256, np.int64)}, "256"),
    "no sample": ({"x": np.zeros((0, 3, 40), np.uint8)}, "above 0"),
}


@pytest.mark.parametrize("name", FEEDS)
def test_feeds_that_do_not_fit(name: str, call: Called, program: Path):
    given, message = FEEDS[name]
    np.savez(program.with_name("bad.npz"), **given)  # pyright: ignore[reportArgumentType]
    code, out, err = call("run", program, "-i", program.with_name("bad.npz"), "-o", program.with_name("y.npz"))

    assert (code, out) == (1, "")
    assert message in err
    assert not program.with_name("y.npz").exists()


@pytest.mark.parametrize("samples", [1, 3, 17])
def test_batches(samples: int, call: Called, program: Path):
    feeds = random_feeds(CHIP, samples)
    np.savez(program.with_name("x.npz"), **feeds)  # pyright: ignore[reportArgumentType]
    code, out, _ = call("run", program, "-i", program.with_name("x.npz"), "-o", program.with_name("y.npz"), "--stats", "--json")

    assert code == 0
    assert json.loads(out)["stats"]["samples"] == samples
    each = [Machine(CHIP, on_onnxruntime).run({"x": one[None]})[0]["y"] for one in feeds["x"]]
    np.testing.assert_array_equal(np.load(program.with_name("y.npz"))["y"], np.concatenate(each))


def test_an_interruption_leaves_no_file(call: Called, program: Path, monkeypatch: pytest.MonkeyPatch):
    arguments = ("run", program, "-i", program.with_name("x.npz"), "-o", program.with_name("y.npz"), "--page", program.with_name("p.html"))
    before = sorted(program.parent.iterdir())
    monkeypatch.setattr(machine, "MEMORY", 1)
    usual = Run.chunk

    def interrupted(self: Run, given: dict[str, np.ndarray], first: int, samples: int) -> dict[str, np.ndarray]:
        if first == 2:
            raise KeyboardInterrupt
        return usual(self, given, first, samples)

    monkeypatch.setattr(Run, "chunk", interrupted)
    code, out, err = call(*arguments)
    assert (code, out, err.strip()) == (130, "", "interrupted")
    assert sorted(program.parent.iterdir()) == before

    def half(part: IO[bytes], array: np.ndarray, **_: object) -> None:
        assert array.size
        part.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "chunk", usual)
    monkeypatch.setattr(npy, "write_array", half)
    assert call(*arguments)[0] == 130
    assert sorted(program.parent.iterdir()) == before


def test_progress_is_shown_for_more_than_one_chunk(call: Called, program: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for memory, quiet, shown in ((2**29, False, False), (1, False, True), (1, True, False)):
        monkeypatch.setattr(machine, "MEMORY", memory)
        with run_chip.progress(4, quiet=quiet) as advance:
            assert (advance is None) == quiet
        told = call("run", program, "-i", program.with_name("x.npz"), *(["--json"] if quiet else []))[2]
        assert ("simulating" in told) == shown


def test_without_numba_it_runs_and_says_why_it_is_slow(program: Path):
    script = "import sys; sys.modules['numba'] = None; from netwright.cli import main; main(sys.argv[1:])"
    arguments = ["run", str(program), "-i", str(program.with_name("x.npz")), "-o", str(program.with_name("y.npz")), "--stats"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "numba is not installed" in done.stderr
    assert "pJ a MAC" in done.stdout
    wanted = Machine(CHIP, on_onnxruntime).run(random_feeds(CHIP, 3))[0]["y"]
    np.testing.assert_array_equal(np.load(program.with_name("y.npz"))["y"], wanted)
