"""How a program is run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["none", "basic", "extended", "layout", "all"]
"""How far ONNX Runtime rewrites the graph: `basic` keeps to rewrites that hold everywhere (folding, dead nodes), `extended` fuses
into its own CPU kernels, `layout` also blocks channels for convolutions."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Options of a session.

    Attributes:
        threads: worker threads inside an operator; None lets ONNX Runtime take one per core.
        level: how far ONNX Runtime rewrites the graph.
        providers: execution providers in order of preference, or names with their options.
        stop_spinning: worker threads go to sleep when a run ends instead of spinning for the next: what one session does then
            costs another nothing. For measuring several in one process.
        arena: keep freed memory for the next run; without, memory is lower and runs are slower.
        config: further session entries of ONNX Runtime's, by their keys.
    """

    threads: int | None = None
    level: Level = "all"
    providers: tuple[str | tuple[str, Mapping[str, str]], ...] = ("CPUExecutionProvider",)
    stop_spinning: bool = False
    arena: bool = True
    config: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers without their options."""
        return tuple(one if isinstance(one, str) else one[0] for one in self.providers)
