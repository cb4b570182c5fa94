"""Convolutions, transposed ones too, with chains of every form: channels apart, axes apart, in groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.maps import Gone
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering import unlowerable
from tests.passes.factorize.lowering.chains import check, drawn, low_rank, site_of
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def kernel_first(o: int, i: int, k: tuple[int, ...], rank: int, groups: int = 1, *, deconv: bool = False) -> Factors:
    """Taps and input channels first, then a dense stage."""
    axes = tuple(range(len(k)))
    shape = (i * groups, rank, *k) if deconv else (rank * groups, i, *k)
    return Factors("low_rank", (rank,), (Stage(drawn(1, *shape), groups, axes, deconv), Stage(drawn(2, o * groups, rank), groups)))


def kernel_last(o: int, i: int, k: tuple[int, ...], rank: int, groups: int = 1, *, deconv: bool = False) -> Factors:
    """A dense stage, then the taps."""
    axes = tuple(range(len(k)))
    shape = (rank * groups, o, *k) if deconv else (o * groups, rank, *k)
    return Factors("low_rank", (rank,), (Stage(drawn(1, rank * groups, i), groups), Stage(drawn(2, *shape), groups, axes, deconv)))


def tucker(o: int, i: int, k: tuple[int, ...], ranks: tuple[int, int], *, deconv: bool = False) -> Factors:
    """Channels in, taps, channels out."""
    first, last = ranks
    middle = (first, last, *k) if deconv else (last, first, *k)
    stages = (Stage(drawn(1, first, i)), Stage(drawn(2, *middle), 1, tuple(range(len(k))), deconv), Stage(drawn(3, o, last)))
    return Factors("tucker2", ranks, stages)


def spatial(o: int, i: int, k: tuple[int, int], rank: int, *, deconv: bool = False) -> Factors:
    """Taps along one axis, then along the other."""
    first, last = ((i, rank), (rank, o)) if deconv else ((rank, i), (o, rank))
    return Factors(
        "spatial", (rank,), (Stage(drawn(1, *first, k[0], 1), 1, (0,), deconv), Stage(drawn(2, *last, 1, k[1]), 1, (1,), deconv))
    )


def canonical(o: int, i: int, k: tuple[int, int], rank: int, *, deconv: bool = False) -> Factors:
    """Channels in, each axis for itself on channels of their own, channels out."""
    down = Stage(drawn(2, rank, 1, k[0], 1), rank, (0,), deconv)
    across = Stage(drawn(3, rank, 1, 1, k[1]), rank, (1,), deconv)
    return Factors("cp", (rank,), (Stage(drawn(1, rank, i)), down, across, Stage(drawn(4, o, rank))))


CHAINS: Mapping[str, Factors] = {
    "kernel first": kernel_first(12, 6, (3, 2), 5),
    "kernel last": kernel_last(12, 6, (3, 2), 5),
    "tucker": tucker(12, 6, (3, 2), (4, 5)),
    "spatial": spatial(12, 6, (3, 2), 5),
    "cp": canonical(12, 6, (3, 2), 7),
}

GEOMETRIES: Mapping[str, str] = {
    "plain": "",
    "strided": "strides: ints = [2, 3]",
    "padded": "pads: ints = [1, 2, 0, 1]",
    "all": "strides: ints = [2, 1], pads: ints = [3, 1, 2, 0], dilations: ints = [2, 3]",
    "valid": 'auto_pad: string = "VALID", strides: ints = [1, 2]',
    "upper": 'auto_pad: string = "SAME_UPPER", strides: ints = [2, 3]',
    "lower": 'auto_pad: string = "SAME_LOWER", strides: ints = [3, 1]',
}


def conv_text(op: str, attributes: str, dims: str, bias: str = "") -> str:
    held = f" <{attributes}>" if attributes else ""
    return f"{HEAD}\nlayer (float[{dims}] x, WEIGHTS) => (z)\n{{\ny = {op}{held} (x, w{bias})\nz = Tanh (y)\n}}"


def feed(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("chain", CHAINS)
def test_each_stage_carries_out_its_own_axes(chain: str, geometry: str) -> None:
    """At any size of image, padded as the convolution padded it."""
    text = conv_text("Conv", GEOMETRIES[geometry], "B, 6, H, W", ", b")
    feeds = [feed(2, 6, 8, 9), feed(1, 6, 11, 10)]
    _, maps = check(text, (12, 6, 3, 2), CHAINS[chain], feeds, weights={"b": drawn(9, 12, 1)[:, 0].astype(np.float32)})
    assert sorted(maps) == (["w.u", "w.v"] if chain.startswith("kernel") else [f"w.{n}" for n in range(len(CHAINS[chain].stages))])
    if chain.startswith("kernel"):
        assert not any(isinstance(mapped.map, Gone) for mapped in maps.values())


TRANSPOSED: Mapping[str, str] = {
    **GEOMETRIES,
    "padded out": "strides: ints = [3, 2], output_padding: ints = [2, 1], pads: ints = [1, 0, 0, 1]",
    "given shape": "strides: ints = [2, 3], output_shape: ints = [16, 25]",
    "given shape, upper": 'auto_pad: string = "SAME_UPPER", strides: ints = [2, 3], output_shape: ints = [16, 25]',
}


@pytest.mark.parametrize("geometry", TRANSPOSED)
@pytest.mark.parametrize("chain", CHAINS)
def test_transposed_convolutions_become_chains_of_them(chain: str, geometry: str) -> None:
    make = {"kernel first": kernel_first, "kernel last": kernel_last, "spatial": spatial, "cp": canonical}
    factors = tucker(12, 6, (3, 2), (4, 5), deconv=True) if chain == "tucker" else make[chain](12, 6, (3, 2), 5, deconv=True)
    given = "shape" in geometry
    text = conv_text("ConvTranspose", TRANSPOSED[geometry], "B, 6, 8, 9" if given else "B, 6, H, W", ", b")
    _, maps = check(text, (6, 12, 3, 2), factors, feed(2, 6, 8, 9), weights={"b": drawn(9, 12, 1)[:, 0].astype(np.float32)})
    if chain.startswith("kernel"):
        assert not any(isinstance(mapped.map, Gone) for mapped in maps.values())


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("make", [kernel_first, kernel_last])
def test_groups_stay_apart(op: str, make: type) -> None:
    factors = make(5, 6, (3, 2), 4, 3, deconv=op == "ConvTranspose")
    shape = (18, 5, 3, 2) if op == "ConvTranspose" else (15, 6, 3, 2)
    text = conv_text(op, "group: int = 3, strides: ints = [2, 1], pads: ints = [1, 0, 1, 1]", "B, 18, 8, 9")
    program, _ = check(text, shape, factors, feed(2, 18, 8, 9))
    assert [node.attributes["group"].as_int() for node in program.graph if node.op_type != "Tanh"] == [3, 3]


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_one_by_one_convolutions_have_two_dense_stages(op: str) -> None:
    """The stride is the stage's that has the axes, whichever it is."""
    for number in (0, 1):
        plain = low_rank(24, 16, 5).stages
        stages = tuple(Stage(stage.array, 1, (0, 1) if at == number else ()) for at, stage in enumerate(plain))
        shape = (16, 24, 1, 1) if op == "ConvTranspose" else (24, 16, 1, 1)
        text = conv_text(op, "strides: ints = [2, 3], pads: ints = [1, 0, 1, 2]", "B, 16, H, W")
        check(text, shape, Factors("low_rank", (5,), stages), feed(2, 16, 8, 9))


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("axes", [1, 3])
def test_one_and_three_axes(op: str, axes: int) -> None:
    k, deconv = (3, 2, 2)[:axes], op == "ConvTranspose"
    dims, size = ", ".join("DHW"[:axes]), (6, 5, 7)[:axes]
    shape = (8, 12, *k) if deconv else (12, 8, *k)
    strides = f"strides: ints = {list((2, 1, 2)[:axes])}, pads: ints = {[1, 0, 1][:axes] * 2}"
    for factors in (kernel_first(12, 8, k, 4, deconv=deconv), tucker(12, 8, k, (3, 4), deconv=deconv)):
        check(conv_text(op, strides, f"B, 8, {dims}"), shape, factors, feed(2, 8, *size))


