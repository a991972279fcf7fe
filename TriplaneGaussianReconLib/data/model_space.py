"""The observed slices in the model's frame and units, all of them or those of a slab."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..config.data import GapSamplingConfig
from ..config.gaussians import ModelSpaceConfig
from ..errors import InputError
from .gap_sampling import gaps_with, plane_counts
from .geometry import Grid, PlaneStack
from .images import Segment
from .intensity import IntensityScale
from .masks import DataMask
from .observations import Observations
from .slabs import Slab


@dataclass(frozen=True)
class ModelSpaceStack:
    """Observed slices of one stack.

    Attributes:
        planes: Where they lie, in the model's frame.
        image: [plane, row, column] float32, model units.
        layers: [layer, plane, row, column] label values, or None.
        weights: [plane, row, column] float32 in [0, 1], how far to trust each pixel; None trusts all fully.
        labelled: (plane,) bool, which planes carry labels, see `SliceStack`; None where all do, or there are none.
    """

    planes: PlaneStack
    image: np.ndarray
    layers: np.ndarray | None
    weights: np.ndarray | None = None
    labelled: np.ndarray | None = None

    def cut(self, planes: slice, rows: slice = slice(None), columns: slice = slice(None)) -> ModelSpaceStack:
        """Return what lies at these indices; pixels are shared, not copied."""
        stack, image = self.planes, self.image[planes, rows, columns]
        first = np.array([rows.start or 0, columns.start or 0]) @ np.stack([stack.row_step, stack.column_step])
        return ModelSpaceStack(replace(stack, origins=stack.origins[planes] + first, rows=image.shape[1],
                                  columns=image.shape[2]),
                          image, None if self.layers is None else self.layers[:, planes, rows, columns],
                          None if self.weights is None else self.weights[planes, rows, columns],
                          None if self.labelled is None else self.labelled[planes])

    def between(self, low: float, high: float) -> ModelSpaceStack:
        """Return the smallest box of pixels that holds all at depths (mm) `low` to `high`; it may be empty."""
        depths = _depths_along(self.planes)
        ends = [(along.min(), along.max()) for along in depths]
        ranges = []
        for number, along in enumerate(depths):
            least, most = (sum(end[side] for n, end in enumerate(ends) if n != number) for side in (0, 1))
            within = np.flatnonzero((along + most >= low) & (along + least <= high))
            ranges.append(slice(within[0], within[-1] + 1) if len(within) else slice(0, 0))
        return self.cut(*ranges)


@dataclass(frozen=True)
class ModelSpaceData:
    """The observed slices of a reconstruction.

    Attributes:
        frame: (4, 4) rigid matrix from the model's frame to LPS mm, see `frame_of`.
        intensity: Between the model's units and those of the input.
        stacks: The first is the primary stack, ascending along z.
        segments: One per label; empty without labels.
        box: (2, 3) mm, lowest and highest corner of everything that is to be filled.
        pixel: mm, the smaller side of a pixel of the primary stack.
        thickness: mm, of the slices of the primary stack.
        step: mm, from one slice of the output to the next; a pixel where the output's slices do not lie on those of
            the primary stack.
        gap_sampling: On how many planes gaps are predicted.
        needed: (gap,) bool, which gaps are to be filled.
    """

    frame: np.ndarray
    intensity: IntensityScale
    stacks: tuple[ModelSpaceStack, ...]
    segments: tuple[Segment, ...]
    box: np.ndarray
    pixel: float
    thickness: float
    step: float
    gap_sampling: GapSamplingConfig
    needed: np.ndarray

    @property
    def plane_counts(self) -> np.ndarray:
        """(gap,) on how many planes each gap is predicted, 0 where it is not needed."""
        counts = plane_counts(np.diff(self.planes.offsets), self.pixel, self.step, self.gap_sampling)
        return np.where(self.needed, counts, 0)

    @property
    def pitches(self) -> tuple[float, float]:
        """Distance (mm) between rows, and between columns, of the primary stack."""
        return float(np.linalg.norm(self.planes.row_step)), float(np.linalg.norm(self.planes.column_step))

    @property
    def planes(self) -> PlaneStack:
        """The planes of the primary stack."""
        return self.stacks[0].planes

    @property
    def mask(self) -> DataMask | None:
        """Where the slices of the primary stack hold data; None where all do."""
        weights = self.stacks[0].weights
        return None if weights is None else DataMask(self.planes, weights > 0)

    @property
    def slices(self) -> np.ndarray:
        """The primary stack, [plane, row, column]."""
        return self.stacks[0].image

    @classmethod
    def of(cls, observations: Observations, output_grid: Grid, config: ModelSpaceConfig,
           gap_sampling: GapSamplingConfig, fills_all: bool = True) -> ModelSpaceData:
        """Bring `observations` into the model's frame and units.

        Args:
            observations: What was seen.
            output_grid: Where the result is wanted.
            config: What decides about units and output slices.
            gap_sampling: On how many planes gaps are predicted.
            fills_all: Whether gaps without any slice of the output are to be filled, too.

        Raises:
            InputError: If two slices of the primary stack coincide.
        """
        primary = observations.stacks[0].planes
        frame = frame_of(primary)
        to_local = np.linalg.inv(frame)
        intensity = IntensityScale.of([stack.pixels for stack in observations.stacks], config.robust_percentile,
                                      [stack.weights for stack in observations.stacks])
        stacks = tuple(ModelSpaceStack(stack.planes.transformed(to_local), intensity.to_model(stack.pixels),
                                       stack.layers, stack.weights, stack.labelled) for stack in observations.stacks)
        planes = stacks[0].planes
        if np.diff(planes.offsets).min() <= 0:
            raise InputError("Two of the slices to use lie at the same place. Exclude one of them.")
        corners = output_grid.index_to_physical(np.array([[i, j, k] for i in (0, output_grid.shape[2] - 1)
                                                          for j in (0, output_grid.shape[1] - 1)
                                                          for k in (0, output_grid.shape[0] - 1)]))
        corners = corners @ to_local[:3, :3].T + to_local[:3, 3]
        last = planes.origins + (primary.rows - 1) * planes.row_step + (primary.columns - 1) * planes.column_step
        everything = np.concatenate([corners, planes.origins, last])
        pixel = float(min(np.linalg.norm(primary.row_step), np.linalg.norm(primary.column_step)))
        step = _output_step(output_grid, to_local, float(planes.offsets[0]), config.slice_tolerance)
        needed = np.ones(len(planes) - 1, bool)
        if step is not None and not fills_all:
            needed = gaps_with(_output_depths(output_grid, frame), planes.offsets, config.slice_tolerance * step)
        return cls(frame, intensity, stacks, observations.segments,
                   np.stack([everything.min(axis=0), everything.max(axis=0)]), pixel,
                   observations.stacks[0].thickness or pixel, step or pixel, gap_sampling, needed)

    def near(self, slab: Slab) -> ModelSpaceData:
        """Return the data of `slab` and its halo; at the stack's own ends the box stays as it is."""
        if slab.near == (0, slab.count):
            return self
        first, last = slab.near
        box, depths = self.box.copy(), self.planes.offsets[[first, last]]
        box[0, 2], box[1, 2] = (own if at_end else cut for own, cut, at_end in zip(
            self.box[:, 2], depths, (first == 0, last == slab.count), strict=True))
        stacks = (self.stacks[0].cut(slice(first, last + 1)), *(s.between(*box[:, 2]) for s in self.stacks[1:]))
        return replace(self, stacks=stacks, box=box, needed=self.needed[first:last])


