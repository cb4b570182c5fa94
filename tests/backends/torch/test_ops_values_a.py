"""Where the meaning of an operator on floats is subtle: bounds, axes, ties, ignored labels, draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from netwright.backends.torch.dtypes import to_tensor
from netwright.backends.torch.ops import (
    activations,
    arithmetic,
    cumulative,
    elementwise,
    losses,
    making,
    matmul,
    optimizers,
    reductions,
    selection,
)
from netwright.backends.torch.ops import random as chance

NAN = float("nan")


def test_the_extreme_of_a_number_and_nan_is_nan() -> None:
    x, y = torch.tensor([1.0, NAN]), torch.tensor([NAN, 2.0])
    assert arithmetic.maximum(x, y).isnan().all()
    assert arithmetic.minimum(x, y, x).isnan().all()


def test_clipping_ends_at_the_upper_bound_where_bounds_cross() -> None:
    x = torch.tensor([-5.0, 0.5, 5.0])
    for low, high in ((2.0, 1.0), (torch.tensor(2.0), torch.tensor(1.0)), (2.0, torch.tensor(1.0))):
        assert arithmetic.clip(x, low, high).tolist() == [1.0, 1.0, 1.0]
    assert arithmetic.clip(x, -1.0, 1.0).tolist() == [-1.0, 0.5, 1.0]
    assert arithmetic.clip(x, None, torch.tensor(1.0)).tolist() == [-5.0, 0.5, 1.0]


def test_a_bound_in_a_tensor_gets_the_gradient_of_what_it_clips() -> None:
    high = torch.tensor(1.0, requires_grad=True)
    arithmetic.clip(torch.tensor([-5.0, 2.0, 3.0]), None, high).sum().backward()
    assert high.grad is not None
    assert high.grad.item() == 2.0


def test_halves_are_rounded_to_even() -> None:
    assert elementwise.round_half_to_even(torch.tensor([0.5, 1.5, 2.5, -2.5])).tolist() == [0.0, 2.0, 2.0, -2.0]


def test_infinities_are_told_by_sign() -> None:
    x = torch.tensor([np.inf, -np.inf, 1.0])
    assert elementwise.is_infinite(x, detect_negative=0).tolist() == [True, False, False]
    assert elementwise.is_infinite(x, detect_positive=0).tolist() == [False, True, False]
    assert elementwise.is_infinite(x, detect_positive=0, detect_negative=0).tolist() == [False, False, False]


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1), (1, 4, 1), (2, 3, 4, 5)])
def test_a_slope_of_any_shape_that_broadcasts_is_taken(shape: tuple[int, ...]) -> None:
    x, slope = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.rand(shape) + 0.1
    torch.testing.assert_close(activations.prelu(x, slope), torch.where(x < 0, x * slope, x))


def test_the_slope_of_integers_is_an_integer() -> None:
    assert activations.prelu(torch.tensor([-3, 3]), torch.tensor(2)).tolist() == [-6, 3]


def test_shrinking_works_on_unsigned_integers() -> None:
    assert activations.shrink(torch.tensor([1, 5], dtype=torch.uint16), lambd=2.0, bias=1.0).tolist() == [0, 4]


# ---- reductions --------------------------------------------------------------------------------------------------


def test_no_axes_mean_all_of_them_or_none() -> None:
    x = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    nothing: list[int] = []
    for axes in (None, nothing):
        assert reductions.reduce_sum(x, axes).tolist() == [[6.0]]
        assert reductions.reduce_sum(x, axes, noop_with_empty_axes=1).tolist() == x.tolist()
        assert reductions.reduce_sum_of_squares(x, axes, noop_with_empty_axes=1).tolist() == [[1.0, 4.0], [9.0, 16.0]]
        assert reductions.reduce_l2(x, axes, noop_with_empty_axes=1).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert reductions.reduce_product(x, [0, -1], keepdims=0).item() == -24.0


REDUCTIONS = ("sum", "product", "max", "min", "l1", "l2", "sum_of_squares")


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_integers_keep_their_type(name: str) -> None:
    for kind in (torch.int32, torch.uint16, torch.uint64):
        found = getattr(reductions, f"reduce_{name}")(torch.tensor([[3, 4]], dtype=kind), [1])
        assert found.dtype == kind
        assert found.item() == {"sum": 7, "product": 12, "max": 4, "min": 3, "l1": 7, "l2": 5, "sum_of_squares": 25}[name]


@pytest.mark.parametrize(("name", "value"), [("sum", 0.0), ("product", 1.0), ("max", -np.inf), ("min", np.inf), ("log_of_sum", -np.inf)])
def test_nothing_reduces_to_the_neutral_element(name: str, value: float) -> None:
    found = getattr(reductions, f"reduce_{name}")(torch.zeros(2, 0, 4), [1], keepdims=0)
    assert found.tolist() == [[value] * 4] * 2


def test_nothing_of_integers_reduces_to_the_ends_of_their_range() -> None:
    assert reductions.reduce_min(torch.zeros(1, 0, dtype=torch.uint64), [1]).tolist() == [[2**64 - 1]]
    assert reductions.reduce_max(torch.zeros(1, 0, dtype=torch.int8), [1]).tolist() == [[-128]]
    assert reductions.reduce_max(torch.zeros(1, 0, dtype=torch.bool), [1]).tolist() == [[False]]


def test_cumulative_sums_may_leave_the_element_out_and_run_backwards() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    assert cumulative.cumulative_sum(x, [0], exclusive=1).tolist() == [0.0, 1.0, 3.0]
    assert cumulative.cumulative_sum(x, 0, reverse=1).tolist() == [6.0, 5.0, 3.0]
    assert cumulative.cumulative_product(x, 0, exclusive=1, reverse=1).tolist() == [6.0, 3.0, 1.0]
    assert cumulative.cumulative_sum(torch.tensor([1, 2], dtype=torch.uint32), 0).dtype == torch.uint32


# ---- selection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [0, 1])
def test_of_equal_elements_the_first_come_first_in_top_k(largest: int) -> None:
    x = torch.tensor([2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    values, indices = selection.top_k(x, [4], largest=largest)
    assert values.tolist() == ([2.0, 2.0, 2.0, 1.0] if largest else [1.0, 1.0, 1.0, 2.0])
    assert indices.tolist() == ([0, 2, 4, 1] if largest else [1, 3, 5, 0])


def test_the_index_of_an_extreme_is_the_first_or_the_last() -> None:
    x = torch.tensor([[3, 1, 3], [1, 1, 2]], dtype=torch.uint64)
    assert selection.argmax(x, axis=1).tolist() == [[0], [2]]
    assert selection.argmax(x, axis=-1, select_last_index=1, keepdims=0).tolist() == [2, 2]
    assert selection.argmin(x, axis=1, select_last_index=1).tolist() == [[1], [1]]
    assert selection.argmax(torch.tensor([1, 2**63], dtype=torch.uint64), keepdims=0).item() == 1


def test_distinct_elements_come_sorted_or_by_first_appearance() -> None:
    x = torch.tensor([2, 1, 1, 3, 4, 3])
    assert [part.tolist() for part in selection.unique(x, sorted=0)] == [[2, 1, 3, 4], [0, 1, 3, 4], [0, 1, 1, 2, 3, 2], [1, 2, 2, 1]]
    assert [part.tolist() for part in selection.unique(x)] == [[1, 2, 3, 4], [1, 0, 3, 4], [1, 0, 0, 2, 3, 2], [2, 1, 2, 1]]
    rows = torch.tensor([[2.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert [part.tolist() for part in selection.unique(rows, axis=0, sorted=0)] == [[[2.0, 1.0], [1.0, 1.0]], [0, 1], [0, 1, 0], [2, 1]]
    assert selection.unique(rows, axis=1, sorted=0)[0].tolist() == rows.tolist()


def test_indices_of_what_is_not_zero_have_a_row_for_each_axis() -> None:
    assert selection.nonzero(torch.tensor([[0, 5], [7, 0]], dtype=torch.uint16)).tolist() == [[0, 1], [1, 0]]
    assert selection.nonzero(torch.tensor(3.0)).shape == (0, 1)


def test_a_condition_may_be_shorter_than_what_it_picks_from() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    assert selection.compress(x, torch.tensor([False, True]), axis=0).tolist() == [[2.0, 3.0]]
    assert selection.compress(x, torch.tensor([True, False, True])).tolist() == [0.0, 2.0]


# ---- making ------------------------------------------------------------------------------------------------------


def test_a_range_has_the_type_that_it_is_given() -> None:
    cpu = torch.device("cpu")
    assert making.arange(10, 4, [-2], device=cpu).tolist() == [10, 8, 6]
    assert making.arange(0, 3, 1, device=cpu, result=torch.int32).dtype == torch.int32
    long = making.arange(0.0, 3000.0, 1.0, device=cpu, result=torch.float16)
    assert long.dtype == torch.float16
    assert long.shape == (3000,)


def test_triangles_are_cut_from_unsigned_integers_too_and_pass_gradients() -> None:
    assert making.triangle(torch.ones(2, 3, dtype=torch.uint32), [1]).tolist() == [[0, 1, 1], [0, 0, 1]]
    x = torch.ones(2, 2, requires_grad=True)
    making.triangle(x, upper=0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0], [1.0, 1.0]]


# ---- products ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "int32", "uint32"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 1), (3, 4), None])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.0, 3.0)])
def test_gemm_adds_a_scaled_matrix_of_any_shape_that_broadcasts(
    kind: str, shape: tuple[int, ...] | None, alpha: float, beta: float
) -> None:
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 5, (2, 3)).astype(kind), draw.integers(0, 5, (4, 2)).astype(kind)
    c = None if shape is None else draw.integers(0, 5, shape).astype(kind)
    expected = alpha * (a.T @ b.T) + (0 if c is None else beta * c)
    other = None if c is None else to_tensor(np.array(c))
    found = matmul.gemm(to_tensor(a), to_tensor(b), other, alpha=alpha, beta=beta, transA=1, transB=1).numpy()
    assert found.dtype == np.dtype(kind)
    np.testing.assert_allclose(found, expected)


def test_determinants_are_computed_in_half_precision_too() -> None:
    assert matmul.determinant(torch.eye(2, dtype=torch.float16) * 2).item() == 4.0


# ---- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_ignored_label_has_no_loss_and_no_weight(reduction: str, weighted: bool) -> None:
    x = torch.log_softmax(torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1)), 1)
    labels = torch.tensor([[0, 5], [2, 1]])
    weight = torch.tensor([0.5, 1.0, 2.0]) if weighted else None
    share = torch.ones(3) if weight is None else weight
    parts = torch.stack([-share[0] * x[0, 0, 0], torch.tensor(0.0), -share[2] * x[1, 2, 0], -share[1] * x[1, 1, 1]]).reshape(2, 2)
    expected = {"none": parts, "sum": parts.sum(), "mean": parts.sum() / (share[0] + share[2] + share[1])}[reduction]
    for trained in (False, True):
        given = None if weight is None else weight.clone().requires_grad_(trained)
        found = losses.negative_log_likelihood_loss(x, labels, given, ignore_index=5, reduction=reduction)
        torch.testing.assert_close(found.detach(), expected)


def test_the_cross_entropy_gives_log_probabilities_only_if_wanted() -> None:
    scores, labels = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1)), torch.zeros(4, 5, dtype=torch.int32)
    loss, nothing = losses.softmax_cross_entropy_loss(scores, labels, wanted=(True,))
    again, log_probabilities = losses.softmax_cross_entropy_loss(scores, labels, wanted=(True, True))
    torch.testing.assert_close(loss, again)
    assert nothing is None
    torch.testing.assert_close(log_probabilities, torch.log_softmax(scores, 1))


# ---- chance ------------------------------------------------------------------------------------------------------


def test_dropout_drops_only_where_the_node_and_the_module_are_training() -> None:
    x = torch.ones(1000)
    for mode, training in ((None, True), (False, True), (True, False)):
        kept, mask = chance.dropout(x, 0.5, mode, training=training)
        assert torch.equal(kept, x)
        assert mask is not None
        assert mask.all()
    torch.manual_seed(0)
    kept, mask = chance.dropout(x, [0.25], [True], training=True)
    assert mask is not None
    assert 650 < mask.sum() < 850
    torch.testing.assert_close(kept, mask / 0.75)


def test_a_seed_makes_each_run_draw_the_same() -> None:
    x = torch.full((50,), 0.5)
    assert torch.equal(chance.bernoulli(x, seed=3.0), chance.bernoulli(x, seed=3.0))
    assert torch.equal(chance.random_normal_like(x, seed=3.0), chance.random_normal_like(x, seed=3.0))
    assert not torch.equal(chance.random_uniform_like(x), chance.random_uniform_like(x))
    assert chance.multinomial(torch.zeros(2, 3), sample_size=4, dtype=torch.int64).shape == (2, 4)


# ---- optimizers --------------------------------------------------------------------------------------------------


def test_an_adam_step_is_torchs() -> None:
    draw = torch.Generator().manual_seed(0)
    value, gradient = torch.randn(5, generator=draw), torch.randn(5, generator=draw)
    zeros = torch.zeros(5)
    weight = torch.nn.Parameter(value.clone())
    weight.grad = gradient.clone()
    torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.99), eps=0.0).step()
    new, _, _ = optimizers.adam(torch.tensor(0.1), torch.tensor(1), value, gradient, zeros, zeros, alpha=0.9, beta=0.99, epsilon=0.0)
    torch.testing.assert_close(new, weight.detach())


def test_momentum_counts_the_first_gradient_in_full() -> None:
    operands = (torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0]))
    settings = {"alpha": 0.5, "beta": 0.1, "norm_coefficient": 0.0}
    first = optimizers.momentum(torch.tensor(1.0), torch.tensor(0), *operands, mode="standard", **settings)
    later = optimizers.momentum(torch.tensor(1.0), torch.tensor(1), *operands, mode="nesterov", **settings)
    assert [one.item() for one in first] == [-3.0, 4.0]
    torch.testing.assert_close(torch.stack(later).flatten(), torch.tensor([1.0 - (2.0 + 0.5 * 2.2), 2.2]))
