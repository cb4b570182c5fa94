"""What pruning costs a trained model: without any training, and after equal steps of it, beside Torch-Pruning at equal MACs.

    python -m benchmarks.prune_accuracy [MODEL …] [--shares 0.8 0.65 0.5] [--seeds 3] [--steps 100] [--threads N] [--check]

First table, one for each model: the metric after pruning to a share of the multiply-accumulates. `as pruned`: units are gone, nothing else.
`made up for`: what reads them is solved anew on calibration inputs without labels (ours), or batch norms estimate their statistics anew on
the same inputs (Torch-Pruning, the nearest that it has). Every criterion of both; the ranking is within groups or over all of them. Sizes
are netwright's counts, scores ONNX Runtime's on the same data for both.

Second table, of the models with labels: the best of ours and the best of theirs at the smallest share, trained with equal steps, rates and
rows.

With `--check`, exits with 1 where compensation wins back less than half of what plain removal by default (l2 in groups) costs at the
largest share, or where the best of ours lost something and the best of theirs less.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage] - the base of all of them

import netwright as nw
from benchmarks._accuracy_tasks import Task, task
from benchmarks._pruned import size_of
from benchmarks._torch_pruning import Criterion, Learner, multiplications, prune
from benchmarks.table import Cell, Row, report
from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.program import Program
from netwright.passes import Context, run
from netwright.passes.prune import Prune
from netwright.passes.prune.importance import criterion_needs
from netwright.training.gradients import TorchGradients
from netwright.training.sampling import TrainingData

MODELS = ("digit_cnn", "train_small_resnet", "minilm")
OURS: Mapping[str, Sequence[str]] = {
    "l2": ("groups", "all"),
    "bn_scale": ("groups",),
    "taylor": ("groups",),
    "hessian": ("groups",),
    "activation": ("groups",),
    "reconstruction": ("groups", "all"),
    "qkv": ("groups",),
    "random": ("groups",),
}
"""Our criteria, and whether units are ranked in each group or in all together."""
THEIRS: Mapping[Criterion, Sequence[str]] = {
    "l2": ("groups", "all"),
    "bn_scale": ("groups",),
    "lamp": ("all",),
    "taylor": ("groups",),
    "hessian": ("groups",),
}
"""Torch-Pruning's; lamp in groups ranks as l2 does."""
TEXT = ("l2", "reconstruction", "qkv")
"""Criteria for the text model, which takes the longest; ranked in groups."""
DIMS = {"batch": 1, "sequence": 32}
LEARNT_ROWS, HESSIAN_ROWS = 512, 64
"""Rows of which Torch-Pruning's criteria take gradients."""


@dataclass(frozen=True, slots=True)
class Result:
    """One way of pruning.

    Attributes:
        pruner: whose.
        criterion: what ranked units.
        ranking: `groups` or `all`.
        share: of the multiply-accumulates that was asked for; `left` is what there is.
        pruned, made_up: metrics of the pruned model, and of what was then made of it without labels.
        program: the better of both.
    """

    pruner: str
    criterion: str
    ranking: str
    share: float
    left: float
    pruned: Mapping[str, float]
    made_up: Mapping[str, float] | None
    program: Program


