"""Broken and hostile files: each a clear error, none a crash, none an allocation of what a header claims."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from netwright.frontends.onnx import load_onnx
from netwright.ir.errors import ModelFileError, NetwrightError, UnsupportedModelError
from netwright.ir.storage import wire


def sound(*, opset: int = 20) -> onnx.ModelProto:
    """A small model with a large weight, a small one and a branch."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(16, 32)).astype(np.float32), "w"),
        numpy_helper.from_array(np.ones(32, np.float32), "b"),
    ]
    then = helper.make_graph([helper.make_node("Neg", ["h"], ["t"])], "then", [], [helper.make_tensor_value_info("t", 1, ["N", 32])])
    other = helper.make_graph([helper.make_node("Abs", ["h"], ["e"])], "else", [], [helper.make_tensor_value_info("e", 1, ["N", 32])])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["h"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, ["N", 16]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "sound", inputs, [helper.make_tensor_value_info("y", 1, ["N", 32])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    model = sound()
    change(model)
    return model


def external(**entries: str) -> onnx.ModelProto:
    model = sound()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


def set_dims(tensor: onnx.TensorProto, *dims: int) -> None:
    del tensor.dims[:]
    tensor.dims.extend(dims)


# ---- files that are something else -------------------------------------------------------------------------------


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", sound().SerializeToString())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (zipped(), "zip archive"),
        (pickle.dumps({"weight": [1.0]}), "pickle"),
        (json.dumps({"model": "bert", "layers": 12}).encode(), "text file"),
        (b"Dear reader, this is a text and no model.\n", "text file"),
        (b'<ir_version: 8, opset_import: ["": 20]> g (float x) => (float y) { y = Neg(x) }', "text file"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        ((120).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(200), "safetensors"),
        (os.urandom(1) * 0 + bytes(range(255, 0, -1)) * 8, "Not a sound ONNX file"),
        (bytes(4096), "Not a sound ONNX file"),
        (onnx.TensorProto(name="w").SerializeToString(), "Not a sound|no graph"),
        (sound().SerializeToString()[:1000], "Not a sound ONNX file"),
    ],
    ids=["empty", "zip", "pickle", "json", "prose", "onnx text", "gzip", "safetensors", "noise", "zeros", "another message", "truncated"],
)
def test_what_is_no_model_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_onnx(path)
    assert caught.value.place
    assert caught.value.remedy


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="folder"):
        load_onnx(tmp_path)
    with pytest.raises(ModelFileError, match="no such file"):
        load_onnx(tmp_path / "missing.onnx")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelFileError, match="not a regular file"):
        load_onnx(tmp_path / "pipe.onnx")


def test_a_truncated_file_that_claims_over_2_gb_is_refused_at_once(tmp_path: Path) -> None:
    head = onnx.TensorProto(name="w", data_type=TensorProto.UINT8, dims=[3 << 30]).SerializeToString() + wire.header(9, 3 << 30)
    graph = wire.header(5, len(head) + (3 << 30)) + head
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08" + wire.header(7, len(graph) + (3 << 30)) + graph + bytes(1000))
    with pytest.raises(ModelFileError, match="claims"):
        load_onnx(path)


# ---- tensors that are not what they claim ------------------------------------------------------------------------

LIES: dict[str, tuple[Callable[[onnx.TensorProto], object], str]] = {
    "petabytes": (lambda tensor: set_dims(tensor, 1 << 40, 1 << 10), "calls for"),
    "petabytes in many dimensions": (lambda tensor: set_dims(tensor, *[1 << 60] * 60), "calls for"),
    "too few bytes": (lambda tensor: set_dims(tensor, 17, 32), "calls for"),
    "too many bytes": (lambda tensor: set_dims(tensor, 3), "calls for"),
    "negative dimension": (lambda tensor: set_dims(tensor, -16, -32), "negative dimension"),
    "too many dimensions": (lambda tensor: set_dims(tensor, *[1] * 1000), "1000 dimensions"),
    "unknown type": (lambda tensor: setattr(tensor, "data_type", 999), "element type 999"),
    "no type": (lambda tensor: setattr(tensor, "data_type", 0), "element type 0"),
    "strings as bytes": (lambda tensor: setattr(tensor, "data_type", TensorProto.STRING), "strings|calls for"),
}


@pytest.mark.parametrize("which", [0, 1], ids=["large", "small"])
@pytest.mark.parametrize("lie", LIES)
def test_a_tensor_that_is_not_what_it_claims_is_named(lie: str, which: int) -> None:
    change, message = LIES[lie]
    with pytest.raises(ModelFileError, match=message) as caught:
        load_onnx(changed(lambda model: change(model.graph.initializer[which])))
    assert caught.value.place == ["w", "b"][which]


def test_a_claim_of_petabytes_is_refused_without_allocating() -> None:
    data = changed(lambda model: set_dims(model.graph.initializer[0], 1 << 50)).SerializeToString()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError):
        load_onnx(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_typed_data_of_the_wrong_length_is_named() -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * 31)

    with pytest.raises(ModelFileError, match="calls for 32 elements and holds 31"):
        load_onnx(changed(change))


