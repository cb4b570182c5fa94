"""Two programs are told apart by value and by structure."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx_ir
import pytest

from netwright.debug import compare, structure
from netwright.ir import Action, Program
from netwright.ir.errors import DataError
from netwright.ir.maps import Mapped, Take

HEAD = '<ir_version: 10, opset_import: ["" : 20]> g (float[N, 3] x) => (float[N, M] y)'


def program_of(body: str, *, weights: str = "float[1] two = {2}", head: str = HEAD) -> Program:
    return Program(onnx_ir.from_onnx_text(f"{head} <{weights}> {{ {body} }}"))


ORIGINAL = "a = Mul(x, two)\n b = Neg(a)\n y = Abs(b)"


def test_a_program_equals_itself():
    found = compare(program_of(ORIGINAL), program_of(ORIGINAL), values="all")
    assert found.first_divergence() is None
    assert [one.name for one in found.inner] == ["a", "b"]
    assert found.max_abs_error == 0.0


def test_the_first_value_that_differs_is_named():
    other = program_of("a = Mul(x, two)\n b = Exp(a)\n y = Abs(b)")
    found = compare(program_of(ORIGINAL), other, {"x": [[1.0, 2.0, 3.0]]}, values="all")
    first = found.first_divergence()
    assert first is not None
    assert first.name == "b"
    assert found.to_dict()["first_divergence"] == "b"
    assert found.outputs[0].max_abs == pytest.approx(np.exp(6.0) - 6.0)


def test_renamed_inputs_and_outputs_are_matched_by_position():
    head = HEAD.replace(" x)", " image)").replace(" y)", " score)")
    found = compare(program_of(ORIGINAL), program_of("score = Abs(image)", head=head))
    assert [one.name for one in found.outputs] == ["y"]
    assert found.rel_error == pytest.approx(0.5)


def test_values_without_counterpart_are_listed():
    found = compare(program_of(ORIGINAL), program_of("fresh = Mul(x, two)\n y = Abs(fresh)"), values="all")
    assert found.unmatched == ("fresh",)
    assert not found.inner


def test_pruned_values_are_held_against_what_was_kept():
    pruned = program_of("a = Gather<axis=1>(x, kept)\n y = Neg(a)", weights="int64[2] kept = {0, 2}")
    original = program_of("a = Identity(x)\n h = Neg(a)\n y = Gather<axis=1>(h, kept)", weights="int64[2] kept = {0, 2}")
    pruned.ledger.actions.append(Action("0:prune#1", 0, "prune", "a", 0, "", {"a": Mapped(Take(1, (0, 2), 3), ("a",))}))
    found = compare(original, pruned, values="all")
    assert [one.name for one in found.inner] == ["a"]
    assert found.first_divergence() is None


def test_programs_of_other_signatures_are_refused():
    head = HEAD.replace("x)", "x, float[N, 3] z)")
    with pytest.raises(DataError, match="have 1 and 2 inputs"):
        compare(program_of(ORIGINAL), program_of(ORIGINAL, head=head))


def test_structure_by_operators_nodes_and_weights():
    before = program_of(ORIGINAL, weights="float[1] two = {2}, float[1] gone = {1}")
    after = program_of("a = Mul(x, two)\n b = Exp(a)\n c = Exp(b)\n y = Abs(c)", weights="float[1] two = {3}, float[1] new = {1}")
    found = structure(before, after)
    assert found.ops == {"Exp": 2, "Neg": -1}
    assert (found.same, found.removed, found.added) == (0, (), ("c",))
    assert [change.name for change in found.changed] == ["a", "b", "y"]
    assert (found.weights_removed, found.weights_added) == (("gone",), ("new",))
    assert [change.name for change in found.weights_changed] == ["two"]
    assert not found.identical
    assert structure(before, before).identical


def test_a_renamed_node_is_matched_by_what_it_computes():
    before = program_of("a = Neg(x)\n b = Exp(a)\n y = Abs(b)")
    after = program_of("renamed = Neg(x)\n b = Exp(renamed)\n y = Abs(b)")
    assert structure(before, after).identical


def test_both_print_and_are_json():
    from rich.console import Console

    before, after = program_of(ORIGINAL), program_of("y = Exp(x)")
    values, graph = compare(before, after), structure(before, after)
    json.dumps([values.to_dict(), graph.to_dict()], allow_nan=False)
    console = Console(file=io.StringIO(), width=120)
    console.print(values, graph)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    assert "first divergence at %y" in printed
    assert "Exp" in printed
