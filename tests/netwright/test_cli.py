"""The command line on a small model: outputs, JSON keys, exit codes, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import netwright as nw
from netwright.cli import main
from tests.passes.programs import attention, conv_net, feeds_for

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A saved model with something to simplify."""
    path = tmp_path / "model.onnx"
    nw.save(attention(), path)
    return path


def test_compile_writes_the_model_and_reports_in_json(command: Command, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    code, text, _ = command("compile", model, "-p", "simplify, quantize(scheme='dynamic')", "-o", out, "--check", "--json")
    assert code == 0
    report = json.loads(text)
    assert {"before", "after", "passes", "seconds", "peak_rss_mb", "output"} <= set(report)
    assert {"nodes", "params", "macs", "bytes", "ops"} <= set(report["before"])
    assert [set(row) >= {"name", "seconds", "actions", "misses", "max_abs_error", "rel_error", "children"} for row in report["passes"]] == [
        True
    ] * 2
    assert report["passes"][0]["max_abs_error"] < 1e-5
    assert 0 < report["passes"][1]["rel_error"] < 0.1
    again = tmp_path / "again.onnx"
    nw.save(nw.load(model), again)
    assert report["before"]["bytes"] == again.stat().st_size
    assert report["after"]["bytes"] == out.stat().st_size < report["before"]["bytes"]
    assert report["before"]["ops"]["Identity"] == 1
    assert "Identity" not in report["after"]["ops"]
    assert report["before"]["params"] == 3 * 64 * 64 + 64 + 64 * 256 + 256 + 256 * 64 + 128
    assert report["output"] == str(out)


def test_misses_name_their_site_and_reason(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "conv.onnx"
    nw.save(conv_net(), path)
    code, text, _ = command("compile", path, "-p", "quantize(scheme='dynamic')", "-o", tmp_path / "o.onnx", "--json")
    assert code == 0
    misses = json.loads(text)["passes"][0]["misses"]
    assert any(miss["site"] == "c" and "Conv" in miss["reason"] for miss in misses)


def test_opt_and_compile_agree_and_opt_needs_no_session(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys, contextlib\nfrom netwright.cli import main\nwith contextlib.suppress(SystemExit):\n"
        f"    main(['opt', {str(model)!r}, '-p', 'simplify', '-o', {str(tmp_path / 'o.onnx')!r}, '--json'])\n"
        "assert 'onnxruntime' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["after"]["nodes"] < json.loads(done.stdout)["before"]["nodes"]


def test_opt_stops_after_an_action_and_prints_the_graph(command: Command, model: Path) -> None:
    code, text, _ = command("opt", model, "-p", "simplify", "--until", "0:simplify#1", "--print-after", "changed", "--stats", "--time")
    assert code == 0
    assert "--- after 0:simplify" in text
    assert "1 actions" in text


def test_run_writes_the_outputs(command: Command, model: Path, tmp_path: Path) -> None:
    feeds = feeds_for(nw.load(model))
    np.savez(tmp_path / "x.npz", allow_pickle=False, **feeds)
    code, text, _ = command("run", model, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--json")
    assert code == 0
    assert json.loads(text)["outputs"]["y"]["shape"] == [3, 3, 64]
    expected = nw.compile(model, "", latency=False).run(feeds)["y"]
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], expected, rtol=1e-5, atol=1e-6)


def test_bench_compares_models(command: Command, model: Path) -> None:
    code, text, _ = command("bench", model, model, "--seconds", "0.2", "--json")
    assert code == 0
    rows = json.loads(text)["models"]
    assert [set(row) >= {"path", "best_ms", "median_ms", "ratio_to_first"} for row in rows] == [True, True]
    assert rows[0]["ratio_to_first"] == 1


def test_diff_tells_structure_and_values(command: Command, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    command("opt", model, "-p", "simplify", "-o", out)
    code, text, _ = command("diff", model, out, "--json")
    assert code == 0
    found = json.loads(text)
    assert found["structure"]["ops"]["Identity"] == -1
    assert found["structure"]["nodes"]["added"] == []
    assert found["values"]["outputs"][0]["max_abs_error"] < 1e-5
    assert json.loads(command("diff", model, model, "--json")[1])["structure"]["identical"]


@pytest.mark.parametrize("by", ["layer", "op", "module"])
def test_inspect_tells_what_is_in_a_model(command: Command, model: Path, by: str) -> None:
    code, text, _ = command("inspect", model, "--by", by, "--json", "--shape", "N=2", "--shape", "T=5")
    assert code == 0
    data = json.loads(text)
    assert data["dims"] == {"N": 2, "T": 5}
    assert data["macs"] == 2 * 5 * (3 * 64 * 64 + 2 * 64 * 256) + 2 * 2 * 5 * 5 * 64
    assert sum(row["nodes"] for row in data["rows"]) == data["nodes"]
    assert sum(row["macs"] for row in data["rows"]) == data["macs"]
    assert command("inspect", model, "--by", by)[0] == 0


def test_inspect_tells_what_can_be_pruned(command: Command, model: Path) -> None:
    code, text, _ = command("inspect", model, "--by", "group", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(text)["rows"]}
    assert rows["h0"] == {
        "name": "h0",
        "module": "",
        "kind": "hidden",
        "units": 256,
        "removable": 256,
        "members": [
            {"weight": "w1", "axis": 1, "role": "out"},
            {"weight": "b1", "axis": 0, "role": "shift"},
            {"weight": "w2", "axis": 0, "role": "in"},
        ],
        "params_per_unit": 129.0,
        "macs_per_unit": 128.0 * 128,
        "frozen": "",
        "inexact": "",
    }
    assert (rows["o"]["frozen"], rows["o"]["removable"]) == ("%x is an input of the model", 0)
    code, text, _ = command("inspect", model, "--by", "group")
    assert code == 0
    assert "w1, b1, w2" in text
    assert "%x is an input of the model" in text
    assert "at default sizes" in " ".join(command("inspect", model, "--by", "group", "--shape", "T=5")[1].replace("┃", " ").split())


def test_prune_goes_through_the_command_line(command: Command, model: Path, tmp_path: Path) -> None:
    out, plans = tmp_path / "half.onnx", tmp_path / "plans"
    code, text, _ = command(
        "compile", model, "-p", "simplify, prune(ratio=0.5)", "-o", out, "--save-plans", plans, "--threads", 1, "--json"
    )
    assert code == 0
    report = json.loads(text)
    assert report["passes"][1]["actions"] == 2
    assert "128 of 256 hidden units" in report["passes"][1]["note"]
    assert report["after"]["params"] < 0.6 * report["before"]["params"]
    assert {miss["site"] for miss in report["passes"][1]["misses"]} == {"v", "o"}
    feeds = feeds_for(nw.load(model))
    assert nw.compile(out, "", latency=False).run(feeds)["y"].shape == (3, 3, 64)
    code, text, _ = command("opt", model, "-p", "simplify, prune(ratio=0.5)", "-o", tmp_path / "same.onnx", "--json")
    assert (tmp_path / "same.onnx").read_bytes() == out.read_bytes()
    code, text, _ = command(
        "compile", model, "-p", "simplify, prune", "--plan", plans / "1-prune.json", "-o", tmp_path / "again.onnx", "--json"
    )
    assert (code, (tmp_path / "again.onnx").read_bytes() == out.read_bytes()) == (0, True)


def test_prune_keeps_the_budget_of_the_command_line(command: Command, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.onnx"
    code, text, _ = command("compile", model, "-p", "prune", "-o", out, "--budget", "macs=0.7, latency_ms=1000", "--threads", 1, "--json")
    assert code == 0
    report = json.loads(text)
    assert report["budget"]["macs"] == {"limit": 0.7 * report["before"]["macs"], "value": report["after"]["macs"], "met": True}
    assert report["budget"]["latency_ms"]["met"]
    assert report["after"]["macs"] > 0.68 * report["before"]["macs"]


def test_calibration_data_from_a_file_compensates(command: Command, model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=(rng.normal(size=(64, 5, 8)) @ rng.normal(size=(8, 64))).astype(np.float32))
    pipeline = "prune(ratio=0.5, scope='hidden')"
    calibration = ("--calibration", tmp_path / "data.npz")
    code, text, _ = command("compile", model, "-p", pipeline, "-o", tmp_path / "o.onnx", *calibration, "--threads", 1, "--json")
    assert code == 0
    assert json.loads(text)["passes"][0]["actions"] == 2, "one for the group, one for what reads it"


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("prune", "prune needs budget"),
        ("prune(ratio=2)", "ratio is 2"),
        ("prune(ratios=0.5)", "Did you mean ratio?"),
        ("prune(ratio=0.5, importance='taylor')", "prune needs loss"),
        ("prune(budget={'params': 0.001})", "out of reach"),
        ("prune(plan='missing.json')", "cannot be read"),
    ],
)
def test_what_prune_cannot_do_is_one_paragraph(command: Command, model: Path, tmp_path: Path, pipeline: str, message: str) -> None:
    code, text, error = command("compile", model, "-p", pipeline, "-o", tmp_path / "o.onnx")
    assert (code, text) == (1, "")
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "o.onnx").exists()


def test_passes_lists_and_describes(command: Command) -> None:
    assert {"simplify", "quantize"} <= {row["name"] for row in json.loads(command("passes", "--json")[1])["passes"]}
    code, text, _ = command("passes", "quantize")
    assert code == 0
    assert "scheme" in text


def test_a_users_error_is_one_paragraph_and_exit_code_1(command: Command, model: Path, tmp_path: Path) -> None:
    code, text, error = command("compile", model, "-p", "simplfy", "-o", tmp_path / "o.onnx")
    assert (code, text) == (1, "")
    assert "Did you mean simplify" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("compile", "missing.onnx", "-p", "simplify", "-o", "o.onnx"), "ModelFileError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "no/such/folder/o.onnx"), "NetwrightError"),
        (("compile", "MODEL", "-p", "quantize(scheme='static')", "-o", "o.onnx"), None),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--target", "toaster"), "NetwrightError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--metric", "accuracy"), "DataError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--metric", "no.such:function"), "NetwrightError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--plan", "no-plan.json"), "PlanError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--shape", "nowhere=2x3"), "DataError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--budget", "beauty=3"), "NetwrightError"),
        (("compile", "MODEL", "-p", "simplify", "-o", "o.onnx", "--calibration", "no-such-folder"), "DataError"),
        (("run", "MODEL", "--input", "no.npz"), "DataError"),
        (("opt", "MODEL", "-p", "simplify", "--until", "7:simplify#1"), "NetwrightError"),
        (("opt", "--repro", "no-such-folder"), "ModelFileError"),
        (("passes", "nothing"), "PipelineError"),
    ],
)
def test_errors_are_json_with_kind_message_place_and_remedy(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], kind: str | None
) -> None:
    monkeypatch.chdir(model.parent)
    code, text, _ = command(*(str(model) if argument == "MODEL" else argument for argument in arguments), "--json")
    assert code == 1
    error = json.loads(text)["error"]
    assert set(error) == {"kind", "message", "place", "remedy"}
    assert kind is None or error["kind"] == kind
    assert not list(model.parent.glob("o.onnx*"))


