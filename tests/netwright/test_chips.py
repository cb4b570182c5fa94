"""Chips as targets: from the Python API and the command line to a `.nwcim` file that runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.backends.cim.arch import preset
from netwright.backends.cim.executable import CimExecutable
from netwright.backends.cim.lowering import complete
from netwright.backends.cim.target import CimTarget
from netwright.backends.onnxruntime import OrtExecutor, lower
from netwright.cli import main
from netwright.ir import Program
from netwright.ir.errors import NetwrightError
from netwright.passes import Context, Pipeline, run
from netwright.targets import CimBackend, backend_for
from tests.passes.programs import program_of

PIPELINE = "simplify(opset=20), quantize, fold"
TEXT = """<ir_version: 10, opset_import: ["" : 20]>
    net (float[N, 3, 8, 8] x, WEIGHTS) => (float[N, 5] y) {
        a = Conv <pads=[1, 1, 1, 1], strides=[2, 2]> (x, w)  b = Relu (a)  c = Flatten (b)  y = MatMul (c, v)
    }"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)).astype("f4"), "v": rng.normal(size=(128, 5)).astype("f4") / 8}
    path = tmp_path / "net.onnx"
    nw.save(program_of(TEXT, weights), path)
    return path


def feeds(rows: int, seed: int = 1) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).normal(size=(rows, 3, 8, 8)).astype("f4")}


def integers(model: Path) -> Program:
    context = Context(calibration=[feeds(16)], executor=OrtExecutor(), target=CimTarget(preset()))
    return run(nw.load(model), Pipeline.parse(PIPELINE), context).program


def test_a_chip_gives_what_its_integers_give(model: Path) -> None:
    result = nw.compile(model, PIPELINE, target="cim:generic-28nm", calibration=[feeds(16)])
    assert result.report.before.latency_ms is None
    assert result.report.after.latency_ms is not None
    assert np.array_equal(result.run(feeds(5))["y"], lower(integers(model)).run(feeds(5))["y"])
    assert {node.op_type for node in result.program.nodes(domain="netwright.cim")} >= {"Im2Col", "CrossbarMatMul"}


