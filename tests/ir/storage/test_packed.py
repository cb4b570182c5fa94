"""Weights with many zeros in compact form: exact, small, and read by ONNX Runtime as well."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.ir.dump import dump
from netwright.ir.errors import ModelFileError, UnsupportedModelError
from netwright.ir.program import Program
from netwright.ir.storage import saved_bytes, write_model
from netwright.ir.storage.packed import DOMAIN, Packed, pack, unpack
from netwright.ir.zeros import with_kept_zeros
from tests.netwright.training.support import same_weights, weights_of
from tests.passes.programs import program_of

ONE = SessionOptions(threads=1)
DTYPES = ["float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]


def sparse_weights(shape: tuple[int, ...] = (60, 41), share: float = 0.9, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = 40 * rng.normal(size=shape)
    found[rng.random(shape) < share] = 0
    return np.abs(found).astype(dtype) if np.dtype(dtype).kind == "u" else found.astype(dtype)


def two_layers(w1: np.ndarray, w2: np.ndarray) -> Program:
    return program_of(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        layers (float[N, {w1.shape[0]}] x, WEIGHTS) => (float[N, {w2.shape[1]}] y)
        {{
            h = MatMul (x, w1)
            r = Relu (h)
            y = MatMul (r, w2)
        }}""",
        {"w1": w1, "w2": w2},
    )


def gathering(weight: onnx_ir.TensorProtocol | np.ndarray) -> onnx.ModelProto:
    """A model of any weight's dtype, that gives it back."""
    tensor = numpy_helper.from_array(np.asarray(weight), "w")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "rows"], ["y"])],
        "gathering",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("y", tensor.data_type, ["N", *tensor.dims[1:]])],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_packed_weight_comes_back_bit_for_bit_here_and_on_onnx_runtime(tmp_path: Path, dtype: str) -> None:
    weight = sparse_weights(dtype=dtype)
    program = nw.load(gathering(weight))
    nw.save(program, tmp_path / "packed.onnx", sparse=True)
    file = onnx.load(tmp_path / "packed.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert [node.op_type for node in file.graph.node] == ["Unpack", "Gather"]

    loaded = nw.load(tmp_path / "packed.onnx")
    assert dump(loaded) == dump(program)
    assert same_bits(weights_of(loaded)["w"], weight)
    given = Session(tmp_path / "packed.onnx", ONE).run({"rows": np.arange(len(weight))})["y"]
    assert np.array_equal(given, weight)


def test_onnx_runtime_folds_the_calls_so_that_a_run_is_of_dense_weights(tmp_path: Path) -> None:
    nw.save(two_layers(sparse_weights(), sparse_weights((41, 30))), tmp_path / "packed.onnx", sparse=True)
    Session(tmp_path / "packed.onnx", SessionOptions(threads=1, level="basic"), optimized=tmp_path / "opened.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "opened.onnx").graph.node] == ["MatMul", "Relu", "MatMul"]


def test_the_file_is_as_small_as_it_says_and_says_it_beforehand(tmp_path: Path) -> None:
    program = two_layers(sparse_weights((600, 400)), sparse_weights((400, 300)))
    nw.save(program, tmp_path / "dense.onnx")
    nw.save(program, tmp_path / "packed.onnx", sparse=True)
    dense, packed = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("dense", "packed"))
    assert dense == saved_bytes(program.model)
    assert packed == saved_bytes(program.model, sparse=True)
    elements = 600 * 400 + 400 * 300
    assert packed < elements * (1 / 8 + 0.1 * 4) * 1.02 + 3000
    assert dense > elements * 4


def test_what_does_not_pay_stays_as_it_is(tmp_path: Path) -> None:
    dense, small = np.random.default_rng(0).normal(size=(60, 41)).astype(np.float32), np.zeros((41, 1), np.float32)
    program = two_layers(dense, small)
    nw.save(program, tmp_path / "packed.onnx", sparse=True)
    nw.save(program, tmp_path / "dense.onnx")
    assert (tmp_path / "packed.onnx").read_bytes() == (tmp_path / "dense.onnx").read_bytes()
    assert pack(onnx_ir.Tensor(sparse_weights(share=0.02))) is None


def test_a_negative_zero_is_not_a_zero_and_nothing_but_zeros_is_a_weight_too(tmp_path: Path) -> None:
    signed = sparse_weights()
    signed[3, 3], signed[4, 4] = -0.0, np.nan
    program = two_layers(signed, np.zeros((41, 30), np.float32))
    nw.save(program, tmp_path / "packed.onnx", sparse=True)
    assert same_weights(nw.load(tmp_path / "packed.onnx"), program)


def test_integers_are_packed_around_their_zero_point() -> None:
    weight = np.full(4000, 131, np.uint8)
    weight[::50] = np.arange(80)
    packed = pack(onnx_ir.Tensor(weight))
    assert packed is not None
    assert packed.values.tolist() == [131, *range(80)]
    assert same_bits(unpack(packed), weight)


def test_bfloat16_is_packed_too() -> None:
    weight = sparse_weights().astype(ml_dtypes.bfloat16)
    packed = pack(onnx_ir.tensor(weight, dtype=onnx_ir.DataType.BFLOAT16))
    assert packed is not None
    assert same_bits(unpack(packed), weight)


def test_names_that_are_taken_are_not_used_and_marks_on_a_weight_stay(tmp_path: Path) -> None:
    program = two_layers(sparse_weights(), sparse_weights((41, 30)))
    with program.edit() as editor:
        editor.set_constant(program.value("w2"), with_kept_zeros(sparse_weights((41, 30)), "w2"))
    renamed = nw.load(_with_name_taken(program))
    nw.save(renamed, tmp_path / "packed.onnx", sparse=True)
    loaded = nw.load(tmp_path / "packed.onnx")
    assert same_weights(loaded, renamed)
    assert dict(loaded.value("w2").const_value.metadata_props) == {"netwright.zeros": "kept"}  # pyright: ignore[reportOptionalMemberAccess]
    x = {"x": np.random.default_rng(0).normal(size=(3, 60)).astype(np.float32)}
    expected, found = OrtExecutor().run(program, x), OrtExecutor().run(loaded, x)
    assert np.array_equal(found["y"], expected["y"])


def _with_name_taken(program: Program) -> onnx_ir.Model:
    program.value("h").name = "w1.bits"
    return program.model


def test_weights_beside_the_file_and_in_a_branch_are_packed_too(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "inner"], ["made"])],
        "branch",
        [],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(sparse_weights((60, 60)), "inner")],
    )
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["same"])], "other", [], [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["which"], ["y"], then_branch=branch, else_branch=other)],
        "main",
        [helper.make_tensor_value_info("which", TensorProto.BOOL, []), helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 60])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 60])],
    )
    program = nw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    model, data = write_model(program.model, tmp_path / "packed.onnx", external=True, sparse=True)
    assert (model.stat().st_size, data.stat().st_size) < (10_000, 10_000)
    loaded = nw.load(model)
    assert same_weights(loaded, program)
    feeds = {"which": np.array(True), "x": np.ones((2, 60), np.float32)}
    assert np.allclose(Session(model, ONE).run(feeds)["y"], OrtExecutor().run(program, feeds)["y"], atol=1e-4)


