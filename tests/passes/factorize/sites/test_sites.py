"""Which weights can be factorized, what their operators are, and why others stay whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir import Program
from netwright.passes.factorize.sites import FactorSite, as_one, find_factor_sites, joined, weight_of
from netwright.passes.rewrite import Miss
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def program_with(inputs: str, body: str, outputs: str = "y", **shapes: tuple[int, ...]) -> Program:
    rng = np.random.default_rng(0)
    weights = {name: np.array(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}
    return program_of(f"{HEAD}\nnet ({inputs}, WEIGHTS) => ({outputs})\n{{\n{body}\n}}", weights)


def sites_of(program: Program, *, joint: bool = False, recurrent: bool = False) -> list[FactorSite]:
    found = find_factor_sites(program, joint=joint, recurrent=recurrent)
    assert all(isinstance(entry, FactorSite) for entry in found), found
    return [entry for entry in found if isinstance(entry, FactorSite)]


def stored(program: Program, name: str) -> np.ndarray:
    tensor = program.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy().astype(np.float64)


KINDS: Mapping[str, tuple[str, str, tuple[int, ...], str, int]] = {
    "matmul": ("float[B, 16] x", "y = MatMul (x, w)", (16, 24), "linear", 1),
    "gemm": ("float[B, 16] x", "y = Gemm <alpha: float = 0.5> (x, w)", (16, 24), "linear", 1),
    "gemm, turned": ("float[B, 16] x", "y = Gemm <transB: int = 1> (x, w)", (24, 16), "linear", 1),
    "left": ("float[16, B] x", "y = MatMul (w, x)", (24, 16), "linear", 1),
    "left, turned": ("float[16, B] x", "t = Transpose (w)\ny = MatMul (t, x)", (16, 24), "linear", 1),
    "gemm, left, turned": ("float[16, B] x", "y = Gemm <transA: int = 1> (w, x)", (16, 24), "linear", 1),
    "turned twice": (
        "float[B, 16] x",
        "t = Transpose (w)\ni = Identity (t)\nu = Transpose <perm: ints = [1, 0]> (i)\ny = MatMul (x, u)",
        (16, 24),
        "linear",
        1,
    ),
    "table": ("int64[B] x", "y = Gather (w, x)", (16, 24), "table", 1),
    "conv": ("float[B, 8, H, W] x", "y = Conv (x, w)", (12, 8, 3, 3), "conv", 1),
    "conv in groups": ("float[B, 16, H] x", "y = Conv <group: int = 2> (x, w)", (12, 8, 5), "conv", 2),
    "filters of one channel": ("float[B, 1, H] x", "y = Conv (x, w)", (12, 1, 25), "conv", 1),
    "deconv": ("float[B, 8, H, W] x", "y = ConvTranspose <group: int = 2> (x, w)", (8, 12, 3, 3), "deconv", 2),
    "recurrent": ("float[T, B, 16] x", "y = RNN <hidden_size: int = 24> (x, w, r)", (1, 24, 16), "recurrent", 1),
}


@pytest.mark.parametrize("case", KINDS)
def test_readers_make_sites(case: str) -> None:
    inputs, body, shape, kind, groups = KINDS[case]
    shapes = {"w": shape, **({"r": (1, 24, 24)} if kind == "recurrent" else {})}
    program = program_with(inputs, body, "y", **shapes)
    site, *_ = (entry for entry in find_factor_sites(program) if isinstance(entry, FactorSite))
    weight = stored(program, "w")
    expected = {"linear": (24, 16), "table": (24, 16), "recurrent": (24, 16)}.get(kind, shape)
    assert (site.name, site.kind, site.groups, site.shape, len(site.readers)) == ("w", kind, groups, expected, 1)
    assert site.readers[0].rows == (0, 24 if kind in ("linear", "table", "recurrent", "deconv") else 12)
    found = weight_of(site)
    assert found.dtype == np.float64
    if kind in ("linear", "table"):
        np.testing.assert_array_equal(found, weight if weight.shape == (24, 16) else weight.T)
    else:
        np.testing.assert_array_equal(found, weight.reshape(expected))


def test_state_weights_are_sites_when_asked() -> None:
    body = 'y = LSTM <hidden_size: int = 24, direction: string = "bidirectional"> (x, w, r)'
    program = program_with("float[T, B, 16] x", body, w=(2, 96, 16), r=(2, 96, 24))
    inputs, state = sites_of(program, recurrent=True)
    assert (inputs.kind, inputs.groups, inputs.shape) == ("recurrent", 1, (192, 16))
    assert (state.kind, state.groups, state.shape) == ("state", 2, (192, 24))
    assert find_factor_sites(program)[1] == Miss("left whole: it meets the state of LSTM %y; recurrent=True factorizes such weights", "r")


def test_readers_of_one_weight_are_one_site_in_graph_order() -> None:
    """A head that is tied to the table: the operator is the head's, the table reads its factors the other way round."""
    body = "e = Gather (w, ids)\nh = Relu (e)\nt = Transpose (w)\ny = MatMul (h, t)"
    program = program_with("int64[B] ids", body, w=(24, 16))
    (site,) = sites_of(program)
    assert (site.kind, site.shape) == ("linear", (24, 16))
    assert [(reader.node.op_type, reader.kind, reader.index) for reader in site.readers] == [
        ("Gather", "table", 0),
        ("MatMul", "linear", 1),
    ]
    np.testing.assert_array_equal(weight_of(site), stored(program, "w"))


