"""Made-up inputs, and those among them that a program runs on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netwright.ir.errors import DataError, NetwrightError, RunError
from netwright.ir.program import Program
from netwright.passes.context import Executor
from netwright.samples.make import make
from netwright.samples.roles import Role, roles
from netwright.samples.sizes import SCALES, Scale, bound_by, free_axes, shapes_at

Arrays = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
Ranges = Mapping[str, tuple[float, float]]


def sample_feeds(
    program: Program,
    *,
    count: int = 1,
    seed: int = 0,
    shapes: Shapes | None = None,
    ranges: Ranges | None = None,
    dims: Mapping[str, int] | None = None,
) -> list[Arrays]:
    """Inputs made up from the signature; nothing is run.

    Integers that index tables stay within them, masks are ones, lengths small, recurrent states zero, switches what they are
    compared with; other floats are normal, other integers 0 or 1, bytes anything.

    Args:
        program: whose inputs are made up.
        count: how many sets.
        seed: of the generator; the same seed gives the same arrays.
        shapes: shapes by input name; they bind the symbols in them.
        ranges: values by input name: integers below the second number, floats between the two.
        dims: sizes of symbolic dimensions by name; others are two samples of length 16, images of 64×64.

    Raises:
        DataError: a shape, range or size that fits no input, or a type for which nothing can be made up.
    """
    found = roles(program)
    return _feeds(program, found, SCALES[0], count, seed, shapes or {}, ranges or {}, dims or {})


def find_feeds(
    program: Program,
    executor: Executor,
    *,
    seed: int = 0,
    shapes: Shapes | None = None,
    ranges: Ranges | None = None,
    dims: Mapping[str, int] | None = None,
    prefer: Mapping[str, int] | None = None,
) -> Arrays:
    """Made-up inputs on which the program runs, with finite outputs where there are such.

    Dynamic sizes that neither `shapes` nor `dims` give are tried in a fixed order until the program accepts them.

    Args:
        program: whose inputs are made up.
        executor: runs the program.
        seed: of the generator.
        shapes: as in `sample_feeds`.
        ranges: as in `sample_feeds`.
        dims: as in `sample_feeds`; these are kept to.
        prefer: sizes of symbolic dimensions to try first, such as `netwright.ir.cost.default_bindings`.

    Raises:
        DataError: nothing that was tried ran; the message holds the first failure.
    """
    found = roles(program)
    chosen, fixed = shapes or {}, dims or {}
    first = [(SCALES[0], {**_unbound(prefer or {}, program, chosen), **fixed})] if prefer else []
    others = SCALES if free_axes(program, chosen, fixed) else SCALES[:1]
    first_failure: NetwrightError | None = None
    with_holes: Arrays | None = None
    tried: set[tuple[tuple[int, ...], ...]] = set()
    for scale, sizes in (*first, *((scale, fixed) for scale in others)):
        feeds = _feeds(program, found, scale, 1, seed, chosen, ranges or {}, sizes)[0]
        key = tuple(feed.shape for feed in feeds.values())
        if key in tried:
            continue
        tried.add(key)
        try:
            outputs = executor.run(program, feeds)
        except RunError as error:
            first_failure = first_failure or error
            continue
        if all(_is_finite(output) for output in outputs.values()):
            return feeds
        with_holes = with_holes or feeds
    if with_holes is not None:
        return with_holes
    assert first_failure is not None
    raise DataError(
        f"The program ran on none of the {len(tried)} inputs made up for it: {first_failure.message}",
        place=first_failure.place,
        remedy="Give inputs, or their shapes (--shape NAME=2x128).",
    ) from first_failure


def _feeds(
    program: Program,
    found: Mapping[str, Role],
    scale: Scale,
    count: int,
    seed: int,
    shapes: Shapes,
    ranges: Ranges,
    dims: Mapping[str, int],
) -> list[Arrays]:
    inputs = {value.name or "": value for value in program.inputs}
    for name in ranges:
        if name not in inputs:
            raise DataError(f"The program has no input {name!r}.", place=f"range of {name}", remedy=f"Its inputs are {', '.join(inputs)}.")
    sizes = shapes_at(program, found, scale, shapes=shapes, dims=dims)
    rng = np.random.default_rng(seed)
    return [
        {name: make(value, found.get(name, Role("plain")), sizes[name], rng, ranges.get(name)) for name, value in inputs.items()}
        for _ in range(count)
    ]


def _unbound(prefer: Mapping[str, int], program: Program, shapes: Shapes) -> dict[str, int]:
    """What is preferred, without the symbols that chosen shapes bind."""
    bound = bound_by(program, shapes, {})
    return {name: size for name, size in prefer.items() if name not in bound}


def _is_finite(output: np.ndarray) -> bool:
    return output.dtype.kind not in "fc" or bool(np.isfinite(output).all())
