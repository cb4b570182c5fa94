"""Quantize one `.onnx` file with one peer: a script that needs nothing of this repository, so that it runs in the peers' own environment.

    python run_peer.py PEER VARIANT in.onnx out.onnx FOLDER

FOLDER holds the calibration data, one `.npz` a sample, arrays by input name. Exits with 1 and the error's type on the last line of stderr
where the peer fails.
"""
# pyright: basic, reportMissingImports=false, reportArgumentType=false

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Feeds = dict[str, np.ndarray]


def main() -> None:
    """Run the peer that is asked for."""
    peer, variant, source, target, folder = sys.argv[1:6]
    feeds = [dict(np.load(path)) for path in sorted(Path(folder).glob("*.npz"))]
    try:
        PEERS[peer](variant, Path(source), Path(target), feeds)
        _loads(Path(target))
    except Exception as error:
        sys.stderr.write(f"\n{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}\n")
        raise SystemExit(1) from error


def _loads(path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


class _Reader:
    """Calibration data as ONNX Runtime's quantizer and its descendants want it."""

    def __init__(self, feeds: list[Feeds]) -> None:
        self.feeds = feeds
        self.rest: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self.rest, None)

    def rewind(self) -> None:
        self.rest = iter(self.feeds)


def _prepared(source: Path, folder: str) -> Path:
    """ONNX Runtime's own preparation, and no stale shapes."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = Path(folder) / "prepared.onnx"
    quant_pre_process(os.fspath(source), os.fspath(path), skip_symbolic_shape=True)
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)
    return path


def _ort_dynamic(variant: str, source: Path, target: Path, feeds: list[Feeds]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del feeds
    weights, _, grain = variant.partition(" ")
    with tempfile.TemporaryDirectory() as folder:
        quantize_dynamic(
            _prepared(source, folder), target, per_channel=grain == "per channel", reduce_range=False, weight_type=QuantType[weights]
        )


def _ort_static(variant: str, source: Path, target: Path, feeds: list[Feeds]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    method, _, scope = variant.partition(" ")
    with tempfile.TemporaryDirectory() as folder:
        quantize_static(
            _prepared(source, folder),
            target,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
            op_types_to_quantize=["Conv", "MatMul", "Gemm"] if scope == "layers" else None,
        )


def _nncf(variant: str, source: Path, target: Path, feeds: list[Feeds]) -> None:
    import nncf
    import onnx

    model = onnx.load(source)
    made = nncf.quantize(
        model,
        nncf.Dataset(feeds),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(feeds),
        fast_bias_correction=variant != "accurate",
        model_type=nncf.ModelType.TRANSFORMER if variant == "transformer" else None,
    )
    onnx.save(made, target)


def _neural_compressor(variant: str, source: Path, target: Path, feeds: list[Feeds]) -> None:
    import onnx
    from onnx_neural_compressor.quantization import QuantType, config, quantize

    with tempfile.TemporaryDirectory() as folder:
        prepared, made = _prepared(source, folder), Path(folder) / "made.onnx"
        if variant == "dynamic":
            settings = config.DynamicQuantConfig(weight_type=QuantType.QInt8, per_channel=True)
        elif variant == "smooth":
            settings = config.SmoothQuantConfig(
                calibration_data_reader=_Reader(feeds), per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
            )
        else:
            settings = config.StaticQuantConfig(
                calibration_data_reader=_Reader(feeds), per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
            )
        quantize(os.fspath(prepared), os.fspath(made), settings)
        onnx.save(onnx.load(made), target)  # weights in the file again


def _onnxsim(variant: str, source: Path, target: Path, feeds: list[Feeds]) -> None:
    import onnx
    import onnxsim

    method, _, scope = variant.partition(" ")
    if method == "dynamic":
        made = onnxsim.quantize_dynamic_matmul_integer_to_float(os.fspath(source))
    elif method == "auto":
        made = onnxsim.quantize_auto(os.fspath(source), calibration_data=feeds)
    else:
        made = onnxsim.quantize_static(os.fspath(source), calibration_data=feeds, method=method, full_graph=scope == "whole")
    onnx.save(made, target)


PEERS: dict[str, Callable[[str, Path, Path, list[Feeds]], None]] = {
    "ORT dynamic": _ort_dynamic,
    "ORT static": _ort_static,
    "NNCF": _nncf,
    "neural-compressor": _neural_compressor,
    "onnxsim": _onnxsim,
}

if __name__ == "__main__":
    main()
