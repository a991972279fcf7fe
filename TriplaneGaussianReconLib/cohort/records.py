"""What is remembered of a case: how it ended, and of what inputs, options and version.

`done.json` stands for results that are there; `failed.json` for a case that came to nothing.  Either holds while
inputs, options and version are the same.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import InputError, cause
from ..io.atomic import write_json
from .folder import Folder
from .manifest import Case

_FORMAT = 1
_BLOCK = 2 ** 20
_WITHOUT = ("--memory", "--threads")  # these do not decide about results


@dataclass(frozen=True)
class Record:
    """How a case ended.

    Attributes:
        options: Of `reconstruct`, without those that do not decide about the result.
        inputs: Of each file or folder it read: path, bytes, when it was changed last, and the hash of its content.
        results: Size in bytes by path below the output; empty where it failed.
        cause: Why it failed; empty where it is done.
        seconds: From start to end, all attempts together.
        memory: Bytes that its process held at most; None where the system does not tell.
        attempts: How many it took.
        self_check: PSNR in dB of slices that were hidden; None where none could be.
        gain: By how many dB that is more than linear interpolation.
        version: Of the program.
    """

    options: tuple[str, ...]
    inputs: tuple[Mapping[str, Any], ...] = ()
    results: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""
    seconds: float = 0.0
    memory: int | None = None
    attempts: int = 1
    self_check: float | None = None
    gain: float | None = None
    version: str = __version__

    def write(self, folder: Folder) -> None:
        """Write it; raises OutputError."""
        write_json(folder.failed if self.cause else folder.done, {"format": _FORMAT, **asdict(self)})


def deciding(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options that decide about the result."""
    return tuple(option for option in options if option.partition("=")[0] not in _WITHOUT)


def inputs_of(case: Case) -> tuple[Mapping[str, Any], ...]:
    """Return what `Record.inputs` holds; raises InputError for what cannot be read."""
    return tuple({"path": path, **_stat(path), "sha256": _hash(path)} for path in case.inputs)


def read_record(output: Path, case: Case) -> Record | None:
    """Return how the case ended before, if inputs, options and version are still the same and the results are there."""
    folder = Folder(output, case)
    record = _read(folder.done) or _read(folder.failed)
    if record is None or record.version != __version__ or record.options != deciding(case.options):
        return None
    try:
        if len(record.inputs) != len(case.inputs):
            inputs_of(case)
            return None
        if not all(map(_is_same, record.inputs, case.inputs)):
            return None
    except InputError:
        return record if record.cause and not record.inputs else None  # it failed because of that
    return record if all(_size(output / path) == size for path, size in record.results.items()) else None


def _read(path: Path) -> Record | None:
    """A record; None where there is none, or one that is damaged or of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            return None
        return Record(**{**content, "options": tuple(content["options"]), "inputs": tuple(content["inputs"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_same(former: Mapping[str, Any], path: str) -> bool:
    """Whether a file or folder has the content that it had; it is read only where its date or place is another."""
    now = _stat(path)
    if former["bytes"] != now["bytes"]:
        return False
    return (former["path"], former["modified"]) == (path, now["modified"]) or former["sha256"] == _hash(path)


def _stat(path: str) -> dict[str, int]:
    """Size and last change of a file, or of all files of a folder."""
    try:
        states = [file.stat() for file in _files(Path(path))]
    except OSError as error:
        raise _unreadable(path, error) from error
    return {"bytes": sum(state.st_size for state in states),
            "modified": max((state.st_mtime_ns for state in states), default=0)}


def _hash(path: str) -> str:
    digest = hashlib.sha256()
    try:
        for file in _files(Path(path)):
            digest.update(b"" if str(file) == path else file.name.encode("utf-8", "surrogateescape") + b"\0")
            with file.open("rb") as content:
                while block := content.read(_BLOCK):
                    digest.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    elif path.exists() and not path.is_file():
        raise InputError(f"'{path}' is a device, pipe or socket. Give a file or folder.")
    else:
        yield path


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(f"'{path}' cannot be read: {cause(error)}. Give another file or folder.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
