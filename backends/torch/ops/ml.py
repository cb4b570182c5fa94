"""Operators of `ai.onnx.ml` on numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F

from netwright.backends.torch.ops.scores import transformed
from netwright.backends.torch.table import torch_op
from netwright.ir.errors import NetwrightError

_DOMAIN = "ai.onnx.ml"


@torch_op("ArrayFeatureExtractor", domain=_DOMAIN)
def extract_features(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Elements of the last axis; of a vector, in a matrix of one row."""
    rows = x.unsqueeze(0) if x.ndim == 1 else x
    return torch.index_select(rows, -1, indices.reshape(-1))


@torch_op("Binarizer", domain=_DOMAIN)
def binarize(x: torch.Tensor, *, threshold: float = 0.0) -> torch.Tensor:
    """1 above the threshold, else 0."""
    return (x > threshold).to(x.dtype)


@torch_op("Scaler", domain=_DOMAIN)
def scale_features(x: torch.Tensor, *, offset: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> torch.Tensor:
    """(x - offset) · scale, each one number or one for each feature; in float32."""
    return (x - _row(offset, x, torch.float32)) * _row(scale, x, torch.float32)


@torch_op("Normalizer", domain=_DOMAIN)
def normalize_rows(x: torch.Tensor, *, norm: str = "MAX") -> torch.Tensor:
    """Rows divided by their largest element (`MAX`) or their norm (`L1`, `L2`), unless that is 0; in float32."""
    wide = x.to(torch.float32)
    if norm == "MAX":
        size = torch.amax(wide, dim=-1, keepdim=True)
    else:
        size = cast("torch.Tensor", torch.linalg.vector_norm(wide, ord=int(norm[1]), dim=-1, keepdim=True))
    return wide / torch.where(size == 0, 1.0, size)


@torch_op("Imputer", domain=_DOMAIN)
def impute(
    x: torch.Tensor,
    *,
    imputed_value_floats: Sequence[float] = (),
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> torch.Tensor:
    """Elements that equal a value (or are NaN, where that is the value) replaced, by one number or one for each feature."""
    if x.is_floating_point():
        value = replaced_value_float
        missing = torch.isnan(x) if value != value else x == value
        return torch.where(missing, _row(imputed_value_floats, x, x.dtype), x)
    return torch.where(x == replaced_value_int64, _row(imputed_value_int64s, x, x.dtype), x)


@torch_op("FeatureVectorizer", domain=_DOMAIN)
def vectorize_features(*tensors: torch.Tensor, inputdimensions: Sequence[int] = ()) -> torch.Tensor:
    """Matrices (a vector is one row) side by side, in float32, each cut or filled with zeros to its own number of columns."""
    rows = [(one.unsqueeze(0) if one.ndim == 1 else one.flatten(1)).to(torch.float32) for one in tensors]
    if inputdimensions:
        rows = [F.pad(one, (0, width - one.shape[1])) for one, width in zip(rows, inputdimensions, strict=True)]
    return torch.cat(rows, dim=1)


@torch_op("OneHotEncoder", domain=_DOMAIN)
def one_hot_of_categories(x: torch.Tensor, *, cats_int64s: Sequence[int] = (), zeros: int = 1) -> torch.Tensor:
    """1 at the element's category along a new last axis, in float32; zeros where it is none of them.

    Raises:
        NetwrightError: `zeros=0`, which asks for an error that depends on data.
    """
    if not zeros:
        raise NetwrightError("OneHotEncoder with zeros=0 fails on unknown categories, which torch cannot promise.", remedy="Set zeros=1.")
    categories = torch.tensor(cats_int64s, dtype=torch.int64, device=x.device)
    return (x.to(torch.int64).unsqueeze(-1) == categories).to(torch.float32)


@torch_op("LabelEncoder", domain=_DOMAIN)
def encode_labels(
    x: torch.Tensor,
    *,
    keys_int64s: Sequence[int] = (),
    keys_floats: Sequence[float] = (),
    keys_tensor: torch.Tensor | None = None,
    values_int64s: Sequence[int] = (),
    values_floats: Sequence[float] = (),
    values_tensor: torch.Tensor | None = None,
    default_int64: int = -1,
    default_float: float = -0.0,
    default_tensor: torch.Tensor | None = None,
) -> torch.Tensor:
    """The value whose key an element equals, NaN equalling NaN, the last of equal keys; else the default.

    Costs elements × keys in time and memory.

    Raises:
        NetwrightError: keys or values are strings, which torch has no tensors of.
    """
    keys = keys_tensor if keys_tensor is not None else _either(keys_int64s, keys_floats, x)
    values = values_tensor if values_tensor is not None else _either(values_int64s, values_floats, x)
    if keys is None or values is None:
        raise NetwrightError("LabelEncoder with strings cannot run on torch.", remedy="Leave the mapping of strings outside of the graph.")
    default = default_tensor.reshape(()) if default_tensor is not None else default_float if values.is_floating_point() else default_int64
    keys, values = keys.reshape(-1), values.reshape(-1)
    wanted = x.unsqueeze(-1)
    same = wanted == keys
    if x.is_floating_point():
        same = same | (torch.isnan(wanted) & torch.isnan(keys))
    place = (same * torch.arange(1, keys.numel() + 1, device=x.device)).amax(dim=-1)
    return torch.where(place > 0, values[torch.clamp(place - 1, min=0)], default).to(values.dtype)


@torch_op("LinearRegressor", domain=_DOMAIN)
def linear_regression(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float] = (),
    intercepts: Sequence[float] = (),
    targets: int = 1,
    post_transform: str = "NONE",
) -> torch.Tensor:
    """`x · Wᵀ + b` in float32: [batch, targets]."""
    return transformed(_linear(x, coefficients, intercepts, targets), post_transform)


@torch_op("LinearClassifier", domain=_DOMAIN)
def linear_classification(
    x: torch.Tensor,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    classlabels_ints: Sequence[int] = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The label of the best class and the scores of all: [batch], [batch, classes].

    One row of coefficients for two labels scores the second, and its negative the first, as in ONNX's reference implementation.
    `multi_class` says how the model was fitted, which makes no difference.

    Raises:
        NetwrightError: labels are strings.
    """
    if not classlabels_ints:
        raise NetwrightError("LinearClassifier with labels of strings cannot run on torch.", remedy="Give it integer labels.")
    rows = len(coefficients) // x.shape[-1]
    scores = _linear(x, coefficients, intercepts, rows)
    if rows == 1 and len(classlabels_ints) == 2:
        scores = torch.cat([-scores, scores], dim=1)
    labels = torch.tensor(classlabels_ints, dtype=torch.int64, device=x.device)
    return labels[torch.argmax(scores, dim=1)], transformed(scores, post_transform)


def _linear(x: torch.Tensor, coefficients: Sequence[float], intercepts: Sequence[float], rows: int) -> torch.Tensor:
    weight = torch.tensor(coefficients, dtype=torch.float32, device=x.device).reshape(rows, -1)
    bias = torch.tensor(intercepts, dtype=torch.float32, device=x.device) if intercepts else None
    return F.linear(x.to(torch.float32), weight, bias)


def _row(numbers: Sequence[float], x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(numbers, dtype=dtype, device=x.device)


def _either(integers: Sequence[int], floats: Sequence[float], x: torch.Tensor) -> torch.Tensor | None:
    if integers:
        return torch.tensor(integers, dtype=torch.int64, device=x.device)
    return torch.tensor(floats, dtype=torch.float32, device=x.device) if floats else None
