"""Where Gaussians start."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .correspondence import Correspondence, warp
from .gaussians import GaussianParameters
from .geometry import PlaneStack
from .segmentation import MOST_SLOTS, LabelChannels, Occupancies, between, on_slice

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
    background: the value where nothing is.
    layers: [layer, plane, row, column] label values, or None; channels: what they mean.
    """

    planes: PlaneStack
    slices: np.ndarray
    found: Correspondence
    predictions: tuple[np.ndarray, ...]
    background: float
    layers: np.ndarray | None = None
    channels: LabelChannels | None = None


def layer_count(width: float, pixel: float) -> int:
    """How many layers of Gaussians a gap of `width` mm gets for pixels of `pixel` mm.

    A layer follows a linear course in depth, over the distance from one slice of the output to the next but one.
    """
    return 1 if width < 2.5 * pixel else 2


def along_displacement(gaps: Gaps, in_plane_sigma: float, depth_sigmas: tuple[float, float],
                       opacity: float, depth_range: tuple[float, float]) -> GaussianParameters:
    """Place layers of Gaussians, one per pixel, in each gap, tilted along the displacement, and on each trusted slice,
    so that what was seen and what was predicted do not compete.

    in_plane_sigma: pixels.  depth_sigmas: distances between a trusted slice and the next layer, for gaps of one and of
    two layers.  opacity: weight of every Gaussian, between 0 and 1.  depth_range: (lowest, highest) z in mm
    to cover; beyond the outermost trusted slices these are repeated.  Where everything is background no Gaussian is
    placed.
    """
    offsets, widths = gaps.planes.offsets, np.diff(gaps.planes.offsets)
    pitch = np.array([width / (len(p) + 1) for width, p in zip(widths, gaps.predictions, strict=True)])
    # With two layers the plane half-way lies a whole pitch from either: they must be wide enough to meet there.
    sigmas = np.array([depth_sigmas[len(p) // 2] for p in gaps.predictions]) * pitch
    layers = [layer for gap in range(len(widths)) for layer in _between(gaps, gap, in_plane_sigma, sigmas[gap])]
    for plane in range(len(offsets)):
        layers.append(_copied(gaps, plane, 0.0, in_plane_sigma, sigmas[max(plane - 1, 0):plane + 1].min()))
    for plane, width, beyond, direction in ((0, widths[0], offsets[0] - depth_range[0], -1.0),
                                            (len(offsets) - 1, widths[-1], depth_range[1] - offsets[-1], 1.0)):
        for number in range(int(np.ceil(beyond / width - 1e-3))):
            layers.append(_copied(gaps, plane, direction * (number + 0.5) * width, in_plane_sigma, 0.25 * width))
    tensors = {name: torch.cat([layer[name] for layer in layers]) for name in layers[0]}
    tensors["raw_weights"] = torch.full((len(tensors["centres"]),), float(np.log(opacity / (1.0 - opacity))))
    return _trimmed(tensors)


def _trimmed(tensors: dict[str, torch.Tensor]) -> GaussianParameters:
    """Leave out the slots that no Gaussian uses."""
    used = [n == 0 or bool(tensors["channels"][:, n].any()) for n in range(tensors["channels"].shape[1])]
    for name in ("values", "slopes", "channels"):
        tensors[name] = tensors[name][:, used].contiguous()
    return GaussianParameters(**tensors)


def _between(gaps: Gaps, gap: int, in_plane_sigma: float, depth_sigma: float) -> list[dict[str, torch.Tensor]]:
    """The layers of Gaussians in one gap."""
    planes = gaps.planes
    across = planes.origins[gap + 1] - planes.origins[gap]
    course = [gaps.slices[gap], *gaps.predictions[gap], gaps.slices[gap + 1]]
    step = 1.0 / (len(course) - 1)
    numbers = range(1, len(course) - 1, 2)
    displacement = gaps.found.gated_at(gap)
    to_mm = np.stack([planes.column_step[:2], planes.row_step[:2]]).astype(np.float32)
    tilts = (displacement @ to_mm + across[:2].astype(np.float32)) / np.float32(across[2])
    labels: Sequence[Occupancies | None] = [None] * len(numbers)
    if gaps.layers is not None and gaps.channels is not None:
        labels = between(gaps.channels, gaps.layers[:, gap], gaps.layers[:, gap + 1], gaps.found, gap,
                         [number * step for number in numbers], step, across[2] / np.linalg.norm(to_mm, axis=1).min())
    result = []
    for number, occupancies in zip(numbers, labels, strict=True):
        before, here, after = course[number - 1:number + 2]
        trend = (warp(after, displacement, step) - warp(before, displacement, -step)) / (2 * step)
        wanted = _differs(gaps, before) | _differs(gaps, here) | _differs(gaps, after)
        result.append(_place(gaps, _Layer(planes.origins[gap] + number * step * across, here, tilts, trend, wanted,
                                          occupancies, across[2]), in_plane_sigma, depth_sigma))
    return result


def _copied(gaps: Gaps, plane: int, shift: float, in_plane_sigma: float, depth_sigma: float
            ) -> dict[str, torch.Tensor]:
    """The Gaussians of one trusted slice, placed `shift` mm from it along z."""
    image = gaps.slices[plane]
    labels = None
    if gaps.layers is not None and gaps.channels is not None:
        labels = on_slice(gaps.channels, gaps.layers[:, plane])
    still = np.zeros((*image.shape, 2), np.float32)
    layer = _Layer(gaps.planes.origins[plane] + np.array([0.0, 0.0, shift]), image, still, still[..., 0],
                   _differs(gaps, image), labels, 1.0)
    return _place(gaps, layer, in_plane_sigma, depth_sigma)


def _differs(gaps: Gaps, image: np.ndarray) -> np.ndarray:
    return np.abs(image - gaps.background) > FLAT


@dataclass(frozen=True)
class _Layer:
    """What the Gaussians on one plane start from.

    origin: (3,) mm of pixel [0, 0].  image: [row, column].  tilts: [row, column, 2] shear.
    trend: [row, column] change across the whole gap of `width` mm, along the tilt; as are the labels' trends.
    wanted: [row, column] bool, where the image is not background.
    """

    origin: np.ndarray
    image: np.ndarray
    tilts: np.ndarray
    trend: np.ndarray
    wanted: np.ndarray
    labels: Occupancies | None
    width: float


def _place(gaps: Gaps, layer: _Layer, in_plane_sigma: float, depth_sigma: float) -> dict[str, torch.Tensor]:
    """Put Gaussians on the pixels of one plane; return the fields of GaussianParameters but the
    weights.

    A mean weighted by Gaussians flattens peaks by half the second derivative, and a full linear term overshoots by as
    much: half the in-plane gradient cancels both.
    """
    rows, columns = _occupied(layer)
    shape, count = layer.image.shape, len(rows)
    at = np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)
    steps = np.stack([gaps.planes.column_step, gaps.planes.row_step])
    to_mm = steps[:, :2]
    factor = np.linalg.cholesky(np.linalg.inv(in_plane_sigma ** 2 * to_mm.T @ to_mm))
    gradient = (0.5 * _gradient(layer.image) @ np.linalg.inv(to_mm).T.astype(np.float32))[at]
    tilt = layer.tilts[at]
    # `trend` holds along the tilt, where x moves too: take out what the in-plane gradient contributes on the way.
    depth_slope = layer.trend[at] / np.float32(layer.width) - (gradient * tilt).sum(axis=1)
    channels = np.zeros((count, 1 + (MOST_SLOTS if layer.labels else 0)), np.int32)
    values, slopes = np.zeros(channels.shape, np.float32), np.zeros((*channels.shape, 3), np.float32)
    values[:, 0] = layer.image[at] - gaps.background
    slopes[:, 0, :2], slopes[:, 0, 2] = gradient, depth_slope
    if layer.labels is not None:
        channels[:, 1:], values[:, 1:], trends = layer.labels.slots(at[0] * shape[1] + at[1])
        slopes[:, 1:, 2] = trends / np.float32(layer.width)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return {
        "centres": tensor(layer.origin + np.stack([columns, rows], axis=1) @ steps),
        "tilts": tensor(tilt),
        "in_plane": tensor(np.array([np.log(factor[0, 0]), factor[1, 0], np.log(factor[1, 1])])).repeat(count, 1),
        "log_depths": torch.full((count,), float(np.log(depth_sigma))),
        "values": tensor(values),
        "slopes": tensor(slopes),
        "channels": torch.from_numpy(channels),
    }


def _occupied(layer: _Layer) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that get a Gaussian; those of the margin lie outside the image."""
    wanted = layer.wanted.copy()
    if layer.labels is not None:
        wanted.ravel()[layer.labels.pixels] = True
    padded = np.pad(wanted, MARGIN, mode="edge").astype(np.uint8)
    rows, columns = np.nonzero(cv2.dilate(padded, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)))
    return rows - MARGIN, columns - MARGIN


def _gradient(image: np.ndarray) -> np.ndarray:
    """[row, column, 2] change per pixel along columns and rows (Scharr's operator)."""
    return np.stack([cv2.Scharr(image, cv2.CV_32F, dx, dy, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
                     for dx, dy in ((1, 0), (0, 1))], axis=-1)


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
