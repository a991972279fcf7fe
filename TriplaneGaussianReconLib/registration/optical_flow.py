"""Displacement between neighbouring slices, and its confidence.

The displacement is OpenCV's DIS optical flow (Kroeger et al., ECCV 2016), made symmetric by computing it in both
directions.  It is dense, within 0.15 dB of TV-L1 on medical slices and sixty times faster; the document
`docs/results/correspondence.md` compares DIS, Farneback, TV-L1 and ILK.  Where warping does not explain the difference
between two slices, following the displacement would harm: therefore each pixel has a confidence.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch

from ..config.registration import FlowConfig
from ..runtime.image_operations import blurred
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_opencv

# Squared differences below this (intensities in [0, 1]) are rounding, not structure.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Correspondence:
    """Motion of structures across each gap, that is between two neighbouring slices.

    Attributes:
        displacement: [gap, row, column, 2] float32, pixels along columns and along rows.  What lies at x half-way
            through the gap lies at `x - d/2` on the slice before it and at `x + d/2` on the slice after it.
        confidence: [gap, row, column] float32 in [0, 1], the share of the difference between the two slices that
            warping explains.
    """

    displacement: np.ndarray
    confidence: np.ndarray

    def on(self, device: torch.device) -> Motion:
        """Copy to `device`."""
        return Motion(torch.from_numpy(self.displacement).to(device), torch.from_numpy(self.confidence).to(device))


@dataclass(frozen=True)
class Motion:
    """A `Correspondence` on a device."""

    displacement: torch.Tensor
    confidence: torch.Tensor

    def gated(self, config: FlowConfig) -> torch.Tensor:
        """[gap, row, column, 2] displacement, shortened where confidence is low."""
        return self.displacement * blurred(self.confidence, config.confidence_blur)[..., None]


def correspond(slices: np.ndarray, config: FlowConfig) -> Correspondence:
    """Find the displacement across every gap of a stack.

    Args:
        slices: [plane, row, column] float32, intensities in [0, 1].
        config: of the optical flow and its confidence.

    Returns:
        What moves where, 0 everywhere on slices smaller than `config.smallest_side`.
    """
    planes, rows, columns = slices.shape
    if min(rows, columns) < config.smallest_side:
        return Correspondence(np.zeros((planes - 1, rows, columns, 2), np.float32),
                              np.zeros((planes - 1, rows, columns), np.float32))
    with serial_opencv(), ThreadPoolExecutor(usable_threads()) as pool:
        found = list(pool.map(partial(_across_gap, config), slices[:-1], slices[1:]))
    return Correspondence(np.stack([d for d, _ in found]), np.stack([c for _, c in found]))


def warp(image: np.ndarray, displacement: np.ndarray, amount: float,
         interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Sample an image along a displacement.

    Args:
        image: [row, column].
        displacement: [row, column, 2] pixels, along columns and along rows.
        amount: factor of the displacement; may be negative.
        interpolation: one of OpenCV's.

    Returns:
        [row, column], the image at `x + amount * displacement(x)`; border pixels are repeated.
    """
    rows, columns = image.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    step = np.float32(amount)
    return cv2.remap(image, x + step * displacement[..., 0], y + step * displacement[..., 1], interpolation,
                     borderMode=cv2.BORDER_REPLICATE)


def both_ways(first: np.ndarray, second: np.ndarray, config: FlowConfig) -> tuple[np.ndarray, np.ndarray]:
    """Displacement from each of two slices to the other.

    Args:
        first: [row, column], intensities in [0, 1].
        second: likewise.
        config: of the optical flow.

    Returns:
        [row, column, 2] pixels along columns and along rows, first to second and second to first; 0 on slices smaller
        than `config.smallest_side`.
    """
    if min(first.shape) < config.smallest_side:
        still = np.zeros((*first.shape, 2), np.float32)
        return still, still.copy()
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setVariationalRefinementAlpha(config.smoothness)
    a, b = (np.clip(np.rint(s * 255.0), 0, 255).astype(np.uint8) for s in (first, second))
    return _flow(flow, a, b), _flow(flow, b, a)


def _across_gap(config: FlowConfig, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement [row, column, 2] and confidence [row, column] between two slices."""
    forwards, backwards = both_ways(first, second, config)
    displacement = np.float32(0.5) * (forwards - backwards)
    unexplained = (warp(first, displacement, -0.5) - warp(second, displacement, 0.5)) ** 2
    difference = (first - second) ** 2
    unexplained, difference = (cv2.GaussianBlur(e, (0, 0), config.neighbourhood) for e in (unexplained, difference))
    return displacement, np.clip(1.0 - unexplained / (difference + NEGLIGIBLE), 0.0, 1.0)


def _flow(flow: cv2.DISOpticalFlow, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Displacement [row, column, 2] from `a` to `b`."""
    return flow.calc(a, b, np.zeros((*a.shape, 2), np.float32))
