"""What a program that shows a result needs to know of its voxels, found where they are made."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.json_fields import real, sequence

_LOOKED_AT = 64  # voxels along each axis, about, that `high` is found from


@dataclass(frozen=True)
class VoxelStatistics:
    """Figures of an array [k, j, i], in its unit.

    Attributes:
        high: What one voxel in a hundred exceeds.
        means: Of the slices across k, j and i, each in order.
    """

    high: float
    means: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, array: np.ndarray) -> VoxelStatistics:
        """Find them in an array [k, j, i].

        Example:
            >>> VoxelStatistics.of(np.arange(4.0).reshape(1, 2, 2)).means
            ((1.5,), (0.5, 2.5), (1.0, 2.0))
        """
        few = array[tuple(slice(None, None, 1 + n // _LOOKED_AT) for n in array.shape)]
        sums = [np.zeros(size) for size in array.shape]
        for number, plane in enumerate(array):  # one at a time: no copy of the array is made
            rows, columns = plane.sum(axis=1, dtype=np.float64), plane.sum(axis=0, dtype=np.float64)
            sums[0][number] = rows.sum()
            sums[1] += rows
            sums[2] += columns
        return cls(float(np.quantile(few, 0.99)),
                   tuple(tuple((each * len(each) / array.size).tolist()) for each in sums))

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return {"high": self.high, "means": self.means}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VoxelStatistics:
        """Read what `to_json` returned; raises KeyError, TypeError or ValueError for anything else."""
        means = tuple(tuple(real({"means": mean}, "means") for mean in each) for each in sequence(content, "means"))
        if len(means) != 3:
            raise ValueError("means are not those along three axes")
        return cls(real(content, "high"), means)
