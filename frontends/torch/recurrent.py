"""Shapes of recurrent layers while torch exports.

To learn the shape of an LSTM's or GRU's output, torch 2.13 runs the layer step by step, for as many steps as the example has:
the length turns into a constant of the exported graph, or the export fails. Here both get a shape rule instead. The layer
itself stays one operator, which torch's exporter translates to ONNX's LSTM or GRU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, cast

import torch


@contextlib.contextmanager
def symbolic_recurrent_layers() -> Generator[None]:
    """Give LSTM and GRU a shape rule in torch's tables, and take it out again on the way out."""
    rules = {cast("Any", torch.ops.aten.lstm.input): _lstm, cast("Any", torch.ops.aten.gru.input): _gru}
    keys = cast("Any", torch)._C.DispatchKey
    table = cast("dict[Any, Any]", cast("Any", torch)._decomp.decomposition_table)
    decompositions = {op: table[op] for op in rules}
    kernels = {op: dict(op.py_kernels) for op in rules}
    try:
        table.update(rules)
        for op, rule in rules.items():
            _replace(op, {**kernels[op], keys.CompositeImplicitAutograd: rule, keys.Meta: rule}, without=keys.Autograd)
        yield
    finally:
        table.update(decompositions)
        for op, kernel in kernels.items():
            _replace(op, kernel)


def _replace(op: Any, kernels: Mapping[Any, Any], *, without: object = None) -> None:  # noqa: ANN401 (torch has no public type for it)
    op.py_kernels.clear()
    op.py_kernels.update({key: kernel for key, kernel in kernels.items() if key != without})
    op._dispatch_cache.clear()


def _lstm(
    input: torch.Tensor,
    hx: Sequence[torch.Tensor],
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`aten::lstm.input`: the output is [..., directions · H], H the hidden (or projected) size; states keep their shapes."""
    return _outputs(input, hx[0], bidirectional=bidirectional), torch.empty_like(hx[0]), torch.empty_like(hx[1])


def _gru(
    input: torch.Tensor,
    hx: torch.Tensor,
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`aten::gru.input`: the output is [..., directions · H], the state keeps its shape."""
    return _outputs(input, hx, bidirectional=bidirectional), torch.empty_like(hx)


def _outputs(input: torch.Tensor, state: torch.Tensor, *, bidirectional: bool) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], state.shape[-1] * (2 if bidirectional else 1)))
