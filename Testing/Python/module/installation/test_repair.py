"""Damaged packages are repaired and old ones upgraded by the real pip, from an index on this computer."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import package_index
import pytest
import qt
import slicer
from package_index import Index
from panel_case import wait_until
from TriplaneGaussianReconModule.installation import checking, installation, packages, resume, tasks
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog
from TriplaneGaussianReconModule.installation.errors import InstallationError
from TriplaneGaussianReconModule.installation.packages import State
from TriplaneGaussianReconModule.installation.packages_dialog import PackagesDialog

Dialogs = Callable[..., list[InstallationDialog]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the environment is made of symbolic links")


def all_present() -> bool:
    return {package.state for package in checking.check()} == {State.PRESENT}


def test_what_is_too_old_or_damaged_is_repaired_and_nothing_else(site: Any, index: Index) -> None:
    """A damaged one in the version that is there, and even where it is not known which files are its own."""
    package_index.add_package(index.folder, "nibabel", "5.4", {})
    site.complete_and_whole()
    site.add("safetensors", "0.1")
    (site.folder / "nibabel/__init__.py").unlink()
    (site.folder / "nrrd/__init__.py").write_text("")
    (site.folder / "pynrrd-1.1.dist-info/RECORD").unlink()
    before = installation.versions()
    installation.repair(print)
    assert installation.versions() == before | {"safetensors": "0.5"}
    assert all_present() and len([path for path in index.asked if path.endswith(".whl")]) == 3


def test_a_part_of_slicer_is_left_alone_and_told(site: Any, index: Index) -> None:
    site.complete_and_whole()
    (site.folder / "scipy/__init__.py").unlink()
    with pytest.raises(InstallationError, match=r"Still missing or damaged:\nscipy>=1.11: .* a part of 3D Slicer"):
        installation.repair(print)
    assert not index.asked


def test_what_does_not_go_with_slicers_own_packages_gives_way(site: Any) -> None:
    site.complete_and_whole()
    site.add("numba", "0.60", needs=["numpy<2.1", "llvmlite<0.44"])
    site.add("torch", "2.12.0", needs=["sympy"])
    found = packages.look()
    groups = [(group.module, group.lines, group.how.name) for group in tasks.repairGroups(found)]
    assert [(module, set(lines), how) for module, lines, how in groups] == [
        ("pip", {"sympy", "llvmlite<0.44"}, "AS_NEEDED"), ("pip", {"numba>=0.60"}, "NEWEST")]


def test_a_damaged_torch_is_repaired_by_the_extension_it_belongs_to(site: Any) -> None:
    site.complete_and_whole()
    site.add("torch", "2.12.0+cu126", {"torch/__init__.py": ""})
    (site.folder / "torch/__init__.py").unlink()
    found = checking.check()
    assert [(group.module, group.lines) for group in tasks.repairGroups(found)] == [
        ("light_the_torch", ("torch==2.12.0",))]
    assert tasks.repair(found).needsTorch


def test_upgrade_takes_the_newest_that_fits_and_leaves_what_slicer_brings(site: Any, index: Index,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete_and_whole("opencv-python-headless")
    site.add_light_the_torch()
    for name, version in (("opencv-python", "4.10"), ("scipy", "1.12")):
        site.add(name, version)
    package_index.add_package(index.folder, "opencv-python", "4.12", {})
    before = installation.versions()
    installation.upgrade(print)
    assert installation.versions() == before | {"torch": "2.14.0", "opencv-python": "4.12"}
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)  # torch came from elsewhere then
    assert [group.module for group in tasks.newestGroups()] == ["pip"]


def test_what_was_begun_before_a_restart_goes_on_when_the_table_is_there(site: Any, in_dialog: Dialogs,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(InstallationDialog, "run", lambda self, goesOn: begun.append(f"{self._task.name} {goesOn}"))
    site.complete_and_whole()
    for task in (tasks.UPGRADE, tasks.REPAIR, ""):
        dialog = PackagesDialog()

        def close(dialog: PackagesDialog = dialog) -> None:
            wait_until(lambda: dialog.upgradeButton.enabled)
            dialog.closeButton.click()

        qt.QTimer.singleShot(0, close)
        dialog.run(task)
        site.remove("psutil")
    assert begun == ["upgrade True", "repair True"]


def test_the_dialogue_repairs_with_consent_and_offers_a_restart(
        site: Any, index: Index, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", ModuleType("nibabel"))
    site.complete_and_whole()
    (site.folder / "nibabel/__init__.py").unlink()
    dialog, seen = PackagesDialog(), list[Any]()

    def user(asking: InstallationDialog) -> None:
        seen.append((asking.message.text, bool(index.asked)))
        asking.installButton.click()
        wait_until(lambda: asking._installation is None)
        seen.append((asking.message.text, asking.restartButton.visible))

    def look() -> None:
        wait_until(lambda: dialog.repairButton.enabled)
        dialog.repairButton.click()
        wait_until(lambda: dialog.upgradeButton.enabled)
        dialog.closeButton.click()

    in_dialog(user)
    qt.QTimer.singleShot(0, look)
    dialog.run()
    assert "nibabel 5.3, damaged" in seen[0][0] and "Repair them now?" in seen[0][0] and not seen[0][1]
    assert seen[1][0].startswith("What was missing, too old or damaged has been installed.")
    assert "in use and have changed: nibabel. Restart Slicer" in seen[1][0] and seen[1][1]
    assert dialog.message.text.startswith("Everything is there and can be imported.")


def test_where_files_are_in_use_it_goes_on_after_a_restart(site: Any, index: Index, in_dialog: Dialogs,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where files of a loaded package cannot be replaced; here the folder may not be written to."""
    monkeypatch.setattr(slicer.util, "restart", lambda: None)
    monkeypatch.setitem(sys.modules, "nibabel", ModuleType("nibabel"))
    monkeypatch.setattr(installation.commands, "install", lambda *arguments: installation.commands.Command(
        "pip", ("install", "--no-index", "/nowhere/nibabel-5.3-py3-none-any.whl"), False))
    site.complete_and_whole()
    site.add("nibabel", "5.1")
    found, seen = packages.look(), list[Any]()

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        wait_until(lambda: dialog._installation is None)
        seen.append((dialog.message.text, dialog.restartButton.visible))
        dialog.restartButton.click()

    in_dialog(user)
    assert not InstallationDialog(None, tasks.repair(found)).run()
    assert "in use by this Slicer: nibabel. Restart Slicer: then it goes on by itself" in seen[0][0] and seen[0][1]
    assert (resume.take(), resume.take()) == ("repair", "")
