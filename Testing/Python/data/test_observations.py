"""What the reconstruction may see."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.data import GapSamplingConfig
from TriplaneGaussianReconLib.config.gaussians import ModelSpaceConfig
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations, SliceStack
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError, InputNote

SHAPE = (6, 7, 8)


def image_on(grid: Grid, dtype: type = np.float32) -> Image:
    return Image(np.random.default_rng(1).integers(0, 200, grid.shape).astype(dtype), grid)


def grids(rotation: tuple) -> dict[str, Grid]:
    oblique = Grid(SHAPE, (1, 2, 3), (0.5, 0.7, 2.0), rotation)
    return {"identity": Grid(SHAPE), "oblique": oblique,
            "flipped": replace(oblique, direction=-np.asarray(rotation)),
            "mirrored": replace(oblique, direction=np.asarray(rotation) * (1, 1, -1))}


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["identity", "oblique", "flipped", "mirrored"])
def test_slices_ascend_along_the_normal_and_keep_their_place(rotation: tuple, name: str, axis: Axis) -> None:
    """Every pixel and label is that of the voxel which lies where the pixel lies."""
    grid = grids(rotation)[name]
    image = image_on(grid)
    labels = np.random.default_rng(2).integers(0, 3, SHAPE).astype(np.uint8)
    selection = Selection((0, 1, 4), grid.count(axis))
    observations = Observations.from_volume(image, {axis: selection}, Segmentation.from_labelmap(labels, grid))
    stack, = observations.stacks
    assert (np.diff(stack.planes.offsets) > 0).all()
    assert stack.pixels.dtype == np.float32 and stack.pixels.flags.c_contiguous
    assert stack.layers is not None and stack.layers.shape == (1, *stack.pixels.shape)
    seen = set()
    for plane, row, column in np.ndindex(*stack.pixels.shape):
        point = stack.planes.origins[plane] + row * stack.planes.row_step + column * stack.planes.column_step
        index = grid.physical_to_index(point)
        i, j, k = np.round(index).astype(int)
        np.testing.assert_allclose(index, (i, j, k), atol=1e-9)
        assert stack.pixels[plane, row, column] == image.array[k, j, i]
        assert stack.layers[0, plane, row, column] == labels[k, j, i]
        seen.add((i, j, k)[AXES.index(axis)])
    assert seen == set(selection.indices)


def test_the_slices_are_copies() -> None:
    image = image_on(Grid(SHAPE))
    observations = Observations.from_volume(image, {"k": Selection.every(6, 1)})
    before = observations.stacks[0].pixels.copy()
    image.array[:] = -1
    np.testing.assert_array_equal(observations.stacks[0].pixels, before)


def test_the_axis_with_the_closest_observed_slices_is_primary() -> None:
    """Closest in mm; a lone slice is never the primary stack, but welcome beside one."""
    image = image_on(Grid(SHAPE, spacing=(1.0, 1.0, 5.0)))
    observed: dict[Axis, Selection] = {"k": Selection.every(6, 1), "i": Selection.every(8, 2),
                                     "j": Selection((3,), 7)}
    observations = Observations.from_volume(image, observed)
    assert [len(stack.planes) for stack in observations.stacks] == [4, 6, 1]
    np.testing.assert_array_equal(np.sort(observations.stacks[0].pixels.ravel()),
                                  np.sort(image.array[:, :, ::2].ravel()))
    image = image_on(Grid(SHAPE))
    tie: dict[Axis, Selection] = {"j": Selection.every(7, 1), "k": Selection.every(6, 1)}
    assert Observations.from_volume(image, tie).stacks[0].pixels.shape[0] == 7
    tie = {"k": Selection.every(6, 1), "j": Selection.every(7, 1)}
    assert Observations.from_volume(image, tie).stacks[0].pixels.shape[0] == 6


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_the_voxel_type_is_remembered(dtype: type) -> None:
    observations = Observations.from_volume(image_on(Grid(SHAPE), dtype), {"k": Selection.every(6, 2)})
    assert observations.dtype == np.dtype(dtype)
    assert observations.intensity_range == (float(observations.stacks[0].pixels.min()),
                                            float(observations.stacks[0].pixels.max()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_without_data_weigh_nothing_and_the_nearest_stand_for_them(value: float) -> None:
    image = image_on(Grid(SHAPE))
    image.array[3, 2, 1] = value
    observations = Observations.from_volume(image, {"k": Selection((0, 2, 4), 6)})
    assert observations.stacks[0].weights is None and observations.mask is None and observations.padding is None
    with pytest.warns(InputNote, match="0.6% of the pixels.*hold no data"):
        observations = Observations.from_volume(image, {"k": Selection((0, 3, 4), 6)})
    stack = observations.stacks[0]
    assert stack.weights is not None and np.argwhere(stack.weights == 0).tolist() == [[1, 2, 1]]
    assert stack.pixels[1, 2, 1] in (image.array[3, 1:4, 1][[0, 2]].tolist() + image.array[3, 2, [0, 2]].tolist())
    assert np.isnan(observations.padding) and observations.mask is not None


def test_a_few_voxels_without_data_are_not_told_as_none() -> None:
    image = image_on(Grid((3, 40, 40)))
    image.array[1, 2, 1] = np.nan
    with pytest.warns(InputNote, match="^Less than 0.1% of the pixels"):
        Observations.from_volume(image, {"k": Selection.every(3, 1)})


def test_the_padding_value_is_no_data_whatever_it_is() -> None:
    array = np.random.default_rng(1).integers(0, 200, SHAPE).astype(np.int16)
    stacks = []
    for padding in (-2000, 9999):
        padded = array.copy()
        padded[:, :2] = padding
        with pytest.warns(InputNote, match=str(padding)):
            observations = Observations.from_volume(Image(padded, Grid(SHAPE), padding), {"k": Selection.every(6, 2)})
        assert observations.padding == padding and observations.intensity_range[0] >= 0
        stacks.append(observations.stacks[0])
    np.testing.assert_array_equal(stacks[0].pixels, stacks[1].pixels)
    np.testing.assert_array_equal(stacks[0].weights, stacks[1].weights)


def test_slices_without_any_data_are_left_out_and_named() -> None:
    image = image_on(Grid(SHAPE))
    image.array[[2, 5]] = np.nan
    with pytest.warns(InputNote, match="along k without any data are not used: 2, 5."):
        observations = Observations.from_volume(image, {"k": Selection.every(6, 1)})
    assert len(observations.stacks[0].planes) == 4 and observations.stacks[0].weights is None


def test_values_beyond_single_precision_are_named() -> None:
    image = image_on(Grid(SHAPE), np.float64)
    image.array[0, 0, 0] = 1e300
    with pytest.raises(InputError, match=r"largest voxel is 1e\+300, beyond what"):
        Observations.from_volume(image, {"k": Selection.every(6, 1)})


def test_a_constant_volume_is_refused() -> None:
    image = Image(np.full(SHAPE, 3, np.int16), Grid(SHAPE))
    image.array[1] = 9  # not observed
    with pytest.raises(InputError, match=r"same value \(3\).*Check"):
        Observations.from_volume(image, {"k": Selection.every(6, 2)})


@pytest.mark.parametrize("observed", [{}, {"k": Selection((2,), 6)}])
def test_too_few_slices_are_refused(observed: dict[Axis, Selection]) -> None:
    with pytest.raises(InputError, match="At least two slices along.*Use more"):
        Observations.from_volume(image_on(Grid(SHAPE)), observed)
    with pytest.raises(InputError, match="At least two"):
        Observations(())


@pytest.mark.parametrize("dtype", [bool, np.complex64])
def test_unsupported_voxel_types_are_refused(dtype: type) -> None:
    with pytest.raises(InputError, match="not supported. Convert"):
        Observations.from_volume(image_on(Grid(SHAPE), dtype), {"k": Selection.every(6, 2)})


def test_a_selection_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="for 5 slices, axis k has 6"):
        Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection.every(5, 2)})


def test_a_segmentation_elsewhere_is_refused() -> None:
    labels = np.ones(SHAPE, np.uint8)
    observed: dict[Axis, Selection] = {"k": Selection.every(6, 2)}
    for grid in (Grid(SHAPE, origin=(0.1, 0, 0)), Grid(SHAPE, spacing=(1, 1, 1.1))):
        with pytest.raises(InputError, match="differs from the volume's.*Resample"):
            Observations.from_volume(image_on(Grid(SHAPE)), observed, Segmentation.from_labelmap(labels, grid))
    with pytest.raises(InputError, match="differs from the volume's"):
        Observations.from_volume(image_on(Grid(SHAPE)), observed,
                                 Segmentation.from_labelmap(labels[:5], Grid((5, 7, 8))))


def test_labels_must_touch_a_observed_slice() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3] = 1
    segmentation = Segmentation.from_labelmap(labels, Grid(SHAPE))
    with pytest.raises(InputError, match="empty on every slice that is used.*Leave it out, or use"):
        Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection.every(6, 2)}, segmentation)
    Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection((0, 3), 6)}, segmentation)
    Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection.every(6, 2), "i": Selection.every(8, 2)},
                             segmentation)


def test_whole_float_labels_are_labels() -> None:
    labels = np.zeros(SHAPE, np.float32)
    labels[:, 2:4] = 2.0
    observations = Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection.every(6, 2)},
                                            Segmentation.from_labelmap(labels, Grid(SHAPE)))
    layers = observations.stacks[0].layers
    assert layers is not None and np.issubdtype(layers.dtype, np.integer)
    assert set(np.unique(layers)) == {0, 2}


@pytest.mark.parametrize("axis", AXES)
def test_every_layer_is_taken(axis: Axis) -> None:
    layers = np.random.default_rng(0).integers(0, 3, (2, *SHAPE)).astype(np.uint8)
    segments = (Segment("a", 1, 0), Segment("b", 2, 1))
    grid = Grid(SHAPE)
    observations = Observations.from_volume(image_on(grid), {axis: Selection((0, 2), grid.count(axis))},
                                            Segmentation(layers, segments, grid))
    stack = observations.stacks[0]
    assert observations.segments == segments
    order = [0, 2] if stack.planes.normal[AXES.index(axis)] > 0 else [2, 0]
    expected = np.moveaxis(np.take(layers, order, array_axis(axis) + 1), array_axis(axis) + 1, 1)
    np.testing.assert_array_equal(stack.layers, expected)


def test_unobserved_labels_are_not_known() -> None:
    """A label map's values are found among its voxels: those of unobserved slices must not tell which labels exist."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 2:4] = 1
    noisy = labels.copy()
    noisy[1::2, 5:] = 200
    observed: dict[Axis, Selection] = {"k": Selection.every(6, 2)}
    clean, other = (Observations.from_volume(image_on(Grid(SHAPE)), observed,
                                             Segmentation.from_labelmap(n, Grid(SHAPE))) for n in (labels, noisy))
    assert other.segments == clean.segments


