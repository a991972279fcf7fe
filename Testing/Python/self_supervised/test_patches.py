"""Patches of lines: where they lie, how they are read, and how thick slices average them."""
from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.self_supervised.patches import Lines, PatchSampler, averaged, cubic_weight
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext

CPU, GPU = torch.device("cpu"), torch.device("cuda")
QUARTERS, ALL = np.array([0.25, 0.5, 0.75]), slice(None)
WHOLE = SliceContext.around(np.arange(4), np.array([0.0, 2.0, 6.0, 10.0, 18.0]), np.array([0.5]), 4)
WHOLE_OF_SIX = SliceContext.around(np.arange(5), np.array([0.0, 4.0, 12.0, 16.0, 20.0, 28.0]), QUARTERS, 6)
BROKEN = SliceContext.around(np.arange(4), np.array([0.0, 2.3, 6.0, 9.1, 14.0]), QUARTERS, 4)

pytestmark = pytest.mark.usefixtures("one_thread")


def sampler_of(slices: Tensor, pitches: tuple[float, float], context: SliceContext, steps: int, thickness: float = 0.0,
               draws: int = 1) -> PatchSampler:
    config = SuperResolutionConfig(width=1, blocks=0, steps=steps, batch=64, rate=0.0, draws=draws)
    return PatchSampler(Lines(slices, pitches, thickness, context, config), config, torch.Generator().manual_seed(0))


