"""The expected absolute error of the result, anywhere between the observed slices."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..config.prediction import ExpectedErrorConfig

# These two belong to the model file, as what the values in it mean: no preset changes them.
# How steeply the error rises towards the middle of a gap: a quarter of the way through it is 0.81 of that in the
# middle, measured on eight public volumes with every fourth slice kept.
RISE = 0.3
# Beyond the outermost observed slices the error grows to so many times that half-way through the nearest gap.
FARTHEST = 4.0


@dataclass(frozen=True)
class ExpectedError:
    """Expected absolute error half-way through each gap, falling to `at_observed` on the observed slices.

    Attributes:
        middle: [gap, coarse row, coarse column] float32, input units.
        offsets: (plane,) mm, the observed slices along the model's depth axis, ascending.
        origin: (2,) mm, the centre of the first coarse cell, x (columns) and y (rows).
        step: (2,) mm between cells, likewise.
        at_observed: mean absolute residual on the observed slices, input units.
    """

    middle: np.ndarray
    offsets: np.ndarray
    origin: np.ndarray
    step: np.ndarray
    at_observed: float

    @classmethod
    def from_coarse(cls, coarse: np.ndarray, shape: Sequence[int], offsets: np.ndarray, pixel: np.ndarray,
                    at_observed: float) -> ExpectedError:
        """From errors that were averaged by `coarsened`.

        Args:
            coarse: [gap, coarse row, coarse column] errors half-way through each gap, input units.
            shape: (rows, columns) before they were averaged.
            offsets: (plane,) mm.
            pixel: (2,) mm, size of a pixel along x and y; the first is centred on x = y = 0.
            at_observed: input units.
        """
        step = np.array([shape[1] / coarse.shape[2], shape[0] / coarse.shape[1]]) * pixel
        return cls(coarse, offsets, 0.5 * (step - pixel), step, at_observed)

    def at(self, points: Tensor) -> Tensor:
        """Expected absolute error at any points.

        Beyond the first and last observed slice it keeps growing with the distance, from the value of the nearest gap.

        Args:
            points: (..., 3) mm in the model's frame.

        Returns:
            (...) float32 in input units, on the device of `points`.
        """
        depth, offsets = points[..., 2].contiguous(), torch.from_numpy(self.offsets).to(points)
        gap = (torch.searchsorted(offsets, depth, right=True) - 1).clamp(0, len(self.middle) - 1)
        before, after = offsets[gap], offsets[gap + 1]
        nearest = torch.minimum((depth - before).abs(), (depth - after).abs())
        distance = (2.0 * nearest / (after - before)).clamp(max=FARTHEST)
        share = torch.where(distance < 1.0, distance ** RISE, distance)
        middle = self._half_way(gap, points)
        return (self.at_observed + share * (middle - self.at_observed).clamp(min=0.0)).float()

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


def coarsened(errors: np.ndarray, config: ExpectedErrorConfig) -> np.ndarray:
    """Average errors [gap, row, column] over squares of about `config.coarseness` pixels a side."""
    rows, columns = (max(1, round(n / config.coarseness)) for n in errors.shape[1:])
    return np.stack([cv2.resize(error, (columns, rows), interpolation=cv2.INTER_AREA) for error in errors])
