"""Outputs and parameter gradients of whole models: module → Program → GraphModule, against the module's own; beside onnx2torch.

    python -m benchmarks.torch_gradients [NAME ...] [--no-peer]

Each network, with random weights, is traced and lowered as it is, after `simplify` on a Program marked Trainable, after plain
`simplify` (where weights that were folded into others have no gradient of their own), and from an export at opset 18.
onnx2torch gets torch's default export at that opset, then the older exporter's; its parameters are found by their values.
Targets: outputs within 1e-5, gradients of all parameters within 1e-4 of the module's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._gradients import Difference, Gradients, difference, floats, loss, of_module, of_program, simplified
from benchmarks._networks import NETWORKS, Network
from benchmarks._onnx2torch import OLD, convert_any
from benchmarks.exports.export import quiet
from benchmarks.table import Row, report
from netwright.frontends.torch import trace
from netwright.ir.errors import NetwrightError


def rows(network: Network, *, peer: bool) -> Iterator[Row]:
    """What is measured of one network."""
    module, given = network.module(), network.example()
    expected = of_module(module, given)
    count = len(expected[1])
    try:
        program = trace(module, kwargs=given, dynamic_shapes=network.dynamic)
        old = trace(module, kwargs=given, dynamic_shapes=network.dynamic, opset=OLD)
    except NetwrightError as error:
        yield {"model": network.name, "through": "trace", "parameters": count, "fails": _line(error)}
        return
    versions = {
        "as traced": program,
        "simplify, Trainable": simplified(program, trainable=True),
        "simplify": simplified(program, trainable=False),
        f"opset {OLD}": old,
    }
    for label, version in versions.items():
        yield _row(network, label, count, lambda version=version: difference(expected, of_program(version, given)), NetwrightError)
    if peer:
        yield peer_row(network, module, given, expected)


def peer_row(network: Network, module: nn.Module, given: Mapping[str, Tensor], expected: tuple[list[Tensor], Gradients]) -> Row:
    """onnx2torch on the first form of the model that it converts and runs."""
    found: list[Difference] = []

    def measure() -> Difference:
        label = convert_any(module, given, lambda converted: found.append(difference(expected, _of_converted(converted, module, given))))
        labels.append(label)
        return found[-1]

    labels: list[str] = []
    row = _row(network, "onnx2torch", len(expected[1]), measure, Exception)
    return {**row, "through": ", ".join(["onnx2torch", *labels])}


def _of_converted(converted: nn.Module, module: nn.Module, given: Mapping[str, Tensor]) -> tuple[list[Tensor], Gradients]:
    """Outputs and gradients of onnx2torch's module; its parameters are known by their values."""
    converted.eval()
    outputs = floats(converted(*given.values()))
    loss(outputs).backward()
    made = [(parameter.detach().numpy(), parameter.grad.numpy()) for parameter in converted.parameters() if parameter.grad is not None]
    found: Gradients = {}
    for name, parameter in module.named_parameters():
        own = parameter.detach().numpy()
        gradients = (_same_way(own, values, gradient) for values, gradient in made)
        gradient = next((gradient for gradient in gradients if gradient is not None), None)
        if gradient is not None:
            found[name] = gradient
    return [output.detach() for output in outputs], found


def _same_way(own: np.ndarray, values: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
    """The gradient of a tensor that holds the parameter's values, or their transpose."""
    if own.shape == values.shape and np.array_equal(own, values):
        return gradient
    return gradient.T if own.ndim == 2 and own.T.shape == values.shape and np.array_equal(own.T, values) else None


def _row(network: Network, label: str, count: int, measure: Callable[[], Difference], failure: type[Exception]) -> Row:
    row: Row = {"model": network.name, "through": label, "parameters": count}
    try:
        with quiet():
            found = measure()
    except failure as error:
        return {**row, "fails": _line(error)}
    return {
        **row,
        "output error": found.output,
        "gradient error": found.gradient if found.compared else None,
        "compared": found.compared,
        "without": len(found.missing),
        "worst parameter": found.worst if found.gradient else "",
    }


def _line(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 140 else f"{text[:140]}…"


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETWORKS)}; all by default")
    parser.add_argument("--no-peer", action="store_true", help="netwright alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [row for name in options.names or NETWORKS for row in rows(NETWORKS[name], peer=not options.no_peer)]
    columns = ("model", "through", "parameters", "output error", "gradient error", "compared", "without", "worst parameter", "fails")
    report("outputs and parameter gradients against the module's own", found, columns=columns)


if __name__ == "__main__":
    main()
