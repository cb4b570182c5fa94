"""Inputs and options with which every entry's gradients are checked, or the reason why an entry has none to check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_draw = np.random.default_rng(11)

ML, TRAINING, MS = "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft"


@dataclass(frozen=True, slots=True)
class Case:
    """One node.

    Attributes:
        inputs: arrays; those of float64 are differentiated, all others constant, and so are those which the entry never trains.
        attributes: the node's.
        outputs: how many are declared.
        single: the operator computes in float32, so that differences are coarser.
        opset: of the operator's domain; 0 for the newest.
    """

    inputs: tuple[np.ndarray | None, ...]
    attributes: Mapping[str, object] = field(default_factory=dict[str, object])
    outputs: int = 1
    single: bool = False
    opset: int = 0


def case(*inputs: np.ndarray | None, outputs: int = 1, single: bool = False, opset: int = 0, **attributes: object) -> Case:
    return Case(inputs, attributes, outputs, single, opset)


def normal(*shape: int) -> np.ndarray:
    return _draw.normal(size=shape)


def within(low: float, high: float, *shape: int) -> np.ndarray:
    return _draw.uniform(low, high, shape)


def positive(*shape: int) -> np.ndarray:
    return within(0.4, 1.6, *shape)


def apart(*shape: int) -> np.ndarray:
    """Numbers of which no two are close to each other or to zero: nothing changes places while differences are taken."""
    count = math.prod(shape)
    values = (np.arange(count, dtype=np.float64) - count / 2 + 0.37) * 0.13
    _draw.shuffle(values)
    return values.reshape(shape)


def ints(*values: object) -> np.ndarray:
    return np.array(values, np.int64)


def whole(low: int, high: int, *shape: int) -> np.ndarray:
    """Random bytes."""
    return _draw.integers(low, high, shape).astype(np.uint8)


def scalar(value: float, dtype: type[np.number] = np.int64) -> np.ndarray:
    return np.array(value, dtype)


def floats(*values: float) -> np.ndarray:
    """Constants in float32."""
    return np.array(values, np.float32)


_image, _filters = normal(2, 4, 6, 5), normal(6, 4, 3, 2)
_tokens = (normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 8))
_gates: dict[str, object] = {"direction": "bidirectional", "hidden_size": 3}


def recurrent(gates: int, *more: np.ndarray, **attributes: object) -> Case:
    weights = (normal(2, gates * 3, 2), normal(2, gates * 3, 3), normal(2, 2 * gates * 3))
    states = 3 if gates == 4 else 2
    return Case((normal(4, 2, 2), *weights, np.array([4, 2], np.int32), normal(2, 2, 3), *more), {**_gates, **attributes}, states)


CASES: dict[str, list[Case]] = {
    # ---- elementwise
    "Abs": [case(apart(3, 4))],
    "Acos": [case(within(-0.8, 0.8, 3, 4))],
    "Acosh": [case(within(1.2, 3, 3, 4))],
    "Add": [case(normal(3, 4), normal(4))],
    "Asin": [case(within(-0.8, 0.8, 3, 4))],
    "Asinh": [case(normal(3, 4))],
    "Atan": [case(normal(3, 4))],
    "Atanh": [case(within(-0.8, 0.8, 3, 4))],
    "Cast": [case(normal(3), to=11)],
    "CastLike": [case(normal(3), np.zeros(1))],
    "Celu": [case(apart(3, 4), alpha=0.7)],
    "Clip": [case(apart(3, 4), scalar(-0.4, np.float64), scalar(0.4, np.float64)), case(apart(3, 4))],
    "Cos": [case(normal(3, 4))],
    "Cosh": [case(normal(3, 4))],
    "Div": [case(normal(3, 4), positive(3, 1))],
    "Dropout": [case(normal(3, 4))],
    "Elu": [case(apart(3, 4), alpha=1.3)],
    "Erf": [case(normal(3, 4))],
    "Exp": [case(normal(3, 4))],
    "Gelu": [case(normal(3, 4)), case(normal(3, 4), approximate="tanh")],
    "HardSigmoid": [case(apart(3, 4), alpha=0.9, beta=0.4)],
    "HardSwish": [case(apart(3, 16))],
    "Identity": [case(normal(3, 4))],
    "LeakyRelu": [case(apart(3, 4), alpha=0.2)],
    "Log": [case(positive(3, 4))],
    "Max": [case(apart(3, 4), apart(3, 4) + 0.05, apart(1, 4) + 0.02)],
    "Mean": [case(normal(3, 4), normal(4), normal(3, 1))],
    "Min": [case(apart(3, 4), apart(3, 4) + 0.05, apart(1, 4) + 0.02)],
    "Mish": [case(normal(3, 4))],
    "Mod": [case(within(2.1, 2.9, 3), np.full(3, 1.0), fmod=1)],
    "Mul": [case(normal(3, 4), normal(3, 1))],
    "Neg": [case(normal(3, 4))],
    "PRelu": [case(apart(2, 3, 4), normal(3, 1))],
    "Pow": [case(positive(3, 4), normal(4)), case(apart(3, 4), scalar(3, np.float32))],
    "Reciprocal": [case(positive(3, 4))],
    "Relu": [case(apart(3, 4))],
    "Selu": [case(apart(3, 4))],
    "Shrink": [case(apart(3, 4), lambd=0.35, bias=0.2)],
    "Sigmoid": [case(normal(3, 4))],
    "Sin": [case(normal(3, 4))],
    "Sinh": [case(normal(3, 4))],
    "Softplus": [case(normal(3, 4))],
    "Softsign": [case(apart(3, 4))],
    "Sqrt": [case(positive(3, 4))],
    "Sub": [case(normal(3, 4), normal(1, 4))],
    "Sum": [case(normal(3, 4), normal(4), normal(3, 1))],
    "SwiGLU": [case(normal(3, 4), normal(3, 4))],
    "Swish": [case(normal(3, 4), alpha=1.4)],
    "Tan": [case(within(-1, 1, 3, 4))],
    "Tanh": [case(normal(3, 4))],
    "ThresholdedRelu": [case(apart(3, 4), alpha=0.3)],
    "Where": [case(np.array([True, False, True]), normal(2, 3), normal(3))],
    # ---- products
    "Det": [case(normal(2, 3, 3))],
    "Einsum": [case(normal(2, 3), normal(3, 4), equation="ij,jk->ki"), case(normal(2, 3, 3), equation="bii->b")],
    "Gemm": [
        case(normal(3, 4), normal(5, 4), normal(5), transB=1),
        case(normal(4, 3), normal(4, 5), normal(3, 1), transA=1, alpha=0.7, beta=0.3),
        case(normal(3, 4), normal(4, 5)),
    ],
    "MatMul": [case(normal(2, 3, 4), normal(4, 5)), case(normal(4), normal(2, 4, 3)), case(normal(2, 1, 3, 4), normal(3, 4, 2))],
    # ---- reductions
    "CumProd": [case(apart(3, 4), scalar(1)), case(apart(3, 4), scalar(0), exclusive=1, reverse=1)],
    "CumSum": [case(normal(3, 4), scalar(1)), case(normal(3, 4), scalar(0), exclusive=1, reverse=1)],
    "ReduceL1": [case(apart(3, 4, 2), ints(1), keepdims=0), case(apart(3, 4))],
    "ReduceL2": [case(normal(3, 4, 2), ints(0, 2)), case(normal(3, 4), keepdims=0)],
    "ReduceLogSum": [case(positive(3, 4, 2), ints(-1))],
    "ReduceLogSumExp": [case(normal(3, 4, 2), ints(1, 2), keepdims=0)],
    "ReduceMax": [case(apart(3, 4, 2), ints(1)), case(apart(3, 4, 2), ints(0, 2), keepdims=0)],
    "ReduceMean": [case(normal(3, 4, 2), ints(1)), case(normal(3, 4), keepdims=0)],
    "ReduceMin": [case(apart(3, 4, 2), ints(1)), case(apart(3, 4, 2), ints(0, 2), keepdims=0)],
    "ReduceProd": [case(positive(3, 4, 2), ints(1)), case(positive(3, 2), keepdims=0)],
    "ReduceSum": [case(normal(3, 4, 2), ints(0, -1)), case(normal(3, 4), ints(), noop_with_empty_axes=1)],
    "ReduceSumSquare": [case(normal(3, 4, 2), ints(1))],
    # ---- norms, softmax, losses
    "BatchNormalization": [
        case(normal(3, 4, 2), positive(4), normal(4), normal(4), positive(4)),
        case(normal(3, 4, 2), positive(4), normal(4), normal(4), positive(4), outputs=3, training_mode=1),
    ],
    "GroupNormalization": [case(normal(2, 4, 3), positive(4), normal(4), num_groups=2)],
    "GroupNormalization:18": [case(normal(2, 4, 3), positive(2), normal(2), num_groups=2, opset=18)],
    "InstanceNormalization": [case(normal(2, 3, 4), positive(3), normal(3))],
    "LRN": [case(normal(2, 5, 3), size=3, alpha=0.4, beta=0.6, bias=1.2)],
    "LayerNormalization": [
        case(normal(2, 3, 4), positive(4), normal(4), outputs=3),
        case(normal(2, 3, 4), positive(3, 4), axis=1),
    ],
    "LogSoftmax": [case(normal(2, 3, 4), axis=1)],
    "LpNormalization": [case(apart(3, 4), p=1), case(normal(3, 4), axis=0)],
    "MeanVarianceNormalization": [case(normal(2, 3, 4, 2)), case(normal(2, 3), axes=[0])],
    "NegativeLogLikelihoodLoss": [
        case(normal(4, 3), ints(0, 2, 1, 0)),
        case(normal(2, 3, 2), ints([0, 2], [1, 0]), positive(3), reduction="mean", ignore_index=1),
        case(normal(2, 3, 2), ints([0, 2], [1, 0]), positive(3), reduction="none"),
    ],
    "RMSNormalization": [case(normal(2, 3, 4), positive(4)), case(normal(2, 3, 4), positive(3, 4), axis=1, epsilon=0.01)],
    "Softmax": [case(normal(2, 3, 4)), case(normal(2, 3, 4), axis=1)],
    "SoftmaxCrossEntropyLoss": [
        case(normal(4, 3), ints(0, 2, 1, 0), outputs=2),
        case(normal(2, 3, 2), ints([0, 2], [1, 0]), positive(3), ignore_index=1, reduction="mean"),
        case(normal(2, 3, 2), ints([0, 2], [1, 0]), reduction="sum"),
    ],
    # ---- convolution, pooling, sampling
    "AveragePool": [
        case(_image, kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1]),
        case(_image, kernel_shape=[2, 2], ceil_mode=1, strides=[2, 2], count_include_pad=1),
        case(normal(1, 2, 7), kernel_shape=[3], auto_pad="SAME_UPPER"),
    ],
    "Conv": [
        case(_image, _filters, normal(6), pads=[1, 0, 1, 1], strides=[2, 1]),
        case(normal(1, 4, 5, 5), normal(4, 1, 3, 3), group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
        case(normal(1, 2, 7), normal(3, 2, 2), normal(3), auto_pad="SAME_UPPER", strides=[2]),
        case(normal(1, 1, 3, 3, 3), normal(2, 1, 2, 2, 2)),
    ],
    "ConvTranspose": [
        case(normal(1, 4, 3, 3), normal(4, 2, 3, 2), normal(2), strides=[2, 1], pads=[1, 0, 1, 0]),
        case(normal(1, 4, 3), normal(4, 1, 3), group=2, output_padding=[1], strides=[2]),
    ],
    "DeformConv": [
        case(normal(1, 2, 4, 4), normal(3, 2, 2, 2), within(0.1, 0.4, 1, 8, 3, 3), normal(3), positive(1, 4, 3, 3), kernel_shape=[2, 2])
    ],
    "GlobalAveragePool": [case(_image)],
    "GlobalLpPool": [case(apart(1, 2, 3, 3), p=3)],
    "GlobalMaxPool": [case(apart(1, 2, 3, 3))],
    "LpPool": [case(apart(1, 2, 5, 5), kernel_shape=[2, 2], p=3), case(normal(1, 2, 5), kernel_shape=[3], strides=[2], pads=[1, 1])],
    "MaxPool": [
        case(apart(1, 2, 6, 5), kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1]),
        case(apart(1, 2, 7), kernel_shape=[2], dilations=[2], outputs=2),
    ],
    "MaxRoiPool": [case(apart(1, 2, 6, 6), floats(0, 0, 0, 4, 5).reshape(1, 5), pooled_shape=[2, 2])],
    "MaxUnpool": [case(normal(1, 1, 2, 2), ints([[[5, 7], [13, 15]]]), kernel_shape=[2, 2], strides=[2, 2])],
    "AffineGrid": [case(normal(2, 2, 3), ints(2, 1, 3, 4)), case(normal(1, 3, 4), ints(1, 1, 2, 3, 2), align_corners=1)],
    "CenterCropPad": [case(normal(5, 4), ints(3, 7))],
    "Col2Im": [case(normal(1, 8, 9), ints(4, 4), ints(2, 2))],
    "DepthToSpace": [case(normal(1, 8, 2, 3), blocksize=2), case(normal(1, 8, 2, 3), blocksize=2, mode="CRD")],
    "GridSample": [
        case(normal(1, 2, 4, 4), within(-0.9, 0.9, 1, 3, 2, 2)),
        case(normal(1, 2, 4, 4), within(-0.9, 0.9, 1, 3, 2, 2), mode="cubic", padding_mode="border", align_corners=1),
    ],
    "Resize": [
        case(normal(1, 2, 4, 3), None, floats(1, 1, 2, 1.5), mode="linear"),
        case(normal(1, 2, 4, 3), None, None, ints(1, 2, 7, 5), mode="cubic", coordinate_transformation_mode="align_corners"),
        case(normal(1, 2, 4, 3), None, floats(1, 1, 2, 2), mode="nearest"),
        case(normal(1, 1, 8, 8), None, floats(1, 1, 0.5, 0.5), mode="linear", antialias=1),
    ],
    "RoiAlign": [
        case(normal(1, 2, 6, 6), floats(0.3, 0.2, 4.1, 5.3).reshape(1, 4), ints(0), output_height=2, output_width=2, sampling_ratio=2),
        case(apart(1, 2, 6, 6), floats(0.3, 0.2, 4.1, 5.3).reshape(1, 4), ints(0), output_height=2, output_width=2, mode="max"),
    ],
    "SpaceToDepth": [case(normal(1, 2, 4, 6), blocksize=2)],
    "Upsample": [case(normal(1, 2, 3, 3), floats(1, 1, 2, 2), mode="linear", opset=9)],
    # ---- moving
    "Compress": [case(normal(3, 4), np.array([True, False, True]), axis=0)],
    "Concat": [case(normal(2, 3), normal(2, 1), axis=-1)],
    "Expand": [case(normal(3, 1), ints(2, 1, 4))],
    "Flatten": [case(normal(2, 3, 4), axis=2)],
    "Gather": [case(normal(4, 3), ints([0, -1], [2, 0])), case(normal(4, 3), scalar(1), axis=1)],
    "GatherElements": [case(normal(3, 3), ints([0, 2, -1], [1, 1, 0]), axis=1)],
    "GatherND": [case(normal(3, 4, 2), ints([0, 1], [2, -1])), case(normal(2, 3, 2), ints([0], [2]), batch_dims=1)],
    "OneHot": [case(ints(0, 2, 1), scalar(3), normal(2))],
    "Pad": [
        case(normal(3, 4), ints(1, 0, 0, 2)),
        case(normal(3, 4), ints(1, 2, 2, 1), mode="reflect"),
        case(normal(3, 4), ints(1, 2), None, ints(1), mode="edge"),
        case(normal(3, 4), ints(1, 1, 2, 1), mode="wrap"),
    ],
    "Reshape": [case(normal(2, 6), ints(0, 3, -1))],
    "ReverseSequence": [case(normal(4, 3), ints(1, 4, 2))],
    "Scatter": [case(normal(3, 4), ints([1, 0, 2, 0]), normal(1, 4), opset=10)],
    "ScatterElements": [
        case(normal(3, 4), ints([1, 0, 2, -1]), normal(1, 4)),
        case(normal(3, 4), ints([1, 0, 2, 0], [1, 1, 1, 1]), normal(2, 4), reduction="add"),
        case(positive(3, 4), ints([1, 0, 2, 0]), positive(1, 4), reduction="mul"),
        case(apart(3, 4), ints([1, 0, 2, 0]), apart(1, 4) + 0.05, reduction="max"),
        case(apart(3, 4), ints([1, 0, 2, 0]), apart(1, 4) + 0.05, reduction="min"),
    ],
    "ScatterND": [
        case(normal(4, 3), ints([1], [3]), normal(2, 3)),
        case(normal(4, 3), ints([1], [1]), normal(2, 3), reduction="add"),
        case(apart(4, 3), ints([1], [3]), apart(2, 3) + 0.05, reduction="max"),
    ],
    "Slice": [case(normal(4, 5), ints(1, -1), ints(4, -5), ints(0, 1), ints(2, -1))],
    "Split": [case(normal(5, 2), ints(2, 3), outputs=2), case(normal(5, 2), num_outputs=2, outputs=2)],
    "Squeeze": [case(normal(1, 3, 1), ints(0)), case(normal(1, 3, 1))],
    "TensorScatter": [
        case(normal(2, 5, 3), normal(2, 2, 3), ints(1, 3)),
        case(normal(2, 5, 3), normal(2, 2, 3), ints(4, 3), mode="circular"),
    ],
    "Tile": [case(normal(2, 3), ints(2, 3))],
    "TopK": [case(apart(3, 5), ints(2), outputs=2), case(apart(3, 5), ints(3), axis=0, largest=0, outputs=2)],
    "Transpose": [case(normal(2, 3, 4), perm=[2, 0, 1]), case(normal(2, 3))],
    "Trilu": [case(normal(3, 4), scalar(1)), case(normal(3, 4), upper=0)],
    "Unique": [case(apart(5), outputs=4)],
    "Unsqueeze": [case(normal(3, 2), ints(0, -1))],
    # ---- sequence models, signals
    "Attention": [
        case(*_tokens, q_num_heads=2, kv_num_heads=2),
        case(normal(2, 4, 3, 4), normal(2, 2, 3, 4), normal(2, 2, 3, 4), is_causal=1, softcap=2.0),
        case(normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 2), normal(3, 5), scale=0.4),
        case(
            normal(1, 2, 3, 4), normal(1, 2, 2, 4), normal(1, 2, 2, 4), normal(3, 6), normal(1, 2, 4, 4), normal(1, 2, 4, 4), outputs=4,
            qk_matmul_output_mode=2,
        ),
    ],
    "RotaryEmbedding": [
        case(normal(2, 2, 3, 4), normal(5, 2), normal(5, 2), ints([0, 1, 2], [2, 3, 4])),
        case(normal(2, 3, 8), normal(2, 3, 1), normal(2, 3, 1), num_heads=2, interleaved=1, rotary_embedding_dim=2),
    ],
    "GRU": [recurrent(3), recurrent(3, linear_before_reset=1)],
    "LSTM": [recurrent(4, normal(2, 2, 3)), recurrent(4, normal(2, 2, 3), normal(2, 9), clip=1.5)],
    "RNN": [recurrent(1), recurrent(1, activations=["Sigmoid", "Softsign"])],
    "DFT": [
        case(normal(1, 4, 2), None, scalar(1)),
        case(normal(1, 5, 1), scalar(4), scalar(1), onesided=1),
        case(normal(1, 4, 2), inverse=1),
    ],
    "DFT:17": [case(normal(1, 4, 2), axis=1, opset=18)],
    "STFT": [case(normal(1, 8, 1), scalar(2), positive(4), scalar(4))],
    # ---- quantized: by scale; the rounding itself passes gradients straight through
    "DequantizeLinear": [
        case(np.array([[3, -4], [5, 6]], np.int8), positive(2), np.array([1, -1], np.int8), axis=1),
        case(np.array([[3, -4], [5, 6]], np.int8), positive(1, 2), axis=0, block_size=2),
    ],
    # ---- ai.onnx.ml, which computes in float32
    f"{ML}::ArrayFeatureExtractor": [case(normal(3, 4), ints(2, 0))],
    f"{ML}::FeatureVectorizer": [case(normal(3, 2), normal(3, 4), inputdimensions=[2, 3], single=True)],
    f"{ML}::Imputer": [case(normal(3, 2), imputed_value_floats=[1.5], replaced_value_float=7.0)],
    f"{ML}::LinearClassifier": [
        case(normal(3, 2), coefficients=list(map(float, normal(6))), intercepts=[0.1, 0.2, 0.3], classlabels_ints=[0, 1, 2],
             post_transform="SOFTMAX", outputs=2, single=True)
    ],
    f"{ML}::LinearRegressor": [case(normal(3, 2), coefficients=[0.5, -0.3], intercepts=[0.2], single=True)],
    f"{ML}::Normalizer": [case(apart(3, 4), norm=norm, single=True) for norm in ("L1", "L2", "MAX")],
    f"{ML}::Scaler": [case(normal(3, 2), offset=[0.5, 0.1], scale=[2.0, 3.0], single=True)],
    # ---- com.microsoft
    f"{MS}::Attention": [case(normal(2, 3, 4), normal(4, 24), normal(24), num_heads=2, unidirectional=1)],
    f"{MS}::BiasGelu": [case(normal(2, 4), normal(4))],
    f"{MS}::DequantizeLinear": [case(np.array([[3, -4], [5, 6]], np.int8), positive(2), np.array([1, -1], np.int8))],
    f"{MS}::EmbedLayerNormalization": [
        case(ints([0, 2, 1]).astype(np.int32), ints([0, 1, 1]).astype(np.int32), normal(4, 3), normal(5, 3), normal(2, 3), positive(3),
             normal(3), outputs=2)
    ],
    f"{MS}::FastGelu": [case(normal(2, 4), normal(4))],
    f"{MS}::FusedConv": [case(normal(1, 2, 4, 4), normal(3, 2, 2, 2), normal(3), activation="Sigmoid")],
    f"{MS}::FusedGemm": [case(normal(3, 4), normal(4, 5), normal(5), activation="LeakyRelu", activation_alpha=0.2)],
    f"{MS}::FusedMatMul": [case(normal(2, 3, 4), normal(2, 5, 4), alpha=0.5, transB=1)],
    f"{MS}::GatherBlockQuantized": [
        case(whole(0, 256, 4, 16), ints(0, 2), positive(4, 1), bits=8, block_size=16),
    ],
    f"{MS}::Gelu": [case(normal(3, 4))],
    f"{MS}::GroupQueryAttention": [
        case(normal(1, 3, 8), normal(1, 3, 4), normal(1, 3, 4), None, None, np.array([2], np.int32), np.array(3, np.int32),
             num_heads=4, kv_num_heads=2, outputs=3)
    ],
    f"{MS}::Inverse": [case(normal(2, 3, 3))],
    f"{MS}::MatMulNBits": [case(normal(3, 16), whole(0, 256, 4, 1, 16), positive(4, 1), K=16, N=4, bits=8, block_size=16)],
    f"{MS}::MultiHeadAttention": [case(normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 8), normal(24), num_heads=2)],
    f"{MS}::Pad": [case(normal(3, 4), ints(1, 0, 0, 2))],
    f"{MS}::QuickGelu": [case(normal(3, 4), alpha=1.2)],
    f"{MS}::RotaryEmbedding": [case(normal(2, 2, 3, 4), ints([0, 1, 2], [2, 3, 4]), normal(5, 2), normal(5, 2))],
    f"{MS}::SkipLayerNormalization": [case(normal(2, 3, 4), normal(2, 3, 4), positive(4), normal(4), normal(4), epsilon=0.01)],
    f"{MS}::SkipSimplifiedLayerNormalization": [case(normal(2, 3, 4), normal(2, 3, 4), positive(4), epsilon=0.01)],
    f"{MS}::TransposeMatMul": [case(normal(4, 3), normal(4, 5), transA=1)],
    f"{MS}::Trilu": [case(normal(3, 4), scalar(1))],
    # ---- steps of optimizers
    f"{TRAINING}::Adagrad": [case(scalar(0.1, np.float64), scalar(2), normal(3), normal(3), positive(3), outputs=2)],
    f"{TRAINING}::Adam": [case(scalar(0.1, np.float64), scalar(2), normal(3), normal(3), normal(3), positive(3), outputs=3)],
    f"{TRAINING}::Momentum": [
        Case(
            (scalar(0.1, np.float64), scalar(2), normal(3), normal(3), normal(3)),
            {"alpha": 0.9, "beta": 0.8, "norm_coefficient": 0.01, "mode": mode},
            outputs=2,
        )
        for mode in ("standard", "nesterov")
    ],
}  # fmt: skip
"""By operator, with its domain and, for an older form, the version: `ai.onnx.ml::Scaler`, `DFT:17`."""

FLAT: dict[str, Case] = {
    "Ceil": case(normal(3, 4)),
    "Floor": case(normal(3, 4)),
    "Hardmax": case(apart(3, 4)),
    "Round": case(normal(3, 4)),
    "Sign": case(normal(3, 4)),
    f"{ML}::Binarizer": case(normal(3, 4)),
}
"""Operators that are constant almost everywhere: their gradient is zero."""

_TRUTH = "gives truth values"
_INTEGER = "takes or gives integers only"
_STRAIGHT = "rounds: gradients pass straight through, which no difference quotient shows; see test_quantized and test_write_back"
_MADE = "makes its output of counts and sizes, which have no gradient"
_RANDOM = "draws at random"
_CONTAINER = "works on sequences or optionals: see test_sequences_carry_gradients"

_MS_ROUNDED = [
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "NhwcMaxPool",
    "QAttention",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QuantizeLinear",
]

NONE: dict[str, str] = {
    **dict.fromkeys(("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"), _TRUTH),
    **dict.fromkeys(("BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"), "works on bits"),
    **dict.fromkeys(("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size", "TfIdfVectorizer"), _INTEGER),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "DynamicQuantizeLinear"), _STRAIGHT),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"), _MADE),
    **dict.fromkeys(("ConstantOfShape", "EyeLike", "Range"), _MADE),
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceErase", "SequenceInsert"), _CONTAINER),
    **dict.fromkeys(("SequenceEmpty", "SequenceLength", "SplitToSequence"), _CONTAINER),
    **dict.fromkeys(("Optional", "OptionalGetElement", "OptionalHasElement"), _CONTAINER),
    **dict.fromkeys((f"{ML}::LabelEncoder", f"{ML}::OneHotEncoder"), "looks labels up in a table"),
    **dict.fromkeys((f"{MS}::{name}" for name in _MS_ROUNDED), _STRAIGHT),
    f"{ML}::TreeEnsemble": "decides by thresholds",
    "netwright.training::BatchNormalization": "counts its runs: see test_dropout_norms",
}
"""Operators without a gradient that could be checked here, with the reason."""
