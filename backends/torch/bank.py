"""The tensors of a GraphModule: parameters and buffers under the names that they have in the Program."""

from __future__ import annotations

import warnings
from keyword import iskeyword

import onnx_ir
import torch
from torch import fx, nn

from netwright.backends.torch.binding import Bound, Latent
from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.roles import Role
from netwright.ir.errors import NetwrightError


class Bank:
    """Registers tensors on a root module, dots in names nesting modules; a name that cannot be used gets underscores.

    Args:
        trainable: whether parameters require gradients.
        share: whether a tensor that is still the traced module's own object is used itself.
    """

    def __init__(self, *, trainable: bool, share: bool) -> None:
        self.root = nn.Module()
        self.tensors: dict[str, Bound] = {}
        self.sources: dict[str, onnx_ir.DataType] = {}
        self._trainable = trainable
        self._share = share
        self._taken: set[str] = set()

    def add(self, value: onnx_ir.Value, role: Role, latent: Latent | None = None, real: torch.Tensor | None = None) -> str:
        """Register an initializer, and give the path that `get_attr` takes.

        Args:
            value: the initializer.
            role: what it becomes.
            latent: for integer weights, how the integers come from floats.
            real: for integer weights, the floats.
        """
        name = value.name or "constant"
        tensor = value.const_value
        if tensor is None:
            raise NetwrightError(f"The initializer %{name} has no value.", place=name)
        self.sources[name] = tensor.dtype
        owner, leaf, path = self._place(name)
        if role is Role.LATENT:
            assert real is not None, "integer weights come with their floats"
            owner.register_parameter(leaf, nn.Parameter(real, requires_grad=self._trainable))
        elif role is Role.PARAMETER:
            owner.register_parameter(leaf, self._parameter(tensor))
        else:
            owner.register_buffer(leaf, self._data(tensor))
        self.tensors[path] = Bound(name, role.value, latent)
        return path

    def add_step(self, value: onnx_ir.Value) -> tuple[str, str]:
        """Register the parameter that moves a quantizer's step, and the step as it was; give both paths."""
        name, tensor = value.name or "constant", value.const_value
        assert tensor is not None, "the role says that it is a step"
        self.sources[name] = tensor.dtype
        step = self._data(tensor)
        first = self.add_constant(f"{name}_first", step)
        owner, leaf, path = self._place(name)
        owner.register_parameter(leaf, nn.Parameter(torch.zeros(tuple(step.shape) or (1,)), requires_grad=self._trainable))
        self.tensors[path] = Bound(name, "step", first=first)
        return path, first

    def add_constant(self, name: str, tensor: torch.Tensor) -> str:
        """Register a tensor that is no initializer (a tensor attribute, folded numbers), left out of `state_dict`."""
        owner, leaf, path = self._place(f"constants.{name.replace('.', '_')}")
        owner.register_buffer(leaf, tensor, persistent=False)
        return path

    def add_module(self, name: str, module: nn.Module) -> str:
        """Register the module of a subgraph."""
        owner, leaf, path = self._place(f"subgraphs.{name.replace('.', '_')}")
        owner.add_module(leaf, module)
        return path

    def _parameter(self, tensor: onnx_ir.TensorProtocol) -> nn.Parameter:
        own = _torch_tensor(tensor)
        if self._share and isinstance(own, nn.Parameter):
            return own
        return nn.Parameter(self._data(tensor), requires_grad=self._trainable)

    def _data(self, tensor: onnx_ir.TensorProtocol) -> torch.Tensor:
        own = _torch_tensor(tensor)
        if own is not None:
            return own if self._share else own.detach().clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of arrays that cannot be written, and a copy is taken at once
            return to_tensor(tensor.numpy()).clone()

    def _place(self, name: str) -> tuple[nn.Module, str, str]:
        """The module that is to hold a name, the name in it, and the whole path."""
        parts = [part or "_" for part in name.split(".")]
        owner, path = self.root, ""
        for part in parts[:-1]:
            while iskeyword(part) or not isinstance(getattr(owner, part, nn.Module()), nn.Module) or _reserved(owner, part):
                part += "_"
            if not _holds(owner, part):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
            path += f"{part}."
        leaf = parts[-1]
        while iskeyword(leaf) or hasattr(owner, leaf) or hasattr(fx.GraphModule, leaf) or path + leaf in self._taken:
            leaf += "_"
        self._taken.add(path + leaf)
        return owner, leaf, path + leaf


def _holds(owner: nn.Module, part: str) -> bool:
    return isinstance(getattr(owner, part, None), nn.Module)


def _reserved(owner: nn.Module, part: str) -> bool:
    return not _holds(owner, part) and (hasattr(owner, part) or hasattr(fx.GraphModule, part) or part in ("graph", "code", "meta"))


def _torch_tensor(tensor: onnx_ir.TensorProtocol) -> torch.Tensor | None:
    """The tensor that an initializer wraps, where it came from a module and no pass has changed it."""
    raw = getattr(tensor, "raw", None)
    return raw if isinstance(raw, torch.Tensor) else None
