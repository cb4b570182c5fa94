"""The mutation gate: what a transaction does, and that a failed one leaves nothing behind."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir import Program, shapes
from netwright.ir.editor import can_replace
from netwright.ir.errors import VerifyError
from netwright.ir.origin import MODULE, origin_of

CHAIN = """<ir_version: 10, opset_import: ["" : 20]>
chain (float[N, 4] x) => (float[N, 4] y)
{
    a = Relu(x)
    b = Neg(a)
    c = Neg(b)
    y = Abs(c)
}"""


def program_of(text: str) -> Program:
    program = Program(onnx_ir.from_onnx_text(text))
    shapes.infer(program)
    return program


def ops(program: Program) -> list[str]:
    return [node.op_type for node in program.nodes()]


def test_replacing_a_value_removes_what_it_orphans() -> None:
    program = program_of(CHAIN)
    with program.edit() as editor:
        editor.replace(program.value("c"), program.value("a"))
    assert ops(program) == ["Relu", "Abs"]
    assert program.version == 1


def test_a_new_value_takes_over_the_name_of_the_one_it_replaces() -> None:
    program = program_of(CHAIN)
    root = program.value("c").producer()
    with program.edit(by="0:test#1", at=root) as editor:
        editor.replace(program.value("c"), editor.op("Sqrt", [program.value("a")]))
    made = program.value("c").producer()
    assert made is not None
    assert made.op_type == "Sqrt"
    assert origin_of(made).by == ("0:test#1",)
    assert program.value("c").shape is not None


def test_a_graph_output_keeps_its_name() -> None:
    program = program_of(CHAIN)
    assert can_replace(program.value("y"), program.value("c"))
    with program.edit() as editor:
        editor.replace(program.value("y"), program.value("c"))
    assert [value.name for value in program.outputs] == ["y"]
    assert ops(program) == ["Relu", "Neg", "Neg"]


def test_a_graph_input_cannot_take_the_place_of_an_output() -> None:
    program = program_of(CHAIN)
    assert not can_replace(program.value("y"), program.value("x"))
    with pytest.raises(VerifyError), program.edit() as editor:
        editor.replace(program.value("y"), program.value("x"))


def test_an_error_rolls_everything_back() -> None:
    program = program_of(CHAIN)
    before = onnx_ir.to_proto(program.model).SerializeToString()
    root = program.value("b").producer()
    assert root is not None
    with pytest.raises(RuntimeError, match="halfway"), program.edit(at=root) as editor:  # noqa: PT012 - the block is the transaction
        weight = editor.constant(np.ones(4, np.float32), "weight")
        editor.replace(program.value("b"), editor.op("Mul", [program.value("a"), weight]))
        editor.set_attribute(root, "note", "changed")
        editor.rename(program.value("a"), "renamed")
        raise RuntimeError("halfway")
    assert onnx_ir.to_proto(program.model).SerializeToString() == before
    assert program.version == 0


def test_removing_a_node_that_is_still_read_is_refused_and_rolled_back() -> None:
    program = program_of(CHAIN)
    node = program.value("b").producer()
    assert node is not None
    with pytest.raises(VerifyError, match="still read"), program.edit() as editor:
        editor.remove(node)
    assert ops(program) == ["Relu", "Neg", "Neg", "Abs"]


def test_an_initializer_goes_with_its_last_reader() -> None:
    program = program_of(CHAIN)
    with program.edit(at=program.value("b").producer()) as editor:
        weight = editor.constant(np.ones(4, np.float32), "weight")
        editor.replace(program.value("b"), editor.op("Mul", [program.value("a"), weight]))
    assert [value.name for value in program.initializers()] == ["weight"]
    with program.edit() as editor:
        editor.replace(program.value("b"), program.value("a"))
    assert list(program.initializers()) == []


def test_a_random_node_is_kept_although_nobody_reads_it() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[4] x) => (float[4] y) { r = Bernoulli(x)  z = Neg(r)  y = Abs(z) }"""
    )
    with program.edit() as editor:
        editor.replace(program.value("z"), program.value("x"))
    assert ops(program) == ["Bernoulli", "Abs"]


