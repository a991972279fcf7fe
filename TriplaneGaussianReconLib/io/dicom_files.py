"""Which files of a folder are DICOM pictures: found by their content; those that cannot be read are named."""
from __future__ import annotations

from pathlib import Path

from ..errors import InputError, cause
from .dicom_header import REMEDY, DicomFile, damage_of, is_dicom, read_header
from .dicom_kinds import is_image, refused_kind
from .dicom_pixels import check_pixels

_NAMED = 5  # files that a message names
_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")  # of DICOM alone


def named(names: list[str]) -> str:
    """Return file names as a list in a sentence, the first few of many."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + rest


def dicom_images(path: Path) -> list[DicomFile]:
    """Return the headers of the DICOM pictures that `path` is, or that lie directly in it, by name.

    What is no DICOM, or lists, describes or marks pictures, is passed over.
    Raises InputError if there is none, or if a file that should be one is damaged: which, all together.
    """
    if not path.is_dir():
        file = read_header(path)
        if not is_image(file):
            raise refused_kind(file)
        check_pixels(file)
        return [file]
    candidates = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    images: list[DicomFile] = []
    others: list[DicomFile] = []
    damaged: dict[str, InputError] = {}
    for candidate in _only_dicom(candidates, damaged):
        try:
            with damage_of(candidate.name, "its header is"):
                file = read_header(candidate)
                if is_image(file):
                    check_pixels(file)
                (images if is_image(file) else others).append(file)
        except InputError as error:
            damaged[candidate.name] = error
    if len(damaged) == 1:
        raise next(iter(damaged.values()))
    if damaged:
        raise InputError(f"{len(damaged)} of its files are damaged or cut short: {named(sorted(damaged))}. Copy or "
                         "export them again, or take them out of the folder.") from next(iter(damaged.values()))
    if not images:
        raise _nothing(others)
    return images


def _only_dicom(candidates: list[Path], damaged: dict[str, InputError]) -> list[Path]:
    """Return those whose content is DICOM; what is none but should be, by its name, is added to `damaged`."""
    found: list[Path] = []
    doubtful: list[Path] = []
    for candidate in candidates:
        try:
            (found if is_dicom(candidate) else doubtful).append(candidate)
        except OSError as error:
            damaged[candidate.name] = InputError(f"'{candidate.name}' cannot be read: {cause(error)}. {REMEDY}")
    has_bare_names = any(not file.suffix for file in found)
    for file in doubtful:
        is_empty = file.stat().st_size == 0
        if file.suffix.lower() in _ENDINGS or is_empty and not file.suffix and has_bare_names:
            what = "is empty" if is_empty else "is no DICOM file, whatever its name says"
            damaged[file.name] = InputError(f"'{file.name}' cannot be read: it {what}. {REMEDY}")
    return found


def _nothing(others: list[DicomFile]) -> InputError:
    """The error for a folder without pictures."""
    for other in others:
        error = refused_kind(other)
        return InputError(f"it holds no DICOM slices but other DICOM objects. '{other.path.name}': {error}")
    return InputError("the folder directly holds no DICOM slices. Give the folder of one DICOM series, or a file.")
