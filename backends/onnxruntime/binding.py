"""ONNX Runtime with types: the one module that touches the untyped library.

It is imported when first used, not with this module. Element types that numpy lacks (bfloat16, float8, 4 bit) travel as
ONNX Runtime's own values and come back in `ml_dtypes`.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import numpy as np
import onnx_ir

from netwright.backends.onnxruntime.failures import explain_load, explain_run
from netwright.backends.onnxruntime.options import Level, SessionOptions
from netwright.ir.errors import RunError
from netwright.ir.signature import pack


class _NodeArg(Protocol):
    name: str
    type: str


class _OrtValue(Protocol):
    def numpy(self) -> np.ndarray: ...
    def is_tensor(self) -> bool: ...
    def has_value(self) -> bool: ...
    def element_type(self) -> int: ...
    def shape(self) -> list[int]: ...
    def data_ptr(self) -> int: ...
    def tensor_size_in_bytes(self) -> int: ...


class _OrtValues(Protocol):
    """The class `OrtValue`: its factories."""

    def ortvalue_from_numpy(self, array: np.ndarray) -> _OrtValue: ...
    def ortvalue_from_numpy_with_onnx_type(self, array: np.ndarray, onnx_type: int) -> _OrtValue: ...


class _Options(Protocol):
    graph_optimization_level: object
    intra_op_num_threads: int
    log_severity_level: int
    enable_cpu_mem_arena: bool
    optimized_model_filepath: str

    def add_session_config_entry(self, key: str, value: str) -> None: ...
    def add_external_initializers(self, names: list[str], values: list[_OrtValue]) -> None: ...


class _Inference(Protocol):
    def get_inputs(self) -> list[_NodeArg]: ...
    def get_outputs(self) -> list[_NodeArg]: ...
    def run(self, names: list[str], feeds: dict[str, object]) -> list[object]: ...
    def run_with_ort_values(self, names: list[str], feeds: dict[str, _OrtValue]) -> list[_OrtValue]: ...


class _Sessions(Protocol):
    def __call__(self, model: bytes | str, options: _Options, *, providers: list[object]) -> _Inference: ...


class _NewOptions(Protocol):
    def __call__(self) -> _Options: ...


class KernelDef(Protocol):
    """One kernel in ONNX Runtime's registry."""

    op_name: str
    domain: str
    provider: str
    version_range: tuple[int, int]
    type_constraints: Mapping[str, Sequence[str]]


class _Library(Protocol):
    __version__: str
    OrtValue: _OrtValues
    InferenceSession: _Sessions
    SessionOptions: _NewOptions

    def get_available_providers(self) -> list[str]: ...


class _Bindings(Protocol):
    def get_all_opkernel_def(self) -> list[KernelDef]: ...


_LEVELS: Mapping[Level, str] = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_FOUR_BITS = frozenset({onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4, onnx_ir.DataType.FLOAT4E2M1})
_TWO_BITS = frozenset({onnx_ir.DataType.INT2, onnx_ir.DataType.UINT2})
_SILENT = 4
"""Nothing is logged: errors come back as exceptions, and printing is the caller's business."""
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
_STOP_SPINNING = "session.force_spinning_stop"


def version() -> str:
    """The version of ONNX Runtime installed."""
    return _library().__version__


def cpu_kernels() -> list[KernelDef]:
    """Every kernel of the CPU provider."""
    found = _bindings().get_all_opkernel_def()
    return [kernel for kernel in found if kernel.provider == "CPUExecutionProvider"]


