"""Where Gaussians start."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .correspondence import Correspondence, warp
from .gaussians import GaussianParameters
from .geometry import PlaneStack

# Gaussians are placed so many pixels beyond the image, so that structures that move inwards leave no hole.
MARGIN = 2
# A pixel counts as background when it differs by less than this (model units) from it.
FLAT = 1e-3
# Background closer than this (pixels) to anything else keeps its Gaussians.
REACH = 3


@dataclass(frozen=True)
class Gaps:
    """What is known about the space between the trusted slices, in the model's frame and units.

    planes: the trusted slices, ascending along z.  slices: [plane, row, column].
    found: the displacement across each gap.
    predictions: per gap [n, row, column] at the fractions 1/(n + 1), ..., n/(n + 1) of its width; n = 2 L - 1 for L
        layers of Gaussians, which lie at the odd ones.
    background: the value where nothing is.  occupied: [plane, row, column] bool, where labels are, or None.
    """

    planes: PlaneStack
    slices: np.ndarray
    found: Correspondence
    predictions: tuple[np.ndarray, ...]
    background: float
    occupied: np.ndarray | None = None


def layer_count(width: float, pixel: float) -> int:
    """How many layers of Gaussians a gap of `width` mm gets for pixels of `pixel` mm.

    A layer follows a linear course in depth, over the distance from one slice of the output to the next but one.
    """
    return 1 if width < 2.5 * pixel else 2


def along_displacement(gaps: Gaps, in_plane_sigma: float, depth_sigma: float, depth_range: tuple[float, float]
                       ) -> GaussianParameters:
    """Place layers of Gaussians, one per pixel, in each gap, tilted along the displacement, and on each trusted slice,
    so that what was seen and what was predicted do not compete.

    in_plane_sigma: pixels.  depth_sigma: distances between a trusted slice and the next layer.
    depth_range: (lowest, highest) z in mm to cover; beyond the outermost trusted slices these are repeated.
    Where everything is background no Gaussian is placed.
    """
    offsets, widths = gaps.planes.offsets, np.diff(gaps.planes.offsets)
    pitch = np.array([width / (len(p) + 1) for width, p in zip(widths, gaps.predictions, strict=True)])
    layers = [_between(gaps, gap, at, in_plane_sigma, depth_sigma * pitch[gap])
              for gap, predicted in enumerate(gaps.predictions) for at in range(0, len(predicted), 2)]
    for plane in range(len(offsets)):
        nearer = pitch[max(plane - 1, 0):plane + 1].min()
        layers.append(_copied(gaps, plane, 0.0, in_plane_sigma, depth_sigma * nearer))
    for plane, width, beyond, direction in ((0, widths[0], offsets[0] - depth_range[0], -1.0),
                                            (len(offsets) - 1, widths[-1], depth_range[1] - offsets[-1], 1.0)):
        for number in range(int(np.ceil(beyond / width - 1e-3))):
            layers.append(_copied(gaps, plane, direction * (number + 0.5) * width, in_plane_sigma,
                                  0.5 * depth_sigma * width))
    return GaussianParameters(**{name: torch.cat([layer[name] for layer in layers]) for name in layers[0]})


def _between(gaps: Gaps, gap: int, at: int, in_plane_sigma: float, depth_sigma: float) -> dict[str, torch.Tensor]:
    """The Gaussians at prediction number `at` of one gap."""
    planes = gaps.planes
    across = planes.origins[gap + 1] - planes.origins[gap]
    course = [gaps.slices[gap], *gaps.predictions[gap], gaps.slices[gap + 1]]
    step = 1.0 / (len(course) - 1)
    displacement = gaps.found.gated_at(gap)
    before, here, after = course[at], course[at + 1], course[at + 2]
    trend = warp(after, displacement, step) - warp(before, displacement, -step)
    to_mm = np.stack([planes.column_step[:2], planes.row_step[:2]]).astype(np.float32)
    tilts = (displacement @ to_mm + across[:2].astype(np.float32)) / np.float32(across[2])
    wanted = _differs(gaps, before) | _differs(gaps, here) | _differs(gaps, after)
    if gaps.occupied is not None:
        wanted |= gaps.occupied[gap] | gaps.occupied[gap + 1]
    return _place(gaps, planes.origins[gap] + (at + 1) * step * across, here, tilts,
                  trend / np.float32(2 * step * across[2]), wanted, in_plane_sigma, depth_sigma)


def _copied(gaps: Gaps, plane: int, shift: float, in_plane_sigma: float, depth_sigma: float
            ) -> dict[str, torch.Tensor]:
    """The Gaussians of one trusted slice, placed `shift` mm from it along z."""
    image = gaps.slices[plane]
    wanted = _differs(gaps, image)
    if gaps.occupied is not None:
        wanted |= gaps.occupied[plane]
    nothing = np.zeros((*image.shape, 2), np.float32)
    return _place(gaps, gaps.planes.origins[plane] + np.array([0.0, 0.0, shift]), image, nothing, nothing[..., 0], wanted,
                  in_plane_sigma, depth_sigma)


def _differs(gaps: Gaps, image: np.ndarray) -> np.ndarray:
    return np.abs(image - gaps.background) > FLAT


def _place(gaps: Gaps, origin: np.ndarray, image: np.ndarray, tilts: np.ndarray, trend: np.ndarray, wanted: np.ndarray,
           in_plane_sigma: float, depth_sigma: float) -> dict[str, torch.Tensor]:
    """Put Gaussians on the pixels of one plane.

    origin: (3,) mm of pixel [0, 0].  tilts: [row, column, 2] shear.  trend: [row, column] change per mm of depth along
    the tilt.  A mean weighted by Gaussians flattens peaks by half the second derivative, and a full linear term
    overshoots by as much: half the in-plane gradient cancels both.
    """
    wanted = cv2.dilate(np.pad(wanted, MARGIN, mode="edge").astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8))
    rows, columns = np.nonzero(wanted)
    to_mm = np.stack([gaps.planes.column_step[:2], gaps.planes.row_step[:2]])
    per_pixel = np.stack([cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE),
                          cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)], axis=-1)
    half_gradient = 0.5 * per_pixel @ np.linalg.inv(to_mm).T.astype(np.float32)
    at = np.clip(rows - MARGIN, 0, image.shape[0] - 1), np.clip(columns - MARGIN, 0, image.shape[1] - 1)
    gradient, tilt = half_gradient[at], tilts[at]
    count = len(rows)
    positions = origin + np.stack([columns - MARGIN, rows - MARGIN], axis=1) @ np.stack(
        [gaps.planes.column_step, gaps.planes.row_step])
    covariance = in_plane_sigma ** 2 * to_mm.T @ to_mm
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    # `trend` holds along the tilt, where x moves too: take out what the in-plane gradient contributes on the way.
    depth_slope = trend[at] - (gradient * tilt).sum(axis=1)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return {
        "centres": tensor(positions),
        "tilts": tensor(tilt),
        "in_plane": tensor([np.log(factor[0, 0]), factor[1, 0], np.log(factor[1, 1])]).repeat(count, 1),
        "log_depths": torch.full((count,), float(np.log(depth_sigma))),
        "raw_weights": torch.zeros(count),
        "values": tensor(image[at] - gaps.background)[:, None],
        "slopes": tensor(np.concatenate([gradient, depth_slope[:, None]], axis=1))[:, None],
        "channels": torch.zeros((count, 1), dtype=torch.int32),
    }


def on_grid(box: np.ndarray, size: int, channel_count: int, seed: int) -> GaussianParameters:
    """Place `size` Gaussians along the longest side of `box` (2, 3) mm, blind to the image, as InnerGS does.

    Standard deviation 1/100 of the longest side, opacity 0.55, intensity 0.8 and all label channels 0.
    """
    extent = box[1] - box[0]
    step = extent.max() / size
    counts = np.maximum(np.round(extent / step).astype(int), 1)
    axes = [low + (np.arange(n) + 0.5) * side / n for low, side, n in zip(box[0], extent, counts, strict=True)]
    centres = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)).float()
    count, sigma = len(centres), float(extent.max()) / 100
    generator = torch.Generator().manual_seed(seed)
    values = torch.zeros(count, channel_count)
    values[:, 0] = 0.8
    return GaussianParameters(
        centres=centres, tilts=0.05 * torch.randn(count, 2, generator=generator),
        in_plane=torch.tensor([-np.log(sigma), 0.0, -np.log(sigma)]).float().repeat(count, 1),
        log_depths=torch.full((count,), float(np.log(sigma))), raw_weights=torch.full((count,), 0.2), values=values,
        slopes=torch.zeros(count, channel_count, 3),
        channels=torch.arange(channel_count, dtype=torch.int32).repeat(count, 1))
