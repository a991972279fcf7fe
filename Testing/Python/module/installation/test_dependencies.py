"""Python packages in Slicer: what is missing, asking, installing.  The real dialogue is clicked offscreen."""
from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import slicer
import slicer_stand_ins
from packaging.requirements import Requirement
from PySide6.QtTest import QTest
from repository import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

slicer_stand_ins.install()

import qt  # noqa: E402
from TriplaneGaussianReconModule.installation import dependencies, installation, remedies  # noqa: E402
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog  # noqa: E402

pytestmark = pytest.mark.filterwarnings("error:'exec_':DeprecationWarning")  # PySide6 may drop this name
COMPLETE = {"torch": "2.12.0", "numba": "0.66", "opencv-python-headless": "4.12", "psutil": "7.0", "safetensors": "0.5",
            "scipy": "1.16", "numpy": "2.2.1"}


class Site:
    """A folder of installed packages, of which there are only the metadata: what importlib.metadata sees in a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, version: str, files: dict[str, str] | None = None) -> None:
        self.remove(name)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "top_level.txt").write_text(f"{name}\n")
        for file, text in (files or {}).items():
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

    def add_torch(self, version: str, cuda: str | None) -> None:
        self.add("torch", version, {"torch/version.py": f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"})


class StandInApplication:
    """Stand-in for slicer.app, a qSlicerApplication: what of it these files use."""

    majorVersion, minorVersion = 5, 12
    testing = False

    def testingEnabled(self) -> bool:
        return self.testing

    def processEvents(self) -> None:
        qt.QApplication.processEvents()


class StandInPip:
    """Stand-in for pip: `slicer.packaging.pip_install` of Slicer 5.12, signature and call-backs as there."""

    def __init__(self, site: Site, said: str = "Collecting packages", code: int = 0) -> None:
        self.site, self.said, self.code = site, said, code
        self.calls: list[list[str]] = []
        self.constraints = ""
        self.during: Callable[[], Any] = lambda: None

    def pip_install(self, requirements: list[str], constraints: Path | None = None, no_deps_requirements: Any = None,
                    skip_packages: Any = None, blocking: bool = True, show_progress: bool = True,
                    requester: str | None = None, parent: Any = None, logCallback: Any = None,
                    completedCallback: Any = None) -> None:
        assert not blocking and not show_progress and constraints is not None
        self.install(requirements, constraints)

        def finish() -> None:
            self.during()
            logCallback(self.said)
            completedCallback(self.code)

        qt.QTimer.singleShot(0, finish)

    def install(self, requirements: list[str], constraints: Path) -> None:
        self.calls.append(requirements)
        self.constraints = constraints.read_text()
        if not self.code:
            for requirement in map(Requirement, requirements):
                self.site.add(requirement.name, COMPLETE.get(requirement.name, "13.1"))


class StandInPyTorchUtilsLogic:
    """Stand-in for the logic of the extension PyTorch: `installTorch` as its callers use it."""

    site: Site
    calls: list[dict[str, Any]]
    cuda: str | None

    def installTorch(self, askConfirmation: bool = False, forceComputationBackend: str | None = None,
                     torchVersionRequirement: str | None = None,
                     torchvisionVersionRequirement: str | None = None) -> object:
        self.calls.append({"askConfirmation": askConfirmation, "torchVersionRequirement": torchVersionRequirement})
        print("Collecting torch")
        self.site.add_torch("2.12.1", self.cuda)
        return object()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An empty folder of packages instead of those of this Python; Slicer 5.12 with a main window, and no GPU."""
    made = Site(tmp_path / "site")
    made.folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(made.folder)])
    monkeypatch.setattr(slicer, "app", StandInApplication(), raising=False)
    window = qt.QWidget()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: False)
    return made


@pytest.fixture
def pip(site: Site, monkeypatch: pytest.MonkeyPatch) -> StandInPip:
    """Slicer 5.12's slicer.packaging."""
    made = StandInPip(site)
    monkeypatch.setitem(sys.modules, "slicer.packaging", made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def torch_utils(site: Site, monkeypatch: pytest.MonkeyPatch) -> type[StandInPyTorchUtilsLogic]:
    """The extension PyTorch."""
    logic = type("Logic", (StandInPyTorchUtilsLogic,), {"site": site, "calls": [], "cuda": None})
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=logic))  # type: ignore[arg-type]
    return logic


