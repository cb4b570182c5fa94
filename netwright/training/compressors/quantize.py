"""Weights of 2 to 8 bits, or ternary ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np
import onnx_ir
from torch import Tensor

from netwright.ir.errors import PipelineError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Miss
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Rewrite
from netwright.training.compressors.activations import activation_seats, quantize_activation, with_quantized_activations
from netwright.training.compressors.base import Compression, Compressor, Tensors
from netwright.training.compressors.grids import Bits, Codes, Fit, nominal_bits, to_grid, top_of
from netwright.training.compressors.sites import WeightSite, find_weights
from netwright.training.compressors.storage import anchor_of, int4_fits, store_integers
from netwright.training.compressors.straight import straight_through

Grain = Literal["row", "tensor"]


@dataclass(frozen=True, kw_only=True)
class QuantizeWeights(Compressor):
    """Weights on a grid of 2 to 8 bits, or ternary, with a scale for each row.

    Tables (embeddings) have a scale for each entry, other layers one for each output channel, or one in all with `per='tensor'`. Norms,
    biases and the head, the last layer before an output, stay float. Grids and how scales are found: `grids.py`.
    """

    name: ClassVar[str] = "quantize"

    bits: int | str = 8
    """2 to 8, or 'ternary'."""
    per: Grain = "row"
    """Whether linear, convolutional and recurrent layers have a scale for each output channel ('row') or one ('tensor')."""
    fit: Fit = "auto"
    """How scales are found: 'mse' (least squares), 'max' (the largest element), or 'auto' (least squares up to 4 bits)."""
    clip: str | float | None = "range"
    """Where gradients stop: 'range' outside of what the grid represents, None nowhere, a number at that magnitude, to which weights are
    clipped then."""
    activations: int | None = None
    """8 to quantize what linear and convolutional layers read as well, as it comes; None leaves it float."""
    head: bool = False
    """Compress the head as well."""
    where: tuple[str, ...] = ()
    """Patterns of tensors or modules; none means all."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors or modules that stay float."""

    def __post_init__(self) -> None:
        if self.bits != "ternary" and self.bits not in range(2, 9):
            raise PipelineError(f"Weights have 2 to 8 bits or 'ternary', not {self.bits!r}.", place="bits")
        if self.per not in ("row", "tensor"):
            raise PipelineError(f"A scale is per 'row' or 'tensor', not {self.per!r}.", place="per")
        if self.fit not in ("auto", "mse", "max"):
            raise PipelineError(f"A scale is fitted by 'auto', 'mse' or 'max', not {self.fit!r}.", place="fit")
        if self.activations not in (None, 8):
            raise PipelineError(f"Activations have 8 bits or stay float (None), not {self.activations!r}.", place="activations")
        number = isinstance(self.clip, int | float) and self.clip > 0
        if self.clip not in (None, "range") and not number:
            raise PipelineError(f"clip is None, 'range' or a number above 0, not {self.clip!r}.", place="clip")

    def choose(self, program: Program, context: Context) -> Plan:
        """Every weight but the head, with its grid."""
        del context
        weights = find_weights(program, head=self.head, where=self.where, exclude=self.exclude)
        decisions: dict[str, Decision] = {}
        misses = list(weights.misses)
        for site in weights.sites:
            if site.value.dtype is not None and site.value.dtype.name == "DOUBLE":
                misses.append(Miss("left float: it is float64, which DequantizeLinear does not make", site.name))
                continue
            rows = site.rows if self.per == "row" or site.kind == "table" else ()
            decisions[site.name] = {"bits": self.bits, "rows": list(rows), "kind": site.kind}
        note = f"{weights.vectors} vectors (biases, norms) stay float" if weights.vectors else ""
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses), note=note)

    def adapt(self, program: Program, plan: Plan) -> Program:
        """With quantized activations in front of the layers, where they are wanted."""
        if self.activations is None:
            return program
        return with_quantized_activations(program, _sites_of(program, plan))

    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The grids at work."""
        del program, context
        return QuantizedWeights(self, plan)


class QuantizedWeights(Compression):
    """Weights on grids; gradients go straight through."""

    def __init__(self, options: QuantizeWeights, plan: Plan) -> None:
        super().__init__(plan)
        self.options = options
        self._choices = {name: _read(decision) for name, decision in plan.decisions.items()}

    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """`scale * round(w / scale)`, with straight-through gradients."""
        del step
        clip = self.options.clip
        found: dict[str, Tensor] = {}
        for name in self._choices:
            latent = weights[name]
            codes = self._codes(name, latent)
            inside = None
            if clip is not None:
                limit = codes.reach if clip == "range" else float(clip)
                inside = latent.detach().abs() <= limit
            found[name] = straight_through(latent, codes.dense(), inside)
        return found

    def store(self, program: Program, weights: Tensors) -> Proposals:
        """int8 or, where they fit, int4 tensors with DequantizeLinear."""
        sites = {site.name: site for site in find_weights(program, head=True).sites}
        seats = activation_seats(_sites_of(program, self.plan))
        for name, (bits, _) in self._choices.items():
            site = sites.get(name)
            if site is None:
                yield Miss("the tensor is no longer there: it is shared with another, or was replaced", name)
                continue
            codes = self._codes(name, weights[name])
            yield self._rewrite(program, site, codes, bits)
        if self.options.activations is not None:
            yield from _activations(seats)

    def _rewrite(self, program: Program, site: WeightSite, codes: Codes, bits: Bits) -> Rewrite:
        values, scale = _array(codes.values), _array(codes.scale)
        int4 = int4_fits(program, site, top_of(bits))
        shown = "ternary" if bits == "ternary" else f"{bits}-bit"
        grain = f"a scale for each of {scale.size} rows" if scale.size > 1 else "one scale"
        why = f"{shown} weights with {grain}, stored as {'int4' if int4 else 'int8'}"
        return Rewrite.edit(
            site.name, why, lambda editor: store_integers(editor, site, values, scale, int4=int4), anchor=anchor_of(program, site)
        )

    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """The grid's bits for each element, and the scales."""
        bits, rows = self._choices[name]
        return nominal_bits(bits) * math.prod(shape) + width * math.prod(shape[axis] for axis in rows)

    def _codes(self, name: str, latent: Tensor) -> Codes:
        bits, rows = self._choices[name]
        clip = self.options.clip
        data = latent.detach()
        if isinstance(clip, int | float):
            data = data.clamp(-clip, clip)
        return to_grid(data, bits, rows, fit=self.options.fit)


def _sites_of(program: Program, plan: Plan) -> list[WeightSite]:
    return [site for site in find_weights(program, head=True).sites if site.name in plan.decisions]


def _activations(seats: Mapping[onnx_ir.Value, list[onnx_ir.Node]]) -> Proposals:
    for value, readers in seats.items():
        why = f"8-bit activations, quantized as they come, for {len(readers)} layers"
        yield Rewrite.edit(
            value.name or "",
            why if len(readers) > 1 else why.removesuffix("s"),
            lambda editor, value=value, readers=readers: quantize_activation(editor, value, readers),
            anchor=readers[0],
        )


def _read(decision: Decision) -> tuple[Bits, tuple[int, ...]]:
    bits, rows = decision["bits"], decision["rows"]
    return cast("Bits", bits), tuple(cast("list[int]", rows))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
