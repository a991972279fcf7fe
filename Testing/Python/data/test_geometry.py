"""Index space and physical space: grids and stacks of planes."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, PlaneStack, array_axis
from TriplaneGaussianReconLib.errors import InputError

ORIGIN, SPACING = (10.0, -20.0, 30.0), (0.5, 2.0, 3.0)
C30, S30 = 0.8660254037844387, 0.5
DIRECTIONS = {
    "identity": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "flipped": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "mirrored": ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "permuted": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),  # i runs along y, j along z, k along x
    "oblique": ((C30, -S30, 0), (S30, C30, 0), (0, 0, 1)),  # turned by 30 degrees about z
}
# Where index i = 1, j = 2, k = 3 lies, worked out by hand from ORIGIN, SPACING and the direction.
AT_123 = {
    "identity": (10.5, -16.0, 39.0),
    "flipped": (9.5, -24.0, 39.0),
    "mirrored": (10.5, -16.0, 21.0),
    "permuted": (19.0, -19.5, 34.0),
    "oblique": (10.0 + 0.5 * C30 - 4.0 * S30, -20.0 + 0.5 * S30 + 4.0 * C30, 39.0),
}


def grid_of(name: str, shape: tuple[int, int, int] = (4, 5, 6)) -> Grid:
    return Grid(shape, ORIGIN, SPACING, DIRECTIONS[name])


@pytest.mark.parametrize("name", DIRECTIONS)
def test_index_to_physical_by_hand(name: str) -> None:
    grid = grid_of(name)
    np.testing.assert_allclose(grid.index_to_physical(np.array([0, 0, 0])), ORIGIN)
    np.testing.assert_allclose(grid.index_to_physical(np.array([1, 2, 3])), AT_123[name], atol=1e-12)
    np.testing.assert_allclose(grid.physical_to_index(np.array(AT_123[name])), (1, 2, 3), atol=1e-12)
    np.testing.assert_allclose(grid.ijk_to_lps @ (1, 2, 3, 1), (*AT_123[name], 1), atol=1e-12)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_points_of_any_shape_go_there_and_back(name: str) -> None:
    indices = np.random.default_rng(0).uniform(-3, 9, (2, 4, 3))
    grid = grid_of(name)
    assert grid.index_to_physical(indices).shape == (2, 4, 3)
    np.testing.assert_allclose(grid.physical_to_index(grid.index_to_physical(indices)), indices, atol=1e-12)


def test_distances_follow_the_spacing(oblique_grid: Grid) -> None:
    corner = oblique_grid.index_to_physical(np.zeros(3))
    for axis, spacing in enumerate(SPACING):
        step = oblique_grid.index_to_physical(np.eye(3)[axis]) - corner
        assert np.linalg.norm(step) == pytest.approx(spacing)


def test_axes_count_from_the_last_array_dimension() -> None:
    assert [array_axis(axis) for axis in AXES] == [2, 1, 0]
    grid = Grid((4, 5, 6))
    assert [grid.count(axis) for axis in AXES] == [6, 5, 4]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", DIRECTIONS)
def test_planes_are_the_slices_of_the_array_at_their_place(name: str, axis: Axis) -> None:
    """Every pixel of np.take(array, n, axis) lies where the voxel that it came from lies."""
    grid = grid_of(name)
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    voxels = np.stack([i, j, k], axis=-1)
    chosen = np.array([0, 3, 1])
    planes = grid.planes(axis, chosen)
    assert planes.shape == (3, *np.take(voxels[..., 0], 0, array_axis(axis)).shape)
    for plane, number in enumerate(chosen):
        expected = grid.index_to_physical(np.take(voxels, number, array_axis(axis)))
        rows, columns = np.meshgrid(np.arange(planes.rows), np.arange(planes.columns), indexing="ij")
        points = (planes.origins[plane] + rows[..., None] * planes.row_step + columns[..., None] * planes.column_step)
        np.testing.assert_allclose(points, expected, atol=1e-12)


def test_planes_between_slices(oblique_grid: Grid) -> None:
    planes = oblique_grid.planes("j", np.array([1.25]))
    np.testing.assert_allclose(planes.origins[0], oblique_grid.index_to_physical(np.array([0, 1.25, 0])))


@pytest.mark.parametrize("axis", AXES)
def test_normal_and_offsets(oblique_grid: Grid, axis: Axis) -> None:
    planes = oblique_grid.planes(axis, np.array([0, 1, 3]))
    assert np.linalg.norm(planes.normal) == pytest.approx(1)
    assert planes.normal @ planes.row_step == pytest.approx(0, abs=1e-12)
    assert planes.normal @ planes.column_step == pytest.approx(0, abs=1e-12)
    assert np.linalg.det([planes.column_step, planes.row_step, planes.normal]) > 0
    spacing = SPACING[AXES.index(axis)]
    np.testing.assert_allclose(np.abs(np.diff(planes.offsets)), [spacing, 2 * spacing])


def test_points_are_the_centres_of_all_pixels(oblique_grid: Grid) -> None:
    planes = oblique_grid.planes("j", np.array([0.0, 2.5]))
    points = planes.points()
    assert points.shape == (*planes.shape, 3)
    expected = planes.origins[1] + 2 * planes.row_step + 3 * planes.column_step
    np.testing.assert_allclose(points[1, 2, 3], expected)
    np.testing.assert_array_equal(planes.points(torch.from_numpy).numpy(), points)  # as torch computes them


def test_subset_and_transformed(oblique_grid: Grid) -> None:
    planes = oblique_grid.planes("k", np.arange(4))
    np.testing.assert_array_equal(planes.subset(np.array([2, 0])).origins, planes.origins[[2, 0]])
    assert len(planes.subset(slice(1, 3))) == 2
    matrix = np.array([[0, -2, 0, 1], [2, 0, 0, 5], [0, 0, 2, -1], [0, 0, 0, 1.0]])
    moved = planes.transformed(matrix)
    pixel = planes.origins[1] + 3 * planes.row_step + 2 * planes.column_step
    expected = (matrix @ [*pixel, 1])[:3]
    np.testing.assert_allclose(moved.origins[1] + 3 * moved.row_step + 2 * moved.column_step, expected)
    assert (moved.rows, moved.columns) == (planes.rows, planes.columns)
    local = planes.transformed(np.linalg.inv(oblique_grid.ijk_to_lps))
    np.testing.assert_allclose(local.origins, [[0, 0, n] for n in range(4)], atol=1e-12)


@pytest.mark.parametrize(("row_step", "column_step"), [((1, 0, 0), (2, 0, 0)), ((0, 0, 0), (1, 0, 0))])
def test_a_plane_needs_two_directions(row_step: tuple[float, ...], column_step: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="two step vectors"):
        PlaneStack(np.zeros((1, 3)), np.array(row_step), np.array(column_step), 2, 2)


@pytest.mark.parametrize(("name", "expected"), [
    ("identity", "kji"), ("flipped", "kji"), ("mirrored", "kji"), ("oblique", "kji"),
    ("permuted", "jik")])
def test_anatomical_names(name: str, expected: str) -> None:
    grid = grid_of(name)
    assert "".join(grid.named_axis(n) for n in ("axial", "coronal", "sagittal")) == expected
    assert [grid.named_axis(axis) for axis in AXES] == list(AXES)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_anatomical_names_of_permuted_axes(order: tuple[int, int, int], rotation: tuple) -> None:
    """Index axis n runs nearly along the LPS axis order[n]."""
    direction = np.asarray(rotation)[:, list(order)] * (1, -1, 1)
    grid = Grid((3, 3, 3), direction=direction)
    names = ("sagittal", "coronal", "axial")
    assert [names.index(next(m for m in names if grid.named_axis(m) == axis)) for axis in AXES] == list(order)


def test_anatomical_names_differ_in_any_oblique_volume() -> None:
    """No two names share an index axis, also where two index axes are closest to the same anatomical one."""
    generator = np.random.default_rng(3)
    contested = 0
    for _ in range(200):
        direction, _ = np.linalg.qr(generator.standard_normal((3, 3)))
        contested += len(set(np.abs(direction).argmax(axis=0))) < 3
        grid = Grid((3, 3, 3), direction=direction)
        assert {grid.named_axis(name) for name in ("axial", "coronal", "sagittal")} == set(AXES)
    assert contested > 0


def test_unknown_axis_name() -> None:
    assert Grid((3, 3, 3)).named_axis("J") == "j" and Grid((3, 3, 3)).named_axis("Axial") == "k"
    with pytest.raises(InputError, match="Unknown slice axis 'transverse'.*axial, coronal, sagittal"):
        Grid((3, 3, 3)).named_axis("transverse")


@pytest.mark.parametrize(("spacing", "axis"), [((1, 1, 1), "k"), ((1, 1, 5), "k"), ((1, 5, 1), "j"), ((5, 1, 1), "i"),
                                               ((1.0005, 1, 1), "k"), ((1, 3, 3), "k")])
def test_thickest_axis(spacing: tuple[float, float, float], axis: Axis) -> None:
    assert Grid((3, 3, 3), spacing=spacing).thickest_axis() == axis


@pytest.mark.parametrize(("axis", "spacing", "count"), [
    ("k", 1.0, 10), ("k", 3.0, 4), ("k", 2.0, 5), ("k", 0.7, 13), ("j", 0.5, 17), ("i", 0.25, 11), ("k", 100.0, 1),
    ("k", 0.3, 31)])
def test_resampled(oblique_grid: Grid, axis: Axis, spacing: float, count: int) -> None:
    finer = oblique_grid.resampled(axis, spacing)
    number = AXES.index(axis)
    assert finer.count(axis) == count
    assert finer.spacing[number] == spacing
    assert finer.origin == oblique_grid.origin and finer.direction == oblique_grid.direction
    others = [a for a in AXES if a != axis]
    assert [finer.count(a) for a in others] == [oblique_grid.count(a) for a in others]
    last = (finer.count(axis) - 1) * spacing
    extent = (oblique_grid.count(axis) - 1) * SPACING[number]
    assert extent - spacing < last <= extent + 1e-5


def test_resampled_keeps_the_last_slice_in_spite_of_rounding() -> None:
    assert 3 * 0.3 / 0.1 < 9
    assert Grid((4, 5, 6), spacing=(1, 1, 0.3)).resampled("k", 0.1).count("k") == 10


@pytest.mark.parametrize("ratio", range(2, 13))
@pytest.mark.parametrize("pixel", [0.3, 0.6, 0.7, 0.8594, 1.1])
def test_resampled_keeps_the_last_slice_of_spacings_in_single_precision(pixel: float, ratio: int) -> None:
    fine, thick = float(np.float32(pixel)), float(np.float32(pixel * ratio))
    for count in range(2, 200, 3):
        thin = Grid((count, 5, 6), spacing=(fine, fine, thick)).resampled("k", fine)
        assert thin.count("k") == (count - 1) * ratio + 1


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf")])
def test_resampled_needs_a_spacing(spacing: float) -> None:
    with pytest.raises(InputError, match="positive number of millimetres"):
        Grid((3, 3, 3)).resampled("k", spacing)


def test_matches(oblique_grid: Grid) -> None:
    def moved(voxels: float) -> Grid:
        origin = oblique_grid.index_to_physical(np.array([voxels, 0.0, 0.0]))
        return Grid(oblique_grid.shape, origin, SPACING, oblique_grid.direction)

    assert oblique_grid.matches(oblique_grid)
    assert oblique_grid.matches(moved(5e-4)) and not oblique_grid.matches(moved(5e-3))
    assert oblique_grid.matches(moved(5e-3), tolerance=1e-2)
    assert not oblique_grid.matches(Grid((4, 5, 7), ORIGIN, SPACING, oblique_grid.direction))
    assert not oblique_grid.matches(Grid((4, 5, 6), ORIGIN, (0.5, 2.0, 3.01), oblique_grid.direction))
    assert not oblique_grid.matches(Grid((4, 5, 6), ORIGIN, SPACING))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"shape": (4, 5)}, "three dimensions"), ({"shape": (4, 0, 5)}, "at least one voxel"),
    ({"spacing": (1, 0, 1)}, "spacing must be positive"), ({"spacing": (1, -1, 1)}, "spacing must be positive"),
    ({"spacing": (1, float("nan"), 1)}, "spacing must be positive"),
    ({"origin": (0, float("inf"), 0)}, "Correct the header"),
    ({"direction": ((1, 0, 0), (0, 1, 0), (0, 0, 0))}, "Correct the header"),
    ({"direction": ((1, 0, 0), (0, 1, 0), (0, 0, float("nan")))}, "Correct the header")])
def test_unusable_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grid(**{"shape": (4, 5, 6), **arguments})


@pytest.mark.parametrize("direction", ["rotation", "flipped"])
def test_an_affine_matrix_gives_the_grid_back(direction: str, request: pytest.FixtureRequest) -> None:
    grid = Grid((4, 5, 6), (10.0, -20.0, 30.0), (0.5, 2.0, 3.0), request.getfixturevalue(direction))
    back = Grid.from_affine(grid.affine, grid.shape)
    assert back.matches(grid, 1e-9)
    np.testing.assert_allclose(back.spacing, grid.spacing)


def test_the_short_text_names_where_the_axes_lead(oblique_grid: Grid) -> None:
    turned = Grid((2, 3, 4), direction=((0, 0, -1), (1, 0, 0), (0, -1, 0)))
    assert repr(turned) == "Grid(4 x 3 x 2, 1 x 1 x 1 mm, PIR from (0, 0, 0))"
    assert repr(oblique_grid) == "Grid(6 x 5 x 4, 0.5 x 2 x 3 mm, oblique LPS from (10, -20, 30))"


def test_corners_are_the_outermost_voxels() -> None:
    corners = Grid((2, 3, 4)).corners
    assert corners[0].tolist() == [0, 0, 0] and sorted(map(tuple, corners)) == sorted(
        (i, j, k) for i in (0.0, 3.0) for j in (0.0, 2.0) for k in (0.0, 1.0))


UNEVEN = Grid((4, 6, 5), (1.0, 2.0, 3.0), (0.5, 0.5, 4.0), ((0.8, 0.0, 0.6), (0.0, 1.0, 0.0), (-0.6, 0.0, 0.8)),
              (0.0, 4.0, 11.0, 15.0))


def test_slices_that_lie_unevenly_are_where_their_depths_say() -> None:
    planes = UNEVEN.planes("k", np.arange(4))
    assert np.allclose(planes.offsets - planes.offsets[0], UNEVEN.depths)
    assert np.allclose(planes.origins, UNEVEN.index_to_physical([[0, 0, k] for k in range(4)]))


def test_points_among_uneven_slices_map_back_to_their_indices() -> None:
    indices = np.array([[0.5, 1.0, -2.0], [3.0, 2.0, 0.0], [1.0, 1.0, 1.5], [4.0, 5.0, 3.0], [2.0, 2.0, 4.25]])
    assert np.allclose(UNEVEN.physical_to_index(UNEVEN.index_to_physical(indices)), indices)


def test_an_even_grid_covers_the_same_centres_as_uneven_slices() -> None:
    even = UNEVEN.resampled("k", 1.0)
    assert even.count("k") == 16 and not even.depths
    assert np.allclose(even.index_to_physical([0, 0, 15]), UNEVEN.index_to_physical([0, 0, 3]))


def test_an_uneven_grid_matches_itself_and_not_the_even_one() -> None:
    assert UNEVEN.matches(UNEVEN) and not UNEVEN.matches(replace(UNEVEN, depths=()))


@pytest.mark.parametrize("use", [lambda grid: grid.ijk_to_lps, lambda grid: grid.planes("i", [0]),
                                 lambda grid: grid.resampled("j", 1.0)], ids=["matrix", "planes", "resampling"])
def test_what_uneven_slices_cannot_tell_is_refused(use: Callable[[Grid], object]) -> None:
    with pytest.raises(InputError, match="unevenly"):
        use(UNEVEN)


@pytest.mark.parametrize("depths", [(0.0, 4.0), (1.0, 2.0, 3.0, 4.0), (0.0, 2.0, 2.0, 4.0), (0.0, 1.0, 2.0, np.nan)])
def test_depths_that_do_not_ascend_from_zero_are_refused(depths: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="ascending from 0"):
        replace(UNEVEN, depths=depths)
