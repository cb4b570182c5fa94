"""Products, in every orientation, with chains of every form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netwright.ir import Program
from netwright.ir.dump import dump
from netwright.ir.errors import PlanError
from netwright.ir.ledger import Action, Ledger
from netwright.ir.lineage import inverses
from netwright.ir.maps import Factor, Gone
from netwright.ir.maps.numbers import svd_factors
from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.lowering import CHAIN, lower, unlowerable
from netwright.passes.factorize.sites import FactorSite, find_factor_sites, weight_of
from tests.passes.factorize.lowering.chains import (
    check,
    drawn,
    group_of,
    kernel,
    kronecker,
    low_rank,
    lowered,
    numbers,
    product,
    run,
    site_of,
    three,
    train,
    truths,
)
from tests.passes.programs import program_of

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'

OUT, IN = 40, 24

CHAINS: Mapping[str, Factors] = {
    "two": low_rank(OUT, IN, 7),
    "three": three(OUT, IN, (5, 6)),
    "kronecker": kronecker((5, 3), (8, 8)),
    "train": train(2),
    "one": Factors("dense", (), (Stage(drawn(5, OUT, IN)),)),
}

READERS: Mapping[str, tuple[str, str, tuple[int, int], tuple[int, ...]]] = {
    "matmul": ("float[B, S, 24] x", "y = MatMul (x, w)", (IN, OUT), (2, 5, IN)),
    "matmul of rows": ("float[B, 24] x", "y = MatMul (x, w)", (IN, OUT), (5, IN)),
    "matmul of one row": ("float[24] x", "y = MatMul (x, w)", (IN, OUT), (IN,)),
    "matmul of a transpose": ("float[B, S, 24] x", "t = Transpose <perm: ints = [1, 0]> (w)\ny = MatMul (x, t)", (OUT, IN), (2, 5, IN)),
    "matmul of four axes": ("float[B, 3, S, 24] x", "i = Identity (w)\ny = MatMul (x, i)", (IN, OUT), (2, 3, 4, IN)),
    "gemm": ("float[B, 24] x", "y = Gemm (x, w)", (IN, OUT), (5, IN)),
    "gemm, turned": ("float[B, 24] x", "y = Gemm <transB: int = 1, alpha: float = 0.5> (x, w)", (OUT, IN), (5, IN)),
    "gemm, data turned": ("float[24, B] x", "y = Gemm <transA: int = 1> (x, w)", (IN, OUT), (IN, 5)),
    "gemm, both turned": ("float[24, B] x", "y = Gemm <transA: int = 1, transB: int = 1> (x, w)", (OUT, IN), (IN, 5)),
    "gemm with a bias": ("float[B, 24] x", "y = Gemm <alpha: float = 0.5, beta: float = 2.0> (x, w, b)", (IN, OUT), (5, IN)),
}

LEFT: Mapping[str, tuple[str, str, tuple[int, int], tuple[int, ...]]] = {
    "left": ("float[B, 24, S] x", "y = MatMul (w, x)", (OUT, IN), (2, IN, 5)),
    "left of a matrix": ("float[24, S] x", "y = MatMul (w, x)", (OUT, IN), (IN, 5)),
    "left of a vector": ("float[24] x", "y = MatMul (w, x)", (OUT, IN), (IN,)),
    "left, turned": ("float[B, 24, S] x", "t = Transpose (w)\ny = MatMul (t, x)", (IN, OUT), (2, IN, 5)),
    "gemm, left": ("float[24, S] x", "y = Gemm <alpha: float = 0.5> (w, x)", (OUT, IN), (IN, 5)),
    "gemm, left, all turned": ("float[S, 24] x", "y = Gemm <transA: int = 1, transB: int = 1> (w, x)", (IN, OUT), (5, IN)),
}


def program_text(inputs: str, body: str) -> str:
    return f"{HEAD}\nlayer ({inputs}, WEIGHTS) => (z)\n{{\n{body}\nz = Tanh (y)\n}}"


def biases(body: str) -> dict[str, np.ndarray]:
    return {"b": drawn(9, OUT, 1)[:, 0].astype(np.float32)} if ", b)" in body else {}


def feed(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("reader", READERS)
def test_products_are_what_they_were(reader: str, chain: str) -> None:
    inputs, body, shape, data = READERS[reader]
    program, _ = check(program_text(inputs, body), shape, CHAINS[chain], feed(data), weights=biases(body))
    marked = [node for node in program.graph if CHAIN in node.metadata_props]
    assert bool(marked) == (chain in ("kronecker", "train"))
    assert not any(node.op_type == "Transpose" for node in program.graph if node not in marked)


@pytest.mark.parametrize("reader", LEFT)
def test_weights_on_the_left_are_applied_from_the_left(reader: str) -> None:
    inputs, body, shape, data = LEFT[reader]
    for chain in ("two", "three"):
        check(program_text(inputs, body), shape, CHAINS[chain], feed(data))


def test_weights_on_the_left_have_no_folded_channels() -> None:
    inputs, body, shape, _ = LEFT["left"]
    site = site_of(program_of(program_text(inputs, body), {"w": np.zeros(shape, np.float32)}))
    assert unlowerable(site, train(2)) == "MatMul %y has the weight on the left, where channels are not the last axis"


def test_factors_are_named_and_lead_back_to_the_weight() -> None:
    """`u` is the left factor of the weight as it is stored, here [inputs, outputs]: data meets it first."""
    inputs, body, shape, data = READERS["matmul"]
    program, maps = check(program_text(inputs, body), shape, CHAINS["two"], feed(data))
    assert [(node.inputs[1] or node.outputs[0]).name for node in program.graph if node.op_type == "MatMul"] == ["w.u", "w.v"]
    assert {name: mapped.describe() for name, mapped in maps.items()} == {
        "w.u": "w take U rank 7",
        "w.v": "w take V rank 7",
    }
    ledger = Ledger()
    ledger.actions.append(Action("0:factorize#1", 0, "factorize", "w", 0, "", maps))
    back = inverses(ledger, maps).known["w"]
    arrays = [numbers(program, name) for name in back.sources]
    np.testing.assert_allclose(back.map.apply(*arrays), product(CHAINS["two"], IN).T, atol=1e-5)


def test_plain_factors_need_no_projections() -> None:
    weight = drawn(3, OUT, IN).astype(np.float32)
    inputs, body, _, _ = LEFT["left"]
    program = program_of(program_text(inputs, body), {"w": weight})
    u, v = svd_factors(weight_of(site_of(program)), 6)
    maps = lowered(program, site_of(program), Factors("low_rank", (6,), (Stage(v), Stage(u))))
    truths(program, {"w": weight}, maps)
    assert {name: mapped.map for name, mapped in maps.items()} == {"w.u": Factor("u", 6), "w.v": Factor("v", 6)}


def test_whitened_factors_are_projections_of_the_weight() -> None:
    """U_r U_rᵀ W, the product that loses least of a correlated input, is no truncation of W, and its map says what it is."""
    weight = drawn(3, IN, OUT).astype(np.float32)
    root = drawn(4, IN, IN)
    inputs, body, _, _ = READERS["matmul"]
    program = program_of(program_text(inputs, body), {"w": weight})
    w = weight_of(site_of(program))
    u = np.linalg.eigh(w @ root @ root.T @ w.T)[1][:, -6:]
    maps = lowered(program, site_of(program), Factors("low_rank", (6,), (Stage(u.T @ w), Stage(u))))
    truths(program, {"w": weight}, maps)
    assert not any(isinstance(mapped.map, Gone) for mapped in maps.values())


@pytest.mark.parametrize("scale", [0, 1])
def test_factors_that_are_no_projections_say_so(scale: int) -> None:
    inputs, body, shape, _ = READERS["matmul"]
    program = program_of(program_text(inputs, body), {"w": (scale * drawn(3, *shape)).astype(np.float32)})
    maps = lowered(program, site_of(program), low_rank(OUT, IN, 4))
    assert {mapped.describe() for mapped in maps.values()} == {"w gone: a factor that is no projection of the weight"}


SHIFTS: Mapping[str, tuple[str, str, tuple[int, int], tuple[int, ...]]] = {
    "matmul": READERS["matmul"],
    "matmul, added": ("float[B, S, 24] x", "p = MatMul (x, w)\ny = Add (p, b)", (IN, OUT), (2, 5, IN)),
    "matmul, added to": ("float[B, S, 24] x", "p = MatMul (x, w)\ny = Add (b, p)\nq = Exp (b)", (IN, OUT), (2, 5, IN)),
    "gemm": READERS["gemm"],
    "gemm, scaled": READERS["gemm with a bias"],
    "gemm, shared bias": ("float[B, 24] x", "p = Gemm (x, w, b)\ny = Add (p, b)", (IN, OUT), (5, IN)),
    "gemm, bias of one number": ("float[B, 24] x", "y = Gemm (x, w, one)", (IN, OUT), (5, IN)),
    "gemm, bias computed": (
        "float[B, 24] x",
        "c = ReduceMean <keepdims: int = 1> (x)\ny = Gemm <beta: float = 3.0> (x, w, c)",
        (IN, OUT),
        (5, IN),
    ),
    "left": LEFT["left"],
    "left of a vector": LEFT["left of a vector"],
    "gemm, left": LEFT["gemm, left"],
}


_REFUSED = {(reader, "train") for reader in SHIFTS if "left" in reader}


@pytest.mark.parametrize(
    ("reader", "chain"), [(reader, chain) for reader in SHIFTS for chain in ("two", "train") if (reader, chain) not in _REFUSED]
)
def test_shifts_go_into_the_bias(reader: str, chain: str) -> None:
    inputs, body, shape, data = SHIFTS[reader]
    shift = drawn(7, OUT, 1)[:, 0]

    def add(program: Program, shift: np.ndarray) -> None:
        result = next(node for node in program.graph if node.op_type in ("MatMul", "Gemm")).outputs[0]
        user = next(use.node for use in result.uses())
        along = shift[:, None] if "left" in reader and "vector" not in reader else shift
        with program.edit(at=user) as editor:
            summed = editor.op("Add", [result, editor.constant(along.astype(np.float32), "shift")])
            editor.set_input(user, [*user.inputs].index(result), summed)

    others = {"b": drawn(9, OUT, 1)[:, 0].astype(np.float32)} if "b)" in body or "(b" in body else {}
    others |= {"one": np.ones(1, np.float32)} if "one)" in body else {}
    check(program_text(inputs, body), shape, CHAINS[chain], feed(data), weights=others, shift=shift, shifted=add)


def test_a_weight_with_several_readers_is_stored_once() -> None:
    """A MatMul wants [inputs, outputs], the Gemm of the same weight takes what there is; equal data is multiplied once."""
    text = f"""{HEAD}
    shared (float[B, 24] x, float[B, S, 24] r, WEIGHTS) => (float[B, 40] y, float[B, S, 40] z, float[B, 40] t)
    {{
        turned = Transpose <perm: ints = [1, 0]> (w)
        y = Gemm <transB: int = 1> (x, w, b)
        z = MatMul (r, turned)
        t = MatMul (x, turned)
    }}"""
    feeds = {"x": drawn(0, 5, IN).astype(np.float32), "r": drawn(1, 2, 3, IN).astype(np.float32)}
    program, _ = check(text, (OUT, IN), CHAINS["two"], feeds, weights={"b": drawn(2, OUT, 1)[:, 0].astype(np.float32)})
    assert sorted(program.graph.initializers) == ["b", "w.u", "w.v"]
    assert [node.op_type for node in program.graph] == ["MatMul", "Gemm", "MatMul", "MatMul", "MatMul"]


@pytest.mark.parametrize("head", ["t = Transpose (w)\n z = MatMul (h, t)", "z = Gemm <transB: int = 1> (g, w)"])
def test_tied_tables_are_read_the_other_way_round(head: str) -> None:
    text = f"""{HEAD}
    tied (int64[B, S] ids, WEIGHTS) => (z)
    {{
        e = Gather <axis: int = 0> (w, ids)
        h = Relu (e)
        g = Reshape (h, rows)
        {head}
    }}"""
    ids = np.random.default_rng(0).integers(-OUT, OUT, (2, 5))
    for chain in ("two", "three"):
        weights = {"rows": np.array([-1, IN], np.int64)}
        program, _ = check(text, (OUT, IN), CHAINS[chain], {"ids": ids}, weights=weights, shift=None)
        assert sum(name.startswith("w.") for name in program.graph.initializers) == len(CHAINS[chain].stages)


def test_a_table_that_is_multiplied_from_the_other_side_keeps_its_orientation() -> None:
    text = f"""{HEAD}
    both (int64[S] ids, float[B, 24] x, WEIGHTS) => (float[S, 40] y, float[B, 40] z)
    {{
        y = Gather (w, ids)
        z = MatMul (x, w)
    }}"""
    check(text, (IN, OUT), CHAINS["three"], {"ids": np.array([3, 0, -1]), "x": drawn(0, 5, IN).astype(np.float32)})


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
@pytest.mark.parametrize("chain", ["two", "three"])
def test_tables_look_up_in_the_thin_factor(shape: tuple[int, ...], chain: str) -> None:
    """The operator's inputs are entries, its outputs features."""
    dims = ", ".join("AB"[: len(shape)])
    text = f"{HEAD}\ntable (int64{f'[{dims}]' if dims else ''} ids, WEIGHTS) => (y)\n{{ y = Gather (w, ids) }}"
    ids = np.random.default_rng(0).integers(-IN, IN, shape)
    shift = drawn(7, OUT, 1)[:, 0]

    def add(program: Program, shift: np.ndarray) -> None:
        weight = program.graph.initializers["w"]
        with program.edit() as editor:
            editor.set_constant(weight, (numbers(program, "w") + shift).astype(np.float32))

    program, _ = check(text, (IN, OUT), CHAINS[chain], {"ids": ids}, shift=shift, shifted=add)
    assert [node.op_type for node in program.graph] == ["Gather", *["MatMul"] * (len(CHAINS[chain].stages) - 1), "Add"]


