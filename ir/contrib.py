"""The closed table of `com.microsoft` operators that netwright knows, as ONNX Runtime's CPU provider runs them.

One row an operator, in a small notation: inputs and outputs as `name:T`, `[name:T]` where optional, `name:T*` where variadic;
attributes as `name:type`, `name:type=default`, `name:type!` where required. Type variables bind as in the standard; which
element types each allows is left to the runtime. The facts are those of ONNX Runtime's own operator schemas (version 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir

from netwright.ir.schemas import CONTRIB_DOMAIN, AttributeFacts, Formal, Schema

_POOL = "auto_pad:STRING=NOTSET ceil_mode:INT=0 channels_last:INT=0 count_include_pad:INT=0 kernel_shape:INTS! pads:INTS strides:INTS"
_CONV = "auto_pad:STRING=NOTSET dilations:INTS group:INT=1 kernel_shape:INTS pads:INTS strides:INTS"
_QBINARY = "A:T A_scale:F [A_zero_point:T] B:T B_scale:F [B_zero_point:T] C_scale:F [C_zero_point:T]"
_QUNARY = "X:T X_scale:F [X_zero_point:T] Y_scale:F [Y_zero_point:T]"

_ROWS: tuple[tuple[str, str, str, str], ...] = (
    (
        "MatMulNBits",
        "A:T1 B:T2 scales:T5 [zero_points:T3] [g_idx:T4] [bias:T1]",
        "Y:T1",
        "K:INT! N:INT! block_size:INT! bits:INT=4 accuracy_level:INT=0 weight_prepacked:INT=0",
    ),
    (
        "GatherBlockQuantized",
        "data:T1 indices:Tind scales:T2 [zero_points:T1]",
        "output:T2",
        "bits:INT=4 block_size:INT=128 gather_axis:INT=0 quantize_axis:INT=1",
    ),
    ("DynamicQuantizeMatMul", "A:T1 B:T2 b_scale:T1 [b_zero_point:T2] [bias:T1]", "Y:T1", ""),
    (
        "MatMulIntegerToFloat",
        "A:T1 B:T2 a_scale:T3 b_scale:T3 [a_zero_point:T1] [b_zero_point:T2] [bias:T3]",
        "Y:T3",
        "",
    ),
    (
        "DynamicQuantizeLSTM",
        "X:T W:T2 R:T2 [B:T] [sequence_lens:T1] [initial_h:T] [initial_c:T] [P:T] W_scale:T W_zero_point:T2 R_scale:T R_zero_point:T2",
        "[Y:T] [Y_h:T] [Y_c:T]",
        "activation_alpha:FLOATS activation_beta:FLOATS activations:STRINGS clip:FLOAT direction:STRING=forward hidden_size:INT "
        "input_forget:INT=0",
    ),
    (
        "FusedMatMul",
        "A:T B:T",
        "Y:T",
        "alpha:FLOAT=1 transA:INT=0 transB:INT=0 transBatchA:INT=0 transBatchB:INT=0",
    ),
    ("TransposeMatMul", "A:T B:T", "Y:T", "alpha:FLOAT=1 transA:INT=0 transB:INT=0"),
    (
        "FusedGemm",
        "A:T B:T [C:T]",
        "Y:T",
        "activation:STRING activation_alpha:FLOAT activation_beta:FLOAT activation_gamma:FLOAT alpha:FLOAT=1 beta:FLOAT=1 transA:INT=0 "
        "transB:INT=0",
    ),
    ("FusedConv", "X:T W:T [B:T] [Z:T]", "Y:T", f"activation:STRING activation_params:FLOATS {_CONV}"),
    ("BiasGelu", "A:T B:T", "C:T", ""),
    ("FastGelu", "X:T [bias:T]", "Y:T", ""),
    ("Gelu", "X:T", "Y:T", ""),
    ("QuickGelu", "X:T", "Y:T", "alpha:FLOAT=1.702"),
    (
        "SkipLayerNormalization",
        "input:T skip:T gamma:T [beta:T] [bias:T]",
        "output:T [mean:U] [inv_std_var:U] [input_skip_bias_sum:T]",
        "epsilon:FLOAT=1e-12",
    ),
    (
        "SkipSimplifiedLayerNormalization",
        "input:T skip:T gamma:T [bias:T]",
        "output:T [mean:U] [inv_std_var:U] [input_skip_bias_sum:T]",
        "epsilon:FLOAT=1e-12",
    ),
    (
        "EmbedLayerNormalization",
        "input_ids:T1 [segment_ids:T1] word_embedding:T position_embedding:T [segment_embedding:T] gamma:T beta:T [mask:T1] "
        "[position_ids:T1]",
        "output:T [mask_index:T1] [embedding_sum:T]",
        "epsilon:FLOAT=1e-12 mask_index_type:INT",
    ),
    (
        "Attention",
        "input:T weights:T [bias:T] [mask_index:M] [past:T] [attention_bias:T] [past_sequence_length:M]",
        "output:T [present:T]",
        "num_heads:INT! do_rotary:INT mask_filter_value:FLOAT past_present_share_buffer:INT qkv_hidden_sizes:INTS "
        "rotary_embedding_dim:INT scale:FLOAT unidirectional:INT=0",
    ),
    (
        "MultiHeadAttention",
        "query:T [key:T] [value:T] [bias:T] [key_padding_mask:M] [attention_bias:T] [past_key:T] [past_value:T] "
        "[past_sequence_length:M] [cache_indirection:M]",
        "output:T [present_key:T] [present_value:T] [qk:QK]",
        "num_heads:INT! mask_filter_value:FLOAT scale:FLOAT unidirectional:INT=0",
    ),
    (
        "QAttention",
        "input:T1 weight:T2 bias:T3 input_scale:T3 weight_scale:T3 [mask_index:T4] [input_zero_point:T1] [weight_zero_point:T2] [past:T3]",
        "output:T3 [present:T3]",
        "num_heads:INT! do_rotary:INT mask_filter_value:FLOAT past_present_share_buffer:INT scale:FLOAT unidirectional:INT=0",
    ),
    (
        "QGemm",
        "A:TA a_scale:T a_zero_point:TA B:TB b_scale:T b_zero_point:TB [C:TC] [y_scale:T] [y_zero_point:TYZ]",
        "Y:TY",
        "alpha:FLOAT=1 transA:INT=0 transB:INT=0",
    ),
    ("QLinearAdd", _QBINARY, "C:T", ""),
    ("QLinearMul", _QBINARY, "C:T", ""),
    ("QLinearSigmoid", _QUNARY, "Y:T", ""),
    ("QLinearLeakyRelu", _QUNARY, "Y:T", "alpha:FLOAT=0.01"),
    ("QLinearSoftmax", "X:T X_scale:F [x_zero_point:T] y_scale:F y_zero_point:T", "Y:T", "axis:INT=-1 opset:INT!"),
    ("QLinearAveragePool", _QUNARY, "Y:T", _POOL),
    ("QLinearGlobalAveragePool", "X:T x_scale:F x_zero_point:T y_scale:F y_zero_point:T", "Y:T", "channels_last:INT=0"),
    ("QLinearConcat", "Y_scale:TF Y_zero_point:T8 inputs:TV*", "Y:T8", "axis:INT!"),
    (
        "QLinearConv",
        "x:T1 x_scale:F x_zero_point:T1 w:T2 w_scale:F w_zero_point:T2 y_scale:F y_zero_point:T3 [B:T4]",
        "y:T3",
        f"{_CONV} channels_last:INT=0",
    ),
    ("QLinearWhere", "condition:B X:T x_scale:TF x_zero_point:T Y:T y_scale:TF y_zero_point:T z_scale:TF z_zero_point:T", "Z:T", ""),
    ("QuantizeLinear", "x:T1 y_scale:T1 [y_zero_point:T2]", "y:T2", "axis:INT"),
    ("DequantizeLinear", "x:T1 x_scale:T2 [x_zero_point:T1]", "y:T2", "axis:INT"),
    (
        "RotaryEmbedding",
        "input:T position_ids:M cos_cache:T sin_cache:T",
        "output:T",
        "interleaved:INT=0 is_packed_batching:INT=0 num_heads:INT=0 rotary_embedding_dim:INT=0 scale:FLOAT=1",
    ),
    (
        "GroupQueryAttention",
        "query:T [key:T] [value:T] [past_key:T_CACHE] [past_value:T_CACHE] seqlens_k:M total_sequence_length:M [cos_cache:T] "
        "[sin_cache:T] [position_ids:P] [attention_bias:T] [head_sink:T] [k_scale:T_KV_SCALE] [v_scale:T_KV_SCALE] [q_norm_weight:T] "
        "[k_norm_weight:T]",
        "output:T [present_key:T_CACHE] [present_value:T_CACHE] [output_qk:T]",
        "num_heads:INT! kv_num_heads:INT! causal:INT sliding_window_cache:INT qk_norm_epsilon:FLOAT "
        "do_rotary:INT=0 k_quant_type:STRING=NONE kv_cache_bit_width:INT local_window_size:INT=-1 "
        "qk_output:INT=0 rotary_interleaved:INT=0 scale:FLOAT smooth_softmax:INT=-1 softcap:FLOAT v_quant_type:STRING=NONE",
    ),
    ("NhwcMaxPool", "x:T", "y:T", "auto_pad:STRING=NOTSET ceil_mode:INT=0 dilations:INTS kernel_shape:INTS! pads:INTS strides:INTS"),
    ("Inverse", "X:T", "Y:T", ""),
    ("Pad", "data:T pads:I [value:T]", "output:T", "mode:STRING=constant"),
    ("Trilu", "X:T [k:I]", "Y:T", "upper:INT=1"),
)

_DEFAULTS = {"INT": int, "FLOAT": float, "STRING": str}


def _formals(text: str) -> tuple[Formal, ...]:
    formals: list[Formal] = []
    for word in text.split():
        name, type_var = word.strip("[]*").split(":")
        formals.append(Formal(name, optional=word.startswith("["), variadic=word.endswith("*"), type_var=type_var))
    return tuple(formals)


def _attributes(text: str) -> dict[str, AttributeFacts]:
    attributes: dict[str, AttributeFacts] = {}
    for word in text.split():
        declared, _, default = word.partition("=")
        name, kind = declared.rstrip("!").split(":")
        value = _DEFAULTS[kind](default) if default else None
        attributes[name] = AttributeFacts(name, onnx_ir.AttributeType[kind], declared.endswith("!"), value)
    return attributes


def _bounds(formals: tuple[Formal, ...]) -> tuple[int, int]:
    required = [index for index, formal in enumerate(formals) if not formal.optional]
    unbounded = bool(formals) and formals[-1].variadic
    return (required[-1] + 1 if required else 0, 2**31 - 1 if unbounded else len(formals))


def _schema(name: str, inputs: str, outputs: str, attributes: str) -> Schema:
    ins, outs = _formals(inputs), _formals(outputs)
    (min_inputs, max_inputs), (min_outputs, max_outputs) = _bounds(ins), _bounds(outs)
    return Schema(
        domain=CONTRIB_DOMAIN,
        name=name,
        since_version=1,
        inputs=ins,
        outputs=outs,
        attributes=_attributes(attributes),
        min_inputs=min_inputs,
        max_inputs=max_inputs,
        min_outputs=min_outputs,
        max_outputs=max_outputs,
    )


CONTRIB: Mapping[str, Schema] = {row[0]: _schema(*row) for row in _ROWS}
"""Operator name → schema, for the `com.microsoft` operators that netwright knows in full."""

OPAQUE: frozenset[str] = frozenset(
    {
        *("AttnLSTM", "BeamSearch", "BifurcationDetector", "BranchwiseRMSNorm", "CDist", "CausalConvWithState"),
        *("ConvTransposeWithDynamicPads", "CropAndResize", "DecoderMaskedMultiHeadAttention", "DynamicTimeWarping", "EngramGate"),
        *("ExpandDims", "GatedAdd", "GatedRMSNorm", "GatherND", "GreedySearch", "GridSample", "HyperConnectionPostMix"),
        *("HyperConnectionPreMix", "LinearAttention", "LinearAttentionGate", "MRotaryEmbedding", "MatMulBnb4", "MatMulFpQ4"),
        *("MatMulInteger16", "MaxpoolWithMask", "MoE", "MurmurHash3", "NGramHashMapping", "NGramRepeatBlock"),
        *("QEmbedLayerNormalization", "QMoE", "Range", "SampleOp", "Sampling", "ScaledSiLU", "SparseAttention"),
        *("SparseToDenseMatMul", "Tokenizer", "UnfoldTensor", "Unique", "VarlenNGramHashMapping", "WhisperBeamSearch"),
        *("WordConvEmbedding",),
    }
)
"""Further `com.microsoft` operators that ONNX Runtime's CPU provider runs: they pass through unchecked and unchanged."""
