"""Voxels from files, unpacked block by block: no header makes more of them than the file really holds."""
from __future__ import annotations

import bz2
import gzip
import io
import math
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..errors import InputError, TooLargeError, cause

_BLOCK = 2 ** 20
_GZIP = b"\x1f\x8b"
_MOST_DEFLATED = 1032  # bytes that one byte of deflate can hold; bzip2 has no such bound
_LARGE, _HARDLY_PACKED = 2 ** 30, 500  # bytes of floating-point voxels, and how much smaller real ones may become
_COPY = "Copy or export it again"


@dataclass(frozen=True)
class Part:
    """Where some of the voxels lie.

    Attributes:
        path: The file.
        name: What a message calls it.
        start: The first byte of the voxels; negative where they are the last bytes of the file.
        packing: raw, gzip, bzip2, zlib (or gzip), text or hex.
        skip: Bytes to leave out after unpacking.
        is_exact: Whether nothing may follow the voxels.
        is_beside: Whether a header in another file tells `packing`.  Any other file may be packed with gzip as a
            whole, and all else is meant of its content then.
    """

    path: Path
    name: str = "the file"
    start: int = 0
    packing: str = "raw"
    skip: int = 0
    is_exact: bool = True
    is_beside: bool = False

    @property
    def is_packed(self) -> bool:
        """Whether it has to be unpacked as a whole first."""
        return not self.is_beside and _is_gzip(self.path)


def opened(path: Path) -> IO[bytes]:
    """Open a regular file, unpacked if its content is gzip, whatever its name says.  Raises InputError, OSError."""
    check_regular(path)
    return cast(IO[bytes], gzip.open(path)) if _is_gzip(path) else path.open("rb")


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked if its content is gzip; nothing where there is no such file.

    Raises InputError for an empty file, and for what is no file.
    """
    if not path.exists():
        return b""
    with told():
        check_regular(path)
        if not path.stat().st_size:
            raise InputError(f"'{path.name}' is empty (0 bytes). {_COPY}.")
        with opened(path) as file:
            start = file.read(4096)
    if not start:
        raise InputError(f"'{path.name}' is empty once it is unpacked. {_COPY}.")
    return start


def check_regular(path: Path) -> None:
    """Raise InputError for what is there but is no file: reading a pipe or a device might never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise InputError(f"it is {what}, no file. Give a file on the disk.")


