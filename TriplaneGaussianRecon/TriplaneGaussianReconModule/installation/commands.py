"""What pip is told, and what it tells: the files that an installation takes, how far a download is."""
from __future__ import annotations

import enum
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slicer.i18n import tr as _

PIP, LIGHT_THE_TORCH = "pip", "light_the_torch"  # the second is pip, with the index that fits this computer's GPU
_COMMON = ("--disable-pip-version-check", "--no-input", "--progress-bar", "raw")
_MEGABYTE = 1e6


class How(enum.Enum):
    """In what way packages are installed: what pip is told beside their names, when it plans and when it installs."""

    AS_NEEDED = (), ()
    NEWEST = ("--upgrade",), ()  # what they need changes only where it has to
    ANEW = ("--force-reinstall", "--no-deps"), ("--force-reinstall",)
    OVER = ("--force-reinstall", "--no-deps"), ("--ignore-installed",)  # nobody knows any more what is to be removed


@dataclass(frozen=True)
class Group:
    """Packages that are planned and installed together.

    Attributes:
        module: `PIP` or `LIGHT_THE_TORCH`.
        lines: Requirements.
        how: In what way.
    """

    module: str
    lines: tuple[str, ...]
    how: How = How.AS_NEEDED


@dataclass(frozen=True)
class Command:
    """A program of Python's to run.

    Attributes:
        module: Its name.
        arguments: What it is told.
        isHarmless: Whether nothing is damaged where it is broken off.
    """

    module: str
    arguments: tuple[str, ...]
    isHarmless: bool = True


@dataclass(frozen=True)
class Package:
    """A file to download. hash: as pip writes it, such as sha256:01ab..."""

    name: str
    url: str
    hash: str

    @property
    def file(self) -> str:
        """The name of the file."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True)
class Progress:
    """How far an installation is.

    Attributes:
        doing: A sentence.
        received, total: Bytes of the present file; total is 0 where that is unknown.
    """

    doing: str
    received: int = 0
    total: int = 0

    def __str__(self) -> str:
        """The sentence, with megabytes if a file is coming."""
        if not self.total:
            return self.doing
        return _("{doing}: {received} of {total} MB").format(
            doing=self.doing, received=f"{self.received / _MEGABYTE:.0f}", total=f"{self.total / _MEGABYTE:.0f}")


def plan(group: Group, constraints: Path, report: Path) -> Command:
    """Find out which files are needed, and write that into `report`; nothing is installed."""
    return Command(group.module, ("install", "--dry-run", "--only-binary", ":all:", *_COMMON, *group.how.value[0],
                                  "--report", str(report), "--constraint", str(constraints), *group.lines))


def planned(report: Path) -> list[Package]:
    """Return what a plan says, in the order of installation."""
    found = []
    for each in json.loads(report.read_text(encoding="utf-8"))["install"]:
        hashes = each["download_info"].get("archive_info", {}).get("hashes", {})
        kind = next(iter(hashes), "")
        found.append(Package(each["metadata"]["name"], each["download_info"]["url"],
                             f"{kind}:{hashes[kind]}" if kind else ""))
    return found


def download(package: Package, line: Path, folder: Path) -> Command:
    """Download a file into a folder, unless it is there already, whole; writes `line` for pip.

    One at a time: pip puts several into the folder when the last of them has come.
    """
    line.write_text(f"{package.name} @ {package.url}" + (f" --hash={package.hash}" if package.hash else "") + "\n",
                    encoding="utf-8")
    return Command(PIP, ("download", "--no-deps", *_COMMON, "--dest", str(folder), "--requirement", str(line)))


def install(packages: Sequence[Package], folder: Path, how: How) -> Command:
    """Install files of a folder, without the internet."""
    files = (str(folder / each.file) for each in packages)
    return Command(PIP, ("install", "--no-deps", "--no-index", *_COMMON, *how.value[1], *files), isHarmless=False)


def bytesIn(line: str) -> tuple[int, int] | None:
    """Return bytes received and to be expected, where a line of pip tells that."""
    found = re.fullmatch(r"Progress (\d+) of (\d+)", line.strip())
    return (int(found[1]), int(found[2])) if found else None
