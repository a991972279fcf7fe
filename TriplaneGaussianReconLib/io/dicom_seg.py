"""DICOM segmentations: frames of bits, fractions or labels, each at its own place, as segments that may overlap.

The headers are read as they are rather than by highdicom, which refuses what many programs leave out.
"""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.geometry import Grid
from ..data.images import Segment, Segmentation
from ..errors import InputError, InputNote
from .dicom_header import dataset_of, quiet
from .label_layers import packed
from .terminology import tags_of, terminology_of

_SAME_PLACE = 0.01  # mm between planes, or voxels within one, that rounding in headers explains
_EVEN = 0.01  # of the slice distance: how far planes may lie from even ones to count as even
_ON_SLICE = 0.1  # slices of the volume by which a frame may lie off one that it belongs to
_MOST_PLANES = 20_000  # no scan has more; a damaged header might ask for any number


class _Planes(NamedTuple):
    """The grid of all planes, and which of these each frame lies on."""

    grid: Grid
    numbers: np.ndarray


def read_seg(path: Path, volume: Grid | None = None) -> Segmentation:
    """Read a DICOM SEG of any type.  Raises InputError for one without place, pixels or segments.

    volume: grid of the volume that was segmented, if known: it tells which slices lie between those with a frame.
    """
    dataset = dataset_of(path)
    items = {int(item.get("SegmentNumber", 0)): item for item in dataset.get("SegmentSequence") or ()}
    items.pop(0, None)  # the background of a label map
    if not items:
        raise InputError("it is a DICOM segmentation without any segment. Export it again.")
    frames = _frames(dataset)
    planes = _planes_of(dataset, len(frames), volume)
    if _kind(dataset) == "LABELMAP":
        layers = np.zeros((1, *planes.grid.shape), frames.dtype)
        np.maximum.at(layers[0], planes.numbers, frames)
        numbers, places = list(items), [0] * len(items)
    else:
        masks = _masks(dataset, frames, planes.numbers)
        numbers = list(items)
        layers, places = packed([(number, masks.get(number, {})) for number in numbers], planes.grid.shape)
    if not layers.any():
        raise InputError("it is a DICOM segmentation whose segments are all empty. Segment at least one slice.")
    segments = tuple(Segment(str(items[number].get("SegmentLabel") or f"Segment {number}"), number, place,
                             f"Segment_{number}", _color(items[number]))
                     for number, place in zip(numbers, places, strict=True))
    return Segmentation(layers, segments, planes.grid, _metadata(items))


def _kind(dataset: Any) -> str:
    return str(dataset.get("SegmentationType", "BINARY"))


def _frames(dataset: Any) -> np.ndarray:
    """(frame, row, column) values as stored."""
    try:
        with quiet():
            pixels: np.ndarray = dataset.pixel_array
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise InputError("it is a DICOM segmentation whose pixels are missing, cut short or compressed in a way that "
                         "cannot be read. Copy or export it again.") from error
    return pixels.reshape(-1, *pixels.shape[-2:])


