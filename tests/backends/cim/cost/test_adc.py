"""Both fits of converters against their published figures."""

from dataclasses import replace

import pytest

from netwright.backends.cim.arch.model import Adc, AdcModel, Arch, Array
from netwright.backends.cim.cost.adc import conversion, survey_pj, survey_um2


def chip(model: AdcModel, **adc: float) -> Arch:
    return Arch(name="chip", array=Array(adc=Adc(model=model, **adc)))  # pyright: ignore


@pytest.mark.parametrize(
    ("node", "bits", "pj"),
    [
        *[(22, bits, pj) for bits, pj in ((4, 0.457), (5, 0.463), (6, 0.527), (7, 0.649), (8, 0.847), (10, 1.64))],
        *[(28, bits, pj) for bits, pj in ((4, 0.719), (6, 0.829), (8, 1.33), (10, 2.57))],
        *[(32, bits, pj) for bits, pj in ((4, 0.924), (6, 1.07), (8, 1.71), (9, 2.34), (10, 3.31))],
        *[(65, bits, pj) for bits, pj in ((4, 3.5), (6, 4.04), (8, 6.49), (10, 12.5))],
    ],
)
def test_survey_energies(node: float, bits: float, pj: float) -> None:
    assert survey_pj(node, bits, 1e8) == pytest.approx(pj, rel=6e-3)


@pytest.mark.parametrize(("node", "um2"), [(22, 2199), (28, 3200), (32, 3939), (65, 11862)])
def test_survey_areas(node: float, um2: float) -> None:
    assert survey_um2(node, 8, 1e8) == pytest.approx(um2, rel=1e-3)


def test_the_fits_differ_as_said() -> None:
    zigzag, survey = conversion(chip("zigzag")), conversion(chip("cimloop"))
    assert zigzag.energy_pj == pytest.approx(0.701, abs=5e-4)
    assert zigzag.area_um2 == pytest.approx(10**0.9108 * 256)
    assert survey.energy_pj / zigzag.energy_pj == pytest.approx(1.9, abs=0.05)
    assert survey.area_um2 / zigzag.area_um2 == pytest.approx(1.5, abs=0.05)


def test_the_survey_is_flat_to_a_gigahertz_and_below_four_bits() -> None:
    assert survey_pj(28, 8, 1e6) == survey_pj(28, 8, 1e8)
    assert survey_pj(28, 8, 1e10) > 2 * survey_pj(28, 8, 1e8)
    assert survey_pj(28, 2.5, 1e8) == survey_pj(28, 4, 1e8)
    assert conversion(chip("cimloop", rate_mhz=50.0)).delay_ns == 20.0


def test_calibration_and_voltage() -> None:
    plain, scaled = conversion(chip("cimloop")), conversion(chip("cimloop", energy_scale=0.275, area_scale=0.4))
    assert scaled.energy_pj == pytest.approx(0.275 * plain.energy_pj)
    assert scaled.area_um2 == pytest.approx(0.4 * plain.area_um2)
    lowered = conversion(replace(chip("cimloop"), voltage=0.45, nominal_voltage=0.9))
    assert lowered.energy_pj == pytest.approx(plain.energy_pj / 4)


def test_a_table_and_no_converter() -> None:
    table = chip("table", energy_pj=1.667, area_um2=1200.0, delay_ns=12.5)
    assert conversion(table) == conversion(table, 8)
    assert conversion(table, 4).energy_pj == pytest.approx(1.667 / 2)
    assert conversion(table, 4).delay_ns == 12.5
    digital = Arch(name="digital", array=Array(kind="digital", adc=None))
    assert conversion(digital).energy_pj == 0.0


@pytest.mark.parametrize("model", ["zigzag", "cimloop", "table"])
def test_fewer_bits_never_cost_more(model: AdcModel) -> None:
    arch = chip(model, energy_pj=2.0)
    energies = [conversion(arch, bits).energy_pj for bits in (0, 1, 2.5, 4, 5.5, 7, 8)]
    assert energies == sorted(energies)
    assert energies[0] == 0.0
