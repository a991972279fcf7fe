"""Sampling and filtering of many images at once, on any device.

Images are float32 [..., row, column] unless stated otherwise.  Beyond the border, its pixels are repeated.  Every sum
is written out in a fixed order and no multiplication is fused with an addition, so the bits depend neither on the
number of threads nor on how work is split among them.
"""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CPU = torch.device("cpu")


def transferred(values: np.ndarray, device: torch.device) -> Tensor:
    """Return a few numbers on `device`, without waiting for the work in its queue."""
    return torch.from_numpy(values.copy()).to(device, non_blocking=True)


def constants(values: np.ndarray | list[float], device: torch.device) -> Tensor:
    """Return a few float32 numbers on `device`, likewise."""
    return transferred(np.asarray(values, np.float32), device)


def pixel_centres(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return [row, column, 2], the position of every pixel (along columns, along rows) for `sampled`.

    The first pixel's centre lies at -1 and the last one's at 1.
    """
    x, y = (torch.linspace(-1.0, 1.0, n, device=device) if n > 1 else torch.zeros(1, device=device)
            for n in (columns, rows))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def as_shift(displacement: Tensor) -> Tensor:
    """Convert [..., row, column, 2] pixels (along columns, along rows) to the unit of `pixel_centres`."""
    rows, columns = displacement.shape[-3:-1]
    return displacement * constants([2.0 / max(columns - 1, 1), 2.0 / max(rows - 1, 1)], displacement.device)


def sampled(images: Tensor, at: Tensor, mode: str = "bicubic") -> Tensor:
    """Sample `images` [n, channel, row, column] `at` [n, row, column, 2] (see `pixel_centres`), bicubic or bilinear."""
    return functional.grid_sample(images, at, mode=mode, padding_mode="border", align_corners=True)


def warped(images: Tensor, displacement: Tensor, amount: float) -> Tensor:
    """Sample `images` [n, row, column] at `x + amount * displacement(x)`; displacement: [n, row, column, 2] pixels."""
    rows, columns = images.shape[-2:]
    at = pixel_centres(rows, columns, images.device) + amount * as_shift(displacement)
    return sampled(images[:, None], at)[:, 0]


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut off at four of them."""
    radius = round(4.0 * sigma)
    weights = [math.exp(-0.5 * (n / sigma) ** 2) for n in range(radius + 1)]
    total = weights[0] + 2.0 * sum(weights[1:])
    weights = [weight / total for weight in weights]
    result = bordered(images, radius)
    for axis, size in ((-1, images.shape[-1]), (-2, images.shape[-2])):
        source, result = result, result.narrow(axis, radius, size) * weights[0]
        for n in range(1, radius + 1):
            either = source.narrow(axis, radius - n, size) + source.narrow(axis, radius + n, size)
            result += either.mul_(weights[n])
    return result


def gradient(images: Tensor) -> Tensor:
    """Return [..., row, column, 2], the change per pixel along columns and rows (Scharr's operator)."""
    source = bordered(images, 1)

    def across(image: Tensor, axis: int) -> Tensor:
        size = image.shape[axis] - 2
        ends = image.narrow(axis, 0, size) + image.narrow(axis, 2, size)
        return ends.mul_(3 / 32).add_(image.narrow(axis, 1, size) * (10 / 32))

    def along(image: Tensor, axis: int) -> Tensor:
        size = image.shape[axis] - 2
        return image.narrow(axis, 2, size) - image.narrow(axis, 0, size)

    return torch.stack([along(across(source, -2), -1), along(across(source, -1), -2)], dim=-1)


def bordered(images: Tensor, margin: int) -> Tensor:
    """Return `images` with `margin` more pixels on every side, which repeat the border."""
    flat = images.reshape(1, -1, *images.shape[-2:])
    padded = functional.pad(flat, (margin, margin, margin, margin), mode="replicate")
    return padded.reshape(*images.shape[:-2], *padded.shape[-2:])


def dilated(masks: Tensor, radius: int) -> Tensor:
    """Dilate boolean `masks` by a square of `radius` pixels on every side."""
    grown = functional.pad(masks, (radius, radius, radius, radius))
    for axis in (-1, -2):
        width = 1
        while width < 2 * radius + 1:  # `grown` covers `width` neighbours, which doubles until it spans the square
            step = min(width, 2 * radius + 1 - width)
            size = grown.shape[axis] - step
            grown = grown.narrow(axis, 0, size) | grown.narrow(axis, step, size)
            width += step
    return grown
