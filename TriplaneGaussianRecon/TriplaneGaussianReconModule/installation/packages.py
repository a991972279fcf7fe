"""The packages that a reconstruction needs: what for, which version is there, which is required, what is amiss.

Nothing is imported to find out: versions, and what packages need in their turn, are read from their metadata.
Whether they can be imported is found out by `checking`.
"""
from __future__ import annotations

import enum
import importlib
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import requires, version

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib import __version__

from . import dependencies

# What Slicer brings of all that is needed, see External_python-*.cmake in its folder SuperBuild.
_SLICERS = frozenset({"numpy", "scipy", "simpleitk", "packaging", "pip", "setuptools", "typing-extensions"})

# The module to import, where it has another name than its package.
_MODULES = {"opencv-python-headless": "cv2", "pynrrd": "nrrd", "cuda-core": "cuda.core",
            "cuda-bindings": "cuda.bindings"}


class State(enum.Enum):
    """What is to be said of a package."""

    PRESENT = "present"
    MISSING = "missing"
    OLD = "old"
    UNFIT = "unfit"
    DAMAGED = "damaged"

    def label(self) -> str:
        """The state in the language that is chosen now."""
        return {State.PRESENT: _("present"), State.MISSING: _("missing"), State.OLD: _("too old"),
                State.UNFIT: _("another version is needed"), State.DAMAGED: _("damaged")}[self]


@dataclass(frozen=True)
class Package:
    """A package that is needed.

    Attributes:
        line: The requirement, for pip.
        installed: The name of the package that meets it, which may be another one that is as good; empty if none is
            there.
        version: Its version, or an empty text.
        state: What is to be said of it.
        reason: Why it is damaged, in a sentence.
        damaged: The packages whose files are damaged: itself, or those that it needs.
        lacking: Requirements of it, and of those that it needs, that are not met, as lines for pip.
    """

    line: str
    installed: str = ""
    version: str = ""
    state: State = State.PRESENT
    reason: str = ""
    damaged: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the package that was asked for."""
        return dependencies.name(self.line)

    @property
    def required(self) -> str:
        """The versions that will do."""
        return self.line.removeprefix(self.name)

    @property
    def module(self) -> str:
        """What is imported of it."""
        return _MODULES.get(self.name, self.name)

    def __str__(self) -> str:
        """A line for a report or a question."""
        told = ", ".join(filter(None, (self.state.label(), self.reason)))
        there = f"{self.installed} {self.version}".strip()
        return f"{self.line}: {there + ', ' if there else ''}{told}"


def look() -> list[Package]:
    """Return what is needed, and what can be said of it without importing anything."""
    importlib.invalidate_caches()
    return [_package(line) for line in dependencies.needed()]


def within(package: Package) -> list[str]:
    """Return the installed package, and all that are installed because it needs them."""
    return [name for name, _line in _needs(package.installed) if name]


def isSlicers(name: str) -> bool:
    """Return whether Slicer brings a package.

    Those are left alone whatever is wrong with them: Slicer itself and other modules are built on them.
    """
    from packaging.utils import canonicalize_name

    return canonicalize_name(name) in _SLICERS


def purpose(package: Package) -> str:
    """Return what a package is for, in the language that is chosen now."""
    return {"torch": _("learning and fitting"),
            "nibabel": _("reads NIfTI files"),
            "numba": _("compiles the drawing of Gaussians for this processor"),
            "opencv-python-headless": _("how structures move from slice to slice"),
            "psutil": _("how much memory is free"),
            "pynrrd": _("reads NRRD files"),
            "safetensors": _("model files"),
            "scipy": _("numerics"),
            "cuda-core": _("computing on an NVIDIA GPU"),
            "cuda-bindings": _("computing on an NVIDIA GPU")}.get(package.name, "")


def text(packages: Sequence[Package]) -> str:
    """Return the list as a text, such as a report of a fault wants."""
    return "\n".join([
        f"TriplaneGaussianRecon {__version__}, {slicer.app.applicationName} {slicer.app.majorVersion}."
        f"{slicer.app.minorVersion}, Python {platform.python_version()}, {platform.platform()}",
        *map(str, packages), *filter(None, [dependencies.deviceNotice()])])


def _package(line: str) -> Package:
    installed = dependencies.installedAs(line)
    if not installed:
        return Package(line, state=State.MISSING)
    if not dependencies.isMet(line):
        state = State.UNFIT if dependencies.isMet(_lowerBound(line, installed)) else State.OLD
        return Package(line, installed, version(installed), state)
    lacking = tuple(each for _name, each in _needs(installed) if each and not dependencies.isMet(each))
    if not lacking:
        return Package(line, installed, version(installed))
    return Package(line, installed, version(installed), State.DAMAGED, _("it needs {packages}").format(
        packages=", ".join(lacking)), lacking=lacking)


def _lowerBound(line: str, installed: str) -> str:
    """Return a requirement of the installed package that asks for no more than the lowest version that will do."""
    from packaging.requirements import Requirement

    return installed + ",".join(str(each) for each in Requirement(line).specifier if each.operator == ">=")


def _needs(name: str) -> Iterator[tuple[str, str]]:
    """Yield an installed package and all that it needs: the name of each, or an empty text where it is not installed,
    and the requirement.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    seen, todo = set[str](), [(name, "")]
    while todo:
        installed, line = todo.pop(0)
        yield installed, line
        if installed and canonicalize_name(installed) not in seen:
            seen.add(canonicalize_name(installed))
            for needed in map(Requirement, requires(installed) or ()):
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    needed.marker = None
                    todo.append((dependencies.installedAs(needed.name), str(needed)))
