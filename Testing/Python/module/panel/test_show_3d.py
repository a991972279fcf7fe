"""The filled segmentation in the 3D view, and not there any more."""
from __future__ import annotations

from typing import Any

import pytest
import slicer
from panel_case import click, read, reconstructed, red, wait_until
from TriplaneGaussianReconModule.run import surfaces
from TriplaneGaussianReconModule.scene.surfaces import hasSurfaces


def test_surfaces_come_by_one_click_and_go_by_another(widget: Any, scan: tuple[Any, Any]) -> None:
    """The layout has no 3D view in the beginning."""
    layout, button = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode"), widget.ui.show3DButton
    assert not button.visible
    filled = reconstructed(widget).resultSegmentation
    layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
    assert button.text == "Show 3D"
    click(button)
    assert button.text == "3D: 0 of 1..." and not hasSurfaces(filled.GetSegmentation())
    wait_until(lambda: button.text == "Hide 3D")
    assert hasSurfaces(filled.GetSegmentation()) and filled.GetDisplayNode().GetVisibility3D()
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
    assert [view.looked for view in slicer.app.layoutManager().threeDViews] == [1]
    click(button)
    assert not hasSurfaces(filled.GetSegmentation()) and button.text == "Show 3D"


def test_a_second_click_stops_it(widget: Any, scan: tuple[Any, Any]) -> None:
    filled, button = reconstructed(widget).resultSegmentation, widget.ui.show3DButton
    click(button)
    click(button)
    assert button.text == "Show 3D" and not hasSurfaces(filled.GetSegmentation())
    assert not widget.ui.message.visible or "Done" in read(widget.ui.message)


def test_what_goes_wrong_is_told(widget: Any, scan: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "_WORKER", "there is no such file.py")
    reconstructed(widget)
    click(widget.ui.show3DButton)
    wait_until(lambda: widget.ui.show3DButton.text == "Show 3D")
    assert red(widget.ui.message.text) and "no such file" in read(widget.ui.message)


def test_a_segmentation_that_is_removed_meanwhile_is_not_offered_any_more(widget: Any, scan: tuple[Any, Any]) -> None:
    filled = reconstructed(widget).resultSegmentation
    click(widget.ui.show3DButton)
    slicer.mrmlScene.RemoveNode(filled)
    widget.enter()
    assert not widget.ui.show3DButton.visible and read(widget.ui.message).startswith("Done")


def test_without_a_segmentation_there_is_no_button(widget: Any, scan: tuple[Any, Any]) -> None:
    widget.ui.segmentation.setCurrentNode(None)
    reconstructed(widget)
    assert not widget.ui.show3DButton.visible