def test_old_opsets_are_refused_with_a_remedy(tmp_path: Path) -> None:
    model = two_layers(sparse_weights(), sparse_weights((41, 30))).model
    model.opset_imports[""] = 17
    with pytest.raises(UnsupportedModelError, match=r"needs opset 18, and the model has 17.*nw\.load"):
        write_model(model, tmp_path / "packed.onnx", sparse=True)


@pytest.mark.parametrize(
    ("bits", "values", "shape"),
    [
        (np.zeros(1, np.uint8), np.zeros(1, np.float32), (2**40,)),
        (np.zeros(1, np.uint8), np.zeros(2, np.float32), (8,)),
        (np.full(1, 255, np.uint8), np.zeros(6, np.float32), (5,)),
        (np.full(1, 3, np.uint8), np.zeros(2, np.float32), (8,)),
        (np.zeros(1, np.int8), np.zeros(1, np.float32), (8,)),
        (np.zeros(1, np.uint8), np.zeros(0, np.float32), (8,)),
        (np.zeros(1, np.uint8), np.zeros(1, np.float32), (-8,)),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_before_anything_is_allocated(
    tmp_path: Path, bits: np.ndarray, values: np.ndarray, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelFileError, match="packed weight"):
        unpack(Packed(bits, values, shape), "w")
    nw.save(nw.load(gathering(sparse_weights())), tmp_path / "packed.onnx", sparse=True)
    file = onnx.load(tmp_path / "packed.onnx")
    for tensor, array in zip(file.graph.initializer, (bits, values), strict=True):
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    del file.graph.node[0].attribute[0].ints[:]
    file.graph.node[0].attribute[0].ints.extend(shape)
    onnx.save(file, tmp_path / "damaged.onnx")
    with pytest.raises(ModelFileError, match="packed weight"):
        nw.load(tmp_path / "damaged.onnx")


def test_a_call_that_lacks_a_part_is_refused_and_one_on_computed_values_is_left(tmp_path: Path) -> None:
    nw.save(nw.load(gathering(sparse_weights())), tmp_path / "packed.onnx", sparse=True)
    file = onnx.load(tmp_path / "packed.onnx")
    del file.graph.node[0].input[1]
    onnx.save(file, tmp_path / "lacking.onnx")
    with pytest.raises(ModelFileError, match="lacks bits, values or a shape"):
        nw.load(tmp_path / "lacking.onnx")

    file = onnx.load(tmp_path / "packed.onnx")
    file.graph.node.insert(0, helper.make_node("Identity", [file.graph.node[0].input[1]], ["computed"]))
    file.graph.node[1].input[1] = "computed"
    onnx.save(file, tmp_path / "computed.onnx")
    loaded = nw.load(tmp_path / "computed.onnx")
    assert DOMAIN in loaded.model.opset_imports
    assert np.array_equal(OrtExecutor().run(loaded, {"rows": np.arange(60)})["y"], sparse_weights())


def test_a_sparse_initializer_of_another_tool_is_read_and_larger(tmp_path: Path) -> None:
    weight = sparse_weights()
    proto = gathering(weight)
    at = np.flatnonzero(weight)
    values = numpy_helper.from_array(weight.reshape(-1)[at], "w")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(at, "w.at"), weight.shape))
    del proto.graph.initializer[:]
    onnx.save(proto, tmp_path / "sparse.onnx")
    program = nw.load(tmp_path / "sparse.onnx")
    assert same_bits(weights_of(program)["w"], weight)
    assert np.array_equal(Session(tmp_path / "sparse.onnx", ONE).run({"rows": np.arange(60)})["y"], weight)
    assert saved_bytes(program.model, sparse=True) < (tmp_path / "sparse.onnx").stat().st_size