@pytest.mark.parametrize("bias", ["none", "own", "shared", "computed"])
def test_shifts_go_into_the_last_bias(bias: str) -> None:
    shift = drawn(7, 12, 1)[:, 0]
    reads = {"none": "", "own": ", b", "shared": ", b", "computed": ", c"}[bias]
    text = conv_text("Conv", GEOMETRIES["all"], "B, 6, H, W", reads)
    if bias == "computed":
        text = text.replace("y = Conv", "c = Exp (b)\ny = Conv")
    if bias == "shared":
        text = text.replace("z = Tanh (y)", "m = GlobalMaxPool (y)\nq = ReduceMean <keepdims: int = 0> (b)\nz = Add (m, q)")

    def add(program: Program, shift: np.ndarray) -> None:
        result = program.value("y")
        user = next(use.node for use in result.uses())
        with program.edit(at=user) as editor:
            along = editor.constant(shift.reshape(-1, 1, 1).astype(np.float32), "shift")
            editor.set_input(user, 0, editor.op("Add", [result, along]))

    weights = {} if bias == "none" else {"b": drawn(9, 12, 1)[:, 0].astype(np.float32)}
    program, _ = check(text, (12, 6, 3, 2), CHAINS["tucker"], feed(2, 6, 11, 12), weights=weights, shift=shift, shifted=add)
    assert sum(node.op_type == "Add" for node in program.graph) == (1 if bias in ("computed", "shared") else 0)


