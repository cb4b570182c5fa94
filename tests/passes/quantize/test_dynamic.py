"""Dynamic int8 products and look-ups: the values are those of integer arithmetic done in numpy."""

from __future__ import annotations

import numpy as np
import onnx_ir
import pytest

from netwright.ir.maps import Cast
from netwright.passes import Context
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, columns, evaluate, linear, normal, ops, product, quantized


def test_a_product_is_computed_in_integers() -> None:
    program = linear()
    x = normal(2, 5, 64, seed=3)
    weight, bias = (program.value(name).const_value.numpy() for name in ("w", "b"))  # type: ignore[union-attr]
    outcome = quantized(program, scheme="dynamic")
    assert ops(outcome.program) == ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "Add"]
    assert evaluate(outcome.program, {"x": x})[0] == pytest.approx(product(x, weight) + bias, rel=1e-5, abs=1e-5)


def test_weights_are_a_quarter_of_the_bytes_and_say_where_they_come_from() -> None:
    outcome = quantized(linear(), scheme="dynamic")
    stored = {value.name: value.const_value for value in outcome.program.initializers()}
    assert {name: tensor.dtype for name, tensor in stored.items() if tensor is not None} == {
        "w.int8": onnx_ir.DataType.INT8,
        "w.scale": onnx_ir.DataType.FLOAT,
        "b": onnx_ir.DataType.FLOAT,
    }
    (action,) = outcome.program.ledger.actions
    assert action.maps["w.int8"].sources == ("w",)


@pytest.mark.parametrize("transposed", [False, True])
def test_the_recorded_map_gives_the_stored_integers(transposed: bool) -> None:
    weight = normal(*(96, 64) if transposed else (64, 96), seed=1)
    text = f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 96] y) {{ y = Gemm <transB: int = {int(transposed)}> (x, w) }}"
    outcome = quantized(program_of(text, {"w": weight}), scheme="dynamic")
    stored = outcome.program.value("w.int8").const_value
    assert stored is not None
    mapped = outcome.program.ledger.actions[0].maps["w.int8"].map
    assert np.array_equal(mapped.apply(weight), stored.numpy())
    restored = mapped.reconstruct(stored.numpy())
    assert isinstance(restored, np.ndarray)
    assert np.abs(restored - weight).max() <= np.abs(weight).max() / 250
    assert not transposed or not isinstance(mapped, Cast)


