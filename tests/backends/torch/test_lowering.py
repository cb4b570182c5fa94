"""What a GraphModule is: names, parameters, sizes, errors, provenance, readable code."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator

import numpy as np
import onnx_ir
import pytest
import torch
from torch import Tensor, nn

import netwright as nw
from benchmarks._gradients import floats
from netwright.backends.torch import TORCH_OPS, binding_of, lower_to_torch, torch_op
from netwright.backends.torch.binding import KEY
from netwright.frontends.torch import trace
from netwright.ir import Program
from netwright.ir.dump import dump
from netwright.ir.errors import NetwrightError, UnsupportedModelError
from tests.backends.torch.programs import from_text, one_node
from tests.models import SMALL_MODELS, SmallModel, small_models, traced
from tests.passes.programs import program_of

IR = '<ir_version: 10, opset_import: ["" : 21]>'


def weights(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(3)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def linear(name: str = "w") -> Program:
    program = program_of(f"{IR} linear (float[N, 3] x, WEIGHTS) => (float[N, 4] y) {{ y = MatMul (x, w) }}", weights(w=(3, 4)))
    next(iter(program.initializers())).name = name
    return Program(program.model)


class Small(nn.Module):
    """A tied pair, a buffer, a scale that is frozen."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("offset", torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))) + self.offset


@pytest.fixture(scope="module")
def small() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def program(small: Small) -> Program:
    return trace(small, torch.randn(2, 4), dynamic_shapes={"x": {0: "batch"}})


# ---- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("encoder.fc.weight", "encoder.fc.weight"),
        ("onnx::MatMul_12", "onnx::MatMul_12"),
        ("/a/b", "/a/b"),
        ("forward", "forward_"),
        ("weight.training", "weight.training_"),
        ("parameters.0", "parameters_.0"),
        ("a..b", "a._.b"),
        ("code", "code_"),
        ("_parameters", "_parameters_"),
        ("class", "class_"),
        ("lambda.in.x", "lambda_.in_.x"),
        ("12", "12"),
    ],
)
def test_a_parameter_has_its_name_in_the_program(name: str, key: str) -> None:
    module = lower_to_torch(linear(name))
    assert list(dict(module.named_parameters())) == [key]
    assert binding_of(module).key_of(name) == key
    assert module(torch.randn(2, 3)).shape == (2, 4)
    module.eval().train().eval()


def test_a_name_that_begins_another_keeps_both_apart() -> None:
    text = f"{IR} g (float[N, 3] x, WEIGHTS) => (float[N, 3] y) {{ a = MatMul (x, w)  b = MatMul (a, v)  y = MatMul (b, u) }}"
    program = program_of(text, weights(w=(3, 3), v=(3, 3), u=(3, 3)))
    for value, name in zip(list(program.initializers()), ("a", "a.b", "a.b.c"), strict=True):
        value.name = name
    expected = {value.name: value.const_value for value in program.initializers()}
    module = lower_to_torch(Program(program.model))
    state = module.state_dict()
    assert len(state) == 3
    for name, tensor in expected.items():
        key = binding_of(module).key_of(name or "")
        assert key is not None
        assert tensor is not None
        np.testing.assert_array_equal(state[key].numpy(), tensor.numpy())


def test_values_without_a_python_name_are_inputs_too() -> None:
    program = from_text("g (float[N] x, float[N] z) => (float[N] y) { y = Sub (x, z) }")
    program.graph.inputs[0].name, program.graph.inputs[1].name = "in:0", "1.x"
    module = lower_to_torch(Program(program.model))
    assert binding_of(module).inputs == ("in:0", "1.x")
    torch.testing.assert_close(module(torch.ones(2), torch.zeros(2)), torch.ones(2))


# ---- which constants are what ------------------------------------------------------------------------------------


def test_parameters_and_buffers_are_those_of_the_module(small: Small, program: Program) -> None:
    module = nw.to_torch(program)
    assert dict(module.named_parameters()).keys() == dict(small.named_parameters()).keys()
    assert "offset" in dict(module.named_buffers())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_tie_is_one_parameter(program: Program) -> None:
    names = [name for name, _ in nw.to_torch(program).named_parameters(remove_duplicate=False)]
    assert "first.weight" in names
    assert "second.weight" not in names


