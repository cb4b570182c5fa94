"""What the tests of static quantization share: a pass that quantizes all it can on minimum and maximum, and small networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir

from netwright.backends.onnxruntime import OrtExecutor, OrtKernels
from netwright.ir import Program, shapes
from netwright.ir.verify import verify
from netwright.passes import Context, Outcome, run
from netwright.passes.base import Pass, Proposals
from netwright.passes.kernels import KernelReport
from netwright.passes.quantize.choice import ActivationGrid, Static
from netwright.passes.quantize.folding import Fold
from netwright.passes.quantize.rounding import Nearest
from netwright.passes.quantize.sites import Site, find_sites
from netwright.passes.quantize.static import activations_of, quantize_static
from netwright.passes.quantize.units import Unit, units_of
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD

Feeds = Mapping[str, np.ndarray]


def units(program: Program) -> list[Unit]:
    """Products and convolutions, however small."""
    found = units_of(site for site in find_sites(program, convolutions=True) if isinstance(site, Site))
    return [unit for unit in found if unit.obstacle() is None and unit.sites[0].kind in ("conv", "linear") and not unit.tables]


def span(low: float, high: float) -> ActivationGrid:
    """The grid of 256 numbers that just spans a range."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255 or 1.0))
    return ActivationGrid(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def grids_of(program: Program, feeds: Feeds) -> dict[str, ActivationGrid]:
    """The grids that `activations_of` asks for, from one batch."""
    names = activations_of(program, units(program))
    seen = OrtExecutor().run(program, feeds, names) if names else {}
    return {name: span(float(data.min()), float(data.max())) for name, data in seen.items()}


@dataclass(frozen=True, kw_only=True)
class StaticAll(Pass):
    """Static quantization of every unit."""

    name: ClassVar[str] = "static_all"
    grids: Mapping[str, ActivationGrid] = field(default_factory=dict[str, ActivationGrid])
    choice: Static = Static()
    trainable: bool = False

    def rewrites(self, program: Program, context: Context) -> Proposals:
        """Carry the choice out for all units."""
        choices = dict.fromkeys(units(program), self.choice)
        yield from quantize_static(program, choices, self.grids, Nearest(), trainable=self.trainable)


def quantized(program: Program, feeds: Feeds, *, folded: bool = True, **options: object) -> Outcome:
    """A program quantized on grids of these feeds, and folded; verified after each action."""
    one = StaticAll(**{"grids": grids_of(program, feeds), **options})  # type: ignore[arg-type]
    outcome = run(program, [one, Fold()] if folded else [one], Context(), verify_each=True)
    verify(outcome.program)
    return outcome


def output(program: Program, feeds: Feeds) -> np.ndarray:
    """The first output."""
    return next(iter(OrtExecutor().run(program, feeds).values()))


def kernels(program: Program) -> KernelReport:
    """What ONNX Runtime makes of a program."""
    return OrtKernels().of(program)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def weights(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Normal weights whose products keep about the size of what comes in."""
    rng = np.random.default_rng(1)
    return {name: (rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32) for name, shape in shapes.items()}


def network(signature: str, body: str, held: Mapping[str, np.ndarray]) -> Program:
    """`signature` names the inputs; the output is y."""
    return program_of(f"{HEAD} g ({signature}, WEIGHTS) => (float y) {{ {body} }}", held)


def graph(body: str, result: str, inputs: str, held: Mapping[str, np.ndarray]) -> Program:
    """A graph with constants of any type, of which it may name what it likes."""
    model = onnx_ir.from_onnx_text(f"{HEAD} g ({inputs}) => ({result}) {{ {body} }}")
    free = {value.name: value for node in model.graph for value in node.inputs if value is not None and value.producer() is None}
    for name, data in held.items():
        if name in free and free[name] not in model.graph.inputs:
            value, tensor = free[name], onnx_ir.Tensor(data, name=name)
            value.const_value, value.shape, value.type = tensor, onnx_ir.Shape(list(data.shape)), onnx_ir.TensorType(tensor.dtype)
            model.graph.register_initializer(value)
    program = Program(model)
    shapes.infer(program)
    return program
