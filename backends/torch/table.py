"""The table of operators: what computes each ONNX operator on torch tensors.

An entry is a small function. Its positional parameters are the operator's inputs in ONNX's order (an optional one that is
absent arrives as None), its keyword-only parameters the attributes by name; a variadic input is `*args`. It returns a
tensor, or a tuple of them for an operator of several outputs. Besides attributes it may ask, by declaring the
keyword-only parameter, for:

- `device`: where tensors are to be made, for operators that make some out of nothing;
- `training`: the module's own flag, at run time;
- `wanted`: a tuple of booleans, which of the declared outputs somebody reads;
- `result`: the element type (`torch.dtype`) of its first output, where the graph says it, for operators whose inputs are all numbers;
- `opset`: the version of the operator's domain that the program uses;
- `carried`: whether its integer results are to be carried in floats. In a quantized program that is trained, integers are
  rounded floats, so that gradients pass straight through the rounding (Bengio et al., arXiv 1308.3432); an input named in
  `carries` may be such floats or true integers, and the entry computes the same of either.

An attribute that a node carries and its entry does not declare is an error at lowering unless it has its default value:
nothing is ignored in silence. Entries must trace under `torch.compile`: no `.item()`, no `try`, no values taken from data
in Python, except where the operator's result has a shape that depends on data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from netwright.ir.errors import NetwrightError

F = TypeVar("F", bound=Callable[..., object])

REQUESTS = frozenset({"device", "training", "wanted", "opset", "result", "carried"})
"""Keyword-only parameters that are no attributes."""


@dataclass(frozen=True, slots=True)
class OpEntry:
    """One operator from one version on.

    Attributes:
        op_type: such as `Softmax`.
        domain: empty for ONNX's own.
        since: the first version of the domain that it holds for; a later entry of the same operator ends its range.
        function: what computes it.
        inputs: names of its positional parameters, in order.
        variadic: whether more inputs may follow.
        attributes: names of the attributes that it takes.
        requests: what else it asks for (see `REQUESTS`).
        host: names of inputs that it takes as Python numbers or lists of them, not as tensors: shapes, axes, counts.
        dtypes: names of attributes that hold a code of an element type, which it takes as a `torch.dtype`.
        frozen: names of inputs that are settings rather than weights: never trained when constant.
        moves: names of inputs whose elements it only moves around: integers that are carried in floats come out carried.
        carries: names of inputs that may be integers carried in floats.
        numbers: names of inputs that it takes as a Python number where a constant of rank 0 gives one, else as a tensor.
    """

    op_type: str
    domain: str
    since: int
    function: Callable[..., object]
    inputs: tuple[str, ...]
    variadic: bool
    attributes: frozenset[str]
    requests: frozenset[str]
    host: frozenset[str] = field(default=frozenset())
    dtypes: frozenset[str] = field(default=frozenset())
    frozen: frozenset[str] = field(default=frozenset())
    moves: frozenset[str] = field(default=frozenset())
    carries: frozenset[str] = field(default=frozenset())
    numbers: frozenset[str] = field(default=frozenset())


TORCH_OPS: dict[tuple[str, str], list[OpEntry]] = {}
"""Entries by domain and operator, oldest version first. The modules of `netwright.backends.torch.ops` fill it; so may you."""


def torch_op(
    op_type: str,
    *,
    since: int = 1,
    domain: str = "",
    host: tuple[str, ...] = (),
    dtypes: tuple[str, ...] = (),
    frozen: tuple[str, ...] = (),
    moves: tuple[str, ...] = (),
    carries: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a function for an operator; a decorator. See the module's docstring for what the function looks like.

    A second registration of the same operator, domain and version replaces the first, so that a user can override an entry.

    Args:
        op_type: such as `Softmax`.
        since: the first version of the domain's operator set that it holds for.
        domain: empty for ONNX's own operators.
        host: inputs wanted as Python numbers.
        dtypes: attributes wanted as `torch.dtype`.
        frozen: inputs that are never trained.
        moves: inputs whose elements are only moved around.
        carries: inputs that may be integers carried in floats.
        numbers: inputs wanted as a Python number where a constant gives one.

    Raises:
        NetwrightError: a name in `host`, `frozen`, `moves`, `carries` or `numbers` is no input of the function, or one in `dtypes` no
            attribute.

    Example:
        >>> @torch_op("Swish", since=24)
        ... def swish(x, *, alpha=1.0):
        ...     return x * torch.sigmoid(alpha * x)
    """

    def register(function: F) -> F:
        names = (host, dtypes, frozen, moves, carries, numbers)
        marks = Marks(*map(frozenset, names))
        entry = _entry(op_type, domain, since, function, marks)
        entries = TORCH_OPS.setdefault((domain, op_type), [])
        entries[:] = sorted([*(one for one in entries if one.since != since), entry], key=lambda one: one.since)
        return function

    return register


@dataclass(frozen=True, slots=True)
class Marks:
    """What a registration says of a function's parameters."""

    host: frozenset[str] = frozenset()
    dtypes: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    moves: frozenset[str] = frozenset()
    carries: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()


def find_entry(op_type: str, domain: str, version: int, table: Mapping[tuple[str, str], list[OpEntry]] = TORCH_OPS) -> OpEntry | None:
    """The entry for an operator in a version of its domain, or None."""
    found = [entry for entry in table.get((domain, op_type), []) if entry.since <= version]
    return found[-1] if found else None


def _entry(op_type: str, domain: str, since: int, function: Callable[..., object], marks: Marks) -> OpEntry:
    inputs: list[str] = []
    keywords: list[str] = []
    variadic = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords.append(name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            variadic = True
            inputs.append(name)
        else:
            inputs.append(name)
    unknown = sorted((marks.host | marks.frozen | marks.moves | marks.carries | marks.numbers) - set(inputs)) + sorted(
        marks.dtypes - set(keywords)
    )
    if unknown:
        raise NetwrightError(
            f"{op_type}: {', '.join(unknown)} is no parameter of {function.__name__}.",
            place=f"torch_op({op_type!r})",
            remedy="Name positional parameters in host, frozen, moves and carries, keyword-only ones in dtypes.",
        )
    return OpEntry(
        op_type=op_type,
        domain=domain,
        since=since,
        function=function,
        inputs=tuple(inputs),
        variadic=variadic,
        attributes=frozenset(keywords) - REQUESTS,
        requests=frozenset(keywords) & REQUESTS,
        host=marks.host,
        dtypes=marks.dtypes,
        frozen=marks.frozen,
        moves=marks.moves,
        carries=marks.carries,
        numbers=marks.numbers,
    )