# ---- thick lines


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("width", [1.25, 2.0, 3.0, 3.4, 7.9, 25.0])
def test_lines_are_averaged_over_the_thickness(axis: int, width: float) -> None:
    """As an integral over pixels that are constant from edge to edge, the border pixels for ever."""
    slices = np.random.default_rng(0).random((2, 12, 15)).astype(np.float32)
    lines = np.moveaxis(np.pad(slices, [(0, 0), *[(20, 20) if n == axis else (0, 0) for n in (1, 2)]], mode="edge")
                        .astype(np.float64), axis, 2)
    integral = np.concatenate([np.zeros_like(lines[..., :1]), np.cumsum(lines, axis=2)], axis=2)
    centres = 20.5 + np.arange(slices.shape[axis])

    def until(edges: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(lambda course: np.interp(edges, np.arange(len(course)), course), 2, integral)

    expected = np.moveaxis((until(centres + 0.5 * width) - until(centres - 0.5 * width)) / width, 2, axis)
    result = averaged(torch.from_numpy(slices), width, axis, 1.2)
    assert result.shape == slices.shape
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(averaged(torch.full((1, 9, 9), 0.7), width, axis, 1.2).numpy(), 0.7, rtol=1e-6)


def test_thin_slices_are_taken_as_they_are() -> None:
    slices = torch.rand(2, 12, 15)
    for axis, width in product((1, 2), (0.0, 0.5, 1.0, 1.2)):
        assert torch.equal(averaged(slices, width, axis, 1.2), slices)


# ---- patches of lines


class Seen:
    """All patches of a training, told by images whose pixels are their own coordinates.

    gap, directions, places [step, patch, ...]; coordinates [step, patch, 3 (image, row, column), line, pixel].
    """

    def __init__(self, context: SliceContext, shape: tuple[int, int, int] = (3, 30, 70),
                 pitches: tuple[float, float] = (1.0, 1.0), steps: int = 12) -> None:
        images = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
        read = [sampler_of(image, pitches, context, steps) for image in images]
        self.shape, self.pitches, self.patches = shape, np.array(pitches), read[0].patches
        patches = [[each.at(torch.tensor([step]), ALL) for each in read] for step in range(steps)]
        self.coordinates = torch.stack([torch.stack([torch.cat(each[:2], dim=1) for each in step], dim=1)
                                        for step in patches]).double().numpy()
        self.fractions, self.conditions = (torch.stack([step[0][n] for step in patches]).numpy() for n in (2, 3))
        self.gap = self.patches.gap.numpy()
        # Lines that neighbour each other across rows (0) or columns (1).
        self.axis = (np.ptp(self.coordinates[:, :, 1], axis=-1).max(axis=-1) > 0).astype(int)

    def _chosen(self, axis: np.ndarray) -> np.ndarray:
        return np.take_along_axis(self.coordinates, (1 + axis)[..., None, None, None], axis=2)[:, :, 0]

    @property
    def across(self) -> np.ndarray:
        """[step, patch, line, pixel] coordinate that differs from line to line."""
        return self._chosen(self.axis)

    @property
    def along(self) -> np.ndarray:
        return self._chosen(1 - self.axis)


@pytest.mark.parametrize(("context", "pitches"), [(WHOLE, (1.0, 1.0)), (WHOLE, (1.0, 0.5)), (WHOLE_OF_SIX, (1.0, 0.5)),
                                                   (WHOLE_OF_SIX, (0.5, 1.0))])
def test_patches_are_lines_of_one_image_as_they_are(context: SliceContext, pitches: tuple[float, float]) -> None:
    """As far apart as slices and planes are; where the image ends the last line stands again."""
    seen = Seen(context, pitches=pitches)
    coordinates, size = seen.coordinates, context.planes.shape[1]
    np.testing.assert_array_equal(coordinates, np.round(coordinates))
    assert (coordinates.min(axis=(0, 1, 3, 4)) == 0).all()  # up to the borders and not beyond
    assert (coordinates.max(axis=(0, 1, 3, 4)) == np.array(seen.shape) - 1).all()
    assert (np.ptp(coordinates[:, :, 0], axis=(2, 3)) == 0).all()
    assert (np.abs(np.diff(seen.along, axis=3)) == 1).all() and (np.ptp(seen.along, axis=2) == 0).all()
    assert (np.ptp(seen.across, axis=3) == 0).all()

    across, first, last = seen.across[..., 0], size // 2 - 1, size // 2
    way = np.sign(across[..., last] - across[..., first])[..., None]
    middle = 0.5 * (across[..., [first]] + across[..., [last]])
    pitch = seen.pitches[seen.axis][..., None]
    wanted = context.widths[:, None] * (context.fractions - 0.5)
    most = np.array(seen.shape)[1 + seen.axis] - 1
    expected = middle + way * np.concatenate([context.knots, wanted], axis=1)[seen.gap] / pitch
    for outer, inner in [(n - 1, n) for n in range(first, 0, -1)] + [(n + 1, n) for n in range(last, size - 1)]:
        out = (expected[..., outer] < 0) | (expected[..., outer] > most)
        assert out.any()
        expected[..., outer] = np.where(out, expected[..., inner], expected[..., outer])
    np.testing.assert_allclose(across, expected, atol=1e-9)


@pytest.mark.parametrize("context", [WHOLE, BROKEN])
def test_patches_are_read_in_all_directions(context: SliceContext) -> None:
    """Rows and columns, backwards and mirrored, about as often; what steers the network is the gap's own."""
    seen = Seen(context)
    backwards = seen.across[:, :, 2, 0] < seen.across[:, :, 1, 0]
    mirrored = seen.along[..., 0, 1] < seen.along[..., 0, 0]
    ways, counts = np.unique(np.stack([seen.axis, backwards, mirrored]).reshape(3, -1), axis=1, return_counts=True)
    assert ways.shape == (3, 8) and counts.min() > 0.6 * counts.mean()
    assert np.bincount(seen.gap.ravel(), minlength=4).min() > 0.6 * seen.gap.size / 4
    np.testing.assert_allclose(seen.fractions[..., 0], context.fractions[seen.gap], rtol=1e-6)
    np.testing.assert_allclose(seen.conditions, context.conditions()[seen.gap], rtol=1e-6)


def test_patches_read_backwards_are_of_the_mirrored_gap() -> None:
    """A gap whose neighbours lie unevenly, and the same seen from behind: the same lines in the other order, if the
    one is read forwards and the other backwards."""
    positions, fractions = np.array([0.0, 1.0, 4.0, 10.0]), np.array([[1.0, 2.0]]) / 3.0
    ahead = SliceContext.around(np.array([1]), positions, fractions, 4)
    behind = SliceContext.around(np.array([1]), 10.0 - positions[::-1], fractions, 4)
    lines: dict[tuple[int, ...], np.ndarray] = {}
    seen, other = Seen(ahead, steps=40), Seen(behind, steps=40)
    for each, order in ((seen, [0, 1, 2, 3, 4, 5]), (other, [3, 2, 1, 0, 5, 4])):
        for axis, across, image, along in zip(each.axis.ravel(), each.across.reshape(-1, 6, 30)[:, order, 0],
                                              each.coordinates[:, :, 0, 0, 0].ravel(), each.along.reshape(-1, 6, 30),
                                              strict=True):
            key = (int(axis), int(image), int(along[0, 0]), int(along[0, 1]), int(across[1]), int(across[2]))
            np.testing.assert_array_equal(lines.setdefault(key, across), across)
    patches = seen.gap.size + other.gap.size
    assert len(lines) < patches - 20  # many of them were seen both ways


def test_patches_between_pixels_are_read_by_cubic_convolution() -> None:
    """Also at the borders, whose pixels go on for ever."""
    image, reference = torch.rand(2, 14, 17, generator=torch.Generator().manual_seed(0)), []
    sampler = sampler_of(image, (1.0, 0.7), BROKEN, 6)
    assert not sampler.lines.is_whole
    patches = sampler.patches
    for step, patch in np.ndindex(6, 64):
        first, along, across = (int(column[step, patch]) for column in (patches.first, patches.along, patches.across))
        most = int(patches.most[step, patch])
        for place in patches.places[step, patch].double().tolist():
            lower = int(np.floor(place))
            taps = np.arange(lower - 1, lower + 3)
            d = np.abs(place - taps)
            weights = np.where(d <= 1, 1.5 * d ** 3 - 2.5 * d ** 2 + 1, -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2)
            numbers = first + across * taps.clip(0, most)[:, None] + along * np.arange(14)
            reference.append(weights @ torch.cat([image.flatten()] * 2).double().numpy()[numbers])
    found = torch.stack([torch.cat(sampler.at(torch.tensor([step]), ALL)[:2], dim=1) for step in range(6)])
    np.testing.assert_allclose(found.reshape(-1, 14).numpy(), reference, atol=2e-5)


def test_patches_of_thick_slices_are_averaged_along_the_gap() -> None:
    """Over rows where rows neighbour each other, over columns where columns do, by thickness in mm."""
    image, pitches, area = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(0)), (1.0, 0.5), 2 * 20 * 24

    def read(image: Tensor, thickness: float) -> tuple[Tensor, Tensor]:
        sampler = sampler_of(image, pitches, WHOLE_OF_SIX, 1, thickness)
        return torch.cat(sampler.at(torch.tensor([0]), ALL)[:2], dim=1), sampler.patches.first[0] >= area

    thick, axis = read(image, 2.0)
    assert axis.any() and not axis.all()
    for number, width in enumerate((2.0, 4.0)):
        expected, _ = read(averaged(image, width, number + 1, 1.2), 0.0)
        assert torch.equal(thick[axis == number], expected[axis == number])
        assert not torch.equal(thick[axis != number], expected[axis != number])


