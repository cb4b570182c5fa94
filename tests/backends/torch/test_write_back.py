"""Weights that were trained come back: into the program, through passes, into the module; or are refused by name."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from torch import nn

import netwright as nw
from benchmarks._gradients import floats
from netwright.backends.torch import binding_of
from netwright.frontends.torch import trace
from netwright.ir import Program
from netwright.ir.dump import dump
from netwright.ir.errors import NetwrightError
from netwright.ir.ledger import Action
from netwright.ir.maps import Mapped, Same
from tests.backends.torch.programs import from_text
from tests.models import SMALL_MODELS, traced
from tests.passes.programs import program_of

NAMES = ("resnet", "encoder_fused_qkv", "decoder", "bi_lstm")


def tensors_of(program: Program) -> dict[str, onnx_ir.TensorProtocol]:
    return {value.name or "": value.const_value for value in program.initializers() if value.const_value is not None}


def nudge(module: torch.fx.GraphModule, seed: int = 0) -> None:
    """Change all parameters, as an optimizer would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def outputs(program: Program, name: str) -> list[np.ndarray]:
    """What ONNX Runtime gives for a program made of a small model."""
    return list(nw.compile(program, "", latency=False, threads=1).run(SMALL_MODELS[name].feeds(3, 5)).values())


def torch_outputs(module: nn.Module, name: str) -> list[np.ndarray]:
    with torch.no_grad():
        return [part.numpy() for part in floats(module(*SMALL_MODELS[name].example(3, 5).values()))]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


# ---- into the program that was lowered ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_untouched_weights_come_back_bit_equal_and_shared(name: str) -> None:
    program = traced(name)
    back = nw.write_back(program, nw.to_torch(program))
    before = tensors_of(program)
    assert all(tensor is before[key] for key, tensor in tensors_of(back).items())
    assert dump(back) == dump(program)


