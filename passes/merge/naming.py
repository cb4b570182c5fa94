"""What the weight of a product is called, and how it came about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir

from netwright.ir.editor import Editor
from netwright.ir.maps import Affine, Gone, Mapped, Permute, Reshape, Same, ValueMap, join
from netwright.passes.merge.forms import Lookup, Product
from netwright.passes.merge.links import Link

_FACTOR = re.compile(r"(.+)\.(u|v|\d+)")
"""Names of factors."""


def stem(name: str) -> str | None:
    """Of a factor's name, that of the weight that was factorized; None of others."""
    found = _FACTOR.fullmatch(name)
    return None if found is None else found[1]


def product_name(names: Sequence[str], shared: Sequence[str] = ()) -> str:
    """The name for a product: that of the weight that the factors came from, where they tell.

    Args:
        names: of the factors, in the order in which they are applied.
        shared: of those that are factors of other products too, which tell nothing.
    """
    stems = dict.fromkeys(found for name in names if name not in shared and (found := stem(name)) is not None)
    whole = next(iter(stems), None) if len(stems) < 2 else None
    return whole if whole is not None else f"{names[-1]}.merged"


def put_weight(
    editor: Editor, numbers: np.ndarray, name: str, graph: onnx_ir.Graph | None, going: Iterable[onnx_ir.Value]
) -> onnx_ir.Value:
    """Make a weight, under this very name where no value has it any more, or only one of those that go."""
    made = editor.constant(np.ascontiguousarray(numbers), name, graph=graph)
    old = next((value for value in going if value.name == name), None)
    if old is not None:
        take_name(editor, made, old)
        return made
    if made.name != name and made.is_initializer() and not _exists(editor, name):
        editor.rename(made, name)
    return made


def take_name(editor: Editor, made: onnx_ir.Value, old: onnx_ir.Value) -> None:
    """Give a new weight the name of one that goes."""
    if not (made.is_initializer() and old.is_initializer() and old.name):
        return
    name = old.name
    editor.rename(old, editor.fresh(f"{name}.before"))
    editor.rename(made, name)


def _exists(editor: Editor, name: str) -> bool:
    """Names are not given out twice; what an earlier pass took away is free again all the same."""
    try:
        editor.program.value(name)
    except KeyError:
        return False
    return True


def mapped(links: Sequence[Link], *, turned: bool) -> Mapped:
    """How the product's weight comes from the links' weights.

    Args:
        links: in the order in which they are applied.
        turned: whether the product is stored as the transpose of its form's layout.
    """
    if all(isinstance(link.form, Product | Lookup) for link in links):
        return _product(links if turned else links[::-1], turned=turned)
    (found, names), form = _kernel(links[0]), links[0].form
    for link in links[1:]:
        step, both = form.product_map(link.form), form.then(link.form)
        if step is None or isinstance(both, str):
            return Mapped(Gone("multiplied with a kernel of groups, or a transposed one"), ())
        last, own = _kernel(link)
        found, names, form = join(step, (last, found)), (*own, *names), both
    return Mapped(found, names)


def _kernel(link: Link) -> tuple[ValueMap, tuple[str, ...]]:
    return (Same() if link.scale == 1.0 else Affine(link.scale)), (link.name,)


def _product(ordered: Sequence[Link], *, turned: bool) -> Mapped:
    """Left factors first: of stored transposes, those that are applied first."""
    parts = [_stored(link, turned=turned) for link in ordered]
    found = parts[0]
    for link, part in zip(ordered[1:], parts[1:], strict=True):
        step = link.form.product_map(link.form)
        assert step is not None, "products of matrices have a map"
        found = join(step, (found, part))
    return Mapped(found, tuple(link.name for link in ordered))


def _stored(link: Link, *, turned: bool) -> ValueMap:
    laid_out = Same() if link.turned == turned else Permute((1, 0))
    return laid_out if link.scale == 1.0 else laid_out.then(Affine(link.scale))


def gate_map(first: Link, shape: tuple[int, ...]) -> ValueMap:
    """The map of (gates' weights [directions, gates, features], weight of the product before them) to the gates' new weights."""
    assert isinstance(first.form, Product), "made for products"
    directions, gates, features = shape
    step = first.form.product_map(first.form)
    assert step is not None, "products of matrices have a map"
    flat = Reshape((directions * gates, features), shape)
    inputs = first.form.columns
    return join(step, (flat, _stored(first, turned=False))).then(Reshape((directions, gates, inputs), (directions * gates, inputs)))
