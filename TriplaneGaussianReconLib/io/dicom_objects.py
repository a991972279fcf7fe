"""DICOM files that are no images: told apart, and read without a word of the package that reads them."""
from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # of bits or fractions; label map
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_PREAMBLE = 128  # bytes before the letters that make a DICOM file


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what pydicom and highdicom remark on headers, which would mean nothing to users."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def is_dicom(path: Path) -> bool:
    """Tell whether a file has the mark of DICOM."""
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: Path, pixels: bool = True) -> Any:
    """Return the pydicom dataset of a file.

    pixels: also those.  Raises InputError if it is damaged.
    """
    import pydicom

    try:
        with quiet():
            return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise InputError("it is a DICOM file that cannot be read to its end. Copy or export it again.") from error


def class_of(path: Path) -> str:
    """Return the SOP class UID of a DICOM file, "" if it is none or does not tell."""
    if not is_dicom(path):
        return ""
    import pydicom

    with quiet():
        try:
            return str(pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
                       .get("SOPClassUID", ""))
        except Exception:  # noqa: BLE001 - damaged; whoever reads all of it tells
            return ""