def test_only_what_changed_is_new() -> None:
    program = traced("resnet")
    module = nw.to_torch(program)
    with torch.no_grad():
        module.get_parameter("head.bias").add_(1)
    before, after = tensors_of(program), tensors_of(nw.write_back(program, module))
    assert [key for key in before if after[key] is not before[key]] == ["head.bias"]
    np.testing.assert_array_equal(after["head.bias"].numpy(), before["head.bias"].numpy() + 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_program_computes_what_its_module_does(name: str) -> None:
    program = traced(name)
    before, text = outputs(program, name), dump(program)
    module = nw.to_torch(program)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    torch.stack([part.square().mean() for part in floats(module(*SMALL_MODELS[name].example().values()))]).sum().backward()
    optimizer.step()
    back = nw.write_back(program, module)
    assert_close(outputs(back, name), torch_outputs(module, name))
    assert not all(np.allclose(one, other, atol=1e-4) for one, other in zip(outputs(back, name), before, strict=True))
    assert dump(program) == text


def test_running_statistics_come_back() -> None:
    program = traced("resnet")
    module = nw.to_torch(program, train_norms=True).train()
    module(SMALL_MODELS["resnet"].example(4)["image"])
    before, after = tensors_of(program), tensors_of(nw.write_back(program, module.eval()))
    changed = {key for key in before if not np.array_equal(after[key].numpy(), before[key].numpy())}
    assert changed == {key for key in before if "running_mean" in key or "running_var" in key}
    assert_close(outputs(nw.write_back(program, module), "resnet"), torch_outputs(module, "resnet"))


def test_a_tie_stays_one_tensor() -> None:
    program = traced("decoder")
    module = nw.to_torch(program)
    nudge(module)
    assert tensors_of(nw.write_back(program, module)).keys() == tensors_of(program).keys()


def test_bfloat16_weights_come_back_as_such() -> None:
    program = from_text("g (bfloat16[N, 2] x) => (bfloat16[N, 2] y) <bfloat16[2] w = {1, 2}> { y = Mul (x, w) }")
    module = nw.to_torch(program)
    nudge(module)
    back = tensors_of(nw.write_back(program, module))["w"]
    assert back.dtype is onnx_ir.DataType.BFLOAT16
    np.testing.assert_array_equal(back.numpy().astype(np.float32), module.get_parameter("w").detach().float().numpy())


# ---- through passes ----------------------------------------------------------------------------------------------


def simplified(program: Program) -> Program:
    copied = program.clone()
    copied.properties |= {"Trainable"}
    return nw.compile(copied, "simplify", latency=False).program


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_through_simplify(name: str) -> None:
    program = traced(name)
    small = simplified(program)
    assert small.ledger.actions
    module = nw.to_torch(small)
    nudge(module)
    back = nw.write_back(program, module)
    assert_close(outputs(back, name), torch_outputs(module, name))
    assert tensors_of(back).keys() == tensors_of(program).keys()
    assert not back.ledger.actions


@pytest.mark.parametrize(("name", "through"), [("decoder", False), *((name, True) for name in NAMES)])
def test_weights_come_back_into_the_module(name: str, through: bool) -> None:
    model = SMALL_MODELS[name]
    original = model.module()
    objects = dict(original.named_parameters())
    program = trace(original, kwargs=model.example(), dynamic_shapes=model.dynamic)
    module = nw.to_torch(simplified(program) if through else program)
    nudge(module)
    before = torch_outputs(module, name)
    nw.write_back(program, module)
    assert not all(np.allclose(one, other, atol=1e-4) for one, other in zip(_by_name(original, name), before, strict=True))
    nw.write_back(program, module, into_module=True)
    assert_close(_by_name(original, name), before)
    assert all(parameter is objects[key] for key, parameter in original.named_parameters())


def _by_name(module: nn.Module, name: str) -> list[np.ndarray]:
    with torch.no_grad():
        return [part.numpy() for part in floats(module(**SMALL_MODELS[name].example(3, 5)))]


def test_a_permuted_weight_comes_back_as_it_lay() -> None:
    w = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 21]> g (float[N, 3] x, WEIGHTS) => (float[N, 4] y)
        { t = Transpose <perm = [1, 0]> (w)  y = MatMul (x, t) }""",
        {"w": w},
    )
    small = simplified(program)
    module = nw.to_torch(small)
    with torch.no_grad():
        next(iter(module.parameters())).mul_(3)
    np.testing.assert_allclose(tensors_of(nw.write_back(program, module))["w"].numpy(), 3 * w, rtol=1e-6)


# ---- refusals ----------------------------------------------------------------------------------------------------


QUANTIZE = "quantize(scheme='dynamic')"


def test_what_has_no_way_back_is_refused_by_name_with_its_actions() -> None:
    program = linear_program()
    before = dump(program)
    small = nw.compile(program, QUANTIZE, latency=False).program
    module = nw.to_torch(small)
    with pytest.raises(NetwrightError, match="2 tensors have no way back") as caught:
        nw.write_back(program, module)
    text = str(caught.value)
    for name, action in zip(("w", "v"), small.ledger.actions, strict=True):
        assert f"%{name} does not come back from what it became" in text
        assert f"({action.number})" in text
    assert "Write back into the program that to_torch took" in text
    assert dump(program) == before
    assert nw.write_back(small, module) is not small


def test_a_refusal_leaves_the_module_as_it_was() -> None:
    original = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    program = trace(original, torch.randn(3, 64), dynamic_shapes={0: "batch"})
    module = nw.to_torch(nw.compile(program, QUANTIZE, latency=False).program)
    nudge(module)
    before = copy.deepcopy(original.state_dict())
    with pytest.raises(NetwrightError, match="no way back"):
        nw.write_back(program, module, into_module=True)
    assert all(torch.equal(tensor, before[key]) for key, tensor in original.state_dict().items())


def test_what_was_trained_and_was_not_there_before_is_refused() -> None:
    program = traced("resnet")
    small = nw.compile(program, "simplify", latency=False).program
    with pytest.raises(NetwrightError, match="stands for no tensor that there was before") as caught:
        nw.write_back(program, nw.to_torch(small))
    assert "'Trainable'" in str(caught.value)


def test_copies_of_one_tensor_that_training_drove_apart_are_refused() -> None:
    program = from_text(
        """g (float[N, 2] x) => (float[N, 2] y) <float[2] b = {1, 2}, float[2] c = {1, 2}>
        { h = Add (x, b)  r = Relu (h)  y = Add (r, c) }"""
    )
    split = program.clone()
    maps = {"c": Mapped(Same(), ("b",))}
    split.ledger.actions.append(Action("0:split#1", 0, "split", "y", 0, "two readers", maps))
    module = nw.to_torch(split)
    assert nw.write_back(program, module)
    with torch.no_grad():
        module.get_parameter("c").add_(1)
    with pytest.raises(NetwrightError, match=r"%c is no longer what other copies of %b are \(0:split#1\)"):
        nw.write_back(program, module)


def test_a_module_of_another_program_is_refused() -> None:
    small = simplified(traced("decoder"))
    with pytest.raises(NetwrightError, match="not made from this program"):
        nw.write_back(small, nw.to_torch(traced("decoder")))
    with pytest.raises(NetwrightError, match=r"has shape .* in the program|not made from this program"):
        nw.write_back(traced("resnet"), nw.to_torch(traced("squeeze_excite")))


def test_a_program_from_a_file_has_no_module_to_write_into() -> None:
    program = from_text("g (float[N, 2] x) => (float[N, 2] y) <float[2] w = {1, 2}> { y = Mul (x, w) }")
    with pytest.raises(NetwrightError, match="not traced from an nn"):
        nw.write_back(program, nw.to_torch(program), into_module=True)


# ---- quantized ---------------------------------------------------------------------------------------------------


def fit(module: torch.fx.GraphModule, x: torch.Tensor, target: torch.Tensor, *, steps: int = 30, lr: float = 0.01) -> tuple[float, float]:
    """The loss before and after some steps."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    losses: list[float] = []
    for _ in range(steps):
        loss = (module(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], float((module(x) - target).square().mean().detach())


def integers_of(program: Program) -> dict[str, np.ndarray]:
    quantized = {onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8, onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4}
    return {key: tensor.numpy() for key, tensor in tensors_of(program).items() if tensor.dtype in quantized and tensor.size > 1}


def linear_program() -> Program:
    rng = np.random.default_rng(4)
    weights = {"w": rng.normal(size=(64, 64)), "b": rng.normal(size=64), "v": rng.normal(size=(64, 64)) / 8}
    return program_of(
        """<ir_version: 10, opset_import: ["" : 21]> two (float[N, 64] x, WEIGHTS) => (float[N, 64] y)
        { a = MatMul (x, w)  h = Add (a, b)  r = Relu (h)  y = MatMul (r, v) }""",
        {key: array.astype(np.float32) for key, array in weights.items()},
    )


def test_a_program_quantized_to_8_bits_is_trained_and_computes_with_the_integers_that_come_back() -> None:
    quantized = nw.compile(linear_program(), QUANTIZE, latency=False).program
    before = integers_of(quantized)
    assert before
    module = nw.to_torch(quantized)
    x = torch.randn(32, 64)
    start, end = fit(module, x, torch.zeros(32, 64))
    assert end < 0.5 * start
    back = nw.write_back(quantized, module)
    after = integers_of(back)
    assert after.keys() == before.keys()
    assert all(after[key].dtype == before[key].dtype for key in before)
    assert all((after[key] != before[key]).mean() > 0.1 for key in before)
    with torch.no_grad():
        expected = module(x).numpy()
    found = nw.compile(back, "", latency=False).run({"x": x.numpy()})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))


