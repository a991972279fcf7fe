"""How far to trust the result: the expected absolute error anywhere between the trusted slices."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

# Errors vary slowly; one value per so many pixels keeps the model small.
COARSENESS = 4
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

    def at(self, points: np.ndarray) -> np.ndarray:
        """Expected absolute error at `points` (rows, columns, 3) mm in the model's frame; input units, float32.

        Beyond the first and last trusted slice it keeps growing with the distance, from the value of the nearest gap.
        """
        depth = points[..., 2]
        gap = np.clip(np.searchsorted(self.offsets, depth, side="right") - 1, 0, len(self.middle) - 1)
        nearest = np.minimum(np.abs(depth - self.offsets[gap]), np.abs(depth - self.offsets[gap + 1]))
        share = np.minimum(2.0 * nearest / (self.offsets[gap + 1] - self.offsets[gap]), FARTHEST)
        at_x, at_y = ((points[..., n] - self.origin[n]) / self.step[n] for n in (0, 1))
        middle = np.zeros(depth.shape, np.float32)
        for number in np.unique(gap):
            here = gap == number
            middle[here] = map_coordinates(self.middle[number], [at_y[here], at_x[here]], order=1, mode="nearest")
        return (self.at_trusted + share * np.maximum(middle - self.at_trusted, 0.0)).astype(np.float32)


def coarsened(errors: np.ndarray) -> np.ndarray:
    """Average [gap, row, column] errors over COARSENESS x COARSENESS pixels, or nearly."""
    rows, columns = (max(1, round(n / COARSENESS)) for n in errors.shape[1:])
    return np.stack([cv2.resize(error, (columns, rows), interpolation=cv2.INTER_AREA) for error in errors])