def test_copies_are_made_unless_shared(small: Small, program: Program) -> None:
    own = dict(small.named_parameters())
    for name, parameter in nw.to_torch(program).named_parameters():
        assert parameter.data_ptr() != own[name].data_ptr()
        torch.testing.assert_close(parameter, own[name])
    shared = nw.to_torch(program, share=True)
    for name, parameter in shared.named_parameters():
        assert parameter is own[name]
    assert shared.get_buffer("offset") is small.offset


def test_an_untrainable_module_requires_no_gradients(program: Program) -> None:
    module = nw.to_torch(program, trainable=False)
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module(torch.randn(2, 4)).requires_grad


def test_untrainable_leaves_the_shared_modules_own_parameters_as_they_are(small: Small, program: Program) -> None:
    nw.to_torch(program, share=True, trainable=False)
    assert all(parameter.requires_grad for parameter in small.parameters())


SETTINGS = """g (float[N, 4] x) => (float[N, 4] y)
<float[4] gamma = {1, 2, 3, 4}, float eps = {0.1}, float[1] root = {2}, int64[2] shape = {-1, 4}, float low = {-1},
 float[1, 4] mask = {0, -1e9, 0, 0}>
{ a = Mul (x, gamma)  b = Add (a, eps)  c = Div (b, root)  d = Reshape (c, shape)  e = Clip (d, low)  y = Add (e, mask) }"""


def test_settings_of_a_file_are_no_parameters() -> None:
    module = lower_to_torch(from_text(SETTINGS))
    assert list(dict(module.named_parameters())) == ["gamma"]
    x = torch.randn(3, 4)
    expected = (((x * torch.tensor([1.0, 2, 3, 4]) + 0.1) / 2).clamp(min=-1)) + torch.tensor([0, -1e9, 0, 0])
    torch.testing.assert_close(module(x), expected)


def test_running_statistics_are_buffers() -> None:
    module = lower_to_torch(traced("resnet"))
    statistics = [key for key in module.state_dict() if "running" in key]
    assert statistics
    assert not set(statistics) & set(dict(module.named_parameters()))


# ---- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_any_batch_and_length_runs(name: str) -> None:
    model = SMALL_MODELS[name]
    original, module = model.module(), lower_to_torch(traced(name), trainable=False)
    for batch, length in ((1, 1), (5, 9), (2, 3)):
        given = model.example(batch, length)
        expected, found = (floats(one) for one in (original(**given), module(*given.values())))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_inputs_may_be_given_by_name() -> None:
    module = lower_to_torch(traced("encoder_separate_qkv"))
    given = SMALL_MODELS["encoder_separate_qkv"].example()
    torch.testing.assert_close(module(**given), module(*given.values()))


@pytest.mark.parametrize("model", small_models(), ids=SMALL_MODELS)
def test_no_tensor_is_made_of_sizes(model: SmallModel) -> None:
    code = lower_to_torch(traced(model.name)).code
    for made in ("from_host", "to_host", "torch.tensor", "torch_stack", "torch.stack"):
        assert made not in code


def test_arithmetic_on_sizes_is_done_in_python_numbers() -> None:
    text = """g (float[N, T, 6] x) => (float[N, A, B] y) <int64 one = {1}, int64[1] three = {3}, int64[1] all = {-1}> {
        s = Shape (x)  t = Gather (s, one)  u = Unsqueeze (t, axes)  axes = Constant <value_ints = [0]> ()
        n = Shape <start: int = 0, end: int = 1> (x)  d = Mul (u, three)  shape = Concat <axis: int = 0> (n, d, all)
        y = Reshape (x, shape) }"""
    module = lower_to_torch(from_text(text))
    assert module(torch.randn(2, 5, 6)).shape == (2, 15, 2)
    assert module(torch.randn(7, 4, 6)).shape == (7, 12, 2)
    assert "from_host" not in module.code


def test_sizes_that_are_outputs_are_tensors() -> None:
    module = lower_to_torch(from_text("g (float[N, 3] x) => (int64[2] s) { s = Shape (x) }"))
    torch.testing.assert_close(module(torch.randn(4, 3)), torch.tensor([4, 3]))


# ---- errors ------------------------------------------------------------------------------------------------------


