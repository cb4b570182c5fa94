"""Weights of low rank, with the projected gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, cast

import numpy as np
import onnx_ir
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from netwright.ir.editor import Editor
from netwright.ir.errors import PipelineError
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Miss
from netwright.ir.maps import Factor, Mapped, Permute
from netwright.ir.maps.numbers import svd_factors
from netwright.ir.opinfo import float_attr, int_attr
from netwright.ir.program import Program
from netwright.passes.base import Proposals
from netwright.passes.context import Context
from netwright.passes.plan import Decision, Plan
from netwright.passes.rewrite import Rewrite
from netwright.training.compressors.base import FINAL, Compression, Compressor, Tensors
from netwright.training.compressors.sites import Reader, WeightSite, find_weights
from netwright.training.compressors.storage import anchor_of


@dataclass(frozen=True, kw_only=True)
class LowRankWeights(Compressor):
    """Matrices of low rank, W ≈ U V; the product has two thin layers in the place of each.

    The factors are those of the singular value decomposition, found anew every `refresh` steps. The gradient G of the product is not
    passed straight but projected onto the tangent space of matrices of that rank, P_U G + G P_V - P_U G P_V (Koch & Lubich, Dynamical
    low-rank approximation, 2007), so that weights move only where the product can follow.
    """

    name: ClassVar[str] = "lowrank"

    ratio: float = 0.25
    """The share of each matrix's parameters that its factors have together; `rank` overrides it."""
    rank: int = 0
    """The rank of all matrices; 0 for what `ratio` gives."""
    refresh: int = 10
    """Optimizer steps between decompositions."""
    head: bool = False
    """Factorize the head as well."""
    where: tuple[str, ...] = ()
    """Patterns of tensors or modules; none means all."""
    exclude: tuple[str, ...] = ()
    """Patterns of tensors or modules that stay whole."""

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise PipelineError(f"ratio is between 0 and 1, not {self.ratio!r}.", place="ratio")
        if self.rank < 0 or self.refresh < 1:
            raise PipelineError(f"rank is at least 0 and refresh at least 1, not {self.rank!r} and {self.refresh!r}.", place="lowrank")

    def choose(self, program: Program, context: Context) -> Plan:
        """Every matrix whose factors are smaller than it is."""
        del context
        weights = find_weights(program, head=self.head, where=self.where, exclude=self.exclude)
        decisions: dict[str, Decision] = {}
        misses = list(weights.misses)
        for site in weights.sites:
            rows, columns = (site.shape[0], site.shape[1]) if len(site.shape) == 2 else (0, 0)
            rank = self.rank or max(1, math.floor(self.ratio * rows * columns / max(rows + columns, 1)))
            if any(reader.kind not in ("linear", "table") or len(site.shape) != 2 for reader in site.readers):
                misses.append(
                    Miss(f"left whole: it is no matrix of a linear layer or a table ({site.kind}, {list(site.shape)})", site.name)
                )
            elif rank * (rows + columns) >= rows * columns:
                misses.append(
                    Miss(f"left whole: factors of rank {rank} have {rank * (rows + columns)} elements, it has {rows * columns}", site.name)
                )
            else:
                decisions[site.name] = {"rank": rank, "kind": site.kind}
        return Plan(pass_name=self.name, fingerprint=fingerprint(program), decisions=decisions, misses=tuple(misses))

    def bind(self, program: Program, plan: Plan, context: Context) -> Compression:
        """The projections at work."""
        del context
        shapes = {name: tuple(program.graph.initializers[name].const_value.shape.numpy()) for name in plan.decisions}  # type: ignore[union-attr]
        return FactorizedWeights(self, plan, shapes)


