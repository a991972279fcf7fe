"""Packages are installed by the real pip, from an index on this computer; the real dialogue is clicked offscreen."""
from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import package_index
import psutil
import pytest
import qt
import slicer
from package_index import BIG, BIG_BYTES, Index
from panel_case import wait_until
from PySide6.QtTest import QTest
from TriplaneGaussianReconModule.installation import dependencies, installation
from TriplaneGaussianReconModule.installation.commands import Progress
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog
from TriplaneGaussianReconModule.installation.installation import FOLDER, Installation, InstallationCancelled
from TriplaneGaussianReconModule.run import python_process

Dialogs = Callable[..., list[InstallationDialog]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the environment is made of symbolic links")


class Watched:
    """An installation, and what it tells."""

    def __init__(self) -> None:
        self.log, self.progress, self.ends = list[str](), list[Progress](), list[Any]()
        self.it = Installation(self.log.append, self.progress.append, self.ends.append)

    def run(self) -> Any:
        """Install; return what went wrong."""
        self.it.start()
        wait_until(lambda: self.ends)
        return self.ends[0]


def processes() -> list[psutil.Process]:
    """Processes of installing, and their launchers, that this one has started and that are alive."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE and str(installation._WORKER) in each.cmdline():
                found.append(each)
    return found


def test_torch_comes_first_by_light_the_torch_and_then_the_rest(site: Any, index: Index) -> None:
    """A torch that is too old goes, and what fits that one alone."""
    site.complete("torch", "numba", "psutil")
    site.add("torch", "2.5.1")
    site.add("torchvision", "0.20", needs=["torch==2.5.1"])
    assert Watched().run() is None
    found = installation.versions()
    assert dependencies.missing() == [] and found["torch"] == "2.14.0" and found["numba"] == "0.66"
    assert found["torchvision"] == "0.29"
    assert found["numpy"] == "2.2.1"  # though there is a newer one
    assert (site.folder.parents[2] / "light_the_torch was here").exists()
    files = [path.rpartition("/")[2].partition("-")[0] for path in index.asked if path.endswith(".whl")]
    assert files == ["light_the_torch", "torch", "torchvision", "numba", "psutil"]
    assert not (Path(slicer.app.temporaryPath) / FOLDER).exists()


def test_progress_is_told_in_megabytes_and_the_user_interface_goes_on(site: Any, index: Index) -> None:
    site.complete(BIG)
    watched, beats, timer = Watched(), list[int](), qt.QTimer()
    timer.connect("timeout()", lambda: beats.append(len(watched.progress)))
    timer.start(5)
    assert watched.run() is None
    big = [each for each in watched.progress if each.total]
    assert big[-1].received == big[-1].total > BIG_BYTES
    assert str(big[-1]) == f"Downloading {BIG} (1 of 1): 3 of 3 MB"
    doing = list(dict.fromkeys(each.doing for each in watched.progress))
    assert doing == ["Finding out what is needed", f"Downloading {BIG} (1 of 1)", "Installing 1 packages"]
    assert len(set(beats)) > 3


def test_a_cancelled_download_changes_nothing_and_goes_on_later_with_what_came_whole(site: Any, index: Index) -> None:
    site.complete("psutil", BIG)
    before = installation.versions()
    index.goes_on.clear()
    watched = Watched()
    watched.it.start()
    wait_until(lambda: index.asked_for(BIG))
    assert watched.it.canBeCancelled and processes()
    watched.it.cancel()
    wait_until(lambda: watched.ends)
    assert isinstance(watched.ends[0], InstallationCancelled) and "is kept for the next try" in str(watched.ends[0])
    wait_until(lambda: not processes())
    assert installation.versions() == before
    index.goes_on.set()
    again = Watched()
    assert again.run() is None and dependencies.missing() == []
    assert [index.asked_for(name) for name in ("psutil", BIG)] == [1, 2]


def test_pip_ends_with_the_application_or_the_launcher(site: Any, index: Index) -> None:
    """The launcher that lies in between has no word with the interpreter, but holds its input."""
    index.goes_on.clear()
    launcher = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE).wait()"
    python, process = python_process.pythonExecutable(), qt.QProcess()
    arguments = [str(installation._WORKER), "pip", "download", "--dest", str(site.folder), BIG]
    process.start(python, ["-c", launcher, *arguments])
    wait_until(lambda: index.asked_for(BIG))
    assert len(processes()) == 2
    process.kill()
    process.waitForFinished(5000)
    wait_until(lambda: not processes())


def test_packages_that_are_being_put_in_place_cannot_be_left_half(site: Any, index: Index) -> None:
    site.complete("psutil")
    watched = Watched()
    could: list[bool] = []

    def see(progress: Progress) -> None:
        if progress.doing.startswith("Installing"):
            qt.QTimer.singleShot(0, lambda: (could.append(watched.it.canBeCancelled), watched.it.cancel()))

    watched.it._onProgress = see
    assert watched.run() is None
    assert could == [False] and dependencies.missing() == []


@pytest.mark.parametrize(("harm", "told"), [
    (lambda index, patch: patch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), "internet could not be reached"),
    (lambda index, patch: (index.folder / "simple" / "psutil" / "index.html").write_text(""),
     "no version of a package for this Slicer's Python"),
    (lambda index, patch: next((index.folder / "simple" / "psutil").glob("*.whl")).write_bytes(b"withheld"),
     "antivirus")], ids=["no network", "no such package", "changed on its way"])
def test_each_failure_has_its_remedy(site: Any, index: Index, monkeypatch: pytest.MonkeyPatch,
                                     harm: Callable[[Index, pytest.MonkeyPatch], Any], told: str) -> None:
    site.complete("psutil")
    before = installation.versions()
    harm(index, monkeypatch)
    watched = Watched()
    assert told in str(watched.run()), watched.log
    assert installation.versions() == before


def test_nothing_is_started_while_slicer_installs_for_another_module(site: Any, monkeypatch: pytest.MonkeyPatch
                                                                     ) -> None:
    monkeypatch.setitem(sys.modules, "slicer.packaging", SimpleNamespace(  # type: ignore[arg-type]
        isPipInstallInProgress=lambda: True))
    assert "for another module" in str(Watched().run())


def test_a_script_is_told_how_to_get_the_extension_pytorch(site: Any, index: Index,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    assert "Extensions Manager" in str(Watched().run()) and not index.asked


def test_a_script_waits_in_testing_mode_too_and_a_torch_that_is_there_stays(site: Any, index: Index) -> None:
    slicer.app.isTesting = True
    site.complete("psutil")
    said: list[str] = []
    installation.install(said.append)
    assert dependencies.missing() == [] and any("Successfully installed psutil-7.0" in line for line in said)
    assert installation.versions()["torch"] == "2.12.0" and not index.asked_for("torch")
    assert index.asked_for("psutil") == 1


def test_an_installer_that_claims_success_is_not_believed(site: Any, index: Index,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete()
    monkeypatch.setattr(dependencies, "missing", lambda: ["psutil>=5.9"])
    with pytest.raises(installation.InstallationError, match=r"Still missing: psutil>=5\.9"):
        installation.install(print)


# The dialogue


def test_what_a_gpu_needs_follows_from_the_torch_that_came(site: Any, index: Index, in_dialog: Dialogs,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    monkeypatch.setattr(dependencies, "torchCuda", lambda: "13.0")
    site.complete()
    for name in ("cuda-core", "cuda-bindings"):
        package_index.add_package(index.folder, name, "13.1", {})
    package_index.add_package(index.folder, "cuda-bindings", "14.0", {})
    in_dialog(lambda dialog: dialog.installButton.click())
    assert dependencies.ensure()
    assert installation.versions()["cuda-bindings"] == "13.1"


def test_a_failure_is_explained_the_log_can_be_copied_and_tried_again(
        site: Any, index: Index, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("psutil")
    seen: dict[str, Any] = {}
    page = index.folder / "simple" / "psutil" / "index.html"
    content = page.read_text()
    page.write_text("")

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        wait_until(lambda: dialog._installation is None)
        dialog.copyButton.click()
        seen.update(message=dialog.message.text, copied=qt.QApplication.clipboard().text(),
                    again=dialog.installButton.text, busy=dialog.progressBar.visible)
        page.write_text(content)
        dialog.installButton.click()

    in_dialog(user)
    assert dependencies.ensure()
    assert "Installing failed. There is no version of a package" in seen["message"]
    assert "No matching distribution found for psutil" in seen["copied"]
    assert seen["again"] == "Try again" and not seen["busy"]


def test_a_download_is_cancelled_by_the_button_or_escape_and_goes_on(site: Any, index: Index, in_dialog: Dialogs
                                                                     ) -> None:
    site.complete(BIG)
    seen: list[tuple[str, bool]] = []

    def user(dialog: InstallationDialog) -> None:
        assert QTest.qWaitForWindowActive(dialog.dialog)  # only then do keys reach it
        for cancel in (dialog.closeButton.click, lambda: QTest.keyClick(dialog.dialog, qt.Qt.Key_Escape)):
            index.goes_on.clear()
            index.asked.clear()
            dialog.installButton.click()
            wait_until(lambda: index.asked_for(BIG))
            cancel()
            wait_until(lambda: dialog._installation is None)
            seen.append((dialog.installButton.text, dialog.dialog.visible))
        index.goes_on.set()
        dialog.installButton.click()

    in_dialog(user)
    assert dependencies.ensure()
    assert seen == [("Go on", True)] * 2


def test_closing_after_a_failure_means_not_installed(site: Any, index: Index, in_dialog: Dialogs,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("psutil")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    in_dialog(lambda dialog: dialog.installButton.click())
    assert not dependencies.ensure()


def test_a_dialogue_that_was_closed_can_go(site: Any, in_dialog: Dialogs) -> None:
    """Connections of the real Qt keep whatever they call."""
    site.complete("numba")
    dialogs = in_dialog(lambda dialog: None)
    assert not dependencies.ensure()
    kept = weakref.ref(dialogs.pop())
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    gc.collect()
    assert kept() is None


def test_a_restart_is_offered_if_a_package_in_use_was_replaced(
        site: Any, index: Index, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts: list[str] = []
    seen: list[tuple[bool, str]] = []
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append("now"))
    monkeypatch.delitem(sys.modules, "pynrrd", raising=False)
    monkeypatch.setitem(sys.modules, "safetensors", ModuleType("safetensors"))
    site.complete()
    site.add("safetensors", "0.1")
    site.add("pynrrd", "0.1")

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        wait_until(lambda: dialog._installation is None)
        seen.append((dialog.restartButton.visible, dialog.message.text))
        dialog.restartButton.click()

    in_dialog(user)
    assert dependencies.ensure()
    assert seen[0][0] and "have changed: safetensors. Restart" in seen[0][1] and restarts == ["now"]
    assert not slicer.app.revisionUserSettings().allKeys()  # nothing has to go on after that


def test_after_installing_it_says_that_the_gpu_is_not_used(site: Any, index: Index, in_dialog: Dialogs,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        wait_until(lambda: dialog._installation is None)
        messages.append(dialog.message.text)

    site.complete("psutil")
    site.add_torch("2.12.0", None)
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    in_dialog(user)
    assert dependencies.ensure()
    assert "Everything is installed." in messages[0] and "built for the CPU alone" in messages[0]
