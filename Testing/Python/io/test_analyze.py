"""Analyze files tell no orientation, and a note says so."""
from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from image_file_case import voxels

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.errors import InputNote
from TriplaneGaussianReconLib.io.readers import read_image


@pytest.mark.parametrize("name", ["a.hdr", "a.img"])
def test_voxels_are_read_and_the_place_is_said_to_be_a_guess(tmp_path: Path, name: str) -> None:
    nibabel.save(nibabel.AnalyzeImage(voxels().T, np.diag([-1.0, 1.0, 3.0, 1.0])), tmp_path / "a.hdr")
    with pytest.warns(InputNote, match="left and right may be exchanged") as caught:
        image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.array, voxels())
    assert image.grid == Grid((4, 5, 6), spacing=(1, 1, 3)) and caught[0].filename == __file__
