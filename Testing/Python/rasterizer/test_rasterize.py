"""The rasterizer: `cpu` and `cuda` against the dense `reference`, gradients against finite differences, repeatability.

`cuda` runs on a GPU (marker `gpu`); `cuda_on_host` is a stand-in for one that runs the same kernels on the processor.
"""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.gaussians.cloud import Gaussians
from TriplaneGaussianReconLib.rasterizer.modes import MODES
from TriplaneGaussianReconLib.rasterizer.rasterize import EPSILON, MAX_ALPHA, Raster, rasterize

INPUTS = ("centres", "precisions", "weights", "values", "slopes")
COMPILED = ("cpu", "cuda_on_host", pytest.param("cuda", marks=pytest.mark.gpu))
BACKENDS = (*COMPILED, "reference")


@pytest.fixture(params=COMPILED)
def backend(request: pytest.FixtureRequest) -> str:
    """Every compiled implementation in turn."""
    if request.param == "cuda_on_host":
        request.getfixturevalue("cuda_on_host")
    return str(request.param)


def device_of(backend: str) -> str:
    return "cuda" if backend == "cuda" else "cpu"


def oblique_planes(origins_along_normal: list[float], rows: int, columns: int) -> PlaneStack:
    """Planes of a skewed direction with unequal, not quite orthogonal steps, around the origin of the frame."""
    column_step, row_step = np.array([0.7, 0.3, 0.2]), np.array([-0.25, 0.9, 0.4])
    normal = np.cross(column_step, row_step)
    normal /= np.linalg.norm(normal)
    corner = -0.5 * ((columns - 1) * column_step + (rows - 1) * row_step)
    origins = [corner + offset * normal + 0.3 * n * column_step for n, offset in enumerate(origins_along_normal)]
    return PlaneStack(np.array(origins).reshape(-1, 3), row_step, column_step, rows, columns)