def in_dialog(monkeypatch: pytest.MonkeyPatch, act: Callable[[InstallationDialog], Any]) -> list[InstallationDialog]:
    """Let `act` happen as soon as a dialogue is shown, which is closed afterwards; return those that are made."""
    made: list[InstallationDialog] = []
    real = InstallationDialog.__init__

    def watched(self: InstallationDialog, parent: Any = None) -> None:
        real(self, parent)
        made.append(self)

        def user() -> None:
            act(self)
            if self.dialog.visible:
                self.closeButton.click()

        qt.QTimer.singleShot(0, user)

    monkeypatch.setattr(InstallationDialog, "__init__", watched)
    return made


# What is missing


def test_nothing_is_asked_where_everything_is_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    dialogs = in_dialog(monkeypatch, lambda dialog: None)
    site.complete()
    assert dependencies.missing() == []
    assert dependencies.ensure()
    assert not dialogs


def test_absent_and_outdated_packages_are_missing_torch_first(site: Site) -> None:
    site.complete("numba", "safetensors", "torch")
    site.add("torch", "2.5.1+cpu")
    site.add("safetensors", "0.3")
    assert dependencies.missing() == ["torch>=2.11", "numba>=0.60", "safetensors>=0.4.3"]


def test_a_package_that_comes_is_found_at_once(site: Site) -> None:
    site.complete("psutil")
    assert dependencies.missing() == ["psutil>=5.9"]
    site.add("psutil", "7.0")
    assert dependencies.missing() == []


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"])
def test_another_opencv_is_as_good(site: Site, name: str) -> None:
    site.complete("opencv-python-headless")
    site.add(name, "4.11.0.86")
    assert dependencies.missing() == []


def test_torch_built_with_a_local_version_or_before_a_release_counts(site: Site) -> None:
    site.complete("torch")
    site.add("torch", "2.12.0.dev20260401+cu130")
    assert dependencies.missing() == []


@pytest.mark.parametrize(("platform", "minor", "expected"), [
    ("win32", 12, "torch>=2.11,<2.13"), ("win32", 10, "torch>=2.11,<2.13"), ("win32", 13, "torch>=2.11"),
    ("linux", 12, "torch>=2.11"), ("darwin", 12, "torch>=2.11")])
def test_torch_2_13_is_avoided_where_slicer_cannot_unpack_it(
        site: Site, monkeypatch: pytest.MonkeyPatch, platform: str, minor: int, expected: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(StandInApplication, "minorVersion", minor)
    assert dependencies.torchRequirement() == expected


@pytest.mark.parametrize(("driver", "cuda", "expected"), [
    (True, "12.6", ["cuda-core>=1.0", "cuda-bindings>=12.9,==12.*"]),
    (True, "13.0", ["cuda-core>=1.0", "cuda-bindings>=12.9,==13.*"]),
    (True, None, []), (False, "13.0", [])])
def test_a_gpu_needs_what_matches_the_cuda_of_torch(
        site: Site, monkeypatch: pytest.MonkeyPatch, driver: bool, cuda: str | None, expected: list[str]) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: driver)
    site.complete("torch")
    site.add_torch("2.12.0", cuda)
    assert dependencies.missing() == expected


def test_bindings_for_another_cuda_do_not_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    site.complete("torch")
    site.add_torch("2.12.0", "12.8")
    site.add("cuda-core", "1.2.2")
    site.add("cuda-bindings", "13.0.1")
    assert dependencies.missing() == ["cuda-bindings>=12.9,==12.*"]


@pytest.mark.parametrize(("driver", "cuda", "expected"), [
    (True, None, "built for the CPU alone"), (False, "13.0", "built for CUDA 13.0, but no NVIDIA driver"),
    (True, "13.0", ""), (False, None, "")])
def test_it_is_said_where_torch_and_gpu_do_not_fit(
        site: Site, monkeypatch: pytest.MonkeyPatch, driver: bool, cuda: str | None, expected: str) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: driver)
    site.add_torch("2.12.0", cuda)
    notice = dependencies.deviceNotice()
    assert expected in notice if expected else not notice


