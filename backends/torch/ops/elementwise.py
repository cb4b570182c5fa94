"""Maths on one tensor, element by element."""

from __future__ import annotations

import torch

from netwright.backends.torch.ops.wide import WIDE, widened
from netwright.backends.torch.table import torch_op


@torch_op("Abs")
def absolute(x: torch.Tensor) -> torch.Tensor:
    """|x|."""
    return x if x.dtype in WIDE else torch.abs(x)


@torch_op("Neg")
def negative(x: torch.Tensor) -> torch.Tensor:
    """-x."""
    return torch.neg(x)


@torch_op("Sign")
def sign(x: torch.Tensor) -> torch.Tensor:
    """-1, 0 or 1."""
    return (widened(x) != 0).to(x.dtype) if x.dtype in WIDE else torch.sign(x)


@torch_op("Ceil")
def ceil(x: torch.Tensor) -> torch.Tensor:
    """The next integer above."""
    return torch.ceil(x)


@torch_op("Floor")
def floor(x: torch.Tensor) -> torch.Tensor:
    """The next integer below."""
    return torch.floor(x)


@torch_op("Round")
def round_half_to_even(x: torch.Tensor) -> torch.Tensor:
    """The nearest integer; the even one where two are as near."""
    return torch.round(x)


@torch_op("Reciprocal")
def reciprocal(x: torch.Tensor) -> torch.Tensor:
    """1 / x."""
    return torch.reciprocal(x)


@torch_op("Sqrt")
def square_root(x: torch.Tensor) -> torch.Tensor:
    """√x."""
    return torch.sqrt(x)


@torch_op("Exp")
def exp(x: torch.Tensor) -> torch.Tensor:
    """`eˣ`."""
    return torch.exp(x)


@torch_op("Log")
def log(x: torch.Tensor) -> torch.Tensor:
    """The natural logarithm."""
    return torch.log(x)


@torch_op("Erf")
def erf(x: torch.Tensor) -> torch.Tensor:
    """The error function."""
    return torch.erf(x)


@torch_op("Sin")
def sin(x: torch.Tensor) -> torch.Tensor:
    """Sine of an angle in radians."""
    return torch.sin(x)


@torch_op("Cos")
def cos(x: torch.Tensor) -> torch.Tensor:
    """Cosine of an angle in radians."""
    return torch.cos(x)


@torch_op("Tan")
def tan(x: torch.Tensor) -> torch.Tensor:
    """Tangent of an angle in radians."""
    return torch.tan(x)


@torch_op("Asin")
def asin(x: torch.Tensor) -> torch.Tensor:
    """The angle in radians with this sine."""
    return torch.asin(x)


@torch_op("Acos")
def acos(x: torch.Tensor) -> torch.Tensor:
    """The angle in radians with this cosine."""
    return torch.acos(x)


@torch_op("Atan")
def atan(x: torch.Tensor) -> torch.Tensor:
    """The angle in radians with this tangent."""
    return torch.atan(x)


@torch_op("Sinh")
def sinh(x: torch.Tensor) -> torch.Tensor:
    """Hyperbolic sine."""
    return torch.sinh(x)


@torch_op("Cosh")
def cosh(x: torch.Tensor) -> torch.Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x)


@torch_op("Tanh")
def tanh(x: torch.Tensor) -> torch.Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@torch_op("Asinh")
def asinh(x: torch.Tensor) -> torch.Tensor:
    """Inverse hyperbolic sine."""
    return torch.asinh(x)


@torch_op("Acosh")
def acosh(x: torch.Tensor) -> torch.Tensor:
    """Inverse hyperbolic cosine."""
    return torch.acosh(x)


@torch_op("Atanh")
def atanh(x: torch.Tensor) -> torch.Tensor:
    """Inverse hyperbolic tangent."""
    return torch.atanh(x)


@torch_op("IsNaN")
def is_nan(x: torch.Tensor) -> torch.Tensor:
    """True where x is not a number."""
    return torch.isnan(x)


@torch_op("IsInf")
def is_infinite(x: torch.Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> torch.Tensor:
    """True where x is infinite, of a sign that is to be detected."""
    infinite = torch.isinf(x)
    if detect_negative and detect_positive:
        return infinite
    wide = x.to(torch.float32)
    return infinite & ((wide < 0) if detect_negative else (wide > 0)) if detect_negative or detect_positive else torch.zeros_like(infinite)
