"""Pipeline text parses, prints back the same, and says what is wrong with it."""

from __future__ import annotations

import pytest

from netwright.ir.errors import PipelineError
from netwright.passes import Pipeline


@pytest.mark.parametrize(
    "text", ["simplify", "simplify, quantize", "simplify, quantize(scheme='dynamic')", "quantize(scheme='weights', bits=4)"]
)
def test_text_prints_back_the_same(text: str) -> None:
    assert str(Pipeline.parse(text)) == text


def test_options_that_equal_their_defaults_are_left_out() -> None:
    assert str(Pipeline.parse("quantize(bits=8)")) == "quantize"


def test_white_space_and_newlines_do_not_matter() -> None:
    assert (
        str(Pipeline.parse(" simplify ,\n  quantize ( bits = 4,scheme = 'weights' ) ,")) == "simplify, quantize(scheme='weights', bits=4)"
    )


def test_empty_text_is_an_empty_pipeline() -> None:
    assert len(Pipeline.parse("  ")) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simplfy", "Did you mean simplify"),
        ("simplify(", "does not parse"),
        ("simplify quantize", "does not parse"),
        ("quantize(8)", "by name only"),
        ("quantize(bit=8)", "Did you mean bits"),
        ("quantize(bits=open('x'))", "must be a literal"),
        ("__import__('os').system('true')", "is not a pass"),
        ("quantize(**{'bits': 8})", "has no place"),
        ("1 + 1", "is not a pass"),
        ("(" * 300 + ")" * 300, "does not parse"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.parse(text)
    assert message in str(caught.value)
