"""Random chains of linear operators, nonlinearities and second readers among them: values stay, whatever is merged."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.merge.support import Merged, merge
from tests.passes.simplify.weights import Weights


class Text:
    """A graph that grows by a node at a time."""

    def __init__(self) -> None:
        self.body: list[str] = []
        self.weights: dict[str, np.ndarray | tuple[int, ...]] = {}
        self.value = "x"

    def op(self, text: str, **shapes: tuple[int, ...]) -> None:
        """Add a node; `{w}` stands for its weights' names, in order, `{x}` for the last value."""
        number = len(self.body)
        named = {key: f"{key}{number}" for key in shapes}
        self.weights.update({named[key]: shape for key, shape in shapes.items()})
        self.body.append(f"t{number} = {text.format(x=self.value, **named)}")
        self.value = f"t{number}"

    def merged(self, inputs: str, outputs: str, when: str) -> Merged:
        """What `merge` makes of it, values compared."""
        weights: Weights = {name: _small(name, shape) for name, shape in self.weights.items() if isinstance(shape, tuple)}
        return merge(inputs, outputs, " ".join([*self.body, f"y = Identity({self.value})"]), weights, when=when)


def _small(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(sum(map(ord, name)))
    return np.asarray(rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))), np.float32)


STEPS = st.lists(st.sampled_from(["matmul", "gemm", "gemm turned", "bias", "scale", "relu", "adapter", "fork"]), min_size=2, max_size=7)


@settings(max_examples=25, deadline=None)
@given(STEPS, st.lists(st.integers(1, 6), min_size=8, max_size=8), st.sampled_from(["smaller", "always"]))
def test_products(steps: list[str], widths: list[int], when: str):
    text, channels, forks = Text(), 5, list[str]()
    for step, width in zip(steps, widths, strict=False):
        if step == "fork":
            forks.append(text.value)
        elif step == "bias":
            text.op("Add({x}, {b})", b=(channels,))
        elif step == "scale":
            text.op("Mul({s}, {x})", s=())
        elif step == "relu":
            text.op("Relu({x})")
        elif step == "adapter":
            source = text.value
            text.op("MatMul({x}, {u})", u=(channels, 1))
            text.op("MatMul({x}, {v})", v=(1, channels))
            low = text.value
            text.value = source
            text.op("MatMul({x}, {w})", w=(channels, channels))
            text.op(f"Add({low}, {{x}})")
        else:
            shape = (width, channels) if step == "gemm turned" else (channels, width)
            attributes = {"matmul": "MatMul({x}, {w})", "gemm": "Gemm<alpha: float = 0.5>({x}, {w}, {c})"}
            shapes = {"w": shape} if step == "matmul" else {"w": shape, "c": (width,)}
            text.op(attributes.get(step, "Gemm<transB: int = 1>({x}, {w}, {c})"), **shapes)
            channels = width
    kept = ", ".join(f"float[N, F{number}] f{number}" for number in range(len(forks)))
    text.body += [f"f{number} = Relu({value})" for number, value in enumerate(forks)]
    text.merged("float[N, 5] x", f"float[N, {channels}] y{', ' if kept else ''}{kept}", when)


@st.composite
def convolutions(draw: st.DrawFn) -> list[tuple[str, dict[str, tuple[int, ...]]]]:
    """Two to four convolutions, transposed ones among them, on four channels."""
    made: list[tuple[str, dict[str, tuple[int, ...]]]] = []
    for _ in range(draw(st.integers(2, 4))):
        taps = draw(st.tuples(st.sampled_from([1, 1, 2, 3]), st.sampled_from([1, 1, 3])))
        strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if draw(st.booleans()) else (1, 1)
        groups, pads = draw(st.sampled_from([1, 1, 2, 4])), draw(st.lists(st.integers(0, 1), min_size=4, max_size=4))
        pads = pads if draw(st.booleans()) else [0, 0, 0, 0]
        if draw(st.integers(0, 4)) == 0:
            op, pads = "ConvTranspose", [0, 0, 0, 0]
        else:
            op = "Conv"
        shapes: dict[str, tuple[int, ...]] = {"w": (4, 4 // groups, *taps)}
        if draw(st.booleans()):
            shapes["b"] = (4,)
        operands = ", ".join(f"{{{name}}}" for name in shapes)
        given_attributes = f"strides: ints = {list(strides)}, pads: ints = {pads}, group: int = {groups}"
        made.append((f"{op}<{given_attributes}>({{x}}, {operands})", shapes))
    return made


@settings(max_examples=40, deadline=None)
@given(convolutions(), st.sampled_from(["smaller", "always"]))
def test_convolutions(chain: list[tuple[str, dict[str, tuple[int, ...]]]], when: str):
    text = Text()
    for op, shapes in chain:
        text.op(op, **shapes)
    text.merged("float[N, 4, 23, 24] x", "float[N, 4, A, B] y", when)
