"""Writing: files that others read, byte counts known beforehand, and nothing half written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import numpy_helper

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.ir.errors import ModelFileError, UnsupportedModelError
from netwright.ir.storage import read_model, saved_bytes, serialize_model, write_model
from netwright.ir.storage import writer as writer_module
from tests.ir.storage.models import branches, chain, saved, weight


def normal(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as the graph library writes it: what it keeps, in its order."""
    return onnx_ir.to_proto(onnx_ir.from_proto(model))


@pytest.mark.parametrize("make", [lambda: chain(weight("w", 100, 30), weight("b", 3)), branches], ids=["chain", "branches"])
def test_what_is_written_is_what_the_graph_library_writes(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    proto = make()
    write_model(read_model(saved(proto, tmp_path / "in.onnx")), tmp_path / "out.onnx")
    assert normal(onnx.load(tmp_path / "out.onnx")) == normal(proto)
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)


@pytest.mark.parametrize("external", [None, True, "weights.bin"])
def test_saved_bytes_is_exact(external: bool | str | None, tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 700, 600), weight("v", 33, 17), weight("b", 3)), tmp_path / "in.onnx"))
    files = write_model(model, tmp_path / "model.onnx", external=external)
    assert sum(file.stat().st_size for file in files) == saved_bytes(model, external=external)
    for tensor in onnx.load(files[0]).graph.initializer:
        array = model.graph.initializers[tensor.name].const_value
        assert array is not None
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), array.numpy())


def test_serialized_bytes_are_the_files_bytes(tmp_path: Path) -> None:
    model = read_model(saved(branches(), tmp_path / "in.onnx"))
    write_model(model, tmp_path / "out.onnx")
    assert serialize_model(model) == (tmp_path / "out.onnx").read_bytes()


def test_an_external_model_is_copied_and_runs(tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 100, 300), weight("v", 999, 9)), tmp_path / "in.onnx", external=True))
    files = write_model(model, tmp_path / "out.onnx", external=True)
    outputs = list(Session(files[0], SessionOptions(threads=1)).run({}).values())
    np.testing.assert_array_equal(outputs[0], model.graph.initializers["w"].const_value)
    np.testing.assert_array_equal(outputs[1], model.graph.initializers["v"].const_value)


def test_a_model_can_be_saved_over_its_own_file(tmp_path: Path) -> None:
    path = saved(chain(weight("w", 300, 300)), tmp_path / "m.onnx")
    before = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    model = read_model(path)
    for _ in range(2):
        write_model(model, path)
        np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(path).graph.initializer[0]), before)
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value, before)


def test_an_external_model_can_be_saved_over_its_own_files(tmp_path: Path) -> None:
    path = saved(chain(weight("w", 300, 300)), tmp_path / "m.onnx", external=True)
    before = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    model = read_model(path)
    for _ in range(2):
        write_model(model, path, external=True)
        np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(path).graph.initializer[0]), before)


def test_lazy_tensors_are_evaluated_one_at_a_time(tmp_path: Path) -> None:
    model = read_model(saved(chain(*(weight(f"w{index}", 40, 40) for index in range(3))), tmp_path / "in.onnx"))
    alive: list[int] = []
    most = 0

    class Tracked(onnx_ir.Tensor[np.ndarray]):
        def __del__(self) -> None:
            alive.pop()

    def evaluate() -> onnx_ir.TensorProtocol:
        nonlocal most
        alive.append(1)
        most = max(most, len(alive))
        return Tracked(np.full((40, 40), 7, np.float32))

    for value in model.graph.initializers.values():
        value.const_value = onnx_ir.LazyTensor(evaluate, onnx_ir.DataType.FLOAT, onnx_ir.Shape([40, 40]))
    write_model(model, tmp_path / "out.onnx")
    assert most == 1
    assert all((numpy_helper.to_array(tensor) == 7).all() for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer)


