"""Any value of a program, computed by ONNX Runtime: what oracle checks, folding and comparison run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir

from netwright.backends.onnxruntime.cutout import cutout
from netwright.backends.onnxruntime.lower import with_threads
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.onnxruntime.prepare import inline_own, strip_dropout
from netwright.backends.onnxruntime.wire import load
from netwright.ir.program import Program
from netwright.ir.signature import Port, fit_feeds, input_ports

AS_WRITTEN = SessionOptions(level="basic", config={"session.disable_quant_qdq": "1"})
"""Rewrites that hold everywhere, and none of those by which ONNX Runtime quantizes float weights behind DequantizeLinear."""


class OrtExecutor:
    """Runs a program, or the part of it that the wanted values need.

    The graph runs as written: only rewrites that hold everywhere are allowed (level `basic`), so that a difference between two
    programs comes from the programs and not from what ONNX Runtime happened to fuse in either. Results repeat exactly for a
    given number of threads. The last session is kept, so that many batches, or many tries, load the program once.

    Args:
        threads: worker threads; one by default, for results that do not depend on the machine.
        options: other session options.
    """

    def __init__(self, *, threads: int | None = 1, options: SessionOptions | None = None) -> None:
        self._options = with_threads(options or AS_WRITTEN, threads)
        self._last: _Prepared | None = None

    def run(self, program: Program, feeds: Mapping[str, object], wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The wanted values, for one set of feeds.

        Args:
            program: left as it is.
            feeds: arrays by name: inputs, or inner values of the main graph, which then are not computed.
            wanted: names of any values of the main graph; the outputs where not given.

        Raises:
            DataError: an unknown value, or a missing or unfitting feed.
            RunError: ONNX Runtime refuses the program, or an operator failed.
        """
        names = tuple(value.name or "" for value in program.outputs) if wanted is None else tuple(wanted)
        if self._last is None or not self._last.serves(program, feeds, names):
            self.release()
            self._last = _Prepared(program, feeds, names, self._options)
        return self._last.run(feeds)

    def release(self) -> None:
        """Let go of the session that is kept for the next run, and of the program it was made of."""
        self._last = None


class _Prepared:
    """A session for one version of a program and one choice of given and wanted values."""

    def __init__(self, program: Program, feeds: Mapping[str, object], names: tuple[str, ...], options: SessionOptions) -> None:
        given = frozenset(feeds)
        self._key = (program.version, given, names)
        self._program = program
        self._names = names
        self._ports = _ports(program, given)
        fitted = fit_feeds(feeds, self._ports)
        self._computed = [name for name in dict.fromkeys(names) if name not in given]
        part = cutout(program, given, self._computed)
        _type_inner(part, program, fitted)
        inline_own(part.model)
        strip_dropout(part)
        self._inputs = {value.name for value in part.graph.inputs}
        self._session = load(part.model, options) if self._computed else None

    def serves(self, program: Program, feeds: Mapping[str, object], names: tuple[str, ...]) -> bool:
        """True when this is the session for such a run."""
        return self._program is program and self._key == (program.version, frozenset(feeds), names)

    def run(self, feeds: Mapping[str, object]) -> dict[str, np.ndarray]:
        fitted = fit_feeds(feeds, self._ports)
        found: dict[str, np.ndarray] = {}
        if self._session is not None:
            found = self._session.run({name: fitted[name] for name in fitted if name in self._inputs}, self._computed)
        return {name: found[name] if name in found else fitted[name] for name in self._names}


def _ports(program: Program, given: frozenset[str]) -> tuple[Port, ...]:
    """What may be fed: the inputs, checked against the signature, and those inner values that are given, as they come."""
    inputs = input_ports(program)
    known = {one.name for one in inputs}
    inner = [value.name or "" for node in program.graph for value in node.outputs]
    fed = (*program.graph.initializers, *inner)
    return (*(replace(one, required=False) for one in inputs), *(Port(name, None, None) for name in fed if name in given - known))


def _type_inner(part: Program, program: Program, fitted: Mapping[str, np.ndarray]) -> None:
    """Inner values that became inputs take the type that is fed: the graph need not know it, and may be wrong about the shape."""
    outer = {value.name for value in program.graph.inputs}
    for value in part.graph.inputs:
        if value.name not in outer:
            value.type = onnx_ir.TensorType(onnx_ir.DataType.from_numpy(fitted[value.name or ""].dtype))
            value.shape = None
