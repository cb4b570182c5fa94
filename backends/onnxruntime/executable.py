"""A program that ONNX Runtime has loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from netwright.backends.onnxruntime.binding import Session
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.ir.program import Program
from netwright.ir.signature import Port, fit_feeds
from netwright.ir.storage import write_model


class Executable:
    """What lowering to ONNX Runtime gives: runs, and can be written as an `.onnx` file.

    Attributes:
        program: the program as it was lowered: netwright's functions inlined, Dropout taken out.
        options: how it runs.
        inputs: what `run` takes.
        outputs: what `run` gives, in the program's order.
    """

    def __init__(
        self, program: Program, session: Session, options: SessionOptions, inputs: tuple[Port, ...], outputs: tuple[Port, ...]
    ) -> None:
        self.program = program
        self.options = options
        self.inputs = inputs
        self.outputs = outputs
        self._session = session
        self._names = [port.name for port in outputs]

    def run(self, feeds: Mapping[str, object]) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            feeds: numpy arrays, torch tensors or nested lists by input name. Casts are made within a kind only (float64 to float32,
                int32 to int64).

        Returns:
            An array by output name, in the program's order; a sequence is an object array of its items.

        Raises:
            DataError: the feeds do not fit the inputs.
            RunError: an operator failed.
        """
        return self.bind(feeds)()

    def bind(self, feeds: Mapping[str, object]) -> Callable[[], dict[str, np.ndarray]]:
        """A run with its feeds already checked: what remains to be called is the session.

        Raises:
            DataError: the feeds do not fit the inputs.
        """
        fitted = fit_feeds(feeds, self.inputs)
        return lambda: self.run_fitted(fitted)

    def run_fitted(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on arrays that are known to fit: for small programs run very often, where looking at feeds takes longer than running.

        Args:
            feeds: an array of the input's own type and shape for every input.

        Raises:
            RunError: an operator failed, or ONNX Runtime found a feed that does not fit.
        """
        return self._session.run(feeds, self._names)

    def save(self, path: str | Path, *, external: bool | str | None = None) -> tuple[Path, ...]:
        """Write the lowered program as `.onnx`, beside its place and then renamed.

        Args:
            path: the file.
            external: True, or a file name, for weights in a file beside it; by default only what is over 2 GB.

        Returns:
            The files written, the model first.

        Raises:
            ModelFileError: a file cannot be written.
        """
        return write_model(self.program.model, path, external=external)
