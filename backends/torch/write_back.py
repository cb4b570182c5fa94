"""What was trained, back into a Program, and into the module that it was traced from.

The program that the GraphModule was made from takes every tensor under its own name. A program that it descends from (the
one before some passes) takes what comes back through the value maps of the actions in between, and so does the traced
module, if asked. What has no way back is refused by name before anything is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import shorten

import numpy as np
import onnx_ir
import torch
from torch import fx, nn

from netwright.backends.torch.binding import Binding, Bound, binding_of
from netwright.backends.torch.carrying import integers
from netwright.backends.torch.dtypes import to_array, to_tensor
from netwright.backends.torch.steps import step_value
from netwright.ir.errors import NetwrightError
from netwright.ir.ledger import Ledger
from netwright.ir.lineage import Inverses, inverses, lineage
from netwright.ir.maps import Gone
from netwright.ir.program import Program


def write_back(program: Program, module: fx.GraphModule, into_module: bool = False) -> Program:
    """A program with a trained module's weights.

    Args:
        program: the program that the module was made from, or one that it descends from through passes; left as it is.
        module: made by `to_torch`.
        into_module: also set the parameters and buffers of the `nn.Module` that the program was traced from, in place.

    Returns:
        A clone of `program` with the trained values; tensors that did not change are shared.

    Raises:
        NetwrightError: the module was not made from this program or a descendant of it; or tensors have no way back: they are
            listed, each with the actions that it went through.
    """
    binding = binding_of(module)
    trained = arrays_of(module)
    ledger = _since(program.ledger, binding.ledger)
    learned = [
        bound.value for bound in binding.tensors.values() if bound.kind not in (("buffer", "step") if ledger.actions else ("buffer",))
    ]
    found = _brought_back(program, trained, learned, ledger)
    into = _module_tensors(program, binding, trained, learned) if into_module else {}
    with torch.no_grad():
        for target, values in into.items():
            target.copy_(to_tensor(values).reshape(target.shape).to(target.dtype))
    copy = program.clone()
    initializers = _initializers(copy)
    with copy.edit(by="") as editor:
        for name, values in found.items():
            held = initializers[name]
            if held.const_value is None or not _equal(held.const_value, values):
                editor.set_constant(held, values)
    return copy


def arrays_of(module: fx.GraphModule) -> dict[str, np.ndarray]:
    """Copies of the module's tensors as arrays of the program's types, by the names that they have there; integer weights as integers.

    Args:
        module: made by `to_torch`.
    """
    binding = binding_of(module)
    state = module.state_dict()
    by_value = {bound.value: state[key] for key, bound in binding.tensors.items() if key in state}
    found: dict[str, np.ndarray] = {}
    for key, bound in binding.tensors.items():
        if key not in state:
            raise NetwrightError(f"The module has lost the tensor {key}.", place=key, remedy="Give the module that to_torch returned.")
        tensor = _stepped(module, state[key], bound) if bound.kind == "step" else _plain(state[key], bound, by_value)
        found[bound.value] = to_array(tensor, binding.sources[bound.value]).copy()
    return found


def _plain(tensor: torch.Tensor, bound: Bound, by_value: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if bound.latent is None:
        return tensor
    latent = bound.latent
    scale = None if latent.scale is None else by_value[latent.scale]
    zero = None if latent.zero_point is None else by_value.get(latent.zero_point)
    return integers(tensor, latent, scale, zero)


def _stepped(module: fx.GraphModule, change: torch.Tensor, bound: Bound) -> torch.Tensor:
    """The step that a parameter stands for."""
    with torch.no_grad():
        return step_value(change, module.get_buffer(bound.first))


def _initializers(program: Program) -> dict[str, onnx_ir.Value]:
    """By name, those of subgraphs too; the main graph's first."""
    found: dict[str, onnx_ir.Value] = {}
    for value in program.initializers():
        found.setdefault(value.name or "", value)
    return found


def _since(older: Ledger, newer: Ledger) -> Ledger:
    """The record of what was done after the older program.

    Raises:
        NetwrightError: the newer program does not descend from the older one.
    """
    if older.shared(newer) < len(older.actions):
        raise NetwrightError(
            f"The GraphModule was not made from this program or a descendant: {len(older.actions)} actions made the program, "
            f"and the module's {len(newer.actions)} do not begin with them.",
            place="write_back",
            remedy="Give the program that to_torch took, or one from before later passes.",
        )
    return newer.since(len(older.actions))


def _brought_back(program: Program, trained: Mapping[str, np.ndarray], learned: Sequence[str], ledger: Ledger) -> dict[str, np.ndarray]:
    """Arrays for the program's initializers; `learned` names what was trained among those of the module."""
    graph = _initializers(program)
    if not ledger.actions:
        found = {name: array for name, array in trained.items() if _fits(graph.get(name), array)}
        foreign = [name for name in learned if name not in graph]
        if foreign:
            raise NetwrightError(
                f"The program has no {', '.join(f'%{name}' for name in foreign[:8])}, which the module trained.",
                place=foreign[0],
                remedy="Give the program that to_torch took.",
            )
        return found
    back = inverses(ledger, trained)
    wanted = [name for name in {*back.known, *back.refused} if name in graph]
    found = _inverted(wanted, trained, back, ledger)
    _require_all(graph, {name: trained[name] for name in learned}, found, ledger)
    return found


