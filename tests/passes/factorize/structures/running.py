"""Chains run stage by stage, as their docstrings say and with torch's convolutions, apart from how they are multiplied out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from netwright.passes.factorize.factors import Factors, Stage
from netwright.passes.factorize.operator import Operator


@dataclass(frozen=True)
class Steps:
    """Stride, padding and dilation along each spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def of(self, axes: tuple[int, ...]) -> Steps:
        """Along these axes; no step along the others."""
        picked = [[value if axis in axes else rest for axis, value in enumerate(values)] for values, rest in self._with_rests()]
        return Steps(tuple(picked[0]), tuple(picked[1]), tuple(picked[2]))

    def _with_rests(self) -> list[tuple[tuple[int, ...], int]]:
        return [(self.stride, 1), (self.padding, 0), (self.dilation, 1)]


def run_convolutions(factors: Factors, data: np.ndarray, steps: Steps) -> np.ndarray:
    """A chain on images [batch, channels, *space]."""
    flow = torch.from_numpy(data)
    for stage in factors.stages:
        flow = _convolved(flow, stage, steps)
    return flow.numpy()


def run_operator(operator: Operator, data: np.ndarray, steps: Steps) -> np.ndarray:
    """The operator itself, as a chain of one."""
    axes = tuple(range(len(operator.kernel)))
    stage = Stage(operator.weight, operator.groups, axes, transposed=operator.kind == "deconv")
    return run_convolutions(Factors("whole", (), (stage,)), data, steps)


def _convolved(flow: torch.Tensor, stage: Stage, steps: Steps) -> torch.Tensor:
    axes = flow.ndim - 2
    weight = torch.from_numpy(np.ascontiguousarray(stage.array.reshape(*stage.array.shape, *[1] * (axes + 2 - stage.array.ndim))))
    own = steps.of(stage.spatial)
    if stage.transposed:
        call = (functional.conv_transpose1d, functional.conv_transpose2d)[axes - 1]
        return call(flow, weight, None, own.stride, own.padding, groups=stage.groups, dilation=own.dilation)
    call = (functional.conv1d, functional.conv2d)[axes - 1]
    return call(flow, weight, None, own.stride, own.padding, own.dilation, stage.groups)


def run_products(factors: Factors, data: np.ndarray) -> np.ndarray:
    """A chain on rows [places, channels], channels folded where a stage says so."""
    flow = data
    for stage in factors.stages:
        if stage.dims:
            folded = flow.reshape(-1, *stage.dims).transpose(0, *(1 + axis for axis in stage.perm))
            flow = (folded.reshape(len(data), -1, stage.array.shape[1]) @ stage.array.T).reshape(len(data), -1)
        else:
            apart = flow.reshape(len(data), stage.groups, -1)
            weights = stage.array.reshape(stage.groups, -1, stage.array.shape[1])
            flow = np.einsum("pgi,goi->pgo", apart, weights).reshape(len(data), -1)
    if factors.dims:
        flow = flow.reshape(-1, *factors.dims).transpose(0, *(1 + axis for axis in factors.perm)).reshape(len(data), -1)
    return flow