@contextmanager
def told(name: str = "the file") -> Iterator[None]:
    """Raise what goes wrong while a file is read as InputError, in words for users."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"{name} ends early. {_COPY}.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the packed data of {name} is damaged. {_COPY}.") from error
    except OSError as error:
        if isinstance(error, InputError):
            raise
        problem = cause(error) if error.errno else "its packed data is damaged"
        raise InputError(f"{name} cannot be read: {problem}. {_COPY}.") from error


def read_voxels(parts: Sequence[Part], dtype: np.dtype, shape: tuple[int, ...], axis: int = 0,
                number: int | None = None) -> np.ndarray:
    """Return voxels in the byte order of this machine; of those along one axis all, or only one.

    Args:
        parts: files that hold the voxels, each as many as the others, one after the other.
        dtype: as stored.
        shape: as stored, the slowest axis first.
        axis: which axis of `shape` to take one index of.
        number: that index; None to keep all.

    Raises:
        InputError: there are fewer voxels, or more, or more than fit into memory.
    """
    stated = math.prod(shape) * dtype.itemsize
    if stated % len(parts) or (stated // len(parts)) % dtype.itemsize:
        raise InputError(f"its voxels cannot be shared evenly by the {len(parts)} data files that its header names. "
                         "Correct the header.")
    wanted = shape if number is None else shape[:axis] + shape[axis + 1:]
    share = stated // len(parts)
    for part in parts:
        _check_length(part, share, dtype)
    check_memory(math.prod(wanted) * dtype.itemsize)
    array = np.empty(wanted, dtype)
    with _Stream(parts, share, dtype) as stream:
        if number is None:
            stream.fill(array)
        elif axis == 0:
            stream.skip(number * array.nbytes)
            stream.fill(array)
            stream.skip((shape[0] - number - 1) * array.nbytes)
        else:
            block = np.empty(shape[1:], dtype)
            for one in range(shape[0]):
                stream.fill(block)
                array[one] = block.take(number, axis - 1)
        stream.end()
    return array.astype(dtype.newbyteorder("="), copy=False)


class _Stream:
    """The bytes of voxels of several files, one after the other."""

    def __init__(self, parts: Sequence[Part], share: int, dtype: np.dtype) -> None:
        self._parts, self._share, self._dtype = iter(parts), share, dtype
        self._left, self._file, self._part = 0, cast(IO[bytes], io.BytesIO()), Part(Path(), is_exact=False)
        self._stack = ExitStack()

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fill(self, array: np.ndarray) -> None:
        """Read as many bytes as `array`, which is contiguous, has."""
        rest = memoryview(array.reshape(-1).view(np.uint8).data)
        while len(rest):
            if not self._left:
                self._next()
            with told(self._part.name):
                count = self._file.readinto(rest[:min(_BLOCK, self._left)])  # type: ignore[attr-defined]
            if not count:
                raise _early(self._part.name, self._share - self._left, self._share)
            rest, self._left = rest[count:], self._left - count

    def skip(self, count: int) -> None:
        while count:
            if not self._left:
                self._next()
            size = min(count, self._left)
            if self._part.packing == "raw":
                self._file.seek(size, io.SEEK_CUR)
            else:
                size = min(size, _BLOCK)
                self.fill(np.empty(size, np.uint8))
                self._left += size
            count, self._left = count - size, self._left - size

    def end(self) -> None:
        """See that nothing follows; it is here that gzip compares its checksum."""
        with told(self._part.name):
            try:
                more = self._file.read(1)
                while more and not self._part.is_exact:
                    more = self._file.read(_BLOCK)
            except gzip.BadGzipFile as error:
                if not str(error).startswith("Not a gzipped"):
                    raise
                more = b""  # something else follows what was packed
        if more:
            raise _longer(self._part.name, self._share)
        self._stack.close()

    def _next(self) -> None:
        self.end()
        self._part, self._left = next(self._parts), self._share
        self._stack = ExitStack()
        with told(self._part.name):
            file = self._stack.enter_context(_as_stored(self._part))
            file.seek(self._part.start if self._part.start >= 0 else self._part.path.stat().st_size - self._share)
            self._file = self._stack.enter_context(_unpacked(file, self._part, self._dtype))
            left = self._part.skip
            while left and (block := self._file.read(min(_BLOCK, left))):
                left -= len(block)


def _as_stored(part: Part) -> IO[bytes]:
    check_regular(part.path)
    return opened(part.path) if part.is_packed else part.path.open("rb")


def _unpacked(file: IO[bytes], part: Part, dtype: np.dtype) -> IO[bytes]:
    if part.packing == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if part.packing == "bzip2":
        return cast(IO[bytes], bz2.BZ2File(file))
    if part.packing == "zlib":
        return cast(IO[bytes], io.BufferedReader(_Inflated(file), _BLOCK))
    try:
        if part.packing == "hex":
            return io.BytesIO(bytes.fromhex(file.read().decode("ascii")))
        if part.packing == "text":
            return io.BytesIO(np.array(file.read().split(), np.bytes_).astype(dtype).tobytes())
    except ValueError as error:
        raise InputError(f"{part.name} holds something other than numbers as text. {_COPY}.") from error
    return file


class _Inflated(io.RawIOBase):
    """What was packed by zlib, with the header of zlib or of gzip."""

    def __init__(self, file: IO[bytes]) -> None:
        self._source, self._decoder = file, zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._decoder.eof:
            packed = self._decoder.unconsumed_tail or self._source.read(_BLOCK)
            block = self._decoder.decompress(packed, len(buffer))
            if block:
                buffer[:len(block)] = block
                return len(block)
            if not packed:
                raise EOFError
        return 0


def _check_length(part: Part, share: int, dtype: np.dtype) -> None:
    """Raise InputError where the length of a file alone tells that it cannot hold `share` bytes of voxels."""
    with told(part.name):
        check_regular(part.path)
        length = part.path.stat().st_size - max(part.start, 0)
        is_packed = part.is_packed
    if part.packing == "raw" and not is_packed:
        there = length - part.skip
        if there < share:
            raise _early(part.name, max(there, 0), share)
        if part.is_exact and part.start >= 0 and there > share:
            raise _longer(part.name, share, there)
        return
    per_byte = {"gzip": _MOST_DEFLATED, "zlib": _MOST_DEFLATED, "hex": 0.5, "text": dtype.itemsize / 2}
    most = per_byte.get(part.packing, 1.0) * (_MOST_DEFLATED if is_packed else 1) * (part.path.stat().st_size + 1)
    if dtype.kind == "f" and share > max(_LARGE, _HARDLY_PACKED * part.path.stat().st_size):
        raise InputError(f"{part.name} is said to unpack to {share / 1e9:.3g} GB, more than {_HARDLY_PACKED} times its "
                         "size, which no image does whose voxels differ. Crop it, or save it as whole numbers.")
    if part.packing != "bzip2" and share > most:
        raise InputError(f"{part.name} ends early: it cannot hold the {share} bytes of voxels that its header tells. "
                         f"{_COPY}.")


def check_memory(wanted: int) -> None:
    """Raise TooLargeError for more bytes than are free."""
    import psutil

    free = psutil.virtual_memory().available
    if wanted > free:
        raise TooLargeError(f"its voxels need {wanted / 1e9:.3g} GB of memory, and {free / 1e9:.3g} GB are free. Crop "
                            "it, or use a computer with more memory.")


def _early(name: str, there: int, share: int) -> InputError:
    return InputError(f"{name} ends early, after {there} of {share} bytes of voxels. {_COPY}.")


def _longer(name: str, share: int, there: int | None = None) -> InputError:
    found = f"{there} instead of" if there else "more than"
    return InputError(f"{name} is longer than its header tells: {found} {share} bytes of voxels. "
                      "Sizes, voxel type or the start of the data are wrong. Correct the header, or export it again.")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP
