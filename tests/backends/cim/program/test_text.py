"""A program's text: read by people, and back."""

from __future__ import annotations

import pytest

from netwright.backends.cim.program import assemble, disassemble
from netwright.backends.cim.program.file import to_bytes
from netwright.backends.cim.program.model import ChipProgram
from netwright.backends.cim.program.syntax import read_record, write_record
from netwright.ir.errors import ModelFileError, NetwrightError, VerifyError
from tests.backends.cim.program import chips

MADE = {"linear": chips.linear()[0], "conv": chips.conv()[0], "residual": chips.residual(), "reload": chips.reload()[0]}

LINEAR = """\
buffer 0: tile=-1 tensor="x" box=[0:1, 0:3, 0:40] address=0 bytes=120
buffer 1: tile=-1 tensor="y" box=[0:1, 0:3, 0:6] address=0 bytes=18
buffer 2: tile=0 tensor="x" box=[0:1, 0:3, 0:32] address=0 bytes=96
buffer 3: tile=0 tensor="s#k0" box=[0:1, 0:3, 0:6] address=96 bytes=72
buffer 4: tile=0 tensor="s#k1" box=[0:1, 0:3, 0:6] address=168 bytes=72
buffer 5: tile=0 tensor="s" box=[0:1, 0:3, 0:6] address=240 bytes=72
buffer 6: tile=0 tensor="y" box=[0:1, 0:3, 0:6] address=312 bytes=18
buffer 7: tile=1 tensor="x" box=[0:1, 0:3, 32:40] address=0 bytes=24
buffer 8: tile=1 tensor="s#k1" box=[0:1, 0:3, 0:6] address=24 bytes=72
matrix 0: name="w" values={blob=0} coding={rows=32} layer="fc"
unit 0: matrix=0 rows=[0, 32] columns=[0, 6] tile=0 first_array=0 arrays=2
unit 1: matrix=0 rows=[32, 40] columns=[0, 6] tile=1 first_array=0 arrays=2
scaling 0: name="s" bias={blob=1} multiplier={blob=2} zero_point=12 low=12 high=255 dtype="uint8"
tile 0:
  0 load source=0 target=2 box=[0:1, 0:3, 0:32] layer="fc"  # x -> x
  1 mvm unit=0 source=2 target=3 box=[0:1, 0:3, 0:6] layer="fc"  # x -> s#k0
  2 receive channel=0 target=4 box=[0:1, 0:3, 0:6] layer="fc"  # s#k1
  3 accumulate sources=[3, 4] target=5 box=[0:1, 0:3, 0:6] layer="fc"  # s#k0, s#k1 -> s
  4 requantize scaling=0 source=5 target=6 box=[0:1, 0:3, 0:6] layer="fc"  # s -> y
  5 store source=6 target=1 box=[0:1, 0:3, 0:6] layer="fc"  # y -> y
tile 1:
  0 load source=0 target=7 box=[0:1, 0:3, 32:40] layer="fc"  # x -> x
  1 mvm unit=1 source=7 target=8 box=[0:1, 0:3, 0:6] layer="fc"  # x -> s#k1
  2 send channel=0 source=8 box=[0:1, 0:3, 0:6] to=0 layer="fc"  # s#k1
"""


def test_a_linear_layer_as_text():
    text = disassemble(MADE["linear"])

    assert LINEAR in text
    assert text.startswith(
        'nwcim 2\nprogram name="made" arch={name="small", network={columns=2, rows=2}} options={} notes=["made by hand"]\n'
    )


@pytest.mark.parametrize("chip", MADE.values(), ids=MADE)
def test_text_assembles_to_the_same_program(chip: ChipProgram):
    assert to_bytes(assemble(disassemble(chip, data=True))) == to_bytes(chip)
    assert to_bytes(assemble(disassemble(chip), data_of=chip)) == to_bytes(chip)


def test_an_edited_text_is_held_to_the_rules():
    text = disassemble(MADE["linear"], data=True)
    shorter = text.replace("  0 load source=0 target=7 box=[0:1, 0:3, 32:40]", "  0 load source=0 target=7 box=[0:1, 0:2, 32:40]")
    with pytest.raises(VerifyError, match=r"reads \[0:1, 0:3, 32:40\] of x in buffer 7 before that is written.*tile 1, instruction 1"):
        assemble(shorter)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nwcim 2", "nwcim 1", "begins with `nwcim 2`, this one with `nwcim 1`"),
        ("tile 1:", "tile one:", "line 30"),
        ("  1 mvm unit=1", "  2 mvm unit=1", "Instruction 1 was expected"),
        ("  1 mvm unit=1", "  1 multiply unit=1", "'multiply' is none of"),
        ("unit=1 source=7", "unit=1 origin=7", "'origin' is unknown"),
        ("buffer 3:", "buffer 4:", "`buffer 3:` was expected"),
        ("box=[0:1, 0:3, 32:40] layer", "box=[0:1, 0:3, 32:40 layer", "']' is missing"),
        ('base64="', 'base64="!', "no base64"),
        ("shape=[40, 6]", "shape=[41, 6]", "240 bytes are no int8"),
        ("address=96", "address=1e999", "integer was expected"),
        ('name="w"', 'name="w', "cannot be read"),
    ],
)
def test_lines_that_cannot_be_read_are_named(old: str, new: str, message: str):
    text = disassemble(MADE["linear"], data=True)
    assert old in text
    with pytest.raises(ModelFileError, match=message.replace("[", r"\[").replace("]", r"\]")):
        assemble(text.replace(old, new, 1))


def test_data_left_out_must_come_from_somewhere():
    with pytest.raises(ModelFileError, match="leaves its data out"):
        assemble(disassemble(MADE["linear"]), data_of=MADE["reload"])


def test_names_may_hold_anything():
    record: dict[str, object] = {
        "name": 'a "b" # c\n\\ {x=1}',
        "box": [[0, 1], [2, 30]],
        "pair": [3, 3],
        "none": None,
        "deep": {"a": [1.5, -2, True, []]},
    }

    assert read_record(write_record(record) + "  # and more", "here") == record  # pyright: ignore[reportArgumentType]


def test_text_with_marks_shuffled_is_an_error_or_a_program():
    text = disassemble(MADE["reload"], data=True)
    spots = [place for place, mark in enumerate(text) if mark in '[]{}=:,"'][::9]
    refused = 0
    for place in spots:
        try:
            assemble(text[:place] + "]" + text[place + 1 :])
        except NetwrightError:
            refused += 1
    assert refused > 0.8 * len(spots)


def test_digits_of_other_scripts_are_no_tile():
    text = disassemble(MADE["linear"], data=True)
    with pytest.raises(ModelFileError):
        assemble(text.replace("tile 0:", "tile ²:", 1))
