"""Deciding which sites become integers, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from netwright.ir.origin import origin_of
from netwright.passes.planning import first_match
from netwright.passes.quantize.blockwise import fitting_block_size
from netwright.passes.quantize.choice import Axis, BlockWise, Choice, Dynamic, Outliers
from netwright.passes.quantize.grus import GRU_HIDDEN, NO_GRU
from netwright.passes.quantize.outliers import BATCHES, Spread, outliers_for, spreads
from netwright.passes.quantize.sites import GATES, Site, find_sites, quantized_nodes
from netwright.passes.quantize.spectra import SPECTRUM, is_spectrum
from netwright.passes.quantize.thresholds import LINEAR_COLUMNS, LINEAR_ELEMENTS, LSTM_ELEMENTS, LSTM_PEAK, TABLE_ELEMENTS
from netwright.passes.quantize.units import Unit, units_of
from netwright.passes.quantize.weights import float_array
from netwright.passes.rewrite import Miss, site_of

if TYPE_CHECKING:
    from netwright.ir.program import Program
    from netwright.passes.context import Context, Executor, Feeds
    from netwright.passes.quantize.quantize import Quantize


@runtime_checkable
class Int8Target(Protocol):
    """A target that tells how its processor multiplies bytes."""

    @property
    def has_int8_dot(self) -> bool:
        """True when products of bytes are summed in 32 bits."""
        ...

    @property
    def is_x86(self) -> bool:
        """True where, without that, they are summed in saturating 16 bits."""
        ...


@runtime_checkable
class ArrayTarget(Protocol):
    """A target that keeps the weights of static integers in arrays, which multiply them where they are."""

    @property
    def in_arrays(self) -> bool:
        """True where only static integers get there, of any size."""
        ...

    def why_vector(self, count: int, vectors: int, rows: int, outputs: int) -> str | None:
        """Why so many products [vectors, rows]·[rows, outputs] of two activations had better stay where floats are computed.

        None where the right operand is better written to arrays.
        """
        ...


@dataclass(slots=True)
class Survey:
    """What the planner found.

    Attributes:
        units: that can be quantized.
        misses: of all others.
    """

    units: list[Unit]
    misses: list[Miss] = field(default_factory=list[Miss])


def survey(program: Program, *, convolutions: bool = False, grus: bool = False, pairs: bool = False) -> Survey:
    """All units without an obstacle in the graph; a Miss for every other site that holds weights.

    Args:
        program: looked at only.
        convolutions: whether they can be sites; else each is a miss.
        grus: the same for them.
        pairs: the same for products of two activations.
    """
    found = list(find_sites(program, convolutions=convolutions, grus=grus, pairs=pairs))
    misses = [entry for entry in found if isinstance(entry, Miss)]
    units: list[Unit] = []
    for unit in units_of(entry for entry in found if isinstance(entry, Site)):
        reason = unit.obstacle()
        if reason is None:
            units.append(unit)
        else:
            misses.extend(Miss(reason, site.name) for site in unit.sites)
    return Survey(units, misses)


def already_quantized(program: Program) -> Miss | None:
    """What to say of a program that has been quantized before."""
    nodes = quantized_nodes(program)
    if not nodes:
        return None
    kinds = ", ".join(dict.fromkeys(node.op_type for node in nodes))
    return Miss(f"the model is already quantized ({len(nodes)} nodes: {kinds}): left as it is", site_of(nodes[0]))


def excluded(unit: Unit, patterns: Sequence[str]) -> str | None:
    """The reason, where a pattern matches a site's name or the module that it came from."""
    for site in unit.sites:
        names = (site.name, origin_of(site.node).module)
        pattern = first_match(patterns, names)
        if pattern is not None:
            return f"left float: exclude names it ('{pattern}' matches {next(name for name in names if first_match((pattern,), (name,)))})"
    return None


def too_small(unit: Unit) -> str | None:
    """The reason, with numbers, where integers would gain nothing."""
    for site in unit.sites:
        if site.kind == "linear" and site.elements < LINEAR_ELEMENTS.least:
            return (
                f"left float: its weight has {site.rows} x {site.columns} elements, under {LINEAR_ELEMENTS.least} ({LINEAR_ELEMENTS.why})"
            )
        if site.kind == "linear" and site.columns < LINEAR_COLUMNS.least:
            return f"left float: it has {site.columns} output channels, under {LINEAR_COLUMNS.least} ({LINEAR_COLUMNS.why})"
        if site.kind == "table" and site.elements < TABLE_ELEMENTS.least:
            return f"left float: its table has {site.rows} x {site.columns} elements, under {TABLE_ELEMENTS.least} ({TABLE_ELEMENTS.why})"
        if site.kind == "lstm" and site.elements < LSTM_ELEMENTS.least:
            return (
                f"left float: {site.columns} hidden units with {site.rows} inputs have {site.elements} weights, "
                f"under {LSTM_ELEMENTS.least} ({LSTM_ELEMENTS.why})"
            )
    return None


def too_steep(unit: Unit) -> str | None:
    """The reason, where an LSTM's gates answer so steeply to its inputs that steps of int8 are steps of the gates."""
    for site in unit.sites:
        if site.kind != "lstm":
            continue
        peak = float(np.abs(float_array(site.weights[0])).max())
        if peak > LSTM_PEAK.least:
            return f"left float: its input weights reach {peak:.3g}, over {LSTM_PEAK.least} ({LSTM_PEAK.why})"
    return None


