"""zigzag-dse as a peer, without its dependencies: its macro model is plain arithmetic; what its modules import besides is stood in for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Protocol, cast

from netwright.backends.cim.arch.model import Arch


class Macro(Protocol):
    """zigzag's ImcArray, as far as it is read here."""

    tops_peak: float
    topsw_peak: float
    topsmm2_peak: float
    tclk: float
    area: float
    area_breakdown: Mapping[str, float]
    tclk_breakdown: Mapping[str, float]

    def get_peak_energy_single_cycle(self) -> Mapping[str, float]:
        """Energy in pJ, by part."""
        ...

    def get_regular_adder_trees_energy(self, adder_input_precision: int, active_inputs_number: int, physical_inputs_number: int) -> float:
        """Energy in pJ of a tree of which some inputs are used."""
        ...


class _StandIn:
    """Base class and decorator for anything."""

    def __new__(cls, *given: object, **_: object) -> object:  # pyright: ignore[reportInconsistentConstructor]
        return given[0] if given else super().__new__(cls)


def macro(arch: Arch, banks: int = 1) -> Macro:
    """The peer's macro for a chip's array of 1-bit cells, whose outputs are as many as its columns over the weights' bits.

    Raises:
        ImportError: zigzag-dse is not installed (`make bench` installs it without its dependencies).
    """
    array = arch.array
    with _stand_ins():
        dimension = cast("Callable[[str], object]", import_module("zigzag.datatypes").OADimension)
        build = cast("Callable[..., Macro]", import_module("zigzag.hardware.architecture.imc_array").ImcArray)
    sizes = {dimension("D1"): array.columns // arch.weight_bits, dimension("D2"): array.active_rows, dimension("D3"): banks}
    return build(
        is_analog_imc=array.kind == "analog",
        bit_serial_precision=array.digit_bits,
        input_precision=[arch.input_bits, arch.weight_bits],
        adc_resolution=array.adc.bits if array.adc is not None else 0,
        cells_size=arch.weight_bits,
        cells_area=array.cell_um2 * arch.weight_bits * 1e-6,
        dimension_sizes=sizes,
    )


@contextlib.contextmanager
def _stand_ins() -> Generator[None]:
    """Packages that zigzag imports and this project has no use for; afterwards they are gone, as others ask whether they are there."""
    missing: list[str] = []
    for name, members in (("cerberus", ("Validator",)), ("typeguard", ("typeguard_ignore",))):
        try:
            import_module(name)
        except ImportError:
            module = ModuleType(name)
            for member in members:
                setattr(module, member, type(member, (_StandIn,), {}))
            sys.modules[name] = module
            missing.append(name)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
