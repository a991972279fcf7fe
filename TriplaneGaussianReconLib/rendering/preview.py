"""A slice in the middle of the result, to look at while the rest is under way."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..data.geometry import Axis, Grid, PlaneStack
from ..data.model_space import ModelSpaceData, depth_range
from ..data.slabs import Slab
from ..prediction.ensemble import EnsembleWeights
from ..prediction.predict import predict
from ..registration.optical_flow import Correspondence
from ..runtime.memory import with_less_memory
from ..self_supervised.super_resolution import SuperResolution
from .volume import VolumeRenderer, slicing_axis


@dataclass(frozen=True)
class Preview:
    """A slice of the output grid.

    Attributes:
        image: [row, column] float32, input units.
        axis: Axis of the output grid that the slice lies across.
        index: Number of the slice along that axis.
    """

    image: np.ndarray
    axis: Axis
    index: int


class Previews:
    """Shows the slice of the output that lies nearest to the middle of the middle one of the gaps that are filled.

    It is shown twice: as expected, before any Gaussian is placed, and as it is in the result.
    """

    def __init__(self, show: Callable[[Preview], None], observed: ModelSpaceData, grid: Grid) -> None:
        """Choose the slice.

        Args:
            show: Called with each preview.
            observed: The observed slices, all of them.
            grid: Where the result is wanted.
        """
        offsets = observed.planes.offsets
        filled = np.flatnonzero(observed.needed)
        self._show, self._observed = show, observed
        self._gap = int(filled[len(filled) // 2]) if len(filled) else (len(offsets) - 1) // 2
        self._axis = slicing_axis(observed.frame, grid)
        planes = grid.planes(self._axis, np.arange(grid.count(self._axis))).transformed(np.linalg.inv(observed.frame))
        self._depths = depth_range(planes).mean(axis=1)
        self._index = int(np.abs(self._depths - offsets[self._gap:self._gap + 2].mean()).argmin())
        self._is_drawn = False
        self._same_pixels = _same_pixels(planes, observed.planes)

    def predicted(self, correspondence: Correspondence, ensemble: EnsembleWeights,
                  super_resolutions: Mapping[int, SuperResolution], device: torch.device) -> None:
        """Show what is expected.

        Nothing is shown if the output has other pixels than the observed slices, or if memory does not suffice.

        Args:
            correspondence: Displacement across all gaps.
            ensemble: How the predictions of the interpolators are mixed.
            super_resolutions: Number of planes in a gap -> network that fills such gaps.
            device: Where to compute.
        """
        if not self._same_pixels:
            return
        image = with_less_memory(lambda: self._expected(correspondence, ensemble, super_resolutions, device),
                                 lambda: None, device)
        if image is not None:
            self._show(Preview(self._observed.intensity.to_input(image), self._axis, self._index))

    def drawn(self, volume_renderer: VolumeRenderer) -> None:
        """Show what the result shows, once, if it is drawn yet."""
        image = volume_renderer.plane(self._index)
        if image is not None and not self._is_drawn:
            self._is_drawn = True
            self._show(Preview(image.astype(np.float32), self._axis, self._index))

    def _expected(self, correspondence: Correspondence, ensemble: EnsembleWeights,
                  super_resolutions: Mapping[int, SuperResolution], device: torch.device) -> np.ndarray | None:
        """[row, column] of the predicted plane nearest to the slice, model units."""
        slab = Slab(self._gap, self._gap + 1, len(self._observed.planes) - 1)
        observed, (first, last) = self._observed.near(slab), slab.near
        near = Correspondence(correspondence.displacement[first:last], correspondence.confidence[first:last])
        gap = predict(observed.planes, observed.slices, observed.plane_counts, near, ensemble, lambda done: None,
                      device, super_resolutions)[self._gap - first]
        nearest = int(np.abs(gap.planes.offsets - self._depths[self._index]).argmin())
        image: np.ndarray = gap.images[nearest].cpu().numpy()
        return image


def _same_pixels(planes: PlaneStack, others: PlaneStack) -> bool:
    """Whether the pixels of both stacks lie above each other, to a thousandth of a pixel over the whole plane."""
    if planes.shape[1:] != others.shape[1:]:
        return False
    ends = [np.stack([stack.origins[0], stack.origins[0] + (stack.rows - 1) * stack.row_step,
                      stack.origins[0] + (stack.columns - 1) * stack.column_step])[:, :2] for stack in (planes, others)]
    return bool(np.abs(ends[0] - ends[1]).max() < 1e-3 * np.linalg.norm(others.column_step))
