"""Index space and physical space: regular grids and stacks of parallel planes.

World coordinates are LPS millimetres, as in SimpleITK.  Arrays are indexed [k, j, i], C-contiguous; `spacing`,
`origin` and `direction` follow SimpleITK's order, that is i, j, k.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

Axis = Literal["i", "j", "k"]
AXES: tuple[Axis, Axis, Axis] = ("i", "j", "k")
_ANATOMICAL = {"sagittal": 0, "coronal": 1, "axial": 2}  # the LPS axis that the slice normal is closest to
_LETTERS = ("RL", "AP", "IS")  # of each LPS axis: where its negative and its positive direction lead
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back: NIfTI and 3D Slicer work in RAS
_MOST_MOVED = 0.01  # voxels by which rounding in an affine matrix may have moved a corner of the volume


def array_axis(axis: Axis) -> int:
    """Return which dimension of an array [k, j, i] index axis `axis` is."""
    return 2 - AXES.index(axis)


def by(values: Sequence[float]) -> str:
    """Return sizes or spacings as people write them, `24 x 24 x 8`."""
    return " x ".join(f"{value:.6g}" for value in values)


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, so that what is derived from it can be kept
class PlaneStack:
    """Parallel planes of equal size, each sampled on a regular raster of rows x columns pixels.

    Pixel [r, c] of plane p lies at `origins[p] + r * row_step + c * column_step`.

    Attributes:
        origins: (P, 3) mm, centre of pixel [0, 0] of each plane.  Any order, any gaps.
        row_step: (3,) mm, from a pixel to its neighbour in the next row.
        column_step: (3,) mm, from a pixel to its neighbour in the next column.
        rows: how many rows each plane has.
        columns: how many columns each plane has.

    Raises:
        InputError: the step vectors have the same direction, or one of them has no length.
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

    `shape` follows arrays, [k, j, i]; `spacing`, `origin` and the columns of `direction` follow SimpleITK, that is
    i, j, k.  The short text of a grid gives sizes and spacings as i x j x k, then the letters of the directions that
    i, j and k lead to (L or R, P or A, S or I; the nearest ones where the grid is oblique) and the centre of the first
    voxel in LPS mm.

    Attributes:
        shape: (K, J, I) voxels.
        origin: (3,) mm LPS, centre of voxel [0, 0, 0].
        spacing: (3,) mm along i, j, k.
        direction: (3, 3), column n is the unit direction of index axis n (i, j, k) in LPS.
        depths: (K,) mm along k from the first slice to each, ascending from 0, where the slices lie unevenly; empty
            where they are even.  The spacing along k is then their usual distance.

    Raises:
        InputError: a size below one voxel, a spacing that is not positive, an unusable origin or direction, or depths
            that do not ascend from 0.

    Example:
        >>> from TriplaneGaussianReconLib import Grid
        >>> Grid(shape=(8, 24, 20), spacing=(1, 1, 4))
        Grid(20 x 24 x 8, 1 x 1 x 4 mm, LPS from (0, 0, 0))
    """

    shape: tuple[int, int, int]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    depths: tuple[float, ...] = ()

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
        object.__setattr__(self, "depths", tuple(float(x) for x in self.depths))
        if self.depths and not (len(self.depths) == self.shape[0] and self.depths[0] == 0.0
                                and np.isfinite(self.depths).all() and np.diff(self.depths).min(initial=1.0) > 0):
            raise InputError("The slices' depths must be one for each slice, ascending from 0. Correct them.")

    def __repr__(self) -> str:
        return f"Grid({by(self.size)}, {self.place})"

    @classmethod
    def from_affine(cls, affine: ArrayLike, shape: Sequence[int], sides: ArrayLike | None = None) -> Grid:
        """Return the grid of an affine matrix as NIfTI files and nibabel have it.

        Axes that rounding has tilted by a hair are brought back to right angles.

        Args:
            affine: (4, 4), from voxel index (i, j, k, 1) to RAS mm.
            shape: (K, J, I) voxels: the reverse of the shape of nibabel's array.
            sides: (3,) mm along i, j, k, as a header states them beside the matrix.  They are taken where the matrix
                says the same but for rounding.

        Raises:
            InputError: the axes are not at right angles, or the matrix has no usable spacing or direction.

        Example:
            >>> import numpy as np
            >>> from TriplaneGaussianReconLib import Grid
            >>> Grid.from_affine(np.diag([1.0, 1.0, 4.0, 1.0]), shape=(8, 24, 20))
            Grid(20 x 24 x 8, 1 x 1 x 4 mm, RAS from (0, 0, 0))
        """
        matrix = RAS_TO_LPS @ np.asarray(affine, np.float64).reshape(4, 4)
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
            raise InputError("The affine matrix gives no usable voxel spacing or direction. Correct it.")
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        axes = matrix[:3, :3] / spacing
        if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-6:
            left, _, right = np.linalg.svd(axes)
            axes = left @ right  # the nearest at right angles
        if sides is not None:  # they were rounded once, the columns of the matrix thrice
            spacing = np.where(np.isclose(spacing, sides, rtol=1e-5, atol=0.0), sides, spacing)
        planes, rows, columns = shape
        grid = cls((planes, rows, columns), tuple(matrix[:3, 3]), tuple(spacing), tuple(map(tuple, axes)))
        moved = grid.corners @ (grid.ijk_to_lps - matrix)[:3, :3].T  # the origin is that of the matrix
        if np.linalg.norm(moved, axis=1).max() > _MOST_MOVED * spacing.min():
            raise InputError("The axes are not at right angles (sheared voxels). Resample the volume onto a grid with "
                             "perpendicular axes first.")
        return grid

    @property
    def size(self) -> tuple[int, int, int]:
        """(I, J, K) voxels, in SimpleITK's order: the reverse of `shape`."""
        return self.shape[2], self.shape[1], self.shape[0]

    @property
    def place(self) -> str:
        """Spacing, axes and first voxel in a few words, as the short text has them."""
        direction, axes = np.asarray(self.direction), _nearest_axes(self.direction)
        letters = "".join(_LETTERS[lps][int(direction[lps, n] > 0)] for n, lps in enumerate(axes))
        is_straight = min(abs(direction[lps, n]) for n, lps in enumerate(axes)) > 0.9999
        first = ", ".join(f"{x:.5g}" for x in np.array(self.origin) + 0.0)  # no minus before 0
        spacing = f"{by(self.spacing)} mm{', uneven' if self.depths else ''}"
        return f"{spacing}, {'' if is_straight else 'oblique '}{letters} from ({first})"

    @property
    def ijk_to_lps(self) -> np.ndarray:
        """(4, 4) matrix from voxel index (i, j, k, 1) to LPS mm.  Raises InputError where slices lie unevenly."""
        if self.depths:
            raise InputError("The slices lie unevenly, so that no matrix tells where they are. Reconstruct an even "
                             "volume from them first.")
        matrix = np.eye(4)
        matrix[:3, :3] = self._steps
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def frame(self) -> np.ndarray:
        """(4, 4) from mm along the axes, from the first voxel on, to LPS mm."""
        frame = np.eye(4)
        frame[:3, :3], frame[:3, 3] = self.direction, self.origin
        return frame

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) matrix from voxel index (i, j, k, 1) to RAS mm, as nibabel and 3D Slicer have it."""
        return RAS_TO_LPS @ self.ijk_to_lps

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles."""
        axes = np.asarray(self.direction)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) indices (i, j, k) of the outermost voxels, voxel (0, 0, 0) first."""
        last = np.subtract(self.size, 1)
        return np.array(np.meshgrid(*([0, n] for n in last), indexing="ij"), np.float64).reshape(3, -1).T

    def index_to_physical(self, ijk: ArrayLike) -> np.ndarray:
        """Map (..., 3) indices (i, j, k), which may be fractional, to (..., 3) LPS mm."""
        return self._even_from(np.asarray(ijk, np.float64)) @ self._steps.T + np.asarray(self.origin)

    def physical_to_index(self, points: ArrayLike) -> np.ndarray:
        """Map (..., 3) LPS mm to (..., 3) continuous indices (i, j, k)."""
        even = (np.asarray(points, np.float64) - np.asarray(self.origin)) @ np.linalg.inv(self._steps).T
        if not self.depths:
            return even
        slices, depths = np.arange(float(len(self.depths))), np.asarray(self.depths) / self.spacing[2]
        even[..., 2] = _interpolated(even[..., 2], depths, slices)
        return even

    def count(self, axis: Axis) -> int:
        """Return the number of slices along `axis`."""
        return self.shape[array_axis(axis)]

    def extent(self, axis: Axis) -> float:
        """Return the distance (mm) from the centre of the first slice along `axis` to that of the last."""
        if self.depths and axis == "k":
            return self.depths[-1]
        return (self.count(axis) - 1) * self.spacing[AXES.index(axis)]

    def thickest_axis(self) -> Axis:
        """Return the axis of largest spacing; `k` unless another is larger by more than a per mille.

        Slices that lie unevenly do so along `k`, the axis along which they were made.
        """
        if self.depths:
            return "k"
        largest = int(np.argmax(self.spacing))
        return AXES[largest] if self.spacing[largest] > self.spacing[2] * 1.001 else "k"

    def named_axis(self, name: str) -> Axis:
        """Return the index axis that a name means.

        Args:
            name: i, j, k, or axial, coronal, sagittal for slices that lie about so; in capitals or not.

        Raises:
            InputError: any other name.

        Example:
            >>> from TriplaneGaussianReconLib import Grid
            >>> Grid((8, 24, 20)).named_axis("axial")
            'k'
        """
        known = name.lower()
        if known in AXES:
            return AXES[AXES.index(known)]
        if known not in _ANATOMICAL:
            raise InputError(f"Unknown slice axis '{name}'. Choose one of i, j, k, axial, coronal, sagittal.")
        return AXES[_nearest_axes(self.direction).index(_ANATOMICAL[known])]

    def axis_along(self, direction: ArrayLike) -> Axis:
        """Return the index axis nearest to a direction (3,) in LPS, whichever way that points."""
        return AXES[int(np.abs(np.asarray(self.direction).T @ np.asarray(direction)).argmax())]

    def cropped(self, axis: Axis, first: int, last: int) -> Grid:
        """Return the grid of the slices `first` to `last` along `axis`, both included."""
        number, shape, start = AXES.index(axis), list(self.shape), [0.0, 0.0, 0.0]
        shape[2 - number], start[number] = last - first + 1, float(first)
        depths = self.depths
        if depths and axis == "k":
            depths = tuple(depth - depths[first] for depth in depths[first:last + 1])
        return replace(self, shape=(shape[0], shape[1], shape[2]), origin=tuple(self.index_to_physical(start)),
                       depths=depths)

    def extended(self, axis: Axis, before: int, after: int) -> Grid:
        """Return an even grid with so many more slices before the first and after the last along `axis`."""
        number, shape, start = AXES.index(axis), list(self.shape), [0.0, 0.0, 0.0]
        shape[2 - number], start[number] = shape[2 - number] + before + after, float(-before)
        return replace(self, shape=(shape[0], shape[1], shape[2]), origin=tuple(self.index_to_physical(start)))

    def planes(self, axis: Axis, indices: ArrayLike) -> PlaneStack:
        """Return the slices at `indices`, which may be fractional, along `axis`.

        Rows and columns are the two other array axes in the order of [k, j, i], so that
        `np.take(array, n, array_axis(axis))` is the pixel array of slice n.
        """
        indices = np.asarray(indices, np.float64)
        number = AXES.index(axis)
        if self.depths and axis != "k":
            raise InputError(f"The slices along k lie unevenly, so that there are no slices along {axis}. Use those "
                             "along k.")
        columns, rows = (n for n in range(3) if n != number)
        corner = np.zeros((len(indices), 3))
        corner[:, number] = indices
        steps = self._steps
        return PlaneStack(self.index_to_physical(corner), steps[:, rows], steps[:, columns],
                          rows=self.shape[2 - rows], columns=self.shape[2 - columns])

    def resampled(self, axis: Axis, spacing: float) -> Grid:
        """Return the even grid with another spacing along `axis`, covering the same slice centres.

        The first slice stays where it is.  The last one lies at or just before the last one of this grid, or a
        thousandth of `spacing` behind it, since files keep spacings in single precision.

        Args:
            axis: i, j or k.
            spacing: mm.

        Raises:
            InputError: the spacing is not a positive number, or slices that lie unevenly lie along another axis.

        Example:
            >>> from TriplaneGaussianReconLib import Grid
            >>> Grid((8, 24, 20), spacing=(1, 1, 4)).resampled("k", 1.0)
            Grid(20 x 24 x 29, 1 x 1 x 1 mm, LPS from (0, 0, 0))
        """
        if not (np.isfinite(spacing) and spacing > 0):
            raise InputError(f"The slice spacing must be a positive number of millimetres, not {spacing}.")
        if self.depths and axis != "k":
            raise InputError(f"The slices lie unevenly along k. Choose that slice axis, not {axis}.")
        number = AXES.index(axis)
        count = int(np.floor(self.extent(axis) / spacing + 1e-3)) + 1
        shape, steps = list(self.shape), list(self.spacing)
        shape[2 - number], steps[number] = count, float(spacing)
        return replace(self, shape=(shape[0], shape[1], shape[2]), spacing=(steps[0], steps[1], steps[2]), depths=())

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Tell whether both grids have the same shape and the same place.

        Args:
            other: the grid to compare with.
            tolerance: by how many voxels each voxel of one may miss that of the other.
        """
        if self.shape != other.shape:
            return False
        voxels = np.concatenate([self.corners, [(0, 0, k) for k in range(self.shape[0])]])
        return bool(np.abs(self.physical_to_index(other.index_to_physical(voxels)) - voxels).max() <= tolerance)

    @property
    def _steps(self) -> np.ndarray:
        """(3, 3) mm, column n leads from a voxel to the next along index axis n; where slices are uneven, usually."""
        return np.asarray(self.direction) * np.asarray(self.spacing)

    def _even_from(self, ijk: np.ndarray) -> np.ndarray:
        """Return the indices that (..., 3) indices would have if the slices were even, at their usual distance."""
        if not self.depths:
            return ijk
        even = ijk.copy()
        slices, depths = np.arange(float(len(self.depths))), np.asarray(self.depths) / self.spacing[2]
        even[..., 2] = _interpolated(ijk[..., 2], slices, depths)
        return even


def _interpolated(x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Interpolate linearly; beyond the ends go on with a slope of 1."""
    return np.interp(x, xs, ys) + np.minimum(x - xs[0], 0.0) + np.maximum(x - xs[-1], 0.0)


def _nearest_axes(direction: ArrayLike) -> tuple[int, ...]:
    """(3,) which LPS axis each of i, j, k is closest to; each gets another one, in oblique volumes too."""
    cosines = np.abs(np.asarray(direction))
    return max(permutations(range(3)), key=lambda lps: sum(cosines[lps[n], n] for n in range(3)))
