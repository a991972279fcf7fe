"""RT structure sets: contours drawn on the slices of their volume."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_objects_case import RTSTRUCT, save, write_rtstruct
from image_file_case import make_grid

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputError, InputNote
from TriplaneGaussianReconLib.io.dicom_rtstruct import inside
from TriplaneGaussianReconLib.io.readers import read_segmentation

SQUARE = np.array([[1.5, 0.5], [4.5, 0.5], [4.5, 3.5], [1.5, 3.5]])  # pixels 2..4, 1..3
HOLE = np.array([[2.5, 1.5], [3.5, 1.5], [3.5, 2.5], [2.5, 2.5]])  # pixel 3, 2


def drawn() -> np.ndarray:
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:5] = True
    return mask


def contour(grid: Grid, corners: np.ndarray, k: float) -> np.ndarray:
    """Corners (i, j) on slice k, in mm."""
    return grid.index_to_physical(np.column_stack([corners, np.full(len(corners), k)]))


def test_a_pixel_is_inside_where_its_centre_is() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        corners = random.uniform(-3, 13, (7, 2))
        mask = inside([corners], (9, 11))
        for row, column in np.ndindex(9, 11):
            ends = np.roll(corners, -1, axis=0)
            winding = sum(((y > row) != (to_y > row)) and column < x + (row - y) * (to_x - x) / (to_y - y)
                          for (x, y), (to_x, to_y) in zip(corners, ends, strict=True))
            assert mask[row, column] == winding % 2


@pytest.mark.parametrize("direction", ["identity", "sagittal", "oblique", "left-handed"])
def test_structures_are_drawn_on_their_planes_alone(tmp_path: Path, direction: str) -> None:
    grid = make_grid(direction)
    write_rtstruct(tmp_path / "a.dcm", {"Leber é": [contour(grid, SQUARE, 0), contour(grid, SQUARE, 3)],
                                        "Tumour": [contour(grid, HOLE, 3.3)]})
    back = read_segmentation(tmp_path / "a.dcm", grid)
    first = back.layers[0] == 1
    np.testing.assert_array_equal(first, np.stack([drawn(), 0 * drawn(), 0 * drawn(), drawn()]))
    assert np.argwhere(back.layers[1] == 2).tolist() == [[3, 2, 3]]
    assert [(one.name, one.value, one.layer) for one in back.segments] == [("Leber é", 1, 0), ("Tumour", 2, 1)]
    assert back.segments[0].color == pytest.approx((1, 128 / 255, 0)) and back.grid is grid


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes_and_keyholes_are_left_out(tmp_path: Path, kind: str) -> None:
    grid, expected = make_grid(), drawn()
    expected[2, 3] = False
    write_rtstruct(tmp_path / "hole.dcm", {"a": [contour(grid, SQUARE, 1), contour(grid, HOLE, 1)]}, kind)
    keyhole = np.concatenate([SQUARE, SQUARE[:1], HOLE, HOLE[:1]])
    write_rtstruct(tmp_path / "keyhole.dcm", {"a": [contour(grid, keyhole, 1)]}, kind)
    for name in ("hole", "keyhole"):
        np.testing.assert_array_equal(read_segmentation(tmp_path / f"{name}.dcm", grid).layers[0, 1], expected)


def test_parts_add_up_and_copies_do_not_cancel(tmp_path: Path) -> None:
    grid = make_grid()
    pixel = HOLE + [-3, 2]
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, part, 2) for part in (SQUARE, pixel, SQUARE)]})
    expected = drawn()
    expected[4, 0] = True
    np.testing.assert_array_equal(read_segmentation(tmp_path / "a.dcm", grid).layers[0, 2], expected)


def test_of_several_planes_near_a_slice_the_nearest_counts(tmp_path: Path) -> None:
    grid = make_grid()
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, HOLE, 1.4), contour(grid, SQUARE, 1.1),
                                              contour(grid, HOLE, 0.7)]})
    back = read_segmentation(tmp_path / "a.dcm", grid)
    np.testing.assert_array_equal(back.layers[0, 1], drawn())
    assert not back.layers[0, [0, 2, 3]].any()


def test_uneven_slices_and_contours_across_another_axis(tmp_path: Path) -> None:
    grid = Grid((4, 5, 6), spacing=(1, 1, 2), depths=(0, 2, 7, 9))
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, SQUARE, 2)]})
    np.testing.assert_array_equal(read_segmentation(tmp_path / "a.dcm", grid).layers[0, 2], drawn())
    grid = make_grid()
    points = grid.index_to_physical(np.array([[4, 0.5, 0.5], [4, 3.5, 0.5], [4, 3.5, 2.5], [4, 0.5, 2.5]]))
    write_rtstruct(tmp_path / "b.dcm", {"a": [points]})
    back = read_segmentation(tmp_path / "b.dcm", grid).layers[0]
    assert back[1:3, 1:4, 4].all() and back.sum() == 6


def test_what_cannot_be_drawn_is_left_out_and_said(tmp_path: Path) -> None:
    grid = make_grid()
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, SQUARE, 1), contour(grid, SQUARE[:2], 1)], "none": [],
                                        "far": [contour(grid, SQUARE, 9)]})
    with pytest.warns(InputNote) as caught:
        back = read_segmentation(tmp_path / "a.dcm", grid)
    said = " ".join(str(one.message) for one in caught)
    assert "'a' has 1 points, lines" in said and "no closed contour were left out: none" in said
    assert "on no slice of the volume were left out: far" in said
    assert [one.name for one in back.segments] == ["a"]


def test_structure_sets_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    grid = make_grid()

    def refused(words: str, with_grid: bool = True) -> None:
        with pytest.raises(InputError, match=words) as caught:
            read_segmentation(tmp_path / "a.dcm", grid if with_grid else None)
        assert "a.dcm" in str(caught.value)

    save(tmp_path / "a.dcm", RTSTRUCT)
    refused("without any structure")
    refused("together with its volume", with_grid=False)
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, HOLE[:1], 0)]}, "POINT")
    with pytest.warns(InputNote):
        refused("without any closed contour")
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(grid, SQUARE, -2)]})
    with pytest.warns(InputNote):
        refused("outside the volume")
    write_rtstruct(tmp_path / "a.dcm", {"a": [contour(make_grid("identity"), 20 * SQUARE, 1)]})
    refused("oblique to the volume's slices")
