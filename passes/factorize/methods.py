"""The methods of `factorize`: what each weighs errors by, and in which structures it writes operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from netwright.passes.context import Context

Weighing = Literal["none", "moments", "magnitudes", "gradients"]
"""How errors at an operator's inputs count: alike; by second moments; by mean magnitude; by the squared gradients of its weight."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way of factorizing.

    Attributes:
        weighing: what it needs to know of inputs.
        structures: in which it writes operators; of several that fit an operator, the one that loses least at its size.
        weighs_without: what it weighs by where there is no calibration data; None where it cannot do without.
    """

    weighing: Weighing
    structures: tuple[str, ...]
    weighs_without: Weighing | None = None

    @property
    def needs(self) -> frozenset[str]:
        """What must be in the context."""
        if self.weighs_without is not None or self.weighing == "none":
            return frozenset()
        return frozenset({"training", "gradients"}) if self.weighing == "gradients" else frozenset({"calibration", "executor"})

    def weighing_in(self, context: Context) -> Weighing:
        """What errors are weighed by, with the data that there is."""
        if self.weighs_without is not None and not (context.has("calibration") and context.has("executor")):
            return self.weighs_without
        return self.weighing


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "svd": Method("none", ("low_rank",)),
        "whitened": Method("moments", ("low_rank",)),
        "asvd": Method("magnitudes", ("low_rank",)),
        "fisher": Method("gradients", ("low_rank",)),
        "tucker2": Method("moments", ("tucker2",), "none"),
        "spatial": Method("moments", ("spatial",), "none"),
        "cp": Method("moments", ("cp",), "none"),
        "tt": Method("moments", ("tt",), "none"),
        "kronecker": Method("moments", ("kronecker",), "none"),
        "auto": Method("moments", ("low_rank", "tucker2", "spatial"), "none"),
    }
)
"""By name. Sources: whitened is Wang et al., SVD-LLM, arXiv 2403.07378, and DRONE (Chen et al., NeurIPS 2021), in closed form; asvd is Yuan
et al., arXiv 2312.05821; fisher is Hsu et al., FWSVD, arXiv 2207.00112, with one axis weighed."""