def frame_of(planes: PlaneStack) -> np.ndarray:
    """Return the (4, 4) rigid frame of a stack.

    x runs along the columns, z along the normal; the origin is pixel [0, 0] of plane 0.
    """
    x = planes.column_step / np.linalg.norm(planes.column_step)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([x, np.cross(planes.normal, x), planes.normal], axis=1)
    frame[:3, 3] = planes.origins[0]
    return frame


def _output_step(grid: Grid, to_local: np.ndarray, depth: float, tolerance: float) -> float | None:
    """Mm from one slice of `grid` to the next; None unless these lie on the model's planes, one of them at `depth`.

    to_local: (4, 4), from world coordinates to the model's frame.  tolerance: share of the step.
    """
    depths = to_local[2, :3] @ (np.asarray(grid.direction) * np.asarray(grid.spacing))  # of a step along each axis
    number = int(np.abs(depths).argmax())
    step = float(abs(depths[number]))
    first = float(to_local[2, :3] @ np.asarray(grid.origin) + to_local[2, 3])
    off = abs((depth - first) / step - round((depth - first) / step))
    slant = np.abs(np.delete(depths * (np.array(grid.shape[::-1]) - 1), number)).sum() / step
    return step if off + slant < tolerance else None


def _output_depths(grid: Grid, frame: np.ndarray) -> np.ndarray:
    """(slice,) mm, ascending: where the slices of `grid` lie that are parallel to those of the model."""
    axis = grid.axis_along(frame[:3, 2])
    planes = grid.planes(axis, np.arange(grid.count(axis))).transformed(np.linalg.inv(frame))
    return np.sort(planes.origins[:, 2])


def depth_range(planes: PlaneStack) -> np.ndarray:
    """Return (P, 2) mm, lowest and highest depth of each plane's pixels, for planes in the model's frame."""
    origins, rows, columns = _depths_along(planes)
    return np.stack([origins + rows.min() + columns.min(), origins + rows.max() + columns.max()], axis=1)


def depth_of_pixels(planes: PlaneStack) -> np.ndarray:
    """Return [plane, row, column] mm, the depth of every pixel, for planes in the model's frame."""
    origins, rows, columns = _depths_along(planes)
    return origins[:, None, None] + rows[:, None] + columns


def _depths_along(planes: PlaneStack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P,), (rows,), (columns,) mm: what plane, row and column add to a pixel's depth."""
    return (planes.origins[:, 2], np.arange(planes.rows) * planes.row_step[2],
            np.arange(planes.columns) * planes.column_step[2])
