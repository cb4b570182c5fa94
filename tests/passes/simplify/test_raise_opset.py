"""`simplify(opset=…)` raises a model's operator set, keeps values and origins, and refuses what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir.errors import PipelineError
from netwright.ir.verify import verify
from netwright.passes import Context, Pipeline, run
from tests.passes.programs import PROGRAMS, feeds_for, program_of


@pytest.mark.parametrize("sample", PROGRAMS)
def test_a_raised_program_computes_the_same(sample: str) -> None:
    program = PROGRAMS[sample]()
    feeds = feeds_for(program)
    expected = OrtExecutor().run(program, feeds)
    raised = run(program, Pipeline.parse("simplify(opset=23)"), Context()).program
    verify(raised)
    assert (program.opset, raised.opset) == (20, 23)
    for name, actual in OrtExecutor().run(raised, feeds).items():
        np.testing.assert_allclose(actual, expected[name], rtol=1e-4, atol=1e-5)
    assert raised.ledger.actions[0].rule == "raise_opset" or any(a.rule == "raise_opset" for a in raised.ledger.actions)


def test_operators_that_only_the_later_opset_has_are_fused() -> None:
    weights = {"two": np.array(2.0, np.float32), "eps": np.array(1e-5, np.float32), "gamma": np.ones(8, np.float32)}
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        rms (float[N, 8] x, WEIGHTS) => (float[N, 8] y)
        <int64[1] last = {-1}>
        {
            s = Pow (x, two)
            m = ReduceMean (s, last)
            e = Add (m, eps)
            r = Sqrt (e)
            d = Div (x, r)
            y = Mul (gamma, d)
        }""",
        weights,
    )
    assert "RMSNormalization" not in {node.op_type for node in run(program, Pipeline.parse("simplify"), Context()).program.nodes()}
    assert [node.op_type for node in run(program, Pipeline.parse("simplify(opset=23)"), Context()).program.nodes()] == ["RMSNormalization"]


def test_an_opset_is_only_raised() -> None:
    outcome = run(PROGRAMS["conv_net"](), Pipeline.parse("simplify(opset=18)"), Context())
    assert outcome.program.opset == 20
    assert any("only raised" in miss.reason for miss in outcome.rows[0].misses)


@pytest.mark.parametrize("opset", [7, 9999])
def test_an_opset_that_does_not_exist_is_refused(opset: int) -> None:
    with pytest.raises(PipelineError, match="can be asked for"):
        Pipeline.parse(f"simplify(opset={opset})")