def test_a_lazy_tensor_that_is_not_what_it_claims_is_an_error(tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 40, 40)), tmp_path / "in.onnx"))
    wrong = onnx_ir.LazyTensor(lambda: onnx_ir.tensor(np.zeros(3, np.float32)), onnx_ir.DataType.FLOAT, onnx_ir.Shape([40, 40]))
    model.graph.initializers["w"].const_value = wrong
    with pytest.raises(ModelFileError, match="wrote 12"):
        write_model(model, tmp_path / "out.onnx")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("external", [None, True])
def test_a_save_that_breaks_off_leaves_what_was_there(
    error: BaseException | type[BaseException], external: bool | None, tmp_path: Path
) -> None:
    path = saved(chain(weight("w", 40, 40)), tmp_path / "m.onnx")
    model, before = read_model(path), path.read_bytes()

    def fail() -> onnx_ir.TensorProtocol:
        raise error

    model.graph.initializers["w"].const_value = onnx_ir.LazyTensor(fail, onnx_ir.DataType.FLOAT, onnx_ir.Shape([40, 40]))
    with pytest.raises((KeyboardInterrupt, MemoryError, ModelFileError)):
        write_model(model, path, external=external)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_the_kernel_copy_and_its_fallbacks_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_model(saved(chain(weight("w", 700, 700)), tmp_path / "in.onnx"))
    write_model(model, tmp_path / "a.onnx")

    def refuse(*_arguments: object, **_options: object) -> int:
        raise OSError(18, "cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    write_model(model, tmp_path / "b.onnx")
    monkeypatch.setattr(os, "sendfile", refuse)
    write_model(model, tmp_path / "c.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()


def test_over_2_gb_weights_go_into_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PROTOBUF_LIMIT", 100_000)
    model = read_model(saved(chain(weight("w", 300, 300)), tmp_path / "in.onnx"))
    files = write_model(model, tmp_path / "out.onnx")
    assert [file.name for file in files] == ["out.onnx", "out.onnx.data"]
    assert sum(file.stat().st_size for file in files) == saved_bytes(model, name="out.onnx")
    with pytest.raises(UnsupportedModelError, match="2 GB"):
        write_model(model, tmp_path / "out.onnx", external=False)
    with pytest.raises(UnsupportedModelError, match="external data"):
        serialize_model(model)


def test_external_data_must_be_beside_the_model(tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 300, 300)), tmp_path / "in.onnx"))
    with pytest.raises(ModelFileError, match="plain file name"):
        write_model(model, tmp_path / "out.onnx", external="../elsewhere.data")


@pytest.mark.parametrize("place", ["missing/out.onnx", "."])
def test_a_place_that_cannot_be_written_is_an_error(place: str, tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 3)), tmp_path / "in.onnx"))
    with pytest.raises(ModelFileError):
        write_model(model, tmp_path / place)


def test_value_info_is_an_option_and_metadata_stays(tmp_path: Path) -> None:
    model = read_model(saved(chain(weight("w", 3)), tmp_path / "in.onnx"))
    node = next(iter(model.graph))
    node.metadata_props["netwright.module"] = "encoder.0"
    extra = onnx_ir.node("Neg", [node.outputs[0]], name="extra")
    extra.outputs[0].name, extra.outputs[0].type, extra.outputs[0].shape = (
        "n",
        onnx_ir.TensorType(onnx_ir.DataType.FLOAT),
        onnx_ir.Shape([3]),
    )
    model.graph.append(extra)
    write_model(model, tmp_path / "with.onnx", value_info=True)
    write_model(model, tmp_path / "without.onnx")
    assert [info.name for info in onnx.load(tmp_path / "with.onnx").graph.value_info] == ["n"]
    assert not onnx.load(tmp_path / "without.onnx").graph.value_info
    assert onnx.load(tmp_path / "without.onnx").graph.node[0].metadata_props[0].value == "encoder.0"


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    path = saved(chain(weight("w", 3)), tmp_path / "real.onnx")
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    write_model(read_model(link), link)
    assert link.is_symlink()