class Session:
    """A loaded model.

    Args:
        model: the serialized graph, or the path of a file.
        options: how to run it.
        folder: where files named as external data are, for a serialized graph.
        weights: initializers that the graph declares as external but which come from memory. Not copied: ONNX Runtime reads these
            arrays, which this object keeps alive.
        optimized: write the graph as ONNX Runtime rewrote it to this path.

    Raises:
        RunError: ONNX Runtime refused the model.
    """

    def __init__(
        self,
        model: bytes | Path,
        options: SessionOptions,
        *,
        folder: Path | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        optimized: Path | None = None,
    ) -> None:
        library = _library()
        _check_providers(library, options)
        chosen = library.SessionOptions()
        chosen.log_severity_level = _SILENT
        chosen.graph_optimization_level = getattr(cast("ModuleType", library).GraphOptimizationLevel, _LEVELS[options.level])
        chosen.enable_cpu_mem_arena = options.arena
        if options.threads is not None:
            chosen.intra_op_num_threads = options.threads
        if options.stop_spinning:
            chosen.add_session_config_entry(_STOP_SPINNING, "1")
        if folder is not None:
            chosen.add_session_config_entry(_EXTERNAL_FOLDER, str(folder))
        if optimized is not None:
            chosen.optimized_model_filepath = str(optimized)
        for key, value in options.config.items():
            chosen.add_session_config_entry(key, value)
        self._weights = dict(weights or {})
        if self._weights:
            chosen.add_external_initializers(list(self._weights), [_to_value(library, array) for array in self._weights.values()])
        providers: list[object] = [one if isinstance(one, str) else (one[0], dict(one[1])) for one in options.providers]
        try:
            self._session = library.InferenceSession(model if isinstance(model, bytes) else str(model), chosen, providers=providers)
        except _failures() as error:
            raise explain_load(error, model if isinstance(model, Path) else None) from error
        self.inputs = {one.name: one.type for one in self._session.get_inputs()}
        self.outputs = {one.name: one.type for one in self._session.get_outputs()}
        self._by_value = any(_is_foreign(kind) for kind in (*self.inputs.values(), *self.outputs.values()))

    def run(self, feeds: Mapping[str, np.ndarray], names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            feeds: an array for each input; sequences as object arrays.
            names: outputs wanted; all where not given.

        Raises:
            RunError: an operator failed.
        """
        wanted = list(self.outputs if names is None else names)
        try:
            if self._by_value:
                return self._run_by_value(feeds, wanted)
            plain: dict[str, object] = {name: _plain(feed, self.inputs.get(name, "")) for name, feed in feeds.items()}
            found = self._session.run(wanted, plain)
        except _failures() as error:
            raise explain_run(error) from error
        return {name: pack(value) for name, value in zip(wanted, found, strict=True)}

    def _run_by_value(self, feeds: Mapping[str, np.ndarray], wanted: list[str]) -> dict[str, np.ndarray]:
        library = _library()
        values = {name: _to_value(library, feed) for name, feed in feeds.items()}
        found = self._session.run_with_ort_values(wanted, values)
        return {name: _to_array(value) for name, value in zip(wanted, found, strict=True)}


def _library() -> _Library:
    return cast("_Library", importlib.import_module("onnxruntime"))


def _bindings() -> _Bindings:
    return cast("_Bindings", importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state"))


def _failures() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its own exceptions have no common base."""
    bindings = cast("ModuleType", _bindings())
    own = [cls for cls in vars(bindings).values() if isinstance(cls, type) and issubclass(cls, Exception)]
    return (*own, RuntimeError, ValueError)


def _check_providers(library: _Library, options: SessionOptions) -> None:
    available = library.get_available_providers()
    for name in options.provider_names:
        if name not in available:
            raise RunError(
                f"This build of ONNX Runtime has no provider {name!r}.", place=name, remedy=f"Choose from {', '.join(available)}."
            )


def _is_foreign(kind: str) -> bool:
    """True for tensors of element types that ONNX Runtime does not turn into numpy arrays, such as `tensor(bfloat16)`."""
    return kind.startswith(
        ("tensor(bfloat16", "tensor(float8", "tensor(float4", "tensor(int4", "tensor(uint4", "tensor(int2", "tensor(uint2")
    )


def _plain(feed: np.ndarray, kind: str) -> object:
    if kind.startswith("tensor") or not kind:
        return feed
    return feed.item() if feed.ndim == 0 else list(feed)


def _to_value(library: _Library, array: np.ndarray) -> _OrtValue:
    if array.dtype.kind != "V" and not array.dtype.name.startswith(("bfloat16", "float8")):
        return library.OrtValue.ortvalue_from_numpy(array)
    dtype = onnx_ir.DataType.from_numpy(array.dtype)
    carrier = np.dtype(f"u{array.dtype.itemsize}")
    return library.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(carrier), int(dtype))


def _to_array(value: _OrtValue) -> np.ndarray:
    if not value.is_tensor():
        return pack(value.numpy())
    dtype = onnx_ir.DataType(value.element_type())
    if not _is_foreign(f"tensor({dtype.name.lower()}"):
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()) if value.tensor_size_in_bytes() else b""
    shape = tuple(value.shape())
    if dtype in _FOUR_BITS or dtype in _TWO_BITS:
        packed = onnx_ir.PackedTensor(np.frombuffer(raw, np.uint8), dtype, shape=onnx_ir.Shape(shape))
        return packed.numpy()
    return np.frombuffer(raw, dtype.numpy()).reshape(shape)
