"""Packages as importlib.metadata and pip see them in a test."""
from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import package_index
import pytest
import slicer
import slicer_stand_ins

slicer_stand_ins.install()

import qt  # noqa: E402
from extensions import StandInExtensionsManagerModel  # noqa: E402
from TriplaneGaussianReconModule.installation import dependencies  # noqa: E402
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog  # noqa: E402
from TriplaneGaussianReconModule.run import python_process  # noqa: E402

COMPLETE = {"torch": "2.12.0", "numba": "0.66", "opencv-python-headless": "4.12", "psutil": "7.0", "safetensors": "0.5",
            "nibabel": "5.3", "pynrrd": "1.1", "scipy": "1.16", "numpy": "2.2.1"}


class Site:
    """A folder of installed packages, of which there are only the metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, version: str, files: dict[str, str] | None = None, needs: Sequence[str] = ()) -> None:
        self.remove(name)
        files = files or {}
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
            f"Requires-Dist: {each}\n" for each in needs))
        (info / "top_level.txt").write_text(f"{name}\n")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{info.name}/RECORD,,\n{info.name}/top_level.txt,,\n"
                                     + "".join(f"{file},,{len(text)}\n" for file, text in files.items()))
        for file, text in files.items():
            (self.folder / file).parent.mkdir(exist_ok=True)
            (self.folder / file).write_text(text)

    def remove(self, name: str) -> None:
        for info in self.folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in info.iterdir():
                file.unlink()
            info.rmdir()

    def complete(self, *without: str) -> None:
        for name, version in COMPLETE.items():
            if name not in without:
                self.add(name, version)

    def complete_and_whole(self, *without: str) -> None:
        """Everything, with what is imported of it."""
        for name, version in COMPLETE.items():
            if name not in without:
                self.add(name, version, {f"{package_index.MODULES.get(name, name)}/__init__.py": "# it works\n"})

    def add_light_the_torch(self) -> None:
        self.add("light-the-torch", "0.8.1", package_index.PACKAGES["light-the-torch", "0.8.1"])

    def add_torch(self, version: str, cuda: str | None) -> None:
        self.add("torch", version, {"torch/version.py": f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"})


class StandInApplication(qt.QObject):
    """Stand-in for slicer.app, a qSlicerApplication: what of it these files use."""

    def __init__(self, temporaryPath: Path) -> None:
        super().__init__()
        self.majorVersion, self.minorVersion, self.isTesting = 5, 12, False
        self.applicationName = "stand-in for 3D Slicer"
        self.temporaryPath = str(temporaryPath)
        self.extensions: Any = StandInExtensionsManagerModel()
        self._settings = qt.QSettings(f"{temporaryPath}.ini", qt.QSettings.IniFormat)

    def extensionsManagerModel(self) -> Any:
        return self.extensions

    def revisionUserSettings(self) -> qt.QSettings:
        return self._settings

    def testingEnabled(self) -> bool:
        return self.isTesting


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An environment without packages instead of this Python; Slicer 5.12 with a main window, and no GPU."""
    python, folder = package_index.new_environment(tmp_path / "python")
    monkeypatch.setattr(python_process, "pythonExecutable", lambda: str(python))
    monkeypatch.setattr(sys, "path", [str(folder), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"),
                                      f"{sysconfig.get_path('platstdlib')}/lib-dynload"])
    monkeypatch.setattr(slicer, "app", StandInApplication(tmp_path / "temporary"), raising=False)
    window = qt.QWidget()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: False)
    return Site(folder)


@pytest.fixture
def index(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[package_index.Index]:
    """An index of packages, which is all that pip knows; and the extension PyTorch."""
    with package_index.opened_index(tmp_path / "index") as opened:
        for name in ("FIND_LINKS", "EXTRA_INDEX_URL", "NO_INDEX", "CONSTRAINT", "TARGET", "USER", "REQUIRE_VIRTUALENV"):
            monkeypatch.delenv(f"PIP_{name}", raising=False)
        for name, value in (("INDEX_URL", opened.url), ("CONFIG_FILE", "/dev/null"), ("NO_CACHE_DIR", "1"),
                            ("RETRIES", "1")):
            monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace())  # type: ignore[arg-type]
        yield opened


@pytest.fixture
def in_dialog(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[InstallationDialog]]:
    """What lets a user act as soon as a dialogue is shown, and close it some time after that; it tells which are made.

    isOver: when the user closes it, unless it has closed by itself.
    """

    def watch(act: Callable[[InstallationDialog], Any],
              isOver: Callable[[InstallationDialog], Any] = lambda dialog: dialog._installation is None
              ) -> list[InstallationDialog]:
        made: list[InstallationDialog] = []
        real = InstallationDialog.__init__

        def watched(self: InstallationDialog, *arguments: Any) -> None:
            real(self, *arguments)
            made.append(self)
            timer = qt.QTimer(self.dialog)

            def close() -> None:
                if self.dialog.visible and isOver(self):
                    timer.stop()
                    self.closeButton.click()

            def user() -> None:
                act(self)
                timer.connect("timeout()", close)
                timer.start(10)

            qt.QTimer.singleShot(0, user)

        monkeypatch.setattr(InstallationDialog, "__init__", watched)
        return made

    return watch