def test_convolutions_of_one_weight_keep_their_own_geometry() -> None:
    text = f"""{HEAD}
    twice (float[B, 6, H, W] x, WEIGHTS) => (y, z)
    {{
        y = Conv <strides: ints = [2, 1]> (x, w)
        z = Conv <pads: ints = [1, 1, 1, 1], dilations: ints = [1, 2]> (x, w)
    }}"""
    program, _ = check(text, (12, 6, 3, 2), CHAINS["spatial"], feed(2, 6, 8, 9))
    assert sorted(program.graph.initializers) == ["w.0", "w.1"]


REFUSED: Mapping[str, tuple[str, str, Factors, str]] = {
    "folded": ("Conv", "", Factors("x", (), (Stage(drawn(0, 6, 3), dims=(2, 3), perm=(0, 1)),)), "convolutions have no folded channels"),
    "channels": ("Conv", "", kernel_first(12, 7, (3, 2), 5), "stage 0 takes 7 channels in 1 groups, there are 6"),
    "outputs": ("Conv", "", kernel_first(13, 6, (3, 2), 5), "the chain gives 13 channels, the weight 12"),
    "rank": ("Conv", "", Factors("x", (), (Stage(drawn(0, 12, 6, 3), 1, (0,)),)), "stage 0 has 3 axes, neither 2 nor 4"),
    "foreign taps": (
        "Conv",
        "",
        Factors("x", (), (Stage(drawn(0, 12, 6, 3, 2), 1, (0,)),)),
        "stage 0 has a kernel of [3, 2], its axes [0] ask for [3, 1]",
    ),
    "no stage": (
        "Conv",
        "",
        Factors("x", (), (Stage(drawn(0, 12, 6, 3, 1), 1, (0,)),)),
        "spatial axes [1] are carried out by no stage",
    ),
    "two stages": (
        "Conv",
        "",
        Factors("x", (), (Stage(drawn(0, 5, 6, 3, 2), 1, (0, 1)), Stage(drawn(0, 12, 5, 3, 1), 1, (0,)))),
        "spatial axes [0, 1, 0] are carried out by several stages",
    ),
    "transposed": ("Conv", "", kernel_first(12, 12, (3, 2), 5, deconv=True), "stage 0 takes 12 channels in 1 groups, there are 6"),
    "shape of unknown data": (
        "ConvTranspose",
        "output_shape: ints = [16, 25]",
        kernel_first(12, 6, (3, 2), 5, deconv=True),
        "of ConvTranspose %y output_shape decides over its padding, and the size of its data is not known",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_become_a_chain_is_refused(case: str) -> None:
    op, attributes, factors, reason = REFUSED[case]
    shape = (6, 12, 3, 2) if op == "ConvTranspose" else (12, 6, 3, 2)
    program = program_of(conv_text(op, attributes, "B, 6, H, W"), {"w": np.zeros(shape, np.float32)})
    assert unlowerable(site_of(program), factors) == reason
