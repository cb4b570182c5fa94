"""Descriptions that are wrong: the error names file, line and field, and says what to write."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.backends.cim.arch import Arch, ChipError, check, parse_arch, preset, problems, read_arch
from netwright.backends.cim.arch.checks import Problem
from netwright.backends.cim.arch.reading import MAX_BYTES
from netwright.ir.errors import MissingExtraError, NetwrightError


def refusal(text: str) -> ChipError:
    with pytest.raises(ChipError) as caught:
        parse_arch(text, place="chip.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        ("name: a\narray:\n  rwos: 64\n", "line 3: array.rwos", "No field is called 'rwos'.", "Did you mean rows?"),
        ("name: a\nzebra: 1\n", "line 2: zebra", "No field is called 'zebra'.", "Known here: name, about"),
        ("name: a\narray:\n  rows: '64'\n", "line 3: array.rows", "'64' does not fit rows.", "valid integer"),
        ("name: a\narray:\n  rows: 64.0\n", "line 3: array.rows", "64.0 does not fit rows.", "valid integer"),
        ("name: a\nvoltage: true\n", "line 2: voltage", "True does not fit voltage.", "valid number"),
        ("name: a\narray: {adc: {mode: linear}}\n", "line 2: array.adc.mode", "'linear' does not fit mode.", "'step'"),
        (
            "name: a\narray:\n  disabling:\n    granularities:\n    - none\n    - rows\n",
            "line 6: array.disabling.granularities.1",
            "'rows'",
            "'row'",
        ),
        ("name: a\ntile: 3\n", "line 2: tile", "tile is a mapping of fields.", "Known: cores, arrays, memory, vector."),
        ("about: a\n", "line 1: name", "'name' is missing.", "Write it."),
        ("", "chip.yaml: name", "'name' is missing.", "Write it."),
        ("- name\n", "line 1", "A chip is a mapping", "Begin with `name"),
        ("name: a\nname: b\n", "line 2", "'name' stands twice.", "Keep one"),
        ("name: a\nabout: [\n", "line 3", "This is not YAML", "netwright cim show"),
        ("name: &x a\nabout: *x\n", "line 2", "no aliases", "Write the part out"),
        ("name: !!python/object:os.system a\n", "line 1: name", "python/object", "Write a number"),
        ("name: 2020-01-01\n", "line 1: name", "is a timestamp", "Write a number, a word"),
        ("? [a]\n: b\n", "line 1", "A key is not a name.", "names of fields"),
        ("name: a\nnode_nm: 0\n", "line 2: node_nm", "node_nm is 0; it has to be between 1 and 1,000.", "Correct"),
        ("name: a\nvoltage: .nan\n", "line 2: voltage", "voltage is nan", "Correct"),
        ("name: a\narray:\n  cell_ff: -1\n", "line 3: array.cell_ff", "finite and not negative", "Correct"),
        ("name: a\nnetwork: {rows: 1000}\n", "line 2: network.rows", "between 1 and 256", "Correct"),
    ],
)
def test_a_wrong_description_names_its_line(text: str, line: str, message: str, remedy: str):
    error = refusal(text)
    assert error.place is not None
    assert error.place.startswith("chip.yaml")
    assert error.place.endswith(line)
    assert message in error.message
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("array", "field"),
    [
        ("{rows: 64}", "array.active_rows"),
        ("{kind: digital}", "array.adc"),
        ("{adc: null}", "array.adc"),
        ("{kind: digital, adc: null, noise: {cell: 0.1}}", "array.noise"),
        ("{adc: {mode: exact}}", "array.adc.mode"),
        ("{adc: {columns: 512}}", "array.adc.columns"),
        ("{adc: {mode: clip, step: 2}}", "array.adc.step"),
        ("{adc: {low: 1}}", "array.adc.low"),
        ("{adc: {mode: range, low: 9, high: 3}}", "array.adc.low"),
        ("{adc: {model: table}}", "array.adc.model"),
        ("{adc: {subtract: before}}", "array.adc.subtract"),
        ("{encoding: differential, adc: {bits: 1, subtract: before}}", "array.adc.bits"),
        ("{encoding: differential, adc: {mode: charge, subtract: before}}", "array.adc.mode"),
        ("{encoding: twos_complement, cell_bits: 2}", "array.encoding"),
        ("{disabling: {granularities: [pad]}}", "array.disabling.granularities"),
        ("{disabling: {granularities: [none, row, row]}}", "array.disabling.granularities"),
        ("{disabling: {granularities: [none, row_group], group: 129}}", "array.disabling.group"),
    ],
)
def test_fields_that_contradict_each_other(array: str, field: str):
    error = refusal(f"name: a\narray: {array}\n")
    assert error.place == f"chip.yaml, line 2: {field}"
    assert error.remedy


def test_bits_wider_than_the_chip_takes():
    assert refusal("name: a\nweight_bits: 2\narray: {cell_bits: 4}\n").place == "chip.yaml, line 3: array.cell_bits"
    assert refusal("name: a\ninput_bits: 2\narray: {digit_bits: 4}\n").place == "chip.yaml, line 3: array.digit_bits"


def test_an_error_tells_what_else_is_wrong():
    error = refusal("name: a\nnode_nm: 0\nvoltage: 99\n")
    assert "Also voltage: voltage is 99" in error.message


def test_a_chip_made_in_python_is_checked_too():
    broken = replace(preset(), array=replace(preset().array, active_rows=1000))
    assert [one.path for one in problems(broken)] == [("array", "active_rows")]
    assert isinstance(problems(broken)[0], Problem)
    with pytest.raises(ChipError, match=r"1000 rows are read at once, and the array has 128\. \(at generic-28nm, array\.active_rows\)"):
        check(broken)
    check(preset())


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(ChipError, match="cannot be read"):
        read_arch(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ChipError, match="cannot be read"):
        read_arch(tmp_path / "bytes.yaml")
    (tmp_path / "large.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(ChipError, match="has 1,000,001 bytes"):
        read_arch(tmp_path / "large.yaml")


@pytest.mark.parametrize("package", ["yaml", "pydantic"])
def test_a_package_that_is_missing(package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'netwright\[cim\]'"):
        parse_arch("name: a\n")


@given(st.text(alphabet=st.sampled_from("abname: {}[],\n-&*!?'\"#|>%@`0.\t"), max_size=80))
def test_any_text_is_a_chip_or_an_error(text: str):
    with contextlib.suppress(NetwrightError):
        assert isinstance(parse_arch(text), Arch)


def test_deep_nesting_is_an_error():
    assert refusal("name: " + "[" * 3000 + "]" * 3000).place == "chip.yaml"
