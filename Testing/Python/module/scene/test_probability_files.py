"""Probabilities of segments as 3D Slicer reads them from files."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.data.probabilities import LabelProbabilities
from TriplaneGaussianReconLib.io.probability_files import write_probabilities

SHAPE = (5, 6, 7)


@pytest.fixture
def probabilities() -> LabelProbabilities:
    array = np.random.default_rng(0).integers(0, 101, (2, *SHAPE)).astype(np.uint8)
    array[:, 2, 2:4] = 100
    grid = Grid.from_affine(mrml.ijk_to_ras(), SHAPE)
    return LabelProbabilities(array, (Segment("liver", 4, 0, "a"), Segment("cyst", 1, 1, "b")), grid)


def test_a_labelmap_keeps_the_percentages_and_is_shown_where_segments_are_certain(
        scene: Any, tmp_path: Path, probabilities: LabelProbabilities) -> None:
    write_probabilities(tmp_path / "p.seg.nrrd", probabilities)
    node, storage = scene.AddNewNodeByClass("vtkMRMLSegmentationNode"), slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "p.seg.nrrd"))
    assert storage.ReadData(node)
    for segment, percent in zip(probabilities.segments, probabilities.array, strict=True):
        found, contained = node.GetSegmentation().GetSegment(segment.identifier), []
        found.GetContainedRepresentationNames(contained)
        assert found.GetName() == segment.name and contained == ["Binary labelmap"]
        np.testing.assert_array_equal(
            slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment.identifier), percent)
        volume = mrml.add_volume(percent, probabilities.grid.affine)
        assert np.array_equal(mrml.voxels_of_segment(node, segment.identifier, volume), percent == 100)


@pytest.mark.parametrize("name", ["p.seq.nrrd", "p.nii.gz"])
def test_volumes_are_a_sequence_with_one_for_each_segment(scene: Any, tmp_path: Path,
                                                          probabilities: LabelProbabilities, name: str) -> None:
    write_probabilities(tmp_path / name, probabilities)
    sequence, storage = scene.AddNewNodeByClass("vtkMRMLSequenceNode"), slicer.vtkMRMLVolumeSequenceStorageNode()
    storage.SetFileName(str(tmp_path / name))
    assert storage.ReadData(sequence) and sequence.GetNumberOfDataNodes() == 2
    for number, percent in enumerate(probabilities.array):
        volume = sequence.GetNthDataNode(number)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), percent)
        assert np.allclose(mrml.world_of_voxel(volume, (6, 5, 4)), (mrml.ijk_to_ras() @ [6, 5, 4, 1])[:3], atol=1e-4)
