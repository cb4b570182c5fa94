"""What a compressor is: `compress` of three-model compression (f3 = compress(f2)), as options, decisions, tensors and rewrites."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.plan import Plan

Tensors: TypeAlias = Mapping[str, Tensor]
"""Weights by the names of their initializers."""


@dataclass(frozen=True, kw_only=True)
class Compressor(ABC):
    """Options of one way to compress weights; the first line of its docstring is its help.

    A compressor decides once, on the program as it is given (`choose`); makes the part of the training module that compresses
    weights at every step (`bind`); and in the end the rewrites that store what it compressed them to (`Compression.store`).

    Attributes:
        name: in pipeline text.
    """

    name: ClassVar[str]

    @abstractmethod
    def choose(self, program: Program, context: Context) -> Plan:
        """Decide which tensors are compressed, and how: decisions by initializer, misses with reasons.

        Raises:
            NetwrightError: options out of range.
        """

    def adapt(self, program: Program, plan: Plan) -> Program:
        """The program that is trained, where it is to have more nodes than the one given; itself otherwise."""
        del plan
        return program

    @abstractmethod
    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The compression of these tensors, for training."""

    def __str__(self) -> str:
        """Pipeline text: the name, with the options that differ from their defaults."""
        options = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if option.default is MISSING or getattr(self, option.name) != option.default
        ]
        return f"{self.name}({', '.join(options)})" if options else self.name


class Compression(nn.Module, ABC):
    """A compressor at work on the weights of one model. Whatever it carries from step to step lies in buffers, for checkpoints.

    Attributes:
        plan: what was decided.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that it compresses."""
        return tuple(self.plan.decisions)

    @abstractmethod
    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """The compressed tensors, each of its weight's shape, with gradients to the weights.

        Args:
            weights: at least those it compresses.
            step: optimizer steps made before.
        """

    @torch.no_grad()
    def settle(self, weights: Tensors) -> dict[str, Tensor]:
        """The compressed tensors as the product has them: schedules at their end, nothing stale."""
        return self.compress(weights, FINAL)

    @torch.no_grad()
    def evaluate(self, weights: Tensors) -> dict[str, Tensor]:
        """The compressed tensors for a score between two steps; changes nothing that is kept from step to step."""
        return self.settle(weights)

    @abstractmethod
    def store(self, program: Program, weights: Tensors) -> Proposals:
        """The rewrites that store the settled tensors.

        Args:
            program: whose initializers hold `settle(weights)` by now.
            weights: before they were compressed.
        """

    @abstractmethod
    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """Bits that a compressed tensor needs, however it is stored.

        Args:
            name: the tensor.
            shape: its shape.
            width: bits of one of its elements as it is.
        """


FINAL = 1 << 62
"""A step after every schedule."""
