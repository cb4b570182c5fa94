"""Text encoders in miniature, spelt out in ONNX's text, with data that they can be taught on."""

from __future__ import annotations

import numpy as np

from netwright.ir.program import Program
from tests.passes.programs import program_of

WORDS, WIDTH, HEADS, CLASSES, LENGTH = 40, 16, 2, 3, 6

_LAYER = """
    q{i} = MatMul (n{i}, l{i}_q)
    k{i} = MatMul (n{i}, l{i}_k)
    v{i} = MatMul (n{i}, l{i}_v)
    {attention}
    o{i} = MatMul (c{i}, l{i}_o)
    a{i} = Add (n{i}, o{i})
    m{i} = LayerNormalization <axis: int = -1> (a{i}, l{i}_g1, l{i}_s1)
    u{i} = MatMul (m{i}, l{i}_up)
    r{i} = Relu (u{i})
    d{i} = MatMul (r{i}, l{i}_down)
    e{i} = Add (m{i}, d{i})
    n{j} = LayerNormalization <axis: int = -1> (e{i}, l{i}_g2, l{i}_s2)
"""
_SPELT_OUT = """
    qs{i} = Reshape (q{i}, split)  qh{i} = Transpose <perm: ints = [0, 2, 1, 3]> (qs{i})
    ks{i} = Reshape (k{i}, split)  kh{i} = Transpose <perm: ints = [0, 2, 3, 1]> (ks{i})
    vs{i} = Reshape (v{i}, split)  vh{i} = Transpose <perm: ints = [0, 2, 1, 3]> (vs{i})
    p{i} = MatMul (qh{i}, kh{i})
    z{i} = Mul (p{i}, tenth)
    scores{i} = Add (z{i}, mask)
    s{i} = Softmax <axis: int = -1> (scores{i})
    h{i} = MatMul (s{i}, vh{i})
    t{i} = Transpose <perm: ints = [0, 2, 1, 3]> (h{i})
    c{i} = Reshape (t{i}, join)
"""
_OPERATOR = "c{i} = Attention <q_num_heads: int = 2, kv_num_heads: int = 2, scale: float = 0.1> (q{i}, k{i}, v{i}, mask)"


def encoder(
    *, layers: int = 2, operator: bool = False, width: int = WIDTH, seed: int = 0, ending: str = "logits = Identity (head)"
) -> Program:
    """Embedding, layers of attention and feed-forward with norms after each, mean, head.

    The last word is masked out. With `operator`, attention is the operator of opset 23; otherwise it is spelt out, at opset 20.
    """
    rng = np.random.default_rng(seed)
    weights = {"table": _normal(rng, WORDS, width) * 4, "g": _near_one(rng, width), "s": _normal(rng, width)}
    for layer in range(layers):
        own = {name: _normal(rng, width, width) for name in ("q", "k", "v", "o")}
        own |= {"up": _normal(rng, width, 2 * width), "down": _normal(rng, 2 * width, width)}
        own |= {name: _near_one(rng, width) if name[0] == "g" else _normal(rng, width) for name in ("g1", "s1", "g2", "s2")}
        weights |= {f"l{layer}_{name}": array for name, array in own.items()}
    weights |= {"head_w": _normal(rng, width, CLASSES), "head_b": _normal(rng, CLASSES)}
    mask = np.zeros((1, 1, 1, LENGTH), np.float32)
    mask[..., -1] = -10000.0
    weights["mask"] = np.broadcast_to(mask, (1, 1, LENGTH, LENGTH)).copy()
    weights["mean_axis"] = np.array([1], np.int64)
    if not operator:
        weights["tenth"] = np.array(0.1, np.float32)
        weights |= {"split": np.array([0, 0, HEADS, -1], np.int64), "join": np.array([0, 0, width], np.int64)}
    body = "".join(
        _LAYER.replace("{attention}", _OPERATOR if operator else _SPELT_OUT).format(i=layer, j=layer + 1) for layer in range(layers)
    )
    text = f"""<ir_version: 10, opset_import: ["" : {23 if operator else 20}]>
    encoder (int64[N, {LENGTH}] ids, WEIGHTS) => (float[N, {CLASSES}] logits)
    {{
        x = Gather <axis: int = 0> (table, ids)
        n0 = LayerNormalization <axis: int = -1> (x, g, s)
        {body}
        mean = ReduceMean <keepdims: int = 0> (n{layers}, mean_axis)
        head = Gemm (mean, head_w, head_b)
        {ending}
    }}"""
    return program_of(text, weights)


def sentences(count: int = 96, seed: int = 0) -> dict[str, np.ndarray]:
    """Words, and which third of the vocabulary most of the first five come from."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    third = WORDS // CLASSES
    ids = np.where(rng.random((count, LENGTH)) < 0.7, labels[:, None] * third + rng.integers(0, third, (count, LENGTH)), 0)
    return {"ids": ids.astype(np.int64), "labels": labels.astype(np.int64)}


def damaged(program: Program, *, share: float = 0.5, seed: int = 1) -> Program:
    """A copy whose matrices have lost a share of their columns."""
    rng = np.random.default_rng(seed)
    copy = program.clone()
    with copy.edit() as editor:
        for value in copy.graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.dtype.name == "FLOAT" and len(tensor.shape) == 2 and value.name != "table":
                array = tensor.numpy().copy()
                array[:, rng.permutation(array.shape[1])[: round(array.shape[1] * share)]] = 0
                editor.set_constant(value, array)
    return copy


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def _near_one(rng: np.random.Generator, size: int) -> np.ndarray:
    return (1 + 0.1 * rng.normal(size=size)).astype(np.float32)
