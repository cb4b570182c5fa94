"""Programs run on ONNX Runtime as they are, wherever their weights lie, and refuse with the node named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest

from netwright.backends.onnxruntime import SessionOptions, lower
from netwright.backends.onnxruntime.wire import to_wire
from netwright.ir import Program
from netwright.ir.errors import DataError, RunError
from netwright.ir.storage import read_model, write_model

ROWS = 64


def program_of(text: str) -> Program:
    return Program(onnx_ir.from_onnx_text(text))


def weighted(seed: int = 0) -> Program:
    """y = x @ w with w of 64×64 floats: large enough to stay out of the serialized graph."""
    array = np.random.default_rng(seed).standard_normal((ROWS, ROWS), dtype=np.float32)
    text = f'<ir_version: 10, opset_import: ["" : 20]> weighted (float[N, {ROWS}] x) => (float[N, {ROWS}] y) {{ y = MatMul(x, w) }}'
    return Program(onnx_ir.from_onnx_text(text, initializers=[onnx_ir.tensor(array, name="w")]))


def weight_of(program: Program) -> np.ndarray:
    tensor = program.graph.initializers["w"].const_value
    assert tensor is not None
    return np.array(tensor.numpy())


def product(program: Program) -> np.ndarray:
    return lower(program, threads=1).run({"x": np.eye(ROWS, dtype=np.float32)})["y"]


def test_outputs_come_in_program_order_with_their_names():
    program = program_of('<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] b, float[2] a) { a = Neg(x)\n b = Abs(x) }')
    found = lower(program, threads=1).run({"x": [1.0, -2.0]})
    assert list(found) == ["b", "a"]
    assert found["a"].tolist() == [-1.0, 2.0]


def test_feeds_are_checked_before_the_session_sees_them():
    executable = lower(weighted(), threads=1)
    with pytest.raises(DataError, match="axis 1 is 64"):
        executable.run({"x": np.zeros((1, 3), np.float32)})


def test_weights_in_memory_are_handed_over_and_not_serialized():
    program = weighted()
    wire = to_wire(program.model)
    assert list(wire.weights) == ["w"]
    assert len(wire.message) < 1000


def test_a_weight_that_nothing_reads_is_not_handed_over():
    """ONNX Runtime drops it before it would look for it, and refuses a name that is not there."""
    program = weighted()
    unread = onnx_ir.tensor(np.ones((ROWS, ROWS), np.float32), name="unread")
    program.graph.register_initializer(onnx_ir.Value(name="unread", const_value=unread))
    assert list(to_wire(program.model).weights) == ["w"]
    assert np.array_equal(product(program), weight_of(program))
    np.testing.assert_array_equal(product(program), weight_of(program))


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_weights_inside_a_file_are_read_from_there_whatever_their_alignment(tmp_path: Path, padding: int):
    original = weighted()
    original.model.doc_string = "." * (10 + padding)
    original.graph.name = "g" * (1 + padding)
    write_model(original.model, tmp_path / "m.onnx")
    program = Program(read_model(tmp_path / "m.onnx"))
    wire = to_wire(program.model)
    assert wire.folder == tmp_path
    assert not wire.weights
    np.testing.assert_array_equal(product(program), weight_of(original))
    in_memory = Program(read_model((tmp_path / "m.onnx").read_bytes()))
    assert list(to_wire(in_memory.model).weights) == ["w"]
    np.testing.assert_array_equal(product(in_memory), weight_of(original))


def test_external_weights_and_links_to_them_are_followed(tmp_path: Path):
    original = weighted()
    stored = tmp_path / "blobs"
    stored.mkdir()
    write_model(original.model, stored / "m.onnx", external="m.data")
    np.testing.assert_array_equal(product(Program(read_model(stored / "m.onnx"))), weight_of(original))
    linked = tmp_path / "linked"
    linked.mkdir()
    write_model(original.model, stored / "one.onnx")
    os.symlink(stored / "one.onnx", linked / "model.onnx")
    np.testing.assert_array_equal(product(Program(read_model(linked / "model.onnx"))), weight_of(original))


def test_a_file_replaced_after_loading_does_not_change_the_program(tmp_path: Path):
    first, second = weighted(1), weighted(2)
    write_model(first.model, tmp_path / "m.onnx")
    program = Program(read_model(tmp_path / "m.onnx"))
    write_model(second.model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(product(program), weight_of(first))


def test_weights_from_two_folders_meet(tmp_path: Path):
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        write_model(weighted(seed).model, tmp_path / folder / "m.onnx")
    first, second = (read_model(tmp_path / folder / "m.onnx") for folder in "ab")
    first_weight = first.graph.initializers["w"].const_value
    second_weight = second.graph.initializers["w"].const_value
    assert first_weight is not None
    assert second_weight is not None
    first_weight.name = "v"
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
    both (float[N, {ROWS}] x) => (float[N, {ROWS}] y) {{ h = MatMul(x, v)\n y = MatMul(h, w) }}"""
    model = onnx_ir.from_onnx_text(text, initializers=[first_weight, second_weight])
    np.testing.assert_allclose(product(Program(model)), weight_of(weighted(1)) @ weight_of(weighted(2)), rtol=1e-4, atol=1e-4)