def test_nothing_is_seen_of_slices_that_carry_no_labels() -> None:
    """Nor of a segment that is on these alone; the note tells what was found."""
    image = image_on(Grid(SHAPE))
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 1, 1], labels[1], labels[4, 2, 2], labels[5, 0, 0] = 3, 9, 3, 3
    segmentation = Segmentation.from_labelmap(labels, image.grid)
    with pytest.warns(InputNote) as notes:
        observations = Observations.from_volume(image, {"k": Selection((0, 1, 2, 4), 6)}, segmentation,
                                                {"k": Selection((0, 2, 4, 5), 6)})
    stack, = observations.stacks
    assert stack.labelled is not None and stack.labelled.tolist() == [True, False, True, True]
    assert stack.layers is not None and np.argwhere(stack.layers).tolist() == [[0, 0, 1, 1], [0, 3, 2, 2]]
    assert stack.numbers == (0, 1, 2, 4) and [segment.value for segment in observations.segments] == [3]
    assert labels[1].all()  # the input stays as it is
    assert [str(note.message) for note in notes] == [
        "Labels on slices along k that are not used are passed over: 5.",
        "Labels are taken from 2 slices: 0,4; 1 other counts as empty: 2; the labels of 1 are filled."]


def test_slices_along_other_axes_carry_labels_only_if_that_is_said() -> None:
    image = image_on(Grid(SHAPE))
    segmentation = Segmentation.from_labelmap(np.ones(SHAPE, np.uint8), image.grid)
    observed: dict[Axis, Selection] = {"k": Selection.every(6, 1), "j": Selection.every(7, 2)}
    some: dict[Axis, Selection] = {"k": Selection.every(6, 5)}
    with pytest.warns(InputNote):
        primary, other = Observations.from_volume(image, observed, segmentation, some).stacks
    assert primary.labelled is not None and other.layers is None and other.labelled is None
    with pytest.warns(InputNote):
        primary, other = Observations.from_volume(image, observed, segmentation,
                                                  {**some, "j": Selection((2, 4), 7)}).stacks
    assert other.labelled is not None and other.labelled.tolist() == [False, True, True, False]
    assert other.layers is not None and other.layers.any(axis=(0, 2, 3)).tolist() == [False, True, True, False]


