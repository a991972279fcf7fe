"""Where Gaussians start."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.gap_sampling import evenly
from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.gaussians import placement
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.placement import Gaps, along_displacement
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize
from TriplaneGaussianReconLib.registration.optical_flow import Correspondence, correspond

FAST = PRESETS["fast"]
SHAPE = (28, 32)
MARGIN, BORDER = FAST.placement.margin, FAST.placement.background_border


def stack(depths: np.ndarray | list[float], shape: tuple[int, int] = SHAPE, pixel: tuple[float, float] = (1.0, 1.0)
          ) -> PlaneStack:
    """Planes at `depths`; pixel: (column, row) size."""
    origins = np.zeros((len(depths), 3))
    origins[:, 2] = depths
    return PlaneStack(origins, [0, pixel[1], 0], [pixel[0], 0, 0], *shape)


def gaps_of(slices: np.ndarray, depths: list[float], between: tuple[np.ndarray, ...], background: float = -1.0,
            pixel: tuple[float, float] = (1.0, 1.0), correspondence: Correspondence | None = None) -> Gaps:
    predictions = tuple(torch.from_numpy(images) for images in between)
    return Gaps(stack(depths, slices.shape[1:], pixel), slices, correspondence or correspond(slices, FAST.flow),
                predictions, background)


def placed(gaps: Gaps, depth_range: tuple[float, float] | None = None) -> GaussianParameters:
    offsets = gaps.planes.offsets
    return along_displacement(gaps, FAST.in_plane_sigma, FAST.depth_sigmas, FAST.opacity,
                              depth_range or (float(offsets[0]), float(offsets[-1])), FAST.placement)


def drawn(parameters: GaussianParameters, gaps: Gaps, depths: list[float], channel_count: int = 1) -> np.ndarray:
    """[plane, channel, row, column]; the background is added to the image."""
    planes = stack(depths, gaps.slices.shape[1:], (gaps.planes.column_step[0], gaps.planes.row_step[1]))
    channels = rasterize(parameters.drawn(), planes, mode=FAST.mode, channel_count=channel_count, backend="cpu",
                         cutoff=FAST.cutoff).channels.numpy()
    channels[:, 0] += gaps.background
    return channels


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - truth) ** 2)))


def moving(textured: Callable[..., np.ndarray], depths: list[float], counts: list[int]) -> tuple[Gaps, np.ndarray]:
    """A pattern that moves by (0.6, -0.4) pixels per mm of depth, with true images between the slices."""
    fine = textured((int(4 * depths[-1]) + 1, *SHAPE), (0.15, -0.1), seed=3, count=80)

    def at(depth: float) -> np.ndarray:
        return fine[round(4 * depth)]

    between = []
    for low, high, count in zip(depths[:-1], depths[1:], counts, strict=True):
        between.append(np.stack([at(low + (high - low) * share) for share in evenly(count)]))
    return gaps_of(np.stack([at(d) for d in depths]), depths, tuple(between)), fine


@pytest.mark.parametrize(("depths", "counts"), [
    ([0.0, 2.0, 6.0, 8.0], [1, 1, 1]), ([0.0, 2.0, 6.0, 8.0], [3, 3, 3]), ([0.0, 2.0, 6.0, 8.0], [1, 3, 1]),
    ([0.0, 3.0, 6.0, 9.0], [2, 2, 2]), ([0.0, 2.0, 5.0, 9.0], [1, 2, 3]), ([0.0, 2.0, 5.0, 7.0], [7, 5, 3])])
def test_observed_slices_and_predictions_are_drawn(textured: Callable[..., np.ndarray], depths: list[float],
                                                  counts: list[int]) -> None:
    gaps, _ = moving(textured, depths, counts)
    parameters = placed(gaps)
    assert psnr(drawn(parameters, gaps, depths)[:, 0], gaps.slices) > 40
    for gap, images in enumerate(gaps.predictions):
        low, high = depths[gap:gap + 2]
        where = [low + (high - low) * (n + 1) / (len(images) + 1) for n in range(len(images))]
        assert psnr(drawn(parameters, gaps, where)[:, 0], images.numpy()) > 36


def test_the_tilt_follows_what_moves_through_a_wide_gap(textured: Callable[..., np.ndarray]) -> None:
    """Between the layers the model is near the truth too, much nearer than without tilts and slopes."""
    depths = [0.0, 4.0, 8.0]
    gaps, fine = moving(textured, depths, [3, 3])
    parameters = placed(gaps)
    straight = replace(parameters, tilts=torch.zeros_like(parameters.tilts),
                       slopes=torch.zeros_like(parameters.slopes))
    where = [1.5, 2.5, 5.5, 6.5]
    truth = fine[[round(4 * w) for w in where]]
    ours, without = (psnr(drawn(p, gaps, where)[:, 0], truth) for p in (parameters, straight))
    assert ours > 36 and ours > without + 3


def test_half_the_gradient_keeps_peaks_sharp(textured: Callable[..., np.ndarray]) -> None:
    """A weighted mean flattens, a full linear term overshoots; half of it is nearer to the slices than either."""
    slices = textured((2, *SHAPE), (0.0, 0.0), seed=3)
    still = Correspondence(np.zeros((1, *SHAPE, 2), np.float32), np.ones((1, *SHAPE), np.float32))
    gaps = gaps_of(slices, [0.0, 2.0], (slices[:1],), correspondence=still)
    parameters = placed(gaps)
    found = [psnr(drawn(replace(parameters, slopes=factor * parameters.slopes), gaps, [0.0, 2.0])[:, 0], slices)
             for factor in (0.0, 1.0, 2.0)]
    assert found[1] > max(found[0], found[2]) + 3


def test_what_only_moves_does_not_change_along_the_tilt(textured: Callable[..., np.ndarray]) -> None:
    """Half the in-plane gradient, carried along the tilt, is taken out of the depth's slope."""
    gaps, _ = moving(textured, [0.0, 4.0], [3])
    parameters = placed(gaps)
    x, y = parameters.centres[:, 0], parameters.centres[:, 1]
    inner = (x > 8) & (x < 23) & (y > 8) & (y < 19) & (parameters.tilts[:, 0] != 0)
    slopes, tilts = parameters.slopes[inner, 0], parameters.tilts[inner]
    sideways = (slopes[:, :2] * tilts).sum(dim=1)
    assert float((sideways + slopes[:, 2]).abs().mean()) < 0.2 * float(sideways.abs().mean())


