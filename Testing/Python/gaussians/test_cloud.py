"""The cloud's parameters: precision, drawing, slots."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize

_SYMMETRIC = [0, 1, 2, 1, 3, 4, 2, 4, 5]


def random_parameters(count: int, slots: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64
                      ) -> GaussianParameters:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return GaussianParameters(normal(count, 3), normal(count, 2), normal(count, 3), 0.5 * normal(count), normal(count),
                              normal(count, slots), normal(count, slots, 3),
                              torch.randint(0, 4, (count, slots), generator=generator, dtype=torch.int32))


def matrices(parameters: GaussianParameters) -> np.ndarray:
    """(N, 3, 3) precisions, unpacked."""
    return parameters.precisions()[:, _SYMMETRIC].reshape(-1, 3, 3).detach().numpy()


def covariance(parameters: GaussianParameters, number: int) -> np.ndarray:
    """Depth z of variance s^2; in-plane position = tilt z + a rest of covariance P^-1 that does not depend on z."""
    xx, yx, yy = parameters.in_plane[number].tolist()
    factor = np.array([[np.exp(xx), 0.0], [yx, np.exp(yy)]])
    rest = np.linalg.inv(factor @ factor.T)
    tilt = parameters.tilts[number].numpy()
    variance = np.exp(float(parameters.log_depths[number])) ** 2
    result = np.empty((3, 3))
    result[:2, :2] = rest + variance * np.outer(tilt, tilt)
    result[:2, 2] = result[2, :2] = variance * tilt
    result[2, 2] = variance
    return result


def test_precision_is_the_inverse_of_the_covariance() -> None:
    parameters = random_parameters(50)
    for number, precision in enumerate(matrices(parameters)):
        expected = np.linalg.inv(covariance(parameters, number))
        np.testing.assert_allclose(precision, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


def test_precision_by_hand() -> None:
    """Round cross-section of 2 mm, 0.5 mm deep, moving 3 mm along x per mm of depth."""
    parameters = GaussianParameters(
        torch.zeros(1, 3), torch.tensor([[3.0, 0.0]]), torch.tensor([[np.log(0.5), 0.0, np.log(0.5)]]).float(),
        torch.tensor([np.log(0.5)]).float(), torch.zeros(1), torch.ones(1, 1), torch.zeros(1, 1, 3),
        torch.zeros(1, 1, dtype=torch.int32))
    torch.testing.assert_close(parameters.precisions(), torch.tensor([[0.25, 0.0, -0.75, 0.25, 0.0, 6.25]]))


@pytest.mark.parametrize("seed", range(5))
def test_precision_is_positive_definite_for_any_parameters(seed: int) -> None:
    precisions = matrices(random_parameters(500, seed=seed))
    eigenvalues = np.linalg.eigvalsh(precisions)
    assert (eigenvalues > 0).all()
    in_float32 = matrices(random_parameters(500, seed=seed, dtype=torch.float32))
    assert (in_float32[:, 0, 0] > 0).all() and (in_float32[:, 2, 2] > 0).all()


def test_the_cross_section_moves_by_the_tilt_per_mm() -> None:
    """Peak and shape of a drawn Gaussian on planes at several depths."""
    tilt, sigma, depth = np.array([1.5, -0.75]), 1.2, 2.0
    parameters = GaussianParameters(
        torch.tensor([[12.0, 10.0, 1.0]]).double(), torch.from_numpy(tilt)[None],
        torch.tensor([[-np.log(sigma), 0.0, -np.log(sigma)]]).double(), torch.tensor([np.log(depth)]).double(),
        torch.zeros(1).double(), torch.ones(1, 1).double(), torch.zeros(1, 1, 3).double(),
        torch.zeros(1, 1, dtype=torch.int32))
    heights = np.array([-1.0, 1.0, 2.0])
    planes = PlaneStack([[0, 0, z] for z in heights], [0, 0.5, 0], [0.5, 0, 0], 45, 49)
    drawn = rasterize(parameters.drawn(), planes, mode="additive", channel_count=1, backend="reference",
                      cutoff=60.0).channels[:, 0].numpy()
    y, x = np.meshgrid(np.arange(45) * 0.5, np.arange(49) * 0.5, indexing="ij")
    for image, z in zip(drawn, heights, strict=True):
        total = image.sum()
        centre = np.array([(image * x).sum(), (image * y).sum()]) / total
        np.testing.assert_allclose(centre, np.array([12.0, 10.0]) + tilt * (z - 1.0), atol=1e-5)
        np.testing.assert_allclose((image * (x - centre[0]) ** 2).sum() / total, sigma ** 2, rtol=1e-4)
        expected = 0.5 * np.exp(-0.5 * ((z - 1.0) / depth) ** 2)  # the weight of the logit 0 is 1/2
        np.testing.assert_allclose(total * 0.25 / (2 * np.pi * sigma ** 2), expected, rtol=1e-5)


def test_drawn_applies_the_activations() -> None:
    parameters = random_parameters(20)
    drawn = parameters.drawn()
    torch.testing.assert_close(drawn.weights, 1 / (1 + torch.exp(-parameters.raw_weights)))
    assert drawn.centres is parameters.centres and drawn.values is parameters.values
    assert drawn.slopes is parameters.slopes and drawn.channels is parameters.channels
    torch.testing.assert_close(drawn.precisions, parameters.precisions())
    assert len(drawn) == len(parameters) == 20


def test_gradients_flow_to_every_parameter() -> None:
    names = ("centres", "tilts", "in_plane", "log_depths", "raw_weights", "values", "slopes")
    parameters = random_parameters(6, slots=1)
    leaves = {name: tensor.clone().requires_grad_() if name in names else torch.zeros_like(tensor)
              for name, tensor in parameters.tensors().items()}
    planes = PlaneStack([[-2, -2, -0.3], [-2, -2, 0.4]], [0, 1, 0], [1, 0, 0], 5, 5)
    drawn = rasterize(GaussianParameters(**leaves).drawn(), planes, mode="normalised", channel_count=1,
                      backend="reference")
    gradients = torch.autograd.grad((drawn.channels ** 2).sum(), [leaves[name] for name in names])
    for name, gradient in zip(names, gradients, strict=True):
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, name


def test_precisions_gradcheck() -> None:
    parameters = random_parameters(4)

    def packed(tilts: torch.Tensor, in_plane: torch.Tensor, log_depths: torch.Tensor) -> torch.Tensor:
        return GaussianParameters(**{**parameters.tensors(), "tilts": tilts, "in_plane": in_plane,
                                     "log_depths": log_depths}).precisions()

    inputs = [getattr(parameters, name).clone().requires_grad_() for name in ("tilts", "in_plane", "log_depths")]
    assert torch.autograd.gradcheck(packed, inputs)


def test_slots_are_split_and_joined() -> None:
    with_labels, trained = random_parameters(10, slots=4, seed=1), random_parameters(10, slots=1, seed=2)
    image = with_labels.image_only()
    for name in ("values", "slopes", "channels"):
        torch.testing.assert_close(getattr(image, name), getattr(with_labels, name)[:, :1])
        assert getattr(image, name).is_contiguous()
    assert image.centres is with_labels.centres
    joined = trained.with_labels_of(with_labels)
    for name in ("values", "slopes", "channels"):
        torch.testing.assert_close(getattr(joined, name)[:, :1], getattr(trained, name))
        torch.testing.assert_close(getattr(joined, name)[:, 1:], getattr(with_labels, name)[:, 1:])
    assert joined.centres is trained.centres and joined.raw_weights is trained.raw_weights
    for name, tensor in image.with_labels_of(with_labels).tensors().items():
        torch.testing.assert_close(tensor, getattr(with_labels, name))


def test_subset_takes_every_field() -> None:
    parameters = random_parameters(10)
    chosen = torch.tensor([7, 2])
    for name, tensor in parameters.subset(chosen).tensors().items():
        torch.testing.assert_close(tensor, getattr(parameters, name)[chosen])
    assert len(parameters.subset(parameters.centres[:, 0] > 0)) == int((parameters.centres[:, 0] > 0).sum())


def test_conversion_keeps_the_type_of_the_channels() -> None:
    drawn = random_parameters(3).drawn().to(torch.float32)
    assert drawn.precisions.dtype == drawn.slopes.dtype == torch.float32
    assert drawn.channels.dtype == torch.int32
    assert random_parameters(3).to("cpu").values.dtype == torch.float64


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_kernels_activate_as_torch_does(device: str, request: pytest.FixtureRequest) -> None:
    """Precisions, weights and all gradients; `cpu` is the stand-in that runs the kernels on the processor."""
    from TriplaneGaussianReconLib.gaussians.activation_cuda import activated

    if device == "cpu":
        request.getfixturevalue("cuda_on_host")
    parameters = random_parameters(300).to(device)
    leaves = [getattr(parameters, name).requires_grad_() for name in ("tilts", "in_plane", "log_depths", "raw_weights")]
    pulls = [torch.randn(shape, dtype=torch.float64, device=device) for shape in ((300, 6), (300,))]
    results = []
    for made in (activated(*leaves), (parameters.precisions(), torch.sigmoid(parameters.raw_weights))):
        loss = sum((each * pull).sum() for each, pull in zip(made, pulls, strict=True))
        assert isinstance(loss, torch.Tensor)
        results.append((*(each.detach() for each in made), *torch.autograd.grad(loss, leaves)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