def spectral(unit: Unit) -> str | None:
    """The reason, where a unit is a Fourier transform written as a convolution."""
    return SPECTRUM if any(site.kind == "conv" and is_spectrum(site.node) for site in unit.sites) else None


def slow_gru(unit: Unit) -> str | None:
    """The reason, where a GRU as integers would be slower than as it is."""
    slow = any(site.kind == "gru" and site.columns < GRU_HIDDEN for site in unit.sites)
    return f"left float: {NO_GRU}" if slow else None


def not_finite(unit: Unit) -> str | None:
    """The reason, where a weight holds NaN or infinities (read row by row; nothing is copied)."""
    for weight in unit.weights:
        data = float_array(weight)
        flat = data.reshape(-1, data.shape[-1]) if data.ndim else data.reshape(1, 1)
        if not all(np.isfinite(flat[start : start + 4096]).all() for start in range(0, flat.shape[0], 4096)):
            return f"left float: its weight %{weight.name} holds values that are not finite"
    return None


def weight_bits(context: Context) -> int:
    """8, or 7 on x86 without VNNI, whose 16-bit sums two full 8-bit products would saturate."""
    target = context.target
    return 7 if isinstance(target, Int8Target) and target.is_x86 and not target.has_int8_dot else 8


def in_arrays(context: Context) -> bool:
    """True where the target's arrays take static integers, and nothing else is worth making: small products too, strides as they are."""
    return isinstance(context.target, ArrayTarget) and context.target.in_arrays


def probe_feeds(program: Program, context: Context) -> list[Feeds]:
    """A few sets of inputs on which activations are looked at: calibration data, else made up; none where the context has no executor.

    Raises:
        DataError: nothing can be made up.
    """
    if context.executor is None:
        return []
    batches = context.calibration if context.calibration is not None else context.samples(program) if context.samples is not None else ()
    known = {value.name for value in program.inputs}
    return [{name: array for name, array in batch.items() if name in known} for batch in islice(batches, BATCHES)]


def find_outliers(program: Program, executor: Executor, feeds: Sequence[Feeds], units: Sequence[Unit]) -> dict[Unit, Outliers]:
    """The outlier channels of each unit's activations. Units that read the same activation get the same, so that it is quantized once."""
    groups = _by_activation(program, units)
    names = list(dict.fromkeys(name for group in groups for name in group))
    if not names:
        return {}
    seen = spreads(program, executor, feeds, names)
    found: dict[Unit, Outliers] = {}
    for activations, members in groups.items():
        channels = members[0].sites[0].rows
        known_spreads = [seen[name] for name in activations if name in seen and seen[name].power.shape == (channels,)]
        if len(known_spreads) == len(activations):
            weights = (float_array(unit.weights[0]) for unit in members)
            turned = [weight.T if unit.sites[0].transposed else weight for unit, weight in zip(members, weights, strict=True)]
            found.update(dict.fromkeys(members, outliers_for(reduce(Spread.joined, known_spreads), turned)))
    return found


def _by_activation(program: Program, units: Sequence[Unit]) -> dict[tuple[str, ...], list[Unit]]:
    """Units of products by the activations that they read, where those are values of the main graph and no table shares the weight."""
    inner = {value.name for node in program.graph for value in node.outputs} | {value.name for value in program.inputs}
    groups: dict[tuple[str, ...], list[Unit]] = {}
    for unit in units:
        if unit.tables or not unit.products or any(site.node.attributes.get_int("transA", 0) for site in unit.products):
            continue
        names = tuple(dict.fromkeys((value.name or "") for site in unit.products if (value := site.node.inputs[0]) is not None))
        if all(name in inner for name in names):
            groups.setdefault(names, []).append(unit)
    return groups


def dynamic_choice(unit: Unit, bits: int, options: Quantize, outliers: Outliers, chunks: int, states: Axis = "column") -> Dynamic:
    """The usual decision for a unit that is not static."""
    axis = "column" if options.per_channel else "tensor"
    multiplied = bool(unit.products) or unit.sites[0].kind in GATES
    return Dynamic(bits if multiplied else options.bits, axis, outliers, options.rounding, chunks, states)


def block_choice(unit: Unit, bits: int, block_size: int, symmetric: bool, rounding: str) -> Choice | str:
    """The decision for the sites of a weight-only plan, or why there is none."""
    kind = unit.sites[0].kind
    if kind in GATES:
        return f"left float: weight-only integers are for products, tables and convolutions; scheme='dynamic' quantizes {kind.upper()}s"
    if kind == "conv":
        return BlockWise(8, block_size, True, rounding)
    width = unit.tables[0].columns if unit.tables else unit.sites[0].rows
    fitting = fitting_block_size(unit, block_size, bits)
    if fitting is None:
        return f"left float: the tied table's width {width} is no multiple of 16, the smallest block"
    if unit.tables and width * bits % 8:
        return f"left float: {width} elements of {bits} bits do not fill whole bytes"
    return BlockWise(bits, fitting, symmetric, rounding)
