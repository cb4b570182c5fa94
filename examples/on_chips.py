"""One model on several compute-in-memory chips: what it gives, what it costs, and which layer costs most.

python examples/on_chips.py MODEL.onnx CALIBRATION.npz [CHIP ...]
"""

from __future__ import annotations

import sys

import numpy as np

import netwright as nw
from netwright.backends.cim.executable import CimExecutable
from netwright.data import as_batches

PIPELINE = "simplify(opset=20), quantize, fold"


def main(model: str, calibration: str, *chips: str) -> None:
    """Compile for each chip, run the calibration data's first batch, print a line for each."""
    program = nw.load(model)
    names = [value.name for value in program.inputs]
    batch = {name: array for name, array in next(iter(as_batches(calibration, program))).items() if name in names}
    original = nw.compile(program, "", latency=False).run(batch)
    for chip in chips or ("generic-28nm", "isaac", "dimc3-isscc23"):
        result = nw.compile(program, PIPELINE, target=f"cim:{chip}", calibration=calibration, latency=False)
        executable = result.executable
        assert isinstance(executable, CimExecutable)
        outputs = executable.run(batch)
        error = max(float(np.linalg.norm(outputs[name] - original[name]) / np.linalg.norm(original[name])) for name in original)
        cost = executable.cost()
        dearest = max(cost.layers, key=lambda layer: sum(cost.layers[layer].values()))
        print(
            f"{chip}: error {error:.3f}, {cost.energy_pj / 1e6:.3g} µJ and {cost.latency_ns / 1e3:.3g} µs a sample, "
            f"{cost.total_mm2:.3g} mm²; dearest layer: {dearest}"
        )
        for note in executable.chip.notes:
            print(f"  {note}")


if __name__ == "__main__":
    main(*sys.argv[1:])
