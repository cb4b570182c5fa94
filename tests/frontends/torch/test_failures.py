"""What cannot be traced says so in a few lines, with a place and a remedy."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from importlib.machinery import ModuleSpec
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from netwright.frontends.torch import trace
from netwright.ir.errors import ExportError, MissingExtraError


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(2, 2, 2)


class Difference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2, 4))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b + self.w


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", torch.special.bessel_j0(x))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("width 4 is odd")


class Counts(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x + 1, 5


X = torch.ones(2, 4)


def failure(*args: object, **options: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        trace(*args, **options)  # pyright: ignore[reportArgumentType]
    assert caught.value.place
    assert caught.value.remedy
    assert len(str(caught.value)) < 900
    return caught.value


def test_control_flow_on_values_names_the_line_and_the_way_out() -> None:
    error = failure(Branches(), X)
    assert "data-dependent" in error.message
    assert "torch.where" in (error.remedy or "")
    assert "test_failures.py" in (error.place or "")


def test_the_modules_own_error_is_passed_on() -> None:
    error = failure(Raises(), X)
    assert "ValueError: width 4 is odd" in error.message
    assert "test_failures.py" in (error.place or "")


def test_an_operator_without_translation_is_named() -> None:
    error = failure(Unsupported(), X)
    assert "bessel_j0" in error.message
    assert "Replace" in (error.remedy or "")


def test_an_output_that_is_no_tensor_is_explained() -> None:
    assert "tensors only" in (failure(Counts(), X).remedy or "")


@pytest.mark.parametrize("dynamic", [{"x": {0: "batch"}}, {"x": {0: torch.export.Dim("batch")}}], ids=["name", "Dim"])
def test_a_dimension_that_the_module_fixes_cannot_be_dynamic(dynamic: dict[str, object]) -> None:
    assert "dynamic_shapes" in (failure(Fixed(), X, dynamic_shapes=dynamic).remedy or "")


def test_the_same_tensor_for_two_inputs_is_refused() -> None:
    assert "same tensor object as input 'a'" in failure(Difference(), (X, X)).message


def test_a_parameter_as_input_is_refused() -> None:
    module = Difference()
    assert "own 'w'" in failure(module, (module.w, X)).message


@pytest.mark.parametrize(
    ("dynamic", "said"),
    [
        ({"z": {0: "n"}}, "names 'z'"),
        ({"a": {7: "n"}}, "axis 7"),
        ({"a": {0: "two words"}}, "two words"),
        ({0: "n"}, "which argument"),
        ([{0: "n"}], "1 entries for 2"),
        ({"a": "n"}, "not axes"),
    ],
)
def test_dynamic_shapes_that_do_not_fit_are_explained(dynamic: object, said: str) -> None:
    assert said in failure(Difference(), (X, X.clone()), dynamic_shapes=dynamic).message


def test_dynamic_shapes_with_open_keyword_arguments_are_refused() -> None:
    class Open(nn.Module):
        def forward(self, x: Tensor, **more: Tensor) -> Tensor:
            return x - more["extra"]

    assert "**more" in failure(Open(), X, {"extra": X.clone()}, dynamic_shapes={"x": {0: "n"}}).message


def test_one_name_for_two_sizes_is_refused() -> None:
    error = failure(Difference(), (X, X[:1]), dynamic_shapes={"a": {0: "n"}, "b": {0: "n"}})
    assert "'n' is 2 in the example for 'a' and 1" in error.message


def test_arguments_that_do_not_fit_forward_are_explained() -> None:
    assert "missing a required argument: 'b'" in failure(Difference(), X).message


def test_torchscript_plain_functions_and_meta_weights_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Difference())
    assert "TorchScript" in failure(cast("object", scripted), (X, X.clone())).message
    assert "not function" in failure(lambda x: x, X).message  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert "meta device" in failure(nn.Linear(4, 4, device="meta"), X).message


@pytest.mark.parametrize("opset", [17, 40])
def test_an_operator_set_out_of_range_is_refused(opset: int) -> None:
    assert failure(nn.Linear(4, 4), X, opset=opset).place == "opset"


def test_an_exported_program_takes_no_examples() -> None:
    assert "own example inputs" in failure(torch.export.export(nn.Linear(4, 4), (X,)), (X,)).message


@pytest.mark.parametrize("package", ["torch", "onnxscript"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, *rest: str | None) -> ModuleSpec | None:
        return None if name == package else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingExtraError, match=r"netwright\[torch\]"):
        trace(nn.Linear(4, 4), X)


def test_torchs_chatter_is_silent_and_logging_is_as_before(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    disabled, level = logging.root.manager.disable, logging.getLogger("torch.onnx").level
    trace(nn.LSTM(4, 4, 2), torch.ones(3, 2, 4), dynamic_shapes={0: "length"})
    failure(Branches(), X)
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)
    assert (logging.root.manager.disable, logging.getLogger("torch.onnx").level) == (disabled, level)
