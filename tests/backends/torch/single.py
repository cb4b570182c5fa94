"""One operator at a time: what ONNX Runtime gives, and what the torch entry gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import onnx
import onnx_ir
import torch
from onnx import helper

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.torch import ops
from netwright.backends.torch.dtypes import to_array, to_tensor, torch_dtype
from netwright.backends.torch.table import OpEntry, find_entry

assert ops

Array = np.ndarray | None


def by_runtime(
    op_type: str,
    inputs: Sequence[Array],
    attributes: dict[str, object] | None = None,
    *,
    outputs: Sequence[bool] = (True,),
    domain: str = "",
    opset: int = 21,
    constant: Sequence[int] = (),
    floats: bool = False,
) -> list[np.ndarray]:
    """The declared outputs as ONNX Runtime computes them; inputs named in `constant` are initializers.

    With `floats`, the outputs are declared to be float32, for operators from which that cannot be inferred.
    """
    names = ["" if array is None else f"x{index}" for index, array in enumerate(inputs)]
    made = [f"y{index}" if wanted else "" for index, wanted in enumerate(outputs)]
    node = helper.make_node(op_type, names, made, domain=domain)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in (attributes or {}).items())
    arrays = {name: array for name, array in zip(names, inputs, strict=True) if array is not None}
    held = [names[index] for index in constant if names[index]]
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info(name, _code(array), array.shape) for name, array in arrays.items() if name not in held],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) if floats else _untyped(name) for name in made if name],
        [_tensor(name, arrays[name]) for name in held],
    )
    imports = [helper.make_opsetid("", opset if not domain else 21)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    session = Session(model.SerializeToString(), SessionOptions(threads=1))
    return list(session.run({name: array for name, array in arrays.items() if name not in held}).values())


def entry(op_type: str, *, domain: str = "", opset: int = 21) -> OpEntry:
    """The torch entry."""
    found = find_entry(op_type, domain, 1 if domain else opset)
    assert found is not None, op_type
    return found


def by_torch(
    op_type: str,
    inputs: Sequence[Array | torch.Tensor],
    attributes: dict[str, object] | None = None,
    *,
    outputs: Sequence[bool] = (True,),
    domain: str = "",
    opset: int = 21,
    carried: bool = False,
    result: torch.dtype | None = None,
) -> list[torch.Tensor]:
    """The declared outputs as the torch entry computes them."""
    found = entry(op_type, domain=domain, opset=opset)
    tensors = [to_tensor(np.array(one)) if isinstance(one, np.ndarray | np.generic) else one for one in inputs]
    keywords = {name: _attribute(found, name, value) for name, value in (attributes or {}).items()}
    if "wanted" in found.requests:
        keywords["wanted"] = tuple(outputs)
    if carried and "carried" in found.requests:
        keywords["carried"] = True
    if "result" in found.requests and result is not None:
        keywords["result"] = result
    made = found.function(*(_on_host(found, place, one) for place, one in enumerate(tensors)), **keywords)
    parts = cast("tuple[torch.Tensor, ...]", made if isinstance(made, tuple) else (made,))
    return [part for part, wanted in zip(parts, outputs, strict=False) if wanted]


def assert_same(
    op_type: str,
    inputs: Sequence[Array],
    attributes: dict[str, object] | None = None,
    *,
    outputs: Sequence[bool] = (True,),
    domain: str = "",
    opset: int = 21,
    constant: Sequence[int] = (),
    floats: bool = False,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Both give the same."""
    expected = by_runtime(op_type, inputs, attributes, outputs=outputs, domain=domain, opset=opset, constant=constant, floats=floats)
    result = to_tensor(np.empty(0, expected[0].dtype)).dtype
    found = by_torch(op_type, inputs, attributes, outputs=outputs, domain=domain, opset=opset, result=result)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        array = to_array(one)
        assert array.shape == other.shape
        assert array.dtype == other.dtype
        np.testing.assert_allclose(array.astype(np.float64), other.astype(np.float64), rtol=rtol, atol=atol)


def _on_host(found: OpEntry, place: int, value: torch.Tensor | None) -> object:
    name = found.inputs[min(place, len(found.inputs) - 1)]
    return cast("object", value.tolist()) if name in found.host and value is not None else value


def _attribute(found: OpEntry, name: str, value: object) -> object:
    if name in found.dtypes and isinstance(value, int):
        return torch_dtype(value) if value else None
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _untyped(name: str) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=name)


def _code(array: np.ndarray) -> int:
    return onnx_ir.DataType.from_numpy(array.dtype).value


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    return onnx_ir.serde.serialize_tensor(onnx_ir.tensor(array, name=name))
