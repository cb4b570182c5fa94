"""Names, nesting and dynamic dimensions of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from netwright.frontends.torch import trace
from tests.frontends.torch.running import run, shapes


class Nested(nn.Module):
    def forward(self, batch: Mapping[str, Tensor], pair: tuple[Tensor, Tensor], *rest: Tensor, scale: float = 1.0, extra: Tensor) -> Tensor:
        return (batch["x"] - batch["y"]) * scale + pair[0] / pair[1] + rest[0] - extra


def test_nested_inputs_are_flattened_under_readable_names() -> None:
    x = [torch.rand(2, 4) + 1 for _ in range(6)]
    module = Nested()
    program = trace(
        module,
        ({"x": x[0], "y": x[1]}, (x[2], x[3]), x[4]),
        {"extra": x[5], "scale": 0.5},
        dynamic_shapes={
            "batch": {"x": {0: "n"}, "y": {0: "n"}},
            "pair": ({0: "n"}, {0: "n"}),
            "rest": ({0: "n"},),
            "extra": {0: "n"},
        },
    )
    names = [value.name or "" for value in program.inputs]
    assert names == ["batch_x", "batch_y", "pair_0", "pair_1", "rest_0", "extra"]
    assert all(str(value.shape) == "[n,4]" for value in program.inputs)
    feeds = [torch.rand(3, 4) + 1 for _ in range(6)]
    (found,) = run(program, dict(zip(names, feeds, strict=True))).values()
    wanted = module({"x": feeds[0], "y": feeds[1]}, (feeds[2], feeds[3]), feeds[4], extra=feeds[5], scale=0.5)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)


def test_arguments_taken_through_two_stars_are_inputs_by_their_names() -> None:
    class Open(nn.Module):
        def forward(self, x: Tensor, **more: Tensor) -> Tensor:
            return x - more["extra"]

    program = trace(Open(), torch.ones(2), {"extra": torch.ones(2)})
    assert [value.name for value in program.inputs] == ["x", "extra"]


def test_a_dict_as_last_positional_argument_is_not_taken_for_keyword_arguments() -> None:
    class TakesDict(nn.Module):
        def forward(self, feeds: Mapping[str, Tensor]) -> Tensor:
            return feeds["a"] - feeds["b"]

    program = trace(TakesDict(), ({"a": torch.ones(2), "b": torch.zeros(2)},))
    assert [value.name for value in program.inputs] == ["feeds_a", "feeds_b"]


def test_integer_inputs_keep_their_type() -> None:
    program = trace(nn.Embedding(10, 4), torch.zeros(2, 3, dtype=torch.int32))
    assert str(program.inputs[0].dtype) == "INT32"


def test_the_keys_of_a_returned_dict_name_the_outputs() -> None:
    class Returns(nn.Module):
        def forward(self, x: Tensor) -> dict[str, object]:
            return {"logits": x + 1, "nothing": None, "hidden": (x * 2, x * 3)}

    assert [value.name for value in trace(Returns(), torch.ones(2)).outputs] == ["logits", "hidden_0", "hidden_1"]


def test_the_fields_of_a_returned_dataclass_name_the_outputs() -> None:
    @dataclass
    class Result:
        score: Tensor
        state: Tensor

    torch.export.register_dataclass(Result)

    class Returns(nn.Module):
        def forward(self, x: Tensor) -> Result:
            return Result(x + 1, x * 2)

    assert [value.name for value in trace(Returns(), torch.ones(2)).outputs] == ["score", "state"]


def test_an_output_named_like_an_input_gets_another_name() -> None:
    class Returns(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"x": x + 1}

    assert [value.name for value in trace(Returns(), torch.ones(2)).outputs] == ["x_2"]


def test_outputs_that_are_inputs_parameters_or_twice_the_same_become_values_of_their_own() -> None:
    class Returns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.arange(3.0))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = x + self.w
            return {"same": x, "once": y, "twice": y, "weight": self.w}

    program = trace(Returns(), torch.ones(3))
    assert len(set(program.outputs)) == 4
    found = run(program, {"x": torch.full((3,), 2.0)})
    assert {name: array.tolist() for name, array in found.items()} == {
        "same": [2.0, 2.0, 2.0],
        "once": [2.0, 3.0, 4.0],
        "twice": [2.0, 3.0, 4.0],
        "weight": [0.0, 1.0, 2.0],
    }


@pytest.mark.parametrize(
    "dynamic",
    [{"input": {0: "rows"}}, {"input": {0: Dim("rows")}}, {"input": ("rows", None)}, [{0: "rows"}], {0: "rows"}, {"input": {-2: "rows"}}],
    ids=["names", "Dim", "tuple", "by position", "one input", "negative axis"],
)
def test_dimension_names_survive_in_every_spelling(dynamic: object) -> None:
    program = trace(nn.Linear(4, 3), torch.ones(2, 4), dynamic_shapes=dynamic)  # pyright: ignore[reportArgumentType]
    assert str(program.inputs[0].shape) == "[rows,4]"
    assert shapes(program) == ["[rows,3]"]


def test_an_example_of_size_one_does_not_fix_a_dynamic_dimension() -> None:
    program = trace(nn.Linear(4, 3), torch.ones(1, 4), dynamic_shapes={0: "rows"})
    assert run(program, {"input": torch.ones(5, 4)})[program.outputs[0].name or ""].shape == (5, 3)


def test_everything_is_static_unless_asked_otherwise() -> None:
    assert shapes(trace(nn.Linear(4, 3), torch.ones(2, 4))) == ["[2,3]"]


def test_computed_dimensions_are_expressions_of_the_names() -> None:
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x])

    assert shapes(trace(Doubles(), torch.ones(2, 4), dynamic_shapes={0: "rows"})) == ["[2*rows,4]"]


def test_a_padding_mask_that_broadcasts_over_queries_runs() -> None:
    class Attends(nn.Module):
        def forward(self, q: Tensor, keep: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=keep[:, None, None, :])

    dynamic = {"q": {0: "b", 2: "l"}, "keep": {0: "b", 1: "l"}}
    program = trace(Attends(), (torch.randn(2, 2, 6, 8), torch.ones(2, 6, dtype=torch.bool)), dynamic_shapes=dynamic)
    assert sum(1 for _ in program.nodes("Attention")) == 1
    q, keep = torch.randn(3, 2, 5, 8), torch.ones(3, 5, dtype=torch.bool)
    keep[1, 3:] = False
    (found,) = run(program, {"q": q, "keep": keep}).values()
    np.testing.assert_allclose(found, Attends()(q, keep).numpy(), rtol=1e-4, atol=1e-6)
