"""Lengths that exporters cut or divide: what they are known to equal."""

from __future__ import annotations

import onnx_ir

from netwright.ir import Program, shapes


def shape_of_sum(table_rows: int) -> str:
    program = Program(
        onnx_ir.from_onnx_text(
            f"""<ir_version: 10, opset_import: ["" : 20]>
            g (float[batch, sequence, 8] x, float[1, {table_rows}, 8] table) => (float[a, b, c] y)
            <int64[1] start = {{0}}, int64[1] axis = {{1}}>
            {{
                length = Shape <start: int = 1, end: int = 2> (x)
                rows = Slice(table, start, length, axis)
                sum = Add(x, rows)
                y = Relu(sum)
            }}"""
        )
    )
    shapes.infer(program)
    return str(program.value("sum").shape)


def test_the_cut_table_takes_the_length_of_the_sequence() -> None:
    assert shape_of_sum(512) == "[batch,sequence,8]"


def test_a_table_of_one_row_broadcasts() -> None:
    assert shape_of_sum(1) == "[batch,sequence,8]"


def test_the_rows_of_a_flattened_batch_divide_back() -> None:
    program = Program(
        onnx_ir.from_onnx_text(
            """<ir_version: 10, opset_import: ["" : 20]>
            g (int64[batch, sequence] x) => (int64[n] y)
            <int64 zero = {0}, int64 one = {1}>
            {
                s = Shape(x)
                b = Gather(s, zero)
                t = Gather(s, one)
                n = Mul(b, t)
                q = Div(n, b)
                r = Range(zero, q, one)
                y = Neg(r)
            }"""
        )
    )
    shapes.infer(program)
    assert str(program.value("r").shape) in ("[sequence]", "[Max(0, sequence)]")


def test_a_split_into_more_parts_than_contents_are_followed() -> None:
    sizes = [5] * 95 + [2]
    outputs = ", ".join(f"p{place}" for place in range(len(sizes)))
    program = Program(
        onnx_ir.from_onnx_text(
            f"""<ir_version: 10, opset_import: ["" : 20]>
            g (float[batch, {sum(sizes)}] x) => (float[a, b] y)
            <int64[{len(sizes)}] sizes = {{{", ".join(map(str, sizes))}}}>
            {{ {outputs} = Split <axis = 1> (x, sizes)  y = Relu (p95) }}"""
        )
    )
    shapes.infer(program)
    assert str(program.value("p0").shape) == "[batch,5]"
    assert str(program.value("p95").shape) == "[batch,2]"
