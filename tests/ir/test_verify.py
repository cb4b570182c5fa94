"""The verifier: it accepts what the standard accepts, and names what is broken, with the node in place."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx_ir import DataType, TensorType

from netwright.ir.errors import VerifyError
from netwright.ir.program import Program
from netwright.ir.verify import problems, verify

TEXT = """g (float[n, 4] x, bool c) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}> {
    a = Add(x, w)
    b = Relu(a)
    d = If(c) <then_branch = t () => (p) { p = Neg(b) }, else_branch = e () => (q) { q = Abs(b) }>
    y = Softmax<axis=-1>(d)
}"""


def program(body: str = TEXT, *, opset: int = 20, rest: str = "", domains: str = "") -> Program:
    return Program(onnx_ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]>\n{body}\n{rest}'))


def only_message(found: Program) -> str:
    with pytest.raises(VerifyError) as raised:
        verify(found)
    return str(raised.value)


def test_a_sound_program_passes() -> None:
    verify(program())
    assert problems(program()) == []


def test_every_model_that_onnx_s_checker_accepts_passes() -> None:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {case.name: case.model for case in collect_testcases("") if case.model is not None}
    refused: dict[str, str] = {}
    for name, model in models.items():
        onnx.checker.check_model(model)
        found = problems(Program(onnx_ir.from_proto(model)))
        if found:
            refused[name] = found[0].message
    assert refused == {}
    assert len(models) > 1500


def test_the_error_shows_the_node_with_its_neighbours() -> None:
    found = program()
    found.value("b").producer().attributes["nonsense"] = onnx_ir.AttrInt64("nonsense", 1)  # pyright: ignore[reportOptionalMemberAccess]
    message = only_message(found)
    assert "Relu at version 14 has no attribute 'nonsense'" in message
    assert "> %b: ? = Relu(%a, nonsense=1)" in message
    assert "  %a: ? = Add(%x, %w)" in message
    assert "Softmax" in message


Break = Callable[[Program], object]


def _swap(found: Program) -> None:
    first, second, *_ = found.graph
    found.graph.remove(first)
    found.graph.insert_after(second, first)


def _stale_reader(found: Program) -> None:
    onnx_ir.node("Neg", [found.value("a")])


def _foreign_value(found: Program) -> None:
    node = found.value("b").producer()
    assert node is not None
    node.replace_input_with(0, onnx_ir.Value(name="stranger"))


def _namesake(found: Program) -> None:
    node = found.value("b").producer()
    assert node is not None
    node.replace_input_with(0, onnx_ir.Value(name="a"))


def _wrong_tensor(found: Program) -> None:
    found.value("w").const_value = onnx_ir.tensor(np.zeros(5, np.float32))


def _wrong_type(found: Program) -> None:
    found.value("a").type = TensorType(DataType.STRING)


def _two_types(found: Program) -> None:
    found.value("w").type = TensorType(DataType.DOUBLE)
    found.value("w").const_value = onnx_ir.tensor(np.zeros(4, np.float64))


def _no_input(found: Program) -> None:
    node = found.value("a").producer()
    assert node is not None
    node.replace_input_with(1, None)


def _attribute_type(found: Program) -> None:
    node = found.value("y").producer()
    assert node is not None
    node.attributes["axis"] = onnx_ir.AttrFloat32("axis", 1.0)


def _branch_outputs(found: Program) -> None:
    node = found.value("d").producer()
    assert node is not None
    node.attributes["then_branch"].as_graph().outputs.pop()


def _outer_result(found: Program) -> None:
    node = found.value("d").producer()
    assert node is not None
    outputs = node.attributes["then_branch"].as_graph().outputs
    outputs.pop()
    outputs.append(found.value("b"))


def _same_name(found: Program) -> None:
    found.value("b").name = "a"


def _no_opset(found: Program) -> None:
    found.model.opset_imports.pop("")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_swap, "it reads %a before it is computed"),
        (_stale_reader, "%a has 1 readers in the graphs, but lists 2"),
        (_foreign_value, "it reads %stranger, which nothing in scope defines"),
        (_namesake, "it reads a value %a that is not the %a defined here"),
        (_wrong_tensor, "initializer %w is declared"),
        (_wrong_type, "%a is tensor(string)"),
        (_two_types, "Add wants one type"),
        (_no_input, "Add takes 2 inputs, not 1"),
        (_attribute_type, "attribute 'axis' of Softmax is FLOAT, INT expected"),
        (_branch_outputs, "then_branch gives 0 outputs, the If has 1"),
        (_outer_result, "comes from an outer scope"),
        (_same_name, "%a is defined twice"),
        (_no_opset, "imports no version of domain ''"),
    ],
)
def test_damage_is_named(damage: Break, expected: str) -> None:
    found = program()
    damage(found)
    assert expected in only_message(found)


@pytest.mark.parametrize(
    ("body", "domains", "expected"),
    [
        ("g (float[2] x) => (y) { y = Frobnicate(x) }", "", "there is no operator Frobnicate in version 20 of domain 'ai.onnx'"),
        ("g (float[2] x) => (y) { y = com.microsoft.Frobnicate(x) }", ', "com.microsoft" : 1', "that ONNX Runtime's CPU provider runs"),
        ("g (float[2] x) => (y) { y = Concat(x, x) }", "", "Concat needs the attribute 'axis'"),
        ("g (float[2] x) => (y) { y = f.Missing(x) }", ', "f" : 1', "the model has no function f::Missing"),
        ("g (float[2] x) => (y) { y = f.Loopy(x) }", ', "f" : 1', "calls itself"),
        ("g (float[2] x) => (y) { y = f.Relu2(x, x) }", ', "f" : 1', "2 inputs given to a function of 1"),
        ("g (float[2, 2] x, int64[1] i) => (y) { y = Scatter(x, i, x) }", "", "Scatter is no longer an operator"),
        ("g (float[2] x) => (y) { y, m, v = BatchNormalization(x, x, x, x, x, x) }", "", "BatchNormalization takes 5 inputs, not 6"),
    ],
)
def test_what_the_file_gets_wrong_is_named(body: str, domains: str, expected: str) -> None:
    functions = """<domain: "f", opset_import: ["" : 20, "f" : 1]> Loopy (a) => (b) { b = f.Loopy(a) }
        <domain: "f", opset_import: ["" : 20]> Relu2 (a) => (b) { b = Relu(a) }"""
    found = program(body, domains=domains, rest=functions if '"f"' in domains else "")
    assert any(expected in problem.message for problem in problems(found))


def test_unknown_domains_pass_if_imported() -> None:
    verify(program("g (float[2] x) => (y) { y = my.ops.Anything<level=3>(x, x, x) }", domains=', "my.ops" : 1'))


def test_a_subgraph_may_not_shadow_what_is_around_it() -> None:
    found = program(
        "g (bool c, float[2] x) => (y) { a = Neg(x)\n y = If(c) <then_branch = t () => (a) { a = Neg(x) }, "
        "else_branch = e () => (q) { q = Abs(a) }> }"
    )
    assert "%a is defined twice" in only_message(found)