def random_gaussians(count: int, slots: int = 1, channel_count: int = 1, spread: float = 3.0, seed: int = 0,
                     dtype: torch.dtype = torch.float64) -> Gaussians:
    """Gaussians of random place, size (sigma around 1 mm), direction and content."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    factor = torch.eye(3, dtype=torch.float64) * (0.6 + 0.8 * uniform(count, 1, 3)) + 0.5 * (uniform(count, 3, 3) - 0.5)
    matrices = factor @ factor.transpose(1, 2)
    packed = matrices[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    channels = torch.randint(0, channel_count, (count, slots), generator=generator, dtype=torch.int32)
    return Gaussians((uniform(count, 3) - 0.5) * 2 * spread, packed, 0.2 + uniform(count), uniform(count, slots),
                     uniform(count, slots, 3) - 0.5, channels).to(dtype)


def trainable(gaussians: Gaussians) -> Gaussians:
    return replace(gaussians, **{name: getattr(gaussians, name).clone().requires_grad_() for name in INPUTS})


def draw_and_differentiate(gaussians: Gaussians, planes: PlaneStack, mode: str, channel_count: int, backend: str,
                           cutoff: float = 12.0) -> tuple[Raster, dict[str, Tensor]]:
    """Draw, and hand back a fixed random gradient into both outputs."""
    leaves = trainable(gaussians.to(device_of(backend)))
    raster = rasterize(leaves, planes, mode=mode, channel_count=channel_count, backend=backend,  # type: ignore
                       cutoff=cutoff)
    generator = torch.Generator().manual_seed(7)
    loss = sum((torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output) * output).sum()
               for output in (raster.channels, raster.weight_sum))
    assert isinstance(loss, Tensor)
    gradients = torch.autograd.grad(loss, [getattr(leaves, name) for name in INPUTS], materialize_grads=True)
    raster = Raster(raster.channels.detach().cpu(), raster.weight_sum.detach().cpu())
    return raster, {name: gradient.cpu() for name, gradient in zip(INPUTS, gradients, strict=True)}


def assert_agreement(backend: str, gaussians: Gaussians, planes: PlaneStack, mode: str, channel_count: int = 1,
                     cutoff: float = 12.0, tolerance: float = 1e-9) -> Raster:
    """Compare `backend` with the float64 `reference` in results and all gradients; return what it drew."""
    raster, gradients = draw_and_differentiate(gaussians, planes, mode, channel_count, backend, cutoff)
    truth, true_gradients = draw_and_differentiate(gaussians.to(torch.float64), planes, mode, channel_count,
                                                   "reference", cutoff)
    assert raster.channels.shape == (len(planes), channel_count, planes.rows, planes.columns)
    assert raster.weight_sum.shape == planes.shape
    pairs = {"channels": (raster.channels, truth.channels), "weight_sum": (raster.weight_sum, truth.weight_sum)}
    pairs |= {name: (gradients[name], true_gradients[name]) for name in INPUTS}
    for name, (ours, expected) in pairs.items():
        assert ours.dtype == gaussians.centres.dtype, name
        scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
        torch.testing.assert_close(ours.double(), expected, atol=tolerance * scale, rtol=tolerance,
                                   msg=f"{name} differ by up to {(ours - expected).abs().max() if len(ours) else 0}")
    return raster


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_agrees_with_reference(backend: str, mode: str, slots: int) -> None:
    """Oblique planes, uneven and unsorted, rectangular raster, several slots in five channels."""
    gaussians = random_gaussians(60, slots, 5)
    if slots == 3:
        assert (gaussians.channels[:, 0] == gaussians.channels[:, 1]).any(), "two slots in one channel must occur"
    planes = oblique_planes([1.3, -0.4, 0.2, -2.2, 0.25], rows=7, columns=21)
    raster = assert_agreement(backend, gaussians, planes, mode, 5)
    assert (raster.weight_sum > 0.1).double().mean() > 0.3
    assert all((raster.channels[:, c] != 0).any() for c in range(5))


@pytest.mark.parametrize("mode", MODES)
def test_truncation_agrees(backend: str, mode: str) -> None:
    """With a small cutoff every Gaussian covers a few pixels only, and many of those lie at its rim."""
    planes = oblique_planes([-0.7, 0.0, 1.1], rows=23, columns=9)
    raster = assert_agreement(backend, random_gaussians(40), planes, mode, cutoff=1.7)
    covered = (raster.weight_sum > 0).double().mean()
    assert 0.1 < covered < 0.95


@pytest.mark.parametrize("mode", MODES)
def test_single_precision(backend: str, mode: str) -> None:
    """float32 follows the float64 truth; a huge cutoff, so that no pixel changes sides by rounding."""
    planes = oblique_planes([-0.5, 0.6], rows=10, columns=12)
    gaussians = random_gaussians(50, 2, 3, dtype=torch.float32)
    assert_agreement(backend, gaussians, planes, mode, 3, cutoff=150.0, tolerance=2e-5)


def test_single_precision_far_from_the_origin(backend: str) -> None:
    """Pixel coordinates of several hundred must not cost precision: only the rounding of the centre is left."""
    planes = PlaneStack(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), 600,
                        620)
    gaussians = random_gaussians(3, dtype=torch.float32)
    gaussians = replace(gaussians, centres=torch.tensor([[600.25, 580.5, 0.25], [611.0, 590.0, 0.5], [5.5, 3.0, 0.0]]))
    assert_agreement(backend, gaussians, planes, "additive", cutoff=30.0, tolerance=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_many_tiles_agree(backend: str, mode: str) -> None:
    """More rows, planes and channels than one tile holds, so that Gaussians straddle tiles."""
    planes = oblique_planes(list(np.linspace(-3, 3, 19)), rows=70, columns=5)
    gaussians = random_gaussians(30, 1, 2, spread=20.0)
    gaussians = replace(gaussians, centres=gaussians.centres * torch.tensor([0.2, 1.0, 0.3], dtype=torch.float64))
    raster = assert_agreement(backend, gaussians, planes, mode, 2)
    assert (raster.weight_sum.amax((1, 2)) > 0).all()


def test_long_rows_agree(backend: str) -> None:
    """A row of a wide Gaussian takes several vector blocks."""
    planes = PlaneStack(np.zeros((1, 3)), np.array([0, 0.1, 0]), np.array([0.1, 0, 0]), 9, 77)
    assert_agreement(backend, random_gaussians(12), planes, "normalised")
    assert_agreement(backend, random_gaussians(12), planes, "alpha")


@pytest.mark.parametrize("mode", MODES)
def test_single_plane_and_single_pixel(backend: str, mode: str) -> None:
    assert_agreement(backend, random_gaussians(20), oblique_planes([0.1], rows=6, columns=11), mode)
    raster = assert_agreement(backend, random_gaussians(20), oblique_planes([0.1], rows=1, columns=1), mode)
    assert float(raster.weight_sum) > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_nothing_to_draw(mode: str, backend: str) -> None:
    """No Gaussians, no planes, or planes far away: zeros, and gradients of zero."""
    cases = ((random_gaussians(0, 2, 3), oblique_planes([0.0, 1.0], 4, 5)),
             (random_gaussians(5, 2, 3), oblique_planes([], 4, 5)),
             (random_gaussians(5, 2, 3), oblique_planes([100.0, -90.0], 4, 5)))
    for gaussians, planes in cases:
        raster, gradients = draw_and_differentiate(gaussians, planes, mode, 3, backend)
        assert raster.channels.shape == (len(planes), 3, 4, 5) and raster.weight_sum.shape == planes.shape
        assert not raster.channels.any() and not raster.weight_sum.any()
        for name, gradient in gradients.items():
            assert gradient.shape == getattr(gaussians, name).shape and not gradient.any()


def test_some_planes_miss(backend: str) -> None:
    raster = assert_agreement(backend, random_gaussians(8), oblique_planes([50.0, 0.0, -50.0], 5, 6), "normalised")
    assert [bool(plane.any()) for plane in raster.weight_sum] == [False, True, False]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wanted", [("weights", "values"), ("values", "slopes"), ("centres",),
                                    ("precisions", "slopes")])
def test_partial_gradients(backend: str, mode: str, wanted: tuple[str, ...]) -> None:
    """Gradients that are asked for alone equal those that are asked for together; the others stay away."""
    gaussians = random_gaussians(25, 2, 3).to(device_of(backend))
    planes = oblique_planes([-0.3, 0.8], 8, 9)

    def gradients(names: tuple[str, ...]) -> dict[str, Tensor]:
        leaves = replace(gaussians, **{name: getattr(gaussians, name).clone().requires_grad_() for name in names})
        raster = rasterize(leaves, planes, mode=mode, channel_count=3, backend=backend)  # type: ignore[arg-type]
        raster.channels.square().sum().backward()
        return {name: getattr(leaves, name).grad for name in INPUTS}

    everything, some = gradients(INPUTS), gradients(wanted)
    for name in INPUTS:
        if name in wanted:
            assert some[name].any()
            torch.testing.assert_close(some[name], everything[name], rtol=1e-12, atol=1e-13)
        else:
            assert some[name] is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_gradcheck(mode: str, backend: str) -> None:
    """Against finite differences, with a cutoff beyond every pixel and no opacity at its ceiling."""
    gaussians = random_gaussians(3, 2, 2, spread=1.0)
    gaussians = replace(gaussians, weights=gaussians.weights * 0.6).to(device_of(backend))
    planes = oblique_planes([-0.2, 0.5], rows=2, columns=3)

    def function(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        raster = rasterize(replace(gaussians, **dict(zip(INPUTS, leaves, strict=True))), planes, mode=mode,
                           channel_count=2, backend=backend, cutoff=1e4)  # type: ignore[arg-type]
        return raster.channels, raster.weight_sum

    leaves = [getattr(gaussians, name).clone().requires_grad_() for name in INPUTS]
    assert torch.autograd.gradcheck(function, leaves, nondet_tol=0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeats_bit_by_bit(backend: str, mode: str, dtype: torch.dtype, request: pytest.FixtureRequest) -> None:
    """Between runs, between one and two threads, and whatever the order in which a GPU's threads run."""
    gaussians = random_gaussians(3000, 2, 3, spread=8.0, dtype=dtype)
    planes = oblique_planes([-2.0, -1.0, 0.0, 0.9, 2.5], rows=40, columns=30)
    threads = torch.get_num_threads()
    results = []
    try:
        for count, order in ((2, "forward"), (2, "reverse"), (1, 5)):
            torch.set_num_threads(count)
            if backend == "cuda_on_host":
                request.getfixturevalue("cuda_on_host")(order)
            results.append(draw_and_differentiate(gaussians, planes, mode, 3, backend))
    finally:
        torch.set_num_threads(threads)
        if backend == "cuda_on_host":
            request.getfixturevalue("cuda_on_host")("forward")
    first, first_gradients = results[0]
    assert first.weight_sum.any() and all(gradient.any() for gradient in first_gradients.values())
    for other, other_gradients in results[1:]:
        assert torch.equal(first.channels, other.channels) and torch.equal(first.weight_sum, other.weight_sum)
        assert all(torch.equal(first_gradients[name], other_gradients[name]) for name in INPUTS)


