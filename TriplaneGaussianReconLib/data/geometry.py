"""Index space and physical space: regular grids and stacks of parallel planes.

World coordinates are LPS millimetres, as in SimpleITK.  Arrays are indexed [k, j, i], C-contiguous; `spacing`,
`origin` and `direction` follow SimpleITK's order, that is i, j, k.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import InputError

Axis = Literal["i", "j", "k"]
AXES: tuple[Axis, Axis, Axis] = ("i", "j", "k")
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])  # factors of a point's coordinates, and back
_ANATOMICAL = {"sagittal": 0, "coronal": 1, "axial": 2}  # the LPS axis that the slice normal is closest to


def array_axis(axis: Axis) -> int:
    """Return which dimension of an array [k, j, i] index axis `axis` is."""
    return 2 - AXES.index(axis)


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, so that what is derived from it can be kept
class PlaneStack:
    """Parallel planes of equal size, each sampled on a regular raster of rows x columns pixels.

    origins: (P, 3) mm, centre of pixel [0, 0] of each plane; any order, any gaps.
    row_step, column_step: (3,) mm, from a pixel to its neighbour in the next row / next column.
    Pixel [r, c] of plane p lies at `origins[p] + r * row_step + c * column_step`.
    """

    origins: np.ndarray
    row_step: np.ndarray
    column_step: np.ndarray
    rows: int
    columns: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "origins", np.asarray(self.origins, np.float64).reshape(-1, 3))
        object.__setattr__(self, "row_step", np.asarray(self.row_step, np.float64).reshape(3))
        object.__setattr__(self, "column_step", np.asarray(self.column_step, np.float64).reshape(3))
        if not np.linalg.norm(np.cross(self.column_step, self.row_step)) > 0:
            raise InputError("A plane needs two step vectors of different direction and positive length.")

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns)."""
        return len(self), self.rows, self.columns

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit normal, `column_step` x `row_step`."""
        normal = np.cross(self.column_step, self.row_step)
        return normal / np.linalg.norm(normal)

    @property
    def offsets(self) -> np.ndarray:
        """(P,) mm, signed position of each plane along `normal`."""
        return self.origins @ self.normal

    def points(self, as_array: Callable[[np.ndarray], Any] = np.asarray) -> Any:
        """Return (P, rows, columns, 3) mm, the centres of all pixels, float64.

        Args:
            as_array: Converts an array to that of another library, or moves it to another device, where the points
                are then computed.  The default leaves it as it is.

        Example:
            >>> PlaneStack([[5, 0, 0]], row_step=[0, 2, 0], column_step=[1, 0, 0], rows=2, columns=3).points()[0, 1, 2]
            array([7., 2., 0.])
        """
        rows = np.arange(self.rows)[:, None] * self.row_step
        columns = np.arange(self.columns)[:, None] * self.column_step
        return as_array(self.origins)[:, None, None] + as_array(rows)[:, None] + as_array(columns)

    def subset(self, indices: np.ndarray | slice) -> PlaneStack:
        """Return the planes at `indices`."""
        return replace(self, origins=self.origins[indices])

    def transformed(self, matrix: np.ndarray) -> PlaneStack:
        """Return the stack under a 4x4 affine `matrix`."""
        linear = matrix[:3, :3]
        return replace(self, origins=self.origins @ linear.T + matrix[:3, 3],
                       row_step=linear @ self.row_step, column_step=linear @ self.column_step)


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid in world space.

    shape: (K, J, I) voxels.  origin: (3,) mm LPS, centre of voxel [0, 0, 0].  spacing: (3,) mm along i, j, k.
    direction: (3, 3), column n is the unit direction of index axis n (i, j, k) in LPS.
    """

    shape: tuple[int, int, int]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def __post_init__(self) -> None:
        direction = np.asarray(self.direction, np.float64).reshape(3, 3)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "origin", tuple(float(x) for x in self.origin))
        object.__setattr__(self, "spacing", tuple(float(x) for x in self.spacing))
        object.__setattr__(self, "direction", tuple(tuple(float(x) for x in row) for row in direction))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"A volume needs three dimensions of at least one voxel, not {self.shape}.")
        if not (np.isfinite(self.spacing).all() and min(self.spacing) > 0):
            raise InputError(f"Voxel spacing must be positive and finite, not {self.spacing} mm. Correct the header.")
        finite = np.isfinite(self.origin).all() and np.isfinite(direction).all()
        if not finite or abs(np.linalg.det(direction)) <= 1e-6:
            raise InputError("The volume's origin or direction is not usable. Correct the header.")

    @property
    def ijk_to_lps(self) -> np.ndarray:
        """(4, 4) matrix from voxel index (i, j, k) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def index_to_physical(self, ijk: np.ndarray) -> np.ndarray:
        """Map (..., 3) indices (i, j, k) to (..., 3) LPS mm."""
        matrix = self.ijk_to_lps
        return np.asarray(ijk, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    def physical_to_index(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 3) LPS mm to (..., 3) continuous indices (i, j, k)."""
        matrix = np.linalg.inv(self.ijk_to_lps)
        return np.asarray(points, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    def count(self, axis: Axis) -> int:
        """Number of slices along `axis`."""
        return self.shape[array_axis(axis)]

    def thickest_axis(self) -> Axis:
        """The axis of largest spacing; `k` unless another is larger by more than a per mille."""
        largest = int(np.argmax(self.spacing))
        return AXES[largest] if self.spacing[largest] > self.spacing[2] * 1.001 else "k"

    def named_axis(self, name: str) -> Axis:
        """Return the index axis called `name`: i, j, k, or axial, coronal, sagittal (nearest to that LPS axis); K is k.

        Raises InputError for any other name.
        """
        known = name.lower()
        if known in AXES:
            return AXES[AXES.index(known)]
        if known not in _ANATOMICAL:
            raise InputError(f"Unknown slice axis '{name}'. Choose one of i, j, k, axial, coronal, sagittal.")
        # Each index axis gets the anatomical axis that it alone is closest to, also in oblique volumes.
        from itertools import permutations

        cosines = np.abs(np.asarray(self.direction))
        best = max(permutations(range(3)), key=lambda lps: sum(cosines[lps[n], n] for n in range(3)))
        return AXES[best.index(_ANATOMICAL[known])]

    def planes(self, axis: Axis, indices: np.ndarray) -> PlaneStack:
        """Return the slices at `indices` (may be fractional) along `axis`.

        Rows and columns are the two other array axes in the order of [k, j, i], so that
        `np.take(array, n, array_axis(axis))` is the pixel array of slice n.
        """
        indices = np.asarray(indices, np.float64)
        number = AXES.index(axis)
        columns, rows = (n for n in range(3) if n != number)
        corner = np.zeros((len(indices), 3))
        corner[:, number] = indices
        steps = self.ijk_to_lps[:3, :3]
        return PlaneStack(self.index_to_physical(corner), steps[:, rows], steps[:, columns],
                          rows=self.shape[2 - rows], columns=self.shape[2 - columns])

    def resampled(self, axis: Axis, spacing: float) -> Grid:
        """Return the grid with another `spacing` (mm) along `axis`, covering the same slice centres.

        The first slice stays where it is; the last lies at or just before the last one of this grid, or a thousandth
        of `spacing` behind it: files keep spacings in single precision.
        """
        if not (np.isfinite(spacing) and spacing > 0):
            raise InputError(f"The slice spacing must be a positive number of millimetres, not {spacing}.")
        number = AXES.index(axis)
        count = int(np.floor((self.count(axis) - 1) * self.spacing[number] / spacing + 1e-3)) + 1
        shape, steps = list(self.shape), list(self.spacing)
        shape[2 - number], steps[number] = count, float(spacing)
        return replace(self, shape=(shape[0], shape[1], shape[2]), spacing=(steps[0], steps[1], steps[2]))

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same shape and place every voxel within `tolerance` voxels of each other."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k] for i in (0, self.shape[2] - 1) for j in (0, self.shape[1] - 1)
                            for k in (0, self.shape[0] - 1)], np.float64)
        return bool(np.abs(self.physical_to_index(other.index_to_physical(corners)) - corners).max() <= tolerance)