def test_lowering_leaves_the_program_and_its_tensors_alone():
    program = weighted()
    tensor = program.graph.initializers["w"].const_value
    lower(program, threads=1)
    assert program.graph.initializers["w"].const_value is tensor
    assert program.version == 0


def test_saved_files_give_the_same_values(tmp_path: Path):
    executable = lower(weighted(), threads=1)
    executable.save(tmp_path / "m.onnx")
    again = Program(read_model(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(product(again), weight_of(weighted()))


def test_stale_types_of_inner_values_do_no_harm():
    program = program_of('<ir_version: 10, opset_import: ["" : 20]> g (float[N, 4] x) => (float[N, 4] y) { h = Neg(x)\n y = Neg(h) }')
    program.value("h").type = onnx_ir.TensorType(onnx_ir.DataType.INT64)
    program.value("h").shape = onnx_ir.Shape((5, 5))
    assert lower(program, threads=1).run({"x": np.ones((2, 4), np.float32)})["y"].tolist() == [[1.0] * 4] * 2


OWN = """<ir_version: 10, opset_import: ["" : 20, "netwright.test" : 1]>
g (float[2] x) => (float[2] y) {{ y = netwright.test.Twice({inputs}) }}
<domain: "netwright.test", opset_import: ["" : 20]> Twice (x, unused) => (y) {{ y = Add(x, x) }}"""


def test_own_functions_are_inlined_even_without_an_optional_input():
    assert lower(program_of(OWN.format(inputs="x")), threads=1).run({"x": [1.0, 2.0]})["y"].tolist() == [2.0, 4.0]


def test_other_functions_are_kept():
    other = OWN.format(inputs="x, x").replace("netwright.test", "somebody.test")
    executable = lower(program_of(other), threads=1)
    assert [node.op_type for node in executable.program.graph] == ["Twice"]
    assert executable.run({"x": [1.0, 2.0]})["y"].tolist() == [2.0, 4.0]


def test_an_own_operator_without_expansion_is_named():
    text = '<ir_version: 10, opset_import: ["" : 20, "netwright.cim" : 1]> g (float[2] x) => (float[2] y) { y = netwright.cim.Mvm(x) }'
    with pytest.raises(RunError, match="Mvm has no expansion") as caught:
        lower(program_of(text))
    assert caught.value.place == "y"


DROPOUT = """<ir_version: 10, opset_import: ["" : 20]>
g (float[2, 2] x) => ({outputs}) <float half = {{0.5}}, bool training = {{1}}> {{ {body} }}"""


@pytest.mark.parametrize(
    ("outputs", "body", "left"),
    [
        ("float[2, 2] y", "h = Dropout(x, half, training)\n y = Neg(h)", ["Neg"]),
        ("float[2, 2] h", "h = Dropout(x, half, training)", ["Dropout"]),
        ("float[2, 2] y, bool[2, 2] m", "h, m = Dropout(x, half, training)\n y = Neg(h)", ["Dropout", "Neg"]),
    ],
)
def test_dropout_in_training_mode_is_taken_out(outputs: str, body: str, left: list[str]):
    executable = lower(program_of(DROPOUT.format(outputs=outputs, body=body)), threads=1)
    assert [node.op_type for node in executable.program.graph] == left
    found = executable.run({"x": np.ones((2, 2), np.float32)})
    assert np.abs(next(iter(found.values()))).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert all(found["m"].ravel()) if "m" in found else True


def test_dropout_that_a_caller_switches_is_kept():
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[2] x, bool training) => (float[2] y) <float half = {0.5}> { h = Dropout(x, half, training)\n y = Neg(h) }"""
    assert [node.op_type for node in lower(program_of(text), threads=1).program.graph] == ["Dropout", "Neg"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = Bogus(x)", "No Op registered for Bogus"),
        ("h = Cast<to=10>(x)\n i = Cast<to=12>(x)\n y = BitwiseAnd(h, i)", "BitwiseAnd"),
    ],
)
def test_what_onnx_runtime_refuses_is_a_short_error_with_a_remedy(body: str, message: str):
    text = f'<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) {{ {body} }}'
    with pytest.raises(RunError, match=message) as caught:
        lower(program_of(text))
    assert caught.value.remedy
    assert len(caught.value.message) < 400
    assert "[ONNXRuntimeError]" not in caught.value.message


def test_an_operator_that_fails_is_named():
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[N] x, int64[M] i) => (float[M] y) { y = Gather(x, i) }"""
    program = program_of(text)
    next(iter(program.graph)).name = "lookup"
    with pytest.raises(RunError, match="out of data bounds") as caught:
        lower(program, threads=1).run({"x": [1.0], "i": [5]})
    assert caught.value.place == "lookup"
    assert "index" in (caught.value.remedy or "")


def test_an_unknown_provider_is_refused_with_those_there_are():
    with pytest.raises(RunError, match="no provider 'Abacus'") as caught:
        lower(weighted(), options=SessionOptions(providers=("Abacus",)))
    assert "CPUExecutionProvider" in (caught.value.remedy or "")


def test_types_that_numpy_lacks_go_in_and_out():
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (bfloat16[3] x) => (bfloat16[3] y, float[3] z, int4[3] n)
    { z = Cast<to=1>(x)\n h = Neg(z)\n y = Cast<to=16>(h)\n n = Cast<to=22>(z) }"""
    import ml_dtypes

    found = lower(program_of(text), threads=1).run({"x": np.array([1, -2, 3.5], ml_dtypes.bfloat16)})
    assert found["y"].dtype == ml_dtypes.bfloat16
    assert found["y"].astype(np.float32).tolist() == [-1.0, 2.0, -3.5]
    assert found["n"].dtype == ml_dtypes.int4
    assert found["n"].astype(np.int8)[:2].tolist() == [1, -2]


def test_sequences_come_out_as_object_arrays():
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["s"]), helper.make_node("SequenceAt", ["t", "i"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2]),
            helper.make_tensor_sequence_value_info("t", onnx.TensorProto.FLOAT, None),
            helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None),
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    feeds = {"x": [1.0, 2.0], "t": [np.zeros(1, np.float32), np.ones(3, np.float32)], "i": 1}
    found = lower(Program(onnx_ir.from_proto(model)), threads=1).run(feeds)
    assert [item.tolist() for item in found["s"]] == [[1.0, 2.0], [1.0, 2.0]]
    assert found["y"].tolist() == [1.0, 1.0, 1.0]
