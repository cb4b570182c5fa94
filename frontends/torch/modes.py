"""Training flags for the time of an export."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator

from torch import nn


@contextlib.contextmanager
def exporting(module: nn.Module, *, dropout: bool, inference: Collection[str] = ()) -> Generator[None]:
    """Put `module` into inference mode, or into training mode for dropout's sake; restore every flag on the way out.

    Flags are set one by one: `module.train()` may be overridden to do more, and the module must stay as it is.

    Args:
        module: whose flags, with those of all modules inside, are set.
        dropout: training mode, save for norms with running statistics and `RReLU`, whose training form ONNX lacks.
        inference: paths of more modules that stay in inference mode, with what is inside them.
    """
    before = [(inner, inner.training) for inner in module.modules()]
    frozen = {id(inner) for path in inference for inner in module.get_submodule(path).modules()}
    try:
        for inner, _ in before:
            inner.training = dropout and id(inner) not in frozen and not hasattr(inner, "running_mean") and not isinstance(inner, nn.RReLU)
        yield
    finally:
        for inner, flag in before:
            inner.training = flag
