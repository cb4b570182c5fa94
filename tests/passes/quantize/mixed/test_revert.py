"""Sites put back until the metric holds."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.onnxruntime import OrtExecutor
from netwright.ir import Program
from netwright.ir.errors import ContractError
from netwright.ir.fingerprint import fingerprint
from netwright.passes import Context
from netwright.passes.plan import Plan
from netwright.passes.quantize.carrying import Carrying
from netwright.passes.quantize.choice import Dynamic
from netwright.passes.quantize.mixed import reverted
from netwright.passes.quantize.planning import survey
from netwright.passes.quantize.reading import decisions_of
from tests.passes.programs import program_of
from tests.passes.quantize.helpers import HEAD, evaluate, normal

WIDTH, COUNT = 64, 6
X = {"x": normal(32, WIDTH, seed=5)}


def chain() -> Program:
    """y = Σ 2 ** -k x Wk: the first weights matter most."""
    weights = {f"w{k}": normal(WIDTH, WIDTH, seed=k) * 2.0**-k for k in range(COUNT)}
    products = " ".join(f"p{k} = MatMul (x, w{k})" for k in range(COUNT))
    total = f"y = Sum ({', '.join(f'p{k}' for k in range(COUNT))})"
    return program_of(f"{HEAD} g (float[N, {WIDTH}] x, WEIGHTS) => (float[N, {WIDTH}] y) {{ {products} {total} }}", weights)


def setting(bits: int) -> tuple[Program, Plan, Context, list[int]]:
    """A program, a plan of so many bits, a context whose metric falls with the error, and a list that grows with each scoring."""
    program, scored = chain(), list[int]()
    goal = evaluate(program, X)[0]

    def metric(one: Program) -> float:
        scored.append(1)
        return 1 - float(np.linalg.norm(evaluate(one, X)[0] - goal) / np.linalg.norm(goal))

    choices = dict.fromkeys(survey(program).units, Dynamic(bits))
    plan = Plan(pass_name="quantize", fingerprint=fingerprint(program), decisions=decisions_of(choices))
    return program, plan, Context(executor=OrtExecutor(), calibration=[X], metric=metric, original=program), scored


def test_as_few_as_needed_go_back_the_dearest_first() -> None:
    program, plan, context, scored = setting(8)
    carry = Carrying(context).carried
    metric = context.metric
    assert metric is not None
    whole = 1 - metric(carry(program, plan))
    scored.clear()
    found = reverted(program, plan, carry, context, whole / 2)
    back = [miss.site for miss in found.misses]
    assert back == [f"p{k}" for k in range(len(back))]
    assert 0 < len(back) < COUNT
    assert set(found.decisions) == {f"p{k}" for k in range(len(back), COUNT)}
    assert len(scored) <= 2 + 2 + int(np.log2(COUNT)) + 1
    assert metric(carry(program, found)) >= 1 - whole / 2
    one_less = Plan(
        pass_name="quantize",
        fingerprint=plan.fingerprint,
        decisions={name: decision for name, decision in plan.decisions.items() if name not in back[:-1]},
    )
    assert metric(carry(program, one_less)) < 1 - whole / 2
    assert "is allowed; alone, this one puts the outputs off by" in found.misses[0].reason
    assert f"{len(back)} of {COUNT} units float" in found.note


def test_fewer_bits_go_to_eight_before_anything_goes_to_float() -> None:
    program, plan, context, _ = setting(4)
    found = reverted(program, plan, Carrying(context).carried, context, 0.05)
    assert found.misses == ()
    bits = [found.decisions[f"p{k}"]["bits"] for k in range(COUNT)]
    assert bits == sorted((int(str(one)) for one in bits), reverse=True)
    assert bits[0] == 8
    assert bits[-1] == 4
    assert "with 8 bits" in found.note


def test_what_holds_stays() -> None:
    program, plan, context, scored = setting(8)
    found = reverted(program, plan, Carrying(context).carried, context, 0.5)
    assert found.decisions == plan.decisions
    assert found.misses == ()
    assert len(scored) == 2


def test_what_passes_before_have_lost_is_not_blamed_on_quantize() -> None:
    program, plan, context, _ = setting(8)
    worse = program.clone()
    with worse.edit() as editor:
        editor.set_constant(worse.value("w0"), normal(WIDTH, WIDTH, seed=99))
    plan = Plan(pass_name="quantize", fingerprint=fingerprint(worse), decisions=plan.decisions)
    found = reverted(worse, plan, Carrying(context).carried, context, 0.01)
    assert not found.decisions
    assert "which passes before have lost" in found.note


def test_a_metric_is_needed() -> None:
    program, plan, _, _ = setting(8)
    with pytest.raises(ContractError, match="needs a metric"):
        reverted(program, plan, Carrying(Context()).carried, Context(), 0.1)
