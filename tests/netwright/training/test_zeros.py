"""Zeros that are meant stay zero, whatever trains the rest; files and folding keep the mark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.ir.program import Program, array
from netwright.ir.zeros import with_kept_zeros, zeros_kept
from netwright.passes.quantize.integers import in_blocks
from netwright.training.zeros import KeptZeros
from tests.passes.programs import attention, feeds_for


def sparse_attention(*weights: str) -> Program:
    """The elements of these weights that are below 0.1 are zero, and meant to be."""
    program = attention()
    with program.edit() as editor:
        for name in weights:
            data = array(program.value(name))
            assert data is not None
            editor.set_constant(program.value(name), with_kept_zeros(np.where(np.abs(data) < 0.1, 0, data).astype(np.float32), name))
    return program


def zeros(program: Program) -> dict[str, np.ndarray]:
    found = {name: array(program.value(name)) for name in zeros_kept(program)}
    return {name: data == 0 for name, data in found.items() if data is not None}


def labelled(program: Program) -> list[dict[str, np.ndarray]]:
    feeds = [feeds_for(program, seed) for seed in range(4)]
    return [{**one, "labels_y": np.tanh(one["x"])} for one in feeds]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_training_changes_all_but_the_zeros(optimizer: str) -> None:
    program = sparse_attention("w1", "wq")
    before = zeros(program)
    assert all(0.1 < mask.mean() < 0.9 for mask in before.values())
    trained = nw.train(program, labelled(program), loss={"y": "mse"}, epochs=2, optimizer=optimizer, lr=1e-2, threads=1)
    after = zeros(trained)
    assert list(after) == ["wq", "w1"]
    for name, mask in before.items():
        assert np.array_equal(mask, after[name])
        new, old = array(trained.value(name)), array(program.value(name))
        assert new is not None
        assert old is not None
        assert (new != old)[~mask].mean() > 0.5
    again = nw.train(trained, labelled(program), loss={"y": "mse"}, steps=1, threads=1)
    assert all(np.array_equal(mask, zeros(again)[name]) for name, mask in before.items())


def test_zeros_that_nobody_meant_are_trained() -> None:
    program = attention()
    with program.edit() as editor:
        editor.set_constant(program.value("w2"), np.zeros((256, 64), np.float32))
    assert KeptZeros.of(nw.to_torch(program), program).stuck == ()
    trained = nw.train(program, labelled(program), loss={"y": "mse"}, epochs=2, lr=1e-2, threads=1)
    w2 = array(trained.value("w2"))
    assert w2 is not None
    assert np.count_nonzero(w2) > 0.5 * w2.size


def test_files_and_simplify_keep_the_mark(tmp_path: Path) -> None:
    program = sparse_attention("wq", "wk", "w1")
    nw.save(program, tmp_path / "m.onnx")
    again = nw.load(tmp_path / "m.onnx")
    nw.save(again, tmp_path / "n.onnx")
    again = nw.load(tmp_path / "n.onnx")
    assert zeros_kept(again) == ("wq", "wk", "w1")
    simplified = nw.compile(again, "simplify", latency=False).program
    assert not list(simplified.nodes("Div")), "the division by the root was folded into wq"
    masks = zeros(simplified)
    assert sorted(masks) == ["w1", "wk", "wq"]
    assert {name: mask.sum() for name, mask in masks.items()} == {name: mask.sum() for name, mask in zeros(program).items()}


def test_quantizing_maps_zero_to_zero() -> None:
    program = sparse_attention("wq", "w1")
    dynamic = nw.compile(program, "quantize(scheme='dynamic')", latency=False).program
    for name, mask in zeros(program).items():
        integers = array(dynamic.value(f"{name}.int8"))
        assert integers is not None
        assert (integers[mask] == 0).all()


@pytest.mark.parametrize(("bits", "symmetric"), [(8, False), (8, True), (4, False), (4, True)])
def test_blocks_of_integers_hold_zero_exactly(bits: int, symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0.3, 1, size=(8, 64)).astype(np.float32) * (rng.random((8, 64)) < 0.4)
    blocks = in_blocks(weight, bits=bits, block_size=32, symmetric=symmetric)
    values = blocks.values if bits == 8 else np.stack([blocks.values & 15, blocks.values >> 4], axis=-1).reshape(8, 2, 32)
    zero = np.full((8, 2), 2 ** (bits - 1)) if blocks.zero_point is None else blocks.zero_point
    if bits == 4 and blocks.zero_point is not None:
        zero = np.stack([zero & 15, zero >> 4], axis=-1).reshape(8, 2)
    assert (values == zero[..., None])[(weight == 0).reshape(8, 2, 32)].all()
