"""Operations on lanes of one width for numba, which would widen narrow integers to 64 bits: columns are lanes of 16 or 32 bits.

Imported only where numba is: the functions here exist in compiled code alone.
"""

# pyright: basic
from __future__ import annotations

from numba import types
from numba.extending import intrinsic


@intrinsic
def popcount_and(typing, first, second):
    """Ones in `first & second`, of the words' own type."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(builder.and_(arguments[0], arguments[1]))

    return second(first, second), generate


@intrinsic
def add(typing, first, second):
    """`first + second`, of the first's type."""

    def generate(context, builder, signature, arguments):
        return builder.add(arguments[0], _fitted(builder, arguments[1], signature.args[1], signature.args[0], context))

    return first(first, second), generate


@intrinsic
def scaled_add(typing, total, lane, factor):
    """`total + lane · factor`, of the total's type."""

    def generate(context, builder, signature, arguments):
        wide, narrow, by = (
            _fitted(builder, one, kind, signature.return_type, context) for one, kind in zip(arguments, signature.args, strict=True)
        )
        return builder.add(wide, builder.mul(narrow, by))

    return total(total, lane, factor), generate


@intrinsic
def shifted_add(typing, total, lane, places):
    """`total + (lane << places)`, of the total's type."""

    def generate(context, builder, signature, arguments):
        wide, narrow, by = (
            _fitted(builder, one, kind, signature.return_type, context) for one, kind in zip(arguments, signature.args, strict=True)
        )
        return builder.add(wide, builder.shl(narrow, by))

    return total(total, lane, places), generate


@intrinsic
def rounded_shift(typing, lane, places):
    """`lane / 2^places` to the nearest, half-way cases to even: (lane + 2^(places−1) − 1 + ((lane >> places) & 1)) >> places."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        value, by = arguments[0], _fitted(builder, arguments[1], signature.args[1], kind, context)
        shift = builder.ashr if kind.signed else builder.lshr
        one = context.get_constant(kind, 1)
        bias = builder.sub(builder.shl(one, builder.sub(by, one)), one)
        odd = builder.and_(shift(value, by), one)
        return shift(builder.add(builder.add(value, bias), odd), by)

    return lane(lane, places), generate


@intrinsic
def clamped(typing, lane, first, last):
    """The lane between `first` and `last`; of unsigned lanes `first` is 0."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        value, low, high = (_fitted(builder, one, of, kind, context) for one, of in zip(arguments, signature.args, strict=True))
        if not kind.signed:
            return builder.select(builder.icmp_unsigned("<", value, high), value, high)
        value = builder.select(builder.icmp_signed("<", value, high), value, high)
        return builder.select(builder.icmp_signed(">", value, low), value, low)

    return lane(lane, first, last), generate


@intrinsic
def divided(typing, lane, least, most, zero, over, under):
    """(clip(lane, least, most) − zero) · over / under, to the nearest, half-way cases to even, of the lane's type.

    All but the lane are floats of one type. Exact where the products and `under` are integers that the type holds: the quotient is then
    rounded correctly, so that a half-way case is exactly that, and no other quotient gets there.
    """

    def generate(context, builder, signature, arguments):
        kind, real = signature.args[0], signature.args[3]
        llreal = context.get_value_type(real)
        narrow = types.int32 if real == types.float32 else types.int64
        value = builder.sitofp(_fitted(builder, arguments[0], kind, narrow, context), llreal)
        _, least, most, zero, over, under = arguments
        value = builder.select(builder.fcmp_ordered("<", value, most), value, most)
        value = builder.select(builder.fcmp_ordered(">", value, least), value, least)
        value = builder.fdiv(builder.fmul(builder.fsub(value, zero), over), under)
        rint = builder.module.declare_intrinsic("llvm.rint", [llreal])
        whole = builder.fptosi(builder.call(rint, [value]), context.get_value_type(narrow))
        return _fitted(builder, whole, narrow, kind, context)

    return lane(lane, least, most, zero, over, under), generate


def _fitted(builder, value, kind, target, context):
    """An integer in another integer's width."""
    wanted = context.get_value_type(target)
    if value.type.width == wanted.width:
        return value
    if value.type.width > wanted.width:
        return builder.trunc(value, wanted)
    return builder.sext(value, wanted) if kind.signed else builder.zext(value, wanted)
