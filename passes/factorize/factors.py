"""What an operator is replaced by: linear stages, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One linear operator of a chain.

    Attributes:
        array: dense: [outputs, inputs / groups], applied to the channels of every place (on images a 1×1 convolution); a kernel:
            [outputs, inputs / groups, *kernel], or of a transposed one [inputs, outputs / groups, *kernel].
        groups: of channels that do not see each other.
        spatial: the spatial axes whose stride, dilation and padding of the original operator this stage carries out. All axes are some
            stage's. Of a stage whose kernel has one tap along an axis that is another's, that axis stays as it is.
        transposed: whether a kernel is that of a transposed convolution.
        dims: of products on folded channels: the channels are seen as an array of these sizes, ...
        perm: ... whose axes are put in this order; the trailing ones, as many as the product of `inputs` holds, are what `array`
            multiplies, and its outputs take their place. Empty: the channels as they are.
    """

    array: np.ndarray
    groups: int = 1
    spatial: tuple[int, ...] = ()
    transposed: bool = False
    dims: tuple[int, ...] = ()
    perm: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """A chain of stages in the place of one operator.

    Attributes:
        structure: name of the decomposition.
        ranks: its inner sizes.
        stages: in the order in which they are applied to the input.
        dims, perm: of products on folded channels: how the last stage's channels are seen, and in what order they come out; empty: as
            they are.
    """

    structure: str
    ranks: tuple[int, ...]
    stages: tuple[Stage, ...]
    dims: tuple[int, ...] = ()
    perm: tuple[int, ...] = ()

    @property
    def parameters(self) -> int:
        """Elements of all stages."""
        return sum(stage.array.size for stage in self.stages)
