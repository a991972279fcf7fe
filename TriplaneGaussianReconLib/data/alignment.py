"""Brings a segmentation onto the voxels of its volume: exactly where they coincide, else by looking labels up."""
from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import InputError, InputNote
from .geometry import Grid, by
from .images import Segmentation

_SAME = 1e-3  # voxels by which centres that are meant to coincide may miss each other
_MOST_SAMPLES = 8  # along each axis of a voxel


class _Lookup(NamedTuple):
    """Labels [layer, k, j, i], and how far (mm) a voxel's centre lies from that of the label it got, at most."""

    layers: np.ndarray
    distance: float


def voxel_offset(grid: Grid, other: Grid) -> tuple[int, int, int] | None:
    """Return the index (i, j, k) in `grid` of the first voxel of `other` if both lie on one lattice, else None.

    On one lattice every voxel of `other` falls within 0.001 voxels of a whole index of `grid`, inside it or not, and
    the axes agree.
    """
    corners = other.corners
    offsets = grid.physical_to_index(other.index_to_physical(corners)) - corners
    # One voxel tells nothing about the axes, so they are compared over one step as well.
    steps = np.linalg.solve(grid.ijk_to_lps[:3, :3], other.ijk_to_lps[:3, :3])
    whole = np.round(offsets[0])
    if np.abs(offsets - whole).max() > _SAME or np.abs(steps - np.eye(3)).max() > _SAME:
        return None
    return int(whole[0]), int(whole[1]), int(whole[2])


def aligned_to(segmentation: Segmentation, grid: Grid, name: str = "segmentation") -> Segmentation:
    """Return `segmentation` on `grid`; outside its own voxels there is background.

    Where voxels coincide they are cropped and padded, as what 3D Slicer saves is cropped to its segments; their axes
    may run in another order or direction.  All else is resampled, with an `InputNote`: each voxel takes the label that
    most of it has, of which voxels of its own size or larger have one alone, the nearest.

    name: what notes and errors call it.

    Raises:
        InputError: the two do not overlap.
    """
    if segmentation.grid.matches(grid):
        return replace(segmentation, grid=grid)
    if grid.depths or segmentation.grid.depths:  # uneven slices are no lattice
        return _resampled(segmentation, grid, name)
    turned = _turned(segmentation, grid)
    offset = voxel_offset(turned.grid, grid)
    if offset is None:
        return _resampled(segmentation, grid, name)
    if turned is not segmentation:
        warnings.warn(f"The {name}'s axes run otherwise than the volume's. Its voxels were put into the volume's "
                      "order; none was changed.", InputNote, stacklevel=2)
    return _cropped(turned, offset, grid, name)


def _turned(segmentation: Segmentation, grid: Grid) -> Segmentation:
    """Return `segmentation` with its axes in the order and direction of `grid`'s, if these are the same lines."""
    have = segmentation.grid
    steps = np.linalg.solve(grid.ijk_to_lps[:3, :3], have.ijk_to_lps[:3, :3])  # column: an axis of `have`
    signs = np.round(steps)
    if np.abs(steps - signs).max() > _SAME or not (np.abs(signs).sum(0) == 1).all() or (signs == np.eye(3)).all():
        return segmentation
    order = [int(np.flatnonzero(row)[0]) for row in signs]  # which axis of `have` runs along each of `grid`
    flipped = [signs[axis, order[axis]] < 0 for axis in range(3)]
    first = np.zeros(3)
    for axis in range(3):
        first[order[axis]] = (have.size[order[axis]] - 1) * flipped[axis]
    direction = np.asarray(have.direction)[:, order] * np.where(flipped, -1.0, 1.0)
    layers = segmentation.layers.transpose(0, *(3 - order[axis] for axis in (2, 1, 0)))
    layers = np.flip(layers, tuple(3 - axis for axis in range(3) if flipped[axis]))
    i, j, k = (have.spacing[axis] for axis in order)
    turned = Grid(layers.shape[1:], tuple(have.index_to_physical(first)), (i, j, k), tuple(map(tuple, direction)))
    return replace(segmentation, layers=np.ascontiguousarray(layers), grid=turned)


