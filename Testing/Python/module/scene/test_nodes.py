"""MRML nodes as images and segmentations."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from mrml import (
    add_grid_transform,
    add_linear_transform,
    add_segmentation,
    add_volume,
    fingerprint,
    ijk_to_ras,
    masks_of,
    rotation,
)
from TriplaneGaussianReconModule.scene.nodes import (
    BINARY_LABELMAP,
    gridOf,
    imageOf,
    place,
    readSegmentation,
    segmentIDsOf,
    stateOf,
    transformBetween,
)

from TriplaneGaussianReconLib.data.images import Segmentation
from TriplaneGaussianReconLib.errors import InputError

SHAPE = (6, 20, 24)
LEFT_HANDED = rotation() @ np.diag([1.0, 1.0, -1.0])


def voxels(shape: tuple[int, int, int] = SHAPE, kind: type = np.int16) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=shape) * 50).astype(kind)


def boxes() -> dict[str, np.ndarray]:
    """Two segments, which overlap."""
    masks = {name: np.zeros(SHAPE, bool) for name in ("liver", "vessel")}
    masks["liver"][1:5, 3:15, 4:18] = True
    masks["vessel"][2:4, 10:19, 10:22] = True
    return masks


def read(volume: Any, segmentation: Any, ids: list[str] | None = None) -> tuple[Segmentation, list[str]]:
    steps = readSegmentation(gridOf(volume), segmentation, segmentIDsOf(segmentation, ids),
                              transformBetween(segmentation, volume))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("directions", [np.eye(3), rotation(), LEFT_HANDED, rotation()[:, [2, 0, 1]]])
def test_every_voxel_is_where_slicer_has_it(scene: Any, directions: np.ndarray) -> None:
    matrix = ijk_to_ras(directions=directions)
    volume = add_volume(voxels(), matrix)
    image = imageOf(volume)
    assert np.array_equal(image.array, slicer.util.arrayFromVolume(volume))
    for ijk in ([0, 0, 0], [23, 19, 5], [7.5, 3, 2]):
        ras = (matrix @ [*ijk, 1.0])[:3]
        assert np.allclose(image.grid.index_to_physical(np.array(ijk)), ras * [-1, -1, 1], rtol=0, atol=1e-9)
    place(copy := add_volume(voxels()), image.grid)
    given, got = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(given)
    copy.GetIJKToRASMatrix(got)
    assert np.array_equal(slicer.util.arrayFromVTKMatrix(given), slicer.util.arrayFromVTKMatrix(got))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.float32, np.float64])
def test_voxel_type_is_kept(scene: Any, kind: type) -> None:
    assert imageOf(add_volume(voxels(kind=kind))).array.dtype == kind


def test_what_is_no_image_is_refused_with_a_remedy(scene: Any) -> None:
    labels = slicer.util.addVolumeFromArray(voxels(), None, "labels", "vtkMRMLLabelMapVolumeNode")
    colour = slicer.util.addVolumeFromArray(np.zeros((*SHAPE, 3), np.uint8), None, "rgb", "vtkMRMLVectorVolumeNode")
    blank = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "blank")
    hollow = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    hollow.SetAndObserveImageData(vtk.vtkImageData())
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    for node, cause in ((labels, "label map"), (colour, "3 values a voxel"), (blank, "no voxels"),
                        (hollow, "no voxels"), (table, "not a scalar volume")):
        with pytest.raises(InputError, match=cause):
            gridOf(node)


def test_a_vector_volume_with_one_component_is_an_image(scene: Any) -> None:
    node = slicer.util.addVolumeFromArray(voxels(), None, "grey", "vtkMRMLVectorVolumeNode")
    assert imageOf(node).array.shape == SHAPE


@pytest.mark.parametrize("directions", [rotation(), LEFT_HANDED])
def test_overlapping_segments_arrive_exactly_and_nothing_changes(scene: Any, directions: np.ndarray) -> None:
    volume = add_volume(voxels(), ijk_to_ras(directions=directions))
    masks = boxes()
    node = add_segmentation(volume, masks)
    before = fingerprint(scene)
    segmentation, remarks = read(volume, node)
    assert fingerprint(scene) == before
    assert not remarks and len(segmentation.layers) == 2
    found = masks_of(segmentation)
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())
    assert [(s.name, s.identifier) for s in segmentation.segments] == [("肝臓 é liver", "liver"),
                                                                      ("肝臓 é vessel", "vessel")]
    assert np.allclose(segmentation.segments[1].color, (0.5, 0.5, 0.25))


def test_forty_five_segments_in_layers_of_their_own_become_one_layer(scene: Any) -> None:
    volume, masks = add_volume(voxels()), {}
    for number in range(45):
        row, column = 2 * (number // 12), 2 * (number % 12)
        masks[f"s{number}"] = np.zeros(SHAPE, bool)
        masks[f"s{number}"][2:4, row:row + 2, column:column + 2] = True
    node = add_segmentation(volume, masks)
    for name in masks:
        node.GetSegmentation().SeparateSegmentLabelmap(name)
    assert node.GetSegmentation().GetNumberOfLayers() == 45
    segmentation, _ = read(volume, node)
    assert len(segmentation.layers) == 1
    found = masks_of(segmentation)
    assert len(found) == 45 and all(np.array_equal(found[name], mask) for name, mask in masks.items())


def test_some_segments_only(scene: Any) -> None:
    volume = add_volume(voxels())
    segmentation, _ = read(volume, add_segmentation(volume, boxes()), ["vessel"])
    assert [segment.identifier for segment in segmentation.segments] == ["vessel"]
    assert np.array_equal(segmentation.layers.any(axis=0), boxes()["vessel"])


def test_empty_segments_are_named_and_left_out(scene: Any) -> None:
    volume = add_volume(voxels())
    node = add_segmentation(volume, {**boxes(), "tumour": np.zeros(SHAPE, bool)})
    segmentation, remarks = read(volume, node)
    assert [segment.identifier for segment in segmentation.segments] == ["liver", "vessel"]
    assert len(remarks) == 1 and "肝臓 é tumour" in remarks[0]
    with pytest.raises(InputError, match="None of the chosen segments.*segment at least two"):
        read(volume, node, ["tumour"])


def test_wrong_segments_are_refused(scene: Any) -> None:
    volume = add_volume(voxels())
    node = add_segmentation(volume, boxes())
    with pytest.raises(InputError, match="no segment with the id 'spleen'.*liver, vessel"):
        segmentIDsOf(node, ["spleen"])
    with pytest.raises(InputError, match="No segment of"):
        segmentIDsOf(node, [])
    with pytest.raises(InputError, match="is not a segmentation"):
        segmentIDsOf(volume)


def test_a_segmentation_on_finer_voxels_is_resampled_and_that_is_said(scene: Any) -> None:
    volume = add_volume(voxels())
    fine = add_volume(voxels((12, 40, 48)), ijk_to_ras((0.35, 0.45, 1.5)))
    mask = np.zeros((12, 40, 48), bool)
    mask[2:9, 8:31, 10:33] = True
    segmentation, remarks = read(volume, add_segmentation(fine, {"a": mask}))
    assert np.array_equal(segmentation.layers[0] > 0, mask[::2, ::2, ::2])
    assert any("resampled" in remark for remark in remarks)


def test_a_segmentation_elsewhere_is_refused(scene: Any) -> None:
    volume, far = add_volume(voxels()), add_volume(voxels(), ijk_to_ras(origin=(-31.5, 12.25, 104.0 + 30.0)))
    with pytest.raises(InputError, match="has a voxel in the volume"):
        read(volume, add_segmentation(far, boxes()))


@pytest.mark.parametrize("make", [lambda: add_linear_transform(ijk_to_ras((1, 1, 1))), add_grid_transform])
def test_a_common_parent_transform_does_not_matter(scene: Any, make: Any) -> None:
    volume = add_volume(voxels())
    node, transform = add_segmentation(volume, boxes()), make()
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    assert transformBetween(node, volume) is None
    segmentation, remarks = read(volume, node)
    assert not remarks and np.array_equal(masks_of(segmentation)["liver"], boxes()["liver"])


def test_different_linear_transforms_are_followed(scene: Any) -> None:
    """The volume is moved by two voxels along i, and the segmentation is not."""
    volume = add_volume(voxels())
    node, shift = add_segmentation(volume, boxes()), np.eye(4)
    shift[:3, 3] = 2 * ijk_to_ras()[:3, 0]
    volume.SetAndObserveTransformNodeID(add_linear_transform(shift).GetID())
    segmentation, remarks = read(volume, node)
    assert np.array_equal(masks_of(segmentation)["liver"], np.roll(boxes()["liver"], -2, axis=2))
    assert any("resampled" in remark for remark in remarks)


def test_a_transform_that_moves_nothing_resamples_nothing(scene: Any) -> None:
    volume = add_volume(voxels())
    node = add_segmentation(volume, boxes())
    node.SetAndObserveTransformNodeID(add_linear_transform(np.eye(4)).GetID())
    assert read(volume, node)[1] == []


def test_a_nonlinear_transform_of_the_segmentation_alone_is_followed(scene: Any) -> None:
    """The displacement along x is 0 at z = 0 and 4 mm at z = 40; in between it grows linearly."""
    matrix = ijk_to_ras((2, 2, 10), (0, 0, 0), np.eye(3))
    volume = add_volume(voxels(), matrix)
    mask = np.zeros(SHAPE, bool)
    mask[:, 5:10, 5:10] = True
    node = add_segmentation(volume, {"a": mask})
    node.SetAndObserveTransformNodeID(add_grid_transform().GetID())
    segmentation, remarks = read(volume, node)
    found = segmentation.layers[0] > 0
    assert np.array_equal(found[0], mask[0])
    assert np.array_equal(found[4], np.roll(mask[4], 2, axis=1))
    assert any("resampled" in remark for remark in remarks)


@pytest.mark.parametrize("moved", [False, True])
def test_a_segmentation_of_surfaces_is_drawn_on_the_voxels_and_stays_one_of_surfaces(scene: Any, moved: bool) -> None:
    matrix = ijk_to_ras((1, 1, 1), (-12, -10, -3), np.eye(3))
    volume = add_volume(voxels(), matrix)
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(2.4)
    sphere.SetThetaResolution(32)
    sphere.SetPhiResolution(32)
    sphere.SetCenter(0.0, 5.0 if moved else 0.0, 0.0)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", (1.0, 0.0, 0.0), "ball")
    if moved:
        back = np.eye(4)
        back[1, 3] = -5.0
        node.SetAndObserveTransformNodeID(add_linear_transform(back).GetID())
    transformBetween(node, volume)  # looking at a transform for the first time marks what is under it as modified
    before = fingerprint(scene)
    segmentation, _ = read(volume, node)
    assert fingerprint(scene) == before and not node.GetSegmentation().ContainsRepresentation(BINARY_LABELMAP)
    k, j, i = np.nonzero(segmentation.layers[0])
    assert np.allclose([i.mean(), j.mean(), k.mean()], [12, 10, 3], atol=0.1)
    assert 0.7 < len(i) / (4 / 3 * np.pi * 2.4 ** 3) < 1.3


def test_state_tells_of_changed_voxels_segments_and_geometry_but_not_of_display(scene: Any) -> None:
    volume = add_volume(voxels())
    node = add_segmentation(volume, boxes())
    state = stateOf(volume, node)
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(3.0, 1.0)
    node.GetDisplayNode().SetSegmentVisibility("liver", False)
    volume.SetName("renamed")
    assert stateOf(volume, node) == state
    slicer.util.updateSegmentBinaryLabelmapFromArray(boxes()["liver"].astype(np.uint8)[::-1], node, "liver", volume)
    assert stateOf(volume, node) != (state := stateOf(volume, None))
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    assert stateOf(volume, None) != state
    state = stateOf(volume, None)
    volume.SetSpacing(1, 1, 1)
    assert stateOf(volume, None) != state


def test_two_linear_transforms_make_a_linear_one(scene: Any) -> None:
    nodes, matrices = [add_volume(np.zeros((2, 3, 4), np.int16)) for _ in range(2)], []
    for angle, node in zip((20.0, -70.0), nodes, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation(angle), angle
        matrices.append(matrix)
        node.SetAndObserveTransformNodeID(add_linear_transform(matrix).GetID())
    transform = transformBetween(*nodes)
    assert transform is not None and transform.IsA("vtkLinearTransform")
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(transform.GetMatrix()),
                               np.linalg.inv(matrices[1]) @ matrices[0], atol=1e-9)