def coincident(weights: list[float], heights: list[float], values: list[float]) -> Gaussians:
    """Round Gaussians of sigma 1 mm above the origin at `heights`."""
    count = len(weights)
    centres = torch.zeros(count, 3, dtype=torch.float64)
    centres[:, 2] = torch.tensor(heights, dtype=torch.float64)
    precisions = torch.tensor([[1.0, 0, 0, 1, 0, 1]], dtype=torch.float64).repeat(count, 1)
    return Gaussians(centres, precisions, torch.tensor(weights, dtype=torch.float64),
                     torch.tensor(values, dtype=torch.float64)[:, None], torch.zeros(count, 1, 3, dtype=torch.float64),
                     torch.zeros(count, 1, dtype=torch.int32))


PIXEL = PlaneStack(np.zeros((1, 3)), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), 1, 1)


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_alpha_order(backend: str) -> None:
    """Nearest first whatever the side; equal distances by index."""
    def draw(heights: list[float], values: list[float]) -> float:
        gaussians = coincident([0.5] * len(values), heights, values).to(device_of(backend))
        raster = rasterize(gaussians, PIXEL, mode="alpha", channel_count=1, backend=backend)  # type: ignore[arg-type]
        return float(raster.channels)

    near, far = 0.5 * np.exp(-0.5 * 0.25), 0.5 * np.exp(-0.5)
    assert draw([1.0, -0.5], [1.0, 0.0]) == pytest.approx(far * (1 - near), rel=1e-12)
    assert draw([1.0, -0.5], [0.0, 1.0]) == pytest.approx(near, rel=1e-12)
    assert draw([-0.5, 0.5, 0.5], [1.0, 10.0, 100.0]) == pytest.approx(
        near + 10 * near * (1 - near) + 100 * near * (1 - near) ** 2, rel=1e-12)