def test_where_all_slices_carry_labels_nothing_is_said() -> None:
    image = image_on(Grid(SHAPE))
    segmentation = Segmentation.from_labelmap(np.ones(SHAPE, np.uint8), image.grid)
    stack, = Observations.from_volume(image, {"k": Selection.every(6, 2)}, segmentation,
                                      {"k": Selection.every(6, 2)}).stacks
    assert stack.labelled is None and stack.layers is not None


@pytest.mark.parametrize(("labelled", "message"), [
    ({"k": Selection((1,), 6)}, "None of the used slices whose gaps are filled carries labels"),
    ({"j": Selection((1,), 7)}, "None of the used slices whose gaps are filled carries labels"),
    ({"k": Selection((2,), 6)}, "empty on every used slice that carries labels"),
    ({"k": Selection((2,), 8)}, "carry labels are of 8 slices, axis k has 6")])
def test_slices_that_cannot_carry_labels_are_named(labelled: dict[Axis, Selection], message: str) -> None:
    image, labels = image_on(Grid(SHAPE)), np.zeros(SHAPE, np.uint8)
    labels[4] = 1
    with pytest.raises(InputError, match=message):
        Observations.from_volume(image, {"k": Selection.every(6, 2)}, Segmentation.from_labelmap(labels, image.grid),
                                 labelled)


