"""Where results go: new nodes, or those that are chosen on the panel."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import choose, click, moving, read, reconstructed, shown_sequence, wait_until


@pytest.fixture
def scan(widget: Any) -> tuple[Any, Any]:
    """A volume and its segmentation, chosen."""
    volume = mrml.add_volume(moving()[0], name="scan")
    segmentation = mrml.add_segmentation(volume, {"core": moving()[1]}, "drawn")
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def test_new_nodes_are_made_unless_others_are_chosen(widget: Any, scan: tuple[Any, Any]) -> None:
    ui = widget.ui
    assert ui.outputVolume.currentNode() is None and ui.outputVolume.noneDisplay == "Create new volume"
    choices = reconstructed(widget)
    names = [node.GetName() for node in (choices.resultVolume, choices.resultSegmentation)]
    assert names == ["scan reconstructed", "drawn reconstructed"] and ui.outputVolume.currentNode() is None
    volume, segmentation = ui.outputVolume.addNode(), ui.outputSegmentation.addNode()
    assert (volume.GetName(), segmentation.GetName()) == ("Reconstructed volume", "Reconstructed segmentation")
    choices = reconstructed(widget)
    assert (choices.resultVolume, choices.resultSegmentation) == (volume, segmentation)
    assert "Result of 'scan':" in read(ui.resultText) and ui.compareButton.visible


def test_a_volume_is_asked_for_only_where_there_will_be_one(widget: Any, scan: tuple[Any, Any]) -> None:
    ui, some = widget.ui, moving()[1].copy()
    assert ui.outputVolume.visible and ui.outputVolumeLabel.visible
    some[[1, 2, 3, 5, 6, 7]] = False
    ui.segmentation.setCurrentNode(mrml.add_segmentation(scan[0], {"core": some}, "some"))
    wait_until(lambda: not ui.outputVolume.visible)
    assert ui.outputSegmentation.visible and not ui.outputVolumeLabel.visible
    ui.copyVolume.checked = True
    assert ui.outputVolume.visible
    ui.copyVolume.checked = False
    choose(ui.trust, "Every Nth slice")
    assert ui.outputVolume.visible


def test_a_choice_is_for_one_run_so_that_the_next_one_replaces_nothing(widget: Any, scan: tuple[Any, Any]) -> None:
    ui = widget.ui
    volume, segmentation = ui.outputVolume.addNode(), ui.outputSegmentation.addNode()
    reconstructed(widget)
    assert ui.outputVolume.currentNode() is None and ui.outputSegmentation.currentNode() is None
    choices = reconstructed(widget)
    assert choices.resultVolume is not volume and choices.resultSegmentation is not segmentation


def test_a_choice_for_the_next_run_outlives_this_one(widget: Any, scan: tuple[Any, Any]) -> None:
    first = widget.ui.outputVolume.addNode()
    click(widget.ui.reconstructButton)
    second, segmentation = widget.ui.outputVolume.addNode(), widget.ui.outputSegmentation.addNode()
    wait_until(lambda: not widget.logic.isRunning)
    choices = widget.logic.getParameterNode()
    assert choices.resultVolume is first
    assert (choices.outputVolume, choices.outputSegmentation) == (second, segmentation)


def test_an_input_is_refused_with_the_reason(widget: Any, scan: tuple[Any, Any]) -> None:
    widget.ui.outputVolume.setCurrentNode(scan[0])
    assert not widget.ui.reconstructButton.enabled
    assert "'scan' is an input, which is never changed." in widget.ui.reconstructButton.toolTip


def test_a_chosen_node_that_is_removed_is_not_chosen_any_more(widget: Any, scan: tuple[Any, Any]) -> None:
    slicer.mrmlScene.RemoveNode(widget.ui.outputVolume.addNode())
    assert widget.ui.outputVolume.currentNode() is None and widget.ui.reconstructButton.enabled
    assert reconstructed(widget).resultVolume.GetName() == "scan reconstructed"


def test_without_a_segmentation_there_is_no_choice_for_it(widget: Any, scan: tuple[Any, Any]) -> None:
    widget.ui.outputSegmentation.addNode()
    assert widget.ui.outputSegmentation.visible
    widget.ui.segmentation.setCurrentNode(None)
    assert not widget.ui.outputSegmentation.visible and not widget.ui.outputSegmentationLabel.visible
    assert reconstructed(widget).resultVolume is not None


def test_a_whole_sequence_has_no_choice_and_its_frame_has(widget: Any) -> None:
    mine = mrml.add_volume(np.zeros((2, 3, 4), np.int16), name="mine")
    widget.ui.inputVolume.setCurrentNode(shown_sequence())
    widget.ui.outputVolume.setCurrentNode(mine)
    assert not widget.ui.outputVolume.visible and widget.ui.reconstructButton.enabled
    assert reconstructed(widget).resultVolume is not mine
    click(widget.ui.allFrames)
    assert widget.ui.outputVolume.visible
    assert reconstructed(widget).resultVolume is mine
