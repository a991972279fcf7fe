"""A slice in the middle of the result, to be looked at while the rest is under way."""
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
from ..runtime.memory import is_lack
from ..self_supervised.super_resolution import SuperResolution
from .rendering import VolumeRenderer, slicing_axis


@dataclass(frozen=True)
class Preview:
    """A slice of the output grid.

    image: [row, column] float32, input units.  axis, index: which slice it is.  is_final: whether it is what the result
    shows there; if not, it is what is expected there before any Gaussian is placed.
    """

    image: np.ndarray
    axis: Axis
    index: int
    is_final: bool


class Previews:
    """Shows the slice of the output that lies nearest to the middle of the middle gap, as soon as there is one."""

    def __init__(self, show: Callable[[Preview], None], trusted: ModelSpaceData, grid: Grid) -> None:
        offsets = trusted.planes.offsets
        self._show, self._trusted, self._gap = show, trusted, (len(offsets) - 1) // 2
        self._axis = slicing_axis(trusted.frame, grid)
        planes = grid.planes(self._axis, np.arange(grid.count(self._axis))).transformed(np.linalg.inv(trusted.frame))
        self._depths = depth_range(planes).mean(axis=1)
        self._index = int(np.abs(self._depths - offsets[self._gap:self._gap + 2].mean()).argmin())
        self._is_drawn = False
        self._same_pixels = _same_pixels(planes, trusted.planes)

    def predicted(self, found: Correspondence, ensemble: EnsembleWeights, priors: Mapping[int, SuperResolution],
                  device: torch.device) -> None:
        """Show what is expected there, unless the output has other pixels than the trusted slices.

        Where memory does not suffice nothing is shown.
        """
        if not self._same_pixels:
            return
        slab = Slab(self._gap, self._gap + 1, len(self._trusted.planes) - 1)
        trusted, (first, last) = self._trusted.near(slab), slab.near
        near = Correspondence(found.displacement[first:last], found.confidence[first:last])
        try:
            gap = predict(trusted.planes, trusted.slices, trusted.plane_counts, near, ensemble, lambda done: None,
                          device, priors)[self._gap - first]
            nearest = int(np.abs(gap.planes.offsets - self._depths[self._index]).argmin())
            image = gap.images[nearest].cpu().numpy()
        except (MemoryError, RuntimeError) as error:
            if not is_lack(error):
                raise
            return
        self._show(Preview(trusted.intensity.to_input(image), self._axis, self._index, False))

    def drawn(self, volume_renderer: VolumeRenderer) -> None:
        """Show what the result shows there, once, if `volume_renderer` has it."""
        image = volume_renderer.plane(self._index)
        if image is not None and not self._is_drawn:
            self._is_drawn = True
            self._show(Preview(image.astype(np.float32), self._axis, self._index, True))


def _same_pixels(planes: PlaneStack, others: PlaneStack) -> bool:
    """Whether the pixels of both stacks lie above each other, to a thousandth of a pixel over the whole plane."""
    if planes.shape[1:] != others.shape[1:]:
        return False
    ends = [np.stack([stack.origins[0], stack.origins[0] + (stack.rows - 1) * stack.row_step,
                      stack.origins[0] + (stack.columns - 1) * stack.column_step])[:, :2] for stack in (planes, others)]
    return bool(np.abs(ends[0] - ends[1]).max() < 1e-3 * np.linalg.norm(others.column_step))
