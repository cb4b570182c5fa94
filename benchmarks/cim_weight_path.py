"""The weight path: what resequencing frees on a chip, for a CNN pruned in several ways; two thresholds swept apart; a binary layer.

    python -m benchmarks.cim_weight_path [--chip generic-28nm] [--model train_small_cnn] [--steps N] [--quick] [--json FOLDER]

1. Arrays, rows and columns before and after `resequence`, on a lossless chip: outputs must be the same to the bit. Weights are pruned by
   magnitude to 80 and 95 % (elements anywhere), 2:4, by channel inputs within groups of outputs (block), and by whole channels left in
   place; trained again on the model's own data, zeros kept; then quantized. A table has the metric after each of these steps.
2. Accuracy, arrays' energy and what was done as the two thresholds change: that of `disable_cells` (inputs) and that of `resequence`.
3. A binary layer: ±1 inputs and weights on XNOR cells, one plane each, against the same layer as bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

import netwright as nw
from benchmarks._cim_models import PIPELINE, OnChip
from benchmarks._cim_pruned import PRUNERS, Pruned, pruned
from benchmarks.cim_sparsity import charge_arch
from benchmarks.finetune import RECIPES
from benchmarks.table import Row, report
from benchmarks.zoo import zoo
from netwright.backends.cim.arch import Arch, preset
from netwright.backends.cim.ops import coding_of
from netwright.backends.cim.sparsity import DisableCells, Resequence
from netwright.backends.cim.sparsity.resequence import array_size
from netwright.ir.program import Program, array


def main() -> None:
    """Prune, quantize, lower, resequence, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="generic-28nm")
    parser.add_argument("--model", default="train_small_cnn", choices=sorted(RECIPES))
    parser.add_argument("--steps", type=int, default=500, help="of training again, on batches of benchmarks.finetune")
    parser.add_argument("--quick", action="store_true", help="score on a part of the evaluation data")
    parser.add_argument("--json", type=Path, help="folder for the tables as JSON")
    options = parser.parse_args()
    folder: Path | None = options.json

    def where(name: str) -> Path | None:
        return None if folder is None else folder / f"cim_weight_path.{name}.json"

    arch = preset(options.chip)
    models = {how: pruned(options.model, keep, steps=options.steps, quick=options.quick) for how, keep in PRUNERS.items()}
    rows = [row for how, one in models.items() for row in freed(options.model, how, one.program, arch, quick=options.quick)]
    report(f"{options.model} on {arch.name}: resequenced, values compared", rows, path=where("arrays"))
    report(f"{options.model}: {zoo[options.model].primary} step by step", steps_of(models, rows), path=where("accuracy"))
    swept = thresholds(options.model, models["block 50 %"].program, quick=options.quick)
    report(f"{options.model}, block 50 %, on 288×256 charge-domain arrays, 5 bits: two thresholds", swept, path=where("thresholds"))
    report(f"A layer of 512 × 64 signs on {arch.name}", binary(arch), path=where("xnor"))


def freed(name: str, how: str, program: Program, arch: Arch, *, quick: bool) -> list[Row]:
    """A pruned model before and after."""
    before = OnChip.of(name, arch, program)
    after, outcome = before.with_pass(Resequence(threshold=0.3))
    feeds = {key: value for key, value in zoo[name].feeds(1, batch=8, seed=1)[0].items() if key in {v.name for v in program.inputs}}
    old, new = (one.outputs(feeds) for one in (before, after))
    same = all(np.array_equal(old[key], new[key]) for key in old)
    scores = [one.score(quick=quick) for one in (before, after)]
    sites = len(outcome.program.ledger.actions) - len(before.program.ledger.actions)
    rows: list[Row] = []
    for label, one, score in (("before", before, scores[0]), ("after", after, scores[1])):
        places, zeros = matrix_facts(one.program)
        rows.append(
            {
                "pruned": how,
                "": label,
                "zeros": zeros,
                "arrays": arrays(one.program, arch),
                "weights in arrays": places,
                "sites": sites if label == "after" else None,
                "same bits": same if label == "after" else None,
                "metric": round(score.metric, 4),
                "arrays µJ": score.total_pj / 1e6,
                "conversions": sum(counts.conversions for counts in score.counts.values()) // score.samples,
            }
        )
    return rows


