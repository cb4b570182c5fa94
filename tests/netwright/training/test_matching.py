"""Which value of a teacher a student's is to be like follows from the ledger; strangers are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.ledger import Miss
from netwright.ir.maps import Mapped, Permute, Take
from netwright.ir.origin import MODULE
from netwright.ir.program import Program
from netwright.passes import Context, Lossy, Numerics, Pipeline, Rewrite, RewritePass, run
from netwright.passes.base import Proposals
from netwright.training.errors import TrainingError
from netwright.training.matching import match
from netwright.training.selection import attention_sites, expose_scores, hidden_values
from tests.netwright.training.encoders import encoder, sentences
from tests.passes.programs import conv_net, lstm, program_of


@dataclass(frozen=True, kw_only=True)
class Narrow(RewritePass):
    """Keep every other unit of the first feed-forward layer, in reversed order."""

    name: ClassVar[str] = "narrow"
    numerics: ClassVar[Numerics] = Lossy()

    def rewrites(self, program: Program, context: Context) -> Proposals:
        kept = tuple(range(30, -2, -2))
        up, down = (program.value(name) for name in ("l0_up", "l0_down"))
        arrays = {value: value.const_value.numpy() for value in (up, down) if value.const_value is not None}

        def change(editor: object) -> None:
            from netwright.ir.editor import Editor

            assert isinstance(editor, Editor)
            editor.set_constant(up, np.ascontiguousarray(arrays[up][:, kept]))
            editor.set_constant(down, np.ascontiguousarray(arrays[down][kept, :]))
            editor.map("l0_up", Mapped(Take(1, kept, 32), ("l0_up",)))
            editor.map("l0_down", Mapped(Take(0, kept, 32), ("l0_down",)))
            for name in ("u0", "r0"):
                editor.map(name, Mapped(Take(2, kept, 32), (name,)))

        yield Rewrite.edit("l0_up", "every other unit", change)


def pairs_of(student: Program, teacher: Program, **options: object) -> dict[str, str]:
    found = match(student, teacher, **options)  # type: ignore[arg-type]
    return {pair.student: pair.teacher.describe() for pair in found.pairs}


# ---- what is chosen ------------------------------------------------------------------------------------------------


def test_a_transformers_hidden_states_are_the_outputs_of_its_norms() -> None:
    assert hidden_values(encoder()) == ("n0", "m0", "n1", "m1", "n2")


def test_spelt_out_norms_are_found_by_the_names_that_simplify_leaves_them() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        norm (float[N, 8] x, WEIGHTS) => (float[N, 4] y)
        {
            m = ReduceMean (x, axis)
            c = Sub (x, m)
            q = Mul (c, c)
            v = ReduceMean (q, axis)
            e = Add (v, epsilon)
            d = Sqrt (e)
            n = Div (c, d)
            g = Mul (n, gamma)
            b = Add (g, beta)
            y = MatMul (b, w)
        }""",
        {
            "axis": np.array([-1], np.int64),
            "epsilon": np.array(1e-5, np.float32),
            "gamma": np.full(8, 2, np.float32),
            "beta": np.full(8, 3, np.float32),
            "w": np.ones((8, 4), np.float32),
        },
    )
    assert hidden_values(program) == ("b",)


