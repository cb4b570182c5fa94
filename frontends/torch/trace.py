"""`trace`: the one public entry. torch is imported only when it is called."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netwright.ir.errors import MissingExtraError
from netwright.ir.program import Program

if TYPE_CHECKING:
    import torch

DynamicShapes = Mapping[str, object] | Mapping[int, object] | Sequence[object]
"""Which dimensions vary, as `torch.export.export` takes it, with names allowed wherever it takes a `Dim`."""

_REQUIRED = ("torch", "onnxscript")


def trace(
    module: torch.nn.Module | torch.export.ExportedProgram,
    args: Sequence[object] | torch.Tensor = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    dynamic_shapes: DynamicShapes | None = None,
    opset: int = 23,
    dropout: bool = False,
) -> Program:
    """A Program from a PyTorch module and example inputs.

    Parameters and buffers are not copied: initializers wrap the module's own tensors, under their paths in the module
    (`encoder.fc.weight`), and a tied parameter is one initializer under its first path. Inputs have the names of `forward`'s
    arguments (nested ones joined by `_`), outputs the keys of a returned dict or dataclass where there are any. Every node knows
    its module path, class and source line. The module itself, its training flags included, is as it was afterwards.

    Args:
        module: an `nn.Module`, an `fx.GraphModule`, or an `ExportedProgram` (which carries its own example inputs: no `args`).
        args: example positional arguments of `forward`; values do not matter, shapes and types do.
        kwargs: example keyword arguments. Arguments that are not tensors become part of the graph.
        dynamic_shapes: for each argument of `forward` the dimensions that may vary: `{"ids": {0: "batch", 1: "length"}}`.
            Arguments left out are static; a module with one tensor input may be given `{0: "batch"}`. All that
            `torch.export.export` takes is taken too. Equal names promise equal sizes.
        opset: version of the ONNX operator set. From 23 on, attention arrives as one `Attention` node, and RMSNormalization exists.
        dropout: export in training mode and keep Dropout nodes, for training on. Norms with running statistics and every other
            random module (drop path, alpha dropout) stay in inference mode; the latter are listed in the ledger's misses.

    Returns:
        The Program, with `resources["torch.module"]` (what was traced), `resources["torch.parameters"]` and
        `resources["torch.buffers"]` (tensors by initializer name).

    Raises:
        ExportError: torch cannot export the module; the message has torch's reason in short, and a hint.
        MissingExtraError: torch or onnxscript is not installed.
    """
    for package in _REQUIRED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"Tracing a PyTorch module needs the package {package!r}.", place="trace", remedy='Run pip install "netwright[torch]".'
            )
    from netwright.frontends.torch.export import export

    return export(module, args, dict(kwargs or {}), dynamic_shapes=dynamic_shapes, opset=opset, dropout=dropout)
