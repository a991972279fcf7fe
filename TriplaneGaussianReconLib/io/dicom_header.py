"""One DICOM file: what its header tells, and where in the file its pixels are, without reading them."""
from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from ..errors import InputError, MissingPackageError, ReconstructionError, cause

_DEFERRED = 1024  # bytes: larger fields, foremost the pixels, are read only when they are asked for
_LARGEST_INFLATED = 2 ** 29  # bytes that a deflated file may unfold to: far above one slice, and it fits into memory
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_UNDEFINED = 0xFFFFFFFF
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError, struct.error)
REMEDY = "Copy or export it again, or take it out of the folder."


@dataclass(frozen=True, eq=False)  # compared by identity: a data set cannot be compared quickly
class DicomFile:
    """A file whose header has been read.

    Attributes:
        path: The file.
        dataset: pydicom's data set; large fields are read when they are asked for.
        keyword: Which field holds the pixels; empty without pixels.
        start: Byte of the (inflated) file at which they begin.
        length: How many bytes they have as the file states; None where they are compressed, in pieces.
        room: How many bytes the (inflated) file has from `start` on.
        is_deflated: Whether all that follows the first few fields is compressed like a gzip file.
    """

    path: Path
    dataset: Any
    keyword: str
    start: int = 0
    length: int | None = None
    room: int = 0
    is_deflated: bool = False

    @property
    def transfer_syntax(self) -> Any:
        """How the file is encoded, as a UID of pydicom; guessed where the file does not tell."""
        from pydicom import uid

        stated = self.dataset.file_meta.get("TransferSyntaxUID") if self.dataset.file_meta else None
        if stated:
            return stated
        is_implicit, is_little_endian = self.dataset.original_encoding
        if not is_little_endian:
            return uid.ExplicitVRBigEndian
        return uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian

    @property
    def class_uid(self) -> str:
        """Which kind of object it is; empty where the file does not tell."""
        meta = self.dataset.file_meta
        return str(self.dataset.get("SOPClassUID") or (meta and meta.get("MediaStorageSOPClassUID")) or "")

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open it, inflated if it is deflated."""
        if self.is_deflated:
            yield io.BytesIO(_inflated(self.path)[1])
            return
        with self.path.open("rb") as file:
            yield file


def pydicom() -> ModuleType:
    """Import pydicom.  Raises MissingPackageError."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingPackageError("DICOM files need pydicom. Install it with 'pip install pydicom python-gdcm'."
                                  ) from error
    return pydicom


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what pydicom and highdicom have to say about odd files off the console; values are taken as they stand."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), pydicom().config.disable_value_validation():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def damage_of(name: str, what: str) -> Iterator[None]:
    """Tell any failure meanwhile as an InputError: what of which file is damaged."""
    try:
        yield
    except (ReconstructionError, MemoryError):
        raise
    except Exception as error:  # damage shows as whatever pydicom happens to stumble over
        reason = cause(error) if isinstance(error, OSError) and error.strerror else f"{what} damaged"
        raise InputError(f"'{name}' cannot be read: {reason}. {REMEDY}") from error


def is_dicom(path: Path) -> bool:
    """Whether the content of a file is DICOM, with the mark of its file format or, as older files are, without it.

    Raises OSError where it cannot be read at all.
    """
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    return len(start) == 132 and _begins_with_field(start, "little") or _begins_with_field(start, "big")


def _begins_with_field(start: bytes, order: Any) -> bool:
    """Whether a file without preamble begins as a data set does: with a short field of group 2 or 8."""
    group, element = (int.from_bytes(start[n:n + 2], order) for n in (0, 2))
    if group not in (2, 8) or element > 0x1000:
        return False
    if start[4:6].isalpha() and start[4:6].isupper():
        return int.from_bytes(start[6:8], order) <= 128 or start[4:6] in (b"OB", b"SQ", b"UT")
    return order == "little" and int.from_bytes(start[4:8], order) <= 128


def read_header(path: Path) -> DicomFile:
    """Read all of a file but its pixels.  Raises InputError for what is damaged."""
    with damage_of(path.name, "its header is"):
        with path.open("rb") as file:
            is_deflated = _DEFLATED in file.read(1024)
            size = file.seek(0, io.SEEK_END)
        if is_deflated:
            dataset, content = _inflated(path)
            size = len(content)
        else:
            dataset = pydicom().dcmread(path, defer_size=_DEFERRED, force=True)
        keywords = [keyword for keyword in _PIXELS if keyword in dataset]
        if not keywords:
            return DicomFile(path, dataset, "", is_deflated=is_deflated)
        tag = pydicom().datadict.tag_for_keyword(keywords[0])
        raw = dataset.get_item(tag, keep_deferred=True)
        length = None if raw.length == _UNDEFINED else raw.length
        if is_deflated:
            del dataset[tag]  # the pixels are already in memory, which need not hold those of all slices
        return DicomFile(path, dataset, keywords[0], raw.value_tell, length, size - raw.value_tell, is_deflated)


def dataset_of(path: Path) -> Any:
    """Return all of an object that is no image, as a data set of pydicom.  Raises InputError if it is damaged."""
    with quiet(), damage_of(path.name, "it is"):
        return pydicom().dcmread(path, force=True)


def class_of(path: Path) -> str:
    """Return the SOP class UID of a DICOM file, "" if it is none or does not tell."""
    try:
        if not is_dicom(path):
            return ""
        with quiet():
            return str(pydicom().dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True, force=True)
                       .get("SOPClassUID", ""))
    except Exception:  # noqa: BLE001 - damaged, or no file; whoever reads all of it tells
        return ""


def _inflated(path: Path) -> tuple[Any, bytes]:
    """Return the data set of a deflated file, and its bytes after the first group, unfolded."""
    from pydicom.filereader import read_dataset, read_file_meta_info

    meta = read_file_meta_info(path)
    with path.open("rb") as file:
        file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(file.read(), _LARGEST_INFLATED)
    if not inflater.eof:
        what = "more than a slice can have" if len(content) == _LARGEST_INFLATED else "and is cut short"
        raise InputError(f"'{path.name}' cannot be read: it is deflated, {what}. {REMEDY}")
    dataset = read_dataset(cast(Any, io.BytesIO(content)), False, True)
    dataset.file_meta = meta
    dataset.set_original_encoding(False, True, dataset.original_character_set)
    return dataset, content


def numbers(dataset: Any, keyword: str, name: str) -> tuple[float, ...]:
    """Return the numbers of a field, none where it is missing or empty.

    dataset: of pydicom, or what has its method `get`.  name: of the file, for the InputError about what is no number.
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return ()
        found = tuple(float(x) for x in value) if hasattr(value, "__iter__") else (float(value),)
        if all(math.isfinite(x) for x in found):
            return found
    except _ODD:
        pass
    label = pydicom().datadict.dictionary_description(keyword)
    raise InputError(f"'{name}' cannot be read: its field '{label}' is no finite number. {REMEDY}")


def number(dataset: Any, keyword: str, name: str, usual: float) -> float:
    """Return the first number of a field, `usual` where it is missing or empty."""
    return (*numbers(dataset, keyword, name), usual)[0]


def text(dataset: Any, keyword: str) -> str:
    """Return a field as text; empty where it is missing or cannot be made out."""
    try:
        value = dataset.get(keyword)
    except _ODD:
        return ""
    if value is None:
        return ""
    is_list = hasattr(value, "__iter__") and not isinstance(value, str)
    return ("\\".join(map(str, value)) if is_list else str(value)).strip(" \0")