def _require_all(places: Collection[str], learned: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], ledger: Ledger) -> None:
    """Refuse what was trained but has no place to go, or is one of several copies that training drove apart.

    Args:
        places: names of the tensors that there were.
        learned: what was trained.
        found: what goes back.
        ledger: what was done in between.

    Raises:
        NetwrightError: with the names and the actions.
    """
    lost: list[str] = []
    for name, array in learned.items():
        origin = lineage(ledger, name)
        if not any(source in places for source in origin.sources):
            lost.append(f"%{name} stands for no tensor that there was before ({_actions_of(name, ledger)})")
        elif origin.map.arity == 1 and origin.map.inverse() is not None and origin.sources[0] in found:
            again = origin.map.apply(found[origin.sources[0]])
            if not np.allclose(_wide(again), _wide(array), rtol=1e-3, atol=1e-5):
                lost.append(f"%{name} is no longer what other copies of %{origin.sources[0]} are ({_actions_of(name, ledger)})")
    if not lost:
        return
    gone = {name: mapped.map for action in ledger.actions for name, mapped in action.maps.items() if isinstance(mapped.map, Gone)}
    lost.extend(f"%{name} was {value.describe()} ({_actions_of(name, ledger)})" for name, value in gone.items() if name in places)
    more = f"; and {len(lost) - 8} more" if len(lost) > 8 else ""
    raise NetwrightError(
        f"Not all that was trained has a way back: {'; '.join(lost[:8])}{more}.",
        place=lost[0].partition(" ")[0].removeprefix("%"),
        remedy="Write back into the program that to_torch took; or add 'Trainable' to its properties before the passes, "
        "which then keep every parameter within reach.",
    )


def _actions_of(name: str, ledger: Ledger) -> str:
    """The numbers of the actions that made a value or say what became of it."""
    numbers = [action.number for action in ledger.actions if name in action.maps]
    return ", ".join(numbers) or "which a pass made"


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def _module_tensors(
    program: Program, binding: Binding, trained: Mapping[str, np.ndarray], learned: Sequence[str]
) -> dict[torch.Tensor, np.ndarray]:
    """Values for the tensors of the traced module."""
    source = program.resources.get("torch.module")
    if not isinstance(source, nn.Module):
        raise NetwrightError(
            "This program was not traced from an nn.Module.", place="into_module", remedy="Leave into_module out, and save the program."
        )
    own: dict[str, torch.Tensor] = {**dict(source.named_buffers()), **dict(source.named_parameters())}
    back = inverses(binding.ledger, trained)
    wanted = [name for name in own if name in back.known or name in back.refused]
    arrays = _inverted(wanted, trained, back, binding.ledger)
    if binding.ledger.actions:
        _require_all({*own, *_initializers(program)}, {name: trained[name] for name in learned}, arrays, binding.ledger)
    return {own[name]: array for name, array in arrays.items()}


def _inverted(wanted: Sequence[str], trained: Mapping[str, np.ndarray], back: Inverses, ledger: Ledger) -> dict[str, np.ndarray]:
    refused = [name for name in wanted if name in back.refused]
    if refused:
        reasons = "; ".join(
            f"{shorten(back.refused[name], 160, placeholder=' …')} ({_actions_on(name, trained, ledger)})" for name in refused[:8]
        )
        more = f"; and {len(refused) - 8} more: {', '.join(refused[8:])}" if len(refused) > 8 else ""
        raise NetwrightError(
            f"{len(refused)} tensors have no way back: {reasons}{more}.",
            place=refused[0],
            remedy="Write back into the program that to_torch took, which has the new shapes.",
        )
    return {name: back.known[name].map.apply(*(trained[source] for source in back.known[name].sources)) for name in wanted}


def _actions_on(original: str, trained: Mapping[str, np.ndarray], ledger: Ledger) -> str:
    """The numbers of the actions between an original tensor and what it became."""
    names = [name for name in trained if original in lineage(ledger, name).sources]
    numbers = [action.number for action in ledger.actions if any(name in action.maps for name in names)]
    return ", ".join(numbers) or "by no recorded action"


def _fits(value: onnx_ir.Value | None, array: np.ndarray) -> bool:
    """True for an initializer that the program has.

    Raises:
        NetwrightError: the shapes differ.
    """
    if value is None or value.const_value is None:
        return False
    shape = tuple(value.const_value.shape.numpy())
    if shape != array.shape:
        raise NetwrightError(
            f"%{value.name} has shape {list(shape)} in the program and {list(array.shape)} in the module.",
            place=value.name,
            remedy="Give the program that to_torch took.",
        )
    return True


def _equal(tensor: onnx_ir.TensorProtocol, array: np.ndarray) -> bool:
    held = tensor.numpy()
    return held.dtype == array.dtype and held.shape == array.shape and held.tobytes() == np.ascontiguousarray(array).tobytes()
