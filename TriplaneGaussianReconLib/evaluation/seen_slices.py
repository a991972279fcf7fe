"""What thick slices would see: of a model, of a lattice solved by plain least squares, and of other stacks.

Everything returns pixels [plane, row, column]; they are NaN where there is nothing to see.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from ..data.geometry import Grid, PlaneStack
from ..data.observations import Observations, SliceStack
from ..data.slice_profile import ProfileGaussians
from ..data.stack_motion import StackMotion
from ..fitting.stack_solve import mean_of, solve
from ..fitting.stack_view import SEEN, SeenStack, Sight, profile_of, view
from ..gaussians.lattice import Lattice
from ..gaussians.slice_profile import averaged
from ..labels.channels import LabelChannels
from ..model.model import Model
from ..rasterizer.definitions import EPSILON
from ..rendering.renderer import Renderer
from ..rendering.thick_slices import thick_sums
from ..runtime.devices import SelectedDevice

_SIGMA, _CUTOFF = 0.45, 9.0  # of Gaussians on a lattice, in voxels; squared Mahalanobis distance where they end
_SMOOTHNESS, _NO_EDGE = 1e-3, 1e9  # of plain least squares: next to none, and edges are nothing special
_STEPS = (1, 40)  # of conjugate gradients
_DATA = 0.5  # of the weight of a pixel of full trust, from where it counts as data


def seen_of_model(model: Model, planes: PlaneStack, profile: ProfileGaussians, selected: SelectedDevice) -> np.ndarray:
    """Draw a model through the profile of slices, in units of the input; planes: LPS mm."""
    renderer = Renderer(model.mode, model.cutoff, selected.backend, LabelChannels(model.segments).count)
    local, cloud = model.local(planes), model.parameters.to(selected.device).drawn()
    normal = torch.from_numpy(local.normal)
    with torch.no_grad():
        sums = thick_sums(renderer, averaged(cloud, normal, profile.sigma), local, profile).cpu()
    weights = sums[:, -1]
    usual = weights[weights > 0].median() if (weights > 0).any() else weights.max()
    image = model.intensity.to_input((sums[:, 0] / (weights + EPSILON) + model.intensity.background).numpy())
    return np.where(weights.numpy() > SEEN * float(usual), image, np.nan)


def seen_by_least_squares(observations: Observations, motions: Sequence[StackMotion], grid: Grid, wanted: SliceStack,
                          motion: StackMotion, selected: SelectedDevice) -> np.ndarray:
    """Solve for Gaussians on cubic voxels by plain least squares, and draw them through the profile of slices.

    Args:
        observations: what they are solved for.
        motions: of each stack.
        grid: the voxels.
        wanted: the slices to see; their pixels are not looked at.
        motion: of these.
        selected: where to compute.
    """
    pitch = float(min(grid.spacing))
    lattice = Lattice(grid.shape, pitch, _SIGMA * pitch, _CUTOFF)
    lowest, highest = observations.intensity_range

    def sight(stack: SliceStack, moved: StackMotion) -> Sight:
        grey = ((stack.pixels - moved.bias) / moved.gain - lowest) / (highest - lowest)
        weights = np.ones(stack.pixels.shape) if stack.weights is None else stack.weights
        image, trust = (torch.from_numpy(a.astype(np.float32)).to(selected.device) for a in (grey, weights))
        planes = moved.placed(stack.planes).transformed(np.linalg.inv(grid.frame))
        seen = SeenStack(planes, image, trust, profile_of(stack, pitch))
        return Sight.of(view(seen, lattice, "cuda" if selected.device.type == "cuda" else "cpu"))

    sights = [sight(stack, moved) for stack, moved in zip(observations.stacks, motions, strict=True)]
    values = solve(sights, mean_of(sights), _SMOOTHNESS, _NO_EDGE, _STEPS, lambda step, steps, loss=None: None)
    through = sight(replace(wanted, weights=None), motion)
    image = through.view.seen(values).cpu().numpy() * (highest - lowest) + lowest
    return np.where(through.weights.cpu().numpy() > 0, image.clip(lowest, highest), np.nan)


def seen_by_cubic(stack: SliceStack, points: np.ndarray) -> np.ndarray:
    """Interpolate a stack by cubic splines; points: (..., 3) where its header has its slices, LPS mm."""
    planes, numbers = stack.planes, np.arange(float(len(stack.planes)))
    to_plane = np.linalg.inv(np.stack([planes.row_step, planes.column_step, planes.normal], axis=1))
    in_plane = ((points - planes.origins[0]) @ to_plane.T)[..., :2]
    depths = points @ planes.normal
    edge = 0.5 * (stack.thickness or 0.0)
    index = np.stack([np.interp(depths, planes.offsets, numbers), in_plane[..., 0], in_plane[..., 1]])
    last = np.array(planes.shape).reshape(3, *[1] * depths.ndim) - 1.0
    inside = ((depths > planes.offsets[0] - edge) & (depths < planes.offsets[-1] + edge)
              & (np.abs(index - 0.5 * last) < 0.5 * last + 0.5).all(axis=0))
    values = map_coordinates(stack.pixels.astype(np.float64), index, order=3, mode="nearest")
    weights = np.ones(stack.pixels.shape) if stack.weights is None else stack.weights.astype(np.float64)
    inside &= map_coordinates(weights, index, order=1, mode="nearest") > _DATA
    return np.where(inside, values, np.nan)
