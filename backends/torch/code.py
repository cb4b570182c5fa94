"""Readable code of lowered modules: `nw_conv(x, …)`, `host_concat(sizes, …)` for what fx would call by its whole module path."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from torch.fx.graph import CodeGen, PythonCode

_OURS = "netwright_backends_torch_"
_HOST = "netwright.backends.torch.host"
"""Arithmetic on sizes, apart from the operators of the same names on tensors."""


class ReadableCode(CodeGen):
    """fx's code generation, with short names for netwright's functions where they are free."""

    def _gen_python_code(self, *args: Any, **keywords: Any) -> PythonCode:  # noqa: ANN401 - torch's own signature, which differs by version
        made = super()._gen_python_code(*args, **keywords)
        renamed = _short_names(made.globals, frozenset(re.findall(r"\w+", made.src)))
        src = re.sub(rf"\b{_OURS}\w+", lambda found: renamed.get(found[0], found[0]), made.src)
        return replace(made, src=src, globals={renamed.get(name, name): held for name, held in made.globals.items()})


def _short_names(names: dict[str, Any], used: frozenset[str]) -> dict[str, str]:
    """A short name for each of netwright's functions, unless something else is called so already."""
    renamed: dict[str, str] = {}
    for name, held in names.items():
        called = getattr(held, "__name__", "").strip("_")
        short = f"host_{called}" if getattr(held, "__module__", "") == _HOST else f"nw_{called}"
        if name.startswith(_OURS) and called and short not in used and short not in renamed.values():
            renamed[name] = short
    return renamed
