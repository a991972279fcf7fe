"""Observations from several volumes, and voxels about all of them."""
from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.output_grid import union_grid
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.errors import InputError, InputNote

MIDDLE = (20.0, -15.0, 30.0)
NAMES = ["straight", "oblique", "flipped", "mirrored"]


def grid_of(name: str, rotation: tuple, shape: tuple[int, int, int] = (5, 6, 7),
            spacing: tuple[float, float, float] = (0.8, 1.1, 3.0)) -> Grid:
    """A grid about `MIDDLE`."""
    axes = {"straight": np.eye(3), "oblique": np.asarray(rotation), "flipped": -np.asarray(rotation),
            "mirrored": np.asarray(rotation) * (1, 1, -1)}[name]
    grid = Grid(shape, spacing=spacing, direction=tuple(map(tuple, axes)))
    middle = grid.index_to_physical((np.array(grid.size) - 1) / 2)
    return replace(grid, origin=tuple(np.array(MIDDLE) - middle))


def volume(grid: Grid, seed: int = 1, dtype: type = np.int16) -> Image:
    return Image(np.random.default_rng(seed).integers(10, 900, grid.shape).astype(dtype), grid)


def moved(rotation: tuple, shift: tuple[float, float, float] = (2.0, -1.0, 4.0)) -> np.ndarray:
    """A turn about `MIDDLE`, and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, np.array(MIDDLE) - np.asarray(rotation) @ MIDDLE + shift
    return matrix


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_is_the_voxel_where_the_motion_carries_it(rotation: tuple, name: str, axis: Axis) -> None:
    first, other = volume(grid_of("straight", rotation)), volume(grid_of(name, rotation), 2)
    to_first, used = moved(rotation), Selection((0, 1, 4), other.grid.count(axis))
    observations = Observations.from_volumes([
        StackInput(first), StackInput(other, axis, used, 2.5, "box", to_first=to_first)])
    stack = observations.stacks[1]
    assert len(observations.stacks) == 2
    assert (stack.thickness, stack.profile) == (2.5, "box") and sorted(stack.numbers or ()) == [0, 1, 4]
    assert (np.diff(stack.planes.offsets) > 0).all()
    back = np.linalg.inv(to_first)
    index = other.grid.physical_to_index(stack.planes.points() @ back[:3, :3].T + back[:3, 3])
    np.testing.assert_allclose(index, np.round(index), atol=1e-9)
    i, j, k = np.round(index).astype(int).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(stack.pixels, other.array[k, j, i])


def test_the_first_volume_gives_type_and_padding_and_stacks_come_in_order(rotation: tuple) -> None:
    first = replace(volume(grid_of("straight", rotation), dtype=np.uint16), padding=10.0)
    other = volume(grid_of("oblique", rotation, spacing=(0.8, 0.8, 0.9)), 2, np.float64)
    observations = Observations.from_volumes([StackInput(first), StackInput(other)])
    assert observations.dtype == np.uint16 and observations.padding == 10.0
    assert [stack.thickness for stack in observations.stacks] == [3.0, 0.9]
    assert [stack.profile for stack in observations.stacks] == ["gaussian", "gaussian"]
    assert len(Observations.from_volumes([StackInput(first)]).stacks) == 1


def test_uneven_slices_lie_where_they_are(rotation: tuple) -> None:
    depths = (0.0, 3.0, 6.0, 11.0, 14.0)
    uneven = volume(replace(grid_of("oblique", rotation), depths=depths), 2)
    stack = Observations.from_volumes([StackInput(volume(grid_of("straight", rotation))), StackInput(uneven)]).stacks[1]
    np.testing.assert_allclose(stack.planes.offsets - stack.planes.offsets[0], depths, atol=1e-9)
    assert stack.thickness == 3.0


def test_voxels_without_data_weigh_nothing_and_blank_slices_are_left_out(rotation: tuple) -> None:
    array = volume(grid_of("oblique", rotation), 2, np.float32).array
    array[1, 2, 3] = np.nan
    array[3] = np.nan
    other = Image(array, grid_of("oblique", rotation))
    with pytest.warns(InputNote) as said:
        observations = Observations.from_volumes([StackInput(volume(grid_of("straight", rotation))), StackInput(other)])
    stack = observations.stacks[1]
    assert stack.weights is not None and (stack.weights == 0).sum() == 1 and len(stack.planes) == 4
    texts = [str(each.message) for each in said]
    assert texts[0].startswith("Volume 2: Slices along k without any data are not used: 3.")
    assert texts[1].startswith("Volume 2: 0.6% of the pixels") and texts[1].endswith("They weigh nothing.")
    assert observations.padding is None  # the first volume's type has no NaN


def test_what_lies_outside_of_a_mask_weighs_nothing_as_if_it_were_nan(rotation: tuple) -> None:
    first, other = volume(grid_of("straight", rotation)), volume(grid_of("oblique", rotation), 2)
    inside = np.zeros(other.grid.shape, np.uint8)
    inside[1:4, 1:5, 2:6] = 1
    masked = StackInput(other, mask=Segmentation.from_labelmap(inside, other.grid))
    with pytest.warns(InputNote) as said:
        observations = Observations.from_volumes([masked, StackInput(first)])
    assert [str(each.message) for each in said] == [
        "Volume 1: Slices along k without any data are not used: 0, 4.",
        "Volume 1: 61.9% of the pixels of the slices used along k hold no data (NaN, infinite or outside of the mask). "
        "They weigh nothing."]
    with pytest.warns(InputNote):
        nan = Observations.from_volumes([StackInput(Image(np.where(inside, other.array, np.nan), other.grid)),
                                         StackInput(first)])
    for name in ("pixels", "weights", "numbers"):
        np.testing.assert_array_equal(getattr(observations.stacks[0], name), getattr(nan.stacks[0], name))
    assert observations.stacks[1].weights is None and observations.dtype == np.int16


def test_a_margin_is_seen_as_such_whatever_the_mask_leaves_of_it() -> None:
    grid = Grid((6, 32, 32), spacing=(1, 1, 3))
    array = volume(grid).array
    rows, columns = np.indices((32, 32)) - 15.5
    array[:, rows ** 2 + columns ** 2 > 15.5 ** 2] = 0
    inside = np.zeros(grid.shape, np.uint8)
    inside[:, 1:31, 16:] = 1
    with pytest.warns(InputNote):
        stack = Observations.from_volumes([StackInput(Image(array, grid), mask=Segmentation.from_labelmap(inside, grid))
                                           ]).stacks[0]
    assert stack.weights is not None and not stack.weights[:, 1, 30].any() and not stack.weights[:, :, :16].any()
    assert stack.weights[:, 16, 20].all()


def test_a_further_volume_may_have_one_slice_the_first_may_not(rotation: tuple) -> None:
    first = volume(grid_of("straight", rotation))
    lone = volume(grid_of("oblique", rotation, (1, 6, 7)), 2)
    observations = Observations.from_volumes([StackInput(first), StackInput(lone, axis="k")])
    assert len(observations.stacks[1].planes) == 1 and observations.stacks[1].thickness == 3.0
    with pytest.raises(InputError, match="two slices"):
        Observations.from_volumes([StackInput(lone, axis="k"), StackInput(first)])


def test_labels_of_any_volume_share_their_segments(rotation: tuple) -> None:
    grids = [grid_of(name, rotation) for name in ("straight", "oblique", "flipped")]
    layers = np.zeros((1, 5, 6, 7), np.uint8)
    layers[0, 1:4, 2:4, 2:5] = 4
    named = Segmentation(layers, (Segment("Tumour", 4), Segment("Unseen", 9)), grids[1])
    plain = Segmentation.from_labelmap(layers[0] // 2, grids[2])
    inputs = [StackInput(volume(grids[0])), StackInput(volume(grids[1], 2), segmentation=named),
              StackInput(volume(grids[2], 3), segmentation=plain)]
    observations = Observations.from_volumes(inputs)
    assert [s.name for s in observations.segments] == ["Tumour", "Label 2"]
    first, second, third = observations.stacks
    assert first.layers is None and second.layers is not None and third.layers is not None
    assert set(np.unique(second.layers)) == {0, 4} and set(np.unique(third.layers)) == {0, 2}
    with pytest.raises(InputError, match="empty on every slice"):
        Observations.from_volumes([inputs[0], replace(inputs[1], selection=Selection((0,), 5))])


def test_slices_that_were_skipped_in_drawing_are_told_from_empty_ones(rotation: tuple) -> None:
    grid = grid_of("straight", rotation, (9, 6, 7))
    labels = np.zeros(grid.shape, np.uint8)
    labels[[0, 4, 8], 2:4] = 1
    given = StackInput(volume(grid), segmentation=Segmentation.from_labelmap(labels, grid))
    drawn = Observations.from_volumes([given]).stacks[0].labelled
    assert drawn is not None and np.flatnonzero(drawn).tolist() == [0, 4, 8]
    assert Observations.from_volumes([replace(given, labels_on="all")]).stacks[0].labelled is None


def test_volumes_far_apart_are_noted(rotation: tuple) -> None:
    first = volume(grid_of("oblique", rotation))
    far = volume(replace(grid_of("straight", rotation), origin=(500.0, 0.0, 0.0)), 2)
    with pytest.warns(InputNote, match=r"^Volume 2 lies 4\d\d\.?\d* mm away from the volumes before it"):
        Observations.from_volumes([StackInput(first), StackInput(far)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = volume(grid_of("flipped", rotation), 2)
        Observations.from_volumes([StackInput(first), StackInput(near)])


def test_what_cannot_be_used_names_the_volume(rotation: tuple) -> None:
    first = volume(grid_of("straight", rotation))
    with pytest.raises(InputError, match="no volume"):
        Observations.from_volumes([])
    with pytest.raises(InputError, match="The first volume lies where it lies"):
        Observations.from_volumes([StackInput(first, to_first=moved(rotation))])
    complicated = Image(np.zeros((5, 6, 7), np.complex64), first.grid)
    with pytest.raises(InputError, match="Volume 2: Voxels of type complex64"):
        Observations.from_volumes([StackInput(first), StackInput(complicated)])
    elsewhere = Segmentation.from_labelmap(np.ones((5, 6, 7), np.uint8), Grid((5, 6, 7)))
    with pytest.raises(InputError, match="Volume 1: The segmentation's grid"):
        Observations.from_volumes([StackInput(first, segmentation=elsewhere)])


# Voxels about all volumes ----------------------------------------------------------------------------------------


def thirds(direction: tuple, size: int = 12, factor: int = 4) -> list[StackInput]:
    """Stacks of one cube of `size` mm: of slices `factor` mm thick along k, j and i."""
    stacks = []
    for axis in (2, 1, 0):
        shape, spacing, first = [size] * 3, [1.0] * 3, np.zeros(3)
        shape[2 - axis], spacing[axis], first[axis] = size // factor, float(factor), (factor - 1) / 2
        origin = tuple(np.asarray(direction) @ first)
        grid = Grid((shape[0], shape[1], shape[2]), origin, (spacing[0], spacing[1], spacing[2]), direction)
        stacks.append(StackInput(volume(grid, axis)))
    return stacks


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_union_of_blocks_is_the_cube_that_they_were_cut_from(rotation: tuple, count: int) -> None:
    grid = union_grid(Observations.from_volumes(thirds(rotation)[:count]))
    assert grid.matches(Grid((12, 12, 12), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), rotation))


@pytest.mark.parametrize("name", NAMES)
def test_the_union_holds_every_pixel_and_coincides_with_those_of_the_first(rotation: tuple, name: str) -> None:
    first = volume(grid_of(name, rotation, spacing=(0.8, 0.8, 3.0)))
    other = volume(grid_of("straight", rotation, (9, 20, 8), (1.0, 1.3, 2.0)), 2)
    observations = Observations.from_volumes([StackInput(first), StackInput(other, to_first=moved(rotation))])
    grid = union_grid(observations)
    assert grid.spacing == (0.8, 0.8, 0.8)
    for stack in observations.stacks:
        index = grid.physical_to_index(stack.planes.points())
        assert (index > -0.5).all() and (index < np.array(grid.size) - 0.5).all()
    across = grid.physical_to_index(observations.stacks[0].planes.points())[..., :2]
    np.testing.assert_allclose(across, np.round(across), atol=1e-9)


def test_the_side_of_the_voxels_can_be_chosen(rotation: tuple) -> None:
    observations = Observations.from_volumes(thirds(rotation))
    assert union_grid(observations, 2.0).shape == (6, 6, 6)
    for side in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="positive"):
            union_grid(observations, side)
    with pytest.raises(InputError, match="more than"):
        union_grid(observations, 1e-3)


def test_a_further_volume_of_one_value_is_refused_by_its_number(rotation: tuple) -> None:
    grid = grid_of("straight", rotation)
    with pytest.raises(InputError, match="Volume 2: All of its used voxels have the same value"):
        Observations.from_volumes([StackInput(volume(grid)), StackInput(Image(np.full(grid.shape, 7), grid))])
