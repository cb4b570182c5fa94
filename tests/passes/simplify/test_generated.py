"""Small random graphs from an operator table: `simplify` keeps their values, for static and dynamic dimensions.

The drawing keeps each value's shape for one set of sizes in mind, with the dimensions of the inputs named `A`, `B`, `C`; so
graphs are valid by construction, and the same graph runs with other sizes where it does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netwright.backends.onnxruntime.executor import OrtExecutor
from netwright.ir import Program, shapes
from netwright.ir.errors import RunError
from netwright.passes.context import Context
from netwright.passes.manager import run
from netwright.passes.simplify import Simplify
from tests.passes.simplify.support import assert_same, sample

SIZES = (2, 3, 4)


@dataclass
class Drawn:
    """A graph being drawn: the lines of its text, and the shapes of its values for `SIZES`."""

    choose: Callable[[int], int]
    """Draws one of the numbers below its argument."""
    lines: list[str] = field(default_factory=list[str])
    floats: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    count: int = 0

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def pick(self, options: list[str]) -> str:
        return options[self.choose(len(options))]

    def number(self, low: int, high: int) -> int:
        return low + self.choose(high - low + 1)

    def value(self, rank: int = 0) -> str:
        """One of the values made last, mostly, so that operators meet in chains."""
        fitting = [name for name, shape in self.floats.items() if len(shape) >= rank]
        return self.pick(fitting[-2:] if self.number(0, 3) else fitting)

    def ints(self, *numbers: int) -> str:
        name = self.name()
        self.lines.append(f"{name} = Constant<value: tensor = int64[{len(numbers)}] {{{', '.join(map(str, numbers))}}}>()")
        return name

    def constant(self, *numbers: float, shape: tuple[int, ...] = ()) -> str:
        name = self.name()
        dims = f"[{','.join(map(str, shape))}]" if shape else ""
        body = ", ".join(map(str, numbers))
        self.lines.append(f"{name} = Constant<value: tensor = float{dims} {{{body}}}>()")
        return name

    def add(self, expression: str, shape: tuple[int, ...]) -> None:
        name = self.name()
        self.lines.append(f"{name} = {expression}")
        self.floats[name] = shape


def unary(g: Drawn) -> None:
    x = g.value()
    g.add(f"{g.pick(['Relu', 'Neg', 'Abs', 'Tanh', 'Identity', 'Sigmoid', 'Dropout', 'Floor', 'Clip'])}({x})", g.floats[x])


def binary(g: Drawn) -> None:
    x, y = g.value(), g.value()
    try:
        shape = np.broadcast_shapes(g.floats[x], g.floats[y])
    except ValueError:
        return
    g.add(f"{g.pick(['Add', 'Sub', 'Mul', 'Max'])}({x}, {y})", shape)


def with_scalar(g: Drawn) -> None:
    x = g.value()
    scalar = g.constant(g.pick(["0", "1", "2", "0.5"]))  # type: ignore[arg-type]
    operator = g.pick(["Add", "Sub", "Mul", "Div"])
    swapped = g.pick(["no", "yes"]) == "yes" and operator != "Div"
    safe = f"{scalar}d"
    g.lines.append(f"{safe} = Max({scalar}, {g.constant(0.25)})")
    operand = safe if operator == "Div" else scalar
    g.add(f"{operator}({operand}, {x})" if swapped else f"{operator}({x}, {operand})", g.floats[x])


def transpose(g: Drawn) -> None:
    x = g.value(1)
    shape = g.floats[x]
    perm = [int(p) for p in np.random.default_rng(g.number(0, 99)).permutation(len(shape))]
    g.add(f"Transpose<perm: ints = {perm}>({x})", tuple(shape[p] for p in perm))


def unsqueeze(g: Drawn) -> None:
    x = g.value()
    axis = g.number(0, len(g.floats[x]))
    shape = list(g.floats[x])
    shape.insert(axis, 1)
    if len(shape) <= 5:
        g.add(f"Unsqueeze({x}, {g.ints(axis)})", tuple(shape))


def squeeze(g: Drawn) -> None:
    x = g.value(1)
    unit = [axis for axis, dim in enumerate(g.floats[x]) if dim == 1]
    if unit:
        axis = unit[g.number(0, len(unit) - 1)]
        shape = list(g.floats[x])
        del shape[axis]
        g.add(f"Squeeze({x}, {g.ints(axis)})", tuple(shape))


def flatten(g: Drawn) -> None:
    x = g.value(1)
    shape = g.floats[x]
    axis = g.number(0, len(shape))
    g.add(f"Flatten<axis: int = {axis}>({x})", (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))


def reshape_as(g: Drawn) -> None:
    """To the computed shape of another value of the same size, or to one with a dimension left to be worked out."""
    x = g.value(1)
    same = [name for name, shape in g.floats.items() if np.prod(shape) == np.prod(g.floats[x]) and shape]
    target = g.pick(same)
    shape = g.name()
    g.lines.append(f"{shape} = Shape({target})")
    g.add(f"Reshape({x}, {shape})", g.floats[target])


def merge_axes(g: Drawn) -> None:
    x = g.value(2)
    shape = g.floats[x]
    g.add(f"Reshape({x}, {g.ints(*([0] * (len(shape) - 2)), -1)})", (*shape[:-2], shape[-2] * shape[-1]))


def expand(g: Drawn) -> None:
    x, y = g.value(), g.value()
    try:
        shape = np.broadcast_shapes(g.floats[x], g.floats[y])
    except ValueError:
        return
    target = g.name()
    g.lines.append(f"{target} = Shape({y})")
    g.add(f"Expand({x}, {target})", shape)


def slice_(g: Drawn) -> None:
    x = g.value(1)
    shape = list(g.floats[x])
    axis = g.number(0, len(shape) - 1)
    start, end, step = g.number(-3, 3), g.number(-3, 9), int(g.pick(["1", "1", "1", "2", "-1"]))
    length = len(range(shape[axis])[start:end:step])
    if length:
        shape[axis] = length
        g.add(f"Slice({x}, {g.ints(start)}, {g.ints(end)}, {g.ints(axis)}, {g.ints(step)})", tuple(shape))


def concat(g: Drawn) -> None:
    x = g.value(1)
    shape = g.floats[x]
    axis = g.number(0, len(shape) - 1)
    fitting = [
        n
        for n, s in g.floats.items()
        if len(s) == len(shape) and all(a == b for k, (a, b) in enumerate(zip(s, shape, strict=True)) if k != axis)
    ]
    y = g.pick(fitting)
    total = list(shape)
    total[axis] += g.floats[y][axis]
    g.add(f"Concat<axis: int = {axis}>({x}, {y})", tuple(total))


def reduce(g: Drawn) -> None:
    x = g.value(1)
    shape = list(g.floats[x])
    axis, keep = g.number(0, len(shape) - 1), g.number(0, 1)
    shape[axis : axis + 1] = [1] * keep
    g.add(f"{g.pick(['ReduceSum', 'ReduceMax', 'ReduceMean'])}<keepdims: int = {keep}>({x}, {g.ints(axis)})", tuple(shape))


def matmul(g: Drawn) -> None:
    x = g.value(2)
    other = g.name()
    inner, outer = g.floats[x][-1], g.number(1, 3)
    weights = g.constant(*np.round(np.random.default_rng(g.number(0, 9)).normal(size=inner * outer), 2), shape=(inner, outer))
    g.lines.append(f"{other} = Identity({weights})")
    g.add(f"MatMul({x}, {other})", (*g.floats[x][:-1], outer))


def cast(g: Drawn) -> None:
    x = g.value()
    middle = g.name()
    g.lines.append(f"{middle} = Cast<to: int = {g.pick(['1', '11', '7', '9'])}>({x})")
    g.add(f"Cast<to: int = 1>({middle})", g.floats[x])


def where(g: Drawn) -> None:
    x = g.value()
    mask, scalar = g.name(), g.constant(0.5)
    g.lines.append(f"{mask} = {g.pick(['Greater', 'LessOrEqual', 'Equal'])}({x}, {scalar})")
    negated = g.name()
    g.lines.append(f"{negated} = {g.pick(['Not', 'Identity'])}({mask})")
    g.add(f"Where({negated}, {x}, {scalar})", g.floats[x])


def pad(g: Drawn) -> None:
    x = g.value(1)
    shape = g.floats[x]
    before, after = [g.number(0, 1) for _ in shape], [g.number(0, 1) for _ in shape]
    g.add(f"Pad({x}, {g.ints(*before, *after)})", tuple(a + b + c for a, b, c in zip(shape, before, after, strict=True)))


TABLE = [
    unary,
    binary,
    with_scalar,
    transpose,
    unsqueeze,
    squeeze,
    flatten,
    reshape_as,
    merge_axes,
    expand,
    slice_,
    concat,
    reduce,
    matmul,
    cast,
    where,
    pad,
]
LIMIT = 3000
"""Elements of the largest value."""


@st.composite
def graphs(draw: Callable[..., int]) -> str:
    """A graph as hypothesis likes it: one that shrinks when it fails."""
    return drawn(lambda count: draw(st.integers(0, count - 1)))


def drawn(choose: Callable[[int], int]) -> str:
    """A graph as text, its inputs' dimensions as `{A}`, `{B}`, `{C}`."""
    g = Drawn(choose)
    a, b, c = SIZES
    g.floats |= {"x": (a, b, c), "z": (b, c), "s": (a, b)}
    for _ in range(g.number(5, 20)):
        before = dict(g.floats)
        TABLE[g.number(0, len(TABLE) - 1)](g)
        if any(np.prod(shape) > LIMIT for shape in g.floats.values()):
            g.floats = before
    made = [name for name in g.floats if name.startswith("v")]
    outputs: dict[str, None] = dict.fromkeys([*made[-2:], *([g.pick(made)] if made else [])])
    if not outputs:
        g.add("Exp(x)", (a, b, c))
        outputs = {f"v{g.count}": None}
    declared = ", ".join(f"float[{','.join(f'd{name}{axis}' for axis, _ in enumerate(g.floats[name]))}] {name}" for name in outputs)
    declared = declared.replace("float[]", "float")
    return f"g (float[{{A}},{{B}},{{C}}] x, float[{{B}},{{C}}] z, float[{{A}},{{B}}] s) => ({declared}) {{\n" + "\n".join(g.lines) + "\n}"