ATTENTION = """q = MatMul (x, wq)
t = Transpose (wk)
k = MatMul (x, t)
v = Gemm <transB: int = 1> (x, wv)
o = MatMul (q, wo)"""


def test_products_of_the_same_data_can_be_joined() -> None:
    program = program_with("float[B, 16] x", ATTENTION, "k, v, o", wq=(16, 24), wk=(20, 16), wv=(28, 16), wo=(24, 16))
    sites = sites_of(program)
    (group,) = joined(sites)
    assert [site.name for site in group] == ["wq", "wk", "wv"]
    one = as_one(group)
    assert (one.name, one.shape, one.parameters) == ("wq", (72, 16), 72 * 16)
    assert [reader.rows for reader in one.readers] == [(0, 24), (24, 44), (44, 72)]
    np.testing.assert_array_equal(weight_of(one), np.concatenate([weight_of(site) for site in group]))
    assert [site.names for site in sites_of(program, joint=True)] == [("wq", "wk", "wv"), ("wo",)]


def test_readers_of_joined_weights_are_in_graph_order() -> None:
    body = "k = MatMul (x, wk)\nq = MatMul (x, wq)"
    program = program_with("float[B, 16] x", body, "q, k", wq=(16, 24), wk=(16, 20))
    (one,) = sites_of(program, joint=True)
    assert [weight.name for weight in one.weights] == ["wq", "wk"]
    assert [(reader.node.outputs[0].name, reader.rows) for reader in one.readers] == [("k", (24, 44)), ("q", (0, 24))]


@pytest.mark.parametrize(
    "body",
    [
        "q = MatMul (x, wq)\nr = Relu (x)\nk = MatMul (r, wk)",
        "q = MatMul (wq, x)\nk = MatMul (x, wk)",
        "q = Gemm <transA: int = 1> (x, wq)\nk = MatMul (x, wk)",
        "q = MatMul (x, wq)\nk = MatMul (x, wk)\nr = Relu (x)\nm = MatMul (r, wk)",
    ],
)
def test_products_of_other_data_or_on_another_side_are_not_joined(body: str) -> None:
    program = program_with("float[16, 16] x", body, "q, k", wq=(16, 16), wk=(16, 16))
    assert len(sites_of(program)) == 2
    assert not joined(sites_of(program))