def test_layers_lie_where_the_predictions_are(textured: Callable[..., np.ndarray]) -> None:
    gaps, _ = moving(textured, [0.0, 2.0, 6.0, 7.0], [1, 3, 1])
    z = np.unique(placed(gaps).centres[:, 2].numpy())
    np.testing.assert_allclose(z, [0, 1, 2, 3, 5, 6, 6.5, 7])


def test_neighbours_in_space_are_neighbours_in_memory(textured: Callable[..., np.ndarray]) -> None:
    """Layer by layer along z, the copies beyond the ends too; row by row, column by column."""
    gaps, _ = moving(textured, [0.0, 2.0, 6.0, 7.0], [1, 3, 1])
    centres = placed(gaps, (-5.0, 9.0)).centres
    x, y, z = centres.unbind(1)
    np.testing.assert_array_equal(np.lexsort((x, y, z)), np.arange(len(centres)))
    assert float(z[0]) == -5.0 and float(z[-1]) == 8.5


def test_depths_scale_with_the_gap() -> None:
    slices = np.random.default_rng(0).random((3, *SHAPE)).astype(np.float32)
    still = Correspondence(np.zeros((2, *SHAPE, 2), np.float32), np.ones((2, *SHAPE), np.float32))
    gaps = gaps_of(slices, [0.0, 2.0, 8.0], (slices[:1], np.repeat(slices[:1], 3, 0)), correspondence=still)
    parameters = placed(gaps)
    z, sigma = parameters.centres[:, 2].numpy(), parameters.log_depths.exp().numpy()
    depth = {float(at): float(sigma[z == at].mean()) for at in np.unique(z)}
    one, two = FAST.depth_sigmas
    assert depth[1.0] == pytest.approx(one * 1.0, rel=1e-4)
    assert depth[3.5] == pytest.approx(two * 1.5, rel=1e-4) and depth[6.5] == pytest.approx(two * 1.5, rel=1e-4)
    assert depth[2.0] == pytest.approx(min(one * 1.0, two * 1.5), rel=1e-4)  # the narrower neighbour decides
    assert depth[8.0] == pytest.approx(two * 1.5, rel=1e-4)


def test_tilts_are_in_mm_per_mm() -> None:
    """Pixels of 0.5 x 0.8 mm, gaps of 4 mm, a displacement of 2 columns and -3 rows, half believed."""
    slices = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    found = Correspondence(np.broadcast_to(np.float32([2, -3]), (1, *SHAPE, 2)).copy(),
                           np.full((1, *SHAPE), 0.5, np.float32))
    gaps = gaps_of(slices, [0.0, 4.0], (slices[:1],), pixel=(0.5, 0.8), correspondence=found)
    parameters = placed(gaps)
    inside = parameters.centres[:, 2] == 2.0
    expected = np.broadcast_to([0.5 * 2 * 0.5 / 4, -0.5 * 3 * 0.8 / 4], (int(inside.sum()), 2))
    np.testing.assert_allclose(parameters.tilts[inside].numpy(), expected, rtol=1e-4)
    assert not parameters.tilts[~inside].any()
    # The cross-section is round in pixels: standard deviations of 0.38 pixels along either.
    np.testing.assert_allclose(np.exp(-parameters.in_plane[:, 0].numpy()), FAST.in_plane_sigma * 0.5, rtol=1e-5)
    np.testing.assert_allclose(np.exp(-parameters.in_plane[:, 2].numpy()), FAST.in_plane_sigma * 0.8, rtol=1e-5)


