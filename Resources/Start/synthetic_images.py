"""Images of nothing that exists: shapes that cover each other, folds, bands and noise of all kinds.

They have edges, textures and noise as scans have them, and are made of random numbers alone.  Whatever is drawn for
one of several images at once has the shape [image, 1, 1].  Labels of the shapes have random numbers of their own: the
images are the same with and without.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class ImageConfig:
    """What the images look like; ranges are (least, most), lengths in pixels.

    Attributes:
        shapes: how many lie on each other.
        radii: half-axes; the smaller, the more of them.
        warp: by which outlines are bent, at most.
        edges: over which one shape passes into the next.
        ripples: wavelengths of winding bands.
        blur: deviation of the point spread.
        noise: deviation, as a share of the range of the image.
        slopes: exponents of the spectra of textures.
        labels: different ones in an image; several shapes share one.
        bare, empty: share of the shapes that show in the image alone, and of those that are background.
        beside: deviation of the border of a label from that in the image.
        divided: share of the images in which a line that cannot be seen divides labels in two.
    """

    shapes: int = 48
    radii: tuple[float, float] = (1.5, 50.0)
    warp: float = 8.0
    edges: tuple[float, float] = (0.2, 2.5)
    ripples: tuple[float, float] = (6.0, 40.0)
    blur: tuple[float, float] = (0.3, 1.3)
    noise: tuple[float, float] = (0.001, 0.05)
    slopes: tuple[float, float] = (1.0, 2.2)
    labels: int = 8
    bare: float = 0.4
    empty: float = 0.15
    beside: float = 0.5
    divided: float = 0.5


def synthetic_images(count: int, side: int, generator: torch.Generator, config: ImageConfig | None = None) -> Tensor:
    """Make images.

    Args:
        count: of the images.
        side: pixels.
        generator: of random numbers, on the CPU or on a GPU: there the images are made.
        config: what they look like.

    Returns:
        [image, side, side] from 0 to about 1.
    """
    return _Maker(count, side, generator, config or ImageConfig()).images()


def labelled_images(count: int, side: int, generator: torch.Generator, labeller: torch.Generator,
                    config: ImageConfig | None = None) -> tuple[Tensor, Tensor]:
    """Make images with labels, as `synthetic_images`; `labeller` has the random numbers of the labels, on its device.

    Returns:
        [image, side, side] images, and labels int16: 0 is background.
    """
    maker = _Maker(count, side, generator, config or ImageConfig(), labeller)
    images = maker.images()
    return images, maker.labels


class _Maker:
    """Makes several images at once."""

    def __init__(self, count: int, side: int, generator: torch.Generator, config: ImageConfig,
                 labeller: torch.Generator | None = None) -> None:
        self.count, self.side, self.generator, self.config = count, side, generator, config
        self.device, self.labeller = generator.device, labeller
        self.labels = torch.zeros(count, side, side, dtype=torch.int16, device=self.device)
        axis = torch.arange(side, device=self.device) - 0.5 * (side - 1)
        self.rows, self.columns = axis[:, None], axis[None, :]

    def images(self) -> Tensor:
        """[image, side, side]."""
        config = self.config
        smooth, texture = self._field(self._between(2.6, 3.4)), self._field(self._between(*config.slopes))
        folds = torch.tanh(self._between(0.5, 4.0) * torch.where(
            self._uniform() < 0.5, self._ripples(), torch.sin(self._between(1.0, 10.0) * smooth)))
        warp = [self._between(0.0, config.warp) * self._field(self._between(2.4, 3.4)) for _ in range(2)]
        result = 0.5 * self._uniform() + self._between(0.0, 0.15) * texture
        result = result + torch.where(self._uniform() < 0.4, self._between(0.0, 0.4), 0.0) * folds
        for _ in range(config.shapes):
            result = self._covered(result, self.rows + warp[0], self.columns + warp[1], texture, folds)
        result = self._seen(self._outside(result, warp))
        if self.labeller is not None:
            self._divide(self.labeller)
        return result

    def _divide(self, labeller: torch.Generator) -> None:
        """Labels on one side of a line become others."""
        place = torch.randn(self.count, self.side, self.side, generator=labeller, device=self.device)
        divides = torch.rand(self.count, 1, 1, generator=labeller, device=self.device) < self.config.divided
        beyond = divides & (self._filtered(self._frequency() ** -3.0, place) > 0.0) & (self.labels > 0)
        self.labels = self.labels + self.config.labels * beyond.short()

    def _covered(self, image: Tensor, rows: Tensor, columns: Tensor, texture: Tensor, folds: Tensor) -> Tensor:
        """`image` with one more shape on it: a filled one, or a band along its outline."""
        least, most = self.config.radii
        radius = least * (most / least) ** self._uniform() ** 1.5
        distance = self._distance(rows, columns, radius)
        band = distance.abs() - self._between(0.4, 2.5)
        distance = torch.where(self._uniform() < 0.25, band, distance)
        turn, steepness = self._between(0.0, 6.3), self._between(-0.4, 0.4) / self.side
        plane = steepness * (self.rows * torch.cos(turn) + self.columns * torch.sin(turn))
        rough = torch.where(self._uniform() < 0.6, self._between(0.0, 0.12), 0.0)
        folded = torch.where(self._uniform() < 0.4, self._between(0.0, 0.3), 0.0)
        level = self._uniform() + plane + rough * texture + folded * folds
        edge = self._between(*self.config.edges)
        if self.labeller is not None:
            self._label(distance, self.labeller)
        return torch.lerp(image, level, torch.sigmoid(-2.0 * distance / edge))

    def _label(self, distance: Tensor, labeller: torch.Generator) -> None:
        """Give a shape its label; distance: pixels outside of it."""
        config = self.config
        kind, number, beside = torch.rand(3, self.count, 1, 1, generator=labeller, device=self.device)
        beside = config.beside * torch.erfinv(1.98 * beside - 0.99)
        label = torch.where(kind < config.bare + config.empty, 0.0, 1.0 + (config.labels * number).floor())
        self.labels = torch.where((distance < beside) & (kind >= config.bare), label.short(), self.labels)

    def _distance(self, rows: Tensor, columns: Tensor, radius: Tensor) -> Tensor:
        """About how far (pixels) each pixel lies outside a shape between rhombus, ellipse and rectangle."""
        row, column = (0.6 * self.side * (self._uniform() - 0.5) * 2.0 for _ in range(2))
        turn, flatness, power = self._between(0.0, 6.3), self._between(0.25, 1.0), self._between(1.2, 6.0)
        along = (rows - row) * torch.cos(turn) + (columns - column) * torch.sin(turn)
        across = (columns - column) * torch.cos(turn) - (rows - row) * torch.sin(turn)
        norm = ((along.abs() / radius) ** power + (across.abs() / (radius * flatness)) ** power + 1e-6) ** (1.0 / power)
        return (norm - 1.0) * radius * flatness

    def _outside(self, image: Tensor, warp: list[Tensor]) -> Tensor:
        """About half of the images end within the picture, as a body in air does."""
        half = 0.5 * self.side
        distance = torch.hypot((self.rows + warp[0]) / self._between(0.6, 1.3),
                               (self.columns + warp[1]) / self._between(0.6, 1.3)) - half
        inside = torch.sigmoid(-2.0 * distance / self._between(*self.config.edges))
        ends = self._uniform() < 0.5
        self.labels[ends & (distance > 0.0)] = 0
        return torch.where(ends, image * inside, image)

    def _seen(self, image: Tensor) -> Tensor:
        """`image` as a scanner shows it: blurred, with noise, scaled to its own range."""
        image = self._blurred(image, self._between(*self.config.blur))
        low, high = (torch.quantile(image.flatten(1), share, dim=1)[:, None, None] for share in (0.002, 0.998))
        image = (image - low) / (high - low + 1e-3)
        image = torch.where(self._uniform() < 0.3, 1.0 - image, image)
        image = image.clamp(0.0, 1.3) ** torch.exp(self._between(-0.6, 0.6))
        least, most = self.config.noise
        noise = self._normal()
        grains = self._blurred(noise, self._between(0.3, 1.2))
        grains = grains / grains.std(dim=(1, 2), keepdim=True)
        noise = torch.where(self._uniform() < 0.6, grains, noise) * least * (most / least) ** self._uniform()
        speckled = torch.where(self._uniform() < 0.3, 2.0 * image, 1.0)
        return (image + noise * speckled).clamp(min=0.0)

    def _field(self, slope: Tensor) -> Tensor:
        """[image, row, column] of mean 0 and deviation 1, whose amplitudes fall as frequency ** -slope."""
        return self._filtered(self._frequency() ** -slope)

    def _ripples(self) -> Tensor:
        """The same of about one wavelength each, around an offset: winding bands when cut off above and below."""
        least, most = self.config.ripples
        share = self._frequency() * least * (most / least) ** self._uniform()
        return self._filtered(torch.exp(-0.5 * ((share - 1.0) / 0.3) ** 2)) + self._between(-1.0, 1.0)

    def _frequency(self) -> Tensor:
        """(row, column) cycles in a pixel, of the waves that `torch.fft.rfft2` finds; infinite for the mean."""
        frequency = torch.hypot(torch.fft.fftfreq(self.side, device=self.device)[:, None],
                                torch.fft.rfftfreq(self.side, device=self.device)[None])
        frequency[0, 0] = math.inf
        return frequency

    def _filtered(self, amplitudes: Tensor, noise: Tensor | None = None) -> Tensor:
        """Noise with waves of these `amplitudes`, of deviation 1."""
        noise = self._normal() if noise is None else noise
        field = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitudes, s=(self.side, self.side))
        return field / field.std(dim=(1, 2), keepdim=True)

    def _blurred(self, images: Tensor, deviation: Tensor) -> Tensor:
        """Convolve each image with a Gaussian of its own `deviation`."""
        reach = 4
        place = torch.arange(-reach, reach + 1, device=self.device)
        weights = torch.exp(-0.5 * (place / deviation.flatten()[:, None]) ** 2)
        weights = (weights / weights.sum(dim=1, keepdim=True))[:, None]
        padded = functional.pad(images[None], (reach, reach, reach, reach), mode="reflect")
        down = functional.conv2d(padded, weights[..., None], groups=self.count)
        return functional.conv2d(down, weights[:, :, None], groups=self.count)[0]

    def _uniform(self) -> Tensor:
        return torch.rand(self.count, 1, 1, generator=self.generator, device=self.device)

    def _between(self, least: float, most: float) -> Tensor:
        return least + (most - least) * self._uniform()

    def _normal(self) -> Tensor:
        return torch.randn(self.count, self.side, self.side, generator=self.generator, device=self.device)
