"""The chips that come with netwright: each is sound, says where its figures come from, and holds what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from netwright.backends.cim.arch import DEFAULT, Arch, ChipError, dump_arch, parse_arch, preset, preset_names, presets, problems, resolve
from netwright.backends.cim.arch.figures import figures, resolution

NAMES = (
    "generic-28nm",
    "aimc3-isscc23",
    "dimc3-isscc23",
    "generic-charge-1152x256",
    "isaac",
    "jia2020-charge",
    "neurram",
    "puma",
)
RESNET18_WEIGHTS = 11_678_912
"""Elements of the weights of its convolutions and its classifier."""


def test_the_presets_and_the_default():
    assert preset_names() == NAMES
    assert DEFAULT == resolve("").name == NAMES[0]
    assert [arch.name for arch in presets()] == list(NAMES)


@pytest.mark.parametrize("arch", presets(), ids=lambda arch: arch.name)
def test_a_preset_is_sound_and_names_its_sources_and_assumptions(arch: Arch):
    assert problems(arch) == ()
    assert arch.about
    assert len(arch.sources) >= 2
    assert arch.sources[-1].startswith("Assumed: ")


@pytest.mark.parametrize("arch", presets(), ids=lambda arch: arch.name)
def test_a_preset_holds_eight_by_eight_bits(arch: Arch):
    assert arch.weight_bits >= 8
    assert arch.input_bits >= 8


@pytest.mark.parametrize("arch", presets(), ids=lambda arch: arch.name)
def test_what_is_dumped_reads_back_equal(arch: Arch):
    assert parse_arch(dump_arch(arch)) == arch


@pytest.mark.parametrize("arch", presets(), ids=lambda arch: arch.name)
def test_every_figure_has_a_meaning(arch: Arch):
    assert [one.path for one in figures(arch) if not one.help] == []


def test_the_default_loses_nothing_and_holds_a_resnet18():
    array, arch = preset().array, preset()
    assert array.adc is not None
    largest = array.active_rows * (2**array.cell_bits - 1) * (2**array.digit_bits - 1)
    assert largest <= 2**array.adc.bits - 1
    cells = arch.arrays * array.rows * array.columns
    assert cells >= 8 // array.cell_bits * RESNET18_WEIGHTS * 1.3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("generic-28nm", "Exact: sums up to 128 have a code each, of 255."),
        ("dimc3-isscc23", "Exact: sums up to 384 are added digitally."),
        ("isaac", "A code stands for 1 of sums up to 384; what exceeds 255 saturates."),
        ("neurram", "A code stands for 4 of sums up to 3,840 to either side; what exceeds 2,044 saturates."),
        ("generic-charge-1152x256", "Charge: sums up to 1,152 share 255 steps, exactly where at most 255 rows are enabled."),
    ],
)
def test_what_a_code_stands_for_is_told(name: str, told: str):
    assert resolution(preset(name)) == told


def test_the_charge_chip_has_every_granularity():
    assert preset("generic-charge-1152x256").array.disabling.granularities == ("none", "pad", "row_group", "row", "plane_group", "plane")


def test_a_file_is_a_chip_too(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\narray: {rows: 64, active_rows: 64}\n")
    arch = resolve(str(path))
    assert (arch.name, arch.array.rows, arch.array.columns) == ("mine", 64, Arch(name="").array.columns)


@pytest.mark.parametrize(("name", "remedy"), [("issac", "Did you mean isaac?"), ("?", "Presets: generic-28nm, aimc3")])
def test_an_unknown_name_is_told_what_there_is(name: str, remedy: str):
    with pytest.raises(ChipError) as caught:
        resolve(name)
    assert remedy in str(caught.value)
