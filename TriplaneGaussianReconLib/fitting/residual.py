"""How exactly the fitted Gaussians reproduce the observed slices."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..data.intensity import IntensityScale
from ..data.model_space import ModelSpaceStack, depth_of_pixels
from ..labels.channels import LabelChannels
from ..rendering.planes import image_of


@dataclass(frozen=True)
class Residual:
    """How far rendered pixels are from observed ones, as sums that can be added up; input units.

    Attributes:
        pixels: Number of pixels.
        absolute: Sum of the absolute differences.
        squared: Sum of the squared differences.
        largest: Largest absolute difference.
        labels: Number of label values that were compared.
        agreeing: How many of these agree.
    """

    pixels: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    largest: float = 0.0
    labels: int = 0
    agreeing: int = 0

    def __add__(self, other: Residual) -> Residual:
        return Residual(self.pixels + other.pixels, self.absolute + other.absolute, self.squared + other.squared,
                        max(self.largest, other.largest), self.labels + other.labels, self.agreeing + other.agreeing)


def residual_of(rasters: Iterable[tuple[slice, Tensor]], stack: ModelSpaceStack, span: tuple[float, float],
                scale: IntensityScale, channels: LabelChannels) -> Residual:
    """Compare what is rendered with what was observed, at depths (mm) within `span`.

    Args:
        rasters: Which planes of `stack`, and their [plane, channel, row, column].
        stack: The observed slices.
        span: Lowest depth and the depth above the highest, mm.
        scale: Between the model's units and those of the input.
        channels: Which channel is which label.
    """
    total = Residual()
    for indices, raster in rasters:
        depths = depth_of_pixels(stack.planes.subset(indices))
        inside = (depths >= span[0]) & (depths < span[1])
        if stack.weights is not None:
            inside &= stack.weights[indices] > 0
        difference = np.abs(image_of(raster, scale) - scale.to_input(stack.image[indices]))[inside]
        labels = agreeing = 0
        if stack.layers is not None and channels.segments:
            layers = stack.layers[:1 + max(s.layer for s in channels.segments), indices]
            known = inside if stack.labelled is None else inside & stack.labelled[indices, None, None]
            same = (channels.decode(raster, len(layers), layers.dtype) == layers)[:, known]
            labels, agreeing = same.size, int(same.sum())
        total += Residual(difference.size, float(difference.sum(dtype=np.float64)),
                          float(np.square(difference, dtype=np.float64).sum()), float(difference.max(initial=0.0)),
                          labels, agreeing)
    return total