@pytest.mark.parametrize("opacity", [0.5, 0.95])
def test_opacity(textured: Callable[..., np.ndarray], opacity: float) -> None:
    gaps, _ = moving(textured, [0.0, 2.0], [1])
    parameters = along_displacement(gaps, FAST.in_plane_sigma, FAST.depth_sigmas, opacity, (0.0, 2.0), FAST.placement)
    torch.testing.assert_close(parameters.drawn().weights, torch.full((len(parameters),), opacity))


def test_planes_that_shift_sideways_tilt_the_gaussians() -> None:
    """The second plane's corner lies 3 mm farther along x: what has no displacement in pixels moves there."""
    slices = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    still = Correspondence(np.zeros((1, *SHAPE, 2), np.float32), np.ones((1, *SHAPE), np.float32))
    planes = replace(stack([0.0, 4.0]), origins=np.array([[0, 0, 0], [3.0, 0, 4]]))
    parameters = placed(Gaps(planes, slices, still, (torch.from_numpy(slices[:1]),), -1.0))
    inside = parameters.centres[:, 2] == 2.0
    np.testing.assert_allclose(parameters.tilts[inside].numpy(),
                               np.broadcast_to([0.75, 0.0], (int(inside.sum()), 2)), rtol=1e-5)
    assert float(parameters.centres[inside, 0].min()) == pytest.approx(1.5 - MARGIN)


def test_background_gets_no_gaussians() -> None:
    """A square of 6 x 6 pixels in an empty slice: Gaussians on it and around it, nowhere else."""
    slices = np.zeros((2, *SHAPE), np.float32)
    slices[:, 10:16, 12:18] = np.random.default_rng(0).uniform(0.5, 1, (2, 6, 6))
    gaps = gaps_of(slices, [0.0, 2.0], (slices.mean(axis=0, keepdims=True),), background=0.0)
    parameters = placed(gaps)
    x, y = parameters.centres[:, 0].numpy(), parameters.centres[:, 1].numpy()
    side = 6 + 2 * BORDER
    assert len(parameters) == 3 * side * side
    assert (x.min(), x.max()) == (12 - BORDER, 17 + BORDER) and (y.min(), y.max()) == (10 - BORDER, 15 + BORDER)
    image = drawn(parameters, gaps, [0.0, 1.0, 2.0])[:, 0]
    outside = np.ones(SHAPE, bool)
    outside[10 - 2 * BORDER:16 + 2 * BORDER, 12 - 2 * BORDER:18 + 2 * BORDER] = False
    assert not image[:, outside].any()
    assert psnr(image[[0, 2]], slices) > 30


def test_background_of_another_value_is_drawn_as_such() -> None:
    slices = np.full((2, *SHAPE), 0.25, np.float32)
    slices[:, 10:16, 12:18] = 0.75
    gaps = gaps_of(slices, [0.0, 2.0], (slices[:1],), background=0.25)
    image = drawn(placed(gaps), gaps, [1.0])[0, 0]
    assert image[0, 0] == np.float32(0.25) and image[12, 15] == pytest.approx(0.75, abs=0.02)


def test_gaussians_reach_beyond_the_image(textured: Callable[..., np.ndarray]) -> None:
    gaps, _ = moving(textured, [0.0, 2.0], [1])
    centres = placed(gaps).centres.numpy()
    rows, columns = SHAPE
    np.testing.assert_allclose(centres[:, :2].min(axis=0), -MARGIN)
    np.testing.assert_allclose(centres[:, :2].max(axis=0), (columns - 1 + MARGIN, rows - 1 + MARGIN))
    assert len(centres) == 3 * (rows + 2 * MARGIN) * (columns + 2 * MARGIN)


def test_beyond_the_ends_the_outermost_slices_are_repeated(textured: Callable[..., np.ndarray]) -> None:
    depths = [0.0, 3.0, 5.0]
    gaps, _ = moving(textured, depths, [3, 1])
    parameters = placed(gaps, (-7.0, 9.0))
    below, above = drawn(parameters, gaps, [-7, -4, -1.5])[:, 0], drawn(parameters, gaps, [6.0, 8.0, 9.0])[:, 0]
    for image in below:
        assert psnr(image, gaps.slices[0]) > 36
    for image in above:
        assert psnr(image, gaps.slices[2]) > 36
    within = placed(gaps)
    assert float(within.centres[:, 2].min()) == 0 and float(within.centres[:, 2].max()) == 5


