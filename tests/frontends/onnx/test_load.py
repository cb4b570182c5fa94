"""Loading sound models, old and new, in every form they come in."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.frontends.onnx import load_onnx
from netwright.frontends.onnx.load import WEIGHT_INPUTS
from netwright.ir.errors import ModelFileError
from netwright.ir.storage import MappedTensor, serialize_model
from netwright.ir.verify import verify

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def ran(model: bytes | Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(Session(model, SessionOptions(threads=1)).run(feeds).values())


def text_model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def weighted(opset: int, ir_version: int, *, as_inputs: bool) -> onnx.ModelProto:
    """A MatMul with a large weight, and Softmax with the axis that opset 13 took a new meaning of."""
    array = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5, 30])]
    if as_inputs:
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [30, 40]))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Softmax", ["h"], ["y"], axis=1, name="soft")]
    nodes[0].metadata_props.add(key="netwright.module", value="encoder.fc")
    nodes[1].metadata_props.add(key="netwright.module", value="encoder.act")
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, 40])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(array, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12])
def test_old_models_keep_their_values_and_metadata(opset: int) -> None:
    proto = weighted(opset, 4, as_inputs=False)
    program = load_onnx(proto)
    assert program.opset == 20
    verify(program)
    x = np.random.default_rng(1).normal(size=(2, 5, 30)).astype(np.float32)
    np.testing.assert_allclose(ran(serialize_model(program.model), {"x": x})[0], ran(proto.SerializeToString(), {"x": x})[0], rtol=1e-5)
    assert isinstance(program.value("w").const_value, MappedTensor)
    modules = {node.name: node.metadata_props["netwright.module"] for node in program.nodes()}
    assert modules["product"] == "encoder.fc"
    assert {module for name, module in modules.items() if name != "product"} == {"encoder.act"}
    assert [str(dim) for dim in program.outputs[0].shape or ()] == ["N", "5", "40"]


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_newer_models_keep_their_opset(opset: int) -> None:
    assert load_onnx(weighted(opset, 10, as_inputs=False)).opset == opset


def test_conversion_reaches_weights_inside_branches() -> None:
    proto = text_model("""<ir_version: 7, opset_import: ["": 11]> g (bool c, float[1,400] x) => (float[400] y) {
        y = If (c) <then_branch = a () => (float[400] t) {
                        k = Constant <value = float[1, 400] {0}> () s = Add(x, k) t = Squeeze <axes = [0]> (s) },
                    else_branch = b () => (float[400] e) { e = Squeeze <axes = [0]> (x) }> }""")
    big = proto.graph.node[0].attribute[0].g.node[0].attribute[0].t
    big.CopyFrom(numpy_helper.from_array(np.arange(400, dtype=np.float32).reshape(1, 400)))
    program = load_onnx(proto)
    verify(program)
    x = np.ones((1, 400), np.float32)
    for chosen in (True, False):
        feeds = {"c": np.array(chosen), "x": x}
        np.testing.assert_array_equal(ran(serialize_model(program.model), feeds)[0], ran(proto.SerializeToString(), feeds)[0])


def test_functions_of_old_models_are_inlined_before_conversion() -> None:
    proto = text_model("""<ir_version: 8, opset_import: ["": 15, "f": 1]> g (float[3] x) => (float[3] y) { y = f.shift(x) }
        <domain: "f", opset_import: ["": 15]> shift (a) => (b) { k = Constant <value_float = 2.0> () b = Add(a, k) }""")
    program = load_onnx(proto)
    assert program.opset == 20
    assert [node.op_type for node in program.nodes()] == ["Add"]


def test_weights_listed_as_inputs_are_inputs_only_where_they_may_be_overridden() -> None:
    old = load_onnx(weighted(8, 3, as_inputs=True))
    assert [value.name for value in old.graph.inputs] == ["x"]
    assert old.resources[WEIGHT_INPUTS] == ("w",)
    for opset in (9, 20):
        new = load_onnx(weighted(opset, 9, as_inputs=True))
        assert [value.name for value in new.graph.inputs] == ["x", "w"]
        assert [value.name for value in new.inputs] == ["x"]
        assert new.graph.initializers["w"].is_graph_input()


def test_all_forms_of_a_source_give_the_same_program(tmp_path: Path) -> None:
    proto = weighted(20, 10, as_inputs=False)
    onnx.save(proto, tmp_path / "m.onnx")
    onnx.save(weighted(20, 10, as_inputs=False), tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    sources = [
        tmp_path / "m.onnx",
        str(tmp_path / "m.onnx"),
        tmp_path / "e.onnx",
        proto,
        proto.SerializeToString(),
        onnx_ir.from_proto(proto),
    ]
    saved = {serialize_model(load_onnx(source).model) for source in sources}
    assert len(saved) == 1


def test_external_data_of_a_model_in_memory_is_found_in_the_folder_given(tmp_path: Path) -> None:
    onnx.save(weighted(20, 10, as_inputs=False), tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    proto = onnx.load(tmp_path / "e.onnx", load_external_data=False)
    assert load_onnx(proto, folder=tmp_path).value("w").const_value is not None


def test_the_callers_model_stays_as_it_was() -> None:
    proto = weighted(11, 3, as_inputs=True)
    before = proto.SerializeToString()
    model = onnx_ir.from_proto(proto)
    load_onnx(proto)
    load_onnx(model)
    assert proto.SerializeToString() == before
    assert onnx_ir.to_proto(model) == onnx_ir.to_proto(onnx_ir.from_proto(proto))


def test_stale_value_info_is_not_believed() -> None:
    proto = text_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[N, 4] x) => (float[N, 4] y) <float[5, 4] h> { h = Neg(x) y = Abs(h) }'
    )
    assert str(load_onnx(proto).value("h").shape) == "[N,4]"


def test_the_long_name_of_the_standard_domain_is_understood() -> None:
    proto = text_model('<ir_version: 10, opset_import: ["ai.onnx": 17]> g (float[3] x) => (float[3] y) { y = ai.onnx.Neg(x) }')
    program = load_onnx(proto)
    assert program.opset == 20
    assert [node.domain for node in program.nodes()] == [""]


def test_custom_operators_load() -> None:
    proto = text_model(
        '<ir_version: 10, opset_import: ["": 20, "com.acme": 1]> g (float[3] x) => (float[3] y) { h = com.acme.Spin(x) y = Neg(h) }'
    )
    program = load_onnx(proto)
    verify(program)
    assert any("Spin" in miss.reason for miss in program.ledger.misses)


def test_training_information_is_left_out_and_said() -> None:
    proto = weighted(20, 10, as_inputs=False)
    proto.training_info.add().algorithm.name = "sgd"
    assert any("raining information" in miss.reason for miss in load_onnx(proto).ledger.misses)


@pytest.mark.parametrize("name", sorted(path.name for path in LIGHT.glob("*.onnx")))
def test_model_zoo_graphs_of_opset_7_to_9_load(name: str) -> None:
    proto = onnx.load(LIGHT / name)
    before = {op: sum(node.op_type == op for node in proto.graph.node) for op in ("Conv", "Gemm", "MaxPool", "BatchNormalization")}
    program = load_onnx(LIGHT / name)
    verify(program)
    assert {op: sum(1 for _ in program.nodes(op)) for op in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["light_squeezenet.onnx", "light_shufflenet.onnx", "light_inception_v2.onnx", "light_densenet121.onnx"])
def test_model_zoo_graphs_keep_their_values(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    program = load_onnx(LIGHT / name)
    feeds = {program.inputs[0].name or "": x}
    np.testing.assert_array_equal(ran(serialize_model(program.model), feeds)[0], ran(LIGHT / name, feeds)[0])


REAL = [
    ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (1, 3, 48, 192)}),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", {"x": (1, 3, 48, 320)}),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", {"x": (1, 3, 96, 96)}),
    ("silero_vad", "data/silero_vad_16k_sequence.onnx", None),
    ("silero_vad", "data/silero_vad.onnx", None),
    ("silero_vad", "data/silero_vad_half.onnx", None),
]


@pytest.mark.parametrize(("package", "file", "shapes"), REAL, ids=[file.split("/")[1] for _, file, _ in REAL])
def test_real_trained_models_keep_their_values(package: str, file: str, shapes: dict[str, tuple[int, ...]] | None) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed (the models' own requirements file brings it)")
    path = Path(spec.origin).parent / file
    program = load_onnx(path)
    verify(program)
    rng = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for value in program.inputs:
        assert value.dtype is not None
        assert value.shape is not None
        dims = [dim if isinstance(dim, int) else {1: 512}.get(axis, 1) for axis, dim in enumerate(value.shape)]
        if value.name == "state":
            dims[1] = 1
        shape = (shapes or {}).get(value.name or "", tuple(dims))
        array = rng.normal(0, 0.3, shape) if value.dtype.is_floating_point() else np.full(shape, 16000)
        feeds[value.name or ""] = array.astype(value.dtype.numpy())
    for new, old in zip(ran(serialize_model(program.model), feeds), ran(path, feeds), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)


def test_quantized_models_load() -> None:
    proto = text_model("""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]> g (float[N, 4] x) => (float[N, 4] y) {
        q, s, z = DynamicQuantizeLinear(x)
        i = MatMulInteger(q, w, z)
        f = Cast<to = 1>(i)
        y = Mul(f, s) }""")
    proto.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.int8), "w"))
    program = load_onnx(proto)
    verify(program)
    x = np.array([[1, 2, 3, 4]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ran(serialize_model(program.model), {"x": x})[0], ran(proto.SerializeToString(), {"x": x})[0])


@pytest.mark.parametrize("source", [123, None, {}])
def test_what_is_no_model_at_all_is_named(source: object) -> None:
    with pytest.raises(ModelFileError, match="is not an ONNX model"):
        load_onnx(source)  # pyright: ignore[reportArgumentType]


def test_a_torch_module_is_sent_to_trace() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ModelFileError, match="is not an ONNX model") as caught:
        load_onnx(torch.nn.Linear(2, 2))
    assert "nw.trace" in (caught.value.remedy or "")
