"""A run as a snapshot, and back: weights, optimizer, counters, generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch

from netwright.training.checkpoints import Json, Snapshot
from netwright.training.processes import from_all_processes
from netwright.training.randomness import generator_states, set_generator_states
from netwright.training.run_state import RunState
from netwright.training.sharding import split_state, whole, whole_parameters
from netwright.training.trees import put_together, take_apart
from netwright.training.versions import versions

if TYPE_CHECKING:
    from accelerate import Accelerator


def snapshot(
    state: RunState, module: torch.nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator, identity: Mapping[str, Json]
) -> Snapshot:
    """Everything that a run is now; every process must ask at the same time.

    Args:
        state: counters.
        module: that is trained.
        optimizer: as it was made, not as accelerate wrapped it.
        accelerator: of the run.
        identity: what another run must have in common to go on from here.
    """
    tensors: dict[str, torch.Tensor] = {}
    scaler = cast("torch.amp.GradScaler | None", accelerator.scaler)
    facts: dict[str, Json] = {
        **state.facts(),
        "identity": identity,
        "optimizer": take_apart(optimizer.state_dict(), tensors),
        "scaler": None if scaler is None else take_apart(scaler.state_dict(), {}),
        "versions": versions(),
    }
    with whole_parameters(module):
        weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    generators = {
        f"{rank}.{name}": one for name, own in generator_states().items() for rank, one in enumerate(from_all_processes(own, accelerator))
    }
    files = {
        "module": weights,
        "optimizer": {name: whole(tensor) for name, tensor in tensors.items()},
        "generators": generators,
        "best": state.best_weights,
    }
    return Snapshot(state.step, facts, files)


def restore(saved: Snapshot, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> RunState:
    """Put optimizer and generators back into a snapshot's state; the module's weights are the caller's to load.

    Args:
        saved: of a run with the same identity.
        optimizer: over the same parameters, in the same order.
        accelerator: of this run.
    """
    state = cast("dict[str, object]", put_together(saved.facts["optimizer"], saved.tensors["optimizer"]))
    optimizer.load_state_dict(split_state(state, optimizer))
    if accelerator.scaler is not None and saved.facts["scaler"] is not None:
        accelerator.scaler.load_state_dict(cast("dict[str, object]", saved.facts["scaler"]))
    own = f"{accelerator.process_index}."
    generators = saved.tensors["generators"]
    set_generator_states({name.removeprefix(own): tensor for name, tensor in generators.items() if name.startswith(own)})
    return RunState.from_facts(saved.step, saved.facts, saved.tensors["best"])
