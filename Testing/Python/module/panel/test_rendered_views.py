"""What a user sees of results, as pixels of Slicer's own slice and 3D views."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
import rendered_views
import slicer
import vtk
from panel_case import click, moving, reconstructed, wait_until
from rendered_views import RenderedSliceView
from scipy.ndimage import map_coordinates
from TriplaneGaussianReconModule.panel import views
from TriplaneGaussianReconModule.scene.results import CERTAIN

SPACING = 3.0  # mm between slices, and at most so much between pixels


@pytest.fixture
def scan(widget: Any) -> tuple[Any, Any]:
    """A volume and a segmentation with one segment, which is not shown, chosen on the panel."""
    voxels, mask = moving()
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": mask})
    segmentation.GetDisplayNode().SetVisibility(False)
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def face(volume: Any) -> None:
    """Let the red slice view look along the slices of a volume, and show all of one."""
    red = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    red.RotateToVolumePlane(volume)
    slicer.app.applicationLogic().GetSliceLogic(red).FitSliceToBackground()


def places(view: RenderedSliceView, volume: Any) -> np.ndarray:
    """Index [k, j, i] in a volume of each pixel of a view: float [3, y, x]."""
    width, height = view.node.GetDimensions()[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    toIJK = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(toIJK)
    matrix = slicer.util.arrayFromVTKMatrix(toIJK) @ slicer.util.arrayFromVTKMatrix(view.node.GetXYToRAS())
    return (matrix @ np.stack([x, y, 0 * x, 0 * x + 1]).reshape(4, -1))[2::-1].reshape(3, height, width)


def shares(view: RenderedSliceView, volume: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where a volume lies from the lower, 0, to the upper end, 1, of what is shown, and which pixels are within it."""
    at, voxels = places(view, volume), slicer.util.arrayFromVolume(volume).astype(float)
    inside = np.all([(index > 0.01) & (index < size - 1.01) for index, size in zip(at, voxels.shape, strict=True)], 0)
    display = volume.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    return np.clip((map_coordinates(voxels, at, order=1, mode="nearest") - low) / (high - low), 0, 1), inside


def colours(volume: Any, share: np.ndarray) -> np.ndarray:
    """What colour a volume is shown in, from 0 to 255: [..., 3]."""
    table = volume.GetDisplayNode().GetColorNode().GetLookupTable()
    entries = 255.0 * np.array([table.GetTableValue(n)[:3] for n in range(table.GetNumberOfTableValues())])
    return entries[np.round(share * (len(entries) - 1)).astype(int)]


def test_compare_draws_input_result_and_expected_error(widget: Any, scan: tuple[Any, Any]) -> None:
    parameters = reconstructed(widget)
    parameters.resultSegmentation.GetDisplayNode().SetVisibility(False)
    click(widget.ui.compareButton)
    with rendered_views.slice_views(*views.COMPARED) as shown:
        for view, volume in zip(shown, (scan[0], parameters.resultVolume, parameters.resultConfidence), strict=True):
            share, inside = shares(view, volume)
            difference = np.abs(view.pixels()[inside] - colours(volume, share[inside]))
            assert inside.mean() > 0.2 and np.ptp(share[inside]) > 0.5
            assert difference.mean() < 2.0 and np.quantile(difference, 0.99) < 8.0


def test_a_slice_view_shows_the_result_with_its_segments_where_they_are(widget: Any, scan: tuple[Any, Any]) -> None:
    parameters = reconstructed(widget)
    result, segmentation = parameters.resultVolume, parameters.resultSegmentation
    face(result)
    with rendered_views.slice_views("Red") as (view,):
        segmentation.GetDisplayNode().SetVisibility(True)
        both = view.pixels().astype(float)
        segmentation.GetDisplayNode().SetVisibility(False)
        alone = view.pixels().astype(float)
        (share, inside), at = shares(view, result), places(view, result)
    assert np.abs(alone[inside] - colours(result, share[inside])).mean() < 2.0
    mask = mrml.voxels_of_segment(segmentation, "core", result).astype(float)
    covered = map_coordinates(mask, at, order=1, mode="constant")
    changed = np.abs(both - alone).max(axis=-1) > 8
    assert (covered > 0.9).mean() > 0.02
    assert changed[covered > 0.9].mean() > 0.95 and changed[covered == 0.0].mean() < 0.01
    deep = covered == 1.0  # half transparent, in the segment's colour: the image is seen through it
    colour = 255.0 * np.array(segmentation.GetSegmentation().GetSegment("core").GetColor())
    opacity = segmentation.GetDisplayNode().GetOpacity2DFill()
    assert np.abs(both[deep] - (1 - opacity) * alone[deep] - opacity * colour).mean() < 8.0


