"""How far to trust the result: the expected absolute error anywhere between the trusted slices."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

# Errors vary slowly; one value per so many pixels keeps the model small.
COARSENESS = 4
# How steeply the error rises towards the middle of a gap: a quarter of the way through it is 0.81 of that in the
# middle, measured on eight public volumes with every fourth slice kept.
RISE = 0.3
# Beyond the outermost trusted slices the error grows to so many times that half-way through the nearest gap.
FARTHEST = 4.0


@dataclass(frozen=True)
class ExpectedError:
    """Expected absolute error half-way through each gap, falling to `at_trusted` on the trusted slices.

    middle: [gap, coarse row, coarse column] float32, input units.
    offsets: (plane,) mm, the trusted slices along the model's depth axis, ascending.
    origin: (2,) mm, the centre of the first coarse cell; step: (2,) mm between cells; both x (columns), y (rows).
    at_trusted: mean absolute residual on the trusted slices, input units.
    """

    middle: np.ndarray
    offsets: np.ndarray
    origin: np.ndarray
    step: np.ndarray
    at_trusted: float

    @classmethod
    def from_fine(cls, middle: np.ndarray, offsets: np.ndarray, pixel: np.ndarray, at_trusted: float) -> ExpectedError:
        """Average [gap, row, column] errors with pixels of size `pixel` (2,) mm, the first centred on x = y = 0."""
        return cls.from_coarse(coarsened(middle), middle.shape[1:], offsets, pixel, at_trusted)

    @classmethod
    def from_coarse(cls, coarse: np.ndarray, shape: Sequence[int], offsets: np.ndarray, pixel: np.ndarray,
                    at_trusted: float) -> ExpectedError:
        """As `from_fine`, from what `coarsened` made of errors of `shape` (rows, columns)."""
        step = np.array([shape[1] / coarse.shape[2], shape[0] / coarse.shape[1]]) * pixel
        return cls(coarse, offsets, 0.5 * (step - pixel), step, at_trusted)

    def at(self, points: Tensor) -> Tensor:
        """Expected absolute error at `points` (..., 3) mm in the model's frame; input units, float32, on their device.

        Beyond the first and last trusted slice it keeps growing with the distance, from the value of the nearest gap.
        """
        depth, offsets = points[..., 2].contiguous(), torch.from_numpy(self.offsets).to(points)
        gap = (torch.searchsorted(offsets, depth, right=True) - 1).clamp(0, len(self.middle) - 1)
        before, after = offsets[gap], offsets[gap + 1]
        nearest = torch.minimum((depth - before).abs(), (depth - after).abs())
        distance = (2.0 * nearest / (after - before)).clamp(max=FARTHEST)
        share = torch.where(distance < 1.0, distance ** RISE, distance)
        middle = self._half_way(gap, points)
        return (self.at_trusted + share * (middle - self.at_trusted).clamp(min=0.0)).float()

    def _half_way(self, gap: Tensor, points: Tensor) -> Tensor:
        """`middle` of each point's gap, interpolated linearly in the plane."""
        _, rows, columns = self.middle.shape
        flat = torch.from_numpy(self.middle).to(points).flatten()
        cells = [((points[..., n] - self.origin[n]) / self.step[n]).clamp(0, size - 1)
                 for n, size in enumerate((columns, rows))]
        column, row = (cell.long() for cell in cells)
        x, y = cells[0] - column, cells[1] - row
        line, next_line = (gap * rows + row) * columns, (gap * rows + (row + 1).clamp(max=rows - 1)) * columns
        beside = (column + 1).clamp(max=columns - 1)
        return ((1 - y) * ((1 - x) * flat[line + column] + x * flat[line + beside])
                + y * ((1 - x) * flat[next_line + column] + x * flat[next_line + beside]))


def coarsened(errors: np.ndarray) -> np.ndarray:
    """Average [gap, row, column] errors over COARSENESS x COARSENESS pixels, or nearly."""
    rows, columns = (max(1, round(n / COARSENESS)) for n in errors.shape[1:])
    return np.stack([cv2.resize(error, (columns, rows), interpolation=cv2.INTER_AREA) for error in errors])
