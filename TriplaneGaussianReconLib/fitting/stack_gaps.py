"""What no slice sees because it lies between two: thin slices leave gaps, which smoothness alone fills but slowly."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..gaussians.lattice import Lattice
from .stack_view import Sight

_HOLDS = 0.5  # weight of both slices together from which something is known between them


def between_slices(sights: Sequence[Sight], lattice: Lattice, where: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate linearly between the slices of all stacks; those with the nearer slice count the more.

    Args:
        sights: of the stacks.
        lattice: that they see.
        where: [k, j, i] bool, of which voxels this is asked.

    Returns:
        [k, j, i] values, 0 where nothing is known; and bool, where something is: where a stack has slices on both
        sides.
    """
    values, known = np.zeros(lattice.shape, np.float32), np.zeros(lattice.shape, bool)
    stacks = [_Gaps(sight) for sight in sights if len(sight.view.stack.planes) > 1]
    for number, asked in enumerate(where.cpu().numpy()):
        rows, columns = np.nonzero(asked)
        if not len(rows):
            continue
        points = np.stack([columns, rows, np.full(len(rows), number)], axis=1) * lattice.pitch
        found = [stack.at(points, lattice.pitch) for stack in stacks]
        total = np.sum([share for _, share in found], axis=0) if found else np.zeros(len(rows))
        mean = sum((value * share for value, share in found), np.zeros(len(rows))) / np.maximum(total, 1e-12)
        values[number, rows, columns], known[number, rows, columns] = mean, total > 0.0
    return torch.from_numpy(values).to(where.device), torch.from_numpy(known).to(where.device)


def errors_between(sights: Sequence[Sight], lattice: Lattice, where: Tensor, blur: float) -> Tensor:
    """Return [k, j, i], the absolute error to expect between slices, 0 where nothing is known; as `between_slices`.

    Each slice is predicted from its neighbours, across twice the gap.  Of errors that grow with the square of the gap
    a quarter is left in the middle of a single one, of those of fine detail all: half of them is taken.

    Args:
        sights: of the stacks.
        lattice: that they see.
        where: [k, j, i] bool, of which voxels this is asked.
        blur: pixels over which errors are averaged.
    """
    from scipy.ndimage import gaussian_filter

    def missed(sight: Sight) -> Sight:
        image, offsets = sight.image.cpu().numpy(), sight.view.stack.planes.offsets
        if len(image) < 3:
            errors = np.abs(np.diff(image, axis=0)).repeat(2, axis=0)
        else:
            share = ((offsets[1:-1] - offsets[:-2]) / (offsets[2:] - offsets[:-2]))[:, None, None]
            errors = np.abs(image[1:-1] - (1.0 - share) * image[:-2] - share * image[2:])
            errors = np.concatenate([errors[:1], errors, errors[-1:]])
        return replace(sight, image=torch.from_numpy(gaussian_filter(errors.astype(np.float32), (0.0, blur, blur))))

    several = [missed(sight) for sight in sights if len(sight.view.stack.planes) > 1]
    return 0.5 * between_slices(several, lattice, where)[0]


class _Gaps:
    """A stack between whose slices is interpolated."""

    def __init__(self, sight: Sight) -> None:
        planes = sight.view.stack.planes
        self._offsets = planes.offsets - planes.offsets[0]
        along = (planes.origins[-1] - planes.origins[0]) / self._offsets[-1]
        self._corner = planes.origins[0]
        self._back = np.linalg.inv(np.stack([along, planes.row_step, planes.column_step], axis=1)).T
        self._weights = sight.weights.cpu().numpy()
        self._pixels = sight.image.cpu().numpy() * self._weights

    def at(self, points: np.ndarray, pitch: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) values at (N, 3) mm, and shares that fall with the distance from the nearest slice, 0 where
        nothing is known.
        """
        from scipy.ndimage import map_coordinates

        depth, row, column = ((points - self._corner) @ self._back).T
        _, rows, columns = self._pixels.shape
        inside = ((depth >= 0.0) & (depth <= self._offsets[-1]) & (np.abs(row - 0.5 * (rows - 1)) <= 0.5 * rows)
                  & (np.abs(column - 0.5 * (columns - 1)) <= 0.5 * columns))
        at = np.stack([np.interp(depth, self._offsets, np.arange(len(self._offsets))), row, column])[:, inside]
        sums, weights = (map_coordinates(each, at, order=1, mode="nearest") for each in (self._pixels, self._weights))
        values, shares = np.zeros(len(points)), np.zeros(len(points))
        values[inside] = sums / np.maximum(weights, 1e-6)
        nearest = np.abs(depth[inside] - np.interp(np.rint(at[0]), np.arange(len(self._offsets)), self._offsets))
        shares[inside] = np.where(weights >= _HOLDS, weights / (nearest + pitch), 0.0)
        return values, shares