def test_a_convolutional_nets_hidden_states_are_the_last_activations_of_its_blocks() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        convolutions (float[N, 8] x, WEIGHTS) => (float[N, 8] y)
        {
            a = MatMul (x, w)
            b = Relu (a)
            c = MatMul (b, w)
            g = Sigmoid (c)
            d = Mul (c, g)
            e = MatMul (d, w)
            y = Relu (e)
        }""",
        {"w": np.ones((8, 8), np.float32)},
    )
    for node, path in zip(program.graph, ("0.conv1", "0.act", "0.conv2", "0.act2", "0.act2", "1.conv", "1.act"), strict=True):
        node.metadata_props[MODULE] = f"blocks.{path}"
    assert hidden_values(program) == ("d",)


def test_without_module_paths_every_activation_counts() -> None:
    assert hidden_values(conv_net()) == ("r",)


def test_outputs_of_the_program_are_no_hidden_states() -> None:
    assert hidden_values(lstm()) == ()


def test_what_goes_into_each_softmax_of_attention_is_found() -> None:
    sites = attention_sites(encoder())
    assert [(site.scores, site.names) for site in sites] == [("scores0", ("h0", "t0", "c0")), ("scores1", ("h1", "t1", "c1"))]


def test_a_softmax_that_weights_nothing_is_no_attention() -> None:
    assert attention_sites(encoder(layers=0, ending="logits = Softmax (head)")) == ()


def test_the_attention_operator_hands_out_the_same_scores_as_the_spelt_out_form() -> None:
    spelt, fused = encoder(), encoder(operator=True)
    exposed, names = expose_scores(fused, attention_sites(fused))
    ids = {"ids": sentences()["ids"][:4]}
    expected = OrtExecutor().run(spelt, ids, ["scores0", "scores1"])
    found = OrtExecutor().run(exposed, ids, [names["c0"], names["c1"], "logits"])
    for one, other in (("scores0", names["c0"]), ("scores1", names["c1"])):
        np.testing.assert_allclose(found[other], expected[one], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["logits"], OrtExecutor().run(fused, ids)["logits"])
    assert len(next(iter(fused.nodes("Attention"))).outputs) == 1, "the program given stays as it is"


# ---- descent --------------------------------------------------------------------------------------------------------


def test_a_value_that_no_pass_touched_is_compared_with_its_namesake() -> None:
    found = pairs_of(encoder(), encoder(), hidden="auto", attention="auto")
    assert found == {name: name for name in ("logits", "n0", "m0", "n1", "m1", "n2", "scores0", "scores1")}


def test_values_are_matched_through_simplify() -> None:
    teacher = encoder()
    student = run(teacher, Pipeline.parse("simplify(opset=23)"), Context()).program
    assert len(list(student.nodes("Attention"))) == 2
    found = match(student, teacher, hidden="auto", attention="auto")
    assert [pair.student for pair in found.of("hidden")] == ["n0", "m0", "n1", "m1", "n2"]
    assert [pair.teacher.sources for pair in found.of("attention")] == [("scores0",), ("scores1",)]
    assert found.misses == ()


def test_a_pruned_layer_is_compared_with_what_was_kept_of_the_teachers() -> None:
    teacher = encoder()
    student = run(teacher, [Narrow()], Context()).program
    found = match(student, teacher, hidden=("u0", "u1"))
    pair = next(pair for pair in found.pairs if pair.student == "u0")
    ids = {"ids": sentences()["ids"][:3]}
    (source,) = pair.teacher.sources
    expected = pair.teacher.map.apply(OrtExecutor().run(teacher, ids, [source])[source])
    np.testing.assert_allclose(OrtExecutor().run(student, ids, ["u0"])["u0"], expected, rtol=1e-5, atol=1e-5)
    assert next(pair for pair in found.pairs if pair.student == "u1").teacher.describe() == "u1"


def test_a_teacher_with_passes_of_its_own_is_matched_through_the_common_ancestor() -> None:
    ancestor = encoder()
    teacher = run(ancestor, Pipeline.parse("quantize"), Context()).program
    student = run(ancestor, [Narrow()], Context()).program
    found = match(student, teacher, hidden=("u0",))
    assert found.pairs[-1].teacher.describe() == f"u0 {Take(2, tuple(range(30, -2, -2)), 32).describe()}"


def test_a_copy_of_the_student_read_from_a_file_teaches_it_without_maps() -> None:
    student = run(encoder(), [Narrow()], Context()).program
    copy = Program(student.clone().model)
    assert pairs_of(student, copy, hidden=("u0",)) == {"logits": "logits", "u0": "u0"}


# ---- strangers ------------------------------------------------------------------------------------------------------


def test_a_smaller_model_with_the_same_names_is_no_descendant() -> None:
    found = match(encoder(layers=1), encoder(layers=3), hidden="auto")
    assert [pair.kind for pair in found.pairs] == ["output"]
    assert "the student does not come from the teacher: 9 of the teacher's 21 weight matrices" in found.misses[0].reason


def test_pairs_bridge_models_that_are_strangers() -> None:
    found = match(encoder(layers=1, width=8), encoder(layers=3), pairs={"n1": "n3"})
    assert [(pair.student, pair.teacher.sources, pair.widths) for pair in found.pairs] == [
        ("logits", ("logits",), None),
        ("n1", ("n3",), (8, 16)),
    ]


def test_a_pair_of_different_ranks_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"%n1 has shape \[N, 6, 16\], and the teacher's %mean \[N, 16\]"):
        match(encoder(layers=1), encoder(layers=3), pairs={"n1": "mean"})


def test_a_pair_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrainingError, match="The teacher has no value %n9"):
        match(encoder(), encoder(), pairs={"n1": "n9"})


# ---- nothing is silent ----------------------------------------------------------------------------------------------


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(TrainingError, match="No inner float value of the student fits 'layer9"):
        match(encoder(), encoder(), hidden=("layer9*",))


def test_patterns_choose_values_and_attentions() -> None:
    found = match(encoder(), encoder(), hidden=("n?",), attention=("c1",))
    assert [pair.student for pair in found.pairs] == ["logits", "n0", "n1", "n2", "scores1"]


def test_a_model_without_attention_says_so() -> None:
    assert match(conv_net(), conv_net(), attention="auto").misses == (Miss("no attention was found to compare", "attention"),)


def test_an_integer_output_is_a_miss() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
    two (float[N, 8] x, WEIGHTS) => (float[N, 4] y, int64[N, 1] best) { y = MatMul (x, w)  best = ArgMax <axis: int = 1> (y) }"""
    program = program_of(text, {"w": np.ones((8, 4), np.float32)})
    found = match(program, program)
    assert [pair.student for pair in found.pairs] == ["y"]
    assert found.misses[0].site == "best"


def test_a_value_of_another_shape_is_a_miss_with_both_shapes() -> None:
    teacher = encoder()
    student = teacher.clone()
    with student.edit(at=student.value("r0").producer()) as editor:
        turned = editor.op("Transpose", [student.value("u0")], {"perm": [0, 2, 1]})
        back = editor.op("Transpose", [turned], {"perm": [0, 2, 1]})
        editor.rename(student.value("u0"), "before")
        editor.rename(turned, "u0")
        editor.set_input(student.value("r0").producer(), 0, back)  # type: ignore[arg-type]
    found = match(student, teacher, hidden=("u0",))
    assert found.misses[0].reason == "its shape is [N, 32, 6], and that of the teacher's %u0 [N, 6, 32]"
    assert Permute((0, 2, 1)).describe() not in found.misses[0].reason