def test_products_of_one_activation_share_its_integers() -> None:
    text = f"""{HEAD} qkv (float[N, T, 64] x, WEIGHTS) => (float[N, T, 64] q, float[N, T, 64] k, float[N, T, 64] v)
    {{ q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv) }}"""
    weights = {name: normal(64, 64, seed=seed) for seed, name in enumerate(("wq", "wk", "wv"))}
    outcome = quantized(program_of(text, weights), scheme="dynamic")
    assert ops(outcome.program).count("DynamicQuantizeLinear") == 1
    x = normal(1, 4, 64)
    for found, weight in zip(evaluate(outcome.program, {"x": x}), weights.values(), strict=True):
        assert found == pytest.approx(product(x, weight), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("attributes", "x_shape", "w_shape", "c_shape"),
    [
        ("", (5, 64), (64, 80), (80,)),
        ("transB: int = 1", (5, 64), (80, 64), (80,)),
        ("transA: int = 1", (64, 5), (64, 80), (80,)),
        ("transA: int = 1, transB: int = 1, alpha: float = 0.5, beta: float = 2.0", (64, 5), (80, 64), (5, 1)),
        ("alpha: float = 0.25", (5, 64), (64, 80), None),
        ("beta: float = 0.0", (5, 64), (64, 80), (80,)),
        ("beta: float = 3.0", (5, 64), (64, 80), ()),
    ],
)
def test_every_gemm_is_computed_in_integers(
    attributes: str, x_shape: tuple[int, int], w_shape: tuple[int, int], c_shape: tuple[int, ...] | None
) -> None:
    weights = {"w": normal(*w_shape, seed=1)} | ({} if c_shape is None else {"c": np.asarray(normal(*c_shape, seed=2), np.float32)})
    inputs = "x, w" if c_shape is None else "x, w, c"
    text = f"{HEAD} g (float[{x_shape[0]}, {x_shape[1]}] x, WEIGHTS) => (float[5, 80] y) {{ y = Gemm <{attributes}> ({inputs}) }}"
    text = text.replace("Gemm <>", "Gemm")
    program = program_of(text, weights)
    x = normal(*x_shape, seed=3)
    given = dict(part.split(": ", 1) for part in attributes.split(", ") if part)
    numbers = {key: float(value.split("= ")[1]) for key, value in given.items()}
    a = x.T if numbers.get("transA") else x
    w = weights["w"].T if numbers.get("transB") else weights["w"]
    expected = product(a, np.ascontiguousarray(w)) * np.float32(numbers.get("alpha", 1))
    expected = expected + np.float32(numbers.get("beta", 1)) * weights.get("c", np.float32(0))
    outcome = quantized(program, scheme="dynamic")
    assert "MatMulInteger" in ops(outcome.program)
    assert "Gemm" not in ops(outcome.program)
    assert evaluate(outcome.program, {"x": x})[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_weight_behind_a_transpose_is_turned_once_and_for_all() -> None:
    weight = normal(96, 64, seed=1)
    text = f"{HEAD} g (float[N, 64] x, WEIGHTS) => (float[N, 96] y) {{ t = Transpose <perm: ints = [1, 0]> (w)  y = MatMul (x, t) }}"
    outcome = quantized(program_of(text, {"w": weight}), scheme="dynamic")
    x = normal(3, 64)
    assert "Transpose" not in ops(outcome.program)
    assert evaluate(outcome.program, {"x": x})[0] == pytest.approx(product(x, weight.T.copy()), rel=1e-5, abs=1e-5)


def test_a_constant_node_holds_a_weight_as_well() -> None:
    program = linear(bias=False)
    node = next(program.nodes("MatMul"))
    with program.edit(at=node) as editor:
        weight = program.value("w").const_value
        assert weight is not None
        editor.set_input(node, 1, editor.op("Constant", [], {"value": weight.numpy()}, name="inline"))
    outcome = quantized(program, scheme="dynamic")
    assert "MatMul" not in ops(outcome.program)
    assert "Constant" not in ops(outcome.program)


def test_a_half_precision_model_stays_half_precision_outside() -> None:
    weight = normal(64, 96, seed=1).astype(np.float16)
    text = f"{HEAD} g (float16[N, 64] x, WEIGHTS) => (float16[N, 96] y) {{ y = MatMul (x, w) }}"
    outcome = quantized(program_of(text, {"w": weight}), scheme="dynamic")
    x = normal(3, 64).astype(np.float16)
    (found,) = evaluate(outcome.program, {"x": x})
    assert found.dtype == np.float16
    expected = product(x.astype(np.float32), weight.astype(np.float32))
    assert found.astype(np.float32) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_a_table_is_stored_by_rows() -> None:
    table = normal(2048, 64, seed=1) * np.linspace(0.1, 3, 2048, dtype=np.float32)[:, None]
    text = f"{HEAD} g (int64[N, T] ids, WEIGHTS) => (float[N, T, 64] y) {{ y = Gather (table, ids) }}"
    outcome = quantized(program_of(text, {"table": table}), scheme="dynamic")
    ids = np.array([[0, 5, 2047], [-1, 7, 7]])
    integers, scale = columns(table.T)
    (found,) = evaluate(outcome.program, {"ids": ids})
    assert found == pytest.approx((integers.T * scale[:, None])[ids], rel=1e-6)
    assert np.abs(found - table[ids]).max() <= scale.max()


def test_one_scale_for_a_weight_where_asked() -> None:
    outcome = quantized(linear(bias=False), scheme="dynamic", per_channel=False)
    scale = outcome.program.value("w.scale").const_value
    assert scale is not None
    assert tuple(scale.shape) == (1,)
    x = normal(1, 3, 64)
    error = np.linalg.norm(evaluate(outcome.program, {"x": x})[0] - evaluate(linear(bias=False), {"x": x})[0])
    assert 0 < error < 0.03 * np.linalg.norm(evaluate(linear(bias=False), {"x": x})[0])


def test_a_site_inside_a_branch_is_quantized_there() -> None:
    weight = normal(64, 64, seed=1)
    text = f"""{HEAD} g (bool cond, float[N, 64] x, WEIGHTS) => (float[N, 64] y)
    {{ y = If (cond) <then_branch = yes () => (float[N, 64] a) {{ a = MatMul (x, w) }},
                     else_branch = no () => (float[N, 64] b) {{ b = Identity (x) }}> }}"""
    outcome = quantized(program_of(text, {"w": weight}), scheme="dynamic")
    x = normal(2, 64)
    assert "MatMulInteger" in ops(outcome.program)
    assert evaluate(outcome.program, {"cond": np.array(True), "x": x})[0] == pytest.approx(product(x, weight), rel=1e-5, abs=1e-5)
    assert np.array_equal(evaluate(outcome.program, {"cond": np.array(False), "x": x})[0], x)


def test_a_model_without_anything_to_quantize_stays_as_it_is() -> None:
    program = program_of(f"{HEAD} g (float[N, 4] x) => (float[N, 4] y) {{ y = Relu (x) }}", {})
    outcome = quantized(program, scheme="dynamic")
    assert (outcome.rows[0].actions, outcome.rows[0].misses, ops(outcome.program)) == (0, [], ["Relu"])


class _OldProcessor:
    """A target that sums products of bytes in saturating 16 bits."""

    name = "old"
    has_int8_dot = False
    is_x86 = True

    def supports(self, op_type: str, domain: str = "", dtype: onnx_ir.DataType | None = None) -> bool:
        del op_type, domain, dtype
        return True


def test_processors_without_int8_sums_get_seven_bits() -> None:
    outcome = quantized(linear(), Context(target=_OldProcessor()), scheme="dynamic")
    stored = outcome.program.value("w.int8").const_value
    assert stored is not None
    assert np.abs(stored.numpy().astype(int)).max() == 63
    assert outcome.plans[0].decisions["t"]["bits"] == 7
