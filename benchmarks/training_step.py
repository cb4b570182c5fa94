"""One training step of a GraphModule against the original module's: time, memory, and what autograd saves.

    python -m benchmarks.training_step [--rounds N] [--threads 1 2] [--only NAME] [--profile]

A step is forward, loss, backward and AdamW's step. Models: ResNet-18 for 32×32 images, batch 32, trained with batch statistics;
BERT of 4 layers × 312 with a classifier, batch 16 × 64 tokens; each without dropout and with (the trace keeps it). onnx2torch gets
torch's older export, where batch norms are folded and dropout is gone.
Time: steps in turns, one process; a round's ratio is to the original's step in the same round, so that what disturbs the machine for a
while disturbs both. Memory: each in processes of its own, by how much its resident set peaks in two steps (the least of three, since
what the allocator keeps varies), and the bytes that autograd saves in one forward pass (parameters, and what is saved twice, left out).
Targets: time 1.10 × the original's, memory 1.05 ×.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import netwright as nw
from benchmarks._networks import IMAGE, MASKED, BertClassifier, Feeds, ResNet18, masked_ids
from benchmarks._onnx2torch import convert_any
from benchmarks.exports.export import quiet
from benchmarks.table import Row, report

ORIGINAL, OURS, PEER = "nn.Module", "to_torch", "onnx2torch"
CLASSES = {"resnet18": 10, "bert 4×312": 2}
DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the modules that are compared.

    Attributes:
        model: name of the network.
        dropout: whether it drops.
        through: the original, or what was made of it.
    """

    model: str
    dropout: bool
    through: str


def feeds_of(model: str) -> Feeds:
    """A batch."""
    generator = torch.Generator().manual_seed(0)
    if model == "resnet18":
        return {"image": torch.randn(32, 3, 32, 32, generator=generator)}
    return masked_ids(30522, 64)(16, generator)


def module_of(arm: Arm) -> nn.Module:
    """An arm's module, in training mode.

    Raises:
        RuntimeError: onnx2torch does not convert the model.
    """
    torch.manual_seed(0)
    rate = DROPOUT if arm.dropout else 0.0
    is_image = arm.model == "resnet18"
    original: nn.Module = ResNet18(dropout=rate) if is_image else BertClassifier(dropout=rate)
    given = feeds_of(arm.model)
    if arm.through == PEER:
        kept: list[nn.Module] = []
        with quiet():
            convert_any(original, given, lambda converted: kept.append(_runs(converted.train(), given)))
        return kept[-1]
    with quiet():
        program = nw.trace(original, (), given, dynamic_shapes=IMAGE if is_image else MASKED, dropout=arm.dropout)
        module = nw.to_torch(program, train_norms=is_image)
    # The original, too, goes through all this, so that both find the same memory used before.
    return original.train() if arm.through == ORIGINAL else module.train()


def _runs(module: nn.Module, given: Feeds) -> nn.Module:
    module(*given.values())
    return module


def step_of(arm: Arm, module: nn.Module) -> Callable[[], None]:
    """A training step."""
    given = feeds_of(arm.model)
    labels = torch.arange(next(iter(given.values())).shape[0]) % CLASSES[arm.model]
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    call = _caller(arm, module, given)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(call(), labels).backward()
        optimizer.step()

    return step


def _caller(arm: Arm, module: nn.Module, given: Mapping[str, Tensor]) -> Callable[[], Tensor]:
    if arm.through == ORIGINAL:
        return lambda: module(**given)
    return lambda: module(*given.values())


def timed(arms: list[Arm], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step, by arm; the arms take turns, and begin in turn."""
    steps: dict[str, Callable[[], None]] = {}
    for arm in arms:
        steps[arm.through] = step_of(arm, module_of(arm))
        for _ in range(3):
            steps[arm.through]()
    found: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            steps[name]()
            found[name].append(time.perf_counter() - start)
    return found


def saved_bytes(arm: Arm, module: nn.Module) -> int:
    """Bytes that autograd keeps from the forward pass for the backward one, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = _caller(arm, module, feeds_of(arm.model))()
    del output
    return sum(kept.values())


TRIES = 3
"""Processes whose memory is measured."""


def memory(arm: Arm) -> dict[str, float]:
    """What a process of its own finds: MB that autograd saves, and MB by which the resident set grew over two steps."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_step", "--measure", json.dumps(asdict(arm))], capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def measure_memory(arm: Arm) -> dict[str, float]:
    """The same in this process, Linux only: the peak is reset after the module was made."""
    torch.set_num_threads(1)
    module = module_of(arm)
    step = step_of(arm, module)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    for _ in range(2):
        step()
    grown = _status("VmHWM") - before
    return {"saved MB": saved_bytes(arm, module) / 1e6, "peak MB": grown / 1e3, "tensors": len(list(module.parameters()))}


def _status(field: str) -> int:
    """KB, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def profile(arm: Arm, steps: int = 10) -> str:
    """Where the time of a step goes, by operator of torch."""
    step = step_of(arm, module_of(arm))
    for _ in range(3):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            step()
    return f"{found.key_averages().table(sort_by='self_cpu_time_total', row_limit=25, max_name_column_width=50)}"


def compared(model: str, *, dropout: bool, rounds: int, threads: list[int]) -> tuple[list[Row], list[Row]]:
    """Rows of time and of memory for one model."""
    arms = [Arm(model, dropout, through) for through in ((ORIGINAL, OURS) if dropout else (ORIGINAL, OURS, PEER))]
    times: list[Row] = []
    sizes: list[Row] = []
    base: dict[str, float] = {}
    able: list[Arm] = []
    for arm in arms:
        row: Row = {"model": model, "dropout": dropout, "through": arm.through}
        try:
            found = min((memory(arm) for _ in range(TRIES)), key=lambda one: one["peak MB"])
        except subprocess.CalledProcessError as error:
            if arm.through != PEER:
                raise
            sizes.append({**row, "fails": str(error.stderr).strip().splitlines()[-1][:120]})
            continue
        able.append(arm)
        base = base or found
        sizes.append({**row, **found, "saved ×": found["saved MB"] / base["saved MB"], "peak ×": found["peak MB"] / base["peak MB"]})
    for count in threads:
        torch.set_num_threads(count)
        seconds = timed(able, rounds)
        first = seconds[ORIGINAL]
        for name, taken in seconds.items():
            ratios = [one / other for one, other in zip(taken, first, strict=True)]
            times.append(
                {
                    "model": model,
                    "dropout": dropout,
                    "through": name,
                    "threads": count,
                    "best ms": min(taken) * 1e3,
                    "median ms": statistics.median(taken) * 1e3,
                    "best ×": min(taken) / min(first),
                    "median ×": statistics.median(ratios),
                }
            )
    return times, sizes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="steps of each arm")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", choices=CLASSES, help="one of the models")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_memory(Arm(**json.loads(options.measure)))))
        return
    models = [options.only] if options.only else list(CLASSES)
    if options.profile:
        torch.set_num_threads(options.threads[0])
        for model in models:
            for through in (ORIGINAL, OURS):
                print(f"{model}, {through}\n{profile(Arm(model, dropout=False, through=through))}")
        return
    times: list[Row] = []
    sizes: list[Row] = []
    for model in models:
        for dropout in (False, True):
            more_times, more_sizes = compared(model, dropout=dropout, rounds=options.rounds, threads=options.threads)
            times += more_times
            sizes += more_sizes
    report("time of a training step", times)
    report("memory of a training step", sizes)


if __name__ == "__main__":
    main()
