"""Three-model compression: the compressed model runs, the latent weights learn, and the product is what ran."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.backends.onnxruntime import OrtExecutor
from netwright.cli import main
from netwright.ir.errors import NetwrightError, PipelineError
from netwright.ir.ledger import Action, Ledger
from netwright.ir.lineage import lineage
from netwright.ir.maps import Cast, Factor, Gone, Mapped, Split, Take
from netwright.ir.program import Program
from netwright.ir.verify import verify
from netwright.passes import Context, Pipeline, run
from netwright.passes.simplify import Simplify
from netwright.training.compress import CompressionObjective, compression_objective
from netwright.training.compressors import LowRankWeights, PassCompressor, QuantizeWeights, parse_compressor
from netwright.training.compressors.grids import to_grid
from netwright.training.compressors.lowrank import project
from netwright.training.compressors.prune import masked
from netwright.training.compressors.sites import find_weights
from netwright.training.compressors.straight import straight_through
from netwright.training.compressors.through import see_through
from netwright.training.distill import Distill
from netwright.training.distill_compress import DistillCompress
from netwright.training.errors import TrainingError
from netwright.training.loop import fit
from netwright.training.options import TrainOptions
from tests.netwright.training.encoders import encoder, sentences
from tests.netwright.training.test_matching import Narrow
from tests.passes.programs import conv_net, embedding, feeds_for, lstm, program_of

EVERYTHING = Distill(hidden="auto", attention="auto")
QUICK = TrainOptions(steps=6, lr=3e-3, threads=1)


def initializers(program: Program) -> dict[str, np.ndarray]:
    return {value.name or "": value.const_value.numpy() for value in program.initializers() if value.const_value is not None}


def away(student: Program, teacher: Program) -> float:
    """Mean squared difference of logits on sentences that nobody was trained on."""
    ids = {"ids": sentences(64, seed=9)["ids"]}
    ours, theirs = (OrtExecutor().run(program, ids)["logits"] for program in (student, teacher))
    return float(np.square(ours - theirs).mean())


def running(objective: CompressionObjective, feeds: Mapping[str, np.ndarray], step: int = 1 << 40) -> dict[str, np.ndarray]:
    """What f3 gives on torch."""
    module = objective.module.eval()
    with torch.no_grad():
        found = module(step, *[torch.from_numpy(feeds[name]) for name in module.binding.inputs])
    return {name: value.numpy() for name, value in zip(module.binding.outputs, found, strict=True)}


def dense(program: Program) -> dict[str, np.ndarray]:
    """The float weights that a product stands for, as ONNX Runtime computes them."""
    executor = OrtExecutor()
    made = [node.outputs[0].name or "" for node in program.nodes("DequantizeLinear")]
    return executor.run(program, feeds_for(program), made) if made else {}


# ---- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "levels"), [("ternary", 3), (2, 4), (3, 7), (4, 15), (8, 255)])
def test_a_grid_has_the_levels_that_its_bits_allow(bits: int | str, levels: int) -> None:
    codes = to_grid(torch.randn(4, 4096), bits, (0,))  # type: ignore[arg-type]
    assert all(len(np.unique(row)) <= levels for row in codes.values.numpy())
    assert torch.equal(codes.values, codes.values.round())
    assert torch.equal(codes.dense(), codes.values * codes.scale)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_least_squares_beats_the_largest_element(bits: int) -> None:
    weight = torch.randn(8, 512)
    squares, largest = (float((to_grid(weight, bits, (0,), fit=fit).dense() - weight).square().mean()) for fit in ("mse", "max"))
    assert squares < 0.75 * largest


def test_two_bits_come_near_the_best_four_levels_of_a_gaussian() -> None:
    """0.1188, Max 1960."""
    weight = torch.randn(1, 100_000)
    assert float((to_grid(weight, 2, ()).dense() - weight).square().mean()) == pytest.approx(0.1188, abs=0.003)


def test_ternary_weights_are_as_published() -> None:
    weight = torch.tensor([[0.1, -0.2, 0.9, -1.0]])
    codes = to_grid(weight, "ternary", (0,))
    assert codes.values.tolist() == [[0, 0, 1, -1]]
    assert float(codes.scale) == pytest.approx(0.95)


@pytest.mark.parametrize("bits", ["ternary", 2, 4, 8])
def test_rows_of_zeros_stay_zeros(bits: int | str) -> None:
    codes = to_grid(torch.stack([torch.zeros(16), torch.randn(16)]), bits, (0,))  # type: ignore[arg-type]
    assert not codes.values[0].any()
    assert bool(torch.isfinite(codes.scale).all())
    assert (codes.scale > 0).all()


def test_a_constant_row_is_kept_by_a_ternary_grid() -> None:
    assert torch.equal(to_grid(torch.full((1, 8), 0.5), "ternary", (0,)).dense(), torch.full((1, 8), 0.5))


def test_half_floats_are_fitted_in_single_precision() -> None:
    weight = (torch.randn(4, 64) * 300).half()
    codes = to_grid(weight, 4, (0,))
    assert codes.scale.dtype == torch.float16
    assert bool(torch.isfinite(codes.dense()).all())


# ---- gradients -----------------------------------------------------------------------------------------------------


def test_the_value_goes_forward_bit_for_bit_and_the_gradient_straight_back() -> None:
    latent = torch.randn(3, 5, requires_grad=True)
    value = torch.randn(3, 5) * 1e-7
    found = straight_through(latent, value, torch.tensor([True, False, True])[:, None])
    assert torch.equal(found, value)
    found.backward(torch.ones(3, 5))
    assert latent.grad is not None
    assert latent.grad.tolist() == [[1.0] * 5, [0.0] * 5, [1.0] * 5]


def test_a_latent_weight_outside_of_the_clip_gets_no_gradient() -> None:
    program = encoder()
    objective = compression_objective(program, QuantizeWeights(bits=2, where=("l0_up",), clip=0.3))
    objective.loss(objective.module, {name: torch.from_numpy(array[:16]) for name, array in sentences().items()}, 0).total.backward()
    weight = objective.module.model.get_parameter("l0_up")
    assert weight.grad is not None
    outside = weight.detach().abs() > 0.3
    assert outside.any()
    assert not weight.grad[outside].any()
    assert weight.grad[~outside].all()


def test_the_gradient_of_a_low_rank_weight_is_projected() -> None:
    left, right = (torch.from_numpy(np.linalg.qr(np.random.default_rng(size).normal(size=(size, 2)))[0]) for size in (6, 5))
    weight = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(6, 5, dtype=torch.float64)
    project(weight, left, right).backward(grad)
    on_left, on_right = left @ left.T, right @ right.T
    torch.testing.assert_close(weight.grad, on_left @ grad + grad @ on_right - on_left @ grad @ on_right)


def test_pruned_weights_get_gradients_too_and_can_come_back() -> None:
    weight = torch.tensor([0.1, -0.5, 0.3, 0.0])
    assert masked(weight, 0.5).tolist() == pytest.approx([0.0, -0.5, 0.3, 0.0])
    objective = compression_objective(encoder(), "prune(sparsity=0.6)")
    objective.loss(objective.module, {name: torch.from_numpy(array[:8]) for name, array in sentences().items()}, 0).total.backward()
    grad = objective.module.model.get_parameter("l0_up").grad
    assert grad is not None
    assert float((grad != 0).float().mean()) > 0.9


def test_shared_weights_all_get_the_means_gradient() -> None:
    objective = compression_objective(encoder(), "share")
    objective.loss(objective.module, {name: torch.from_numpy(array[:8]) for name, array in sentences().items()}, 0).total.backward()
    first, second = (objective.module.model.get_parameter(f"l{layer}_up").grad for layer in (0, 1))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)
    assert first.any()


def test_sparsity_rises_along_its_ramp() -> None:
    (compressor,) = parse_compressor("prune(sparsity=0.8, ramp=10)")
    program = encoder()
    bound = compressor.bind(program, compressor.choose(program, Context()), Context())
    weights = {name: torch.from_numpy(array) for name, array in initializers(program).items()}
    shares = [float((bound.compress(weights, step)["l0_up"] == 0).float().mean()) for step in (0, 2, 5, 10, 99)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-2:] == [pytest.approx(0.8, abs=0.01)] * 2


# ---- what is compressed --------------------------------------------------------------------------------------------


def test_which_tensors_are_compressed_is_stated() -> None:
    plan = QuantizeWeights(bits=2).choose(encoder(layers=1), Context())
    assert {name: decision["kind"] for name, decision in plan.decisions.items()} == {
        "table": "table",
        **dict.fromkeys(("l0_q", "l0_k", "l0_v", "l0_o", "l0_up", "l0_down"), "linear"),
    }
    assert plan.decisions["table"]["rows"] == [0]
    assert plan.decisions["l0_up"]["rows"] == [1]
    assert plan.note == "8 vectors (biases, norms) stay float"
    assert [(miss.site, miss.reason) for miss in plan.misses] == [
        ("head_w", "left float: it has 48 elements, under 256"),
    ]


def test_the_head_stays_float_unless_asked_for() -> None:
    (miss,) = QuantizeWeights().choose(embedding(), Context()).misses
    expected = "left float: it is the head, the last layer before an output (MatMul %y, tied to other layers); head=True compresses it"
    assert (miss.site, miss.reason) == ("table", expected)
    assert "table" in QuantizeWeights(head=True).choose(embedding(), Context()).decisions


def test_tables_have_a_scale_for_each_entry_even_where_layers_have_one() -> None:
    plan = QuantizeWeights(per="tensor").choose(encoder(layers=1), Context())
    assert (plan.decisions["table"]["rows"], plan.decisions["l0_up"]["rows"]) == ([0], [])


def test_patterns_choose_tensors() -> None:
    plan = QuantizeWeights(where=("l0_*", "table"), exclude=("*_up",)).choose(encoder(), Context())
    assert sorted(plan.decisions) == ["l0_down", "l0_k", "l0_o", "l0_q", "l0_v", "table"]


def test_convolutions_and_recurrent_layers_have_rows_of_their_own() -> None:
    assert [(site.kind, site.rows) for site in find_weights(lstm(), head=True).sites] == [("recurrent", (0, 1))] * 2
    small = {miss.site: miss.reason for miss in find_weights(conv_net()).misses}
    assert "216 elements" in small["w"]


def test_a_tied_table_is_one_tensor() -> None:
    (site,) = find_weights(embedding(), head=True).sites
    assert (site.name, site.rows, len(site.readers)) == ("table", (0,), 2)


def test_layers_of_low_rank_must_be_smaller_than_the_whole() -> None:
    plan = LowRankWeights(rank=12).choose(encoder(layers=1), Context())
    assert "factors of rank 12 have 384 elements, it has 256" in {miss.site: miss.reason for miss in plan.misses}["l0_q"]


# ---- the product ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["row", "tensor"])
@pytest.mark.parametrize("bits", [8, 4, 3, 2, "ternary"])
@pytest.mark.parametrize("operator", [False, True], ids=["opset20", "opset23"])
def test_a_products_float_weights_are_those_that_ran_bit_for_bit(bits: int | str, per: str, operator: bool) -> None:
    objective = compression_objective(encoder(layers=1, operator=operator), f"quantize(bits={bits!r}, per={per!r})")
    product = fit(objective, sentences(), QUICK)
    verify(product)
    ran = objective.module.compressed(0)
    stored = dense(product)
    assert sorted(stored) == ["l0_down", "l0_k", "l0_o", "l0_q", "l0_up", "l0_v"]
    for name, array in stored.items():
        assert ran[name].detach().numpy().tobytes() == array.tobytes()
    int4 = [value.name for value in product.initializers() if value.dtype is not None and value.dtype.name == "INT4"]
    assert bool(int4) == (operator and bits != 8)


@pytest.mark.parametrize(
    "text", ["quantize(bits=2)", "quantize(bits='ternary', per='tensor')", "prune(sparsity=0.5), quantize(bits='ternary')"]
)
@pytest.mark.parametrize("sample", ["convolutions", "lstm", "embedding"])
def test_a_product_computes_what_ran(text: str, sample: str) -> None:
    program = {"convolutions": _wide_conv_net, "lstm": lstm, "embedding": embedding}[sample]()
    objective = compression_objective(program, text.replace(")", ", head=True)"))
    product = objective.product()
    verify(product)
    feeds = feeds_for(program)
    expected = running(objective, feeds)
    for name, found in OrtExecutor().run(product, feeds).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-4)


def test_value_maps_lead_from_the_trained_weights_to_the_integers() -> None:
    program = encoder(operator=True)
    product = fit(compression_objective(program, "quantize(bits=3)"), sentences(), QUICK)
    since = Ledger(product.ledger.actions)
    for name, array in initializers(product).items():
        if not name.endswith((".int4", ".int8")):
            continue
        origin = lineage(since, name)
        weight = name.rpartition(".")[0]
        assert origin.sources == (weight,)
        back = origin.map.reconstruct(array)
        assert isinstance(back, np.ndarray)
        np.testing.assert_array_equal(origin.map.apply(back), array)


def test_a_product_remembers_every_tensor_in_its_ledger() -> None:
    product = fit(compression_objective(encoder(layers=1), "quantize(bits=4)"), sentences(), QUICK)
    first, *rest = product.ledger.actions
    assert "tensors were trained" in first.why
    assert sorted(action.site for action in rest) == ["l0_down", "l0_k", "l0_o", "l0_q", "l0_up", "l0_v", "table"]
    assert next(action.why for action in rest if action.site == "table") == "4-bit weights with a scale for each of 40 rows, stored as int8"


def test_weights_without_readers_do_not_stay() -> None:
    product = compression_objective(encoder(), "quantize(bits=8)").product()
    assert not {"table", "l0_up", "l1_down"} & set(initializers(product))


def test_bytes_are_told_nominally_and_as_stored() -> None:
    program = encoder(operator=True)
    found = compression_objective(program, "quantize(bits=2)").bytes()
    matrices = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    compressed, scales = matrices + 40 * 16, 2 * (4 * 16 + 32 + 16) + 40
    assert found.before - found.nominal == round(compressed * 4 - compressed * 2 / 8 - scales * 4)
    assert found.before - found.stored == round(compressed * 4 - (matrices / 2 + 40 * 16) - scales * 4)


def test_a_lowrank_product_has_two_thin_layers_for_each() -> None:
    program = encoder(layers=1)
    objective = compression_objective(program, "lowrank(ratio=0.5)")
    product = fit(objective, sentences(), QUICK)
    held = initializers(product)
    assert (held["l0_up.u"].shape, held["l0_up.v"].shape) == ((16, 5), (5, 32))
    feeds = {"ids": sentences(8)["ids"]}
    settled = objective.module.settled()[-1]
    np.testing.assert_allclose(settled["l0_up"].numpy(), held["l0_up.u"] @ held["l0_up.v"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(OrtExecutor().run(product, feeds)["logits"], running(objective, feeds)["logits"], rtol=1e-3, atol=1e-3)


def test_shared_layers_read_one_tensor() -> None:
    product = fit(compression_objective(encoder(), "share"), sentences(), QUICK)
    held = initializers(product)
    assert "l0_up" in held
    assert "l1_up" not in held
    assert len(product.value("l0_up").uses()) == 2
    assert "shared" in lineage(product.ledger, "l1_up").map.describe()


def test_layers_are_shared_in_rows_of_a_given_length() -> None:
    (compressor,) = parse_compressor("share(consecutive=2)")
    plan = compressor.choose(encoder(layers=4), Context())
    assert [plan.decisions[f"l{layer}_up"]["with"] for layer in range(4)] == ["l0_up", "l0_up", "l2_up", "l2_up"]


def test_a_pruned_product_holds_exact_zeros() -> None:
    product = fit(compression_objective(encoder(), "prune(sparsity=0.75, ramp=3)"), sentences(), QUICK)
    assert float((initializers(product)["l0_up"] == 0).mean()) == 0.75


# ---- learning ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["quantize(bits=2)", "quantize(bits='ternary', per='tensor')", "lowrank(ratio=0.3)", "prune(sparsity=0.7)", "share"]
)
def test_training_wins_back_what_compression_cost_without_labels(text: str) -> None:
    teacher = encoder()
    objective = compression_objective(teacher, text, distill=EVERYTHING)
    before = away(objective.product(), teacher)
    trained = fit(objective, {"ids": sentences(384)["ids"]}, TrainOptions(epochs=6, lr=5e-3, threads=1))
    assert away(trained, teacher) < 0.6 * before


def test_the_latent_weights_start_as_the_teachers_and_keep_full_precision() -> None:
    program = encoder()
    objective = compression_objective(program, "quantize(bits=2)")
    start = initializers(objective.latent())
    assert all(np.array_equal(start[name], array) for name, array in initializers(program).items())
    fit(objective, sentences(), QUICK)
    end = initializers(objective.latent())
    assert len(np.unique(end["l0_up"])) > 400
    assert not np.array_equal(end["l0_up"], start["l0_up"])
    assert np.array_equal(initializers(program)["l0_up"], start["l0_up"])


def test_labels_alone_train_straight_through() -> None:
    objective = compression_objective(encoder(), "quantize(bits=2)", distill=Distill(output_weight=0), loss="cross_entropy")
    assert objective.loss(objective.module, {name: torch.from_numpy(a[:8]) for name, a in sentences().items()}, 0).parts.keys() == {
        "labels"
    }


def test_another_program_can_teach() -> None:
    teacher = encoder(layers=3, seed=5)
    objective = compression_objective(encoder(), "quantize(bits=4)", teacher, EVERYTHING)
    assert "the student does not come from the teacher" in objective.misses[-1].reason
    assert float(objective.loss(objective.module, {"ids": torch.from_numpy(sentences(8)["ids"])}, 0).parts["outputs"]) > 0.01


def test_factors_stay_between_decompositions_and_in_checkpoints() -> None:
    objective = compression_objective(encoder(), "lowrank(ratio=0.3, refresh=5)")
    module = objective.module
    batch = {"ids": torch.from_numpy(sentences(8)["ids"])}
    names = [name for name in module.state_dict() if name.startswith("compressions.0.")]
    assert any(name.endswith("left0") for name in names)
    seen: list[torch.Tensor] = []
    for step in range(7):
        objective.loss(module, batch, step)
        seen.append(module.state_dict()["compressions.0.left0"].clone())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
    assert all(torch.equal(seen[0], one) for one in seen[1:5])
    assert not torch.equal(seen[0], seen[5])


# ---- activations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", ["encoder", "convolutions"])
def test_activations_of_8_bits_run_in_training_as_in_the_product(sample: str) -> None:
    program = encoder() if sample == "encoder" else _wide_conv_net()
    objective = compression_objective(program, "quantize(bits=4, activations=8)")
    product = objective.product()
    verify(product)
    feeds = {"ids": sentences(8)["ids"]} if sample == "encoder" else feeds_for(program)
    output = program.outputs[0].name or ""
    found = OrtExecutor().run(product, feeds)[output]
    np.testing.assert_allclose(found, running(objective, feeds)[output], rtol=1e-3, atol=1e-4)
    weights_only = compression_objective(program, "quantize(bits=4)")
    assert np.abs(found - running(weights_only, feeds)[output]).max() > 1e-4
    layers = len([one for one in objective.plans[0].decisions.values() if one["kind"] != "table"])
    reads = {node.inputs[0] for node in product.nodes("MatMul", "Conv") if node.inputs[0] is not None}
    quantized = {value for value in reads if (value.producer() is not None and value.producer().op_type == "DequantizeLinear")}  # type: ignore[union-attr]
    assert 0 < len(quantized) <= layers


def test_gradients_pass_quantized_activations_straight() -> None:
    program, batch = encoder(), {name: torch.from_numpy(array[:16]) for name, array in sentences().items()}
    grads: list[torch.Tensor] = []
    for text in ("quantize(bits=8)", "quantize(bits=8, activations=8)"):
        objective = compression_objective(program, text, distill=Distill(output_weight=0), loss="cross_entropy")
        objective.loss(objective.module, batch, 0).total.backward()
        grad = objective.module.model.get_parameter("l0_up").grad
        assert grad is not None
        grads.append(grad)
    assert float(torch.nn.functional.cosine_similarity(grads[0].flatten(), grads[1].flatten(), dim=0)) > 0.95


# ---- any pass ------------------------------------------------------------------------------------------------------


@pytest.fixture
def wide() -> Program:
    """A layer that `quantize` finds worth its while."""
    rng = np.random.default_rng(0)
    return program_of(
        """<ir_version: 10, opset_import: ["" : 20]>
        wide (float[N, 64] x, WEIGHTS) => (float[N, 3] y)
        {
            h = MatMul (x, w1)
            r = Relu (h)
            d = MatMul (r, w2)
            y = MatMul (d, w3)
        }""",
        {name: (rng.normal(size=shape) / 8).astype(np.float32) for name, shape in (("w1", (64, 128)), ("w2", (128, 64)), ("w3", (64, 3)))},
    )


@pytest.mark.parametrize("text", ["quantize(scheme='dynamic', refresh=2)", "quantize(scheme='weights', bits=4)"])
def test_any_pass_can_compress_and_its_weights_are_seen_through_it(wide: Program, text: str) -> None:
    objective = compression_objective(wide, text)
    assert set(objective.plans[0].decisions) == {"w1", "w2"}
    x = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    weights = objective.module.compressed(0)
    for name in ("w1", "w2"):
        latent, seen = initializers(wide)[name], weights[name].detach().numpy()
        assert 1e-4 < np.abs(seen - latent).max() < 0.05
    product = OrtExecutor().run(objective.product(), {"x": x})["y"]
    np.testing.assert_allclose(running(objective, {"x": x})["y"], product, atol=0.05)
    trained = fit(objective, {"x": x}, QUICK)
    assert any(node.op_type in ("MatMulInteger", "MatMulNBits") for node in trained.nodes())


def test_slices_that_a_pass_takes_out_are_zero_while_training() -> None:
    """What a structured pruner leaves computes the same as the masked original."""
    program = encoder()
    objective = compression_objective(program, [PassCompressor(made=Narrow(), refresh=1)])
    assert set(objective.plans[0].decisions) == {"l0_up", "l0_down"}
    seen = objective.module.compressed(0)
    gone = list(range(1, 32, 2))
    assert not seen["l0_up"][:, gone].any()
    assert not seen["l0_down"][gone].any()
    np.testing.assert_array_equal(seen["l0_up"].detach().numpy()[:, ::2], initializers(program)["l0_up"][:, ::2])
    product = fit(objective, sentences(), QUICK)
    assert initializers(product)["l0_up"].shape == (16, 16)
    feeds = {"ids": sentences(8)["ids"]}
    np.testing.assert_allclose(OrtExecutor().run(product, feeds)["logits"], running(objective, feeds)["logits"], rtol=1e-4, atol=1e-5)


def test_factors_and_pieces_and_order_are_seen_through() -> None:
    rng = np.random.default_rng(0)
    low = (rng.normal(size=(6, 2)) @ rng.normal(size=(2, 5))).astype(np.float32)
    wide, plain = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    maps = {
        "u": Mapped(Factor("u", 2), ("low",)),
        "v": Mapped(Factor("v", 2), ("low",)),
        "left": Mapped(Split(1, (2, 4), 0), ("wide",)),
        "right": Mapped(Split(1, (2, 4), 1), ("wide",)),
        "codes": Mapped(Take(0, (2, 0), 4).then(Cast("int8", "float32", 0.5)), ("plain",)),
        "lost": Mapped(Gone("thrown away"), ("lost",)),
    }
    sources = {"u": low, "v": low, "left": wide, "right": wide, "codes": plain}
    current = {name: maps[name].map.apply(array) for name, array in sources.items()}
    ledger = Ledger([Action("0:toy#1", 0, "toy", "low", 0, "all at once", maps)])
    seen = see_through(ledger, current, {"low": (6, 5), "wide": (4, 6), "plain": (4, 3), "lost": (2, 2)})
    np.testing.assert_allclose(seen.arrays["low"], low, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(seen.arrays["wide"], wide)
    assert not seen.arrays["plain"][[1, 3]].any()
    np.testing.assert_allclose(seen.arrays["plain"][[0, 2]], plain[[0, 2]], atol=0.25)
    assert seen.refused == {"lost": "%lost: thrown away (0:toy#1)"}


def test_a_score_between_steps_sees_the_product_and_leaves_training_as_it_was() -> None:
    objective = compression_objective(encoder(), "lowrank(ratio=0.3, refresh=5)")
    module, batch = objective.module.train(), {"ids": torch.from_numpy(sentences(8)["ids"])}
    objective.loss(module, batch, 3)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    objective.loss(module.eval(), batch, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    ramped = compression_objective(encoder(), "prune(sparsity=0.75, ramp=100)").module
    assert [round(float((ramped.train(mode).compressed(0)["l0_up"] == 0).float().mean()), 2) for mode in (True, False)] == [0.0, 0.75]


def test_a_name_is_a_compressor_or_else_a_pass() -> None:
    (own,) = parse_compressor("quantize(bits=4)")
    (carried,) = parse_compressor("quantize(scheme='weights', bits=4, refresh=3)")
    assert isinstance(own, QuantizeWeights)
    assert isinstance(carried, PassCompressor)
    assert (str(carried), carried.refresh) == ("quantize(scheme='weights', bits=4)", 3)


def test_a_pass_that_changes_no_weight_is_refused(wide: Program) -> None:
    with pytest.raises(NetwrightError, match="simplify changes no weight"):
        compression_objective(wide, "simplify")


# ---- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["quantize(bits=2)", "quantize(bits='ternary', per='tensor')", "prune(sparsity=0.9), quantize(bits=4)", "share"]
)
def test_text_prints_and_parses_back(text: str) -> None:
    found = parse_compressor(text)
    assert ", ".join(map(str, found)) == text
    assert parse_compressor(", ".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantise(bits=2)", "There is no compressor named quantise"),
        ("quantize(bits=1)", "2 to 8 bits"),
        ("quantize(bit=2)", "quantize has no option bit"),
        ("quantize(bits=", "does not parse"),
        ("quantize(2)", "options go by name"),
        ("", "empty"),
        ("lowrank, quantize(bits=4)", "lowrank replaces tensors"),
        ("quantize(bits=4), prune", "quantize comes last"),
        ("prune, quantize(bits=2)", "no zero"),
        ("prune(sparsity=1)", "from 0 to below 1"),
    ],
)
def test_text_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        parse_compressor(text)


def test_nothing_to_compress_is_an_error_that_says_why() -> None:
    with pytest.raises(TrainingError, match="nothing to compress") as caught:
        compression_objective(encoder(), "quantize(bits=4, where=('elsewhere',))")
    assert caught.value.remedy is not None
    assert "no pattern of where names it" in caught.value.remedy


# ---- the pass ------------------------------------------------------------------------------------------------------


def test_it_runs_in_a_pipeline() -> None:
    program = encoder()
    pipeline = Pipeline(
        (Simplify(), DistillCompress(compressor="quantize(bits=2)", steps=6, lr=3e-3, distill={"hidden": "auto"}), Simplify())
    )
    outcome = run(program, pipeline, Context(training=[{"ids": sentences(32)["ids"]}]))
    row = outcome.rows[1]
    assert row.actions == 1 + 13
    assert {miss.site for miss in row.misses} == {"head_w"}
    assert {action.rule for action in outcome.program.ledger.actions} >= {"distill_compress"}
    assert len(list(outcome.program.nodes("DequantizeLinear"))) == 12, "simplify leaves the integers alone"
    assert math.isfinite(away(outcome.program, program))


def test_where_nothing_can_be_compressed_the_pipeline_goes_on_and_says_why() -> None:
    pass_ = DistillCompress(compressor="lowrank(rank=99)", steps=1)
    (row,) = run(encoder(layers=1), [pass_], Context(training=[{"ids": sentences(32)["ids"]}])).rows
    assert row.actions == 0
    assert row.misses[-1].reason == "there is nothing to compress, and so nothing was trained"
    assert any("left whole: factors of rank 99" in miss.reason for miss in row.misses)


def test_factors_are_quantized_by_a_second_pass() -> None:
    text = (
        "distill_compress(compressor='lowrank(ratio=0.6)', steps=4, lr=0.003), "
        "distill_compress(compressor='quantize(bits=4)', steps=4, lr=0.003, teacher='original', distill={'hidden': 'auto'}), "
        "recover(steps=2, lr=0.001)"
    )
    program = encoder(width=32)
    context = Context(training=[sentences(32)], loss="cross_entropy", original=program)
    outcome = run(program, Pipeline.parse(text), context)
    verify(outcome.program)
    assert {"l0_up.u.int8", "l0_up.v.int8"} < set(initializers(outcome.program))
    assert [row.actions > 0 for row in outcome.rows] == [True] * 3
    assert math.isfinite(away(outcome.program, program))


def test_a_wrong_compressor_is_refused_before_anything_runs() -> None:
    with pytest.raises(PipelineError, match="no compressor named quantise"):
        run(encoder(), [Simplify(), DistillCompress(compressor="quantise")], Context(training=[]))


def test_its_options_are_checked_when_it_is_made() -> None:
    with pytest.raises(TrainingError, match="teacher is 'me'"):
        DistillCompress(teacher="me")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="distill has no option hiden"):
        DistillCompress(distill={"hiden": "auto"})


def test_labels_count_where_a_loss_is_given(tmp_path: Path) -> None:
    """Without labels in the data, a loss on them is an error unless it is left out."""
    context = Context(training=[{"ids": sentences(32)["ids"]}], loss="cross_entropy")
    run(encoder(), [DistillCompress(steps=1, labels=False)], context)
    with pytest.raises(NetwrightError, match="no labels"):
        run(encoder(), [DistillCompress(steps=1)], context)


def test_the_command_line_compiles_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = (tmp_path / name for name in ("model.onnx", "data.npz", "small.onnx"))
    nw.save(encoder(operator=True), model)
    rows = sentences()
    np.savez(data, ids=rows["ids"], labels=rows["labels"])
    pipeline = "simplify, distill_compress(compressor='quantize(bits=2)', steps=6, lr=3e-3, batch_size=16, distill={'attention': 'auto'})"
    arguments = ["compile", model, "-p", pipeline, "-o", out, "--training", data, "--metric", "agreement", "--json"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert not stop.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["passes"][1]["actions"] == 14
    assert report["after"]["metric"] > 0.5
    assert report["after"]["ops"]["DequantizeLinear"] == 12
    assert out.stat().st_size < 0.6 * model.stat().st_size


def test_train_takes_a_compressor(tmp_path: Path) -> None:
    program, data = encoder(), sentences()
    trained = nw.train(
        program,
        data,
        compressor="quantize(bits=2)",
        distill=EVERYTHING,
        loss="cross_entropy",
        steps=6,
        lr=3e-3,
        metric="agreement",
        validation=data,
        checkpoint=tmp_path,
        threads=1,
    )
    assert [miss.site for miss in trained.ledger.misses] == ["head_w"]
    assert len(list(trained.nodes("DequantizeLinear"))) == 12
    again = nw.train(
        program,
        data,
        compressor="quantize(bits=2)",
        distill=EVERYTHING,
        loss="cross_entropy",
        steps=6,
        lr=3e-3,
        metric="agreement",
        validation=data,
        checkpoint=tmp_path,
        resume=True,
        threads=1,
    )
    assert all(np.array_equal(array, initializers(again)[name]) for name, array in initializers(trained).items())


def _wide_conv_net() -> Program:
    """Two convolutions of one shape."""
    rng = np.random.default_rng(0)
    shapes = {"c1.w": (16, 3, 3, 3), "c2.w": (16, 16, 3, 3), "c3.w": (16, 16, 3, 3), "fc": (10, 16), "bias": (10,)}
    names = {"c1.w": "c1w", "c2.w": "c2w", "c3.w": "c3w"}
    weights = {names.get(name, name): (rng.normal(size=shape) / 6).astype(np.float32) for name, shape in shapes.items()}
    return program_of(
        """<ir_version: 10, opset_import: ["" : 21]>
        convolutions (float[N, 3, 8, 8] x, WEIGHTS) => (float[N, 10] y)
        {
            a = Conv <pads: ints = [1, 1, 1, 1]> (x, c1w)
            b = Relu (a)
            c = Conv <pads: ints = [1, 1, 1, 1]> (b, c2w)
            d = Relu (c)
            e = Conv <pads: ints = [1, 1, 1, 1]> (d, c3w)
            f = Relu (e)
            p = GlobalAveragePool (f)
            g = Flatten (p)
            y = Gemm <transB: int = 1> (g, fc, bias)
        }""",
        weights,
    )