def test_the_lowered_graph_runs_anywhere(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    result = nw.compile(model, PIPELINE, target="cim", calibration=[feeds(16)], latency=False)
    path = tmp_path / "lowered.onnx"
    result.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(np.asarray(session.run(None, feeds(1))[0]), result.run(feeds(1))["y"])


def test_cost_follows_a_run(model: Path) -> None:
    executable = nw.compile(model, PIPELINE, target="cim", calibration=[feeds(16)], latency=False).executable
    assert isinstance(executable, CimExecutable)
    with pytest.raises(NetwrightError, match="Nothing has run yet"):
        executable.cost()
    executable.run(feeds(3))
    cost = executable.cost()
    assert cost.samples == 3
    assert cost.energy_pj > 0
    assert cost.crossbar_macs == 4 * 4 * 8 * 27 + 128 * 5


def test_energy_is_a_quantity_of_the_budget(model: Path) -> None:
    given = feeds(16)
    result = nw.compile(model, PIPELINE, target="cim", calibration=[given], budget={"energy_uj": 0.5}, latency=False)
    (limit,) = result.report.budget
    assert (limit.quantity, limit.limit) == ("energy_uj", 0.5)
    result.run(given)
    assert isinstance(result.executable, CimExecutable)
    assert limit.value == pytest.approx(result.executable.cost().energy_pj / 1e6)
    assert limit.met == (limit.value is not None and limit.value <= 0.5)
    assert result.report.to_dict()["after"]["energy_uj"] == limit.value  # pyright: ignore[reportIndexIssue]
    assert nw.compile(model, PIPELINE, target="cim", calibration=[given], latency=False).report.after.energy_uj is None

    without = nw.compile(model, "simplify", target="cim", budget={"energy_uj": 1e-9}, latency=False).report
    assert [limit.met for limit in without.budget] == [False]


def test_made_up_inputs_have_the_sizes_that_the_chip_gets(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
        net (float[N, length, 4] x, WEIGHTS) => (float[N, length, 5] y) { y = MatMul (x, w) }"""
    rng = np.random.default_rng(0)
    program = program_of(text, {"w": rng.normal(size=(4, 5)).astype("f4")})
    given = {"x": rng.normal(size=(2, 60, 4)).astype("f4")}
    result = nw.compile(program, PIPELINE, target="cim", calibration=[given], check=True, budget={"energy_uj": 10})
    assert result.report.dims == {"N": 1, "length": 60}
    assert [limit.met for limit in result.report.budget] == [True]
    assert result.run(given)["y"].shape == (2, 60, 5)

    without = nw.compile(program, "simplify", target="cim", check=True, dims={"length": 7}, budget={"energy_uj": 10})
    assert without.report.dims == {"N": 1, "length": 7}
    assert (without.executable.inputs[0].shape or ())[1:] == (7, 4)


def read(text: str, **weights: np.ndarray) -> Program:
    return program_of(f"""<ir_version: 10, opset_import: ["" : 20]>\n{text}""", weights)


W = np.random.default_rng(0).normal(size=(4, 5)).astype("f4")


def test_energy_is_told_where_data_and_result_differ_in_form() -> None:
    given = {"x": np.random.default_rng(1).normal(size=(3, 6, 4)).astype("f4")}
    both = read(
        "net (float[N, L, 4] x, WEIGHTS) => (float[N, L, 5] y, float m) { y = MatMul (x, w) m = ReduceMax <keepdims=0> (y) }",
        w=W,
    )
    for program, dims in (
        (both, None),
        (read("net (float[N, L, 4] x, WEIGHTS) => (float[N, L, 5] y) { y = MatMul (x, w) }", w=W), {"L": 9}),
    ):
        report = nw.compile(program, PIPELINE, target="cim", calibration=[given], budget={"energy_uj": 10}, dims=dims, latency=False).report
        assert [limit.met for limit in report.budget] == [True]


def test_sizes_that_a_chip_cannot_have_are_refused_before_any_pass() -> None:
    program = read("net (float[N, L, 4] x, WEIGHTS) => (float[N, L, 5] y) { y = MatMul (x, w) }", w=W)
    with pytest.raises(NetwrightError, match="dimension N cannot be 9 on a chip"):
        nw.compile(program, "quantize(scheme='static')", target="cim", dims={"N": 9})


@pytest.mark.parametrize("pipeline", ["", PIPELINE])
def test_a_sequence_is_not_taken_for_a_batch(pipeline: str) -> None:
    text = "net (float[rows, 4] x, WEIGHTS) => (float[rows, 5] y) { MIX y = MatMul (m, w) }"
    attention = "t = Transpose (x) s = MatMul (x, t) p = Softmax (s) m = MatMul (p, x)"
    mixing, apart = read(text.replace("MIX", attention), w=W), read(text.replace("MIX", "m = Relu (x)"), w=W)
    given = {"x": np.random.default_rng(1).normal(size=(16, 4)).astype("f4")}
    with pytest.raises(NetwrightError, match="rows is no batch: y comes out otherwise"):
        nw.compile(mixing, pipeline, target="cim", calibration=[given], latency=False)
    whole = nw.compile(mixing, pipeline, target="cim", calibration=[given], dims={"rows": 16}, latency=False)
    assert np.abs(whole.run(given)["y"] - lower(mixing).run(given)["y"]).max() < 0.1
    assert nw.compile(apart, pipeline, target="cim", calibration=[given], latency=False).run(given)["y"].shape == (16, 5)


def test_a_sequence_is_told_by_integers_too() -> None:
    text = "net (float[rows, 4] x) => (int64[rows] y) { t = Transpose (x) s = MatMul (x, t) y = ArgMax <axis = 1, keepdims = 0> (s) }"
    with pytest.raises(NetwrightError, match="rows is no batch: y comes out otherwise"):
        nw.compile(read(text), "", target="cim", latency=False)


def test_the_batch_is_found_by_its_name_on_any_axis() -> None:
    program = read("net (float[length, batch, 4] x, WEIGHTS) => (float[length, batch, 5] y) { y = MatMul (x, w) }", w=W)
    given = {"x": np.random.default_rng(1).normal(size=(7, 3, 4)).astype("f4")}
    result = nw.compile(program, PIPELINE, target="cim", calibration=[given], latency=False)
    assert result.report.dims == {"length": 7, "batch": 1}
    assert np.abs(result.run(given)["y"] - lower(program).run(given)["y"]).max() < 0.1


def test_a_processor_does_not_tell_energy(model: Path) -> None:
    with pytest.raises(NetwrightError, match="does not tell energy"):
        nw.compile(model, "simplify", budget={"energy_uj": 1.0})


def test_the_command_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", x=feeds(16)["x"])
    np.savez(tmp_path / "x.npz", x=feeds(3)["x"])
    out = tmp_path / "net.nwcim"
    given = [
        "compile",
        str(model),
        "-p",
        PIPELINE,
        "--calibration",
        str(tmp_path / "d.npz"),
        "--target",
        "cim:generic-28nm",
        "-o",
        str(out),
    ]
    assert _run([*given, "--json"]) == 0
    chip = json.loads(capsys.readouterr().out)["chip"]
    assert chip["name"] == "generic-28nm"
    assert chip["matrices"] == 2
    assert chip["notes"] == []
    assert _run(["run", str(out), "-i", str(tmp_path / "x.npz"), "-o", str(tmp_path / "y.npz"), "--stats", "--json"]) == 0
    json.loads(capsys.readouterr().out)
    with np.load(tmp_path / "y.npz") as made:
        expected = nw.compile(model, PIPELINE, target="cim:generic-28nm", calibration=str(tmp_path / "d.npz"), latency=False).run(feeds(3))
        np.testing.assert_array_equal(made["y"], expected["y"])
    assert _run(["cim", "disasm", str(out)]) == 0
    assert "mvm" in capsys.readouterr().out


def _run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("target", ["cim:nope", "cim:isaac,copies=3", "cim:isaac,pipeline=maybe", "tpu"])
def test_unknown_targets_say_what_there_is(target: str) -> None:
    with pytest.raises(NetwrightError) as raised:
        backend_for(target)
    assert raised.value.remedy


def test_targets_have_settings() -> None:
    backend = backend_for("cim:isaac,duplicate=off,pipeline=off")
    assert isinstance(backend, CimBackend)
    assert backend.arch.name == "isaac"
    assert not backend.options.duplicate
    assert not backend.options.pipeline


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("simplify, quantize", "simplify, quantize, bind, crossbars, channels_last"),
        ("quantize, disable_cells", "quantize, bind, crossbars, channels_last, disable_cells"),
        ("quantize, crossbars(grouped='vector'), resequence", "quantize, bind, crossbars(grouped='vector'), channels_last, resequence"),
        ("", "bind, crossbars, channels_last"),
    ],
)
def test_a_chips_passes_stand_where_they_belong(text: str, whole: str) -> None:
    assert str(Pipeline(complete(Pipeline.parse(text).passes))) == whole
