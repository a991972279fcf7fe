"""Sampling and filtering of many images at once."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.runtime.image_operations import (
    as_shift,
    blurred,
    bordered,
    constants,
    dilated,
    gradient,
    pixel_centres,
    sampled,
    transferred,
    warped,
)

CPU = torch.device("cpu")
SHAPES = [(23, 31), (3, 40), (1, 6), (5, 1), (1, 1)]


def images(shape: tuple[int, int], count: int = 3) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("mode", "flag"), [("bicubic", cv2.INTER_CUBIC), ("bilinear", cv2.INTER_LINEAR)])
def test_sampling_is_opencvs(shape: tuple[int, int], mode: str, flag: int) -> None:
    """Inside and far beyond the border, on tiny images too."""
    generator = torch.Generator().manual_seed(1)
    source, move = images(shape), 4.0 * torch.randn(3, *shape, 2, generator=generator)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    expected = [cv2.remap(image, x + d[..., 0], y + d[..., 1], flag, borderMode=cv2.BORDER_REPLICATE)
                for image, d in zip(source.numpy(), move.numpy(), strict=True)]
    found = sampled(source[:, None], pixel_centres(*shape, CPU) + as_shift(move), mode)[:, 0]
    # Some versions of OpenCV round positions to 1/32 pixel.
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), atol=0.05)


def test_sampling_at_pixels_returns_them() -> None:
    source = images((23, 31))
    at = pixel_centres(23, 31, CPU).expand(3, -1, -1, -1)
    torch.testing.assert_close(sampled(source[:, None], at)[:, 0], source, atol=2e-5, rtol=0)


def test_warping_follows_the_displacement() -> None:
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    image = (0.03 * columns + 0.05 * rows)[None]
    displacement = torch.tensor([1.0, -2.0]).expand(1, 20, 24, 2)
    moved = warped(image, displacement, 0.75)
    expected = image + 0.03 * 0.75 - 0.05 * 1.5
    torch.testing.assert_close(moved[:, 4:-4, 4:-4], expected[:, 4:-4, 4:-4], atol=3e-3, rtol=0)
    torch.testing.assert_close(warped(image, displacement, 3.0)[0, 0, 23], image[0, 0, 23])  # the border is repeated


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
def test_blurring_is_opencvs(shape: tuple[int, int], sigma: float) -> None:
    source = images(shape)
    expected = [cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for image in source.numpy()]
    np.testing.assert_allclose(blurred(source, sigma), np.reshape(expected, source.shape), atol=1e-6)
    torch.testing.assert_close(blurred(source[0], sigma), blurred(source, sigma)[0], atol=0, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_scharrs(shape: tuple[int, int]) -> None:
    source = images(shape)
    for n, (dx, dy) in enumerate(((1, 0), (0, 1))):
        expected = [cv2.Scharr(image, cv2.CV_32F, dx, dy, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
                    for image in source.numpy()]
        np.testing.assert_allclose(gradient(source)[..., n], np.reshape(expected, source.shape), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5])
def test_dilation_is_opencvs(shape: tuple[int, int], reach: int) -> None:
    masks = images(shape) > 0.9
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    expected = [cv2.dilate(mask.astype(np.uint8), square) for mask in masks.numpy()]
    np.testing.assert_array_equal(dilated(masks, reach), np.reshape(expected, masks.shape).astype(bool))


def test_the_border_is_repeated() -> None:
    source = images((4, 5), 2)
    np.testing.assert_array_equal(bordered(source, 3), np.pad(source, ((0, 0), (3, 3), (3, 3)), mode="edge"))
    np.testing.assert_array_equal(bordered(source[0], 6), np.pad(source[0], 6, mode="edge"))


def test_the_thread_count_does_not_matter() -> None:
    source, before, results = images((300, 301)), torch.get_num_threads(), []
    move = torch.randn(3, 300, 301, 2, generator=torch.Generator().manual_seed(1))
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append((blurred(source, 1.5), gradient(source), warped(source, move, 0.3)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_constants() -> None:
    assert torch.equal(constants([1.0, 2.5], CPU), torch.tensor([1.0, 2.5]))
    values = np.array([[1.0, 2.0]])
    made = constants(values, CPU)
    values[:] = 0
    assert made.dtype == torch.float32 and made.tolist() == [[1.0, 2.0]]
    assert transferred(np.arange(3)[::-1], CPU).tolist() == [2, 1, 0]
    assert transferred(np.array([True]), CPU).dtype == torch.bool