def test_without_torch_there_is_nothing_to_say_about_the_gpu(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    assert dependencies.deviceNotice() == ""


@pytest.mark.parametrize("there", [True, False])
def test_the_driver_is_a_library_that_can_be_loaded(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    def load(name: str) -> object:
        if not there:
            raise OSError(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert dependencies.hasNvidiaDriver() == there


def test_looking_for_packages_imports_none_of_them() -> None:
    code = ("import sys, slicer_stand_ins; slicer_stand_ins.install()\n"
            "import slicer; slicer.app = type('App', (), {'majorVersion': 5, 'minorVersion': 12})\n"
            "from TriplaneGaussianReconModule.installation import dependencies\n"
            "dependencies.missing(), dependencies.deviceNotice()\n"
            "print(sorted({'torch', 'numba', 'cv2', 'scipy', 'safetensors', 'psutil'} & set(sys.modules)))")
    paths = [ROOT, ROOT / "TriplaneGaussianRecon", ROOT / "Testing" / "Python" / "support"]
    code = f"import sys; sys.path[:0] = {[str(path) for path in paths]}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# requirements.txt


def test_lower_bounds_are_those_of_the_library() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    library = {found.name: found.specifier for found in map(Requirement, project["dependencies"])}
    for found in map(Requirement, [*dependencies.requirements(), "torch>=2.11"]):
        assert found.specifier == library[found.name]
    gpu = {found.name: found.specifier for found in map(Requirement, project["optional-dependencies"]["cuda"])}
    for found in (Requirement("cuda-core>=1.0"), Requirement("cuda-bindings>=12.9")):
        assert str(found.specifier) in str(gpu[found.name])


def test_what_slicer_brings_and_a_second_qt_are_not_installed() -> None:
    names = {found.name for found in map(Requirement, dependencies.requirements())}
    assert not names & {"SimpleITK", "numpy", "torch", "opencv-python", "opencv-contrib-python"}


# Nobody to ask


@pytest.mark.parametrize("reason", ["testing", "window"])
def test_nothing_is_installed_where_nobody_can_be_asked(
        site: Site, pip: StandInPip, torch_utils: Any, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture, reason: str) -> None:
    dialogs = in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    if reason == "testing":
        monkeypatch.setattr(StandInApplication, "testing", True)
    else:
        monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    assert not dependencies.ensure()
    assert not dialogs and not pip.calls and not torch_utils.calls
    assert "torch>=2.11, numba>=0.60" in caplog.text


# The dialogue


def test_it_says_what_will_be_installed_and_how_large_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    in_dialog(monkeypatch, lambda dialog: texts.append(dialog.message.text))
    assert not dependencies.ensure()
    for line in dependencies.missing():
        assert dependencies.describe(line) in texts[0]
    assert "torch>=2.11  (0.2 GB, or 2 to 3 GB for an NVIDIA GPU)" in texts[0]
    assert "cuda" not in texts[0]


def test_with_a_gpu_it_says_what_that_adds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    assert "cuda-core  (10 MB)" in InstallationDialog().message.text


def test_cancelling_installs_nothing(site: Site, pip: StandInPip, torch_utils: Any,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    in_dialog(monkeypatch, lambda dialog: dialog.closeButton.click())
    assert not dependencies.ensure()
    assert not pip.calls and not torch_utils.calls


def test_installing_brings_torch_first_and_then_the_rest(site: Site, pip: StandInPip, torch_utils: Any,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    site.add("numpy", "2.2.1")
    made = in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    assert dependencies.ensure()
    assert torch_utils.calls == [{"askConfirmation": False, "torchVersionRequirement": ">=2.11"}]
    assert pip.calls == [dependencies.requirements()]
    assert pip.constraints.splitlines() == ["numpy==2.2.1", "torch==2.12.1"]
    assert made[0].log.toPlainText().splitlines() == ["Collecting torch", "Collecting packages"]
    assert dependencies.missing() == []


def test_what_a_gpu_needs_follows_from_the_torch_that_came(site: Site, pip: StandInPip, torch_utils: Any,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    monkeypatch.setattr(torch_utils, "cuda", "13.0")
    in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    assert dependencies.ensure()
    assert pip.calls == [[*dependencies.requirements(), "cuda-core>=1.0", "cuda-bindings>=12.9,==13.*"]]


def test_slicer_5_10_installs_by_slicer_util(site: Site, torch_utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = StandInPip(site)

    def pip_install(requirements: list[str]) -> None:
        assert requirements[-2] == "--constraint"
        print("Collecting", end=" ")
        print("packages")
        pip.install(requirements[:-2], Path(requirements[-1]))

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # there is no such module
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    made = in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    assert dependencies.ensure()
    assert pip.calls == [dependencies.requirements()]
    assert made[0].log.toPlainText().splitlines() == ["Collecting torch", "Collecting packages"]


def test_a_torch_that_is_there_stays_as_it_is(site: Site, pip: StandInPip, torch_utils: Any,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("numba")
    in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    assert dependencies.ensure()
    assert not torch_utils.calls
    assert pip.calls == [["numba>=0.60"]]
    assert "torch==2.12.0" in pip.constraints.splitlines()


def test_a_failure_is_explained_the_log_can_be_copied_and_tried_again(
        site: Site, pip: StandInPip, monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("numba")
    pip.code, pip.said = 1, "ERROR: [Errno 11001] getaddrinfo failed"
    seen: dict[str, str] = {}

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        seen["message"] = dialog.message.text
        dialog.copyButton.click()
        seen["copied"] = qt.QApplication.clipboard().text()
        pip.code = 0
        assert dialog.installButton.text == "Try again" and not dialog.progressBar.visible
        dialog.installButton.click()

    in_dialog(monkeypatch, user)
    assert dependencies.ensure()
    assert "The internet could not be reached" in seen["message"] and "HTTPS_PROXY" in seen["message"]
    assert "getaddrinfo failed" in seen["copied"]
    assert len(pip.calls) == 2


def test_closing_after_a_failure_means_not_installed(site: Site, pip: StandInPip,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("numba")
    pip.code = 1
    in_dialog(monkeypatch, lambda dialog: dialog.installButton.click())
    assert not dependencies.ensure()


def test_without_the_extension_pytorch_it_says_how_to_get_it(site: Site, pip: StandInPip,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        messages.append(dialog.message.text)

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    in_dialog(monkeypatch, user)
    assert not dependencies.ensure()
    assert "Extensions Manager" in messages[0]
    assert not pip.calls


def test_an_installer_that_claims_success_is_not_believed(site: Site, pip: StandInPip,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("numba")
    monkeypatch.setattr(pip, "install", lambda requirements, constraints: None)
    with pytest.raises(installation.InstallationError, match=r"Still missing: numba>=0\.60"):
        installation.install(print)


def test_it_cannot_be_closed_while_it_installs(site: Site, pip: StandInPip, monkeypatch: pytest.MonkeyPatch) -> None:
    site.complete("numba")
    during: list[tuple[bool, ...]] = []

    def user(dialog: InstallationDialog) -> None:
        def look() -> None:
            QTest.keyClick(dialog.dialog, qt.Qt.Key_Escape)
            during.append((dialog.dialog.visible, dialog.closeButton.enabled, dialog.installButton.enabled,
                           dialog.progressBar.visible))

        pip.during = look
        assert QTest.qWaitForWindowActive(dialog.dialog)  # only then do keys reach it
        dialog.installButton.click()

    in_dialog(monkeypatch, user)
    assert dependencies.ensure()
    assert during == [(True, False, False, True)]


def test_a_dialogue_that_was_closed_can_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of the real Qt keep whatever they call."""
    site.complete("numba")
    dialogs = in_dialog(monkeypatch, lambda dialog: None)
    assert not dependencies.ensure()
    kept = weakref.ref(dialogs.pop())
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("loaded", [True, False])
def test_a_restart_is_offered_if_a_package_in_use_was_replaced(
        site: Site, pip: StandInPip, monkeypatch: pytest.MonkeyPatch, loaded: bool) -> None:
    restarts: list[str] = []
    seen: list[tuple[bool, str]] = []
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append("now"))
    monkeypatch.delitem(sys.modules, "psutil", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "psutil", ModuleType("psutil"))
    site.complete("psutil")
    site.add("psutil", "5.0")

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        seen.append((dialog.restartButton.visible, dialog.message.text))
        if dialog.restartButton.visible:
            dialog.restartButton.click()

    in_dialog(monkeypatch, user)
    assert dependencies.ensure()
    assert seen[0][0] == loaded
    assert ("have changed: psutil" in seen[0][1]) == loaded
    assert restarts == ["now"] * loaded


def test_after_installing_it_says_that_the_gpu_is_not_used(site: Site, pip: StandInPip, torch_utils: Any,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []

    def user(dialog: InstallationDialog) -> None:
        dialog.installButton.click()
        messages.append(dialog.message.text)

    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    in_dialog(monkeypatch, user)
    assert dependencies.ensure()
    assert "Everything is installed." in messages[0] and "built for the CPU alone" in messages[0]


@pytest.mark.parametrize(("said", "told"), [
    ("OSError: [WinError 206] The filename or extension is too long: 'C:\\Users'", "path is too long"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
    ("ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied: 'torch_cpu.dll'", "in use"),
    ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 Proxy Authentication Required'))",
     "proxy refused"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "PIP_CERT"),
    ("NewConnectionError('<pip>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
     "internet could not be reached"),
    ("error: uninstall-no-record-file\n× Cannot uninstall torch 2.13.0\n╰─> no RECORD file was found", "broken off"),
    ("ERROR: ResolutionImpossible: for help visit", "No version fits"),
    ("Segmentation fault", "The log says why")])
def test_the_remedy_follows_from_what_the_installer_said(said: str, told: str) -> None:
    assert told in remedies.remedy(said)


def test_the_remedy_is_told_in_the_language_that_is_chosen_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "_", lambda text: f"translated: {text}")
    for log in ("No space left on device", "Segmentation fault"):
        assert remedies.remedy(log).startswith("translated: ")