def _cropped(segmentation: Segmentation, offset: tuple[int, int, int], grid: Grid, name: str) -> Segmentation:
    """Return `segmentation` on `grid`, whose first voxel is its voxel `offset` (i, j, k)."""
    source, target = [slice(None)], [slice(None)]
    for start, have, want in zip(reversed(offset), segmentation.grid.shape, grid.shape, strict=True):
        first, stop = max(start, 0), min(start + want, have)
        if first >= stop:
            raise _outside(name)
        source.append(slice(first, stop))
        target.append(slice(first - start, stop - start))
    layers = np.zeros((len(segmentation.layers), *grid.shape), segmentation.layers.dtype)
    layers[tuple(target)] = segmentation.layers[tuple(source)]
    return replace(segmentation, layers=layers, grid=grid)


def _resampled(segmentation: Segmentation, grid: Grid, name: str) -> Segmentation:
    have = segmentation.grid
    looked_up = _looked_up(segmentation, grid, name)
    warnings.warn(f"The {name}'s voxels, {by(have.size)} of {by(have.spacing)} mm, are not the volume's, "
                  f"{by(grid.size)} of {by(grid.spacing)} mm. It was resampled: each voxel of the volume has the label "
                  f"that most of it has; the centres lie up to {looked_up.distance:.3g} mm apart.", InputNote,
                  stacklevel=3)
    return replace(segmentation, layers=looked_up.layers, grid=grid)


def _looked_up(segmentation: Segmentation, grid: Grid, name: str) -> _Lookup:
    """Look the voxels of `grid` up slice by slice.

    Coarser or equal labels are looked up at the centres, which is exact about what they say; of finer ones each voxel
    covers several, and the nearest alone would keep or lose thin structures by chance.
    """
    have, samples = segmentation.grid, _sample_offsets(segmentation.grid, grid)
    layers = np.zeros((len(segmentation.layers), *grid.shape), segmentation.layers.dtype)
    distance, touched = 0.0, False
    j, i = np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij")
    for k in range(grid.shape[0]):
        centres = np.stack([i, j, np.full_like(i, k)], axis=-1).astype(np.float64)
        found = [_at(segmentation, have.physical_to_index(grid.index_to_physical(centres + offset)))
                 for offset in samples]
        touched = touched or any(inside.any() for _, inside in found)
        layers[:, k] = found[0][0] if len(found) == 1 else _most_common(np.stack([labels for labels, _ in found]))
        index = have.physical_to_index(grid.index_to_physical(centres))[found[len(found) // 2][1]]
        missed = np.linalg.norm((index - np.round(index)) * have.spacing, axis=-1)
        distance = max(distance, float(missed.max(initial=0.0)))
    if not touched:
        raise _outside(name)
    return _Lookup(layers, distance)


def _sample_offsets(have: Grid, grid: Grid) -> np.ndarray:
    """(N, 3) where in a voxel of `grid` to look labels up, as index offsets: about once in each label voxel."""
    steps = np.linalg.inv(np.asarray(have.direction) * have.spacing) @ (np.asarray(grid.direction) * grid.spacing)
    counts = np.clip(np.round(np.abs(steps).max(axis=0)), 1, _MOST_SAMPLES).astype(int)
    along = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)


def _at(segmentation: Segmentation, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels [layer, row, column] at (row, column, 3) indices, and which of these lie inside."""
    whole = np.floor(index + 0.5).astype(np.intp)
    inside: np.ndarray = np.all((whole >= 0) & (whole < segmentation.grid.size), axis=-1)
    i, j, k = np.where(inside[..., None], whole, 0).transpose(2, 0, 1)
    return np.where(inside, segmentation.layers[:, k, j, i], 0), inside


def _most_common(samples: np.ndarray) -> np.ndarray:
    """The label that most of (sample, ...) have; between equals a segment wins over the background."""
    values = np.unique(samples)
    values = np.concatenate([values[values != 0], values[values == 0]])
    best, most = np.zeros(samples.shape[1:], samples.dtype), np.zeros(samples.shape[1:], np.intp)
    for value in values:
        votes = np.count_nonzero(samples == value, axis=0)
        more = votes > most
        best[more], most[more] = value, votes[more]
    return best


def _outside(name: str) -> InputError:
    return InputError(f"The {name} lies outside the volume. Choose the one that belongs to the volume, or resample it "
                      "to the volume first.")
