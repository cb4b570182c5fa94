"""`netwright cim archs` and `netwright cim show`."""

from __future__ import annotations

import json

import pytest

from netwright.backends.cim.arch import parse_arch, preset, preset_names
from netwright.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


def test_the_list_has_every_chip(capsys: pytest.CaptureFixture[str]):
    code, text, hint = run(capsys, "cim", "archs")
    assert code == 0
    assert all(name in text for name in preset_names())
    assert "cim:generic-28nm" in hint


def test_the_list_in_json(capsys: pytest.CaptureFixture[str]):
    found = json.loads(run(capsys, "cim", "archs", "--json")[1])
    assert found["default"] == "generic-28nm"
    assert [one["name"] for one in found["archs"]] == list(preset_names())
    assert found["archs"][0]["arrays"] == 4096
    assert found["archs"][0]["megabytes"] == pytest.approx(4096 * 128 * 256 / 8e6)


def test_one_chip_with_its_figures_and_sources(capsys: pytest.CaptureFixture[str]):
    code, text, _ = run(capsys, "cim", "show", "isaac")
    assert code == 0
    assert "array.adc.energy_pj" in text
    assert "1.667" in text
    assert "ISCA 2016" in text


def test_one_chip_as_yaml_reads_back(capsys: pytest.CaptureFixture[str]):
    assert parse_arch(run(capsys, "cim", "show", "puma", "--yaml")[1]) == preset("puma")


def test_one_chip_in_json(capsys: pytest.CaptureFixture[str]):
    found = json.loads(run(capsys, "cim", "show", "--json")[1])
    assert (found["name"], found["array"]["adc"]["bits"], found["arrays"]) == ("generic-28nm", 8, 4096)


def test_errors(capsys: pytest.CaptureFixture[str]):
    code, _, text = run(capsys, "cim", "show", "none")
    assert (code, "No chip is called 'none'" in text) == (1, True)
    code, text, _ = run(capsys, "cim", "show", "--json", "--yaml")
    assert (code, json.loads(text)["error"]["kind"]) == (2, "UsageError")