QDQ = """qdq (float[N, 2] x) => (float[N, 3] y)
<float xs = {0.02}, uint8 xz = {128}, int8[2, 3] w = {100, -50, 3, 7, 90, -120}, float[3] ws = {0.01, 0.02, 0.03},
 int8[3] wz = {0, 1, 2}, float[3] b = {1, 2, 3}>
{
    q = QuantizeLinear (x, xs, xz)  d = DequantizeLinear (q, xs, xz)
    f = DequantizeLinear <axis: int = 1> (w, ws, wz)
    m = MatMul (d, f)  y = Add (m, b)
}"""


def test_integers_between_quantize_and_dequantize_are_those_that_the_module_used() -> None:
    program = from_text(QDQ)
    module = nw.to_torch(program)
    assert {bound.value: bound.kind for bound in binding_of(module).tensors.values()}["w"] == "latent"
    x = torch.rand(64, 2) * 4 - 2
    before = integers_of(program)["w"]
    start, end = fit(module, x, torch.zeros(64, 3), steps=60, lr=0.02)
    assert end < 0.5 * start
    back = nw.write_back(program, module)
    assert not np.array_equal(integers_of(back)["w"], before)
    with torch.no_grad():
        expected = module(x)
    torch.testing.assert_close(nw.to_torch(back)(x), expected, rtol=1e-5, atol=1e-5)
    found = nw.compile(back, "", latency=False).run({"x": x.numpy()})["y"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_a_quantized_program_that_was_not_trained_comes_back_bit_equal() -> None:
    for program in (from_text(QDQ), nw.compile(linear_program(), "quantize(scheme='dynamic')", latency=False).program):
        back = nw.write_back(program, nw.to_torch(program))
        before = tensors_of(program)
        for key, tensor in tensors_of(back).items():
            assert tensor.dtype is before[key].dtype
            np.testing.assert_array_equal(tensor.numpy(), before[key].numpy(), err_msg=key)


def test_a_quantized_program_without_training_runs_on_true_integers() -> None:
    module = nw.to_torch(from_text(QDQ), trainable=False)
    assert module.get_buffer("w").dtype == torch.int8
    assert not list(module.parameters()) or not any(parameter.requires_grad for parameter in module.parameters())


def test_a_module_whose_weights_the_program_does_not_have_is_refused_though_neither_has_a_history() -> None:
    """Two files: neither ledger says that they have nothing to do with each other, their names do."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] NAME = {1.0, 2.0, 3.0, 4.0}> { y = MatMul(x, NAME) }"""
    mine, other = (nw.load(onnx.parser.parse_model(text.replace("NAME", name))) for name in ("mine", "other"))
    with pytest.raises(NetwrightError, match="%other"):
        nw.write_back(mine, nw.to_torch(other))
