"""A part of a volume, said by a box in the views: which voxels it means, and what comes of it."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import shown_sequence
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene.region import placeIn, regionOf
from TriplaneGaussianReconModule.scene.report import SLICE

from TriplaneGaussianReconLib.data.region import Region
from TriplaneGaussianReconLib.errors import InputError

SHAPE = (12, 30, 40)  # [k, j, i]


@pytest.fixture
def volume(scene: Any) -> Any:
    """An oblique volume whose values tell its voxels."""
    return mrml.add_volume(np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE), name="scan")


def box(volume: Any, first: tuple[float, ...], last: tuple[float, ...]) -> Any:
    """A box along the axes of a volume, under its transform, from one place among its voxels to another one."""
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    roi.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    matrix, ends = mrml.ijk_to_ras(), np.array([first, last], float)
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    turned = np.eye(4)
    turned[:3, :3] = matrix[:3, :3] / steps
    turned[:3, 3] = (matrix @ [*ends.mean(axis=0), 1.0])[:3]
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(turned))
    roi.SetSize(*(np.ptp(ends, axis=0) * steps))
    return roi


@pytest.mark.parametrize(("first", "last", "wanted"), [
    ((3, 4, 2), (9, 11, 5), Region((3, 4, 2), (9, 11, 5))),
    ((3.4, 4.6, 2), (8.6, 11.4, 5), Region((3, 5, 2), (9, 11, 5))),
    ((-7, 4, -1), (9, 99, 5), Region((0, 4, 0), (9, 29, 5))),
    ((3.1, 4, 2), (3.2, 11, 5), Region((3, 4, 2), (3, 11, 5))),
])
def test_it_holds_every_voxel_that_the_box_reaches_into(volume: Any, first: tuple[float, ...],
                                                        last: tuple[float, ...], wanted: Region) -> None:
    assert regionOf(box(volume, first, last), volume) == wanted


def test_both_may_lie_under_transforms(volume: Any) -> None:
    matrix = np.eye(4)
    matrix[:3] = np.c_[mrml.rotation(40.0, 30.0), [7.0, -30.0, 11.0]]
    volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    roi = box(volume, (3, 4, 2), (9, 11, 5))
    assert regionOf(roi, volume) == Region((3, 4, 2), (9, 11, 5))
    roi.SetAndObserveTransformNodeID(None)
    with pytest.raises(InputError, match="The region lies outside of the volume"):
        regionOf(roi, volume)


def test_a_box_that_is_turned_means_all_about_it(volume: Any) -> None:
    straight = regionOf(box(volume, (10, 10, 4), (20, 20, 7)), volume)
    roi = box(volume, (10, 10, 4), (20, 20, 7))
    turned = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())
    turned[:3, :3] = turned[:3, :3] @ mrml.rotation(30.0, 0.0)
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(turned))
    found = regionOf(roi, volume)
    assert all(a < b for a, b in zip(found.first[:2], straight.first[:2], strict=True))
    assert all(a > b for a, b in zip(found.last[:2], straight.last[:2], strict=True))


def test_a_box_without_size_is_named(volume: Any) -> None:
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "mine")
    with pytest.raises(InputError, match="The region 'mine' has no size yet"):
        regionOf(roi, volume)


@pytest.mark.parametrize("kind", ["none", "linear", "bent"])
def test_a_new_box_lies_in_the_middle(volume: Any, kind: str) -> None:
    if kind == "linear":
        matrix = np.eye(4)
        matrix[:3, 3] = 7.0, -30.0, 11.0
        volume.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    elif kind == "bent":
        volume.SetAndObserveTransformNodeID(mrml.add_grid_transform(shift=10.0).GetID())
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "new")
    placeIn(roi, volume)
    found = regionOf(roi, volume)
    middle, whole = np.array([found.first, found.last]).mean(axis=0), np.array(SHAPE[::-1])
    assert np.abs(middle - (whole - 1) / 2.0).max() <= (2.0 if kind == "bent" else 0.0)
    assert roi.GetDisplayNode() is not None
    if kind != "bent":
        assert (np.subtract(found.last, found.first) + 1).tolist() == [20, 16, 6]  # those it cuts through belong to it
        assert roi.GetNumberOfDefinedControlPoints() == 1


def test_the_result_is_that_part_and_slices_keep_their_numbers(volume: Any, logic: TriplaneGaussianReconLogic) -> None:
    part, kept = (slice(2, 9), slice(4, 12), slice(3, 10)), {"trustedSlices": "every:2", "excludedSlices": "4"}
    roi = box(volume, (3, 4, 2), (9, 11, 8))
    whole, results = logic.reconstruct(volume, **kept), logic.reconstruct(volume, region=roi, **kept)
    voxels = slicer.util.arrayFromVolume(results.volume)
    assert np.array_equal(voxels, slicer.util.arrayFromVolume(whole.volume)[part])
    assert np.allclose(mrml.world_of_voxel(results.volume, (0, 0, 0)), mrml.world_of_voxel(volume, (3, 4, 2)))
    assert slicer.util.arrayFromTableColumn(results.scores, SLICE).tolist() == list(range(2, 9))
    text = results.provenance.GetText()
    assert "Slices used along k: 0, 2, 6, 8, 10" in text and "Excluded slices: 4" in text
    assert "Region, from which to which voxel along i, j and k: 3-9,4-11,2-8" in text


def test_finer_slices_reach_over_all_of_it(volume: Any, logic: TriplaneGaussianReconLogic) -> None:
    results = logic.reconstruct(volume, region=box(volume, (3, 4, 2), (9, 11, 5)), outputSpacing=1.0)
    numbers = slicer.util.arrayFromTableColumn(results.scores, SLICE)
    assert numbers.min() == pytest.approx(1.5, abs=0.35) and numbers.max() == pytest.approx(5.5, abs=0.35)
    assert results.volume.GetSpacing()[2] == 1.0


def test_a_segmentation_is_filled_in_it(volume: Any, logic: TriplaneGaussianReconLogic) -> None:
    """From the drawn slices next to it, too; the volume is not copied where labels alone are filled."""
    labels = mrml.add_segmentation(volume, {"core": mrml.drawn_on(SHAPE, (0, 5, 10))})
    results = logic.reconstruct(volume, labels, region=box(volume, (3, 4, 2), (9, 11, 8)), outputSpacing=3.0)
    assert results.volume is None and results.certainty is not None
    found = mrml.voxels_of_segment(results.segmentation, "core", volume)
    assert not found[:2].any() and found[2:9, 4:9, 4:10].all() and not found[9:].any()


def test_it_is_told_to_take_less(volume: Any, logic: TriplaneGaussianReconLogic) -> None:
    large = mrml.add_volume(np.zeros((60, 300, 300), np.uint8))
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "part")
    placeIn(roi, large)
    whole, part = logic.expected(large), logic.expected(large, region=roi)
    assert part.seconds < 0.5 * whole.seconds and part.memory_bytes < whole.memory_bytes


def test_each_frame_of_a_sequence_has_it(scene: Any, logic: TriplaneGaussianReconLogic) -> None:
    heart = shown_sequence()
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "part")
    placeIn(roi, heart)
    results = logic.reconstruct(heart, region=roi, trustedSlices="every:2")
    frames = [results.sequences[1].GetNthDataNode(n) for n in range(2)]
    assert {frame.GetImageData().GetDimensions() for frame in frames} == {results.volume.GetImageData().GetDimensions()}


@pytest.mark.parametrize(("first", "last", "reason"), [
    ((-9, 4, 2), (-2, 11, 5), "The region lies outside of the volume"),
    ((3, 4, 4.9), (9, 11, 5.1), "The region is too thin. It holds only slice 5; at least two are needed."),
])
def test_what_is_no_part_is_refused(volume: Any, logic: TriplaneGaussianReconLogic, first: tuple[float, ...],
                                    last: tuple[float, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        logic.reconstruct(volume, region=box(volume, first, last))


def test_with_further_volumes_it_is_refused(volume: Any, logic: TriplaneGaussianReconLogic) -> None:
    other = mrml.add_volume(np.ones(SHAPE, np.int16), name="other")
    with pytest.raises(InputError, match="A region does not go with further volumes"):
        logic.reconstruct(volume, furtherVolumes=[other], region=box(volume, (3, 4, 2), (9, 11, 8)))
