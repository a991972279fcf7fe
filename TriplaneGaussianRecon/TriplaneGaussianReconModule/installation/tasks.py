"""What can be done about packages: install what is missing, repair, upgrade; what is asked before, and said after."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution, version

from slicer.i18n import tr as _

from . import dependencies, extension, packages
from .commands import LIGHT_THE_TORCH, PIP, Group, How
from .packages import Package, State

INSTALL, REPAIR, UPGRADE = "install", "repair", "upgrade"
_WITH_TORCH = ("torchvision", "torchaudio")  # each fits one version of torch: where they are, they change with it


@dataclass(frozen=True)
class Task:
    """Something to be done.

    Attributes:
        name: Under which it is kept while Slicer is started anew.
        question: What the user is asked.
        button: What the button says that is the consent.
        done: What is said when it is done.
        nothing: What is said where nothing had to change.
        groups: What to install; asked for the next group when the one before is there.
        needsTorch: Whether torch is among it, which belongs to the extension PyTorch.
        closes: Whether the dialogue closes where it went well, since the user goes on with something else.
    """

    name: str
    question: str
    button: str
    done: str
    nothing: str
    groups: Callable[[], Iterable[Group]]
    needsTorch: bool
    closes: bool = False


def install(closes: bool = True) -> Task:
    """Install what is missing."""
    lines = dependencies.missing()
    needsTorch = dependencies.torchRequirement() in lines
    if needsTorch and dependencies.hasNvidiaDriver():
        lines += ["cuda-core", "cuda-bindings"]  # which version follows from torch
    return Task(INSTALL, "\n".join([
        _("A reconstruction needs Python packages that are not installed yet. They are downloaded into Slicer's "
          "own Python; other extensions may use them too. Nothing is sent."), "",
        *_bullets(map(dependencies.describe, lines)), "", _("Install them now?")]),
        _("Install"), _("Everything is installed."), _("Everything is installed."), missingGroups, needsTorch, closes)


def repair(found: Sequence[Package]) -> Task:
    """Install what was found missing, too old or damaged."""
    wrong = [package for package in found if package.state is not State.PRESENT]
    return Task(REPAIR, "\n".join([
        _("These packages are downloaded and installed anew. Other extensions may use them too. What 3D Slicer brings "
          "stays as it is. Nothing is sent."), "", *_bullets(map(str, wrong)), "", _("Repair them now?")]),
        _("Repair"), _("What was missing, too old or damaged has been installed."), _("Nothing had to be repaired."),
        lambda: repairGroups(found),
        any(package.name == "torch" or "torch" in package.damaged for package in wrong))


def upgrade() -> Task:
    """Install the newest versions that are allowed."""
    return Task(UPGRADE, "\n".join([
        _("The newest versions that fit are downloaded and installed. Other extensions may use these packages too, and "
          "may need older ones. What 3D Slicer brings stays as it is. Nothing is sent."), "",
        *_bullets(_("{package}, now {version}").format(package=dependencies.describe(each.line), version=each.version)
                  for each in packages.look() if _canChange(each)), "", _("Upgrade them now?")]),
        _("Upgrade"), _("Newer versions have been installed."), _("Everything is as new as it can be."), newestGroups,
        False)


def missingGroups() -> Iterator[Group]:
    """What is missing.  Torch comes first: what a GPU needs besides depends on it."""
    torch = dependencies.torchRequirement()
    if torch in dependencies.missing():
        yield _torch(torch)
    if lines := dependencies.missing():
        yield Group(PIP, tuple(lines))


def repairGroups(found: Sequence[Package]) -> Iterator[Group]:
    """What is damaged, in the version that is there, then what is missing."""
    damaged = sorted({name for package in found for name in package.damaged})
    for how in (How.ANEW, How.OVER):
        chosen = [name for name in damaged if (distribution(name).read_text("RECORD") is None) == (how is How.OVER)]
        if "torch" in chosen:
            build = _exactly("torch").partition("+")[0]  # the one for this computer is found by light-the-torch
            yield Group(LIGHT_THE_TORCH, (build,), how)
        if lines := tuple(_exactly(name) for name in chosen if name != "torch"):
            yield Group(PIP, lines, how)
    lacking = [(package, line) for package in found for line in package.lacking]
    if lines := tuple({line for _package, line in lacking if not packages.isSlicers(dependencies.name(line))}):
        yield Group(PIP, lines)
    # What does not go with what Slicer brings has to give way.
    if others := {package for package, line in lacking if packages.isSlicers(dependencies.name(line))}:
        yield from _newest(others)
    yield from missingGroups()


def newestGroups() -> Iterator[Group]:
    """The newest of everything that is allowed; torch only by the extension to which it belongs."""
    yield from missingGroups()
    yield from _newest(package for package in packages.look() if _canChange(package))


def _newest(chosen: Iterable[Package]) -> Iterator[Group]:
    """The newest of some packages that are installed."""
    lines = {package.name: f"{package.installed}{package.required}" for package in chosen}
    if "torch" in lines:
        yield _torch(lines.pop("torch"), How.NEWEST)
    if lines:
        yield Group(PIP, tuple(lines.values()), How.NEWEST)


def _torch(line: str, how: How = How.AS_NEEDED) -> Group:
    """Torch, with what changes together with it."""
    return Group(LIGHT_THE_TORCH, (line, *(name for name in _WITH_TORCH if dependencies.installedAs(name))), how)


def _canChange(package: Package) -> bool:
    """Whether an upgrade may change a package."""
    if package.name == "torch" and not extension.isLoaded():
        return False
    return bool(package.installed) and not packages.isSlicers(package.name)


def _exactly(name: str) -> str:
    return f"{name}=={version(name)}"


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"\N{BULLET} {line}" for line in lines]