JOINED = f"""{HEAD}
    heads (float[B, S, 24] x, WEIGHTS) => (float[B, S, 16] q, float[B, S, 12] k, float[B, S, 12] v)
    {{
        p = MatMul (x, wq)
        q = Add (p, bq)
        k = MatMul (x, wk)
        turned = Transpose <perm: ints = [1, 0]> (wv)
        v = MatMul (x, turned)
    }}"""


@pytest.mark.parametrize("folded", [False, True])
def test_joined_weights_share_all_stages_but_the_last(folded: bool) -> None:
    stages = train(2).stages[:2]
    factors = Factors("tt", (2, 2), (*stages, Stage(drawn(8, OUT, 80)))) if folded else CHAINS["three"]
    whole = product(factors, IN).astype(np.float32)
    weights = {
        "wq": whole[:16].T.copy(),
        "wk": whole[16:28].T.copy(),
        "wv": whole[28:].copy(),
        "bq": drawn(9, 16, 1)[:, 0].astype(np.float32),
    }
    shift = drawn(5, OUT, 1)[:, 0]
    original, program = program_of(JOINED, weights), program_of(JOINED, weights)
    site = group_of(program)
    np.testing.assert_allclose(weight_of(site), whole)
    lowered(program, site, factors, shift)
    assert sum(node.op_type == "MatMul" for node in program.graph) == len(factors.stages) - 1 + 3
    feeds = feed((2, 5, IN))
    before, after = run(original, feeds), run(program, feeds)
    for name, (start, stop) in {"q": (0, 16), "k": (16, 28), "v": (28, 40)}.items():
        np.testing.assert_allclose(after[name], before[name] + shift[start:stop], atol=1e-4)


