"""How a program is lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir


@dataclass(frozen=True, slots=True)
class Fused:
    """One call in the place of several nodes.

    Attributes:
        function: what computes it.
        inputs: the values that it takes as tensors, or None.
        keywords: its settings.
        training: whether it asks for the module's flag.
        carries: whether it takes and makes integers, which may be carried in floats.
    """

    function: Callable[..., object]
    inputs: tuple[onnx_ir.Value | None, ...]
    keywords: Mapping[str, bool | int | float | str | tuple[int, ...] | None]
    training: bool = False
    carries: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """How a program is lowered.

    Attributes:
        trainable: parameters require gradients, and integers of a quantized program are carried.
        train_norms: BatchNormalization takes statistics from the batch while the module is training.
        weights: names of initializers that may become parameters; constants in bodies of functions do not.
        wanted: names of inner values that are asked for.
        fused: what is computed by one call, by the node that ends the pattern; see `netwright.backends.torch.fuse`.
        inside: nodes that such a call makes needless.
    """

    trainable: bool
    train_norms: bool
    weights: frozenset[str]
    wanted: frozenset[str] = frozenset()
    fused: Mapping[onnx_ir.Node, Fused] = field(default_factory=dict[onnx_ir.Node, Fused])
    inside: frozenset[onnx_ir.Node] = frozenset()