def test_slices_that_carry_labels_need_a_segmentation() -> None:
    with pytest.raises(InputError, match="there is no segmentation. Give one"):
        Observations.from_volume(image_on(Grid(SHAPE)), {"k": Selection.every(6, 2)}, None, {"k": Selection((2,), 6)})


def test_a_stack_fits_its_planes() -> None:
    planes = Grid(SHAPE).planes("k", np.arange(2))
    with pytest.raises(InputError, match="pixels.*do not fit the planes"):
        SliceStack(planes, np.zeros((3, 7, 8), np.float32))
    with pytest.raises(InputError, match="labels.*do not fit the planes"):
        SliceStack(planes, np.zeros((2, 7, 8), np.float32), np.zeros((1, 2, 8, 7), np.uint8))
    with pytest.raises(InputError, match="does not fit the planes and labels"):
        SliceStack(planes, np.zeros((2, 7, 8), np.float32), np.zeros((1, 2, 7, 8), np.uint8), labelled=np.ones(3, bool))
    damaged = np.zeros((2, 7, 8), np.float32)
    damaged[1, 3, 4] = np.nan
    with pytest.raises(InputError, match="Slice number 1 .*NaN or infinite.*Exclude"):
        SliceStack(planes, damaged)


@pytest.mark.parametrize("name", ["identity", "oblique", "flipped", "mirrored"])
@pytest.mark.parametrize(("axis", "thickness", "pitches"), [("k", 2.0, (0.7, 0.5)), ("j", 0.7, (2.0, 0.5)),
                                                            ("i", 0.5, (2.0, 0.7))])