class FactorizedWeights(Compression):
    """Weights projected onto their leading singular vectors, which are kept from one decomposition to the next."""

    found_at: Tensor

    def __init__(self, options: LowRankWeights, plan: Plan, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__(plan)
        self._refresh = options.refresh
        self._ranks = {name: cast("int", decision["rank"]) for name, decision in plan.decisions.items()}
        self._made: dict[str, tuple[bytes, tuple[np.ndarray, np.ndarray]]] = {}
        self.register_buffer("found_at", torch.tensor(-1))
        for index, (name, rank) in enumerate(self._ranks.items()):
            rows, columns = shapes[name]
            self.register_buffer(f"left{index}", torch.zeros(rows, rank))
            self.register_buffer(f"right{index}", torch.zeros(columns, rank))

    def compress(self, weights: Tensors, step: int) -> dict[str, Tensor]:
        """`U Uᵀ W`, of the rank decided."""
        if step != FINAL and self._stale(step):
            self._decompose(weights)
            self.found_at.fill_(step)
        return {
            name: project(weights[name], self.get_buffer(f"left{index}"), self.get_buffer(f"right{index}"))
            for index, name in enumerate(self._ranks)
        }

    @torch.no_grad()
    def settle(self, weights: Tensors) -> dict[str, Tensor]:
        """The best approximations of the rank decided, as the product computes them."""
        found: dict[str, Tensor] = {}
        for name, rank in self._ranks.items():
            left, right = self._factors(name, weights[name], rank)
            found[name] = torch.from_numpy(left @ right).to(weights[name])
        return found

    def store(self, program: Program, weights: Tensors) -> Proposals:
        """Two layers, one after the other, for each reader."""
        sites = {site.name: site for site in find_weights(program, head=True).sites}
        for name, rank in self._ranks.items():
            site = sites[name]
            factors = self._factors(name, weights[name], rank)
            why = f"rank {rank} of {min(site.shape)}"
            yield Rewrite.edit(
                name,
                why,
                lambda editor, site=site, factors=factors, rank=rank: _factorize(editor, site, factors, rank),
                anchor=anchor_of(program, site),
            )

    def nominal_bits(self, name: str, shape: tuple[int, ...], width: int) -> float:
        """Both factors."""
        return float(width * self._ranks[name] * sum(shape))

    def _factors(self, name: str, weight: Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """U: [m, rank] and V: [rank, n] as the value map `Factor` has them; those of the same weight again are not computed again."""
        matrix = weight.detach().cpu().double().numpy()
        key = blake2b(matrix.tobytes(), digest_size=16).digest()
        made = self._made.get(name)
        if made is None or made[0] != key:
            dtype = np.float64 if weight.dtype == torch.float64 else np.float32
            left, right = svd_factors(matrix, rank)
            made = self._made[name] = (key, (left.astype(dtype), right.astype(dtype)))
        return made[1]

    def _stale(self, step: int) -> bool:
        found_at = int(self.found_at)
        return found_at < 0 or step >= found_at + self._refresh or step < found_at

    @torch.no_grad()
    def _decompose(self, weights: Tensors) -> None:
        for index, (name, rank) in enumerate(self._ranks.items()):
            matrix = weights[name].detach().float()
            u, _, vh = cast("tuple[Tensor, Tensor, Tensor]", torch.linalg.svd(matrix, full_matrices=False))
            self.get_buffer(f"left{index}").copy_(u[:, :rank])
            self.get_buffer(f"right{index}").copy_(vh[:rank].T)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return left @ (left.T @ weight)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        left, right = cast("tuple[Tensor, Tensor]", ctx.saved_tensors)  # pyright: ignore[reportAttributeAccessIssue]
        onto_left = left @ (left.T @ grad)
        rest = grad - onto_left
        return onto_left + (rest @ right) @ right.T, None, None


def project(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`U Uᵀ W` with the gradient `P_U G + G P_V - P_U G P_V`, P_U = U Uᵀ, P_V = V Vᵀ.

    Args:
        weight: W [m, n].
        left: U [m, rank], orthonormal.
        right: V [n, rank], orthonormal.
    """
    basis = left.to(weight.dtype), right.to(weight.dtype)
    return cast("Tensor", _Project.apply(weight, *basis))  # pyright: ignore[reportUnknownMemberType]


# ---- rewriting ------------------------------------------------------------------------------------------------------


def _factorize(editor: Editor, site: WeightSite, factors: tuple[np.ndarray, np.ndarray], rank: int) -> None:
    """Two products for each reader. Where all readers see the transposed weight, W.T ≈ V.T U.T, its factors are stored transposed."""
    tensor = site.value.const_value
    dtype = tensor.numpy().dtype if tensor is not None else np.dtype(np.float32)
    turned = all(reader.perm == (1, 0) for reader in site.readers)
    stored: dict[str, onnx_ir.Value] = {}
    for part, factor in zip(("u", "v"), factors, strict=True):
        array = np.ascontiguousarray((factor.T if turned else factor).astype(dtype))
        stored[part] = editor.constant(array, f"{site.name}.{part}")
        found = Factor("u" if part == "u" else "v", rank)
        editor.map(stored[part].name or "", Mapped(found.then(Permute((1, 0))) if turned else found, (site.name,)))
    for reader in site.readers:
        editor.at(reader.node)
        first, second = stored["u"], stored["v"]
        if turned:
            first, second = second, first
        elif reader.perm == (1, 0):
            first, second = _turned(editor, second), _turned(editor, first)
        editor.replace(reader.node.outputs[0], _apply(editor, reader, first, second))


def _apply(editor: Editor, reader: Reader, left: onnx_ir.Value, right: onnx_ir.Value) -> onnx_ir.Value:
    """What the reader computes, with `left right` in the place of the weight."""
    node, result = reader.node, reader.node.outputs[0]
    hint = result.name or node.op_type
    if reader.kind == "table":
        rows = editor.op("Gather", [left, node.inputs[1]], {"axis": 0}, name=f"{hint}.u")
        return editor.op("MatMul", [rows, right], name=hint, like=result)
    if node.op_type == "Gemm":
        return _gemm(editor, reader, left, right)
    if reader.index == 1:
        inner = editor.op("MatMul", [node.inputs[0], left], name=f"{hint}.u")
        return editor.op("MatMul", [inner, right], name=hint, like=result)
    inner = editor.op("MatMul", [right, node.inputs[1]], name=f"{hint}.v")
    return editor.op("MatMul", [left, inner], name=hint, like=result)


def _gemm(editor: Editor, reader: Reader, left: onnx_ir.Value, right: onnx_ir.Value) -> onnx_ir.Value:
    """`alpha op(A) op(B) + beta C`, where one of A and B is `left right`."""
    node, result = reader.node, reader.node.outputs[0]
    hint = result.name or "Gemm"
    turned = int_attr(node, "transB" if reader.index == 1 else "transA", 0)
    other = int_attr(node, "transA" if reader.index == 1 else "transB", 0)
    alpha, beta = float_attr(node, "alpha", 1.0), float_attr(node, "beta", 1.0)
    first, second = (right, left) if turned else (left, right)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if reader.index == 1:
        inner = editor.op("Gemm", [node.inputs[0], first], {"transA": other, "transB": turned, "alpha": alpha}, name=f"{hint}.u")
        return editor.op("Gemm", [inner, second, bias], {"transB": turned, "beta": beta}, name=hint, like=result)
    inner = editor.op("Gemm", [second, node.inputs[1]], {"transA": turned, "transB": other, "alpha": alpha}, name=f"{hint}.v")
    return editor.op("Gemm", [first, inner, bias], {"transA": turned, "beta": beta}, name=hint, like=result)


def _turned(editor: Editor, factor: onnx_ir.Value) -> onnx_ir.Value:
    return editor.op("Transpose", [factor], {"perm": [1, 0]}, name=f"{factor.name}.turned")