def test_alpha_ties_in_large_numbers(backend: str) -> None:
    """Hundreds of Gaussians at two distances: an unstable sort would not get this right."""
    gaussians = random_gaussians(300)
    heights = torch.where(torch.arange(300) % 3 == 0, 0.25, -0.25).double()
    heights[::7] = 0.5
    gaussians = replace(gaussians, centres=torch.cat([gaussians.centres[:, :2], heights[:, None]], 1),
                        weights=gaussians.weights * 0.1)
    planes = PlaneStack(np.zeros((1, 3)), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), 3, 4)
    assert_agreement(backend, gaussians, planes, "alpha")


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_alpha_ceiling(backend: str) -> None:
    """An opacity at its ceiling hands nothing back to weight and shape, but does so to the value."""
    gaussians = trainable(coincident([1.0], [0.0], [2.0]).to(device_of(backend)))
    raster = rasterize(gaussians, PIXEL, mode="alpha", channel_count=1, backend=backend)  # type: ignore[arg-type]
    (raster.channels.sum() + raster.weight_sum.sum()).backward()
    assert raster.channels.item() == pytest.approx(2 * MAX_ALPHA)
    assert raster.weight_sum.item() == pytest.approx(MAX_ALPHA)
    assert gaussians.values.grad is not None and float(gaussians.values.grad) == pytest.approx(MAX_ALPHA)
    assert gaussians.weights.grad is not None and not gaussians.weights.grad.any()
    assert gaussians.precisions.grad is not None and not gaussians.precisions.grad.any()


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_closed_form(backend: str) -> None:
    """Two Gaussians at one pixel, computed by hand."""
    gaussians = coincident([0.5, 2.0], [1.0, 2.0], [3.0, 5.0]).to(device_of(backend))
    first, second = 0.5 * np.exp(-0.5), 2.0 * np.exp(-2.0)
    additive, normalised = (rasterize(gaussians, PIXEL, mode=mode, channel_count=1, backend=backend)  # type: ignore
                            for mode in ("additive", "normalised"))
    assert float(additive.channels) == pytest.approx(3 * first + 5 * second, rel=1e-12)
    assert float(additive.weight_sum) == pytest.approx(first + second, rel=1e-12)
    assert float(normalised.channels) == pytest.approx((3 * first + 5 * second) / (first + second + EPSILON), rel=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_indefinite_precision_is_not_drawn(backend: str, mode: str) -> None:
    gaussians = random_gaussians(1)
    gaussians = replace(gaussians, precisions=torch.tensor([[1.0, 0, 0, -1, 0, 1]], dtype=torch.float64))
    raster, gradients = draw_and_differentiate(gaussians, oblique_planes([0.0], 4, 4), mode, 1, backend)
    assert not raster.weight_sum.any()
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("mode", MODES)
def test_a_crowd_among_few(backend: str, mode: str) -> None:
    """Gaussians that reach thousands of pixels, which a GPU draws with whole warps, between small ones."""
    gaussians = random_gaussians(70, 2, 3, spread=10.0)
    size = torch.where(torch.arange(70) % 9 == 4, 0.02, 1.0).double()[:, None]
    gaussians = replace(gaussians, precisions=gaussians.precisions * size, weights=0.3 * gaussians.weights)
    raster = assert_agreement(backend, gaussians, oblique_planes([-4.0, 0.0, 0.5], 33, 40), mode, 3)
    assert (raster.weight_sum > 0).double().mean() > 0.9


def test_alpha_with_more_than_a_tile_sorts_at_a_time(backend: str) -> None:
    """Two thousand Gaussians on every pixel, nearly transparent, many of them at equal distances."""
    gaussians = random_gaussians(2000, 1, 1, spread=0.5)
    heights = torch.round(gaussians.centres[:, 2] * 200) / 200
    gaussians = replace(gaussians, centres=torch.cat([gaussians.centres[:, :2], heights[:, None]], 1),
                        weights=gaussians.weights * 0.003)
    planes = PlaneStack(np.zeros((1, 3)), np.array([0, 0.1, 0]), np.array([0.1, 0, 0]), 3, 18)
    raster = assert_agreement(backend, gaussians, planes, "alpha")
    assert 0.5 < float(raster.weight_sum.min()) < 1.0


@pytest.mark.parametrize("backend", COMPILED[1:], indirect=True)
def test_alpha_lists_that_overflow(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lists of a GPU's tiles are full, tiles look through everything, with the same result."""
    from TriplaneGaussianReconLib.rasterizer import cuda

    gaussians, planes = random_gaussians(60, 2, 3), oblique_planes([1.3, -0.4, 0.2], rows=37, columns=21)
    listed, listed_gradients = draw_and_differentiate(gaussians, planes, "alpha", 3, backend)
    monkeypatch.setattr(cuda, "_LISTED", 40)
    raster, gradients = draw_and_differentiate(gaussians, planes, "alpha", 3, backend)
    assert torch.equal(raster.channels, listed.channels) and raster.weight_sum.any()
    assert all(torch.equal(gradients[name], listed_gradients[name]) for name in INPUTS)


@pytest.mark.parametrize("jitter", [0.0, 0.2, 1.0])
def test_neighbours_in_memory_and_in_space(backend: str, jitter: float) -> None:
    """A Gaussian per pixel, row by row, as most clouds are: a GPU lets neighbours add up their sums before it stores
    them.  Rows of 37 break warps in two; Gaussians hang over the image's borders."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.arange(-2.0, 23.0), torch.arange(-2.0, 35.0), indexing="ij")
    centres = torch.stack([columns, rows, torch.full_like(rows, 0.3)], -1).reshape(-1, 3).double()
    centres[:, :2] += jitter * torch.randn(len(centres), 2, generator=generator, dtype=torch.float64)
    gaussians = replace(random_gaussians(len(centres), 2, 3), centres=centres)
    gaussians = replace(gaussians, channels=(gaussians.channels * 0 + torch.tensor([0, 2], dtype=torch.int32)))
    planes = PlaneStack(np.array([[0, 0, 0], [0, 0, 1.5]]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), 21, 33)
    raster = assert_agreement(backend, gaussians, planes, "normalised", 3)
    assert (raster.weight_sum[0] > 0).all()


def test_not_a_number_stays_one(backend: str) -> None:
    """Training that went astray must not look like a result."""
    for name in ("weights", "values", "slopes"):
        gaussians = random_gaussians(5)
        getattr(gaussians, name)[2] = float("nan")
        raster, _ = draw_and_differentiate(gaussians, oblique_planes([0.0], 6, 6), "normalised", 1, backend)
        assert raster.channels.isnan().any()


@pytest.mark.parametrize("backend", COMPILED[1:], indirect=True)
def test_more_pixels_than_a_gpu_can_number(backend: str) -> None:
    huge = PlaneStack(np.zeros((1, 3)), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), 2 ** 16, 2 ** 15)
    with pytest.raises(InputError, match="fewer planes"):
        rasterize(random_gaussians(2).to(device_of(backend)), huge, mode="additive", channel_count=1,
                  backend=backend)  # type: ignore[arg-type]


def test_cuda_wants_tensors_on_the_gpu() -> None:
    with pytest.raises(InputError, match="on device 'cpu'.*Move.*'cuda'"):
        rasterize(random_gaussians(1), PIXEL, mode="alpha", channel_count=1, backend="cuda")


@pytest.mark.parametrize(("change", "message"), [
    ({"centres": torch.zeros(4, 2, dtype=torch.float64)}, "centres"),
    ({"precisions": torch.zeros(4, 6)}, "float32"),
    ({"weights": torch.zeros(3, dtype=torch.float64)}, "weights"),
    ({"values": torch.zeros(4, dtype=torch.float64)}, "values"),
    ({"slopes": torch.zeros(4, 1, 3, dtype=torch.float64)}, "slopes"),
    ({"channels": torch.zeros(4, 2, dtype=torch.int64)}, "int32"),
    ({"channels": torch.full((4, 2), 3, dtype=torch.int32)}, "only 0 to 2"),
    ({"channels": torch.full((4, 2), -1, dtype=torch.int32)}, "only 0 to 2"),
])
def test_input_that_does_not_fit(change: dict[str, Tensor], message: str) -> None:
    gaussians = random_gaussians(4, 2, 3)
    rasterize(gaussians, PIXEL, mode="additive", channel_count=3)
    with pytest.raises(InputError, match=message):
        rasterize(replace(gaussians, **change), PIXEL, mode="additive", channel_count=3)


@pytest.mark.parametrize("options", [{"mode": "max"}, {"channel_count": 0}, {"cutoff": 0.0}, {"cutoff": float("nan")},
                                     {"backend": "tpu"}])
def test_options_that_do_not_exist(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        rasterize(random_gaussians(1), PIXEL, **({"mode": "additive", "channel_count": 1} | options))  # type: ignore


def test_import_is_light() -> None:
    code = "import sys, TriplaneGaussianReconLib.rasterizer.rasterize; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_works_without_a_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    from TriplaneGaussianReconLib.rasterizer.cpu_kernels import compiled

    def double(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert compiled(double)(1.5) == 3.0