@pytest.mark.parametrize(
    "arguments", [("compile",), ("bench",), ("nonsense",), ("opt", "-p", "simplify"), ("inspect", "x", "--by", "colour")]
)
def test_usage_errors_exit_with_2(command: Command, arguments: tuple[str, ...]) -> None:
    code, text, _ = command(*arguments, "--json")
    assert code == 2
    assert json.loads(text)["error"]["kind"] == "UsageError"


def test_a_budget_that_is_not_met_is_reported(command: Command, model: Path, tmp_path: Path) -> None:
    _, text, _ = command("compile", model, "-p", "simplify", "-o", tmp_path / "o.onnx", "--budget", "bytes=1kB, params=1M", "--json")
    budget = json.loads(text)["budget"]
    assert (budget["bytes"]["met"], budget["params"]["met"]) == (False, True)


def test_plans_are_saved_edited_and_carried_out(command: Command, model: Path, tmp_path: Path) -> None:
    out, plans = tmp_path / "o.onnx", tmp_path / "plans"
    arguments = ("compile", model, "-p", "quantize(scheme='dynamic')", "--json")
    command(*arguments, "-o", out, "--save-plans", plans)
    path = plans / "0-quantize.json"
    plan = json.loads(path.read_text())
    assert set(plan) == {"version", "pass", "fingerprint", "decisions"}
    _, first, _ = command(*arguments, "-o", tmp_path / "again.onnx", "--plan", path)
    assert (tmp_path / "again.onnx").read_bytes() == out.read_bytes()
    site = next(iter(plan["decisions"]))
    del plan["decisions"][site]
    path.write_text(json.dumps(plan))
    _, second, _ = command(*arguments, "-o", tmp_path / "fewer.onnx", "--plan", path)
    assert json.loads(second)["after"]["bytes"] > json.loads(first)["after"]["bytes"]


def test_a_report_page_is_written(command: Command, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    command("compile", model, "-p", "simplify", "-o", tmp_path / "o.onnx", "--report", page)
    assert "<!doctype html>" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o777 == (tmp_path / "o.onnx").stat().st_mode & 0o777


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nw.save(attention(), path)
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import os, signal, time\nimport netwright.ir.storage.writer as writer\nfrom netwright.cli import main\n"
        "replace = os.replace\n"
        "def interrupted(*paths):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\n    replace(*paths)\n"
        "os.replace = interrupted\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"main(['opt', {str(path)!r}, '-p', 'simplify', '-o', {str(out / 'o.onnx')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr.strip().endswith("interrupted")
    assert list(out.iterdir()) == []