def test_joined_weights_have_true_maps() -> None:
    whole = product(CHAINS["two"], IN).astype(np.float32)
    weights = {"wq": whole[:16].T.copy(), "wk": whole[16:28].T.copy(), "wv": whole[28:].copy(), "bq": np.zeros(16, np.float32)}
    program = program_of(JOINED, weights)
    maps = lowered(program, group_of(program), CHAINS["two"])
    assert sorted(maps) == ["wk.v", "wq.u", "wq.v", "wv.v"]
    assert not any(isinstance(mapped.map, Gone) for mapped in maps.values())
    truths(program, weights, maps)


def test_joined_weights_need_a_last_stage_with_rows() -> None:
    weights = {"wq": np.zeros((24, 16)), "wk": np.zeros((24, 12)), "wv": np.zeros((12, 24)), "bq": np.zeros(16)}
    site = group_of(program_of(JOINED, {name: array.astype(np.float32) for name, array in weights.items()}))
    assert unlowerable(site, train(2)) == "joined weights are told apart by the rows of the last stage, which folds its channels"


def test_sites_found_together_are_lowered_one_after_the_other() -> None:
    """The data of a later layer is what an earlier one made; it has been replaced by then."""
    text = f"""{HEAD}
    net (int64[B, 5] ids, WEIGHTS) => (float[B, 40] y)
    {{
        e = Gather (table, ids)
        c = Conv (e, kernel)
        m = ReduceMax <keepdims: int = 0> (c, axes)
        a = MatMul (m, first)
        y = Gemm (a, second)
    }}"""
    ranks = {
        "table": low_rank(24, 30, 3),
        "kernel": Factors("x", (), (Stage(drawn(1, 4, 5, 1), 1, ()), Stage(drawn(2, 24, 4, 3), 1, (0,)))),
    }
    ranks |= {"first": low_rank(24, 24, 5), "second": train(2)}
    rng = np.random.default_rng(0)
    arrays = {"table": product(ranks["table"], 30).T, "kernel": kernel(ranks["kernel"], 1, 1, transposed=False)}
    arrays |= {"first": product(ranks["first"], 24).T, "second": product(ranks["second"], 24).T}
    held = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()} | {"axes": np.array([2], np.int64)}
    original, program = program_of(text, held), program_of(text, held)
    feeds = {"ids": rng.integers(0, 30, (2, 5))}
    sites = [entry for entry in find_factor_sites(program) if isinstance(entry, FactorSite)]
    assert sorted(site.name for site in sites) == sorted(ranks)
    for name in ranks:
        lowered(program, next(site for site in sites if site.name == name), ranks[name])
    np.testing.assert_allclose(run(program, feeds)["y"], run(original, feeds)["y"], atol=1e-4)