def test_an_unknown_operator_is_named_with_its_nodes_and_the_remedy() -> None:
    program = one_node("Frobnicate", [np.ones(3, np.float32)], domain="my.domain", opset=1)
    with pytest.raises(UnsupportedModelError) as caught:
        lower_to_torch(program)
    text = str(caught.value)
    assert "my.domain::Frobnicate" in text
    assert "%y0" in text
    assert '@netwright.backends.torch.torch_op("Frobnicate", since=…, domain="my.domain")' in text


def test_all_unknown_operators_are_named_at_once() -> None:
    body = "a = local.One (x)  b = local.Two (a)  c = local.Two (b)  y = Relu (c)"
    with pytest.raises(UnsupportedModelError, match=r"local::One \(%a\); local::Two \(%b, %c\)"):
        lower_to_torch(from_text(f"g (float[3] x) => (float[3] y) {{ {body} }}"))


@pytest.fixture
def table() -> Iterator[None]:
    """The table as it was, afterwards."""
    before = {key: list(entries) for key, entries in TORCH_OPS.items()}
    yield
    TORCH_OPS.clear()
    TORCH_OPS.update(before)


def double(x: Tensor, *, times: int = 2) -> Tensor:
    """What a user may register."""
    return x * times


def plain_triple(x: Tensor) -> Tensor:
    return x * 3


@pytest.mark.usefixtures("table")
def test_a_user_adds_an_operator_and_takes_it_away_again() -> None:
    program = one_node("Double", [np.ones(3, np.float32)], {"times": 5}, domain="my.domain", opset=1)
    torch_op("Double", domain="my.domain")(double)
    module = lower_to_torch(program)
    torch.testing.assert_close(module(torch.ones(3)), torch.full((3,), 5.0))
    del TORCH_OPS["my.domain", "Double"]
    with pytest.raises(UnsupportedModelError, match="Double"):
        lower_to_torch(program)


@pytest.mark.usefixtures("table")
def test_a_users_entry_takes_the_place_of_one_that_there_is() -> None:
    torch_op("Relu")(double)
    torch.testing.assert_close(lower_to_torch(one_node("Relu", [np.ones(3, np.float32)]))(torch.ones(3)), torch.full((3,), 2.0))


@pytest.mark.usefixtures("table")
def test_entries_hold_from_their_version_on() -> None:
    torch_op("Double", domain="my.domain", since=1)(double)
    torch_op("Double", domain="my.domain", since=3)(plain_triple)
    found = [
        lower_to_torch(one_node("Double", [np.ones(1, np.float32)], domain="my.domain", opset=version))(torch.ones(1))
        for version in (2, 3, 4)
    ]
    assert [float(one) for one in found] == [2, 3, 3]


@pytest.mark.usefixtures("table")
def test_an_attribute_that_an_entry_does_not_take_is_refused() -> None:
    torch_op("Double", domain="my.domain")(plain_triple)
    program = one_node("Double", [np.ones(3, np.float32)], {"times": 5}, domain="my.domain", opset=1)
    with pytest.raises(UnsupportedModelError, match="does not take the attribute times=5"):
        lower_to_torch(program)


def test_an_entry_that_marks_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(NetwrightError, match="axes is no parameter of double"):
        torch_op("Double", domain="my.domain", host=("axes",))(double)


def test_strings_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no tensors of strings") as caught:
        lower_to_torch(from_text("g (string[N] x) => (string[N] y) { y = Identity (x) }"))
    assert "Leave the text processing outside" in str(caught.value)


def test_a_module_of_another_making_has_no_binding() -> None:
    with pytest.raises(NetwrightError, match="not made by to_torch"):
        binding_of(torch.fx.symbolic_trace(nn.Linear(2, 2)))


# ---- inner values, provenance, code ------------------------------------------------------------------------------


def test_inner_values_come_after_the_outputs(program: Program) -> None:
    inner = next(node.outputs[0].name for node in program.nodes("Relu"))
    x = torch.randn(3, 4)
    module = lower_to_torch(program, wanted=[inner or "", "first.weight"])
    y, hidden, weight = module(x)
    torch.testing.assert_close(y, lower_to_torch(program)(x))
    torch.testing.assert_close(hidden, torch.relu(x @ weight.T + module.get_parameter("first.bias")))
    assert binding_of(module).outputs == (program.outputs[0].name, inner, "first.weight")
    with pytest.raises(NetwrightError, match="no value %nowhere"):
        lower_to_torch(program, wanted=["nowhere"])