def _groups(dataset: Any, keyword: str, count: int) -> Iterator[Any]:
    """Yield the functional group `keyword` of each frame, its own or the shared one; None where there is none."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for number in range(count):
        group = (own[number].get(keyword) if number < len(own) else None) or shared.get(keyword)
        yield group[0] if group else None


def _values(dataset: Any, group: str, field: str, count: int) -> list[Any]:
    """Return a field of a functional group of each frame, or that of the file itself; None where there is none."""
    return [(item.get(field) if item is not None else None) or dataset.get(field)
            for item in _groups(dataset, group, count)]


def _planes_of(dataset: Any, count: int, volume: Grid | None) -> _Planes:
    """Make the grid from where the frames say that they lie."""
    positions = _values(dataset, "PlanePositionSequence", "ImagePositionPatient", count)
    orientations = _values(dataset, "PlaneOrientationSequence", "ImageOrientationPatient", count)
    spacings = _values(dataset, "PixelMeasuresSequence", "PixelSpacing", count)
    if any(value is None for value in (*positions, *orientations, *spacings)):
        raise InputError("it is a DICOM segmentation whose frames do not tell where they lie (of a slide or a "
                         "photograph). Convert it to a .seg.nrrd or a label map.")
    origins, cosines, sides = (np.array(values, np.float64) for values in (positions, orientations, spacings))
    if np.abs(cosines - cosines[0]).max() > 1e-3 or np.abs(sides - sides[0]).max() > 1e-3:
        raise InputError("it is a DICOM segmentation whose frames differ in direction or pixel spacing. Export it for "
                         "one volume.")
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    offsets = origins @ normal
    order = np.argsort(offsets, kind="stable")
    steps = np.concatenate([[True], np.diff(offsets[order]) > _SAME_PLACE])
    first = order[steps]  # a frame of each plane
    stated, on_slices = _stated_distance(dataset, count, "SpacingBetweenSlices"), None
    if not stated and volume is not None and (on_slices := _on_slices(origins[first], normal, volume)):
        stated = volume.spacing[2]
    stated = stated or _stated_distance(dataset, count, "SliceThickness")
    depths, inside = on_slices or _filled(offsets[first] - offsets[first[0]], stated)
    numbers = np.empty(count, np.intp)
    numbers[order] = inside[np.cumsum(steps) - 1]
    grid = _grid((len(depths), int(dataset.Rows), int(dataset.Columns)), origins[first], cosines[0], sides[0], depths,
                 stated or 1.0)
    wanted = grid.index_to_physical(np.stack([0 * numbers, 0 * numbers, numbers], axis=-1))
    if np.abs(wanted - origins).max() > 0.1 * sides.min():
        raise InputError("it is a DICOM segmentation whose frames are shifted against each other. Export it for one "
                         "volume.")
    return _Planes(grid, numbers)


def _stated_distance(dataset: Any, count: int, field: str) -> float:
    """Mm from plane to plane as this field tells; 0 where it does not."""
    stated = next(iter(_values(dataset, "PixelMeasuresSequence", field, count)), None)
    return max(float(stated or 0), 0.0)


def _on_slices(origins: np.ndarray, normal: np.ndarray, volume: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """As `_filled`, with the slices of the volume as planes; None unless each frame lies on one.

    What headers state is often the thickness of slices with gaps between them, and no distance.
    """
    if abs(normal @ np.asarray(volume.direction)[:, 2]) < 0.999:
        return None
    index = volume.physical_to_index(origins)[:, 2]
    numbers = np.round(index).astype(int)
    if np.abs(index - numbers).max() > _ON_SLICE or numbers.min() < 0 or numbers.max() >= volume.size[2]:
        return None
    step = 1 if numbers[-1] >= numbers[0] else -1
    slices = np.arange(numbers[0], numbers[-1] + step, step)
    depths = volume.index_to_physical(np.stack([0 * slices, 0 * slices, slices], axis=-1)) @ normal
    return depths - depths[0], np.abs(numbers - numbers[0])


def _filled(depths: np.ndarray, stated: float) -> tuple[np.ndarray, np.ndarray]:
    """Add the planes without a frame, on which nothing was drawn.

    depths: (N,) mm of those that have one, ascending from 0.  stated: mm from plane to plane, 0 if unknown; a larger
    distance than that between any two is no distance of planes.
    Returns the depths of all planes and which of these the given ones are.
    """
    gaps = np.diff(depths)
    usual = min([*gaps, stated or np.inf, 1.0 if not len(gaps) and not stated else np.inf])
    parts = np.maximum(np.round(gaps / usual), 1).astype(int)
    if parts.sum() > _MOST_PLANES:
        raise InputError("it is a DICOM segmentation whose planes lie too far apart to be one volume. Export it again.")
    inside = np.concatenate([[0], np.cumsum(parts)])
    whole = np.interp(np.arange(inside[-1] + 1), inside, depths)
    even = np.arange(len(whole)) * (depths[-1] / max(len(whole) - 1, 1) or usual)
    return (even if np.abs(whole - even).max() <= _EVEN * usual else whole), inside


def _grid(shape: tuple[int, int, int], origins: np.ndarray, cosines: np.ndarray, sides: np.ndarray, depths: np.ndarray,
          alone: float) -> Grid:
    """The grid of planes at `depths` whose first and last begin at `origins`; their pixel spacing is rows, columns.

    alone: mm that a single plane is thick.
    """
    across = np.cross(cosines[:3], cosines[3:])
    if len(origins) > 1:  # a tilted gantry shifts plane after plane
        across = (origins[-1] - origins[0]) / np.dot(origins[-1] - origins[0], across)
    scale = float(np.linalg.norm(across))
    steps = np.diff(depths) * scale
    usual = float(np.median(steps)) if len(steps) else alone
    uneven = len(steps) > 0 and np.ptp(steps) > 2 * _EVEN * usual
    direction = np.stack([cosines[:3], cosines[3:], across / scale], axis=1)
    return Grid(shape, tuple(origins[0]), (sides[1], sides[0], usual), tuple(map(tuple, direction)),
                tuple(depths * scale) if uneven else ())


def _masks(dataset: Any, frames: np.ndarray, planes: np.ndarray) -> dict[int, dict[int, np.ndarray]]:
    """By segment number and plane, where the segment is."""
    threshold = 0.5
    if _kind(dataset) == "FRACTIONAL":
        threshold = float(dataset.get("MaximumFractionalValue") or 255) / 2
        warnings.warn("The DICOM segmentation holds fractions: a segment is where they are at least one half.",
                      InputNote, stacklevel=2)
    masks: dict[int, dict[int, np.ndarray]] = {}
    groups = _groups(dataset, "SegmentIdentificationSequence", len(frames))
    only = int(dataset.SegmentSequence[0].SegmentNumber) if len(dataset.SegmentSequence) == 1 else None
    for frame, plane, group in zip(frames, planes, groups, strict=True):
        number = group.get("ReferencedSegmentNumber") if group is not None else only
        if number is None:
            raise InputError("it is a DICOM segmentation whose frames do not tell which segment they show. Export it "
                             "again.")
        segment = masks.setdefault(int(number), {})
        mask = frame >= threshold
        segment[int(plane)] = segment[int(plane)] | mask if int(plane) in segment else mask
    return masks


def _color(item: Any) -> tuple[float, float, float] | None:
    from highdicom.color import CIELabColor

    value = item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    red, green, blue = CIELabColor.from_dicom_value([int(x) for x in value]).to_rgb(clip=True)
    return red / 255, green / 255, blue / 255


def _metadata(items: dict[int, Any]) -> dict[str, str]:
    """The header fields by which 3D Slicer knows what the segments are."""
    fields = {}
    for position, (number, item) in enumerate(items.items()):
        if terminology := terminology_of(item):
            fields[f"Segment{position}_ID"] = f"Segment_{number}"
            fields[f"Segment{position}_Tags"] = tags_of(terminology)
    return fields
