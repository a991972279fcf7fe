"""Volumes of FreeSurfer."""
from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_file_case import assert_same_place, make_grid, refused, voxels

from TriplaneGaussianReconLib.io.readers import read_image

GRID = make_grid("oblique")


@pytest.mark.parametrize("name", ["a.mgz", "a.mgh"])
def test_voxels_and_place_are_read(tmp_path: Path, name: str) -> None:
    nibabel.save(nibabel.MGHImage(voxels("i4").T, GRID.affine), tmp_path / name)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.array, voxels())
    assert_same_place(image.grid, GRID)
    (tmp_path / "b.mgh").write_bytes((tmp_path / name).read_bytes()[:250])
    refused(tmp_path / "b.mgh")


def test_one_of_several_volumes_is_chosen(tmp_path: Path) -> None:
    array = np.stack([voxels("f4"), voxels("f4") + 1])
    nibabel.save(nibabel.MGHImage(array.T, GRID.affine), tmp_path / "a.mgz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.mgz", volume_number=2).array, voxels() + 1)
    refused(tmp_path / "a.mgz", "--volume-number, 1 to 2")