def test_removing_a_node_with_subgraphs_releases_what_they_captured() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (bool c, float[4] x) => (float[4] y) {
            n = Neg(x)
            i = If (c) <then_branch = t () => (float[4] u) { u = Relu(n) }, else_branch = e () => (float[4] v) { v = Identity(n) }>
            k = Abs(i)
            y = Sqrt(x)
        }"""
    )
    with program.edit() as editor:
        dead = program.value("k").producer()
        assert dead is not None
        editor.remove(dead)
    assert ops(program) == ["Sqrt"]


def test_new_nodes_inherit_the_origin_of_the_insertion_point() -> None:
    program = program_of(CHAIN)
    root = program.value("b").producer()
    assert root is not None
    root.metadata_props[MODULE] = "blocks.0.fc"
    with program.edit(by="1:factorize#3", at=root) as editor:
        editor.replace(program.value("b"), editor.op("Sqrt", [program.value("a")], name="b.u"))
    made = program.value("b").producer()
    assert made is not None
    assert origin_of(made).module == "blocks.0.fc"


def test_fresh_names_are_unique_over_all_graphs() -> None:
    program = program_of(CHAIN)
    assert program.names.fresh("a") == "a_1"
    assert program.names.fresh("a") == "a_2"
    assert program.names.fresh("new") == "new"
    assert program.names.fresh("new") == "new_1"


def test_facts_are_computed_once_for_each_version() -> None:
    program = program_of(CHAIN)
    calls: list[int] = []

    def count(one: Program) -> int:
        calls.append(1)
        return sum(1 for _ in one.nodes())

    assert (program.fact(count), program.fact(count)) == (4, 4)
    with program.edit() as editor:
        editor.replace(program.value("c"), program.value("a"))
    assert program.fact(count) == 2
    assert len(calls) == 2


def test_a_clone_changes_on_its_own_and_shares_tensors() -> None:
    program = program_of(CHAIN)
    with program.edit(at=program.value("b").producer()) as editor:
        weight = editor.constant(np.ones(4, np.float32), "weight")
        editor.replace(program.value("b"), editor.op("Mul", [program.value("a"), weight]))
    copy = program.clone()
    with copy.edit() as editor:
        editor.replace(copy.value("b"), copy.value("a"))
    assert "Mul" in ops(program)
    assert "Mul" not in ops(copy)
    assert program.clone().value("weight").const_value is program.value("weight").const_value


def test_a_constant_made_here_takes_over_the_name_of_what_it_replaces():
    program = program_of(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N] x) => (float[N] y) <float[1] a = {1}> { b = Exp(a) y = Add(x, b) }'
    )
    node = program.graph[0]
    with program.edit(at=node) as editor:
        editor.replace(node.outputs[0], editor.constant(np.array([2.5], np.float32), "folded"))
    assert [value.name for value in program.initializers()] == ["b"]
    assert [node.op_type for node in program.graph] == ["Add"]


def test_optional_outputs_are_dropped_and_come_back_on_a_rollback():
    text = """<ir_version: 10, opset_import: ["" : 20]> g (float[1, 1, 4, 4] x) => (float[1, 1, 3, 3] y)
    { y, i = MaxPool<kernel_shape: ints = [2, 2]>(x) }"""
    program = program_of(text)
    node = program.graph[0]
    editor = program.edit(at=node)
    editor.drop_outputs(node, 1)
    assert len(node.outputs) == 1
    editor.rollback()
    assert [value.name for value in node.outputs] == ["y", "i"]
    with pytest.raises(VerifyError, match="still read"), program.edit(at=node) as refused:
        refused.drop_outputs(node, 0)


def test_a_branch_spliced_in_is_undone_on_an_error():
    text = """<ir_version: 10, opset_import: ["" : 20]> g (float[N] x, bool c) => (float[N] y)
    { y = If(c) <then_branch = one () => (float[N] a) { a = Neg(x) }, else_branch = two () => (float[N] b) { b = Abs(x) }> }"""
    program = program_of(text)
    node = program.graph[0]
    body = node.attributes["then_branch"].as_graph().clone(allow_outer_scope_values=True)
    editor = program.edit(at=node)
    (result,) = editor.splice(body, ())
    negation = result.producer()
    assert negation is not None
    assert (negation.op_type, negation.graph) == ("Neg", program.graph)
    editor.rollback()
    assert [node.op_type for node in program.graph] == ["If"]
    with program.edit(at=node) as editor:
        body = node.attributes["else_branch"].as_graph().clone(allow_outer_scope_values=True)
        (result,) = editor.splice(body, ())
        editor.replace(node.outputs[0], result)
    assert [node.op_type for node in program.graph] == ["Abs"]
    assert program.outputs[0].name == "y"
