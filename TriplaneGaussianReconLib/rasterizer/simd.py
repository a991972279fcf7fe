"""Blocks of LANES numbers as a numba type, so that kernels for short rows of pixels do use vector instructions.

LLVM does not vectorise loops over a handful of pixels by itself: arrays might overlap, and the remainder loops would do
all the work.  So everything is emitted as portable LLVM vectors, which become instructions of whatever width the
processor has.  Sums are taken in a fixed order.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8
_CONTRACT = ("contract",)  # a * b + c may be rounded once

# Minimax polynomial of 2^f for |f| <= 1/2 (least relative error, Lawson's iteration); 2e-9 before rounding.
_EXP2 = (1.00000000055, 0.6931472057372633, 0.2402264689062057, 0.055503287769714776, 0.00961848895853186,
         0.0013399931217406777, 0.00015345811630771734)
_LOWEST_EXPONENT = -126.0  # 2^k is a normal number in float32 down to here


class Lanes(types.Type):
    """LANES numbers of one floating-point type."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, ir.VectorType(manager[lanes.scalar].get_value_type(), LANES))


def _constant(vector: ir.VectorType, numbers: float | Sequence[float]) -> ir.Constant:
    numbers = [numbers] * LANES if isinstance(numbers, (int, float)) else list(numbers)
    return ir.Constant(vector, [ir.Constant(vector.element, number) for number in numbers])


def _spread(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _address(context: Any, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value,
             start: ir.Value) -> ir.Value:
    data = context.make_array(array_type)(context, builder, array).data
    vector = ir.VectorType(context.get_value_type(array_type.dtype), LANES)
    return builder.bitcast(builder.gep(data, [start], inbounds=True), vector.as_pointer())


def _each(builder: ir.IRBuilder, function: ir.Function, lanes: ir.Value) -> ir.Value:
    """Call a function of one scalar for every lane."""
    result = ir.Constant(lanes.type, ir.Undefined)
    for number in range(LANES):
        index = ir.Constant(ir.IntType(32), number)
        scalar = builder.call(function, [builder.extract_element(lanes, index)])
        result = builder.insert_element(result, scalar, index)
    return result


@intrinsic
def splat(typing_context, scalar):  # type: ignore[no-untyped-def]
    """splat(x): x in every lane."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _spread(builder, arguments[0])

    return Lanes(scalar)(scalar), emit


@intrinsic
def ramp(typing_context, scalar):  # type: ignore[no-untyped-def]
    """ramp(x): x, x + 1, x + 2, ..."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        first = _spread(builder, arguments[0])
        return builder.fadd(first, _constant(first.type, range(LANES)))

    return Lanes(scalar)(scalar), emit


@intrinsic
def load(typing_context, array, start):  # type: ignore[no-untyped-def]
    """load(array, start): LANES elements of a contiguous 1D array, which must exist."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address = _address(context, builder, signature.args[0], *arguments)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), emit


@intrinsic
def store(typing_context, array, start, lanes):  # type: ignore[no-untyped-def]
    """store(array, start, lanes): the opposite of `load`."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


@intrinsic
def total(typing_context, lanes):  # type: ignore[no-untyped-def]
    """total(lanes): their sum, pairwise."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, width = arguments[0], LANES
        while width > 1:
            width //= 2
            upper = ir.Constant(ir.VectorType(ir.IntType(32), width), [width + lane for lane in range(width)])
            lower = ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(width)))
            value = builder.fadd(builder.shuffle_vector(value, value, lower),
                                 builder.shuffle_vector(value, value, upper))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return lanes.scalar(lanes), emit


@intrinsic
def where_less(typing_context, a, b, yes, no):  # type: ignore[no-untyped-def]
    """where_less(a, b, yes, no): lane by lane, `yes` where a < b and `no` elsewhere."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.select(builder.fcmp_ordered("<", arguments[0], arguments[1]), arguments[2], arguments[3])

    return a(a, a, a, a), emit


@intrinsic
def exponential(typing_context, lanes):  # type: ignore[no-untyped-def]
    """exponential(lanes): e^x for x <= 0; to 1e-7 in float32 (but not less than 2^-126), exact in float64."""
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = arguments[0].type
        if lanes.scalar == types.float64:
            return _each(builder, builder.module.declare_intrinsic("llvm.exp", [vector.element]), arguments[0])
        scaled = builder.fmul(arguments[0], _constant(vector, math.log2(math.e)))
        lowest = _constant(vector, _LOWEST_EXPONENT)
        scaled = builder.select(builder.fcmp_ordered(">", scaled, lowest), scaled, lowest)
        # 2^k 2^f with integer k; 2^k is assembled from its bits.
        integers = ir.VectorType(ir.IntType(32), LANES)
        k = builder.fptosi(builder.fsub(scaled, _constant(vector, 0.5)), integers)
        f = builder.fsub(scaled, builder.sitofp(k, vector))
        power = _constant(vector, _EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            power = builder.fadd(builder.fmul(power, f, flags=_CONTRACT), _constant(vector, coefficient),
                                 flags=_CONTRACT)
        bits = builder.shl(builder.add(k, ir.Constant(integers, [127] * LANES)), ir.Constant(integers, [23] * LANES))
        return builder.fmul(power, builder.bitcast(bits, vector))

    return lanes(lanes), emit


def _arithmetic(symbol: Any, instruction: str) -> None:
    """Give `Lanes` the operator `symbol`."""
    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, arguments: tuple[types.Type, ...], keywords: dict[str, types.Type]) -> Any:
            a, b = arguments
            return signature(a, a, a) if isinstance(a, Lanes) and a == b else None

    @lower_builtin(symbol, Lanes, Lanes)
    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return getattr(builder, instruction)(*arguments, flags=_CONTRACT)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
