"""The dump, against golden text."""

from __future__ import annotations

import numpy as np
import onnx_ir

from netwright.ir.digest import SAMPLE_FROM, digest
from netwright.ir.dump import dump, dump_node
from netwright.ir.fingerprint import fingerprint
from netwright.ir.ledger import Action
from netwright.ir.maps import Factor, Mapped, Take
from netwright.ir.origin import BY, MODULE, SOURCE
from netwright.ir.program import Program
from netwright.ir.shapes import infer

TEXT = """<ir_version: 10, opset_import: ["" : 20, "f" : 1]>
encoder (float[batch, 4] x, bool c) => (float[batch, 2] y) <float[4, 2] q_weight = {1, 2, 3, 4, 5, 6, 7, 8}, int64[1] axes = {-1}> {
    h = MatMul(x, q_weight)
    zero = Constant<value_float=0.5>()
    k = Clip(h, , zero)
    u, v = Split<axis=1, num_outputs=2>(h)
    r = If(c) <then_branch = yes () => (p) { p = Relu(h) }, else_branch = no () => (q) { q = f.Scale<by=2.0>(h) }>
    y = Softmax<axis=-1>(r)
}
<domain: "f", opset_import: ["" : 20]> Scale <by> (a) => (b) { s = Constant<value_float: float = @by>()
 b = Mul(a, s) }"""

GOLDEN = """program "encoder" opset 20 f 1
in    %x: f32[batch, 4]
in    %c: b8[]
param %q_weight: f32[4, 2]  from wide take axis 1 keep 2 of 9  #DIGEST
param %axes: i64[1]  {-1}
%h: f32[batch, 2] = MatMul(%x, %q_weight)  @ model.py:41 layers.0.q  by 0:simplify#1,1:factorize#3
%zero: f32[] = Constant(value_float=0.5)
%k: f32[batch, 2] = Clip(%h, _, %zero)
%u: f32[batch, 1], %v: f32[batch, 1] = Split(%h, axis=1, num_outputs=2)
%r: f32[batch, 2] = If(%c)
  then_branch:
    %p: f32[batch, 2] = Relu(%h)
    out   %p
  else_branch:
    %q: f32[batch, 2] = f::Scale(%h, by=2)
    out   %q
%y: f32[batch, 2] = Softmax(%r, axis=-1)
out   %y

function f::Scale(%a, by) opset 20
  %s: f32 = Constant(value_float=@by)
  %b: f32 = Mul(%a, %s)
  out   %b
"""


def encoder() -> Program:
    found = Program(onnx_ir.from_onnx_text(TEXT))
    infer(found)
    node = found.value("h").producer()
    assert node is not None
    node.metadata_props.update({MODULE: "layers.0.q", SOURCE: "/somewhere/model.py:41", BY: "0:simplify#1,1:factorize#3"})
    maps = {"q_weight": Mapped(Take(1, (0, 3), 9), ("wide",))}
    found.ledger.actions.append(Action("1:prune#1", 1, "prune", "h", 0, "small", maps))
    return found


def test_everything_is_printed_one_line_a_node() -> None:
    found = encoder()
    weight = found.value("q_weight").const_value
    assert weight is not None
    expected = GOLDEN.replace("DIGEST", digest(weight)).replace("%s: f32 =", "%s: ? =").replace("%b: f32 =", "%b: ? =")
    assert dump(found) == expected


def test_columns_can_be_left_out() -> None:
    text = dump(encoder(), origins=False, actions=False, weights=False)
    assert "@ model" not in text
    assert "by 0" not in text
    assert "#" not in text
    assert "from wide" not in text
    assert "%h: f32[batch, 2] = MatMul(%x, %q_weight)\n" in text


def test_numbers_are_printed_in_their_shortest_exact_form() -> None:
    value = onnx_ir.tensor(np.array([0.1, 1e-7, 3.0, np.inf, -0.0], np.float32))
    node = onnx_ir.node("Constant", [], {"value": value}, outputs=[onnx_ir.Value(name="odd name")])
    assert dump_node(node) == '%"odd name": ? = Constant(value=f32[5]{0.1, 1e-07, 3, inf, -0})'


def test_a_factor_says_where_it_came_from() -> None:
    assert Mapped(Factor("u", 48), ("blocks.0.q.weight",)).describe() == "blocks.0.q.weight take U rank 48"


def test_digests_tell_contents_apart_but_not_ways_of_storing() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert digest(onnx_ir.tensor(array)) == digest(onnx_ir.tensor(np.asfortranarray(array)))
    assert digest(onnx_ir.tensor(array)) != digest(onnx_ir.tensor(array.reshape(4, 3)))
    assert digest(onnx_ir.tensor(array)) != digest(onnx_ir.tensor(array + 1))
    assert digest(onnx_ir.tensor(["a", "bc"])) != digest(onnx_ir.tensor(["ab", "c"]))


def test_large_tensors_are_read_in_samples() -> None:
    class Counting(onnx_ir.Tensor[np.ndarray]):
        def tobytes(self) -> bytes:
            raise AssertionError("read in whole")

    array = np.random.default_rng(0).random(SAMPLE_FROM, dtype=np.float32)
    first = digest(Counting(array))
    changed = array.copy()
    changed[0] += 1
    assert digest(Counting(changed)) != first


def test_fingerprints_see_structure_names_and_weights_only() -> None:
    found = encoder()
    before = fingerprint(found)
    node = found.value("h").producer()
    assert node is not None
    node.name = "another"
    node.metadata_props.clear()
    found.ledger.actions.clear()
    assert fingerprint(found) == before == fingerprint(found.clone())
    found.value("axes").const_value = onnx_ir.tensor(np.array([1], np.int64))
    assert fingerprint(found) != before
    renamed = encoder()
    renamed.value("k").name = "kk"
    assert fingerprint(renamed) != before