def main() -> None:
    """Prune, score, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=f"of {', '.join(MODELS)}")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 0.65, 0.5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--ours", nargs="+", choices=list(OURS), default=list(OURS), help="our criteria")
    parser.add_argument("--theirs", nargs="*", choices=list(THEIRS), default=list(THEIRS), help="Torch-Pruning's criteria")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    missed: list[str] = []
    trained: list[Row] = []
    for name in options.models:
        started, one = time.perf_counter(), task(name)
        whole = one.score(one.program)
        found = [*_ours(one, options), *_theirs(one, options)]
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in whole.items())
        report(f"{name}: {shown} as it was; {time.perf_counter() - started:.0f} s", _table(one, found, options.shares))
        missed.extend(_missed(one, found, whole, options.shares))
        if one.labelled is not None and options.seeds:
            trained.extend(_recovered(one, found, options))
    if trained:
        report(f"{options.steps} steps of training, {options.seeds} seeds: mean, least and most", trained)
    for line in missed:
        print(f"missed: {line}")
    if options.check and missed:
        raise SystemExit(1)


# ---- ours ----------------------------------------------------------------------------------------------------------


def _ours(one: Task, options: argparse.Namespace) -> Iterator[Result]:
    normed = any(True for _ in one.program.nodes("BatchNormalization"))
    criteria: list[str] = options.ours
    for criterion in criteria:
        unlabelled = one.labelled is None and "training" in criterion_needs(criterion)
        if unlabelled or (criterion == "bn_scale" and not normed) or (criterion not in TEXT if one.is_text else criterion == "qkv"):
            continue
        for ranking in OURS[criterion][: 1 if one.is_text else None]:
            for share in options.shares:
                yield _prune(one, criterion, ranking, share, options.threads)


def _prune(one: Task, criterion: str, ranking: str, share: float, threads: int) -> Result:
    context = _context(one, threads)
    chosen = Prune(budget={"macs": share}, importance=criterion, global_ranking=ranking == "all", round_to=1, compensate=False)
    plain = run(one.program, [chosen], context)
    again = replace(context, plans={"prune": plain.plans[0]})
    made_up = run(one.program, [Prune(compensate=True)], again).program
    metrics, won = one.score(plain.program), one.score(made_up)
    best = made_up if won[one.metrics[0]] >= metrics[one.metrics[0]] else plain.program
    return Result("netwright", criterion, ranking, share, _left(one, best), metrics, won, best)


def _context(one: Task, threads: int) -> Context:
    training = None if one.labelled is None else TrainingData(one.labelled(), one.program, batch_size=64)
    return Context(
        calibration=one.feeds(),
        training=training,
        loss="cross_entropy",
        original=one.program,
        executor=OrtExecutor(threads=threads),
        gradients=TorchGradients(threads=threads),
        dims=DIMS,
        threads=threads,
    )


def _left(one: Task, program: Program) -> float:
    return (size_of(program, DIMS).macs or 0) / (size_of(one.program, DIMS).macs or 1)


# ---- theirs --------------------------------------------------------------------------------------------------------


def _theirs(one: Task, options: argparse.Namespace) -> Iterator[Result]:
    module = one.module()
    normed = any(isinstance(layer, _BatchNorm) for layer in module.modules())
    criteria: list[Criterion] = options.theirs
    for criterion in criteria:
        unlabelled = one.labelled is None and criterion in ("taylor", "hessian")
        if unlabelled or (criterion == "bn_scale" and not normed) or (one.is_text and criterion not in TEXT):
            continue
        for ranking in THEIRS[criterion][: 1 if one.is_text else None]:
            for share in options.shares:
                pruned = _at_share(one, module, criterion, ranking, share)
                metrics, estimated = one.score_module(pruned), None
                if normed:
                    anew = _estimated(one, copy.deepcopy(pruned))
                    estimated = one.score_module(anew)
                    pruned = anew if estimated[one.metrics[0]] >= metrics[one.metrics[0]] else pruned
                program = one.traced(pruned)
                yield Result("Torch-Pruning", criterion, ranking, share, _left(one, program), metrics, estimated, program)


def _at_share(one: Task, module: nn.Module, criterion: Criterion, ranking: str, share: float) -> nn.Module:
    """Pruned by the ratio that leaves the share, found by bisection; what a norm averages over stays, as with ours."""
    learn = _learner(one, criterion)

    def pruned(ratio: float) -> nn.Module:
        def ratios(module: nn.Module) -> Mapping[nn.Module, float]:
            return dict.fromkeys(one.layers(module) if one.layers is not None else (), ratio)

        some = ratios if one.layers is not None else None
        everywhere = ranking == "all"
        return prune(module, one.example, ratio=ratio, criterion=criterion, global_pruning=everywhere, ratios=some, learn=learn)

    whole = multiplications(module, one.example)
    low, high = 0.0, 0.95
    best: tuple[float, nn.Module] | None = None
    for _ in range(8):
        middle = (low + high) / 2
        made = pruned(middle)
        left = multiplications(made, one.example) / whole
        if best is None or abs(left - share) < abs(best[0] - share):
            best = left, made
        low, high = (middle, high) if left > share else (low, middle)
    assert best is not None, "there are rounds"
    return best[1]


def _learner(one: Task, criterion: Criterion) -> Callable[[nn.Module, Learner], None] | None:
    """Leaves gradients as the library's examples do: of a mean loss for Taylor, of one row after the other for Hessian."""
    if one.labelled is None or criterion not in ("taylor", "hessian"):
        return None
    rows = one.labelled()
    order = np.random.default_rng(0).permutation(len(rows["labels"]))
    count = LEARNT_ROWS if criterion == "taylor" else HESSIAN_ROWS
    labels = torch.from_numpy(rows["labels"][order[:count]])
    inputs = {name: torch.from_numpy(array[order[:count]]) for name, array in rows.items() if name != "labels"}

    def learn(module: nn.Module, importance: Learner) -> None:
        losses = F.cross_entropy(module(**inputs), labels, reduction="mean" if criterion == "taylor" else "none")
        if criterion == "taylor":
            losses.backward()
            return
        importance.zero_grad()
        for loss in losses:
            module.zero_grad()
            loss.backward(retain_graph=True)
            importance.accumulate_grad(module)

    return learn


