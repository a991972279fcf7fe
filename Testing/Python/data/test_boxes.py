"""How far slices reach, and how far apart they lie."""
from __future__ import annotations

import numpy as np

from TriplaneGaussianReconLib.data.boxes import gap_between, outer_points
from TriplaneGaussianReconLib.data.geometry import Grid


def test_the_corners_are_those_of_the_voxels_of_an_oblique_grid(oblique_grid: Grid) -> None:
    points = outer_points(oblique_grid.planes("k", range(4)), oblique_grid.spacing[2])
    index = oblique_grid.physical_to_index(points)
    np.testing.assert_allclose(index.min(axis=0), (-0.5, -0.5, -0.5), atol=1e-9)
    np.testing.assert_allclose(index.max(axis=0), (5.5, 4.5, 3.5), atol=1e-9)


def test_the_gap_is_along_the_straight_line_between_boxes() -> None:
    box = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert gap_between(box, box + (4.0, 5.0, 0.0)) == 5.0
    assert gap_between(box + (4.0, 5.0, 0.0), box) == 5.0
    assert gap_between(box, box + 0.5) == 0.0
