"""The choice between the frame that is shown and all of a sequence."""
from __future__ import annotations

from typing import Any

import mrml
import slicer
from panel_case import click, moving, reconstructed, shown_sequence


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
