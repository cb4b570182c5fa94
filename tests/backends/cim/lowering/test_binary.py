"""Binary layers are products of signs."""

from __future__ import annotations

import numpy as np
import pytest

from netwright.backends.cim.coding.reference import reference
from netwright.backends.cim.ops import coding_of
from tests.backends.cim.lowering.graphs import count, lowered, normal, outputs, parsed

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'
SIGNS = {"zero": np.float32(0), "plus": np.float32(0.5), "minus": np.float32(-0.5)}


def signs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), shape)


def test_a_dense_binary_layer_counts_equal_signs() -> None:
    scale = np.array([0.25, 2, 0.5], np.float32)
    program = parsed(
        f"""{HEAD} g (float[2, 300] x) => (float[2, 3] y) {{
            c = GreaterOrEqual (x, zero)
            s = Where (c, plus, minus)
            y = MatMul (s, w)
        }}""",
        {**SIGNS, "w": signs(0, 300, 3) * scale},
    )
    onto = lowered(program)
    (node,) = onto.nodes("CrossbarMatMul")
    coding = coding_of(node)
    assert (coding.encoding, coding.input_bits, coding.weight_bits) == ("xnor", 1, 1)
    x = normal(1, 2, 300)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], outputs(program, {"x": x})["y"])
    held = onto.value(node.inputs[1].name or "").const_value  # pyright: ignore[reportOptionalMemberAccess]
    assert held is not None
    sums, _ = reference(np.where(x >= 0, 1, -1).astype(np.int8), held.numpy(), coding)
    np.testing.assert_array_equal(sums * (np.float32(0.5) * scale), outputs(program, {"x": x})["y"])


@pytest.mark.parametrize(("pads", "products"), [("[0, 0, 0, 0]", 1), ("[1, 1, 1, 1]", 0)])
def test_padding_is_no_sign(pads: str, products: int) -> None:
    program = parsed(
        f"""{HEAD} g (float[1, 4, 6, 6] x) => (float[1, 3, H, W] y) {{
            c = GreaterOrEqual (x, zero)
            s = Where (c, plus, minus)
            y = Conv <pads = {pads}> (s, w, b)
        }}""",
        {**SIGNS, "w": signs(2, 3, 4, 3, 3), "b": np.array([0.5, -2, 0], np.float32)},
    )
    onto = lowered(program)
    assert count(onto, "CrossbarMatMul") == products
    x = normal(1, 1, 4, 6, 6)
    np.testing.assert_array_equal(outputs(onto, {"x": x})["y"], outputs(program, {"x": x})["y"])
    reasons = [miss.reason[:26] for miss in onto.ledger.misses if miss.rule == "crossbars"]
    assert reasons == ([] if products else ["a padded window of signs: "])


def test_sign_of_zero_is_no_sign() -> None:
    program = parsed(f"{HEAD} g (float[2, 8] x) => (float[2, 3] y) {{ s = Sign (x)\n y = MatMul (s, w) }}", {"w": signs(0, 8, 3)})
    assert "Sign gives 0 for 0" in lowered(program).ledger.misses[0].reason
