"""The small residual convolution network."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork

KERNELS = ((1, 5), (3, 3))


def network_of(kernel: tuple[int, int], conditions: int = 0, seed: int = 0, blocks: int = 2) -> ResidualNetwork:
    return ResidualNetwork(4, 3, 5, blocks, kernel, torch.Generator().manual_seed(seed), conditions)


def randomised(network: ResidualNetwork) -> ResidualNetwork:
    """As after some training: no layer is 0."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network


def images_of(rows: int, columns: int, count: int = 2) -> Tensor:
    return torch.randn(count, 4, rows, columns, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("conditions", [0, 6])
def test_before_training_it_returns_zeros(kernel: tuple[int, int], conditions: int) -> None:
    steering = torch.randn(2, conditions) if conditions else None
    result = network_of(kernel, conditions)(images_of(7, 9), steering)
    assert result.shape == (2, 3, 7, 9) and not result.any()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("blocks", [0, 1, 3])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 12), (12, 1), (7, 9)])
def test_images_keep_their_size(kernel: tuple[int, int], blocks: int, rows: int, columns: int) -> None:
    result = randomised(network_of(kernel, blocks=blocks))(images_of(rows, columns))
    assert result.shape == (2, 3, rows, columns) and result.isfinite().all() and result.any()


@pytest.mark.parametrize(("kernel", "reach"), [((1, 5), (0, 12)), ((3, 3), (6, 6))])
def test_a_pixel_is_seen_as_far_as_its_convolutions_reach(kernel: tuple[int, int], reach: tuple[int, int]) -> None:
    """Six convolutions; those along lines never look at another line."""
    network, images = randomised(network_of(kernel)), images_of(31, 31)
    changed = images.clone()
    changed[:, :, 15, 15] += 5.0
    rows, columns = torch.nonzero((network(changed) - network(images)).abs().amax(dim=(0, 1)), as_tuple=True)
    assert (rows.min(), rows.max()) == (15 - reach[0], 15 + reach[0])
    assert (columns.min(), columns.max()) == (15 - reach[1], 15 + reach[1])


def test_conditions_steer_each_image_by_its_own() -> None:
    network, images = randomised(network_of((1, 5), 6)), images_of(3, 9, 1).expand(3, -1, -1, -1)
    conditions = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    conditions[2] = conditions[0]
    first, other, again = network(images, conditions)
    torch.testing.assert_close(again, first)
    assert (other - first).abs().max() > 1e-2
    torch.testing.assert_close(network(images, torch.zeros(3, 6)), network(images))


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients(kernel: tuple[int, int]) -> None:
    """Of images, conditions and every weight."""
    network = randomised(ResidualNetwork(2, 1, 2, 1, kernel, torch.Generator().manual_seed(0), 2)).double()
    names, weights = zip(*((name, p.detach().requires_grad_()) for name, p in network.named_parameters()), strict=True)
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    conditions = torch.randn(2, 2, dtype=torch.float64, generator=generator).requires_grad_()

    def result(images: Tensor, conditions: Tensor, *values: Tensor) -> Tensor:
        return functional_call(network, dict(zip(names, values, strict=True)), (images, conditions))

    assert torch.autograd.gradcheck(result, (images, conditions, *weights))


def test_the_same_generator_gives_the_same_weights() -> None:
    first, again, other = (list(network_of((3, 3), seed=seed).parameters()) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
