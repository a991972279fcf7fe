"""The choice of a part of the volume on the panel."""
from __future__ import annotations

from typing import Any

import mrml
import slicer
from panel_case import choose, moving, read, reconstructed, type_into, wait_until
from TriplaneGaussianReconModule.run.parameters import keywords


def test_the_whole_volume_is_meant_until_a_box_is_made_in_its_middle(widget: Any, volume: Any) -> None:
    ui = widget.ui
    choose(ui.trust, "Every Nth slice")
    assert ui.region.currentNode() is None and ui.region.noneDisplay == "Whole volume"
    assert ui.outputPreview.text == "Result: 22 x 20 x 9 voxels of 0.7 x 0.9 x 3 mm."
    assert ui.taskPreview.text == "Makes 4 of 9 slices from the others."
    box = ui.region.addNode()
    wait_until(lambda: "12 x 10 x 5 voxels" in ui.outputPreview.text)
    assert box.GetName() == "Region" and ui.taskPreview.text == "Makes 2 of 5 slices from the others."
    told = "slices are used, those in the region and the next ones around it: "
    result = reconstructed(widget).resultVolume
    assert result.GetImageData().GetDimensions() == (12, 10, 5) and told in ui.trustPreview.text


def test_the_panel_follows_a_box_that_is_moved(widget: Any, volume: Any) -> None:
    ui, box = widget.ui, widget.ui.region.addNode()
    wait_until(lambda: "12 x 10" in ui.outputPreview.text)
    box.SetSize(100.0, 100.0, 100.0)
    wait_until(lambda: "22 x 20" in ui.outputPreview.text)
    matrix = mrml.ijk_to_ras()
    matrix[:3, 3] += 500.0
    box.SetAndObserveTransformNodeID(mrml.add_linear_transform(matrix).GetID())
    wait_until(lambda: not ui.reconstructButton.enabled)
    assert "The region lies outside of the volume" in ui.reconstructButton.toolTip and not ui.outputPreview.visible


def test_a_box_that_is_too_thin_says_why(widget: Any, volume: Any) -> None:
    choose(widget.ui.trust, "Every Nth slice")
    box = widget.ui.region.addNode()
    box.SetSize(5.0, 5.0, 0.5)
    wait_until(lambda: not widget.ui.reconstructButton.enabled)
    assert "too thin. It holds only slice 4; at least two are needed." in widget.ui.reconstructButton.toolTip


def test_a_box_beside_all_bad_slices_is_refused(widget: Any, volume: Any) -> None:
    choose(widget.ui.task, "Replace bad slices")
    type_into(widget.ui.excludedSlices, "1")
    widget.ui.region.addNode()
    wait_until(lambda: not widget.ui.reconstructButton.enabled, 10.0)
    assert read(widget.ui.message).startswith("No excluded slice lies in the region.")
    type_into(widget.ui.excludedSlices, "1,4")
    assert widget.ui.reconstructButton.enabled


def test_a_box_that_is_removed_is_not_chosen_any_more(widget: Any, volume: Any) -> None:
    slicer.mrmlScene.RemoveNode(widget.ui.region.addNode())
    assert widget.ui.region.currentNode() is None and "22 x 20" in widget.ui.outputPreview.text
    assert reconstructed(widget).resultVolume.GetImageData().GetDimensions()[:2] == (22, 20)


def test_combined_volumes_are_combined_whole(widget: Any, volume: Any) -> None:
    mrml.add_volume(moving()[0], name="other")
    widget.ui.region.addNode()
    assert keywords(widget.logic.getParameterNode())["region"] is not None
    choose(widget.ui.task, "Combine volumes")
    assert not widget.ui.region.visible and not widget.ui.regionLabel.visible
    assert keywords(widget.logic.getParameterNode())["region"] is None


def test_without_a_volume_a_box_is_where_it_was_made(widget: Any) -> None:
    box = widget.ui.region.addNode()
    assert box.GetNumberOfDefinedControlPoints() == 0
    assert widget.ui.reconstructButton.toolTip == "Choose an input volume first."
