"""Where the meaning of an operator that moves, convolves, pools, normalizes or resamples is subtle: as ONNX Runtime has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.backends.torch.ops import (
    blocks,
    convolution,
    detection,
    indexing,
    norms,
    padding,
    pieces,
    pooling,
    resize,
    sampling,
    scatter,
    sequences,
    shape,
    signal,
    text,
)
from netwright.ir.errors import NetwrightError, RunError, UnsupportedModelError
from tests.backends.torch.single import Array, assert_same

LOWEST, HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def normal(*sizes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(sizes).astype(np.float32)


def places(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def agree(
    op_type: str,
    inputs: Sequence[Array],
    settings: Mapping[str, object] | None = None,
    *,
    opset: int = 21,
    outputs: int = 1,
    **more: object,
) -> None:
    """ONNX Runtime and the torch entry give the same."""
    attributes = {**(settings or {}), **more}
    given = list(inputs)
    while given[-1] is None:
        given.pop()
    assert_same(op_type, given, attributes, outputs=(True,) * outputs, opset=opset)


# ---- shapes and pieces -------------------------------------------------------------------------------------------


def test_a_zero_in_a_shape_keeps_the_size_unless_zeros_are_allowed() -> None:
    x = torch.zeros(2, 3, 4)
    assert shape.reshape(x, [0, -1]).shape == (2, 12)
    assert shape.reshape(x, [0, 4, -1]).shape == (2, 4, 3)
    assert shape.reshape(torch.zeros(0, 3), [3, 0], allowzero=1).shape == (3, 0)


@pytest.mark.parametrize(("axis", "expected"), [(0, (1, 24)), (1, (2, 12)), (3, (24, 1)), (-1, (6, 4)), (-3, (1, 24))])
def test_flatten_gives_a_matrix_for_any_axis(axis: int, expected: tuple[int, int]) -> None:
    assert shape.flatten(torch.zeros(2, 3, 4), axis=axis).shape == expected


def test_an_empty_batch_is_flattened() -> None:
    assert shape.flatten(torch.zeros(0, 3, 4)).shape == (0, 12)


def test_new_axes_stand_where_the_result_has_them() -> None:
    assert shape.unsqueeze(torch.zeros(3, 4), [-1, 0, 2]).shape == (1, 3, 1, 4, 1)


def test_expanding_broadcasts_both_ways() -> None:
    x = torch.arange(3.0).reshape(3, 1)
    assert shape.expand(x, [2, 1, 4]).shape == (2, 3, 4)
    assert shape.expand(x, [1]).shape == (3, 1)
    assert shape.expand(x, [4]).shape == (3, 4)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((0, 4), (3, 0), (0, 2), (1, -1)),
        ((-1,), (LOWEST,), (1,), (-1,)),
        ((HIGHEST,), (LOWEST,), (-1,), (-2,)),
        ((-9, 1), (HIGHEST, -1), (0, -1), (2, 1)),
        ((-9,), (LOWEST,), (0,), (-1,)),
        ((1,), (3,), (2,), (-1,)),
        ((3,), (-4,), (2,), (-3,)),
    ],
)
def test_slices_clamp_their_bounds_and_go_both_ways(
    starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    agree("Slice", [normal(3, 4, 5), places(*starts), places(*ends), places(*axes), places(*steps)])


def test_a_split_into_a_number_of_pieces_has_a_smaller_last_one() -> None:
    agree("Split", [normal(2, 7)], outputs=3, axis=1, num_outputs=3)
    sizes = [part.shape[0] for part in pieces.split(torch.zeros(6), wanted=(True, False, True))]
    assert sizes == [2, 2, 2]


def test_the_first_steps_of_each_sequence_are_reversed() -> None:
    agree("ReverseSequence", [normal(4, 3, 2), places(1, 4, 0)])
    agree("ReverseSequence", [normal(3, 4), places(3, 0, 4)], batch_axis=0, time_axis=1)


# ---- padding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize(
    ("sizes", "pads", "axes"),
    [
        ((2, 3, 5, 4), (1, 2, 0, 3), (2, -1)),
        ((5, 4), (2, 0, 1, 3), None),
        ((4, 3, 5), (2, 1), (0,)),
        ((6,), (3, 4), (0,)),
        ((5, 4), (-1, 2, -2, 1), None),
        ((6,), (-2, 2), (0,)),
    ],
)
def test_padding_adds_to_the_axes_named_and_removes_where_negative(
    mode: str, sizes: tuple[int, ...], pads: tuple[int, ...], axes: tuple[int, ...] | None
) -> None:
    value = np.array(1.5, np.float32) if mode == "constant" else None
    agree("Pad", [normal(*sizes), places(*pads), value, None if axes is None else places(*axes)], mode=mode)


def test_reflections_go_on_past_the_other_end() -> None:
    found = padding.pad(torch.tensor([0, 1, 2]), [5, 4], mode="reflect")
    np.testing.assert_array_equal(found.numpy(), np.pad([0, 1, 2], (5, 4), mode="reflect"))
    assert padding.pad(torch.tensor([7]), [2, 1], mode="reflect").tolist() == [7, 7, 7, 7]


def test_an_unknown_way_of_padding_is_refused() -> None:
    with pytest.raises(NetwrightError, match="no mode 'mirror'"):
        padding.pad(torch.zeros(3), [1, 1], mode="mirror")


@pytest.mark.parametrize("sizes", [(2, 7), (5, 4), (3, 3), (4, 6)])
def test_cropping_and_padding_keep_the_middle(sizes: tuple[int, int]) -> None:
    agree("CenterCropPad", [normal(4, 3, 5), places(*sizes)], axes=[0, -1])


# ---- reading and writing at places -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape_of_indices", [(), (2,), (2, 3)])
@pytest.mark.parametrize(("sizes", "axis"), [((5, 4), 0), ((5, 4), 1), ((5, 3, 4), -3), ((2, 5, 4), 1)])
def test_gathered_indices_count_from_the_back_where_negative(shape_of_indices: tuple[int, ...], sizes: tuple[int, ...], axis: int) -> None:
    indices = np.random.default_rng(1).integers(-sizes[axis], sizes[axis], shape_of_indices)
    agree("Gather", [normal(*sizes), indices.astype(np.int32)], axis=axis)


def test_an_index_beyond_the_end_is_an_error() -> None:
    with pytest.raises(IndexError):
        indexing.gather(torch.zeros(3, 2), torch.tensor([3]))


@pytest.mark.parametrize(
    ("sizes", "axes", "batch_dims"), [((3, 4, 5), (3, 2, 1), 1), ((2, 3, 4, 5), (2, 3, 2, 1), 2), ((3, 4, 5), (6, 2), 0)]
)
def test_coordinates_run_along_the_axes_of_the_batch(sizes: tuple[int, ...], axes: tuple[int, ...], batch_dims: int) -> None:
    agree("GatherND", [normal(*sizes), np.random.default_rng(2).integers(-3, 3, axes)], batch_dims=batch_dims)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot_marks_nothing_for_an_index_out_of_range(axis: int) -> None:
    agree("OneHot", [places(-6, -5, -1, 0, 4, 5).reshape(2, 3), np.array(5), np.array([0.5, 2], np.float32)], axis=axis)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_scattered_elements_replace_or_combine(reduction: str, dtype: str) -> None:
    x, updates = (normal(3, 4) * 4).astype(dtype), (normal(2, 4, seed=1) * 4).astype(dtype)
    once = places(0, -1, 2, 1, 1, -3, -2, 0).reshape(2, 4)
    twice = places(0, 1, 2, 1, 0, 1, 2, 1).reshape(2, 4)
    agree("ScatterElements", [x, once if reduction == "none" else twice, updates], reduction=reduction)
    rows = places(2, 0).reshape(2, 1) if reduction == "none" else places(2, -1).reshape(2, 1)
    agree("ScatterND", [x, rows, updates], reduction=reduction)
    agree("ScatterND", [x, places(0, -1, 2, 1).reshape(2, 2), updates[:, 0]], reduction=reduction)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint64, torch.float8_e4m3fn])
def test_types_that_torch_only_stores_are_moved(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).to(dtype)
    index = torch.tensor([[1, 0]])
    assert indexing.gather_elements(x, index, axis=1).float().tolist() == [[2.0, 1.0]]
    assert scatter.scatter_elements(x, index, x[1:], axis=0).float().tolist() == [[1.0, 4.0], [3.0, 4.0]]
    assert scatter.scatter_nd(x, torch.tensor([[-1]]), x[:1]).float().tolist() == [[1.0, 2.0], [1.0, 2.0]]
    if not dtype.is_floating_point:
        assert scatter.scatter_nd(x, torch.tensor([[0]]), x[1:], reduction="add").dtype == dtype
        assert scatter.scatter_nd(x, torch.tensor([[0]]), x[1:], reduction="add").float().tolist() == [[4.0, 6.0], [3.0, 4.0]]


def test_a_circular_cache_goes_on_at_its_beginning() -> None:
    cache, update = torch.zeros(2, 3, 1), torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    found = scatter.tensor_scatter(cache, update, torch.tensor([2, 1]), mode="circular")
    assert found.flatten(1).tolist() == [[2.0, 0.0, 1.0], [0.0, 3.0, 4.0]]


# ---- sequences ---------------------------------------------------------------------------------------------------


def test_sequences_are_lists_that_are_never_changed() -> None:
    one, two, three = (torch.tensor([number]) for number in (1, 2, 3))
    given = sequences.sequence_construct(one, two)
    assert [part.item() for part in sequences.sequence_insert(given, three, -1)] == [1, 3, 2]
    assert [part.item() for part in sequences.sequence_insert(given, three)] == [1, 2, 3]
    assert [part.item() for part in sequences.sequence_erase(given, -2)] == [2]
    assert sequences.sequence_length(given).item() == 2
    assert sequences.concat_from_sequence(given, axis=0, new_axis=1).shape == (2, 1)
    assert len(given) == 2


def test_a_sequence_is_split_by_one_size_or_by_many() -> None:
    x = torch.zeros(5, 2)
    assert [part.shape for part in sequences.split_to_sequence(x, 2)] == [(2, 2), (2, 2), (1, 2)]
    assert [part.shape for part in sequences.split_to_sequence(x, [5])] == [(5, 2)]
    assert sequences.split_to_sequence(x, keepdims=0)[0].shape == (2,)


def test_an_empty_optional_has_no_element() -> None:
    assert not sequences.optional_has_element(sequences.optional())
    assert sequences.optional_has_element(sequences.optional([torch.zeros(1)]))
    with pytest.raises(RunError, match="holds nothing"):
        sequences.optional_get_element(None)


# ---- convolution -------------------------------------------------------------------------------------------------


def test_equal_padding_is_left_to_the_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("padded by hand")

    x, w = torch.from_numpy(normal(1, 2, 5, 5)), torch.from_numpy(normal(3, 2, 3, 3))
    expected = F.conv2d(x, w, None, 2, 1)
    monkeypatch.setattr(convolution.F, "pad", refuse)
    assert convolution.conv(x, w, pads=(1, 1, 1, 1), strides=(2, 2)).equal(expected)
    assert convolution.conv(x, w, auto_pad="SAME_UPPER", strides=(2, 2)).equal(expected)
    with pytest.raises(AssertionError, match="by hand"):
        convolution.conv(x, w, pads=(1, 1, 0, 1))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "attributes",
    [
        {"auto_pad": "SAME_UPPER", "strides": 2},
        {"auto_pad": "SAME_LOWER", "strides": 2},
        {"auto_pad": "VALID", "dilations": 2},
        {"pads": (0, 2), "dilations": 2, "group": 2},
    ],
)
def test_convolutions_pad_as_onnx_runtime_does(rank: int, attributes: dict[str, object]) -> None:
    settings = {name: [value] * rank if name in ("strides", "dilations") else value for name, value in attributes.items()}
    if "pads" in settings:
        settings["pads"] = [0] * rank + [2] * rank
    group = settings.get("group", 1)
    assert isinstance(group, int)
    agree("Conv", [normal(2, 4, *(6, 5, 7)[:rank]), normal(4, 4 // group, *(2, 3, 2)[:rank]), normal(4)], settings)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 3], "pads": [1, 0, 0, 1]},
        {"strides": [2, 2], "output_padding": [1, 0], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "output_shape": [11, 9], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_shape": [11, 9], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "output_shape": [9, 8]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"dilations": [2, 1], "group": 2},
    ],
)
def test_transposed_convolutions_crop_as_onnx_runtime_does(attributes: dict[str, object]) -> None:
    group = attributes.get("group", 1)
    assert isinstance(group, int)
    agree("ConvTranspose", [normal(1, 4, 5, 4), normal(4, 4 // group, 3, 3), normal(4)], attributes)


def test_zeros_follow_where_more_is_wanted_than_there_is() -> None:
    x, w = torch.ones(1, 1, 3), torch.ones(1, 1, 2)
    found = convolution.conv_transpose(x, w, torch.tensor([0.5]), output_shape=(7,))
    assert found.flatten().tolist() == [1.5, 2.5, 2.5, 1.5, 0.5, 0.5, 0.5]


def test_more_than_three_axes_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="over 4 axes"):
        convolution.conv(torch.zeros(1, 1, 2, 2, 2, 2), torch.zeros(1, 1, 1, 1, 1, 1))


def test_deformable_taps_are_read_between_elements() -> None:
    agree(
        "DeformConv",
        [normal(2, 4, 6, 5), normal(6, 2, 3, 2), normal(2, 2 * 6 * 2, 6, 5, seed=1), normal(6), normal(2, 2 * 6, 6, 5, seed=2)],
        group=2,
        offset_group=2,
        pads=[1, 0, 1, 1],
    )


def test_blocks_are_added_up() -> None:
    agree("Col2Im", [normal(1, 2 * 6, 16), places(5, 6), places(2, 3)])


def test_blocks_over_three_axes_are_added_up_to_where_they_were_taken_from() -> None:
    image = torch.from_numpy(normal(2, 3, 4, 5, 4)).double()
    taken = F.pad(image, (0, 1, 1, 0, 0, 0)).unfold(2, 2, 2).unfold(3, 2, 1).unfold(4, 3, 1)
    columns = taken.permute(0, 1, 5, 6, 7, 2, 3, 4).reshape(2, 3 * 12, -1)
    other = torch.from_numpy(normal(*columns.shape, seed=1)).double()
    added = blocks.col2im(other, [4, 5, 4], [2, 2, 3], strides=(2, 1, 1), pads=(0, 1, 0, 0, 0, 1))
    torch.testing.assert_close((added * image).sum(), (other * columns).sum())


# ---- pooling -----------------------------------------------------------------------------------------------------

POOLS: dict[str, dict[str, object]] = {
    "plain": {"kernel_shape": [2, 3]},
    "padded": {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "strides": [2, 1]},
    "asymmetric": {"kernel_shape": [3, 3], "pads": [2, 0, 1, 1], "strides": [2, 2]},
    "behind only": {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
    "rounded up": {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
    "rounded up over the padding": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [3, 2], "ceil_mode": 1},
    "rounded up, asymmetric": {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "strides": [2, 3], "ceil_mode": 1},
    "dilated": {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 0, 0, 1], "strides": [1, 2]},
    "dilated, rounded up": {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    "same, odd one behind": {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "same, odd one before": {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    "valid": {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "VALID"},
}


@pytest.mark.parametrize("attributes", POOLS.values(), ids=POOLS)
def test_pools_take_the_windows_that_onnx_runtime_takes(attributes: dict[str, object]) -> None:
    x = normal(2, 3, 7, 6)
    agree("AveragePool", [x], attributes)
    agree("AveragePool", [x], attributes, count_include_pad=1)
    agree("LpPool", [x], attributes, p=3, opset=22)
    agree("MaxPool", [x], attributes)
    agree("MaxPool", [x], attributes, outputs=2)
    agree("MaxPool", [x], attributes, outputs=2, storage_order=1)


def test_pools_run_over_one_and_three_axes() -> None:
    agree("AveragePool", [normal(1, 2, 9)], kernel_shape=[4], pads=[1, 3], strides=[2])
    agree("MaxPool", [normal(1, 2, 4, 5, 6)], outputs=2, kernel_shape=[2, 2, 3], pads=[0, 1, 1, 1, 0, 1], storage_order=1)


def test_the_largest_byte_is_found_behind_padding() -> None:
    agree("MaxPool", [np.arange(-30, 30, dtype=np.int8).reshape(1, 1, 6, 10)], kernel_shape=[3, 3], pads=[2, 0, 0, 1])


def test_a_channels_maximum_passes_its_gradient_to_the_first_of_equals() -> None:
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    pooling.global_max_pool(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]


def test_unpooling_puts_elements_back_where_they_were() -> None:
    x = torch.from_numpy(normal(2, 3, 6, 4))
    taken = pooling.max_pool(x, kernel_shape=(2, 2), strides=(2, 2), wanted=(True, True))
    assert isinstance(taken, tuple)
    found = pooling.max_unpool(*taken, kernel_shape=(2, 2), strides=(2, 2))
    assert found.count_nonzero() == taken[0].numel()
    assert found[found != 0].equal(x[found != 0])
    larger = pooling.max_unpool(*taken, [2, 3, 7, 5], kernel_shape=(2, 2), strides=(2, 2))
    assert larger[:, :, :6, :4].equal(found)


# ---- norms -------------------------------------------------------------------------------------------------------


def test_batch_statistics_are_the_populations() -> None:
    scale, bias, mean, var = (np.abs(normal(3, seed=seed)) for seed in range(4))
    agree("BatchNormalization", [normal(4, 3, 5), scale, bias, mean, var], epsilon=1e-3)
    agree("BatchNormalization", [normal(4, 3, 5), scale, bias, mean, var], outputs=3, training_mode=1, momentum=0.7)


def test_trained_batch_normalization_is_the_modules() -> None:
    module = torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.2)
    scale, bias, mean, var = torch.ones(3), torch.zeros(3), torch.zeros(3), torch.ones(3)
    x = torch.from_numpy(normal(4, 3, 2, 2))
    for training in (True, True, False):
        module.train(training)
        found = norms.batch_norm_trained(x, scale, bias, mean, var, epsilon=1e-3, momentum=0.8, training=training)
        assert isinstance(found, torch.Tensor)
        torch.testing.assert_close(found, module(x))
    torch.testing.assert_close(mean, module.running_mean)
    torch.testing.assert_close(var, module.running_var)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_layer_normalization_gives_its_statistics(axis: int) -> None:
    sizes = (2, 4, 5)[axis:]
    agree("LayerNormalization", [normal(2, 4, 5), normal(*sizes), normal(*sizes, seed=1)], outputs=3, axis=axis)
    agree("LayerNormalization", [normal(2, 4, 5), normal(*sizes)], axis=axis, epsilon=0.1)


def test_layer_normalization_broadcasts_its_scale() -> None:
    x, scale = torch.from_numpy(normal(2, 3, 4)), torch.tensor([2.0])
    found = norms.layer_norm(x, scale, torch.ones(4))
    torch.testing.assert_close(found, F.layer_norm(x, (4,)) * 2 + 1)


def test_halves_are_normalized_in_single_precision() -> None:
    x = torch.full((1, 4), 300.0, dtype=torch.float16) + torch.tensor([0.0, 1.0, 2.0, 4.0], dtype=torch.float16)
    found = norms.rms_norm(x, torch.ones(4, dtype=torch.float16))
    assert found.dtype == torch.float16
    assert found.isfinite().all()
    _, mean, inverse = norms.layer_norm(x, torch.ones(4, dtype=torch.float16), wanted=(True, True, True))
    assert mean.dtype == inverse.dtype == torch.float32


def test_scales_are_by_group_in_old_opsets_and_by_channel_in_new() -> None:
    agree("GroupNormalization", [normal(2, 6, 5), normal(3), normal(3, seed=1)], opset=18, num_groups=3)
    agree("GroupNormalization", [normal(2, 6, 5), normal(6), normal(6, seed=1)], opset=21, num_groups=3)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_neighbouring_channels_of_an_even_window_lie_behind(size: int) -> None:
    x = torch.from_numpy(normal(2, 5, 3))
    square = [sum(x[:, other] ** 2 for other in range(max(0, c - (size - 1) // 2), min(5, c + size - (size - 1) // 2))) for c in range(5)]
    expected = x / (1.5 + 0.2 / size * torch.stack([torch.as_tensor(one) for one in square], 1)) ** 0.6
    torch.testing.assert_close(norms.local_response_norm(x, size=size, alpha=0.2, beta=0.6, bias=1.5), expected)


def test_a_row_of_zeros_stays_zeros_when_divided_by_its_norm() -> None:
    found = norms.lp_normalize(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), axis=1)
    assert found.tolist() == [[0.0, 0.0], [torch.tensor(0.6).item(), torch.tensor(0.8).item()]]


# ---- resampling --------------------------------------------------------------------------------------------------

TRANSFORMATIONS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("coordinates", TRANSFORMATIONS)
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 3), (1, 1, 0.5, 1.5), (2, 3, 1, 0.75)])
def test_the_nearest_element_is_onnx_runtimes(coordinates: str, rounding: str, scales: tuple[float, ...]) -> None:
    given = [normal(1, 2, 4, 4), None, np.array(scales, np.float32)]
    agree("Resize", given, mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize("coordinates", [*TRANSFORMATIONS, "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [(7, 9), (3, 2), (4, 1), (1, 5)])
def test_interpolation_is_onnx_runtimes(coordinates: str, mode: str, sizes: tuple[int, int]) -> None:
    given = [normal(1, 2, 4, 5), None, None, places(*sizes)]
    agree("Resize", given, mode=mode, coordinate_transformation_mode=coordinates, axes=[2, 3])
    agree("Resize", given, mode=mode, coordinate_transformation_mode=coordinates, axes=[2, 3], antialias=1)


def test_fractions_of_a_size_are_cut_off_in_single_precision() -> None:
    agree("Resize", [normal(1, 1, 10, 10), None, np.array([1, 1, 0.7, 0.33], np.float32)], mode="linear")
    assert resize.resize(torch.zeros(1, 1, 10), None, [1, 1, float(np.float32(0.7))]).shape == (1, 1, 7)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_the_ratio_of_sizes_is_kept(policy: str, mode: str) -> None:
    given = [normal(1, 1, 4, 6), None, None, places(7, 8)]
    agree("Resize", given, mode=mode, keep_aspect_ratio_policy=policy, axes=[2, 3])


def test_cubic_neighbours_outside_weigh_nothing_if_told_so() -> None:
    given = [normal(1, 1, 4, 4), None, np.array([1, 1, 0.8, 2], np.float32)]
    agree("Resize", given, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)


def test_a_region_of_interest_is_resized_and_filled_outside() -> None:
    region = np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], np.float32)
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0, "mode": "linear"}
    agree("Resize", [normal(1, 1, 4, 4), region, None, places(1, 1, 3, 3)], attributes)


def test_three_axes_are_interpolated() -> None:
    agree("Resize", [normal(1, 2, 3, 4, 3), None, np.array([1, 1, 2, 1.5, 2], np.float32)], mode="linear")


def test_resized_bytes_are_rounded_and_clipped() -> None:
    x = torch.tensor([[[0, 255, 255, 0]]], dtype=torch.uint8)
    found = resize.resize(x, None, [1, 1, 2], mode="cubic")
    assert found.dtype == torch.uint8
    assert found.max() == 255
    assert found.min() == 0


@pytest.mark.parametrize(
    ("attributes", "message"),
    [({"mode": "lanczos"}, "lanczos"), ({"coordinate_transformation_mode": "x"}, "'x'"), ({"nearest_mode": "up"}, "'up'")],
)
def test_unknown_ways_of_resizing_are_refused(attributes: dict[str, str], message: str) -> None:
    call: Callable[..., torch.Tensor] = resize.resize
    with pytest.raises(NetwrightError, match=message):
        call(torch.zeros(1, 1, 2), None, [1, 1, 2], **attributes)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_a_grid_reads_one_axis_as_two_of_which_one_has_a_single_element(mode: str, align_corners: int, padding_mode: str) -> None:
    x, grid = torch.from_numpy(normal(2, 3, 6)), torch.from_numpy(normal(2, 8, 1))
    flat = torch.cat([grid, torch.zeros(2, 8, 1)], -1).unsqueeze(1)
    rows = x.unsqueeze(2).expand(-1, -1, 5, -1)
    expected = sampling.grid_sample(rows, flat, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    found = sampling.grid_sample(x, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    torch.testing.assert_close(found, expected.squeeze(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grids_have_the_names_of_opset_16_too(mode: str) -> None:
    agree("GridSample", [normal(1, 2, 4, 5), normal(1, 3, 3, 2)], opset=16, mode=mode, padding_mode="border")


# ---- detection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("limits", [(3, 0.3, 0.2), (20, 0.0, None), (0, 0.5, 0.1)])
def test_boxes_that_overlap_better_ones_are_left_out(center: int, limits: tuple[int, float, float | None]) -> None:
    draw = np.random.default_rng(4)
    boxes, scores = draw.random((2, 12, 4)).astype(np.float32), draw.random((2, 3, 12)).astype(np.float32)
    most, overlap, lowest = limits
    least = None if lowest is None else np.array([lowest], np.float32)
    given = [boxes, scores, places(most), np.array([overlap], np.float32), least]
    agree("NonMaxSuppression", given, center_point_box=center)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_regions_are_read_as_onnx_runtime_reads_them(mode: str, ratio: int, coordinates: str) -> None:
    rois = np.array([[-1, 0, 3.5, 4], [2, 1, 2.2, 1.1], [1, 2, 8, 7], [0.5, 0.5, 0.5, 0.5]], np.float32)
    attributes = {"output_height": 2, "output_width": 3, "spatial_scale": 0.9, "coordinate_transformation_mode": coordinates}
    agree("RoiAlign", [normal(2, 3, 6, 7), rois, places(0, 1, 1, 0)], attributes, mode=mode, sampling_ratio=ratio)
    boxes = np.concatenate([np.array([[0], [1], [1], [0]], np.float32), rois], 1)
    agree("MaxRoiPool", [normal(2, 3, 6, 7), boxes], pooled_shape=[2, 3], spatial_scale=0.9)


def test_no_regions_give_no_features() -> None:
    found = detection.roi_align(torch.zeros(1, 2, 4, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), output_height=2)
    assert found.shape == (0, 2, 2, 1)


# ---- signals and text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, 6, 10])
@pytest.mark.parametrize("parts", [1, 2])
def test_transforms_cut_or_fill_the_axis(length: int | None, parts: int) -> None:
    x, size = normal(2, 8, 3, parts), None if length is None else np.array(length)
    agree("DFT", [x, size, np.array(1)], opset=20)
    agree("DFT", [x, size, np.array(-3)], opset=20, inverse=1)
    agree("DFT", [x, size], opset=17, axis=1)
    if parts == 1:
        agree("DFT", [x, size, np.array(1)], opset=20, onesided=1)


def test_half_a_spectrum_is_turned_back_into_a_real_signal() -> None:
    x = torch.from_numpy(normal(2, 8, 1))
    half = signal.dft(x, onesided=1)
    torch.testing.assert_close(signal.dft(half, inverse=1, onesided=1), x)
    torch.testing.assert_close(signal.dft(signal.dft(x[:, :7], onesided=1), 7, inverse=1, onesided=1), x[:, :7])


def test_frames_are_windowed_and_transformed() -> None:
    x, window = normal(2, 32, 1), np.hanning(8).astype(np.float32)
    agree("STFT", [x, np.array(4), window, np.array(8)], onesided=0)
    agree("STFT", [x, np.array(5), None, np.array(8)])
    assert signal.stft(torch.from_numpy(x), 4).shape == (2, 1, 17, 2)


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("op_type", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows_are_onnx_runtimes(op_type: str, periodic: int) -> None:
    agree(op_type, [np.array(9)], periodic=periodic, output_datatype=11)


def test_mel_filters_are_onnx_runtimes() -> None:
    for count, length in ((8, 16), (40, 512), (20, 32)):
        edges = (np.array(80, np.float32), np.array(7600, np.float32))
        agree("MelWeightMatrix", [np.array(count), np.array(length), np.array(16000), *edges])


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_n_grams_are_counted_with_their_skips(mode: str) -> None:
    attributes: dict[str, object] = {
        "mode": mode,
        "min_gram_length": 1,
        "max_gram_length": 2,
        "max_skip_count": 2,
        "ngram_counts": [0, 3],
        "ngram_indexes": [4, 0, 1, 2, 3],
        "pool_int64s": [2, 3, 5, 5, 6, 7, 8],
        "weights": [0.5, 2.0, 3.0, 0.25, 4.0],
    }
    x = np.array([[2, 5, 3, 5, 6, 2], [7, 7, 8, 5, 9, 6]], np.int64)
    agree("TfIdfVectorizer", [x], attributes)
    agree("TfIdfVectorizer", [x[0]], attributes)


def test_n_grams_of_strings_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="strings"):
        text.tf_idf(
            torch.zeros(3, dtype=torch.int64),
            max_gram_length=1,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0],
            ngram_indexes=[0],
            pool_strings=["a"],
        )


# ---- under the compiler ------------------------------------------------------------------------------------------


def _resized(x: torch.Tensor) -> torch.Tensor:
    return resize.resize(x, None, [1.0, 1.0, 2.0, 1.5], mode="cubic", coordinate_transformation_mode="asymmetric")


def _cut(x: torch.Tensor) -> torch.Tensor:
    return pieces.slice_(shape.reshape(x, [0, 0, -1]), [-1, 1], [LOWEST, HIGHEST], [1, 2], [-1, 2])


def _convolved(x: torch.Tensor) -> torch.Tensor:
    pooled = pooling.max_pool(x, kernel_shape=(2, 2), strides=(2, 2), auto_pad="SAME_LOWER")
    assert isinstance(pooled, torch.Tensor)
    return padding.pad(convolution.conv(pooled, torch.ones(2, 2, 3, 3), auto_pad="SAME_UPPER"), [2, 2], axes=[2], mode="reflect")


@pytest.mark.parametrize("function", [_resized, _cut, _convolved])
def test_entries_are_traced_with_sizes_left_open(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.compiler.reset()
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for height in (6, 7):
        x = torch.from_numpy(normal(3, 2, height, 5))
        torch.testing.assert_close(compiled(x), function(x))
