"""The torch backend: a Program as a differentiable `torch.fx.GraphModule`, and its weights back."""

from netwright.backends.torch.binding import Binding, Bound, binding_of
from netwright.backends.torch.dtypes import to_array, to_tensor, torch_dtype
from netwright.backends.torch.lower import lower_to_torch
from netwright.backends.torch.table import TORCH_OPS, OpEntry, torch_op
from netwright.backends.torch.write_back import write_back

__all__ = [
    "TORCH_OPS",
    "Binding",
    "Bound",
    "OpEntry",
    "binding_of",
    "lower_to_torch",
    "to_array",
    "to_tensor",
    "torch_dtype",
    "torch_op",
    "write_back",
]
