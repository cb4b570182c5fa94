"""Feature maps are found in every form of attention, and what cannot be changed is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netwright.ir.errors import PipelineError
from netwright.ir.program import Program
from netwright.passes import Context, Miss, Pipeline, run
from netwright.passes.sparsify import FeatureMap, feature_maps, select_maps
from tests.netwright.training.encoders import encoder
from tests.passes.programs import attention, conv_net, program_of


def maps(program: Program) -> list[FeatureMap]:
    return [one for one in feature_maps(program) if isinstance(one, FeatureMap)]


@pytest.mark.parametrize("pipeline", ["", "simplify", "quantize", "simplify, sparsify_activations(threshold=0.1)"])
@pytest.mark.parametrize("make", [encoder, lambda: encoder(operator=True)])
def test_the_same_maps_are_found_spelt_out_fused_quantized_and_made_sparse(make: Callable[[], Program], pipeline: str) -> None:
    program = make()
    found = maps(run(program, Pipeline.parse(pipeline), Context()).program if pipeline else program)
    named = [(one.name, one.kind) for one in found if one.kind != "softmax"]
    assert [kind for _, kind in named] == ["query", "key", "value", "context", "ffn"] * 2
    assert [name for name, _ in named if name[0] in "qkvr"] == ["q0", "k0", "v0", "r0", "q1", "k1", "v1", "r1"]
    assert all(one.threshold == (0.1 if "sparsify" in pipeline and one.kind != "softmax" else 0.0) for one in found)


def test_a_cache_is_walked_over_to_what_is_new() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        decoder (float[1, 1, 8] x, float[1, P, 8] past, WEIGHTS) => (float[1, 1, 8] y, float[1, T, 8] keys)
        {
            q = MatMul (x, w)
            new = MatMul (x, w2)
            v = MatMul (x, w)
            keys = Concat <axis: int = 1> (past, new)
            turned = Transpose <perm: ints = [0, 2, 1]> (keys)
            s = MatMul (q, turned)
            p = Softmax <axis: int = -1> (s)
            vs = Concat <axis: int = 1> (past, v)
            c = MatMul (p, vs)
            y = MatMul (c, w)
        }""",
        {"w": _eye(), "w2": _eye()},
    )
    assert [(one.name, one.kind) for one in maps(program)] == [
        ("q", "query"),
        ("new", "key"),
        ("v", "value"),
        ("p", "softmax"),
        ("c", "context"),
    ]


def test_a_value_that_others_read_too_is_left_alone_and_said() -> None:
    program = program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        self (float[1, T, 8] x, WEIGHTS) => (float[1, T, 8] y)
        {
            h = MatMul (x, w)
            turned = Transpose <perm: ints = [0, 2, 1]> (h)
            s = MatMul (h, turned)
            p = Softmax <axis: int = -1> (s)
            c = MatMul (p, h)
            y = Add (c, h)
        }""",
        {"w": _eye()},
    )
    misses = [one for one in feature_maps(program) if isinstance(one, Miss)]
    assert [miss.site for miss in misses] == ["h"]
    assert "read by others too" in misses[0].reason


def test_no_maps_no_change() -> None:
    outcome = run(conv_net(), Pipeline.parse("sparsify_activations(threshold=0.1)"), Context())
    assert outcome.rows[0].actions == 0
    assert "no feature map was found" in outcome.rows[0].misses[0].reason


def test_where_names_kinds_or_patterns() -> None:
    found = maps(encoder())
    assert [one.name for one in select_maps(found, "ffn")] == ["r0", "r1"]
    assert [one.name for one in select_maps(found, ("k?", "value"))] == ["k0", "v0", "k1", "v1"]
    assert all(one.kind != "softmax" for one in select_maps(found, "all"))
    assert [one.kind for one in select_maps(found, "softmax")] == ["softmax"] * 2
    with pytest.raises(PipelineError, match="'qeury' fits no feature map"):
        select_maps(maps(attention()), "qeury")


def _eye() -> np.ndarray:
    return np.eye(8, dtype=np.float32)
