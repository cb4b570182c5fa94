"""Tables of positions cut to the sequence: broadcasting Min(512, sequence) with sequence gives sequence."""

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
                y = Add(x, rows)
            }}"""
        )
    )
    shapes.infer(program)
    return str(program.value("y").shape)


def test_the_cut_table_takes_the_length_of_the_sequence() -> None:
    assert shape_of_sum(512) == "[batch,sequence,8]"


def test_a_table_of_one_row_may_broadcast_and_proves_nothing_less() -> None:
    assert shape_of_sum(1) == "[batch,sequence,8]"
