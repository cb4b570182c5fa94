"""`.nwcim` files: the same program again, and errors for everything else."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import pytest

from netwright.backends.cim.program import file as files
from netwright.backends.cim.program import is_chip_file, load, save, verify
from netwright.backends.cim.program import plain as plain_data
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.program.records import VERSION
from netwright.ir.errors import ModelFileError, NetwrightError, VerifyError
from tests.backends.cim.program import chips

MADE = {"linear": chips.linear()[0], "conv": chips.conv()[0], "residual": chips.residual(), "reload": chips.reload()[0]}
HEAD = 56
ENTRY = 24

JsonPart: TypeAlias = "dict[str, object] | list[object]"


def sealed(data: bytes) -> bytes:
    """The file with a right length and checksum: what a forger would do."""
    return data[:16] + struct.pack("<Q", len(data)) + hashlib.sha256(data[HEAD:]).digest() + data[HEAD:]


def with_head(chip: ChipProgram, change: dict[str, object]) -> bytes:
    """A file whose JSON has other parts."""
    data = to_bytes(chip)
    count = struct.unpack_from("<I", data, 12)[0]
    stored, _, packing = struct.unpack_from("<QQB", data, HEAD)
    start = HEAD + count * ENTRY
    head = data[start : start + stored]
    plain = json.loads(zlib.decompress(head) if packing else head)
    raw = json.dumps({**plain, **change}).encode()
    table = struct.pack("<QQB7x", len(raw), len(raw), 0) + data[HEAD + ENTRY : start]
    return sealed(data[:HEAD] + table + raw + data[start + stored :])


@pytest.mark.parametrize("chip", MADE.values(), ids=MADE)
def test_what_is_saved_comes_back(chip: ChipProgram, tmp_path: Path):
    path = save(chip, tmp_path / "a.nwcim")
    again = load(path)

    assert to_bytes(again) == path.read_bytes() == to_bytes(chip)
    assert again.tiles == chip.tiles
    assert again.host == chip.host
    assert again.buffers == chip.buffers
    assert again.tensors == chip.tensors
    assert [one.model for one in again.regions] == [one.model for one in chip.regions]
    assert all(np.array_equal(a.values, b.values) and a.coding == b.coding for a, b in zip(again.matrices, chip.matrices, strict=True))
    assert again.arch == chip.arch
    assert again.inputs == chip.inputs
    assert again.notes == chip.notes
    assert list(tmp_path.iterdir()) == [path]


def test_a_cut_file_is_an_error():
    data = to_bytes(MADE["conv"])
    for length in range(0, len(data), 7):
        with pytest.raises(ModelFileError):
            from_bytes(data[:length])


def test_a_flipped_byte_is_an_error():
    data = to_bytes(MADE["residual"])
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 300):
        flipped = bytearray(data)
        flipped[place] ^= int(rng.integers(1, 256))
        with pytest.raises(ModelFileError):
            from_bytes(bytes(flipped))


@pytest.mark.parametrize("chip", MADE.values(), ids=MADE)
def test_a_forged_file_is_a_sound_program_or_an_error(chip: ChipProgram):
    data = to_bytes(chip)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(250):
        forged = bytearray(data)
        for place in rng.integers(HEAD, len(data), int(rng.integers(1, 4))):
            forged[place] = int(rng.integers(0, 256))
        try:
            from_bytes(sealed(bytes(forged)))
        except NetwrightError:
            refused += 1
    assert refused > 100


def replace_somewhere(record: JsonPart, value: object, rng: np.random.Generator) -> None:
    """Put a value in the place of some part of a JSON object or list."""
    while record:
        keys = list(record) if isinstance(record, dict) else list(range(len(record)))
        key = keys[int(rng.integers(len(keys)))]
        part = record[key]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
        if not isinstance(part, list | dict) or not part or rng.random() < 0.2:
            record[key] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
            return
        record = cast("JsonPart", part)


def test_forged_texts_of_a_program_are_errors_or_sound():
    chip = MADE["residual"]
    raw = zlib.decompress(to_bytes(chip)[HEAD + struct.unpack_from("<I", to_bytes(chip), 12)[0] * ENTRY :][:100_000])
    plain = json.loads(raw)
    rng = np.random.default_rng(2)
    strange: list[object] = [None, -1, 2**62, 1e308, "x", [], {}, True, [[0, 1]], {"blob": 99}, [-5, 5], "\ud800"]
    refused = 0
    for _ in range(300):
        name = sorted(plain)[int(rng.integers(len(plain)))]
        copy = json.loads(json.dumps(plain[name]))
        if isinstance(copy, list | dict):
            replace_somewhere(cast("JsonPart", copy), strange[int(rng.integers(len(strange)))], rng)
        try:
            from_bytes(with_head(chip, {name: copy}))
        except NetwrightError:
            refused += 1
    assert refused > 200


def test_nothing_is_allocated_on_a_files_word():
    bomb = zlib.compress(bytes(50_000_000), 9)
    for stored, raw in ((len(bomb), 50_000_000), (len(bomb), 2**62), (2**62, 10)):
        body = struct.pack("<QQB7x", stored, raw, 1) + bomb
        with pytest.raises(ModelFileError, match="not there"):
            from_bytes(sealed(to_bytes(MADE["linear"])[:12] + struct.pack("<I", 1) + bytes(40) + body))


def test_more_parts_than_there_is_room_for_are_refused():
    data = to_bytes(MADE["linear"])
    with pytest.raises(ModelFileError, match="parts"):
        from_bytes(sealed(data[:12] + struct.pack("<I", 2**32 - 1) + data[16:]))


def test_deep_nesting_is_an_error():
    deep = "[" * 100_000
    raw = (f'{{"name": {deep}').encode()
    with pytest.raises(ModelFileError):
        from_bytes(
            sealed(to_bytes(MADE["linear"])[:12] + struct.pack("<I", 1) + bytes(40) + struct.pack("<QQB7x", len(raw), len(raw), 0) + raw)
        )


@pytest.mark.parametrize("version", [1, VERSION + 1], ids=["older", "newer"])
def test_another_version_is_told(version: int):
    data = bytearray(to_bytes(MADE["linear"]))
    struct.pack_into("<H", data, 8, version)
    with pytest.raises(ModelFileError, match=f"version {version}; this netwright reads {VERSION}.*Compile the model again"):
        from_bytes(bytes(data))


def test_what_older_netwrights_wrote_is_told_by_its_version():
    """Files of version 1 had the same head: what stands behind it is not looked at."""
    data = to_bytes(MADE["linear"])
    old = data[:8] + struct.pack("<H", 1) + data[10:HEAD] + b"{}"
    with pytest.raises(ModelFileError, match="version 1"):
        from_bytes(sealed(old))


def test_a_program_that_breaks_a_rule_names_file_and_place(tmp_path: Path):
    path = tmp_path / "bad.nwcim"
    chip = MADE["linear"]
    path.write_bytes(to_bytes(chips.without(chip, tile=1, index=0)))
    with pytest.raises(VerifyError, match=r"before that is written.*bad\.nwcim, tile 1, instruction 0"):
        load(path)


def test_files_are_told_by_name_or_first_bytes(tmp_path: Path):
    save(MADE["linear"], tmp_path / "odd.bin")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    assert is_chip_file(tmp_path / "odd.bin")
    assert is_chip_file("gone.nwcim")
    assert not is_chip_file(tmp_path / "model.onnx")
    assert not is_chip_file(tmp_path / "gone")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(tmp_path / "gone.nwcim")


def test_parts_that_pack_too_well_are_stored_as_they_are():
    chip = chips.replaced_matrix(MADE["linear"], np.zeros((40, 6), np.int8))
    data = to_bytes(chip)
    for number in range(struct.unpack_from("<I", data, 12)[0]):
        stored, raw, _ = struct.unpack_from("<QQB", data, HEAD + number * ENTRY)
        assert raw <= files.RATIO * stored
    assert not from_bytes(data).matrices[0].values.any()


@pytest.mark.parametrize(
    "shape", [[2**30, 2**30, 0], [2**39, 2**39, 0], [1] * 100, [-1], [2**62]], ids=["empty", "huge", "axes", "negative", "long"]
)
def test_shapes_that_no_array_has_are_errors(shape: list[int]):
    part = struct.pack("<b", 0) * (1 if set(shape) == {1} else 0)
    with pytest.raises(NetwrightError):
        files._blob({"dtype": "int8", "shape": shape}, part, "here")  # pyright: ignore[reportPrivateUsage]


def test_a_number_of_any_length_is_no_figure():
    with pytest.raises(NetwrightError, match="finite number"):
        plain_data._number(10**400, "here", ())  # pyright: ignore[reportPrivateUsage]


def test_codings_that_no_array_computes_are_refused():
    chip = MADE["linear"]
    coding = replace(chip.matrices[0].coding, weight_bits=1, encoding="differential")
    with pytest.raises(VerifyError, match="1 bit"):
        verify(replace(chip, matrices=(replace(chip.matrices[0], coding=coding),)))
