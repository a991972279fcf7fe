"""What is read on the panel: characters as they are, and all lines of it."""
from __future__ import annotations

from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import StandInDeviceList, click, moving, open_section, opened_panel, read, reconstructed
from stand_in_worker import StandInWorkerProcess

NAME = "O'Brien <left> & right"


def test_names_are_read_as_they_are_written(widget: Any, process: StandInWorkerProcess) -> None:
    volume = mrml.add_volume(moving()[0], name=NAME)
    widget.ui.inputVolume.setCurrentNode(volume)
    reconstructed(widget)
    assert read(widget.ui.resultText).splitlines()[1] == f"Result of '{NAME}':"
    process.isHeld = True
    click(widget.ui.reconstructButton)
    slicer.mrmlScene.RemoveNode(volume)
    assert read(widget.ui.message).startswith(f"'{NAME}' was removed from the scene")


def test_what_is_told_of_a_device_is_read_as_it_is_written(widget: Any, process: StandInWorkerProcess,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    StandInDeviceList.found = [{"device": "cuda:0", "name": "NVIDIA 'A' & B", "memory_bytes": 8e9, "note": "Free."}]
    with opened_panel(monkeypatch) as opened:
        assert read(opened.ui.deviceNote) == "cuda:0: NVIDIA 'A' & B, 8.0 GB"


@pytest.mark.parametrize("name", ["message", "progressText", "deviceNote", "resultText"])
def test_labels_know_that_their_texts_are_marked_up(widget: Any, name: str) -> None:
    """Qt would else take a text without tags for plain, and show its quotes as &#x27;."""
    getattr(widget.ui, name).setText("it&#x27;s")
    assert read(getattr(widget.ui, name)) == "it's"


@pytest.mark.parametrize("height", [300, 1000, 3000])
@pytest.mark.parametrize("width", [330, 480])
def test_no_line_is_cut(widget: Any, width: int, height: int) -> None:
    """In a dock that is lower than the panel as well as in a higher one."""
    widget.ui.inputVolume.setCurrentNode(mrml.add_volume(moving()[0]))
    reconstructed(widget)
    for section in (widget.ui.furtherSection, widget.ui.advancedSection):
        open_section(section)
    widget.dock = dock = qt.QScrollArea()  # which goes after the panel
    dock.setWidgetResizable(True)
    dock.setWidget(widget.parent)
    dock.resize(width, height)
    dock.show()
    qt.QApplication.processEvents()
    labels = [each for each in widget.parent.findChildren(qt.QLabel) if each.visible and each.wordWrap and each.text]
    assert len(labels) > 5
    assert not {label.name: (label.height, label.heightForWidth(label.width)) for label in labels
                if label.height < label.heightForWidth(label.width)}
