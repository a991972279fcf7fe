"""What is told and kept outside of the panel: in the status bar, on the clipboard, between sessions."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import (
    MODULE,
    StandInDeviceList,
    choose,
    click,
    moving,
    open_section,
    opened_panel,
    reconstructed,
    wait_until,
)
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.installation import resume
from TriplaneGaussianReconModule.installation.packages_dialog import PackagesDialog
from TriplaneGaussianReconModule.run.parameters import PresetChoice

FAILURE = {"event": "failed", "kind": "memory", "message": "Not enough memory.", "details": ""}


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the status bar shows, one after another."""
    shown: list[str] = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda message, duration=0: shown.append(message))
    return shown


@pytest.fixture
def volume(widget: Any) -> Any:
    """A volume, chosen, with the name of a patient."""
    found = mrml.add_volume(moving()[0], name="Doe^Jane")
    widget.ui.inputVolume.setCurrentNode(found)
    return found


def test_the_status_bar_tells_of_a_run_while_another_module_is_open(widget: Any, volume: Any, status: list[str]
                                                                    ) -> None:
    reconstructed(widget)
    assert not status  # the panel tells
    click(widget.ui.reconstructButton)
    widget.exit()
    wait_until(lambda: not widget.logic.isRunning)
    assert status[0] == "Reconstruction: Stage 2 of 8: Learning from the scan's own slices, 1 s left"
    assert status[-1].startswith("Reconstruction: Done in ")


def test_the_status_bar_tells_of_a_failure(widget: Any, volume: Any, status: list[str], process: StandInWorkerProcess
                                           ) -> None:
    process.failure = FAILURE
    click(widget.ui.reconstructButton)
    widget.exit()
    wait_until(lambda: not widget.logic.isRunning)
    assert status[-1] == "Reconstruction: Not enough memory."


def test_the_log_of_a_failure_can_be_copied(widget: Any, volume: Any, process: StandInWorkerProcess) -> None:
    assert not widget.ui.copyLogButton.visible
    process.failure = FAILURE
    reconstructed(widget)
    click(widget.ui.copyLogButton)
    text = qt.QApplication.clipboard().text()
    for part in ("TriplaneGaussianRecon 0.", "stand-in for 3D Slicer 5.12", "Not enough memory.", '"preset": "fast"',
                 "what the stand-in wrote"):
        assert part in text
    assert "Jane" not in text
    process.failure = None
    reconstructed(widget)
    assert not widget.ui.copyLogButton.visible


def test_choices_of_the_last_run_are_there_in_the_next_session(widget: Any, volume: Any,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    choose(widget.ui.preset, "Better")
    widget.ui.threads.value, widget.ui.memory.value = 2, 3.5
    reconstructed(widget)
    widget.ui.threads.value = 1  # which no run was made with
    slicer.mrmlScene.Clear()
    with opened_panel(monkeypatch) as opened:
        parameters = opened.logic.getParameterNode()
        assert (parameters.preset, parameters.threads, parameters.memory) == (PresetChoice.BALANCED, 2, 3.5)
        assert opened.ui.preset.currentText == "Better"


def test_what_has_no_meaning_any_more_is_not_recalled(widget: Any, volume: Any, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    for name, value in (("preset", "quick"), ("threads", "many"), ("memory", "-3")):
        qt.QSettings().setValue(f"TriplaneGaussianRecon/{name}", value)
    slicer.mrmlScene.Clear()
    with opened_panel(monkeypatch) as opened:
        parameters = opened.logic.getParameterNode()
        assert (parameters.preset, parameters.threads, parameters.memory) == (PresetChoice.FAST, 0, 0.0)


def test_the_packages_are_looked_at_by_a_button_and_so_are_the_devices_then(widget: Any,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(PackagesDialog, "run", lambda self: shown.append(self.dialog.parent()))
    widget.panel._device._devices = []  # as long as packages are missing, none is found
    before = StandInDeviceList.started
    open_section(widget.ui.advancedSection)
    click(widget.ui.packagesButton)
    assert shown == [widget.ui.packagesButton] and StandInDeviceList.started == before + 1


def test_packages_are_left_alone_while_a_run_uses_them(widget: Any, volume: Any, process: StandInWorkerProcess
                                                       ) -> None:
    process.isHeld = True
    click(widget.ui.reconstructButton)
    assert not widget.ui.packagesButton.enabled and "is running" in widget.ui.packagesButton.toolTip
    click(widget.ui.reconstructButton)
    wait_until(lambda: not widget.logic.isRunning)
    assert widget.ui.packagesButton.enabled and "repair and upgrade" in widget.ui.packagesButton.toolTip


def test_the_module_is_opened_and_goes_on_when_slicer_was_started_anew(widget: Any, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    import TriplaneGaussianRecon as module

    goneOn: list[str] = []
    monkeypatch.setattr(module, "registerSampleData", lambda: None)
    monkeypatch.setattr(PackagesDialog, "run", lambda self, goesOn: goneOn.append(goesOn))
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda self: False)
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: widget.parent)
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: name == "TriplaneGaussianRecon" and widget.enter())
    widget.exit()
    module.TriplaneGaussianRecon(SimpleNamespace(path=str(MODULE)))
    resume.keep("repair")
    slicer.app.startupCompleted.emit()
    wait_until(lambda: goneOn)
    slicer.app.startupCompleted.emit()
    qt.QApplication.processEvents()
    assert goneOn == ["repair"]