def check(text: str, *, dynamic: bool) -> set[str]:
    """Simplify and compare, with the sizes that the graph was drawn for and, where ONNX Runtime takes them, others.

    Returns:
        The rules that fired.
    """
    dims = {"A": "A", "B": "B", "C": "C"} if dynamic else dict(zip("ABC", map(str, SIZES), strict=True))
    for letter, dim in dims.items():
        text = text.replace(f"{{{letter}}}", dim)
    program = Program(onnx_ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 20]>\n' + text))
    shapes.infer(program)
    after = run(program, (Simplify(),), Context(), verify_each=True).program
    assert sum(1 for _ in after.nodes()) <= sum(node.op_type != "Constant" for node in program.nodes())
    again = run(after, (Simplify(),), Context()).program
    assert len(again.ledger.actions) == len(after.ledger.actions), [str(a) for a in again.ledger.actions[len(after.ledger.actions) :]]
    for sizes in (SIZES, (3, 1, 4), (1, 3, 4)) if dynamic else (SIZES,):
        feeds = sample(program, sizes)
        try:
            expected = OrtExecutor().run(program, feeds)
        except RunError:
            continue  # the graph was drawn for other sizes
        assert_same(expected, OrtExecutor().run(after, feeds))
    return {action.rule for action in after.ledger.actions}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_drawn_graphs_keep_their_values(dynamic: bool):
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
    )
    @given(graphs())
    def holds(text: str) -> None:
        check(text, dynamic=dynamic)

    holds()


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_many_rules_fire_on_seeded_graphs_and_keep_their_values(dynamic: bool):
    fired: set[str] = set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        fired |= check(drawn(lambda count, rng=rng: int(rng.integers(count))), dynamic=dynamic)
    assert len(fired) > 20, sorted(fired)
