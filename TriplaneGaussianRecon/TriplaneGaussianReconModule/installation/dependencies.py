"""The Python packages that a reconstruction needs beyond what Slicer brings: which are missing, and getting them.

Nothing is imported to find out. What is installed is read from the packages' metadata: looking costs milliseconds, and
what is to be replaced is not in use.
"""
from __future__ import annotations

import importlib
import logging
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.runtime.nvidia_driver import load_nvidia_driver

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "Resources" / "requirements.txt"

# Packages that bring the same modules, and would be damaged by installing both.
_INSTEAD = {"opencv-python-headless": ("opencv-contrib-python-headless", "opencv-python", "opencv-contrib-python")}

# Roughly what is downloaded, with what the package itself needs.
_SIZES = {
    "torch": "0.2 GB, or 2 to 3 GB for an NVIDIA GPU",
    "nibabel": "3 MB",
    "numba": "65 MB",
    "opencv-python-headless": "60 MB",
    "scipy": "35 MB",
    "cuda-bindings": "10 MB",
    "cuda-core": "10 MB",
}
_SMALL = "less than 1 MB"


def torchRequirement() -> str:
    """Return what is required of torch.

    On Windows, Slicer up to 5.12 cannot unpack torch 2.13: paths of its licence files are too long.
    """
    if sys.platform == "win32" and (slicer.app.majorVersion, slicer.app.minorVersion) <= (5, 12):
        return "torch>=2.11,<2.13"
    return "torch>=2.11"


def obstacle() -> str:
    """Return why this computer can never have what is needed, and what to do instead; an empty text if it can."""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return _("This 3D Slicer is built for Macs with an Intel processor, and also runs as such on newer Macs. There "
                 "is no PyTorch for them any more: the last one was 2.2, and 2.11 is needed. Nothing was downloaded. "
                 "Use a 3D Slicer that is built for Apple processors (arm64), another computer, or, on a newer Mac, "
                 "the command line of this project without Slicer.")
    return ""


def requirements() -> list[str]:
    """Return the lines of Resources/requirements.txt, without comments."""
    lines = (line.strip() for line in _REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def gpuRequirements() -> list[str]:
    """Return what an NVIDIA GPU needs besides, matching the CUDA of the torch that is installed.

    Nothing where there is no such GPU, or no torch that could use it.
    """
    cuda = torchCuda() if hasNvidiaDriver() else None
    if cuda is None:
        return []
    return ["cuda-core>=1.0", f"cuda-bindings>=12.9,=={cuda.partition('.')[0]}.*"]


def needed() -> list[str]:
    """Return all that is required on this computer, as lines for pip; torch first."""
    return [torchRequirement(), *requirements(), *gpuRequirements()]


def missing() -> list[str]:
    """Return the requirements that are not met, as lines for pip; torch, if it is among them, first."""
    importlib.invalidate_caches()  # packages may have come since the last look
    return [line for line in needed() if not isMet(line)]


def ensure(parent: Any = None) -> bool:
    """See to it that nothing is missing: ask, install, and offer a restart where that is advisable.

    parent: the widget that the dialogue belongs to.
    Returns whether everything is there.  Where this computer cannot have it, that is said.  Nothing is ever installed
    in testing mode, nor without a main window, where nobody could consent; `installation.install(print)` does so in a
    script.
    """
    lines = missing()
    if not lines:
        return True
    if slicer.app.testingEnabled() or slicer.util.mainWindow() is None:
        logging.error(_("Python packages are missing, and nobody can be asked: {packages}").format(
            packages=", ".join(lines)))
        return False
    from .dialog import InstallationDialog

    return InstallationDialog(parent).run()


def describe(line: str) -> str:
    """Return a requirement with roughly what has to be downloaded for it."""
    return f"{line}  ({_SIZES.get(name(line), _SMALL)})"


def deviceNotice() -> str:
    """Return what is amiss between torch and the GPU, and what to do; an empty text if nothing is."""
    if not _isInstalled("torch"):
        return ""
    cuda, driver = torchCuda(), hasNvidiaDriver()
    if driver and cuda is None:
        return _("This computer has an NVIDIA GPU, but the installed torch was built for the CPU alone, so that the "
                 "CPU computes. To use the GPU, open the module PyTorch Utils, uninstall torch, restart Slicer, and "
                 "install it with a computation backend that starts with 'cu'.")
    if cuda is not None and not driver:
        return _("The installed torch was built for CUDA {version}, but no NVIDIA driver was found, so that the CPU "
                 "computes. If this computer has an NVIDIA GPU, install its driver.").format(version=cuda)
    return ""


def hasNvidiaDriver() -> bool:
    """Return whether NVIDIA's driver is installed, which means that there is such a GPU."""
    return load_nvidia_driver() is not None


def torchCuda() -> str | None:
    """Return the version of CUDA that the installed torch was built for, such as 12.6; None if for none."""
    try:
        text = Path(str(distribution("torch").locate_file("torch/version.py"))).read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        return None
    found = re.search(r"^cuda\b.*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else None


def isMet(line: str) -> bool:
    """Return whether an installed package meets a requirement."""
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return True
    return any(requirement.specifier.contains(version(each), prereleases=True)
               for each in _alike(requirement.name) if _isInstalled(each))


def name(line: str) -> str:
    """Return the name of the package that a requirement is about."""
    return re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]


def installedAs(line: str) -> str:
    """Return the name of the installed package that a requirement is about, which may be one that is as good; an empty
    text if there is none.
    """
    return next((each for each in _alike(name(line)) if _isInstalled(each)), "")


def _alike(package: str) -> tuple[str, ...]:
    """Return the package and those that are as good."""
    return (package, *_INSTEAD.get(package, ()))


def _isInstalled(package: str) -> bool:
    try:
        return bool(version(package))  # None where the metadata are damaged
    except PackageNotFoundError:
        return False
