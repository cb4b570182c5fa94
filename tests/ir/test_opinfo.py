"""Facts about operators."""

from __future__ import annotations

import onnx.defs
import onnx_ir
import pytest
from onnx_ir import DataType

from netwright.ir import opinfo
from netwright.ir.contrib import CONTRIB


def node(text: str, *, opset: int = 20, domains: str = "") -> onnx_ir.Node:
    return next(iter(onnx_ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : {opset}{domains}]> {text}').graph))


def test_schemas_follow_the_version() -> None:
    old, new = opinfo.schema_of("", "Split", 11), opinfo.schema_of("", "Split", 18)
    assert old is not None
    assert new is not None
    assert "split" in old.attributes
    assert [formal.name for formal in new.inputs] == ["input", "split"]
    assert new.inputs[1].optional
    assert new.input_index("split") == 1
    assert opinfo.schema_of("", "Gelu", 19) is None
    assert opinfo.schema_of("my.domain", "Gelu", 1) is None


def test_defaults_come_from_the_schema() -> None:
    gemm = node("g (float[2, 2] x) => (y) { y = Gemm<transB=1>(x, x) }")
    assert opinfo.int_attr(gemm, "transB", 0) == 1
    assert opinfo.float_attr(gemm, "alpha", 1.0) == 1.0
    assert opinfo.default_of(gemm, "beta", 20) == 1.0
    assert opinfo.default_of(gemm, "transA", 20) == 0


def test_an_attribute_that_refers_to_the_function_s_has_no_value() -> None:
    found = node("g (float[2] x) => (y) { y = Relu(x) }")
    found.attributes.add(onnx_ir.RefAttr("alpha", "outer", onnx_ir.AttributeType.FLOAT))
    assert opinfo.has_references(found)
    with pytest.raises(opinfo.ReferencedAttributeError, match="outer"):
        opinfo.float_attr(found, "alpha", 1.0)


def test_every_operator_family_names_real_operators() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    families = opinfo.ELEMENTWISE | opinfo.COMMUTATIVE | opinfo.NON_DETERMINISTIC | opinfo.DATA_MOVEMENT | set(opinfo.WITH_SUBGRAPHS)
    assert families <= known


def test_random_nodes_and_what_holds_them_are_not_pure() -> None:
    assert not opinfo.is_pure(node("g (float[2] x) => (y) { y = Bernoulli(x) }"))
    assert opinfo.is_pure(node("g (float[2] x) => (y) { y = Dropout(x) }"))
    assert not opinfo.is_pure(node("g (float[2] x, float r, bool t) => (y) { y = Dropout(x, r, t) }"))
    holder = (
        "g (bool c, float[2] x) => (y) { y = If(c) <then_branch = a () => (p) { p = %s(x) }, else_branch = b () => (q) { q = Neg(x) }> }"
    )
    assert opinfo.is_pure(node(holder % "Relu"))
    assert not opinfo.is_pure(node(holder % "RandomUniformLike"))
    assert not opinfo.is_pure(node("g (float[2] x) => (y) { y = my.domain.Log(x) }", domains=', "my.domain" : 1'))


def test_data_types_have_their_kinds_and_sizes() -> None:
    assert opinfo.is_float(DataType.BFLOAT16)
    assert not opinfo.is_float(DataType.FLOAT8E4M3FN)
    assert opinfo.is_integer(DataType.UINT4)
    assert not opinfo.is_integer(DataType.BOOL)
    assert [opinfo.bits_of(dtype) for dtype in (DataType.FLOAT, DataType.INT4, DataType.UINT2, DataType.STRING)] == [32, 4, 2, 0]


def test_the_contrib_table_is_what_onnx_runtime_registers() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    registered = {schema.name: schema for schema in state.get_all_operator_schema() if schema.domain == "com.microsoft"}
    for name, ours in CONTRIB.items():
        theirs = registered[name]
        assert (ours.min_inputs, ours.min_outputs) == (theirs.min_input, theirs.min_output), name
        count = min(len(ours.inputs), len(theirs.inputs))
        optional = [str(formal.option).endswith("Optional") for formal in theirs.inputs]
        assert [formal.optional for formal in ours.inputs][:count] == optional[:count], name
        assert {a.name for a in ours.attributes.values() if a.required} == {a.name for a in theirs.attributes.values() if a.required}, name
