"""Parallel slices as a stack: which are odd, how deep each lies, and what is said about gaps and shear."""
from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.geometry import Grid
from ..errors import InputError
from .dicom_files import named
from .dicom_frames import Frame

_PARALLEL = 1e-3  # how far cosines of parallel slices may differ: headers are rounded
_EVEN = 0.02  # of the slice distance by which slices may be moved to lie evenly: less than anything that shows
_ROUNDED = 0.2  # of the slice distance, likewise, where the header's own rounding explains it
_STRAIGHT = 0.01  # of a pixel by which a slice may be moved within its plane to lie above the others
_LARGEST_RASTER = 4.0  # times its own area that a raster may have on which shifted slices lie


@dataclass(frozen=True)
class Stack:
    """Slices that ascend along the normal of the first.

    Attributes:
        frames: One at a place.
        grid: Their place; where they are shifted, that of the raster on which all of them lie.
        shifts: (K, 2) pixels, columns and rows, of each slice's first pixel on that raster; None where all are 0.
    """

    frames: list[Frame]
    grid: Grid
    shifts: np.ndarray | None


def check_alike(frames: list[Frame]) -> None:
    """Raise InputError that names the slices whose size, pixel spacing or orientation most others do not have."""
    def across(values: Sequence[float], unit: str = "") -> str:
        return " x ".join(f"{x:g}" for x in values) + unit

    _check("pixels", frames, [frame.size for frame in frames], [across(frame.size) for frame in frames])
    _check("pixel spacing", frames, [tuple(float(f"{x:.3g}") for x in frame.spacing) for frame in frames],
           [across(frame.spacing, " mm") for frame in frames])
    kinds = _directions(frames)
    counts = Counter(kinds).most_common()
    if len(counts) > 1:
        odd = [frame.name for frame, kind in zip(frames, kinds, strict=True) if kind != counts[0][0]]
        alike = ", ".join(str(count) for _, count in counts[:4]) + (", ..." if len(counts) > 4 else "")
        raise InputError(f"its DICOM slices are not parallel (a localizer or a radial scan): of {len(frames)}, {alike} "
                         f"lie alike. Not as most lie {named(odd)}. Keep only parallel slices.")


def _check(what: str, frames: list[Frame], values: Sequence[Hashable], texts: Sequence[str]) -> None:
    usual = Counter(values).most_common(1)[0][0]
    odd = [n for n, value in enumerate(values) if value != usual]
    if odd:
        listing = ", ".join(f"'{frames[n].name}' ({texts[n]})" for n in odd[:5])
        raise InputError(f"its {len(frames)} DICOM slices differ in {what}: most have {texts[values.index(usual)]}, "
                         f"but not {listing}{', ...' if len(odd) > 5 else ''}. Keep only the slices of one stack in "
                         "the folder.")


def _directions(frames: list[Frame]) -> list[int]:
    """Number the orientations, alike ones by the same number."""
    known: list[np.ndarray] = []
    numbers = []
    for frame in frames:
        number = next((n for n, one in enumerate(known) if np.abs(one - frame.orientation).max() <= _PARALLEL), None)
        if number is None:
            number = len(known)
            known.append(frame.orientation)
        numbers.append(number)
    return numbers


def stacked(frames: list[Frame], notes: list[str]) -> Stack:
    """Return frames, one at a place and ascending, as a stack; `notes` takes up what is not regular.

    Raises:
        InputError: there is one alone, or they are too far apart within their planes.
    """
    first = frames[0]
    if len(frames) < 2:
        raise InputError("it is a single DICOM slice. Give the folder that holds all slices of the series.")
    positions = np.array([frame.position for frame in frames])
    rounding = max(frame.rounding for frame in frames)
    offsets = positions @ first.normal
    spacing, depths = _depths(offsets - offsets[0], 2 * rounding * float(np.abs(first.normal).sum()), notes)
    axes = np.stack([first.orientation[:3], first.orientation[3:]])
    inplane = (positions - first.position) @ axes.T / first.spacing  # (K, 2) pixels
    low, high = inplane.min(axis=0), inplane.max(axis=0)
    shifts, size, origin = None, np.array(first.size), first.position
    if (high - low).max() > max(_STRAIGHT, min(2 * rounding / min(first.spacing), 10 * _STRAIGHT)):
        if np.prod((size + high - low) / size) > _LARGEST_RASTER:
            far = np.linalg.norm((high - low) * first.spacing)
            raise InputError(f"its DICOM slices lie up to {far:.4g} mm apart within their planes, which is no stack. "
                             "Keep only the slices of one stack in the folder.")
        start = np.floor(low + 1e-6)  # the raster is that of the first slice, continued
        shifts, origin = inplane - start, first.position + start * first.spacing @ axes
        size = size + np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
        notes.append(_shift_note(inplane * first.spacing, offsets))
    direction = np.column_stack([*axes, first.normal])
    grid = Grid((len(frames), int(size[1]), int(size[0])), tuple(origin), (*first.spacing, spacing),
                tuple(map(tuple, direction)), depths)
    return Stack(frames, grid, shifts)


def _depths(offsets: np.ndarray, rounding: float, notes: list[str]) -> tuple[float, tuple[float, ...]]:
    """Return the usual distance, and the depths of slices where they are not even.

    offsets: (K,) mm, ascending from 0.  rounding: mm by which a distance may be off.
    """
    distance = float(offsets[-1]) / (len(offsets) - 1)
    moved = np.abs(offsets - distance * np.arange(len(offsets))).max()
    if moved <= max(_EVEN * distance, min(rounding, _ROUNDED * distance)):
        return distance, ()
    steps = np.diff(offsets)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * usual)
    if len(gaps):
        listing = "; ".join(f"between slices {n} and {n + 1}, {steps[n]:.4g} mm apart" for n in gaps[:5])
        notes.append(f"A slice or more is missing {listing}{'; ...' if len(gaps) > 5 else ''} (counted from 0; the "
                     f"usual distance is {usual:.4g} mm). {'Each such' if len(gaps) > 1 else 'The'} gap is filled like "
                     "any other.")
    others = np.delete(steps, gaps)
    if len(others) and np.ptp(others) > max(2 * _EVEN * usual, rounding):
        notes.append(f"The slices lie unevenly: {others.min():.4g} to {others.max():.4g} mm apart. Each is used where "
                     "its header says that it lies.")
    return usual, tuple(map(float, offsets))


def _shift_note(inplane: np.ndarray, offsets: np.ndarray) -> str:
    """What is said about slices that do not lie straight above each other.  inplane: (K, 2) mm from the first."""
    depths = offsets - offsets[0]
    slope = depths @ inplane / (depths @ depths)
    farthest = np.linalg.norm(inplane, axis=1).max()
    done = (f"Each was resampled within its plane, moved by up to {farthest:.3g} mm, so that all lie on one "
            "rectangular raster; pixels beyond a slice hold no data.")
    if np.abs(inplane - depths[:, None] * slope).max() > 0.1 * np.abs(inplane).max():
        return f"The slices are shifted against each other within their planes. {done}"
    angle = np.degrees(np.arctan(np.linalg.norm(slope)))
    return f"The stack is sheared by {angle:.3g} degrees, as with a tilted gantry. {done}"