MISSES: Mapping[str, tuple[str, str, dict[str, tuple[int, ...]], str]] = {
    "output": ("float[B, 16] x", "y = MatMul (x, w)", {"w": (16, 24)}, "it is an output of the graph"),
    "stranger": ("float[16, 24] x", "y = Mul (x, w)", {"w": (16, 24)}, "Mul %y reads it, which is no layer with weights"),
    "stranger too": (
        "float[B, 16] x",
        "y = MatMul (x, w)\nz = Exp (w)",
        {"w": (16, 24)},
        "Exp %z reads it, which is no layer with weights",
    ),
    "quantized": (
        "float[B, 16] x",
        "q = QuantizeLinear (w, s)\nd = DequantizeLinear (q, s)\ny = MatMul (x, d)",
        {"w": (16, 24), "s": ()},
        "QuantizeLinear %q quantizes it; factorize before quantize",
    ),
    "bias": ("float[B, 16] x, float[16, 24] v", "y = Gemm (x, v, w)", {"w": (16, 24)}, "Gemm %y reads it as a bias"),
    "state": (
        "float[T, B, 16] x, float[1, 24, 16] v, float[1, 24, 24] r",
        "y = RNN <hidden_size: int = 24> (x, v, r, , , w)",
        {"w": (1, 16, 24)},
        "RNN %y reads it as a bias or a state",
    ),
    "experts": ("float[3, B, 16] x", "y = MatMul (x, w)", {"w": (3, 16, 24)}, "MatMul %y reads it with 3 axes: several matrices"),
    "table of matrices": ("int64[B] x", "y = Gather (w, x)", {"w": (16, 4, 6)}, "Gather %y reads it with 3 axes: entries are no vectors"),
    "second axis": ("int64[B] x", "y = Gather <axis: int = 1> (w, x)", {"w": (16, 24)}, "Gather %y looks up along its second axis"),
    "table behind": (
        "int64[B] x",
        "t = Transpose (w)\ny = Gather (t, x)",
        {"w": (16, 24)},
        "Gather %y reads it behind a Transpose; run simplify first",
    ),
    "conv behind": (
        "float[B, 4, H, W] x",
        "t = Transpose <perm: ints = [1, 0, 2, 3]> (w)\ny = Conv (x, t)",
        {"w": (4, 12, 3, 3)},
        "Transpose %t reads it, which is no layer with weights",
    ),
    "constant data": (
        "float[B] x",
        "m = MatMul (w, v)\ny = Mul (x, m)",
        {"w": (16, 24), "v": (24, 1)},
        "MatMul %m multiplies it with another constant; run simplify first",
    ),
    "constant image": (
        "float[B] x",
        "m = Conv (v, w)\ny = Mul (x, m)",
        {"w": (8, 4, 3, 3), "v": (1, 4, 3, 3)},
        "Conv %m has constant data; run simplify first",
    ),
    "nothing": ("float[B, 16] x", "y = Gemm <alpha: float = 0.0> (x, w)", {"w": (16, 24)}, "Gemm %y multiplies it by an alpha of 0"),
    "both ways": (
        "float[B, 16] x",
        "h = MatMul (x, w)\nt = Transpose (w)\ny = MatMul (h, t)",
        {"w": (16, 24)},
        "some readers multiply with it, others with its transpose (%h, %y)",
    ),
    "groups": (
        "float[B, 8, H] x, float[B, 16, H] v",
        "y = Conv (x, w)\nz = Conv <group: int = 2> (v, w)",
        {"w": (12, 8, 5)},
        "its readers have different numbers of groups (%y, %z)",
    ),
    "several kinds": (
        "float[T, B, 24] x",
        "y = RNN <hidden_size: int = 24> (x, w, w)",
        {"w": (1, 24, 24)},
        "its readers take it for different things (%y, %y)",
    ),
    "depthwise": (
        "float[B, 48, H, W] x",
        "y = Conv <group: int = 48> (x, w)",
        {"w": (48, 1, 3, 3)},
        "Conv %y is depthwise (48 groups of one channel): there is nothing to factorize",
    ),
    "depthwise, transposed": (
        "float[B, 48, H, W] x",
        "y = ConvTranspose <group: int = 48> (x, w)",
        {"w": (48, 1, 3, 3)},
        "ConvTranspose %y is depthwise (48 groups of one channel): there is nothing to factorize",
    ),
}


@pytest.mark.parametrize("case", MISSES)
def test_what_stays_whole_says_why(case: str) -> None:
    inputs, body, shapes, reason = MISSES[case]
    outputs = "y, z" if "z =" in body else "y, w" if case == "output" else "y"
    program = program_with(inputs, body, outputs, **shapes)
    found = {entry.site: entry for entry in find_factor_sites(program, recurrent=True) if isinstance(entry, Miss)}
    assert found["w"] == Miss(f"left whole: {reason}", "w")


def test_weights_in_branches_stay_whole() -> None:
    text = f"""{HEAD}
    net (bool c, float[B, 16] x, WEIGHTS) => (y)
    {{
        y = If (c) <then_branch = yes () => (float[B, 24] a) {{ a = MatMul (x, w) }},
                    else_branch = no () => (float[B, 24] b)
                    <float[16, 24] inner = {{{", ".join(["1.0"] * 384)}}}> {{ b = MatMul (x, inner) }}>
    }}"""
    program = program_of(text, {"w": np.zeros((16, 24), np.float32)})
    assert find_factor_sites(program) == [
        Miss("left whole: MatMul %a reads it inside a branch, a loop or a function", "w"),
        Miss("left whole: it stands inside a branch, a loop or a function; run simplify first", "inner"),
    ]


def test_quantized_weights_stay_whole() -> None:
    text = f"""{HEAD}
    net (float[B, 16] x, WEIGHTS) => (y)
    {{
        d = DequantizeLinear (w, scale)
        y = MatMul (x, d)
    }}"""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.integers(-9, 9, (16, 24)), "scale": np.array(0.1, np.float32)}
    program = program_of(text, arrays)
    assert find_factor_sites(program) == [
        Miss("left whole: it is quantized (DequantizeLinear %d reads it); factorize before quantize", "w")
    ]


def test_small_weights_are_told_and_vectors_are_none() -> None:
    program = program_with("float[B, 15] x", "h = MatMul (x, w)\ny = Add (h, b)", w=(15, 17), b=(300,))
    assert find_factor_sites(program) == [Miss("left whole: it has 255 elements, under 256", "w")]
