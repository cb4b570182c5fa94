"""Reading: every way a tensor may be stored gives its values, and large ones stay where they are."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from netwright.ir.storage import MappedTensor, read_model
from tests.ir.storage.models import branches, chain, saved, weight

KINDS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.uint8, np.int64, np.int32, np.bool_, np.complex64)
DTYPES = [np.dtype(kind) for kind in (*KINDS, ml_dtypes.float8_e4m3fn)]
PACKED = [np.dtype(kind) for kind in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2, ml_dtypes.float4_e2m1fn)]


def tensor_of(model: onnx_ir.Model, name: str) -> onnx_ir.TensorProtocol:
    found = model.graph.initializers[name].const_value
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("external", [False, True])
def test_a_large_tensor_is_mapped_with_its_values(dtype: np.dtype, external: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0, 3, (123, 45)).astype(dtype)
    path = saved(chain(numpy_helper.from_array(array, "w")), tmp_path / "m.onnx", external=external)
    tensor = tensor_of(read_model(path), "w")
    assert isinstance(tensor, MappedTensor)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.numpy().dtype == array.dtype
    assert tensor.tobytes() == array.tobytes()
    assert tensor.nbytes == array.nbytes


@pytest.mark.parametrize("dtype", PACKED, ids=str)
@pytest.mark.parametrize("count", [4096, 4097, 4098, 4099])
def test_elements_of_under_8_bits_are_unpacked_as_the_graph_library_packs_them(dtype: np.dtype, count: int, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 3, count).astype(dtype)
    packed = onnx_ir.serde.serialize_tensor(onnx_ir.tensor(array, name="w"))
    tensor = tensor_of(read_model(saved(chain(packed), tmp_path / "m.onnx")), "w")
    np.testing.assert_array_equal(tensor.numpy().astype(np.float32), array.astype(np.float32))
    assert tensor.tobytes() == packed.raw_data


@pytest.mark.parametrize("dtype", [onnx_ir.DataType.FLOAT6E2M3, onnx_ir.DataType.FLOAT6E3M2])
def test_elements_of_6_bits_are_unpacked(dtype: onnx_ir.DataType, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 64, 2000).astype(np.uint8).view(dtype.numpy())
    packed = onnx_ir.serde.serialize_tensor(onnx_ir.tensor(array, dtype=dtype, name="w"))
    tensor = tensor_of(read_model(saved(chain(packed), tmp_path / "m.onnx")), "w")
    assert isinstance(tensor, MappedTensor)
    np.testing.assert_array_equal(tensor.numpy().astype(np.float32), array.astype(np.float32))


@pytest.mark.parametrize(
    ("data_type", "array"),
    [
        (TensorProto.FLOAT, np.linspace(-1, 1, 5000, dtype=np.float32)),
        (TensorProto.DOUBLE, np.linspace(-1, 1, 5000)),
        (TensorProto.COMPLEX64, (np.arange(900) + 2j).astype(np.complex64)),
        (TensorProto.INT64, np.arange(-2500, 2500)),
        (TensorProto.INT32, np.arange(-2500, 2500, dtype=np.int32)),
        (TensorProto.FLOAT16, np.linspace(-1, 1, 500, dtype=np.float16)),
        (TensorProto.BOOL, np.arange(3000) % 3 == 0),
    ],
)
def test_typed_fields_give_their_values(data_type: int, array: np.ndarray, tmp_path: Path) -> None:
    typed = helper.make_tensor("w", data_type, array.shape, array)
    tensor = tensor_of(read_model(saved(chain(typed), tmp_path / "m.onnx")), "w")
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert isinstance(tensor, MappedTensor) == (data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.COMPLEX64))


def test_unaligned_tensors_are_read(tmp_path: Path) -> None:
    model = chain(*(weight(f"w{index}" + "x" * index, 100, 200, seed=index) for index in range(8)))
    tensors = [tensor_of(read_model(saved(model, tmp_path / "m.onnx")), init.name) for init in model.graph.initializer]
    offsets = {tensor.offset % 4 for tensor in tensors if isinstance(tensor, MappedTensor)}
    assert len(offsets) > 1, "the test needs tensors that are not aligned to their elements"
    for tensor, init in zip(tensors, model.graph.initializer, strict=True):
        array = numpy_helper.to_array(init)
        np.testing.assert_array_equal(tensor.numpy() @ np.ones(200, dtype=np.float32), array @ np.ones(200, dtype=np.float32))


def test_arrays_of_mapped_tensors_cannot_be_written_to(tmp_path: Path) -> None:
    tensor = tensor_of(read_model(saved(chain(weight("w", 400, 400)), tmp_path / "m.onnx")), "w")
    with pytest.raises(ValueError, match="read-only"):
        tensor.numpy()[0, 0] = 1


def test_weights_in_branches_and_functions_are_mapped(tmp_path: Path) -> None:
    proto = branches()
    model = read_model(saved(proto, tmp_path / "m.onnx"))
    node = next(iter(model.graph))
    inner = node.attributes["then_branch"].as_graph().initializers["w"].const_value
    constant = next(iter(node.attributes["else_branch"].as_graph())).attributes["value"].as_tensor()
    in_function = next(iter(next(iter(model.functions.values())))).attributes["value"].as_tensor()
    for tensor, seed in ((inner, 1), (constant, 2), (in_function, 3)):
        assert isinstance(tensor, MappedTensor)
        np.testing.assert_array_equal(tensor.numpy(), numpy_helper.to_array(weight("", 30, 20, seed=seed)))


def test_bytes_are_read_like_a_file() -> None:
    model = chain(weight("w", 100, 100))
    np.testing.assert_array_equal(
        tensor_of(read_model(model.SerializeToString()), "w").numpy(), numpy_helper.to_array(model.graph.initializer[0])
    )


def test_strings_are_read(tmp_path: Path) -> None:
    words = numpy_helper.from_array(np.array([f"word {index}" for index in range(500)], dtype=object), "w")
    assert tensor_of(read_model(saved(chain(words), tmp_path / "m.onnx")), "w").numpy()[499] == b"word 499"


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_initializers_become_dense(linear: bool, tmp_path: Path) -> None:
    indices = np.array([3, 17]) if linear else np.array([[0, 3], [1, 7]])
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([5.0, 7.0], np.float32), "w"), numpy_helper.from_array(indices, "i"), [2, 10]
    )
    model = chain(weight("other", 2))
    model.graph.sparse_initializer.append(sparse)
    expected = np.zeros((2, 10), np.float32)
    expected[0, 3], expected[1, 7] = 5, 7
    np.testing.assert_array_equal(tensor_of(read_model(saved(model, tmp_path / "m.onnx")), "w").numpy(), expected)


def test_loading_and_saving_touch_no_weight(tmp_path: Path) -> None:
    path = saved(chain(*(weight(f"w{index}", 1024, 1024, seed=index) for index in range(25))), tmp_path / "m.onnx")
    script = (
        "import resource\n"
        "from netwright.ir.storage import read_model, saved_bytes, write_model\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"model = read_model({str(path)!r}); saved_bytes(model); write_model(model, {str(tmp_path / 'out.onnx')!r})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    grown_kb = int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    assert grown_kb < path.stat().st_size / 1024 / 5
    assert onnx.load(tmp_path / "out.onnx").graph.initializer[24].raw_data == onnx.load(path).graph.initializer[24].raw_data


def test_release_gives_memory_back_and_keeps_values(tmp_path: Path) -> None:
    tensor = tensor_of(read_model(saved(chain(weight("w", 1024, 1024)), tmp_path / "m.onnx")), "w")
    assert isinstance(tensor, MappedTensor)
    before = tensor.numpy().sum()
    tensor.release()
    assert tensor.numpy().sum() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


@pytest.mark.slow
def test_a_file_over_2_gb_is_read_and_written_back(tmp_path: Path) -> None:
    from netwright.ir.storage import wire, write_model

    size = 2**31 + 4096
    small = chain(weight("w", 4)).SerializeToString()
    proto = onnx.ModelProto.FromString(small)
    del proto.graph.initializer[:]
    head = onnx.TensorProto(name="w", data_type=TensorProto.UINT8, dims=[size]).SerializeToString() + wire.header(9, size)
    graph = proto.graph.SerializeToString() + wire.header(5, len(head) + size) + head
    proto.ClearField("graph")
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(proto.SerializeToString() + wire.header(7, len(graph) + size) + graph)
        start = file.tell()
        file.write(b"begin")
        file.truncate(start + size)
        file.seek(start + size - 3)
        file.write(b"end")
    model = read_model(path)
    tensor = tensor_of(model, "w")
    assert bytes(tensor.numpy()[:5]) == b"begin"
    assert bytes(tensor.numpy()[-3:]) == b"end"
    written = write_model(model, tmp_path / "out.onnx")
    assert [file.name for file in written] == ["out.onnx", "out.onnx.data"]
    assert bytes(tensor_of(read_model(written[0]), "w").numpy()[-3:]) == b"end"
