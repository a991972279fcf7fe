"""Python packages in Slicer: what is missing, what is said about it, and who is asked."""
from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import slicer
import slicer_stand_ins
from packaging.requirements import Requirement
from repository import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

slicer_stand_ins.install()

from TriplaneGaussianReconModule.installation import dependencies, installation, remedies  # noqa: E402
from TriplaneGaussianReconModule.installation.dialog import InstallationDialog  # noqa: E402

Dialogs = Callable[..., list[InstallationDialog]]


# What is missing


def test_nothing_is_asked_where_everything_is_there(site: Any, in_dialog: Dialogs) -> None:
    dialogs = in_dialog(lambda dialog: None)
    site.complete()
    assert dependencies.missing() == []
    assert dependencies.ensure()
    assert not dialogs


def test_absent_and_outdated_packages_are_missing_torch_first(site: Any) -> None:
    site.complete("numba", "safetensors", "torch")
    site.add("torch", "2.5.1+cpu")
    site.add("safetensors", "0.3")
    assert dependencies.missing() == ["torch>=2.11", "numba>=0.60", "safetensors>=0.4.3"]


def test_a_package_that_comes_is_found_at_once(site: Any) -> None:
    site.complete("psutil")
    assert dependencies.missing() == ["psutil>=5.9"]
    site.add("psutil", "7.0")
    assert dependencies.missing() == []


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"])
def test_another_opencv_is_as_good(site: Any, name: str) -> None:
    site.complete("opencv-python-headless")
    site.add(name, "4.11.0.86")
    assert dependencies.missing() == []


def test_torch_built_with_a_local_version_or_before_a_release_counts(site: Any) -> None:
    site.complete("torch")
    site.add("torch", "2.12.0.dev20260401+cu130")
    assert dependencies.missing() == []


@pytest.mark.parametrize(("platform", "minor", "expected"), [
    ("win32", 12, "torch>=2.11,<2.13"), ("win32", 10, "torch>=2.11,<2.13"), ("win32", 13, "torch>=2.11"),
    ("linux", 12, "torch>=2.11"), ("darwin", 12, "torch>=2.11")])
def test_torch_2_13_is_avoided_where_slicer_cannot_unpack_it(
        site: Any, monkeypatch: pytest.MonkeyPatch, platform: str, minor: int, expected: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(slicer.app, "minorVersion", minor)
    assert dependencies.torchRequirement() == expected


@pytest.mark.parametrize(("driver", "cuda", "expected"), [
    (True, "12.6", ["cuda-core>=1.0", "cuda-bindings>=12.9,==12.*"]),
    (True, "13.0", ["cuda-core>=1.0", "cuda-bindings>=12.9,==13.*"]),
    (True, None, []), (False, "13.0", [])])
def test_a_gpu_needs_what_matches_the_cuda_of_torch(
        site: Any, monkeypatch: pytest.MonkeyPatch, driver: bool, cuda: str | None, expected: list[str]) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: driver)
    site.complete("torch")
    site.add_torch("2.12.0", cuda)
    assert dependencies.missing() == expected


def test_bindings_for_another_cuda_do_not_do(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
        site: Any, monkeypatch: pytest.MonkeyPatch, driver: bool, cuda: str | None, expected: str) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: driver)
    site.add_torch("2.12.0", cuda)
    notice = dependencies.deviceNotice()
    assert expected in notice if expected else not notice


def test_without_torch_there_is_nothing_to_say_about_the_gpu(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
        site: Any, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
        ) -> None:
    dialogs = in_dialog(lambda dialog: dialog.installButton.click())
    if reason == "testing":
        slicer.app.isTesting = True
    else:
        monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    assert not dependencies.ensure()
    assert not dialogs and "torch>=2.11, nibabel>=5.2, numba>=0.60" in caplog.text


# The dialogue


def test_it_says_what_will_be_installed_and_how_large_it_is(site: Any, in_dialog: Dialogs) -> None:
    texts: list[str] = []
    in_dialog(lambda dialog: texts.append(dialog.message.text))
    assert not dependencies.ensure()
    for line in dependencies.missing():
        assert dependencies.describe(line) in texts[0]
    assert "torch>=2.11  (0.2 GB, or 2 to 3 GB for an NVIDIA GPU)" in texts[0]
    assert "cuda" not in texts[0]


def test_with_a_gpu_it_says_what_that_adds(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "hasNvidiaDriver", lambda: True)
    assert "cuda-core  (10 MB)" in InstallationDialog().message.text


def test_declining_installs_nothing(site: Any, in_dialog: Dialogs) -> None:
    in_dialog(lambda dialog: dialog.closeButton.click())
    assert not dependencies.ensure()
    assert not {"torch", "numba"} & set(installation.versions())


def test_on_a_mac_with_slicer_for_intel_it_is_said_before_anything_is_downloaded(
        site: Any, in_dialog: Dialogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a Slicer runs on newer Macs too, by translation; there as well it is told that it is an Intel one."""
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    in_dialog(lambda dialog: seen.append((dialog.message.text, dialog.installButton.visible)))
    assert not dependencies.ensure()
    assert "built for Macs with an Intel processor" in seen[0][0] and "Nothing was downloaded" in seen[0][0]
    assert not seen[0][1]
    with pytest.raises(installation.InstallationError, match="Intel processor"):
        installation.install(print)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert dependencies.obstacle() == ""


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
    ("no such option: --dry-run", "pip in Slicer's Python is too old"),
    ("pip: error: option --progress-bar: invalid choice: 'raw' (choose from 'on', 'off')", "pip in Slicer's Python is"),
    ("OSError: [WinError 225] Operation did not complete successfully because the file contains a virus", "antivirus"),
    ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "antivirus"),
    ("TypeError: build_source() missing 1 required keyword-only argument: 'project_name'", "download.pytorch.org"),
    ("ERROR: No matching distribution found for numba>=0.60", "no version of a package for this Slicer's Python"),
    ("Segmentation fault", "The log says why")])
def test_the_remedy_follows_from_what_the_installer_said(said: str, told: str) -> None:
    assert told in remedies.remedy(said)


def test_the_remedy_is_told_in_the_language_that_is_chosen_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "_", lambda text: f"translated: {text}")
    for log in ("No space left on device", "Segmentation fault"):
        assert remedies.remedy(log).startswith("translated: ")
