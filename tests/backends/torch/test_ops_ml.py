"""`ai.onnx.ml` on torch: ONNX Runtime's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.ops import ml, trees
from netwright.ir.errors import NetwrightError

NAN = float("nan")
FEATURES = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def by_runtime(op_type: str, x: np.ndarray, attributes: Mapping[str, object], count: int = 1, version: int = 3) -> list[np.ndarray]:
    """What ONNX Runtime gives for an operator of `ai.onnx.ml`."""
    make_node: Callable[..., onnx.NodeProto] = helper.make_node
    names = [f"y{index}" for index in range(count)]
    node = make_node(op_type, ["x"], names, domain="ai.onnx.ml", **attributes)
    taken = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    graph = helper.make_graph([node], "single", [taken], [onnx.ValueInfoProto(name=name) for name in names])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    return list(Session(model.SerializeToString(), SessionOptions(threads=1)).run({"x": x}).values())


def by_torch(function: Callable[..., torch.Tensor], x: np.ndarray, attributes: Mapping[str, object]) -> np.ndarray:
    """What an entry of one output gives."""
    return function(to_tensor(x), **attributes).numpy()


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_rows_are_normalized_as_by_onnx_runtime(norm: str) -> None:
    x = np.vstack([FEATURES, np.zeros((1, 3), np.float32)])
    settings = {"norm": norm}
    np.testing.assert_allclose(by_torch(ml.normalize_rows, x, settings), by_runtime("Normalizer", x, settings)[0], rtol=1e-5)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
def test_linear_models_score_as_by_onnx_runtime(transform: str) -> None:
    weights, biases = [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0], [0.1, 0.2, 0.3]
    labels, scores = ml.linear_classification(
        to_tensor(FEATURES), coefficients=weights, intercepts=biases, post_transform=transform, classlabels_ints=(4, 5, 6)
    )
    shared = {"coefficients": weights, "intercepts": biases, "post_transform": transform}
    expected = by_runtime("LinearClassifier", FEATURES, {**shared, "classlabels_ints": [4, 5, 6]}, count=2)
    assert labels.tolist() == expected[0].tolist()
    np.testing.assert_allclose(scores.numpy(), expected[1], rtol=1e-4, atol=1e-6)
    regression = {**shared, "targets": 3}
    found = by_torch(ml.linear_regression, FEATURES, regression)
    np.testing.assert_allclose(found, by_runtime("LinearRegressor", FEATURES, regression)[0], rtol=1e-4, atol=1e-6)


def test_missing_features_are_replaced_each_by_its_own() -> None:
    x = np.array([[1, np.nan], [np.nan, 2]], np.float32)
    settings = {"imputed_value_floats": (5.0, 6.0), "replaced_value_float": NAN}
    np.testing.assert_array_equal(by_torch(ml.impute, x, settings), by_runtime("Imputer", x, settings)[0])


def test_labels_are_looked_up_the_last_of_equal_keys_first_and_nan_found() -> None:
    x = torch.tensor([1.0, NAN, 3.0, 7.0])
    found = ml.encode_labels(x, keys_floats=(1.0, NAN, 3.0, 1.0), values_int64s=(10, 20, 30, 40), default_int64=-5)
    assert found.tolist() == [40, 20, 30, -5]
    assert found.dtype == torch.int64
    with pytest.raises(NetwrightError, match="strings"):
        ml.encode_labels(x, keys_floats=(1.0,))


def test_features_are_cut_or_filled_up_to_their_dimensions() -> None:
    x = to_tensor(FEATURES)
    assert ml.vectorize_features(x, x, inputdimensions=(2, 4)).shape == (4, 6)
    assert ml.extract_features(x[0], torch.tensor([2, 1])).shape == (1, 2)
    assert ml.one_hot_of_categories(torch.tensor([3, 9]), cats_int64s=(1, 3)).tolist() == [[0.0, 1.0], [0.0, 0.0]]


def ensemble(x: np.ndarray, aggregate: int = 1, transform: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three trees, one a single leaf and one that asks for members of a set, by torch and by ONNX Runtime."""
    numbers = {
        "tree_roots": (0, 3, 4),
        "nodes_featureids": (0, 1, 2, 0, 1),
        "nodes_truenodeids": (1, 0, 2, 4, 5),
        "nodes_falsenodeids": (2, 1, 3, 4, 6),
        "nodes_trueleafs": (0, 1, 1, 1, 1),
        "nodes_falseleafs": (0, 1, 1, 1, 1),
        "leaf_targetids": (0, 1, 0, 1, 0, 1, 0),
        "nodes_missing_value_tracks_true": (1, 0, 0, 0, 0),
        "n_targets": 2,
        "aggregate_function": aggregate,
        "post_transform": transform,
    }
    tensors = {
        "nodes_splits": np.array([0.1, 0.2, -0.3, 0.0, 0.5], np.float32),
        "nodes_modes": np.array([0, 3, 1, 0, 6], np.uint8),
        "leaf_weights": np.array([1, 2, 3, 4, 5, 6, 7], np.float32),
        "membership_values": np.array([1, 2, np.nan], np.float32),
    }
    found = by_torch(trees.tree_ensemble, x, {**numbers, **{name: to_tensor(array.copy()) for name, array in tensors.items()}})
    protos = {name: numpy_helper.from_array(array, name) for name, array in tensors.items()}
    return found, by_runtime("TreeEnsemble", x, {**numbers, **protos}, version=5)[0]


@pytest.mark.parametrize("aggregate", [0, 1, 2, 3])
def test_trees_decide_as_by_onnx_runtime(aggregate: int) -> None:
    x = np.vstack([FEATURES, [[np.nan, 1, 0], [0, 2, 0], [5, 3, np.nan]]]).astype(np.float32)
    found, expected = ensemble(x, aggregate)
    np.testing.assert_allclose(found, expected)


def test_scores_of_trees_are_transformed() -> None:
    raw, _ = ensemble(FEATURES)
    found, _ = ensemble(FEATURES, transform=1)
    np.testing.assert_allclose(found, torch.softmax(to_tensor(raw), 1).numpy(), rtol=1e-6)


def test_a_tree_with_a_cycle_is_refused() -> None:
    one = torch.zeros(1)
    with pytest.raises(NetwrightError, match="cycle"):
        trees.tree_ensemble(
            torch.zeros(1, 1),
            tree_roots=(0,),
            nodes_featureids=(0,),
            nodes_splits=one,
            nodes_modes=one,
            nodes_truenodeids=(0,),
            nodes_falsenodeids=(0,),
            nodes_trueleafs=(0,),
            nodes_falseleafs=(1,),
            leaf_targetids=(0,),
            leaf_weights=one,
        )