def _estimated(one: Task, module: nn.Module) -> nn.Module:
    """Batch norms with statistics of the calibration inputs as they come through the pruned network."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
    with torch.no_grad():
        for feeds in one.feeds():
            module(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    return module.eval()


# ---- tables --------------------------------------------------------------------------------------------------------


def _table(one: Task, found: Sequence[Result], shares: Sequence[float]) -> list[Row]:
    rows: dict[tuple[str, str, str], Row] = {}
    for result in found:
        key = (result.pruner, result.criterion, result.ranking)
        row = rows.setdefault(key, {"pruner": key[0], "criterion": key[1], "ranked in": key[2]})
        for metric in one.metrics:
            named = f"{metric} " if len(one.metrics) > 1 else ""
            row[f"{result.share:.2f}: {named}as pruned"] = round(result.pruned[metric], 4)
            row[f"{result.share:.2f}: {named}made up for"] = None if result.made_up is None else round(result.made_up[metric], 4)
        row[f"{result.share:.2f}: MACs left"] = round(result.left, 3)
    return list(rows.values())


def _score(one: Task, result: Result) -> float:
    """The metric that counts, after all that is done without labels."""
    metric = one.metrics[0]
    return max(result.pruned[metric], (result.made_up or result.pruned)[metric])


def _best(one: Task, found: Sequence[Result], pruner: str, share: float) -> Result | None:
    own = [result for result in found if (result.pruner, result.share) == (pruner, share)]
    return max(own, key=lambda result: _score(one, result)) if own else None


def _missed(one: Task, found: Sequence[Result], whole: Mapping[str, float], shares: Sequence[float]) -> Iterator[str]:
    """Where a target is missed, as sentences."""
    metric, point = one.metrics[0], one.model.point
    for result in found:
        drop = whole[metric] - result.pruned[metric]
        default = (result.pruner, result.criterion, result.ranking) == ("netwright", "l2", "groups")
        if not default or result.share != max(shares) or result.made_up is None or drop < point:
            continue
        won = result.made_up[metric] - result.pruned[metric]
        if won < drop / 2:
            yield f"{one.model.name}: {won:.4f} of {drop:.4f} won back at {result.share}"
    for share in shares:
        ours, theirs = (_best(one, found, pruner, share) for pruner in ("netwright", "Torch-Pruning"))
        if ours is not None and theirs is not None and _score(one, ours) < min(_score(one, theirs), whole[metric]):
            both = (f"{_score(one, result):.4f} by {result.criterion}" for result in (ours, theirs))
            yield f"{one.model.name} at {share}: ours {', theirs '.join(both)}"


def _recovered(one: Task, found: Sequence[Result], options: argparse.Namespace) -> Iterator[Row]:
    """Training of the best of both at the smallest share."""
    assert one.labelled is not None, "asked for with labels only"
    for pruner in ("netwright", "Torch-Pruning"):
        best = _best(one, found, pruner, min(options.shares))
        if best is None:
            continue
        scores = [_trained(one, best.program, seed, options) for seed in range(options.seeds)]
        row: dict[str, Cell] = {"model": one.model.name, "pruner": pruner, "criterion": best.criterion, "MACs left": round(best.left, 3)}
        row["before"] = round(_score(one, best), 4)
        row |= {"after": round(statistics.mean(scores), 4), "least": round(min(scores), 4), "most": round(max(scores), 4)}
        yield row


def _trained(one: Task, program: Program, seed: int, options: argparse.Namespace) -> float:
    trained = nw.train(
        program,
        one.batches(options.steps, seed),
        loss="cross_entropy",
        steps=options.steps,
        lr=options.lr,
        seed=seed,
        threads=options.threads,
        train_norms=True,
    )
    return one.score(trained)[one.metrics[0]]


if __name__ == "__main__":
    main()
