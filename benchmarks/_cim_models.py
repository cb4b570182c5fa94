"""Zoo models as integers on a chip, run as graphs: scores and what the arrays did, without tiles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

import netwright as nw
from benchmarks.zoo import zoo
from netwright.backends.cim import ops
from netwright.backends.cim.arch import Arch
from netwright.backends.cim.cost.mvm import Product, mvm_energy
from netwright.backends.cim.engines.base import MvmCounts
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.cim.simulator.graph import Execution, GraphExecutor
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program, array
from netwright.passes.base import Pass
from netwright.passes.context import Context
from netwright.passes.manager import Outcome, run
from netwright.targets import region_runner

CACHE = Path(".cache/cim")
PIPELINE = "simplify(opset=20), quantize(scheme='static'), fold"


def quantized(name: str, *, pipeline: str = PIPELINE) -> Program:
    """A zoo model after a pipeline that makes integers of it; kept in `.cache/cim` for as long as all that made it is the same."""
    model, feeds = zoo[name].onnx(), zoo[name].feeds(16)
    path = CACHE / f"{name}.{key(model, feeds, pipeline)}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        result = nw.compile(model, pipeline, calibration=feeds, latency=False, threads=1)
        result.save(path)
    return nw.load(path)


def key(model: Path, feeds: Sequence[Mapping[str, np.ndarray]], pipeline: str) -> str:
    """Sixteen hexadecimal digits of what decides a quantized model: pipeline, model, data, and netwright's version and code."""
    state = blake2b(f"{pipeline}\n{nw.__version__}\n{_code()}".encode(), digest_size=8)
    for part in (model, *sorted(model.parent.glob(f"{model.name}.*"))):
        state.update(f"{part.name}:{part.stat().st_size}:".encode() + part.read_bytes())
    for batch in feeds:
        for name, data in sorted(batch.items()):
            state.update(f"{name}:{data.dtype.str}:{data.shape}:".encode() + np.ascontiguousarray(data).tobytes())
    return state.hexdigest()


@cache
def _code() -> str:
    """A hash of the package's own files: its version stands still while it is worked on."""
    state, root = blake2b(digest_size=8), Path(nw.__file__).parent
    files = [Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names if name.endswith(".py")]
    for file in sorted(files):
        state.update(f"{file.relative_to(root)}:".encode() + file.read_bytes())
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class OnChip:
    """A model on a chip.

    Attributes:
        name: in the zoo.
        arch: the chip.
        program: lowered.
    """

    name: str
    arch: Arch
    program: Program

    @classmethod
    def of(cls, name: str, arch: Arch, program: Program | None = None) -> OnChip:
        """Put a quantized model's products on crossbars."""
        context = Context(executor=OrtExecutor(), target=CimTarget(arch))
        return cls(name, arch, lower_graph(quantized(name) if program is None else program, context).program)

    def with_pass(self, one: Pass) -> tuple[OnChip, Outcome]:
        """After one more pass, with what it did and left."""
        context = Context(
            executor=GraphExecutor(region_runner, OrtExecutor()),
            target=CimTarget(self.arch),
            calibration=zoo[self.name].feeds(16),
        )
        outcome = run(self.program, (one,), context)
        return replace(self, program=outcome.program), outcome

    def with_masks(self, granularity: str) -> OnChip:
        """With one static kind of mask everywhere: `none` or `pad`."""
        program = self.program.clone()
        for node in list(program.nodes("CrossbarMatMul")):
            with program.edit(at=node) as editor:
                editor.set_attribute(node, "mask_granularity", granularity)
        return replace(self, program=program)

    def execute(self, feeds: Mapping[str, np.ndarray]) -> Execution:
        """One run as a graph, with what the arrays did."""
        return GraphExecutor(region_runner, OrtExecutor()).execute(self.program, feeds)

    def outputs(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One run's outputs."""
        return self.execute(feeds).values

    def score(self, *, quick: bool) -> Measured:
        """The model's own metric, and the energy of the arrays for one sample."""
        executor = GraphExecutor(region_runner, OrtExecutor())
        totals: dict[str, MvmCounts] = {}
        samples = 0
        model = zoo[self.name]
        names = {value.name for value in self.program.inputs}

        def call(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            nonlocal samples
            found = executor.execute(self.program, {key: value for key, value in feeds.items() if key in names})
            samples += found.samples
            for product, counts in found.counts.items():
                totals.setdefault(product, MvmCounts()).add(counts)
            return found.values

        metric = model.score(call, model.original(), quick=quick).metrics[model.primary]
        return Measured(metric, self.energy(totals, samples), totals, samples)

    def energy(self, totals: Mapping[str, MvmCounts], samples: int) -> dict[str, float]:
        """Energy of the arrays by component, in pJ a sample."""
        parts: dict[str, float] = {}
        for node in self.program.nodes("CrossbarMatMul"):
            weight = array(node.inputs[1])
            assert weight is not None, "weights of products on crossbars are constant"
            product = Product(ops.coding_of(node), weight.shape[0], weight.shape[1])
            for component, energy in mvm_energy(self.arch, product, totals[node.outputs[0].name or ""]).items():
                parts[component] = parts.get(component, 0.0) + energy / samples
        return parts


@dataclass(frozen=True, slots=True)
class Measured:
    """A score, and what it took.

    Attributes:
        metric: the model's own.
        energy: of the arrays by component, pJ a sample.
        counts: by product, over all samples.
        samples: how many.
    """

    metric: float
    energy: dict[str, float]
    counts: dict[str, MvmCounts]
    samples: int

    @property
    def total_pj(self) -> float:
        """Energy of the arrays, pJ a sample."""
        return sum(self.energy.values())
