"""DICOM RT structure sets: contours on planes, drawn as segments on the slices of their volume.

A voxel belongs to a structure where its centre lies inside the contours.  OpenCV's `fillPoly` adds the pixels that an
outline touches, and scikit-image would be one more package for the one line of it; so rows are scanned here.
"""
from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.geometry import Grid
from ..data.images import Segment, Segmentation
from ..errors import InputError, InputNote
from .dicom_header import dataset_of
from .label_layers import packed

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_IN_PLANE = 0.5  # slices by which the points of one contour may differ


class _Structure(NamedTuple):
    """A structure with its closed contours, each (N, 3) indices (i, j, k) in the volume."""

    number: int
    name: str
    color: tuple[float, float, float] | None
    contours: list[np.ndarray]


def read_rtstruct(path: Path, grid: Grid | None) -> Segmentation:
    """Draw the structures of a structure set on the slices of `grid`; between planes with contours nothing is added.

    Raises InputError if there is no grid, no closed contour, or none on a slice.
    """
    if grid is None:
        raise InputError("it is an RT structure set, whose contours have no voxels of their own. Give it together with "
                         "its volume.")
    dataset = dataset_of(path)
    structures = [_structure(dataset, item, grid) for item in dataset.get("StructureSetROISequence") or ()]
    if not structures:
        raise InputError("it is an RT structure set without any structure. Export it again, with its contours.")
    _note_dropped("have no closed contour", [one.name for one in structures if not one.contours])
    structures = [one for one in structures if one.contours]
    if not structures:
        raise InputError("it is an RT structure set without any closed contour. Export it with the contours of its "
                         "structures.")
    axis = _axis_across([contour for one in structures for contour in one.contours])
    rows, columns = (2, 1) if axis == 0 else (2, 0) if axis == 1 else (1, 0)
    shape = (grid.size[axis], grid.size[rows], grid.size[columns])
    drawn = [_drawn(one.contours, axis, rows, columns, shape) for one in structures]
    _note_dropped("lie on no slice of the volume", [one.name for one, masks in zip(structures, drawn, strict=True)
                                                    if not masks])
    kept = [(one, masks) for one, masks in zip(structures, drawn, strict=True) if masks]
    if not kept:
        raise InputError("it is an RT structure set that lies outside the volume. Choose the one that was drawn on "
                         "this volume.")
    values = _values([one.number for one, _ in kept])
    layers, places = packed([(value, masks) for value, (_, masks) in zip(values, kept, strict=True)], shape)
    segments = tuple(Segment(one.name, value, place, f"Segment_{value}", one.color)
                     for (one, _), value, place in zip(kept, values, places, strict=True))
    return Segmentation(np.ascontiguousarray(np.moveaxis(layers, 1, 3 - axis)), segments, grid)


def _structure(dataset: Any, item: Any, grid: Grid) -> _Structure:
    number = int(item.get("ROINumber", 0))
    name = str(item.get("ROIName") or f"Structure {number}")
    drawing: Any = next((one for one in dataset.get("ROIContourSequence") or ()
                    if one.get("ReferencedROINumber") == item.get("ROINumber")), {})
    contours, others = [], 0
    for contour in drawing.get("ContourSequence") or ():
        points = np.array(contour.get("ContourData") or (), np.float64)
        kind = str(contour.get("ContourGeometricType", "CLOSED_PLANAR"))
        if kind not in _CLOSED or len(points) < 9 or len(points) % 3 or not np.isfinite(points).all():
            others += 1
            continue
        contours.append(grid.physical_to_index(points.reshape(-1, 3)))
    if others:
        warnings.warn(f"The structure '{name}' has {others} points, lines or damaged contours that enclose nothing: "
                      "they were passed over.", InputNote, stacklevel=2)
    color = drawing.get("ROIDisplayColor")
    rgb = tuple(min(max(float(x) / 255, 0.0), 1.0) for x in color) if color and len(color) == 3 else None
    return _Structure(number, name, rgb, contours)  # type: ignore[arg-type]


def _axis_across(contours: list[np.ndarray]) -> int:
    """Return the index axis (0 to 2) across which the contours lie; raises InputError if there is none."""
    spreads = np.max([np.ptp(contour, axis=0) for contour in contours], axis=0)
    axis = int(np.argmin(spreads))
    if spreads[axis] > _IN_PLANE:
        raise InputError("it is an RT structure set whose contours lie oblique to the volume's slices. Give the volume "
                         "on which they were drawn, or export them as a label map.")
    return axis


def _drawn(contours: list[np.ndarray], axis: int, rows: int, columns: int, shape: tuple[int, int, int]
           ) -> dict[int, np.ndarray]:
    """By slice, where the structure is.  Of several planes of contours near a slice the nearest counts."""
    planes: dict[float, list[np.ndarray]] = defaultdict(list)
    for contour in contours:
        depth = round(float(contour[:, axis].mean()), 2)
        if not any(np.array_equal(contour, other) for other in planes[depth]):  # a copy would cut a hole
            planes[depth].append(contour)
    nearest: dict[int, float] = {}
    for depth in planes:
        number = int(np.ceil(depth - 0.5))
        if 0 <= number < shape[0] and abs(depth - number) < abs(nearest.get(number, np.inf) - number):
            nearest[number] = depth
    masks = {number: inside([contour[:, [columns, rows]] for contour in planes[depth]], shape[1:])
             for number, depth in nearest.items()}
    return {number: mask for number, mask in masks.items() if mask.any()}


def inside(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centre lies inside an odd number of polygons, bool (row, column).

    polygons: each (N, 2), column and row of the corners; holes are polygons within polygons, or joined to the outline
    by a line there and back.
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), np.int32)
    for polygon in polygons:
        ends = np.roll(polygon, -1, axis=0)
        for (x, y), (to_x, to_y) in zip(polygon, ends, strict=True):
            low, high = sorted((y, to_y))
            at = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), rows))
            if len(at):
                x_at = x + (at - y) * (to_x - x) / (to_y - y)
                np.add.at(crossings, (at, np.clip(np.ceil(x_at), 0, columns).astype(int)), 1)
    return (np.cumsum(crossings, axis=1)[:, :-1] % 2).astype(bool)


def _values(numbers: list[int]) -> list[int]:
    """The structures' own numbers where they can be label values, else new ones."""
    usable = len(set(numbers)) == len(numbers) and min(numbers) > 0 and max(numbers) < 2 ** 16
    return numbers if usable else list(range(1, len(numbers) + 1))


def _note_dropped(what: str, names: list[str]) -> None:
    if names:
        warnings.warn(f"Structures that {what} were left out: {', '.join(names)}.", InputNote, stacklevel=2)
