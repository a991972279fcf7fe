"""Single frames of DICOM files, each with its own place: of one slice per file, or of many in one."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from .dicom_header import REMEDY, DicomFile, number, numbers, text
from .dicom_kinds import DOSE, NUCLEAR, check_kind, class_name
from .dicom_pixels import frame_count

_SKEWED = 0.01  # how far directions may be from unit length and from a right angle before they are no rounding
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


class NoPlaceError(InputError):
    """A file does not tell where its slices lie."""


@dataclass(frozen=True, eq=False)  # compared by identity, as its file is
class Fields:
    """The fields of one frame: of its own groups of fields, else of those that all frames share, else of the file.

    Attributes:
        whole: Data set of the file.
        groups: Data sets of functional groups, the frame's own before the shared ones.
        vectors: Fields that a file keeps as one vector, with a value for each frame: this frame's.
    """

    whole: Any
    groups: tuple[Any, ...] = ()
    vectors: dict[str, Any] = field(default_factory=dict)

    def get(self, keyword: str, *macros: str) -> Any:
        """Return the value of a field, None without one.  macros: sequences that may hold it, `outer/inner` if deep."""
        for group in self.groups:
            for macro in macros:
                item = group
                for sequence in macro.split("/"):
                    items = item.get(sequence)
                    item = items[0] if items else {}
                if keyword in item:
                    return item.get(keyword)
        return self.vectors[keyword] if keyword in self.vectors else self.whole.get(keyword)


@dataclass(frozen=True, eq=False)
class _Group:
    """One kind of functional group, as if its fields were those of a data set."""

    fields: Fields
    macro: str

    def get(self, keyword: str) -> Any:
        return self.fields.get(keyword, self.macro)


@dataclass(frozen=True, eq=False)  # compared by identity
class Frame:
    """One slice of pixels and its place.

    Attributes:
        file: Where it is.
        index: Which frame of the file, from 0.
        size: Columns, rows.
        spacing: Mm between columns, between rows.
        position: (3,) LPS mm of the first pixel.
        orientation: (6,) cosines of the directions along a row and along a column, made exactly perpendicular.
        rounding: Mm by which the header may have rounded the position.
        slope: From stored to real values.
        intercept: Added to it.
        padding: Lowest and highest stored value that stands for no data; None without.
        fields: All else.
    """

    file: DicomFile
    index: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    position: np.ndarray
    orientation: np.ndarray
    rounding: float
    slope: float
    intercept: float
    padding: tuple[float, float] | None
    fields: Fields

    @property
    def name(self) -> str:
        """The file, and which of its frames where there are several."""
        return self.file.path.name + (f", frame {self.index}" if frame_count(self.file) > 1 else "")

    @property
    def normal(self) -> np.ndarray:
        """(3,) the direction across the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def order(self) -> tuple[float, str, int]:
        """Sorts frames as they were made."""
        return number(self.fields, "InstanceNumber", self.file.path.name, 0.0), self.file.path.name, self.index


def frames_of(file: DicomFile) -> list[Frame]:
    """Return the frames of a file in the order in which it holds them.

    Raises NoPlaceError where they have no place, InputError for what is damaged or shows no grey slices.
    """
    check_kind(file)
    count, groups = frame_count(file), file.dataset.get("PerFrameFunctionalGroupsSequence")
    if groups:
        if len(groups) != count:
            raise InputError(f"'{file.path.name}' cannot be read: its header states {count} frames but describes "
                             f"{len(groups)}. {REMEDY}")
        shared = tuple(file.dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
        return [_frame(file, index, Fields(file.dataset, (group, *shared))) for index, group in enumerate(groups)]
    if file.class_uid == DOSE and (count > 1 or numbers(file.dataset, "GridFrameOffsetVector", file.path.name)):
        return _dose_frames(file, count)
    if file.class_uid == NUCLEAR:
        return _nuclear_frames(file, count)
    if count > 1:
        raise NoPlaceError(f"'{file.path.name}' is a DICOM {class_name(file)} of {count} frames over time, which have "
                           "no positions of their own. Export the volume from the device or its workstation; tracked "
                           "frames have to be reconstructed to a volume first.")
    return [_frame(file, 0, Fields(file.dataset))]


def _frame(file: DicomFile, index: int, fields: Fields, origin: Sequence[float] = (),
           orientation: Sequence[float] = ()) -> Frame:
    """origin, orientation: where they are not fields of the frame."""
    name = file.path.name
    position = origin or numbers(_Group(fields, "PlanePositionSequence"), "ImagePositionPatient", name)
    cosines = orientation or numbers(_Group(fields, "PlaneOrientationSequence"), "ImageOrientationPatient", name)
    if not position or not cosines:
        raise NoPlaceError(f"'{name}' does not tell its position and orientation (a screenshot, a scan or a "
                           "projection). Use the original series, or convert it to a file that has the geometry.")
    if len(position) != 3 or len(cosines) != 6:
        raise InputError(f"'{name}' cannot be read: its position or orientation is incomplete. {REMEDY}")
    slope, intercept = _scale(file, fields)
    whole = file.dataset
    size = int(number(whole, "Columns", name, 0.0)), int(number(whole, "Rows", name, 0.0))
    return Frame(file, index, size, _spacing(file, fields), np.array(position), _perpendicular(cosines, name),
                 _rounding(fields), slope, intercept, _padding(file, fields), fields)


def _perpendicular(cosines: Sequence[float], name: str) -> np.ndarray:
    """(6,) unit directions at a right angle; raises InputError for what rounding does not explain."""
    row, column = np.reshape(cosines, (2, 3))
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(row @ column))) > _SKEWED:
        raise InputError(f"'{name}' cannot be read: its orientation is no pair of perpendicular directions of length "
                         f"1. {REMEDY}")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return np.concatenate([row, column / np.linalg.norm(column)])


