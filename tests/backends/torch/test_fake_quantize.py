"""Quantizers in a program that is trained: learned steps, LSQ's gradients, and the integers of the folded model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import netwright as nw
from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.torch import binding_of, lower_to_torch
from netwright.backends.torch.fuse.fake_quantize import find_quantized
from netwright.ir.program import Program
from tests.backends.torch.qdq import folded, qdq_network, rows
from tests.passes.programs import program_of

STEPS = {"x_s", "r1_s", "r2_s", "y_s", "w1_s", "w2_s", "w3_s"}


def outputs_of(module: torch.nn.Module, x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        found = module(torch.from_numpy(x))
    return [part.numpy() for part in found]


def by_kernels(model: onnx.ModelProto, x: np.ndarray, folder: Path) -> tuple[list[np.ndarray], list[str]]:
    """What ONNX Runtime gives, and the operators that it ran."""
    where = folder / "optimized.onnx"
    options = onnxruntime.SessionOptions()  # pyright: ignore[reportUnknownVariableType]
    options.optimized_model_filepath = str(where)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])  # pyright: ignore[reportUnknownArgumentType]
    found = cast("list[np.ndarray]", session.run(None, {"x": x}))
    return found, [node.op_type for node in onnx.load(where).graph.node]


def value_of(program: Program, name: str) -> np.ndarray:
    tensor = program.value(name).const_value
    assert tensor is not None
    return np.asarray(tensor.numpy())


def test_scales_of_quantizers_are_parameters_and_zero_points_are_not() -> None:
    kinds = {bound.value: bound.kind for bound in binding_of(nw.to_torch(qdq_network())).tensors.values()}
    assert {name for name, kind in kinds.items() if kind == "step"} == STEPS
    assert {name for name, kind in kinds.items() if kind == "parameter"} == {"w1", "w2", "w3", "b1", "b2", "b3"}
    assert {name for name, kind in kinds.items() if kind == "buffer"} == {f"{name[:-2]}_z" for name in STEPS}


def test_untouched_steps_come_back_bit_for_bit() -> None:
    program = qdq_network()
    back = nw.write_back(program, nw.to_torch(program))
    assert all(back.value(name).const_value is program.value(name).const_value for name in STEPS)


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_integers_of_the_folded_model_are_those_of_training(bits: int, tmp_path: Path) -> None:
    x = rows(256)
    labels = np.random.default_rng(1).integers(0, 10, len(x))
    trained = nw.train(
        qdq_network(bits), {"x": x, "labels": labels}, loss={"y_d": "cross_entropy"}, epochs=3, lr=0.01, scale_rate=5.0, threads=1
    )
    moved = {name for name in STEPS if not np.array_equal(value_of(trained, name), value_of(qdq_network(bits), name))}
    assert moved == STEPS
    expected, ran = by_kernels(folded(trained, bits), x, tmp_path)
    assert ran.count("QLinearConv") == 2
    assert "QGemm" in ran
    for trainable in (True, False):
        found = outputs_of(lower_to_torch(trained, trainable=trainable), x)
        assert found[1].dtype == found[2].dtype == np.uint8
        assert len(np.unique(found[1])) > 20
        for mine, theirs in zip(found, expected, strict=True):
            assert np.array_equal(mine, theirs)


def test_float_arithmetic_between_quantizers_would_give_other_integers() -> None:
    program, x = qdq_network(), rows(2048)
    exact = outputs_of(nw.to_torch(program), x)[1]
    apart = outputs_of(lower_to_torch(program, wanted=["c1", "c2", "y"]), x)[1]
    assert len(find_quantized(program, frozenset())) == 2
    assert not find_quantized(program, frozenset({"c1", "c2", "y"}))
    assert 0 < np.mean(exact != apart) < 1e-3
    assert np.abs(exact.astype(int) - apart).max() == 1


def test_gradient_of_a_step_is_that_of_lsq() -> None:
    """d ŵ / d s is round(w/s) − w/s inside and the bound outside, times 1/√(N · Q); the parameter is a logarithm, whose s cancels."""
    w = np.array([[0.26, -0.9, 0.07, 1.9, -4.0, 0.31]], np.float32)
    scale = np.float32(0.2)
    text = """<ir_version: 10, opset_import: ["" : 21]> lsq (float[1, 6] x, WEIGHTS) => (float[1, 6] y)
    <float s = {0.2}, int4 z = {0}> { q = QuantizeLinear (w, s, z) d = DequantizeLinear (q, s, z) y = Mul (x, d) }"""
    module = nw.to_torch(program_of(text, {"w": w}))
    coming = torch.tensor([[1.0, 2.0, -1.0, 0.5, 3.0, -2.0]])
    module(coming).sum().backward()
    ratio = w / scale
    inside = (ratio >= -8) & (ratio <= 7)
    by_step = np.where(inside, np.rint(ratio) - ratio, np.where(ratio < 0, -8, 7))
    parameters = dict(module.named_parameters())
    factor = 1 / np.sqrt(6 * 8)
    assert parameters["s"].grad is not None
    assert parameters["w"].grad is not None
    assert parameters["s"].grad.numpy() == pytest.approx([(coming.numpy() * by_step).sum() * factor / scale], rel=1e-5)
    assert parameters["w"].grad.numpy() == pytest.approx(coming.numpy() * inside)


def test_gradients_of_a_layer_between_quantizers_are_those_of_its_parts() -> None:
    """In one call or node by node, the same gradients reach weights, biases and steps, up to where a half rounds otherwise."""
    program, x = qdq_network(), torch.from_numpy(rows(16))
    gradients: list[dict[str, torch.Tensor]] = []
    for wanted in ([], ["c1", "c2", "y"]):
        module = lower_to_torch(program, wanted=wanted)
        module(x)[0].square().sum().backward()
        gradients.append({name: one.grad.flatten().double() for name, one in module.named_parameters() if one.grad is not None})
    together, apart = gradients
    assert together.keys() == apart.keys() == {*STEPS, "w1", "w2", "w3", "b1", "b2", "b3"}
    for name, gradient in together.items():
        assert torch.nn.functional.cosine_similarity(gradient, apart[name], dim=0) > 0.995, name
        assert (gradient.norm() / apart[name].norm() - 1).abs() < 0.15, name


def test_steps_stay_positive_whatever_the_optimizer_does() -> None:
    module = nw.to_torch(qdq_network())
    with torch.no_grad():
        dict(module.named_parameters())["w1_s"].fill_(-200.0)
    back = nw.write_back(qdq_network(), module)
    assert (value_of(back, "w1_s") > 0).all()
    assert all(np.isfinite(part).all() for part in outputs_of(module, rows(2)))


def test_steps_that_integers_were_made_for_are_settings() -> None:
    """Of a folded program: all but that of the output, on which nothing depends."""
    model = folded(qdq_network())
    kinds = {bound.value: bound.kind for bound in binding_of(nw.to_torch(nw.load(model))).tensors.values()}
    assert {name for name, kind in kinds.items() if kind == "step"} == {"y_s"}
    assert kinds["w1_q"] == "latent"


def test_integers_of_a_folded_program_are_those_of_its_kernels(tmp_path: Path) -> None:
    model, x = folded(qdq_network()), rows(256)
    expected, ran = by_kernels(model, x, tmp_path)
    assert "QLinearConv" in ran
    for trainable in (True, False):
        for mine, theirs in zip(outputs_of(lower_to_torch(nw.load(model), trainable=trainable), x), expected, strict=True):
            assert np.array_equal(mine, theirs)


def test_a_quantized_module_can_be_saved_and_loaded() -> None:
    first, second = nw.to_torch(qdq_network()), nw.to_torch(qdq_network())
    with torch.no_grad():
        dict(first.named_parameters())["r1_s"].fill_(0.3)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer))
    assert all(np.array_equal(*pair) for pair in zip(outputs_of(first, rows(4)), outputs_of(second, rows(4)), strict=True))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_residual_network_goes_the_whole_way(bits: int) -> None:
    """Quantized, trained, written back and folded by passes: the integers of ONNX Runtime's kernels are those of training."""
    draw = np.random.default_rng(0)
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (8, 16, 3, 3), "b1": (16,), "b2": (16,), "b3": (8,)}
    text = """<ir_version: 10, opset_import: ["" : 21]> residual (float[N, 3, 8, 8] x, WEIGHTS) => (float[N, 8, 4, 4] y) {
        c1 = Conv <pads: ints = [1, 1, 1, 1]> (x, w1, b1) r1 = Relu (c1)
        c2 = Conv <pads: ints = [1, 1, 1, 1]> (r1, w2, b2) a = Add (c2, r1) r2 = Relu (a)
        p = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (r2)
        y = Conv <pads: ints = [1, 1, 1, 1]> (p, w3, b3) }"""
    arrays = {name: (draw.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32) for name, shape in shapes.items()}
    x, target = rows(64), draw.normal(size=(64, 8, 4, 4)).astype(np.float32)
    trained = nw.compile(
        program_of(text, arrays),
        f"quantize(scheme='static', trainable=True, bits={bits}), recover(epochs=3, lr=0.01)",
        calibration=[{"x": x}],
        training={"x": x, "labels": target},
        loss="mse",
        latency=False,
    ).program
    assert {node.op_type for node in trained.nodes()} >= {"QuantizeLinear", "DequantizeLinear", "Add"}
    calls = [node.target.__name__ for node in nw.to_torch(trained).graph.nodes if callable(node.target)]
    assert calls.count("requantized_conv") == 3
    assert calls.count("requantized_sum") == 1
    finished = nw.compile(trained, "fold", latency=False).program
    kept = [value.const_value for value in finished.initializers() if value.const_value is not None and len(value.const_value.shape) == 4]
    assert len(kept) == 3
    assert all(tensor.dtype.name == "INT8" and np.abs(tensor.numpy().astype(int)).max() <= (1 << (bits - 1)) for tensor in kept)
    theirs = OrtExecutor(options=SessionOptions(level="all")).run(finished, {"x": x})["y"]
    with torch.no_grad():
        mine = nw.to_torch(trained)(torch.from_numpy(x)).numpy()
    assert len(np.unique(mine)) > 50
    assert np.array_equal(mine, theirs)