def steps_of(models: Mapping[str, Pruned], rows: Sequence[Row]) -> list[Row]:
    """The metric before pruning, after it, after training again, as integers and on the chip, resequenced."""
    on_chip = {row["pruned"]: row["metric"] for row in rows if row[""] == "after"}
    return [
        {
            "pruned": how,
            "whole": round(one.whole, 4),
            "after pruning": round(one.damaged, 4),
            "trained again": round(one.trained, 4),
            "as integers": round(one.integers, 4),
            "on the chip": on_chip[how],
        }
        for how, one in models.items()
    ]


def arrays(program: Program, arch: Arch) -> int:
    """Arrays that one copy of all weights takes."""
    total = 0
    for node in program.nodes("CrossbarMatMul"):
        weight, coding = array(node.inputs[1]), coding_of(node)
        assert weight is not None, "weights of products on crossbars are constant"
        block, width = array_size(coding, arch)
        pair = 2 if coding.encoding == "differential" else 1
        total += -(-weight.shape[0] // block) * -(-weight.shape[1] // width) * pair
    return total


def matrix_facts(program: Program) -> tuple[int, float]:
    """Elements of all weights on crossbars, and the share of zeros among them."""
    weights = [array(node.inputs[1]) for node in program.nodes("CrossbarMatMul")]
    sizes = sum(weight.size for weight in weights if weight is not None)
    return sizes, sum(int((weight == 0).sum()) for weight in weights if weight is not None) / sizes


def thresholds(name: str, program: Program, *, quick: bool) -> list[Row]:
    """Both thresholds, each on its own."""
    arch = charge_arch(5)
    small = replace(arch, array=replace(arch.array, rows=288, active_rows=288))
    plain = OnChip.of(name, small, program)
    rows: list[Row] = []
    for weights in (0.3, 0.6):
        for inputs in (0.0, 0.5, 0.8, 1.0):
            one, first = plain.with_pass(Resequence(threshold=weights))
            one, second = one.with_pass(DisableCells(threshold=inputs))
            score = one.score(quick=quick)
            done = [sum(action.rule == rule for action in second.program.ledger.actions) for rule in ("resequence", "disable_cells")]
            del first
            rows.append(
                {
                    "θ weights": weights,
                    "θ inputs": inputs,
                    "resequenced": done[0],
                    "masked": done[1],
                    "arrays": arrays(one.program, small),
                    "metric": round(score.metric, 4),
                    "arrays µJ": score.total_pj / 1e6,
                }
            )
    return rows


def binary(arch: Arch) -> list[Row]:
    """One layer of signs as XNOR, and as bytes."""
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1, 1], np.float32), (512, 64))
    x = rng.standard_normal((64, 512)).astype(np.float32)
    program = nw.load(_signs(signs))
    rows: list[Row] = []
    for label, one in (("XNOR", program), ("bytes", _as_bytes(program, x))):
        chip = OnChip.of("", arch, one)
        executed = chip.execute({"x": x})
        energy = sum(chip.energy(executed.counts, executed.samples).values())
        exact = np.where(x >= 0, 1.0, -1.0) @ signs
        (node,) = chip.program.nodes("CrossbarMatMul")
        found = next(iter(executed.values.values())).reshape(exact.shape)
        rows.append(
            {
                "as": label,
                "encoding": coding_of(node).encoding,
                "arrays": arrays(chip.program, arch),
                "conversions a vector": sum(counts.conversions for counts in executed.counts.values()) // len(x),
                "nJ a vector": energy / 1e3,
                "largest error": float(np.abs(found - exact).max()),
            }
        )
    return rows


def _signs(weight: np.ndarray) -> onnx.ModelProto:
    """Sign of x by Where, times ±1."""
    import onnx.numpy_helper
    import onnx.parser

    rows, columns = weight.shape
    model = onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 20]>
    signs (float[batch, {rows}] x) => (float[batch, {columns}] y) {{
        c = GreaterOrEqual (x, zero)
        s = Where (c, plus, minus)
        y = MatMul (s, w)
    }}""")
    facts = {"zero": np.float32(0), "plus": np.float32(1), "minus": np.float32(-1), "w": weight}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in facts.items())
    return model


def _as_bytes(program: Program, x: np.ndarray) -> Program:
    """The same layer after static quantization."""
    return nw.compile(program, PIPELINE, calibration=[{"x": x}], latency=False, threads=1).program


if __name__ == "__main__":
    main()