def test_slices_are_as_thick_as_they_lie_apart(rotation: tuple, name: str, axis: Axis, thickness: float,
                                               pitches: tuple[float, float]) -> None:
    """Observed or not; in mm, as are the distances between rows and between columns."""
    grid = grids(rotation)[name]
    if name == "identity":
        grid = replace(grid, spacing=(0.5, 0.7, 2.0))
    observations = Observations.from_volume(image_on(grid), {axis: Selection((0, 1, 4), grid.count(axis))})
    assert observations.stacks[0].thickness == pytest.approx(thickness)
    observed = ModelSpaceData.of(observations, grid, ModelSpaceConfig(), GapSamplingConfig())
    assert observed.thickness == pytest.approx(thickness)
    assert sorted(observed.pitches) == pytest.approx(sorted(pitches)) and observed.pixel == pytest.approx(min(pitches))
    planes = observations.stacks[0].planes
    assert observed.pitches == pytest.approx((np.linalg.norm(planes.row_step), np.linalg.norm(planes.column_step)))


def test_slices_of_unknown_thickness_are_as_thick_as_a_pixel() -> None:
    grid = Grid(SHAPE, spacing=(0.7, 0.5, 2.0))
    planes = grid.planes("k", np.arange(0, 6, 2))
    stack = SliceStack(planes, np.random.default_rng(0).random(planes.shape).astype(np.float32))
    assert stack.thickness is None
    for one, thickness in ((stack, 0.5), (replace(stack, thickness=1.7), 1.7)):
        observed = ModelSpaceData.of(Observations((one,)), grid, ModelSpaceConfig(), GapSamplingConfig())
        assert observed.thickness == pytest.approx(thickness)


def test_short_texts_have_columns_before_rows() -> None:
    grid = Grid(SHAPE, spacing=(0.5, 1.0, 3.0))
    labels = np.ones(SHAPE, np.uint8)
    observations = Observations.from_volume(image_on(grid), {"k": Selection.every(6, 2), "i": Selection.every(8, 4)},
                                            Segmentation.from_labelmap(labels, grid))
    assert repr(observations).startswith("Observations(2 slices of 7 x 6 and 3 slices of 8 x 7, ")
    assert repr(observations).endswith(", 1 segment)")
    assert repr(observations.stacks[1]) == ("SliceStack(3 slices of 8 x 7 float32, 0.5 x 1 mm, over 12 mm, "
                                            "1 label layer)")


def test_integers_that_differ_too_little_for_their_size_are_named_for_that() -> None:
    image = image_on(Grid(SHAPE), np.uint64)
    image.array[:] += np.uint64(2 ** 62)
    with pytest.raises(InputError, match="differ too little.*Subtract"):
        Observations.from_volume(image, {"k": Selection.every(6, 1)})


@pytest.mark.parametrize("dtype", [bool, np.complex64, object])
def test_voxels_that_are_no_real_numbers_are_refused(dtype: type) -> None:
    with pytest.raises(InputError, match="not supported. Convert"):
        Observations.from_volume(image_on(Grid(SHAPE), dtype), {"k": Selection.every(6, 1)})