@pytest.mark.parametrize(("shape", "pitches"), [((1, 19, 40), (1.0, 1.0)), ((2, 40, 38), (1.0, 0.5))])
def test_patches_of_gaps_as_wide_as_the_image_stay_inside(shape: tuple[int, int, int], pitches: tuple[float, float]
                                                         ) -> None:
    seen = Seen(SliceContext.around(np.arange(3), np.arange(4) * 18.0, np.array([0.5]), 4), shape, pitches)
    assert (seen.coordinates >= 0).all() and (seen.coordinates.max(axis=(0, 1, 3, 4)) < np.array(shape)).all()
    widths = np.abs(seen.across[:, :, 2, 0] - seen.across[:, :, 1, 0]) * seen.pitches[seen.axis]
    np.testing.assert_allclose(widths, 18.0)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_cubic_convolution_reproduces_what_is_quadratic(degree: int) -> None:
    places = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5.0 + 2.0
    pixels = torch.arange(10, dtype=torch.float64)
    weights = cubic_weight(places[:, None] - pixels)
    torch.testing.assert_close(weights @ pixels ** degree, places ** degree)
    assert (weights != 0).sum(dim=1).max() <= 4


def test_detail_is_preferred() -> None:
    """Half of the image is blank, half is not: of two patches both lie in the blank half a quarter of the time."""
    image = torch.zeros(1, 64, 160)
    image[:, :, 80:] = torch.rand(1, 64, 80, generator=torch.Generator().manual_seed(0))
    blank = {}
    for draws in (1, 2, 4):
        sampler = sampler_of(image, (1.0, 1.0), WHOLE, 20, draws=draws)
        blank[draws] = float(np.mean([(sampler.at(torch.tensor([step]), ALL)[1].std(dim=(1, 2)) == 0).float().mean()
                                      for step in range(20)]))
    assert blank[1] > blank[2] + 0.1 > blank[4] + 0.15


@pytest.mark.gpu
def test_a_gpu_draws_the_same_patches() -> None:
    image = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0))
    for context in (WHOLE, BROKEN):
        here, there = (sampler_of(image.to(device), (1.0, 0.5), context, 150, 2.0) for device in (CPU, GPU))
        for name in ("gap", "first", "along", "across", "most"):
            assert torch.equal(getattr(here.patches, name), getattr(there.patches, name).cpu()), name
        torch.testing.assert_close(here.patches.places, there.patches.places.cpu(), atol=1e-4, rtol=0.0)
        for step in (0, 70, 149):
            for ours, theirs in zip(here.at(torch.tensor([step]), ALL), there.at(torch.tensor([step], device=GPU), ALL),
                                    strict=True):
                torch.testing.assert_close(ours, theirs.cpu(), atol=5e-4, rtol=0.0)