def test_every_inner_value_can_be_wanted() -> None:
    program = traced("encoder_fused_qkv")
    given = SMALL_MODELS["encoder_fused_qkv"].example()
    names = [output.name or "" for node in program.graph for output in node.outputs]
    found = lower_to_torch(program, trainable=False, wanted=names)(*given.values())
    assert len(found) == 1 + len(names)
    torch.testing.assert_close(found[0], lower_to_torch(program, trainable=False)(*given.values()), rtol=1e-4, atol=1e-5)


def test_nodes_know_where_they_come_from(program: Program) -> None:
    module = nw.to_torch(program)
    known = [node.meta[KEY] for node in module.graph.nodes if KEY in node.meta]
    assert {one["module"] for one in known} >= {"first", "second"}
    linear = next(one for one in known if one["module"] == "first")
    assert linear["class"].endswith("Linear")
    assert any(one["source"].endswith(".py") or ".py:" in one["source"] for one in known)


def test_nodes_have_the_names_of_values() -> None:
    module = lower_to_torch(
        from_text("g (float[N] x) => (float[N] y) { inner_value = Exp (x)  other = Relu (inner_value)  y = Neg (other) }")
    )
    assert [node.name for node in module.graph.nodes if node.op == "call_function"] == ["inner_value", "other", "y"]
    assert "inner_value = " in module.code
    assert "relu(inner_value)" in module.code


def test_a_copy_runs_and_trains_on_its_own(program: Program) -> None:
    module = nw.to_torch(program)
    other = copy.deepcopy(module)
    x = torch.randn(2, 4)
    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
    with torch.no_grad():
        other.get_parameter("first.bias").add_(1)
    assert not torch.equal(other(x), module(x))
    assert binding_of(other) == binding_of(module)


def test_a_state_dict_goes_through_a_file(program: Program) -> None:
    module, other = nw.to_torch(program), nw.to_torch(program)
    with torch.no_grad():
        module.get_parameter("first.weight").mul_(2)
    target = io.BytesIO()
    torch.save(module.state_dict(), target)
    target.seek(0)
    other.load_state_dict(torch.load(target, weights_only=True))
    x = torch.randn(2, 4)
    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)


def test_the_program_stays_as_it_is() -> None:
    program = traced("lstm")
    before = dump(program)
    tensors = {value.name: value.const_value for value in program.initializers()}
    module = lower_to_torch(program)
    module(*SMALL_MODELS["lstm"].example().values())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert dump(program) == before
    assert all(value.const_value is tensors[value.name] for value in program.initializers())
    assert any(np.asarray(tensor.numpy()).any() for tensor in tensors.values() if tensor is not None)


def test_local_functions_are_inlined() -> None:
    text = """g (float[N] x) => (float[N] y) { y = local.twice (x) }
    <domain: "local", opset_import: ["" : 21]> twice (a) => (b) { c = Constant <value_float: float = 2.0> ()  b = Mul (a, c) }"""
    program = from_text(text)
    torch.testing.assert_close(lower_to_torch(program)(torch.ones(2)), torch.full((2,), 2.0))
    assert program.model.functions


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("op_type", ["MeanVarianceNormalization", "HardSwish", "Softsign", "Elu", "Selu"])
def test_an_operator_without_entry_is_computed_by_its_definition_with_the_defaults_of_its_attributes(op_type: str) -> None:
    program = one_node(op_type, [np.ones((2, 3, 4, 4), np.float32)])
    x = torch.randn(2, 3, 4, 4)
    expected = lower_to_torch(program)(x)
    del TORCH_OPS["", op_type]
    torch.testing.assert_close(lower_to_torch(program)(x), expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_weights_keep_their_type() -> None:
    program = linear()
    value = next(iter(program.initializers()))
    assert value.const_value is not None
    array = value.const_value.numpy().astype(onnx_ir.DataType.BFLOAT16.numpy())
    value.const_value = onnx_ir.Tensor(array, name=value.name)
    value.dtype = program.inputs[0].dtype = program.outputs[0].dtype = onnx_ir.DataType.BFLOAT16
    module = lower_to_torch(Program(program.model))
    assert module.get_parameter("w").dtype == torch.bfloat16
    assert module(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
