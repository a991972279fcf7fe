"""A model on every voxel of a grid, in one call."""
from __future__ import annotations

import numpy as np
import torch

from TriplaneGaussianReconLib.config.names import Backend
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.model.model import Model
from TriplaneGaussianReconLib.rendering.planes import RenderedPlanes
from TriplaneGaussianReconLib.rendering.volume import VolumeRenderer


def draw_grid(model: Model, grid: Grid, backend: Backend) -> RenderedPlanes:
    """Draw `model` on `grid`; arrays are [k, j, i] (layers: [layer, k, j, i])."""
    volume_renderer = VolumeRenderer(model, grid, model.intensity.dtype)
    volume_renderer.advance(model.shards, np.inf, backend, torch.device("cpu"))
    return RenderedPlanes(volume_renderer.volume, volume_renderer.layers)
