"""Program → Executable."""

from __future__ import annotations

from dataclasses import replace

from netwright.backends.onnxruntime.executable import Executable
from netwright.backends.onnxruntime.options import SessionOptions
from netwright.backends.onnxruntime.prepare import prepare
from netwright.backends.onnxruntime.wire import load
from netwright.ir.program import Program
from netwright.ir.signature import input_ports, output_ports


def lower(program: Program, *, threads: int | None = None, options: SessionOptions | None = None) -> Executable:
    """Load a program into ONNX Runtime.

    Memory: about the size of the weights, once; those that lie in files are read from there, those in memory are not copied until
    a kernel packs them.

    Args:
        program: left as it is.
        threads: worker threads inside an operator; overrides the options'.
        options: the session's options.

    Raises:
        RunError: ONNX Runtime refuses the program; the node is named.
    """
    chosen = with_threads(options or SessionOptions(), threads)
    lowered = prepare(program)
    session = load(lowered.model, chosen)
    return Executable(lowered, session, chosen, input_ports(lowered), output_ports(lowered))


def with_threads(options: SessionOptions, threads: int | None) -> SessionOptions:
    """The options with another number of threads, where one is given."""
    return options if threads is None else replace(options, threads=threads)
