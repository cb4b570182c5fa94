"""ONNX Runtime's errors, shortened, with the node at fault and a remedy."""

from __future__ import annotations

import re
from pathlib import Path

from netwright.ir.errors import RunError

_LONGEST = 300
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : (?P<code>\w+) : (?P<rest>.*)$", re.DOTALL)
_SOURCE = re.compile(r"\S*onnxruntime\S*\.(?:cc|h):\d+\s+.*?\)\s(?:const\s)?(?:\[[^\]]*\]\s)?")
_NODE = (
    re.compile(r"[Nn]ode\.? Name:\s?'(?P<name>[^']+)'"),
    re.compile(r"node with name '(?P<name>[^']+)'"),
    re.compile(r"Node:? ?\((?P<name>[^()]+)\)"),
    re.compile(r"In Node, \(\"(?P<name>[^\"]+)\""),
    re.compile(r"[Nn]ode:\s?(?P<name>[^\s,]+)"),
)
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("is not a registered function/op", "ONNX Runtime does not know this operator; expand it into standard ones first."),
    ("No Op registered", "ONNX Runtime does not know this operator in this opset; expand it into standard ones first."),
    ("Could not find an implementation", "ONNX Runtime has no kernel for these element types; cast to float32 or int64 around the node."),
    ("only supports ONNX models up to", "Write the model with an older IR version or opset, or update onnxruntime."),
    ("is under development", "Use an older opset, or update onnxruntime."),
    ("Protobuf parsing failed", "The file is damaged, or no ONNX model."),
    ("protobuf parsing failed", "The file is damaged, or no ONNX model."),
    ("external data", "The weights' file has moved or changed since the model was loaded; load the model again."),
    ("External data", "The weights' file has moved or changed since the model was loaded; load the model again."),
    ("Failed to allocate memory", "Not enough memory: use smaller inputs."),
    ("bad allocation", "Not enough memory: use smaller inputs."),
    ("doesn't exist", "Check the path."),
    ("TypeInferenceError", "The graph gives this node element types that it does not take."),
    ("ShapeInferenceError", "The graph gives this node shapes that it does not take."),
    (
        "Type Error",
        "The graph declares a type that differs from what the node gives; load it with netwright.load, which drops stale types.",
    ),
)
_RUN_REMEDIES: tuple[tuple[str, str], ...] = (
    ("indices element out of data bounds", "An index lies outside of the table that it reads; check the integer inputs' range."),
    ("out of data bounds", "An index lies outside of the table that it reads; check the integer inputs' range."),
    ("cannot be reshaped", "The inputs' sizes do not fit this node: some graphs take only the sizes that they were exported with."),
    ("Attempting to broadcast", "The inputs' sizes do not agree with each other, or with those that the graph was exported with."),
    ("Invalid input name", "Check the inputs' names."),
    ("Failed to allocate memory", "Not enough memory: use smaller inputs."),
)


def explain_load(error: Exception, path: Path | None = None) -> RunError:
    """The error of a model that would not load."""
    text = str(error)
    place = _node(text) or (str(path) if path is not None else None)
    remedy = _remedy(text, _REMEDIES) or "Check that the model runs in plain onnxruntime."
    return RunError(f"ONNX Runtime could not load the model: {_shorten(text)}", place=place, remedy=remedy)


def explain_run(error: Exception) -> RunError:
    """The error of a run that failed."""
    text = str(error)
    remedy = _remedy(text, _RUN_REMEDIES) or "Check the inputs' sizes and values."
    return RunError(f"ONNX Runtime failed: {_shorten(text)}", place=_node(text), remedy=remedy)


def _node(text: str) -> str | None:
    for pattern in _NODE:
        found = pattern.search(text)
        if found is not None:
            return found.group("name")
    return None


def _remedy(text: str, table: tuple[tuple[str, str], ...]) -> str | None:
    return next((remedy for part, remedy in table if part in text), None)


def _shorten(text: str) -> str:
    matched = _PREFIX.match(text)
    rest = _SOURCE.sub("", matched.group("rest") if matched else text)
    line = " ".join(rest.split())
    if len(line) > _LONGEST:
        line = line[:_LONGEST].rsplit(" ", 1)[0] + " …"
    return line if line.endswith((".", "…")) else f"{line}."
