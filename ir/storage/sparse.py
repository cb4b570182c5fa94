"""Makes sparse tensors dense: nothing downstream keeps them sparse."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from netwright.ir.errors import ModelFileError
from netwright.ir.storage.tensors import dense_fault, graphs_of


def densify(proto: onnx.ModelProto) -> None:
    """Turn sparse initializers and sparse attributes of a model into dense ones, in place.

    Raises:
        ModelFileError: a sparse tensor contradicts itself, or is so sparse that its dense form is out of proportion to the file.
    """
    for graph in graphs_of(proto):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(dense(sparse))
        del graph.sparse_initializer[:]
        for node in graph.node:
            _densify_attributes(node)
    for function in proto.functions:
        for node in function.node:
            _densify_attributes(node)


def _densify_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if not attribute.HasField("sparse_tensor"):
            continue
        tensor = dense(attribute.sparse_tensor)
        attribute.ClearField("sparse_tensor")
        attribute.t.CopyFrom(tensor)
        attribute.type = onnx.AttributeProto.TENSOR
        if node.op_type == "Constant" and attribute.name == "sparse_value":
            attribute.name = "value"


def dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """The dense form of a COO tensor: values [NNZ] at indices [NNZ] (linear) or [NNZ, rank].

    Raises:
        ModelFileError: the parts contradict each other.
    """
    name = sparse.values.name
    if fault := dense_fault(sparse):
        raise ModelFileError(f"A sparse tensor {fault}.", place=name, remedy="Save the model with dense weights.")
    values = numpy_helper.to_array(sparse.values).reshape(-1)
    indices = numpy_helper.to_array(sparse.indices)
    dims = tuple(sparse.dims)
    if indices.shape not in ((values.size,), (values.size, len(dims))):
        raise ModelFileError(f"A sparse tensor has {values.size} values and indices of shape {list(indices.shape)}.", place=name)
    array = np.zeros(dims, dtype=values.dtype)
    limits = np.array(dims if indices.ndim == 2 else (array.size,), dtype=np.int64)
    if indices.size and (indices.min() < 0 or (indices >= limits).any()):
        raise ModelFileError(f"A sparse tensor has an index outside its shape {list(dims)}.", place=name)
    if indices.ndim == 2:
        array[tuple(indices.T)] = values
    else:
        array.reshape(-1)[indices] = values
    return numpy_helper.from_array(array, name)
