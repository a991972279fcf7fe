"""Kinds of DICOM objects: which are pictures of parallel slices, and what to do with the others."""
from __future__ import annotations

from ..errors import InputError
from .dicom_header import DicomFile, pydicom, text

DIRECTORY = "1.2.840.10008.1.3.10"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # of bits or fractions; label map
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_AS_LABELS = "Give it as --labels, and the images as VOLUME."
_IMAGES = "It holds no slices. Give the images that it belongs to."
_REFUSED = {  # beginnings of classes below `_STORAGE`, and what to do with those objects
    "66.4": _AS_LABELS, "66.7": _AS_LABELS, "66.5": _AS_LABELS, "481.3": _AS_LABELS,
    "77.1.6": "Its tiles are parts of one picture and no slices. It cannot be used here.",
    "4.2": _IMAGES, "9.": _IMAGES, "11.": _IMAGES, "66": _IMAGES, "66.1": _IMAGES, "66.2": _IMAGES, "66.3": _IMAGES,
    "66.6": _IMAGES, "67": _IMAGES, "68.": _IMAGES, "88.": _IMAGES, "104.": _IMAGES, "481.4": _IMAGES,
    "481.5": _IMAGES, "481.6": _IMAGES, "481.7": _IMAGES, "481.8": _IMAGES, "481.9": _IMAGES,
}


def class_name(file: DicomFile) -> str:
    """Return what the standard calls this kind of object, as 'MR Image'."""
    if not file.class_uid:
        return "object of unknown kind"
    name = str(pydicom().uid.UID(file.class_uid).name)
    return name.removesuffix(" Storage") if name != file.class_uid else "object of a private kind"


def is_image(file: DicomFile) -> bool:
    """Whether it is a picture of slices, says to be one, or ends before it says what it is.

    `check_pixels` refuses those that have no pixels.
    """
    name = class_name(file)
    is_known = not name.startswith("object of") or bool(file.class_uid and text(file.dataset, "SeriesInstanceUID"))
    return not _remedy(file) and bool(file.keyword or not is_known or "Image" in name or file.class_uid == DOSE)


def refused_kind(file: DicomFile) -> InputError:
    """Return the error that says what an object that is no picture is, and what to do with it."""
    return InputError(f"it is a DICOM {class_name(file)}. {_remedy(file) or _IMAGES}")


def check_kind(file: DicomFile) -> None:
    """Raise InputError for pictures that show something else than grey slices, one at a place."""
    dataset = file.dataset
    meaning = text(dataset, "PhotometricInterpretation")
    if text(dataset, "SamplesPerPixel") not in ("", "1") or meaning not in ("", "MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"'{file.path.name}' is in colour ({meaning or 'several samples per pixel'}). Convert colour "
                         "to grey levels, and use those files.")
    if text(dataset, "DimensionOrganizationType").startswith("TILED"):
        raise InputError(f"'{file.path.name}' holds the tiles of one large picture (whole slide), which are no slices. "
                         "It cannot be used here.")
    if "MOSAIC" in text(dataset, "ImageType").split("\\"):
        raise InputError(f"'{file.path.name}' shows all slices side by side in one picture (a mosaic). Convert the "
                         "series first, for example with dcm2niix, and use that file.")


def _remedy(file: DicomFile) -> str:
    """What to do with an object that is no picture of slices; empty for those that are."""
    if file.class_uid == DIRECTORY:
        return "It only lists other files. Give the folder that holds the slices of one series."
    below = file.class_uid.removeprefix(_STORAGE)
    return next((remedy for start, remedy in _REFUSED.items()
                 if below == start or (start.endswith(".") and below.startswith(start))), "")
