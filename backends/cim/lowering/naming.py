"""What reports call a product's layer: the module that holds its weights, where the node's provenance tells of modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_ir

from netwright.backends.cim.ops.attributes import layer_of
from netwright.backends.cim.ops.matmul import CROSSBAR_MATMUL
from netwright.backends.cim.ops.schemas import DOMAIN
from netwright.ir.opinfo import site
from netwright.ir.origin import origin_of
from netwright.passes.simplify.facts import producer

_WEIGHT = ".weight"


@dataclass
class Names:
    """Layers' names, each given once.

    Attributes:
        given: how many products have asked for a name.
        known: names by node.
    """

    given: Counter[str] = field(default_factory=Counter[str])
    known: dict[onnx_ir.Node, str] = field(default_factory=dict[onnx_ir.Node, str])

    @classmethod
    def beside(cls, nodes: Iterable[onnx_ir.Node]) -> Names:
        """Names other than those of products already on crossbars."""
        found = cls()
        layers = {layer_of(node) for node in nodes if node.domain == DOMAIN and node.op_type == CROSSBAR_MATMUL}
        found.given.update(layer.partition("#")[0] for layer in layers)
        return found

    def of(self, node: onnx_ir.Node) -> str:
        """A node's layer: its module's path, `#2` … behind the second and further ones of a module; the node's own name without one."""
        if node not in self.known:
            name = _module(node) or site(node)
            self.given[name] += 1
            self.known[node] = name if self.given[name] == 1 else f"{name}#{self.given[name]}"
        return self.known[node]


def _module(node: onnx_ir.Node) -> str:
    """The module whose weight a product has; the node's own where its weight has no such name.

    They differ where a normalization was folded into a convolution: the node then is the normalization's.
    """
    module = origin_of(node).module
    maker = producer(node.inputs[1], "DequantizeLinear")
    weight = maker.inputs[0] if maker is not None else node.inputs[1]
    owner, found, _ = (weight.name or "" if weight is not None else "").partition(_WEIGHT)
    return owner if found and module and owner.split(".")[0] == module.split(".")[0] else module
