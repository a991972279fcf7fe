"""What is read on the panel: characters as they are, and all lines of it."""
from __future__ import annotations

from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import CPU, StandInDeviceList, click, moving, open_section, opened_panel, read, reconstructed
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice
from TriplaneGaussianReconModule.scene import sample_data

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
    assert len(wrapped(widget)) > 5 and not cut(widget)


def test_no_line_is_cut_right_after_try_it(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch
                                           ) -> None:
    """When texts and what is visible change at once, as QFormLayout does not follow: it mixes up heights."""
    def load(name: str) -> tuple[Any, Any]:
        volume = mrml.add_volume(moving()[0], name=name)
        return volume, mrml.add_segmentation(volume, {"core": moving()[1]})

    monkeypatch.setattr(StandInDeviceList, "found", [
        {**CPU, "note": "CPU: No NVIDIA GPU was found, or no driver for it, so that the processor does all of it."}])
    monkeypatch.setattr(device_choice, "DeviceList", StandInDeviceList)
    monkeypatch.setattr(sample_data, "load", load)
    with opened_panel(monkeypatch) as opened:
        qt.QApplication.processEvents()
        click(opened.ui.tryButton)
        qt.QApplication.processEvents()
        note = opened.ui.deviceNote
        assert note.heightForWidth(note.width) > 1.5 * note.fontMetrics().height()  # it has two lines
        assert not cut(opened)


def wrapped(widget: Any) -> list[Any]:
    """The labels of the panel that are seen and may have several lines."""
    return [each for each in widget.parent.findChildren(qt.QLabel) if each.visible and each.wordWrap and each.text]


def cut(widget: Any) -> dict[str, tuple[int, int]]:
    """Those that are lower than their text, with both heights."""
    return {label.name: (label.height, label.heightForWidth(label.width)) for label in wrapped(widget)
            if label.height < label.heightForWidth(label.width)}
