"""Where nothing was seen nothing is invented: pixels without data, what lies beyond the slices, and slices unevenly far
apart.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import TriplaneGaussianReconLib as tgr
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.errors import InputNote
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction

SHAPE = (9, 24, 26)
GRID = tgr.Grid(SHAPE, spacing=(1, 1, 3))


@pytest.fixture(scope="module")
def array(textured: Callable[..., np.ndarray]) -> np.ndarray:
    return (200 + 1000 * textured(SHAPE)).astype(np.int16)


def filled(image: Image, **options: object) -> Reconstruction:
    return tgr.reconstruct(image, device="cpu", **options)


@pytest.fixture(scope="module")
def outside() -> np.ndarray:
    """Which pixels of a slice lie outside the round field of view."""
    rows, columns = np.indices(SHAPE[1:])
    return np.hypot(rows - 11.5, columns - 12.5) > 11.0


@pytest.mark.filterwarnings("ignore:.*hold no data")
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_what_stands_for_no_data_changes_nothing(array: np.ndarray, outside: np.ndarray, preset: str) -> None:
    results = []
    for padding in (-2000, 30000, np.nan):
        padded = np.where(outside, padding, array).astype(array.dtype if np.isfinite(padding) else np.float32)
        image = Image(padded, GRID, padding if np.isfinite(padding) else None)
        results.append(filled(image, slices="every:2", spacing=1.0, preset=preset))
    for result, padding in zip(results, (-2000, 30000, np.nan), strict=True):
        np.testing.assert_array_equal(result.volume.array[:, outside], padding)
        assert np.isfinite(result.volume.array[:, ~outside]).all()
        assert any("hold no data" in note for note in result.report.notes)
        assert (result.confidence.array[:, outside] >= result.confidence.array[:, ~outside].max()).all()
    inside = [result.volume.array[:, ~outside] for result in results]
    np.testing.assert_array_equal(inside[0], inside[1])
    np.testing.assert_array_equal(inside[0], np.rint(inside[2]))


def test_beyond_the_outermost_slices_labels_end_and_nothing_is_trusted(array: np.ndarray) -> None:
    labels = Segmentation.from_labelmap((array > 600).astype(np.uint8), GRID)
    result = filled(Image(array, GRID), labels=labels, slices="1,3,5,7")
    assert result.segmentation is not None and result.segmentation.layers[0, 1:8].any(axis=(1, 2)).all()
    assert not result.segmentation.layers[0, [0, 8]].any()
    assert result.report.scope is not None and result.report.scope.repeated == {"k": (0, 8)}
    errors = result.confidence.array
    assert (errors[[0, 8]] == np.ptp(array[[1, 3, 5, 7]])).all() and errors[1:8].max() < errors[0].min()
    difference = np.abs(result.volume.array[8].astype(float) - result.volume.array[7])
    assert difference.mean() < 0.05 * np.ptp(array)


def test_a_result_that_covers_the_voxels_keeps_labels_up_to_the_outer_faces(array: np.ndarray) -> None:
    labels = Segmentation.from_labelmap((array > 600).astype(np.uint8), GRID)
    result = filled(Image(array, GRID), labels=labels, spacing=1.0, cover_voxels=True)
    assert result.volume.grid.count("k") == 27 and result.volume.grid.origin == (0.0, 0.0, -1.0)
    assert result.segmentation is not None and result.segmentation.layers[0, [0, -1]].any(axis=(1, 2)).all()
    assert result.confidence.array.max() < np.ptp(array)


def test_a_hole_on_one_slice_ends_half_way_to_its_neighbours(array: np.ndarray) -> None:
    holed = array.copy()
    holed[4, 6:12, 6:12] = -2000
    with pytest.warns(InputNote, match="hold no data"):
        volume = filled(Image(holed, GRID, -2000.0), spacing=1.0).volume.array
    assert np.flatnonzero(volume[:, 8, 8] == -2000).tolist() == [11, 12, 13]  # it lies at 12
    assert volume[volume != -2000].min() > 0


def test_slices_unevenly_far_apart_are_filled_where_they_lie() -> None:
    depths = (0.0, 3.0, 6.0, 15.0, 18.0, 20.0, 24.0, 27.0, 30.0)
    rows, columns = np.indices(SHAPE[1:])
    array = np.stack([500 + 20 * depth + 60 * np.sin(columns / 3.0) * np.cos(rows / 4.0) for depth in depths])
    image = Image(array.astype(np.float32), tgr.Grid(SHAPE, spacing=(1, 1, 3), depths=depths))
    result = filled(image, spacing=1.0)
    assert result.volume.grid.count("k") == 31
    found = result.volume.array.mean(axis=(1, 2))
    np.testing.assert_allclose(found, array[0].mean() + 20.0 * np.arange(31), atol=15.0)
    with pytest.warns(InputNote, match="widest gap between used slices is 12 mm, 4 times"):
        filled(image, exclude="2")
    assert filled(image, spacing="input", slices="0-8").volume.grid.count("k") == 11
