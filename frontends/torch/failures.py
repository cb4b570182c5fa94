"""Torch's failures in a few lines, with a hint."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch

from netwright.ir.errors import ExportError

_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"data-dependent|GuardOnDataDependentSymNode|Dynamic control flow",
        "forward branches on a tensor's values: use torch.where or torch.cond, or decide outside of the module.",
    ),
    (
        r"inferred a static shape|Constraints violated|conflicts between user-specified ranges",
        "Leave that dimension out of dynamic_shapes, or make forward accept any size there.",
    ),
    (
        r"ScriptModule|ScriptFunction|TorchScript",
        "Trace the nn.Module that it was scripted from, or export it to ONNX with torch.onnx itself.",
    ),
    (r"No ONNX function found|No decompositions registered", "Replace that operator in the module, or leave that part out of it."),
    (r"has no attribute 'name'", "Let forward return tensors only."),
    (r"graph break|torch\._dynamo|Unsupported", "Take what torch.export cannot follow out of forward."),
)
_DEFAULT_HINT = "Check that the module runs on the example inputs, and that torch.export.export(module, args) succeeds."

_NOISE = re.compile(
    r"^(For |If you suspect|Caused by|\(Refer|The error above|The following call|consider using|File \"|Developer debug|Explanation:|Hint:|"
    r"from user code|Set TORCH|See the stack)"
)
_TAIL = re.compile(
    r"\s*(For more information about this error, see:.*|See the stack trace for more information\.|\(Size-like symbols: none\))", re.S
)
_ANSI = re.compile(r"\x1b\[\d+m")
_LINES, _WIDTH = 4, 240
_TORCH = Path(torch.__file__).parent
_OWN = Path(__file__).parent
_EXPORTERS = ("onnxscript", "onnx_ir", "importlib", "contextlib.py")


def explained(error: Exception, what: str) -> ExportError:
    """The `ExportError` for what torch raised.

    Args:
        error: as torch.onnx raised it; its chain of causes leads to the reason.
        what: the module's class.
    """
    chain = _chain(error)
    text = "\n".join(f"{type(link).__name__}: {link}" for link in chain)
    hint = next((remedy for pattern, remedy in _HINTS if re.search(pattern, text)), _DEFAULT_HINT)
    suggested = re.search(r"Suggested fixes:\s*\n((?:\s+\S.*\n?)+)", text)
    if suggested:
        hint = f"{hint} torch suggests: {'; '.join(line.strip() for line in suggested[1].splitlines() if line.strip())}."
    return ExportError(f"torch cannot export {what}: {_reason(chain)}", place=_user_line(chain) or what, remedy=hint)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, outermost first."""
    links = [error]
    while links[-1].__cause__ is not None:
        links.append(links[-1].__cause__)
    return links


def _reason(chain: list[BaseException]) -> str:
    """First meaningful lines of the innermost error, preceded by the operator that was being translated, where it says so."""
    innermost = chain[-1]
    text = _TAIL.sub("", _ANSI.sub("", str(innermost)))
    text = text.split("Suggested fixes:")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.match(line.strip())]
    shown = "; ".join(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines[:_LINES]) or type(innermost).__name__
    kind = type(innermost).__name__
    plain = isinstance(innermost, torch.onnx.errors.OnnxExporterError)
    return (shown if plain else f"{kind}: {shown}").rstrip(".") + "."


def _user_line(chain: list[BaseException]) -> str:
    """`file:line` of the innermost frame outside of torch and netwright, empty where there is none."""
    for link in reversed(chain):
        for frame in reversed(traceback.extract_tb(link.__traceback__)):
            if _is_users(frame.filename):
                return f"{frame.filename}:{frame.lineno}"
    return ""


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename)
    return not (
        path.is_relative_to(_TORCH) or path.resolve().is_relative_to(_OWN.resolve()) or any(part in _EXPORTERS for part in path.parts)
    )
