"""What is told of Python packages: which are there, whether they are whole and work; the table of them."""
from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import qt
from panel_case import wait_until
from TriplaneGaussianReconModule.installation import checking, packages
from TriplaneGaussianReconModule.installation.packages import State
from TriplaneGaussianReconModule.installation.packages_dialog import PackagesDialog

FIVE = "torch", "numba", "psutil", "pynrrd", "nibabel"


def told(found: list[packages.Package]) -> dict[str, str]:
    """What is said of packages that are not as they should be."""
    return {package.name: str(package) for package in found if package.state is not State.PRESENT}


def test_versions_are_read_and_nothing_is_imported(site: Any) -> None:
    site.complete("psutil", "opencv-python-headless", "nibabel")
    site.add("opencv-python", "4.11")
    site.add("nibabel", "5.1", {"nibabel/__init__.py": "raise SystemExit"})
    found = {package.name: package for package in packages.look()}
    assert (found["numba"].version, found["numba"].required, found["numba"].state) == ("0.66", ">=0.60", State.PRESENT)
    assert found["psutil"].version == "" and found["psutil"].state is State.MISSING
    assert found["opencv-python-headless"].installed == "opencv-python"
    assert found["nibabel"].state is State.OLD
    assert all(packages.purpose(package) for package in found.values())


def test_a_package_that_is_too_new_is_not_called_old(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    site.complete()
    site.add("torch", "2.13.0")
    assert str(packages.look()[0]) == "torch>=2.11,<2.13: torch 2.13.0, another version is needed"
    site.add("torch", "2.5")
    assert str(packages.look()[0]) == "torch>=2.11,<2.13: torch 2.5, too old"


def test_what_a_package_needs_in_its_turn_counts(site: Any) -> None:
    site.complete()
    site.add("numba", "0.66", needs=["llvmlite<0.48,>=0.47", 'tests; extra == "test"', 'old; python_version < "3"'])
    assert told(packages.look()) == {
        "numba": "numba>=0.60: numba 0.66, damaged, it needs llvmlite<0.48,>=0.47"}
    site.add("llvmlite", "0.40")
    assert packages.look()[2].lacking == ("llvmlite<0.48,>=0.47",)
    site.add("llvmlite", "0.47", needs=["numba"])  # round and round
    assert told(packages.look()) == {}
    assert packages.within(packages.look()[2])[:2] == ["numba", "llvmlite"]


def test_a_process_finds_out_what_is_damaged_whatever_packages_do(site: Any) -> None:
    site.complete_and_whole()
    site.add("torch", "2.12.0", {"torch/__init__.py": "import os; print('{}'); os.abort()"})
    site.add("numba", "0.66", {"numba/__init__.py": "import llvmlite"}, needs=["llvmlite"])
    site.add("llvmlite", "0.47", {"llvmlite/__init__.py": "", "llvmlite/tests/big.py": "", "llvmlite/lib.so": "0123"})
    site.add("psutil", "7.0", {"psutil/__init__.py": "raise SystemExit('not today')"})
    site.add("pynrrd", "1.1", {"nrrd/__init__.py": "print('hello')", "nrrd/far.py": ""})
    site.add("nibabel", "5.3", {"nibabel/__init__.py": ""}, needs=["numpy", "typing-extensions"])
    site.add("numpy", "2.2.1", {"numpy/__init__.py": "1"})
    (site.folder / "llvmlite/lib.so").write_text("01")
    for file in ("nrrd/far.py", "numpy/__init__.py", "llvmlite/tests/big.py"):
        (site.folder / file).unlink()
    site.add("typing-extensions", "4.14")
    (site.folder / "typing_extensions-4.14.dist-info/RECORD").unlink()
    found = checking.check()
    assert set(told(found)) == set(FIVE), told(found)
    assert {package.name: (package.reason, package.damaged) for package in found if package.name in FIVE} == {
        "torch": ("Python crashes when it is imported", ("torch",)),
        "numba": ("llvmlite lacks llvmlite/lib.so", ("llvmlite",)),
        "psutil": ("SystemExit: not today", ("psutil",)),
        "pynrrd": ("pynrrd lacks nrrd/far.py", ("pynrrd",)),
        "nibabel": ("numpy lacks numpy/__init__.py; typing-extensions lacks RECORD; numpy, typing-extensions: a part "
                    "of 3D Slicer, which is to be installed again", ())}


def test_what_is_damaged_is_told_where_python_itself_does_not_start(site: Any) -> None:
    site.complete_and_whole("psutil")
    assert set(told(checking.check("/nowhere/python"))) == {package.name for package in packages.look()}


def test_the_table_says_at_once_what_is_there_and_then_whether_it_works(site: Any, monkeypatch: pytest.MonkeyPatch
                                                                        ) -> None:
    site.complete_and_whole("psutil")
    site.add("nibabel", "5.3", {"nibabel/__init__.py": "import lost"})
    for package in packages.look():  # other tests may have imported them
        monkeypatch.delitem(sys.modules, package.module, raising=False)
    monkeypatch.setitem(sys.modules, "safetensors", ModuleType("safetensors"))
    dialog = PackagesDialog()

    def row(number: int) -> list[str]:
        return [dialog.table.item(number, column).text() for column in range(5)]

    dialog.look()
    assert row(0) == ["torch", "learning and fitting", "2.12.0", ">=2.11", "looking..."]
    assert row(4) == ["psutil", "how much memory is free", "", ">=5.9", "missing"]
    assert not dialog.repairButton.enabled and not dialog.upgradeButton.enabled
    wait_until(lambda: dialog.upgradeButton.enabled)
    assert row(0)[4] == "present"
    assert row(1)[4] == "damaged: ModuleNotFoundError: No module named 'lost'"
    assert dialog.message.text == ("Missing, too old or damaged: nibabel, psutil.\n"
                                   "In use by this Slicer, so that a change of it takes a restart: safetensors.")
    assert dialog.repairButton.enabled
    dialog.copyButton.click()
    lines = qt.QApplication.clipboard().text().splitlines()
    assert lines[0].startswith("TriplaneGaussianRecon 0.") and "stand-in for 3D Slicer 5.12, Python 3." in lines[0]
    assert lines[1] == "torch>=2.11: torch 2.12.0, present" and lines[5] == "psutil>=5.9: missing"
    dialog.dialog.deleteLater()


def test_where_everything_works_there_is_nothing_to_repair(site: Any) -> None:
    site.complete_and_whole()
    dialog = PackagesDialog()
    qt.QTimer.singleShot(0, lambda: (wait_until(lambda: dialog.upgradeButton.enabled), dialog.closeButton.click()))
    dialog.run()
    assert dialog.message.text.startswith("Everything is there and can be imported.")
    assert not dialog.repairButton.enabled
