"""Refining the values of Gaussians until they draw the planes that they lie on."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.geometry import PlaneStack
from ..data.model_space import ModelSpaceStack
from ..gaussians.cloud import GaussianParameters, Gaussians
from ..rendering.renderer import Renderer
from ..runtime.image_operations import constants, transferred
from ..runtime.progress import Tick
from ..self_supervised.optimizers import LatestKnown


@dataclass(frozen=True)
class WantedLayers:
    """What Gaussians that lie on the pixels of layers are to draw there, in the model's frame and units.

    Attributes:
        planes: Where the layers lie, ascending along z.
        images: [layer, row, column], background subtracted.
        weights: [layer, row, column] how far to trust each pixel, from 0 to 1; None trusts all fully.
        crossing: Observed slices of other orientations; their pixels belong to the Gaussians nearest to them.
        background: Of the images of `crossing`, from which it is not subtracted.
    """

    planes: PlaneStack
    images: Tensor
    weights: Tensor | None = None
    crossing: Sequence[ModelSpaceStack] = ()
    background: float = 0.0


def refine(parameters: GaussianParameters, wanted: WantedLayers, renderer: Renderer, steps: int, tick: Tick
           ) -> GaussianParameters:
    """Add to the value of each Gaussian what its pixel lacks, several times.

    A Gaussian is little wider than its pixel, so that the matrix from values to pixels is nearly the identity: its
    rows add up to 1 in the mode `normalised`, and its eigenvalues lie near 1.  So Richardson's iteration with steps of
    length 1 suffices (Saad, Iterative Methods for Sparse Linear Systems, 4.2.1): each takes most of what is lacking.
    Nothing is differentiated, and a slab is refined as it would be in the whole.

    Args:
        parameters: Gaussians whose first slot is the image.
        wanted: What they are to draw.
        renderer: How to draw, in a linear mode.
        steps: Number of steps.
        tick: Called before every step with the latest known loss; may raise to stop.
    """
    with torch.no_grad():
        gaussians, values = parameters.drawn().image_only(), parameters.values.clone()
        pixels = own_pixels(parameters.centres, wanted.planes)
        crossed = [_Crossed.of(stack, pixels, wanted) for stack in wanted.crossing]
        loss = LatestKnown(values.device)
        for step in range(steps):
            tick(step, steps, loss.value())
            drawn = replace(gaussians, values=values[:, :1].contiguous())
            lacking, squared = _lacking(drawn, wanted, renderer, pixels)
            loss.note(squared)
            values[:, 0] += _with_crossed(lacking, drawn, crossed, renderer)
    return replace(parameters, values=values)


def own_pixels(centres: Tensor, planes: PlaneStack) -> Tensor:
    """(N,) int32: number of the pixel of `planes`, all counted one after another, that each Gaussian lies on.

    Those on none, as in the margin, have the number after the last.
    """
    number, off = _nearest_pixels(centres, planes)
    on_layer = off < 1e-2 * float(np.linalg.norm(planes.column_step))
    return torch.where(on_layer, number, len(planes) * planes.rows * planes.columns).int()


def _nearest_pixels(points: Tensor, planes: PlaneStack) -> tuple[Tensor, Tensor]:
    """(n,) the pixel nearest to each of `points` (n, 3) on the layer nearest to it, and how far (mm) that layer is.

    Pixels are counted as in `own_pixels`; points beside their layer have the number after the last.
    """
    depths = planes.origins[:, 2]
    borders = transferred(0.5 * (depths[1:] + depths[:-1]), points.device).to(points.dtype)
    layer = torch.bucketize(points[:, 2].contiguous(), borders)
    to_pixels = constants(np.linalg.inv(np.stack([planes.column_step[:2], planes.row_step[:2]])), points.device)
    apart = points - constants(planes.origins, points.device)[layer]
    column = apart[:, 0] * to_pixels[0, 0] + apart[:, 1] * to_pixels[1, 0]
    row = apart[:, 0] * to_pixels[0, 1] + apart[:, 1] * to_pixels[1, 1]
    row, column = row.round().long(), column.round().long()
    inside = (row >= 0) & (row < planes.rows) & (column >= 0) & (column < planes.columns)
    number = torch.where(inside, (layer * planes.rows + row) * planes.columns + column,
                         len(planes) * planes.rows * planes.columns)
    return number, apart[:, 2].abs()


def _lacking(drawn: Gaussians, wanted: WantedLayers, renderer: Renderer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) what the pixel of each Gaussian lacks, and the mean squared lack of all pixels."""
    planes = wanted.planes
    size = planes.rows * planes.columns
    missing = drawn.values.new_zeros(len(planes) * size + 1)  # the last one is for Gaussians on no pixel
    for some, raster in renderer.in_chunks(drawn, planes):
        lack = wanted.images[some] - raster[:, 0]
        if wanted.weights is not None:
            lack *= wanted.weights[some]
        missing[some.start * size:some.stop * size] = lack.flatten()
    return missing.index_select(0, pixels), (missing ** 2).mean()


@dataclass(frozen=True)
class _Crossed:
    """A stack of another orientation.

    nearest: (n,) the Gaussian nearest to each of its pixels `which` (n,), which hold data and have one.
    """

    stack: ModelSpaceStack
    background: float
    which: np.ndarray
    nearest: np.ndarray

    @classmethod
    def of(cls, stack: ModelSpaceStack, pixels: Tensor, wanted: WantedLayers) -> _Crossed:
        planes = wanted.planes
        gaussians = np.full(len(planes) * planes.rows * planes.columns + 1, -1)
        gaussians[pixels.cpu().numpy()] = np.arange(len(pixels))
        gaussians[-1] = -1
        number, _ = _nearest_pixels(torch.from_numpy(stack.planes.points().reshape(-1, 3)), planes)
        nearest = gaussians[number.numpy()]
        held = nearest >= 0
        if stack.weights is not None:
            held &= stack.weights.ravel() > 0
        return cls(stack, wanted.background, np.flatnonzero(held), nearest[held])

    def lacking(self, drawn: Gaussians, renderer: Renderer) -> np.ndarray:
        """(n,) what its pixels lack."""
        image = renderer(drawn, self.stack.planes)[:, 0].cpu().numpy()
        difference: np.ndarray = (self.stack.image - self.background - image).ravel()[self.which]
        return difference


def _with_crossed(lacking: Tensor, drawn: Gaussians, crossed: Sequence[_Crossed], renderer: Renderer) -> Tensor:
    """(N,) the mean of what the pixel of each Gaussian lacks, and the pixels of other orientations nearest to it."""
    if not crossed:
        return lacking
    # On the host, where sums are taken in a fixed order.
    total, count = lacking.cpu().numpy().astype(np.float64), np.ones(len(lacking))
    for stack in crossed:
        total += np.bincount(stack.nearest, stack.lacking(drawn, renderer), minlength=len(total))
        count += np.bincount(stack.nearest, minlength=len(total))
    return transferred(total / count, lacking.device).to(lacking.dtype)