def test_labels_are_carried(textured: Callable[..., np.ndarray]) -> None:
    gaps, _ = moving(textured, [0.0, 2.0, 6.0], [1, 3])
    channels = LabelChannels((Segment("a", 1), Segment("b", 2), Segment("c", 1, 1)))
    layers = np.zeros((2, *gaps.slices.shape), np.uint8)
    layers[0, :, 6:16, 5:14], layers[0, :, 6:16, 14:22], layers[1, :, 10:20, 8:25] = 1, 2, 1
    parameters = placed(replace(gaps, layers=layers, channels=channels))
    assert parameters.channels.dtype == torch.int32 and int(parameters.channels.max()) == channels.count - 1
    assert not parameters.channels[:, 0].any()
    occupancies = drawn(parameters, gaps, [0.0, 2.0, 6.0], channels.count)
    decoded = channels.decode(occupancies, 2, np.dtype(np.uint8))
    assert (decoded == layers).mean() > 0.995
    between = channels.decode(drawn(parameters, gaps, [1.0, 4.0], channels.count), 2, np.dtype(np.uint8))
    assert (between == layers[:, :1]).mean() > 0.99
    plain = placed(gaps)
    for name in ("centres", "tilts", "log_depths"):  # the image's Gaussians are the same
        torch.testing.assert_close(getattr(plain, name), getattr(parameters, name))
    torch.testing.assert_close(plain.values, parameters.values[:, :1])


def test_the_thread_count_does_not_matter(textured: Callable[..., np.ndarray]) -> None:
    slices = textured((4, 190, 200), (1.0, -1.5), noise=0.05)  # torch splits work of this size
    layers = (slices > 0.5)[None].astype(np.uint8)
    gaps = replace(gaps_of(slices, [0.0, 4.0, 8.0, 10.0], (slices[:3], slices[1:], slices[:1])),
                   layers=layers, channels=LabelChannels((Segment("a", 1),)))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.append(placed(gaps).tensors())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(other[name], tensor) for name, tensor in results[0].items())


def test_how_many_layers_are_worked_on_at_a_time_does_not_matter(textured: Callable[..., np.ndarray],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them or some, as on a GPU, or those of one slice and one gap, as on the CPU."""
    gaps, _ = moving(textured, [0.0, 2.0, 6.0, 7.0, 10.0, 12.0], [1, 3, 1, 3, 1])
    layers = (gaps.slices > 0.5)[None].astype(np.uint8)
    for known in (gaps, replace(gaps, layers=layers, channels=LabelChannels((Segment("a", 1),)))):
        with monkeypatch.context() as patch:
            alone = placed(known, (-5.0, 17.0)).tensors()
            for calls in (1, 2):
                patch.setattr(placement, "shares", lambda items, *_, calls=calls: np.array_split(items, calls))
                together = placed(known, (-5.0, 17.0)).tensors()
                assert all(torch.equal(together[name], tensor) for name, tensor in alone.items())


def test_labels_on_background_get_gaussians() -> None:
    slices = np.zeros((2, *SHAPE), np.float32)
    slices[:, 20:24, 20:24] = 0.8
    layers = np.zeros((1, 2, *SHAPE), np.uint8)
    layers[0, :, 4:9, 4:9] = 1
    channels = LabelChannels((Segment("a", 1),))
    gaps = replace(gaps_of(slices, [0.0, 2.0], (slices[:1],), background=0.0), layers=layers, channels=channels)
    decoded = channels.decode(drawn(placed(gaps), gaps, [0.0, 1.0, 2.0], channels.count), 1, np.dtype(np.uint8))
    np.testing.assert_array_equal(decoded[0], np.broadcast_to(layers[0, 0], (3, *SHAPE)))


def test_slots_that_nobody_uses_are_left_out(textured: Callable[..., np.ndarray]) -> None:
    gaps, _ = moving(textured, [0.0, 2.0], [1])
    layers = np.zeros((1, 2, *SHAPE), np.uint8)
    layers[0, :, 6:16, 5:14] = 1
    parameters = placed(replace(gaps, layers=layers, channels=LabelChannels((Segment("a", 1), Segment("b", 2)))))
    assert parameters.values.shape[1] == 3  # image, background and the one label
    assert parameters.slopes.shape[1:] == (3, 3) and parameters.channels.is_contiguous()
    assert placed(gaps).values.shape[1] == 1
