"""A whole model, mapped in several ways: the same integers as ONNX Runtime's, from the file and from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.backends.cim.arch import resolve
from netwright.backends.cim.arch.model import Arch
from netwright.backends.cim.lowering import lower_graph
from netwright.backends.cim.mapping import build
from netwright.backends.cim.program import save
from netwright.backends.cim.program.file import from_bytes, to_bytes
from netwright.backends.cim.program.model import ChipProgram, Options
from netwright.backends.cim.simulator import Machine
from netwright.backends.onnxruntime import lower
from netwright.cli import main
from netwright.ir.program import Program
from netwright.passes.context import Context
from tests.backends.cim.program.chips import on_onnxruntime

MODEL = """<ir_version: 8, opset_import: ["" : 20]>
net (float[N, 3, 12, 12] x) => (float[N, 7] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, wa, ba)
    b = Relu(a)
    c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(b, wc)
    d = Add(b, c)
    e = Relu(d)
    f = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(e)
    g = Flatten(f)
    y = Gemm<transB = 1>(g, wy, by)
}"""


@pytest.fixture(scope="module")
def program() -> Program:
    import onnx
    import onnx.parser

    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(MODEL)
    shapes = {"wa": (20, 3, 3, 3), "ba": (20,), "wc": (20, 20, 3, 3), "wy": (7, 720), "by": (7,)}
    for name, shape in shapes.items():
        weight = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:], initial=1))).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    loaded = nw.load(model.SerializeToString())
    calibration = [{"x": feeds(8, seed)["x"]} for seed in (1, 2)]
    return nw.compile(loaded, "simplify, quantize(scheme='static'), fold", calibration=calibration, latency=False, threads=1).program


def feeds(samples: int, seed: int = 7) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((samples, 3, 12, 12)).astype(np.float32)}


def one_by_one(program: Program, samples: int) -> np.ndarray:
    """ONNX Runtime's result; its float product at the end may round otherwise for several samples at once."""
    executable, x = lower(program, threads=1), feeds(samples)["x"]
    return np.concatenate([executable.run({"x": x[n : n + 1]})["y"] for n in range(samples)])


def mapped(program: Program, arch: Arch, **options: bool) -> ChipProgram:
    return build(lower_graph(program, Context(), arch=arch).program, arch, Options(**options), name="net")


CHIP = resolve("generic-28nm")
SMALL = replace(CHIP, name="small", tile=replace(CHIP.tile, cores=1, arrays=4), network=replace(CHIP.network, columns=3, rows=2))


@pytest.mark.parametrize("arch", [CHIP, SMALL], ids=["generic", "small"])
@pytest.mark.parametrize("duplicate", [False, True])
@pytest.mark.parametrize("pipeline", [False, True])
def test_every_mapping_gives_the_integers_of_onnx_runtime(program: Program, arch: Arch, duplicate: bool, pipeline: bool):
    chip = mapped(program, arch, duplicate=duplicate, pipeline=pipeline)
    wanted = one_by_one(program, 3)
    for machine in (Machine(chip, on_onnxruntime), Machine(chip, on_onnxruntime, stepwise=True, chunk=2)):
        outputs, trace = machine.run(feeds(3))

        np.testing.assert_array_equal(outputs["y"], wanted)
        assert not any("one by one" in told for told in trace.fell_back)
        assert sum(one.mvm.macs for one in trace.activities.values() if one.mvm) == 3 * (144 * 27 * 20 + 144 * 180 * 20)


def test_lossy_converters_give_the_same_on_every_tiling(program: Program):
    assert CHIP.array.adc is not None
    converter = replace(CHIP.array.adc, bits=6)
    runs: list[np.ndarray] = []
    for arch in (CHIP, SMALL):
        lossy = replace(arch, array=replace(arch.array, adc=converter))
        for duplicate in (False, True):
            runs.append(Machine(mapped(program, lossy, duplicate=duplicate), on_onnxruntime).run(feeds(2))[0]["y"])
    assert all(np.array_equal(runs[0], other) for other in runs[1:])
    assert not np.array_equal(runs[0], one_by_one(program, 2))


def test_a_mapped_program_survives_its_file(program: Program):
    chip = mapped(program, SMALL)
    data = to_bytes(chip)

    assert to_bytes(from_bytes(data)) == data


def test_the_command_line_runs_and_lists_a_chips_program(program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = save(mapped(program, SMALL), tmp_path / "net.nwcim")
    np.savez(tmp_path / "x.npz", x=feeds(2)["x"])

    def called(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        return int(stopped.value.code or 0), capsys.readouterr().out

    code, out = called("run", str(path), "-i", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz"), "--stats", "--json")
    assert code == 0
    assert json.loads(out)["stats"]["samples"] == 2
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], one_by_one(program, 2))

    code, out = called("run", str(path), "-i", str(tmp_path / "x.npz"), "--stats", "--page", str(tmp_path / "chip.html"))
    assert code == 0
    assert "y" in out
    assert "<svg" in (tmp_path / "chip.html").read_text()

    code, out = called("cim", "disasm", str(path), "--data")
    assert code == 0
    assert " mvm unit=0 " in out
    (tmp_path / "net.txt").write_text(out)
    assert called("cim", "asm", str(tmp_path / "net.txt"), "-o", str(tmp_path / "again.nwcim"))[0] == 0
    assert (tmp_path / "again.nwcim").read_bytes() == path.read_bytes()

    path.write_bytes(path.read_bytes()[:-9])
    code, out = called("run", str(path), "-i", str(tmp_path / "x.npz"), "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (1, "ModelFileError")