@pytest.mark.parametrize(
    ("dims", "indices", "message"),
    [([1 << 40], [0], "when made dense"), ([4], [4], "outside its shape"), ([4], [-1], "outside its shape"), ([-4], [0], "impossible")],
)
def test_sparse_tensors_are_checked(dims: list[int], indices: list[int], message: str) -> None:
    sparse = onnx.SparseTensorProto(dims=dims)
    sparse.values.CopyFrom(numpy_helper.from_array(np.array([1.0], np.float32), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array(indices), "i"))
    with pytest.raises(ModelFileError, match=message):
        load_onnx(changed(lambda model: model.graph.sparse_initializer.append(sparse)))


# ---- external data -----------------------------------------------------------------------------------------------

WHOLE = {"offset": "0", "length": "2048"}
BAD_PLACES: dict[str, tuple[dict[str, str], str]] = {
    "missing": ({"location": "missing.data"}, "missing"),
    "none": ({}, "no usable location"),
    "above": ({"location": "../secret.data"}, "outside"),
    "above by a detour": ({"location": "sub/../../secret.data"}, "outside"),
    "absolute": ({"location": "/etc/hostname"}, "absolute"),
    "a drive": ({"location": "C:\\data"}, "absolute"),
    "a link": ({"location": "link.data"}, "link that leads outside"),
    "a linked folder": ({"location": "linked/secret.data"}, "link that leads outside"),
    "the folder": ({"location": "."}, "folder"),
    "with NUL": ({"location": "\0cut:0"}, "no usable location"),
    "offset beyond": ({"location": "good.data", "offset": "4096", "length": "2048"}, "ends at byte"),
    "huge offset": ({"location": "good.data", "offset": "9" * 18, "length": "2048"}, "ends at byte"),
    "negative offset": ({"location": "good.data", "offset": "-8", "length": "2048"}, "not a number"),
    "offset of digits only in Unicode": ({"location": "good.data", "offset": "٣"}, "not a number"),
    "length of nonsense": ({"location": "good.data", "offset": "0", "length": "many"}, "not a number"),
    "wrong length": ({"location": "good.data", "offset": "0", "length": "2047"}, "calls for 2048"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.data").write_bytes(bytes(4096))
    (home / "good.data").write_bytes(bytes(4096))
    (home / "link.data").symlink_to(tmp_path / "secret.data")
    (home / "linked").symlink_to(tmp_path)
    return home


@pytest.mark.parametrize("case", BAD_PLACES)
def test_external_data_out_of_bounds_is_refused(case: str, folder: Path) -> None:
    entries, message = BAD_PLACES[case]
    (folder / "m.onnx").write_bytes(external(**entries).SerializeToString())
    with pytest.raises(ModelFileError, match=message):
        load_onnx(folder / "m.onnx")


def test_external_data_in_the_folder_is_read(folder: Path) -> None:
    (folder / "m.onnx").write_bytes(external(location="good.data", offset="64", length="2048").SerializeToString())
    tensor = load_onnx(folder / "m.onnx").value("w").const_value
    assert tensor is not None
    assert not tensor.numpy().any()


def test_a_model_and_data_that_are_links_into_one_folder_are_read(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (folder / "m.onnx").write_bytes(external(location="good.data", **WHOLE).SerializeToString())
    for name in ("m.onnx", "good.data"):
        (snapshot / name).symlink_to(folder / name)
    assert load_onnx(snapshot / "m.onnx").opset == 20


def test_external_data_of_bytes_has_no_folder() -> None:
    with pytest.raises(ModelFileError, match="Load it from its path"):
        load_onnx(external(location="good.data", **WHOLE).SerializeToString())


# ---- graphs that contradict themselves ---------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """A serialized graph with an If in an If in an If …; longer than what is parsed without a look inside."""
    graph = onnx.GraphProto(name="leaf" * 500).SerializeToString()
    for _ in range(depth):
        attribute = onnx.AttributeProto(name="then_branch", type=onnx.AttributeProto.GRAPH).SerializeToString() + wire.bytes_field(6, graph)
        graph = wire.bytes_field(1, onnx.NodeProto(op_type="If", input=["c"]).SerializeToString() + wire.bytes_field(5, attribute))
    return graph


@pytest.mark.parametrize("depth", [33, 100, 2000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(ModelFileError, match="nested"):
        load_onnx(b"\x08\x08" + wire.bytes_field(7, nested(depth)))


def function(name: str, *calls: str) -> onnx.FunctionProto:
    nodes = [helper.make_node(call, ["a"], [f"v{index}"], domain="f") for index, call in enumerate(calls)]
    nodes.append(helper.make_node("Identity", ["a"], ["b"]))
    return helper.make_function("f", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)])


def with_functions(*functions: onnx.FunctionProto) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.functions.extend(functions)
        model.opset_import.append(helper.make_opsetid("f", 1))
        model.graph.node.append(helper.make_node(functions[0].name, ["x"], ["z"], domain="f"))

    return change


def first_reads(name: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node[0].input.__setitem__(0, name)


CONTRADICTIONS: dict[str, tuple[Callable[[onnx.ModelProto], object], type[NetwrightError], str]] = {
    "cycle": (first_reads("h"), ModelFileError, "cycle"),
    "self-reference": (first_reads("m"), ModelFileError, "cycle"),
    "undeclared input": (first_reads("nothing"), ModelFileError, "'nothing', which is no input"),
    "undeclared in a branch": (
        lambda model: model.graph.node[2].attribute[0].g.node[0].input.__setitem__(0, "nothing"),
        ModelFileError,
        "'nothing', which is no input",
    ),
    "assigned twice": (lambda model: model.graph.node[1].output.__setitem__(0, "m"), ModelFileError, "'m' is assigned twice"),
    "an input assigned": (
        lambda model: model.graph.node[1].output.__setitem__(0, "x"),
        ModelFileError,
        "'x' is assigned twice: it is also an input",
    ),
    "a weight assigned": (lambda model: model.graph.node[1].output.__setitem__(0, "w"), ModelFileError, "also an initializer"),
    "two inputs of one name": (lambda model: model.graph.input.append(model.graph.input[0]), ModelFileError, "two of the input 'x'"),
    "two weights of one name": (
        lambda model: model.graph.initializer.append(model.graph.initializer[1]),
        ModelFileError,
        "two of the initializer 'b'",
    ),
    "a weight without name": (lambda model: setattr(model.graph.initializer[1], "name", ""), ModelFileError, "no name"),
    "an output that nothing makes": (lambda model: setattr(model.graph.output[0], "name", "gone"), ModelFileError, "'gone' is not made"),
    "unknown operator": (
        lambda model: setattr(model.graph.node[1], "op_type", "Adddd"),
        UnsupportedModelError,
        "no operator Adddd .* opset 20",
    ),
    "an operator of later opsets": (
        lambda model: setattr(model.graph.node[1], "op_type", "Attention"),
        UnsupportedModelError,
        "exists from opset 23 on",
    ),
    "too few inputs": (lambda model: model.graph.node[1].input.pop(), ModelFileError, "Add takes 2 inputs and is given 1"),
    "too many outputs": (lambda model: model.graph.node[1].output.append("more"), ModelFileError, "outputs and is given 2"),
    "opset of the future": (lambda model: setattr(model.opset_import[0], "version", 999), UnsupportedModelError, "opset 999"),
    "opset of the past": (lambda model: setattr(model.opset_import[0], "version", 3), UnsupportedModelError, "opset 3"),
    "no opset": (lambda model: model.ClearField("opset_import"), ModelFileError, "operator set"),
    "only another opset": (lambda model: setattr(model.opset_import[0], "domain", "x"), ModelFileError, "whose version it does not give"),
    "IR version of the future": (lambda model: setattr(model, "ir_version", 999), UnsupportedModelError, "IR version 999"),
    "no graph": (lambda model: model.ClearField("graph"), ModelFileError, "no graph"),
    "a function that calls itself": (with_functions(function("one", "one")), ModelFileError, "calls itself"),
    "functions that call each other": (with_functions(function("one", "two"), function("two", "one")), ModelFileError, "calls itself"),
    "functions that explode": (
        with_functions(*(function(f"f{level}", *[f"f{level + 1}"] * 10) for level in range(30)), function("f30")),
        ModelFileError,
        "expand to more than",
    ),
    "two functions of one name": (with_functions(function("one"), function("one")), ModelFileError, "two functions"),
    "an attribute of no type": (lambda model: model.graph.node[2].attribute[0].ClearField("type"), ModelFileError, "has no type"),
    "two attributes of one name": (
        lambda model: setattr(model.graph.node[2].attribute[1], "name", "else_branch"),
        ModelFileError,
        "two attributes",
    ),
    "an unknown type of value": (
        lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 999),
        ModelFileError,
        "no sound ONNX model",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_graph_that_contradicts_itself_is_refused(case: str) -> None:
    change, kind, message = CONTRADICTIONS[case]
    with pytest.raises(kind, match=message) as caught:
        load_onnx(changed(change))
    assert caught.value.place


def test_names_that_are_no_text_are_refused() -> None:
    data = sound().SerializeToString()
    for name in (b"sound", b"MatMul", b"then_branch"):
        with pytest.raises(ModelFileError, match="no text"):
            load_onnx(data.replace(name, name[:-1] + b"\xff"))


# ---- fuzz --------------------------------------------------------------------------------------------------------

SOUND = {opset: sound(opset=opset).SerializeToString() for opset in (11, 20)}


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    opset=st.sampled_from(sorted(SOUND)),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.none(), st.integers(0, 10_000)),
)
def test_a_damaged_file_loads_or_is_refused_by_name(opset: int, flips: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(SOUND[opset])
    for position, byte in flips:
        data[position % len(data)] = byte
    if cut is not None:
        del data[cut % (len(data) + 1) :]
    with contextlib.suppress(NetwrightError):
        load_onnx(bytes(data))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_noise_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(NetwrightError):
        load_onnx(data)
