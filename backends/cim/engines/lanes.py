"""Operations on lanes of one width for numba, which would widen narrow integers to 64 bits: columns are lanes of 16 or 32 bits.

Imported only where numba is: the functions here exist in compiled code alone.
"""

# pyright: basic
from __future__ import annotations

from llvmlite import ir
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


def _reciprocal(tied):
    """The intrinsic below; `tied`: with half-way cases, for which the quotient is taken once more."""

    @intrinsic
    def divide(typing, lane, least, most, zero, before, multiplier, after, even, odd):
        def generate(context, builder, signature, arguments):
            kind = signature.args[0]
            fitted = [_fitted(builder, one, of, kind, context) for one, of in zip(arguments, signature.args, strict=True)]
            value, least, most, zero, before, multiplier, after, even, odd = fitted
            compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
            value = builder.select(compare("<", value, most), value, most)
            value = builder.sub(builder.select(compare(">", value, least), value, least), zero)
            nothing = context.get_constant(kind, 0)
            negative = builder.icmp_signed("<", value, nothing) if kind.signed else None
            if negative is not None:
                value = builder.select(negative, builder.sub(nothing, value), value)
            value = builder.shl(value, before)
            bias = even
            if tied:
                quotient = builder.lshr(_high(builder, value, multiplier), after)
                is_odd = builder.icmp_unsigned("!=", builder.and_(quotient, context.get_constant(kind, 1)), nothing)
                bias = builder.select(is_odd, odd, even)
            code = builder.lshr(_high(builder, builder.add(value, bias), multiplier), after)
            return code if negative is None else builder.select(negative, builder.sub(nothing, code), code)

        return lane(lane, least, most, zero, before, multiplier, after, even, odd), generate

    return divide


untied, tied = _reciprocal(False), _reciprocal(True)
"""(clip(lane, least, most) − zero) · over / under, to the nearest, half-way cases to even, by `reciprocals`: without any, and with."""


@intrinsic
def plane_bits(typing, rows, start, bit):
    """Bit `bit` of each of 64 bytes of a C-contiguous array, from byte `start` on: uint64, the first byte lowest."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        bytes_64 = ir.VectorType(ir.IntType(8), 64)
        place = builder.gep(array.data, [_fitted(builder, arguments[1], signature.args[1], types.int64, context)])
        loaded = builder.load(builder.bitcast(place, bytes_64.as_pointer()))
        loaded.align = 1
        places = _fitted(builder, arguments[2], signature.args[2], types.uint8, context)
        wanted = builder.shl(ir.Constant(ir.IntType(8), 1), places)
        lanes = builder.insert_element(ir.Constant(bytes_64, ir.Undefined), wanted, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        lanes = builder.shuffle_vector(lanes, ir.Constant(bytes_64, ir.Undefined), zeros)
        ones = builder.icmp_unsigned("!=", builder.and_(loaded, lanes), ir.Constant(bytes_64, [0] * 64))
        return builder.bitcast(ones, ir.IntType(64))

    return types.uint64(rows, start, bit), generate


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


def _high(builder, value, multiplier):
    """The upper half of an unsigned product."""
    width = value.type.width
    wide = ir.IntType(2 * width)
    product = builder.mul(builder.zext(value, wide), builder.zext(multiplier, wide))
    return builder.trunc(builder.lshr(product, ir.Constant(wide, width)), value.type)


def _fitted(builder, value, kind, target, context):
    """An integer in another integer's width."""
    wanted = context.get_value_type(target)
    if value.type.width == wanted.width:
        return value
    if value.type.width > wanted.width:
        return builder.trunc(value, wanted)
    return builder.sext(value, wanted) if kind.signed else builder.zext(value, wanted)
