"""The choice between the frame that is shown and all of a sequence."""
from __future__ import annotations

from typing import Any

import mrml
import slicer
from panel_case import click, moving, reconstructed


def shown_sequence() -> Any:
    """A volume in which a browser shows a sequence of two frames."""
    volume, scene = mrml.add_volume(moving()[0]), slicer.mrmlScene
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "sequence")
    for number in range(2):
        sequence.SetDataNodeAtValue(volume, str(number))
    browser.AddProxyNode(volume, sequence, False)
    return volume


def test_it_is_asked_only_of_a_sequence(widget: Any) -> None:
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0]))
    assert not widget.ui.allFrames.visible
    widget.ui.inputVolume.setCurrentNode(shown_sequence())
    assert widget.ui.allFrames.visible and widget.ui.allFrames.checked


def test_the_frame_that_is_shown_is_reconstructed_alone(widget: Any) -> None:
    widget.ui.inputVolume.setCurrentNode(shown_sequence())
    click(widget.ui.allFrames)
    before = len(slicer.util.getNodesByClass("vtkMRMLSequenceNode"))
    assert reconstructed(widget).resultVolume is not None
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == before