def _spacing(file: DicomFile, fields: Fields) -> tuple[float, float]:
    for keyword in _SPACINGS:
        found = numbers(_Group(fields, "PixelMeasuresSequence"), keyword, file.path.name)
        if len(found) == 2 and min(found) > 0:
            return found[1], found[0]  # the header has that of rows first
    raise InputError(f"'{file.path.name}' does not tell the size of its pixels. Use the original series, or convert it "
                     "to a file that has the geometry.")


def _rounding(fields: Fields) -> float:
    """Mm: half a unit of the last decimal that the position is written with, 0 where it is not written in decimals."""
    value = fields.get("ImagePositionPatient", "PlanePositionSequence")
    written = [str(getattr(x, "original_string", "e")) for x in value or ("e",)]
    if any("e" in one.lower() for one in written):
        return 0.0
    return float(0.5 * 10.0 ** -max(len(one.strip().partition(".")[2]) for one in written))


def _scale(file: DicomFile, fields: Fields) -> tuple[float, float]:
    """Slope and intercept."""
    name = file.path.name
    if file.class_uid == DOSE:
        scaling = numbers(fields, "DoseGridScaling", name)
        if not scaling:
            raise InputError(f"'{name}' does not tell the unit of its doses (Dose Grid Scaling). {REMEDY}")
        return scaling[0], 0.0
    group = _Group(fields, "PixelValueTransformationSequence")
    return number(group, "RescaleSlope", name, 1.0) or 1.0, number(group, "RescaleIntercept", name, 0.0)


def _padding(file: DicomFile, fields: Fields) -> tuple[float, float] | None:
    """Lowest and highest stored value without data."""
    starts = {"FloatPixelData": "Float", "DoubleFloatPixelData": "DoubleFloat"}
    start, name = starts.get(file.keyword, ""), file.path.name
    value = numbers(fields, f"{start}PixelPaddingValue", name)
    if not value:
        return None
    limit = numbers(fields, f"{start}PixelPaddingRangeLimit", name) or value
    ends = [value[0], limit[0]]
    if not start:  # a negative number may be stated by its bits, as an unsigned one
        bits = int(number(fields, "BitsAllocated", name, 16.0))
        half = 2.0 ** (bits - 1) if text(fields, "PixelRepresentation") == "1" else 2.0 ** bits
        ends = [(end + 2.0 ** bits - half) % 2.0 ** bits - 2.0 ** bits + half for end in ends]
    return min(ends), max(ends)


def _dose_frames(file: DicomFile, count: int) -> list[Frame]:
    """Frames of a dose grid: their offsets stand in one vector, relative to the first or as z coordinates."""
    name = file.path.name
    offsets = np.array(numbers(file.dataset, "GridFrameOffsetVector", name))
    if len(offsets) != count:
        raise InputError(f"'{name}' cannot be read: it has {count} dose planes but places for {len(offsets)}. {REMEDY}")
    first = _frame(file, 0, Fields(file.dataset))
    if abs(offsets[0]) <= 1e-3:
        places = first.position + offsets[:, None] * first.normal
    elif abs(offsets[0] - first.position[2]) <= 1e-3 and abs(first.normal[2]) > 0.999:
        places = np.column_stack([np.repeat(first.position[None, :2], count, axis=0), offsets])
    else:
        raise InputError(f"'{name}' cannot be read: the places of its dose planes begin neither at 0 nor at its own "
                         f"position. {REMEDY}")
    return [_frame(file, index, first.fields, tuple(place)) for index, place in enumerate(places)]


def _nuclear_frames(file: DicomFile, count: int) -> list[Frame]:
    """Frames of a reconstructed nuclear image: slices follow each other along the normal of the first."""
    name, whole = file.path.name, file.dataset
    if not any("RECON" in part for part in text(whole, "ImageType").split("\\")):
        raise NoPlaceError(f"'{name}' is a DICOM {class_name(file)} of {count} projections or frames over time, not of "
                           "reconstructed slices. Use the reconstructed volume.")
    detector = (whole.get("DetectorInformationSequence") or [whole])[0]
    origin, orientation = (numbers(place, keyword, name) for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient") for place in [detector if keyword in detector else whole])
    distance = number(whole, "SpacingBetweenSlices", name, 0.0)
    slices = numbers(whole, "SliceVector", name) or tuple(range(1, count + 1))
    vectors = {keyword: numbers(whole, keyword, name) for keyword in (
        "EnergyWindowVector", "DetectorVector", "RotationVector", "PhaseVector", "RRIntervalVector", "TimeSlotVector",
        "TimeSliceVector")}
    if len(slices) != count or any(vector and len(vector) != count for vector in vectors.values()):
        raise InputError(f"'{name}' cannot be read: its header does not describe each of its {count} frames. {REMEDY}")
    if count > 1 and not distance:
        raise NoPlaceError(f"'{name}' does not tell the distance between its slices. Export it again.")
    frames = []
    for index in range(count):
        fields = Fields(whole, vectors={keyword: vector[index] for keyword, vector in vectors.items() if vector})
        first = _frame(file, index, fields, origin, orientation)
        place = first.position + (slices[index] - 1) * distance * first.normal  # the sign of the distance is meant
        frames.append(_frame(file, index, fields, tuple(place), orientation))
    return frames
