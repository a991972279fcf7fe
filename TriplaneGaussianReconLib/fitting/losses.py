"""Image losses that torch can differentiate."""
from __future__ import annotations

import torch
from torch import Tensor


def structural_dissimilarity(image: Tensor, target: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Return 1 - SSIM, mean over all pixels, with a Gaussian window (Wang et al. 2004, Image quality assessment).

    Args:
        image: (P, rows, columns), of range 1.
        target: What it should be, likewise.
        window: Side of the window, pixels.
        sigma: Standard deviation of the window, pixels.
    """
    offsets = torch.arange(window, device=image.device, dtype=image.dtype) - window // 2
    kernel = torch.exp(-offsets ** 2 / (2 * sigma ** 2))
    kernel = kernel / kernel.sum()

    def blur(stack: Tensor) -> Tensor:
        stack = torch.nn.functional.conv2d(stack[:, None], kernel[None, None, :, None], padding=(window // 2, 0))
        return torch.nn.functional.conv2d(stack, kernel[None, None, None, :], padding=(0, window // 2))[:, 0]

    mean_a, mean_b = blur(image), blur(target)
    variance_a, variance_b = blur(image ** 2) - mean_a ** 2, blur(target ** 2) - mean_b ** 2
    covariance = blur(image * target) - mean_a * mean_b
    c1, c2 = 0.01 ** 2, 0.03 ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)
                  / ((mean_a ** 2 + mean_b ** 2 + c1) * (variance_a + variance_b + c2)))
    return 1.0 - similarity.mean()
