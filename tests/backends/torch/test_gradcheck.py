"""Gradients of every entry of the table, against difference quotients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import onnx
import pytest
import torch

from netwright.backends.torch import TORCH_OPS, OpEntry, lower_to_torch
from netwright.backends.torch.table import find_entry
from tests.backends.torch.gradient_cases import CASES, FLAT, NONE, Case
from tests.backends.torch.programs import from_text, one_node

VERSIONS = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": 5, "ai.onnx.preview.training": 1, "com.microsoft": 1}
"""Of the operator sets."""


def _keys() -> Iterator[str]:
    for (domain, op_type), entries in TORCH_OPS.items():
        name = f"{domain}::{op_type}" if domain else op_type
        yield name
        yield from (f"{name}:{entry.since}" for entry in entries[:-1])


def _module(key: str, case: Case) -> tuple[torch.fx.GraphModule, list[torch.Tensor]]:
    domain, _, rest = key.rpartition("::")
    op_type = rest.partition(":")[0]
    opset = case.opset or VERSIONS[domain]
    entry = find_entry(op_type, domain, opset)
    assert entry is not None
    varied = [
        place for place, array in enumerate(case.inputs) if array is not None and array.dtype == np.float64 and not _fixed(entry, place)
    ]
    constant = [place for place, array in enumerate(case.inputs) if array is not None and place not in varied]
    program = one_node(op_type, case.inputs, case.attributes, outputs=case.outputs, domain=domain, opset=opset, constant=constant)
    kind = torch.float32 if case.single else torch.float64
    return lower_to_torch(program), [torch.tensor(case.inputs[place], dtype=kind, requires_grad=True) for place in varied]


def _fixed(entry: OpEntry, place: int) -> bool:
    """Running statistics, which torch's kernel does not differentiate."""
    return entry.inputs[min(place, len(entry.inputs) - 1)] in entry.frozen and entry.op_type == "BatchNormalization"


def _floats(found: object) -> tuple[torch.Tensor, ...]:
    """Outputs that have a gradient; there must be one."""
    parts = cast("tuple[object, ...]", found) if isinstance(found, tuple) else (found,)
    chosen = tuple(part for part in parts if isinstance(part, torch.Tensor) and part.requires_grad)
    assert chosen, "no output has a gradient"
    return chosen


@pytest.mark.filterwarnings("ignore:Input #.*double precision")
@pytest.mark.parametrize(
    ("key", "case"), [pytest.param(key, case, id=f"{key}-{n}") for key, found in CASES.items() for n, case in enumerate(found)]
)
def test_gradients_are_those_of_difference_quotients(key: str, case: Case) -> None:
    module, leaves = _module(key, case)
    eps, atol, rtol = (1e-2, 1e-2, 1e-2) if case.single else (1e-6, 1e-5, 1e-3)
    assert torch.autograd.gradcheck(
        lambda *given: _floats(module(*given)), leaves, eps=eps, atol=atol, rtol=rtol, check_undefined_grad=False
    )


@pytest.mark.parametrize("key", FLAT)
def test_gradients_of_steps_are_zero(key: str) -> None:
    module, leaves = _module(key, FLAT[key])
    out = module(*leaves)
    if out.requires_grad:
        gradients = torch.autograd.grad(out.sum(), leaves, allow_unused=True)
        assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_every_entry_has_its_gradients_checked_or_a_reason() -> None:
    listed = [*CASES, *FLAT, *NONE]
    assert len(listed) == len(set(listed)), "an operator stands in two tables"
    assert set(_keys()) == set(listed), "add a case to tests/backends/torch/gradient_cases.py, or a reason"
    assert all(len(reason) > 10 for reason in NONE.values())


SEQUENCES = {
    "at": "s = SequenceConstruct (x, z)  y = SequenceAt (s, one)",
    "joined": "s = SequenceConstruct (x, z)  y = ConcatFromSequence <axis: int = 0> (s)",
    "inserted": """
        e = SequenceEmpty ()  s = SequenceInsert (e, x)  t = SequenceInsert (s, z, zero)
        y = ConcatFromSequence <axis: int = 0, new_axis: int = 1> (t)""",
    "erased": "s = SequenceConstruct (x, z)  t = SequenceErase (s, zero)  y = SequenceAt (t, zero)",
    "split": "s = SplitToSequence <axis: int = 0> (x, one)  t = SequenceInsert (s, z)  y = ConcatFromSequence <axis: int = 0> (t)",
    "optional": "o = Optional (x)  p = OptionalGetElement (o)  y = Mul (p, z)",
}


@pytest.mark.parametrize("body", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_carry_gradients(body: str) -> None:
    text = f"g (float[1, 3] x, float[1, 3] z) => (float[A, B] y) <int64 one = {{1}}, int64 zero = {{0}}> {{ {body} }}"
    module = lower_to_torch(from_text(text.replace("[A, B]", "[1, 2, 3]") if "new_axis" in body else text))
    leaves = [torch.randn(1, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *given: _floats(module(*given)), leaves)
