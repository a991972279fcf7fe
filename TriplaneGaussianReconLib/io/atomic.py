"""Writing files whole or not at all: the only way in which results reach the disk."""
from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError, ReconstructionError, cause
from .temporary_folders import TemporaryFolder

PathLike = str | os.PathLike[str]
_BYTES_AT_A_TIME = 2 ** 22  # written before others have their turn


def check_output(path: Path, *extensions: str) -> None:
    """Find out before long work whether a file can be written at `path` later.

    Raises InputError unless the name ends in one of `extensions` (if there are any), OutputError if there is something
    other than a file already, or if the folder is missing or cannot be written to.
    """
    if extensions and not path.name.lower().endswith(extensions):
        raise InputError(f"'{path}' has no extension that can be written here. Use {', '.join(extensions)}.")
    folder = _destination(path).parent
    if not folder.is_dir():
        raise OutputError(f"The folder '{folder}' does not exist. Create it, or choose another one.")
    TemporaryFolder(folder).close()


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a path to write to, on the same disk and with the same extension; it becomes `path` only at the end.

    Whatever fails or interrupts the writing, nothing is left behind and a file that was at `path` stays as it was.
    The mode of such a file is kept; where `path` is a link, what it leads to is written.
    durable: wait until the disk has it, and tell if that fails.  What does not outlive its process can do without.
    Raises OutputError if the file cannot be written.
    """
    target = _destination(path)
    with _told(path, " A file that was there before is unchanged."), TemporaryFolder(target.parent) as folder:
        # Two suffixes at most, as in .nii.gz: names full of dots, such as DICOM identifiers, are not all extension.
        part = folder / f"part{''.join(path.suffixes[-2:]).lower()}"
        yield part
        if durable:
            _sync(part)
        _keep_permissions(target, part)
        os.replace(part, target)
        if durable:
            _sync_folder(target.parent)


@contextmanager
def _told(path: Path, comfort: str = "") -> Iterator[None]:
    """Raise what goes wrong while `path` is written as OutputError; comfort: added to its message."""
    try:
        yield
    except ReconstructionError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"'{path}' was not written: {cause(error)}. Free disk space, or choose another folder or "
                          f"format.{comfort}") from error


def is_folder(path: PathLike) -> bool:
    """Tell whether a result at `path` is a folder of slices: it ends in a slash, exists as one, or has no extension."""
    text = os.fspath(path)
    return text.endswith(("/", os.sep)) or os.path.isdir(text) or not Path(text).suffix


def check_folder(path: Path) -> None:
    """Find out before long work whether a new folder can be made at `path` later.  Raises OutputError."""
    if os.path.isdir(path) and any(path.iterdir()):
        raise OutputError(f"The folder '{path}' is not empty. Give a new one, or empty it first.")
    if os.path.exists(path) and not os.path.isdir(path):
        raise OutputError(f"'{path}' is a file. Give the name of a new folder.")
    if not os.path.isdir(path.parent):
        raise OutputError(f"The folder '{path.parent}' does not exist. Create it, or choose another one.")
    TemporaryFolder(path.parent).close()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to write files to, on the same disk; it becomes `path`, new or empty, only at the end.

    Whatever fails or interrupts the writing, nothing is left behind.  Raises OutputError if it cannot be written.
    """
    check_folder(path)
    with _told(path), TemporaryFolder(path.parent) as folder:
        part = folder / "part"
        part.mkdir()
        yield part
        for file in part.iterdir():
            _sync(file)
        if path.exists() and os.name == "nt":  # there, nothing can be moved onto a folder
            path.rmdir()
        os.replace(part, path)
        _sync_folder(path.parent)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write `array` as .npy, for another process of the same work.  Raises OutputError."""
    for _ in array_parts(path, array):
        pass


def array_parts(path: Path, array: np.ndarray) -> Generator[None, None, None]:
    """As `write_array`, but only a part before each time it yields: it takes long for large arrays."""
    flat, layout = np.ascontiguousarray(array).reshape(-1), np.lib.format
    pace = max(1, _BYTES_AT_A_TIME // flat.itemsize)
    with whole_file(path, durable=False) as part:
        if array.dtype.hasobject:
            raise ValueError("objects cannot be written, for they could only be pickled")
        with part.open("wb") as file:
            layout.write_array_header_1_0(file, {"descr": layout.dtype_to_descr(array.dtype), "fortran_order": False,
                                                 "shape": array.shape})
            for first in range(0, flat.size, pace):
                file.write(flat[first:first + pace].data)
                yield
            size = file.tell()
        if part.stat().st_size < size:  # NumPy does not look whether the last bytes arrive
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Write `content` as JSON; NaN and infinity, which JSON does not know, become null.

    durable: see `whole_file`.  Raises OutputError.
    """
    text = json.dumps(_finite(content), indent=1) + "\n"
    with whole_file(path, durable=durable) as part:
        part.write_text(text, encoding="utf-8")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content


def _destination(path: Path) -> Path:
    """Follow links to where `path` is to be written; raises OutputError where that is no file and could be none."""
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {cause(error)}. Choose another name.") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"'{path}' is a folder. Give a file name.")
    if not stat.S_ISREG(mode):
        raise OutputError(f"'{path}' is a device, pipe or socket, not a file. Give a file name.")
    return target


def _keep_permissions(former: Path, new: Path) -> None:
    """Give the file `new` the owner and mode of the file `former`, if there is one."""
    if os.name == "nt" or not former.exists():  # Windows keeps who may read a file in the folder
        return
    status = former.stat()
    with suppress(PermissionError):  # only root may give files away
        os.chown(new, status.st_uid, status.st_gid)
    new.chmod(stat.S_IMODE(status.st_mode))


def _sync(path: Path) -> None:
    """Wait until the disk has the file.  Raises OSError if there is no room, of which some file systems tell late."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Wait until the disk has the names of the files in a folder, where that can be asked for."""
    if os.name == "nt":
        return
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