def test_types_stay() -> None:
    text = f"{HEAD}\nhalf (float16[B, 24] x, WEIGHTS) => (float16[B, 40] y)\n{{ y = MatMul (x, w) }}"
    factors = CHAINS["two"]
    program = program_of(text, {"w": product(factors, IN).T.astype(np.float16)})
    lowered(program, site_of(program), factors)
    assert {value.dtype.name for value in program.initializers() if value.dtype} == {"FLOAT16"}


def test_nothing_is_left_of_a_change_that_fails() -> None:
    inputs, body, shape, data = READERS["gemm with a bias"]
    arrays = {"w": drawn(0, *shape).astype(np.float32), **biases(body)}
    program = program_of(program_text(inputs, body), arrays)
    before, said = run(program, feed(data)), dump(program)
    editor = program.edit(by="x")
    lower(editor, site_of(program), CHAINS["train"], np.ones(OUT))
    assert dump(program) != said
    editor.rollback()
    assert dump(program) == said
    np.testing.assert_array_equal(run(program, feed(data))["z"], before["z"])


def test_chains_that_do_not_fit_are_refused() -> None:
    inputs, body, shape, _ = READERS["matmul"]
    program = program_of(program_text(inputs, body), {"w": np.zeros(shape, np.float32)})
    site = site_of(program)
    assert unlowerable(site, Factors("none", (), ())) == "the chain has no stages"
    assert unlowerable(site, low_rank(OUT, IN + 1, 2)) == "stage 0 takes 25 channels, there are 24"
    assert unlowerable(site, low_rank(OUT + 1, IN, 2)) == "the chain gives 41 channels, the weight 40"
    assert unlowerable(site, Factors("x", (), (Stage(np.zeros((OUT, IN, 3))),))) == "stage 0 is no dense matrix"
    assert unlowerable(site, Factors("x", (), (Stage(np.zeros((8, 5)), dims=(3, 8), perm=(0, 1)),))) == (
        "stage 0 takes 5 channels, which are no trailing axes of [3, 8]"
    )
    with (
        pytest.raises(PlanError, match=r"w cannot become low_rank: the chain gives 41 channels, the weight 40\."),
        program.edit() as editor,
    ):
        lower(editor, site, low_rank(OUT + 1, IN, 2))


def test_a_gemm_of_old_needs_its_bias() -> None:
    inputs, body, shape, _ = READERS["gemm with a bias"]
    text = program_text(inputs, body).replace(": 20]", ": 9]")
    site = site_of(program_of(text, {"w": np.zeros(shape, np.float32), **biases(body)}))
    assert unlowerable(site, CHAINS["two"]) == "Gemm of opset 9 is not without a bias; raise the opset to 11 first"


def test_folding_needs_the_number_of_axes_and_dense_stages_do_not() -> None:
    text = f"{HEAD}\nany (float[B, 24] x, int64[R] shape, WEIGHTS) => (y)\n{{ r = Reshape (x, shape)\ny = MatMul (r, w) }}"
    arrays = {"w": product(CHAINS["two"], IN).T.astype(np.float32)}
    original, program = program_of(text, arrays), program_of(text, arrays)
    site = site_of(program)
    assert unlowerable(site, train(2)) == "the number of axes of %r is not known"
    with program.edit() as editor:
        lower(editor, site, CHAINS["two"])
    feeds = {**feed((6, IN)), "shape": np.array([2, 3, IN])}
    np.testing.assert_allclose(run(program, feeds)["y"], run(original, feeds)["y"], atol=1e-5)
