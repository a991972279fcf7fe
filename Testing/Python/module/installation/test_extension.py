"""The extension PyTorch is installed by a stand-in for the Extensions Manager; after a restart all goes on."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import qt
import slicer
from extensions import Fault, StandInExtensionsManagerModel
from package_index import Index
from panel_case import wait_until
from TriplaneGaussianReconModule.installation import dependencies, resume, tasks
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog
from TriplaneGaussianReconModule.installation.extension import ExtensionInstallation
from TriplaneGaussianReconModule.panel.packages_button import PackagesButton

Dialogs = Callable[..., list[InstallationDialog]]


@pytest.fixture(autouse=True)
def without_extension(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer without the extension and without torch."""
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    site.complete("torch")
    site.add_light_the_torch()


def install() -> tuple[list[str], Any]:
    """What is told while the extension is installed, and what went wrong."""
    told, ends = list[str](), list[Any]()
    ExtensionInstallation(lambda line: None, lambda progress: told.append(str(progress)), ends.append).start()
    wait_until(lambda: ends)
    qt.QApplication.processEvents()
    assert len(ends) == 1
    return told, ends[0]


def test_it_is_asked_for_downloaded_and_unpacked_without_waiting() -> None:
    assert install() == (["Asking the Extensions Manager for PyTorch", "Downloading the extension PyTorch",
                          "Downloading the extension PyTorch: 0 of 0 MB"], None)
    assert slicer.app.extensions.installed == {"PyTorch"}


@pytest.mark.parametrize(("fault", "told"), [
    (Fault.NO_SERVER, "is not known"), (Fault.NO_ANSWER, "connected to the internet"),
    (Fault.UNKNOWN, "has none of this name for this version"),
    (Fault.BROKEN_OFF, "could not be downloaded or unpacked")])
def test_a_failure_is_told_with_its_cause_and_what_to_do(fault: Fault, told: str) -> None:
    slicer.app.extensions = StandInExtensionsManagerModel(fault)
    error = install()[1]
    assert told in str(error) and "Extensions Manager yourself, restart" in str(error)


def test_a_slicer_without_extensions_manager_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slicer.app.extensions = None
    assert "has no Extensions Manager" in str(install()[1])


def test_one_that_is_installed_and_switched_off_is_switched_on() -> None:
    slicer.app.extensions.installed.add("PyTorch")
    assert install() == ([], None) and slicer.app.extensions.enabled == {"PyTorch"}
    slicer.app.extensions = StandInExtensionsManagerModel(Fault.OTHER_SLICER)
    slicer.app.extensions.installed.add("PyTorch")
    assert "made for another version of Slicer" in str(install()[1])


@pytest.mark.skipif(os.name == "nt", reason="the environment is made of symbolic links")
def test_after_the_restart_it_goes_on_by_itself_with_the_packages(
        index: Index, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts, opened, seen = list[bool](), list[str](), list[str]()
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append(True))
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)

    def user(dialog: InstallationDialog) -> None:
        seen.append(dialog.message.text)
        if restarts:  # it begins by itself
            wait_until(lambda: dialog._installation is not None)
        else:
            dialog.installButton.click()
        wait_until(lambda: dialog._installation is None)
        seen.append(dialog.message.text)
        if not restarts:
            dialog.restartButton.click()

    in_dialog(user)
    resume.openModule()
    assert not dependencies.ensure() and restarts and not opened and not index.asked
    assert "First of all the extension PyTorch is installed" in seen[0] and "torch>=2.11" in seen[0]
    assert seen[1] == "The extension PyTorch is installed. Restart Slicer: then it goes on by itself."

    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace())  # type: ignore[arg-type] - the next start
    changes: list[bool] = []
    button = PackagesButton(qt.QPushButton(), lambda: changes.append(True))
    resume.openModule()
    assert opened == ["TriplaneGaussianRecon"]
    button.goOn()
    wait_until(lambda: changes)
    assert dependencies.missing() == [] and seen[3] == "Everything is installed."
    button.goOn()  # when the module is opened once more
    resume.openModule()
    qt.QApplication.processEvents()
    assert len(opened) == len(changes) == 1


def test_where_the_extension_is_still_not_there_after_the_restart_it_is_asked_for_again(in_dialog: Dialogs) -> None:
    seen: list[str] = []
    in_dialog(lambda dialog: seen.append(dialog.message.text))
    assert not InstallationDialog(None, tasks.install()).run(goesOn=True)
    assert "is installed, but was not loaded" in seen[0] and "Install them now?" in seen[0]


def test_nothing_goes_on_in_testing_mode_or_without_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    resume.keep("install")
    slicer.app.isTesting = True
    assert resume.take() == ""
    slicer.app.isTesting = False
    with monkeypatch.context() as patch:
        patch.setattr(slicer.util, "mainWindow", lambda: None)
        resume.openModule()
        assert resume.take() == ""
    assert resume.take() == "install"