def test_a_closed_surface_is_drawn_in_its_colour_and_as_wide_as_its_segment(widget: Any, scan: tuple[Any, Any]
                                                                            ) -> None:
    parameters = reconstructed(widget)
    segmentation = parameters.resultSegmentation
    segmentation.GetDisplayNode().SetVisibility(True)
    with rendered_views.three_d_view() as view:
        assert not view.pixels().any()  # surfaces are made when they are asked for
        click(widget.ui.show3DButton)
        wait_until(lambda: widget.ui.show3DButton.text == "Hide 3D")
        camera = view.renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        view.renderer.ResetCamera()
        pixels = view.pixels().astype(float)
        height = 2.0 * camera.GetParallelScale() / len(pixels)
        across = np.cross(camera.GetDirectionOfProjection(), camera.GetViewUp())
    seen = pixels.max(axis=-1) > 0
    colour, wanted = pixels[seen].mean(axis=0), np.array(segmentation.GetSegmentation().GetSegment("core").GetColor())
    assert np.abs(colour / colour.max() - wanted / wanted.max()).max() < 0.1
    mask = mrml.voxels_of_segment(segmentation, "core", parameters.resultVolume)
    points = np.array([mrml.world_of_voxel(parameters.resultVolume, each) for each in np.argwhere(mask)[:, ::-1]])
    assert abs(seen.any(axis=0).sum() * height - np.ptp(points @ across)) < SPACING


def add_drawn(widget: Any) -> tuple[Any, Any]:
    """Choose a volume, and a segmentation that is drawn on every fourth slice alone."""
    voxels, mask = moving()
    mask[np.setdiff1d(np.arange(len(mask)), (0, 4, 8))] = False
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": mask})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def test_compare_draws_the_scan_with_drawn_and_filled_labels_and_with_their_certainty(widget: Any) -> None:
    volume, given = add_drawn(widget)
    parameters = reconstructed(widget)
    filled, certainty = parameters.resultSegmentation, parameters.resultCertainty
    click(widget.ui.compareButton)
    with rendered_views.slice_views(*views.COMPARED_LABELS) as (drawn, made, doubt):
        for view, node in ((drawn, given), (made, filled)):
            both = view.pixels().astype(float)
            node.GetDisplayNode().SetOpacity(0.0)
            alone = view.pixels().astype(float)
            share, inside = shares(view, volume)
            assert np.abs(alone[inside] - colours(volume, share[inside])).mean() < 2.0
            mask = mrml.voxels_of_segment(node, "core", volume).astype(float)
            deep = map_coordinates(mask, places(view, volume), order=1, mode="constant") > 0.7
            changed = np.abs(both - alone).max(axis=-1) > 8  # filled with colour, not outlines alone
            assert deep.mean() > 0.005 and changed[deep].mean() > 0.95
        (share, inside), (sure, _) = shares(doubt, volume), shares(doubt, certainty)
        at = map_coordinates(slicer.util.arrayFromVolume(certainty), places(doubt, volume), order=1, mode="nearest")
        pixels, image, over = doubt.pixels().astype(float), colours(volume, share), colours(certainty, sure)
    certain, doubtful = inside & (at > 0.99), inside & (at < CERTAIN - 0.05)
    assert certain.any() and np.abs(pixels[certain] - image[certain]).mean() < 4.0
    assert doubtful.mean() > 0.1 and np.abs(pixels[doubtful] - (image + over)[doubtful] / 2.0).mean() < 4.0


def test_certainty_colours_the_labels_that_are_in_doubt(widget: Any) -> None:
    volume, _given = add_drawn(widget)
    certainty = reconstructed(widget).resultCertainty
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode"):
        node.SetVisibility(False)
    face(volume)
    red, coloured = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode"), []
    with rendered_views.slice_views("Red") as (view,):
        for index in (4, 5):
            red.JumpSliceByOffsetting(*mrml.world_of_voxel(volume, (10, 9, index)))
            before = view.pixels().astype(int)
            click(widget.ui.certaintyButton)
            coloured.append(np.abs(view.pixels() - before).max(axis=-1) > 20)
            click(widget.ui.certaintyButton)
        inside = shares(view, volume)[1]
    assert (slicer.util.arrayFromVolume(certainty)[5] < CERTAIN).all()
    assert not coloured[0].any() and coloured[1][inside].mean() > 0.9
