"""Curves in reports."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from netwright.passes.curves import Curve
from netwright.passes.manager import PassRow
from netwright.plot import svg
from netwright.report import Report, Stats

SVG = "{http://www.w3.org/2000/svg}"
CURVE = Curve(
    "a & b", "bits", "error", {"by site": [(2, 0.1), (4, 0.01), (8, 0.0001)], "alike": [(2, 0.2), (8, 0.001)]}, (6, 0.002), log=True
)


def test_all_points_are_drawn_inside_the_frame_and_better_ones_lie_lower() -> None:
    drawn = ElementTree.fromstring(svg(CURVE))
    circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in drawn.iter(f"{SVG}circle")]
    assert len(circles) == 6
    assert all(0 <= x <= float(drawn.attrib["width"]) and 0 <= y <= float(drawn.attrib["height"]) for x, y in circles)
    assert [y for _, y in circles[:3]] == sorted(y for _, y in circles[:3])
    assert math.isclose(circles[1][1] - circles[0][1], (circles[2][1] - circles[1][1]) / 2, abs_tol=0.2)  # one decade, then two
    assert len(list(drawn.iter(f"{SVG}polyline"))) == 2


def test_titles_are_text() -> None:
    assert "a &amp; b" in svg(CURVE)


def test_points_that_cannot_be_drawn_are_left_out() -> None:
    assert svg(Curve("", "", "", {"a": [(1, 0.0), (2, math.inf)]}, log=True)) == ""
    assert svg(Curve("", "", "", {"a": [(1, 5.0)]})).count("<circle") == 1


def test_a_report_shows_the_curves_of_its_passes() -> None:
    size = Stats(1, 1, 1, 1, {})
    report = Report(size, size, [PassRow("quantize", curves=(CURVE,))], 0.0, 0.0)
    assert "<svg" in report.html()
    rows = report.to_dict()["passes"]
    assert isinstance(rows, list)
    assert rows[0]["curves"][0]["series"]["alike"] == [[2, 0.2], [8, 0.001]]
