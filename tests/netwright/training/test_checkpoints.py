"""Checkpoints: all there or not there, and damage is told from a difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netwright.training.checkpoints import CheckpointFolder, Snapshot
from netwright.training.errors import CheckpointError
from netwright.training.trees import put_together, take_apart


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"epoch": step // 4, "losses": [0.5, float("inf")]}, {"module": {"w": torch.full((3,), float(step))}, "best": {}})


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    """With checkpoints of steps 4 and 8."""
    made = CheckpointFolder(tmp_path / "checkpoints")
    for step in (2, 4, 8):
        made.save(snapshot(step))
    return made


def test_what_was_saved_last_comes_back(folder: CheckpointFolder) -> None:
    found = folder.load()
    assert found is not None
    assert (found.step, found.facts) == (8, {"epoch": 2, "losses": [0.5, float("inf")]})
    assert torch.equal(found.tensors["module"]["w"], torch.full((3,), 8.0))
    assert found.tensors["best"] == {}


def test_the_last_ones_are_kept(folder: CheckpointFolder) -> None:
    assert folder.steps() == [4, 8]
    assert sorted(one.name for one in folder.path.iterdir()) == ["step-00000004", "step-00000008"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path).load() is None


def test_a_checkpoint_of_the_same_step_is_replaced(folder: CheckpointFolder) -> None:
    folder.save(Snapshot(8, {"epoch": 9}, {}))
    found = folder.load()
    assert found is not None
    assert found.facts == {"epoch": 9}


def test_a_half_written_one_is_never_taken_up_and_goes(folder: CheckpointFolder) -> None:
    unfinished = folder.path / ".unfinished-step-00000012-77"
    shutil.copytree(folder.path / "step-00000008", unfinished)
    (unfinished / "state.json").unlink()
    found = folder.load()
    assert found is not None
    assert found.step == 8
    folder.clear_unfinished()
    assert not unfinished.exists()


def test_one_that_was_about_to_be_replaced_comes_back(folder: CheckpointFolder) -> None:
    (folder.path / "step-00000008").rename(folder.path / ".replaced-step-00000008")
    folder.clear_unfinished()
    assert folder.steps() == [4, 8]


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a weight": lambda one: flip(one / "module.safetensors"),
    "a cut file": lambda one: (one / "module.safetensors").write_bytes(b"123"),
    "a lost file": lambda one: (one / "module.safetensors").unlink(),
    "no state": lambda one: (one / "state.json").unlink(),
    "half a state": lambda one: (one / "state.json").write_text((one / "state.json").read_text()[:40]),
    "an edited state": lambda one: (one / "state.json").write_text((one / "state.json").read_text().replace('epoch\\": 2', 'epoch\\": 3')),
    "another step": lambda one: (one / "state.json").write_text(json.dumps({**json.loads((one / "state.json").read_text()), "step": 7})),
    "no object": lambda one: (one / "state.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_refused_by_name_with_the_one_before_as_remedy(folder: CheckpointFolder, damage: str) -> None:
    before = (folder.path / "step-00000008" / "state.json").read_text()
    DAMAGE[damage](folder.path / "step-00000008")
    assert damage != "an edited state" or (folder.path / "step-00000008" / "state.json").read_text() != before
    with pytest.raises(CheckpointError, match=r"step-00000008 is damaged.*Remove this folder to go on from step-00000004") as raised:
        folder.load()
    assert raised.value.place == str(folder.path / "step-00000008")
    shutil.rmtree(folder.path / "step-00000008")
    found = folder.load()
    assert found is not None
    assert found.step == 4


def test_the_only_one_damaged_means_starting_anew(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(snapshot(1))
    flip(tmp_path / "step-00000001" / "module.safetensors")
    with pytest.raises(CheckpointError, match="start anew"):
        folder.load()


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    folder = CheckpointFolder(tmp_path)
    folder.save(Snapshot(1, {}, {"module": {"a": whole, "b": whole[1:], "c": whole}}))
    found = folder.load()
    assert found is not None
    assert found.tensors["module"]["b"].tolist() == [1, 2, 3]
    assert found.tensors["module"]["c"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["AdamW", "SGD", "RMSprop", "Adagrad", "Adamax"])
def test_an_optimizers_state_goes_through_json_and_tensors(name: str) -> None:
    def trained() -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
        parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
        return parameters, getattr(torch.optim, name)([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.01}])

    def step(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, times: int) -> None:
        for _ in range(times):
            optimizer.zero_grad()
            sum(((one**2).sum() for one in parameters), torch.tensor(0.0)).backward()
            optimizer.step()

    (a, first), (b, second) = trained(), trained()
    step(a, first, 3)
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(take_apart(first.state_dict(), tensors))
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    for ours, theirs in zip(b, a, strict=True):
        ours.data.copy_(theirs.data)
    second.load_state_dict(put_together(json.loads(text), tensors))  # pyright: ignore[reportArgumentType]
    step(a, first, 2)
    step(b, second, 2)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(b, a, strict=True))


def test_a_state_that_json_and_tensors_cannot_hold_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"holds a object.*state.0.cache"):
        take_apart({"state": {0: {"cache": object()}}}, {})
