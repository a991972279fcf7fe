"""The tri-plane field: sampling, fusion, decoding, and what it does to the Gaussians."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.data.geometry import PlaneStack
from TriplaneGaussianReconLib.gaussians.cloud import GaussianParameters
from TriplaneGaussianReconLib.gaussians.triplane import FeatureFusion, TriplaneField
from TriplaneGaussianReconLib.rasterizer.rasterize import rasterize

BOX = torch.tensor([[-2.0, 1.0, 5.0], [6.0, 5.0, 7.0]])  # sides of 8, 4 and 2 mm
LIMITS = {"centres": 2.0, "tilts": 0.3, "scales": 0.5, "weights": 4.0, "intensity": 0.25, "semantics": 0.125}
WIDTHS = {"centres": 3, "tilts": 2, "scales": 3, "weights": 1, "intensity": 1, "semantics": 2}
FUSIONS: tuple[FeatureFusion, ...] = ("concatenate", "weighted_sum")


def field_of(fusion: FeatureFusion = "concatenate", seed: int = 0, random_end: bool = False, limits: dict = LIMITS
             ) -> TriplaneField:
    torch.manual_seed(seed)
    field = TriplaneField(BOX, limits, label_channels=2, resolution=8, features=3, hidden=5, fusion=fusion)
    if random_end:
        torch.nn.init.normal_(field.decoder[-1].weight)
        torch.nn.init.normal_(field.decoder[-1].bias)
    return field


def points_inside(count: int = 12, seed: int = 3) -> torch.Tensor:
    share = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return BOX[0] + share * (BOX[1] - BOX[0])


def gaussians(count: int = 12, slots: int = 3) -> GaussianParameters:
    generator = torch.Generator().manual_seed(5)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) - 0.5

    return GaussianParameters(points_inside(count), uniform(count, 2), uniform(count, 3), uniform(count),
                              uniform(count), uniform(count, slots), uniform(count, slots, 3),
                              torch.arange(slots, dtype=torch.int32).repeat(count, 1))


def bilinear(plane: np.ndarray, a: float, b: float) -> np.ndarray:
    """Sample [feature, row, column] at column a, row b."""
    column, row = min(int(a), plane.shape[2] - 2), min(int(b), plane.shape[1] - 2)
    u, v = a - column, b - row
    return ((1 - v) * ((1 - u) * plane[:, row, column] + u * plane[:, row, column + 1])
            + v * ((1 - u) * plane[:, row + 1, column] + u * plane[:, row + 1, column + 1]))


def sampled_by_hand(field: TriplaneField, point: np.ndarray) -> list[np.ndarray]:
    """Features of the planes xy, yz, xz at `point`; texel centres lie on the box's faces and evenly between them."""
    unit = (point - BOX[0].numpy()) / (BOX[1] - BOX[0]).numpy()
    result = []
    for plane, (a, b) in zip(field.planes, ((0, 1), (1, 2), (0, 2)), strict=True):
        texels = plane.detach().numpy()[0]
        result.append(bilinear(texels, unit[a] * (texels.shape[2] - 1), unit[b] * (texels.shape[1] - 1)))
    return result


def test_texels_have_the_same_size_on_every_plane() -> None:
    assert [tuple(p.shape) for p in field_of().planes] == [(1, 3, 4, 8), (1, 3, 4, 4), (1, 3, 4, 8)]
    thick = TriplaneField(torch.tensor([[0.0, 0, 0], [10, 20, 40]]), {"weights": 1.0}, resolution=40, features=2)
    assert [tuple(p.shape[2:]) for p in thick.planes] == [(20, 10), (40, 20), (40, 10)]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_features_are_bilinear_samples(fusion: FeatureFusion) -> None:
    field, points = field_of(fusion), points_inside()
    if field.plane_weights is not None:
        torch.nn.init.normal_(field.plane_weights)
    features = field.features(points).detach().numpy()
    for point, found in zip(points.numpy(), features, strict=True):
        samples = sampled_by_hand(field, point)
        if field.plane_weights is None:
            expected = np.concatenate(samples)
        else:
            expected = (np.stack(samples) * field.plane_weights.detach().numpy()).sum(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_fusions_differ_in_width() -> None:
    assert field_of("concatenate").features(points_inside()).shape == (12, 9)
    summed = field_of("weighted_sum")
    assert summed.features(points_inside()).shape == (12, 3)
    assert summed.plane_weights is not None and field_of("concatenate").plane_weights is None
    torch.testing.assert_close(summed.plane_weights.sum(0), torch.ones(3))  # starts as the mean


def test_points_outside_the_box_see_its_border() -> None:
    field = field_of(random_end=True)
    outside = torch.tensor([[-9.0, 3.0, 6.0], [1.0, 99.0, 6.5], [7.0, 0.0, 8.0]])
    border = torch.minimum(torch.maximum(outside, BOX[0]), BOX[1])
    torch.testing.assert_close(field.features(outside), field.features(border))


def test_a_flat_box_is_no_problem() -> None:
    flat = TriplaneField(torch.tensor([[0.0, 0.0, 1.0], [4.0, 4.0, 1.0]]), {"weights": 1.0}, resolution=8)
    assert torch.isfinite(flat.features(torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 3.0]]))).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_residuals_are_zero_at_the_start(fusion: FeatureFusion) -> None:
    field, parameters = field_of(fusion), gaussians()
    residuals = field(parameters.centres)
    assert {name: tuple(r.shape) for name, r in residuals.items()} == {n: (12, w) for n, w in WIDTHS.items()}
    assert all((r == 0).all() for r in residuals.values())
    for name, tensor in field.applied_to(parameters).tensors().items():
        torch.testing.assert_close(tensor, getattr(parameters, name), rtol=0, atol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_limits_are_respected(fusion: FeatureFusion) -> None:
    field = field_of(fusion, random_end=True)
    with torch.no_grad():
        field.decoder[-1].weight.mul_(1e4)
    with torch.no_grad():
        for name, residual in field(points_inside(200)).items():
            assert float(residual.abs().max()) == pytest.approx(LIMITS[name])


def test_attributes_without_slots_are_left_out() -> None:
    field = TriplaneField(BOX, {"intensity": 0.1, "semantics": 0.1}, label_channels=0)
    assert list(field(points_inside())) == ["intensity"]
    parameters = gaussians(slots=1)
    torch.testing.assert_close(field.applied_to(parameters).values, parameters.values)


CHANGES: dict[str, dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "centres": {"centres": lambda before, r: before + r},
    "tilts": {"tilts": lambda before, r: before + r},
    "scales": {"in_plane": lambda before, r: before - torch.stack([r[:, 0], 0 * r[:, 0], r[:, 1]], 1),
               "log_depths": lambda before, r: before + r[:, 2]},
    "weights": {"raw_weights": lambda before, r: before + r[:, 0]},
    "intensity": {"values": lambda before, r: before + torch.cat([r, torch.zeros(len(r), 2)], 1)},
    "semantics": {"values": lambda before, r: before + torch.cat([torch.zeros(len(r), 1), r], 1)},
}


@pytest.mark.parametrize("attribute", CHANGES)
def test_each_attribute_acts_on_its_field_alone(attribute: str) -> None:
    """Constant, known residuals: the decoder's last layer gets a bias only."""
    parameters = gaussians()
    field = field_of(limits={attribute: LIMITS[attribute]})
    bias = torch.linspace(0.4, 0.9, WIDTHS[attribute])
    with torch.no_grad():
        field.decoder[-1].bias.copy_(bias)
    residual = (LIMITS[attribute] * torch.tanh(bias)).repeat(len(parameters), 1)
    torch.testing.assert_close(field(parameters.centres)[attribute], residual)
    applied = field.applied_to(parameters)
    for name, tensor in applied.tensors().items():
        before = getattr(parameters, name)
        change = CHANGES[attribute].get(name)
        torch.testing.assert_close(tensor, before if change is None else change(before, residual))
        if change is not None:
            assert (tensor - before).abs().max() > 0.05


def test_each_slot_takes_the_residual_of_its_label() -> None:
    """Slots hold labels in any order; a slot that is not used (channel 0) stays as it is."""
    parameters = gaussians(slots=4)
    parameters.channels[:] = torch.tensor([0, 3, 1, 0], dtype=torch.int32)
    torch.manual_seed(0)
    field = TriplaneField(BOX, {"intensity": 0.25, "semantics": 0.125}, label_channels=3)
    with torch.no_grad():
        field.decoder[-1].bias.copy_(torch.tensor([0.9, 0.2, 0.4, 0.6]))
    image, first, _, third = (torch.tensor([0.25, 0.125, 0.125, 0.125]) * torch.tanh(field.decoder[-1].bias)).detach()
    change = (field.applied_to(parameters).values - parameters.values).detach()
    torch.testing.assert_close(change, torch.stack([image, third, first, torch.tensor(0.0)]).repeat(12, 1))


def test_attributes_do_not_mix() -> None:
    """With all attributes at once, each row of the last layer moves the attribute that it belongs to, in order."""
    first = 0
    for attribute, width in WIDTHS.items():
        field = field_of()
        with torch.no_grad():
            field.decoder[-1].bias[first:first + width] = 1.0
        residuals = field(points_inside())
        assert {name for name, r in residuals.items() if r.abs().max() > 0} == {attribute}
        first += width


def test_larger_scales_are_wider() -> None:
    """A scale residual r makes every standard deviation exp(r) times as large."""
    parameters = gaussians()
    parameters.tilts.zero_()
    parameters.in_plane[:, 1] = 0
    field = field_of(limits={"scales": 0.5})
    with torch.no_grad():
        field.decoder[-1].bias.copy_(torch.tensor([0.3, -0.2, 0.6]))
    ratio = field.applied_to(parameters).precisions() / parameters.precisions()
    expected = torch.exp(-2 * 0.5 * torch.tanh(torch.tensor([0.3, -0.2, 0.6])))
    torch.testing.assert_close(ratio[:, [0, 3, 5]], expected.repeat(len(parameters), 1))


def test_total_variation_of_known_planes() -> None:
    field = field_of()
    with torch.no_grad():
        for plane in field.planes:
            plane.fill_(7.0)
        assert field.total_variation() == 0
        field.planes[0].copy_(2.0 * torch.arange(8.0) + 3.0 * torch.arange(4.0)[:, None])  # slopes 2 and 3
        assert float(field.total_variation()) == pytest.approx(4 + 9)
        field.planes[1][0, 0, 0, 0] += 1.0  # one texel in 3 x 4 x 4: one difference of 1 in each direction
        assert float(field.total_variation()) == pytest.approx(13 + 2 / 36)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_reach_everything(fusion: FeatureFusion) -> None:
    field = field_of(fusion, random_end=True)
    applied = field.applied_to(gaussians(200))
    loss = sum((tensor ** 2).sum() for name, tensor in applied.tensors().items() if name != "channels")
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    names = dict(field.named_parameters())
    assert ("plane_weights" in names) == (fusion == "weighted_sum")
    for name, parameter in names.items():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_training_can_leave_the_start() -> None:
    """At the start only the last layer has a gradient; after one step everything has."""
    field, parameters = field_of(), gaussians(100)
    optimizer = torch.optim.SGD(field.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (field.applied_to(parameters).values ** 2).sum().backward()
        optimizer.step()
    assert all(plane.grad is not None and plane.grad.abs().max() > 0 for plane in field.planes)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradcheck(fusion: FeatureFusion) -> None:
    field = field_of(fusion, random_end=True).double()
    parameters = dict(field.named_parameters())
    points = points_inside(4).double()

    def decoded(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        replaced = dict(zip(parameters, tensors, strict=True))
        return tuple(torch.func.functional_call(field, replaced, (points,)).values())

    assert torch.autograd.gradcheck(decoded, [p.detach().clone().requires_grad_() for p in parameters.values()])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_baked_parameters_draw_the_same(fusion: FeatureFusion) -> None:
    field, parameters = field_of(fusion, random_end=True), gaussians()
    planes = PlaneStack([[-2, 1, 5.5], [-2, 1, 6.2]], [0, 0.5, 0], [0.5, 0, 0], 9, 17)

    def draw(cloud: GaussianParameters) -> torch.Tensor:
        return rasterize(cloud.drawn(), planes, mode="normalised", channel_count=3, backend="reference").channels

    live = field.applied_to(parameters)
    baked = GaussianParameters(**{name: tensor.detach().clone() for name, tensor in live.tensors().items()})
    assert not any(tensor.requires_grad for tensor in baked.tensors().values())
    torch.testing.assert_close(draw(baked), draw(live).detach(), rtol=0, atol=0)
    assert (draw(baked) - draw(parameters)).abs().max() > 0.01


def test_the_field_is_asked_where_the_gaussian_was_stored() -> None:
    """Residuals of the centres do not feed back into where the field is sampled, nor into the centres' gradient."""
    field, parameters = field_of(random_end=True), gaussians()
    residuals = field(parameters.centres)
    applied = field.applied_to(parameters)
    torch.testing.assert_close(applied.centres, parameters.centres + residuals["centres"])
    torch.testing.assert_close(applied.tilts, parameters.tilts + residuals["tilts"])
    centres = parameters.centres.clone().requires_grad_()
    moved = field.applied_to(GaussianParameters(**{**parameters.tensors(), "centres": centres})).centres
    torch.testing.assert_close(torch.autograd.grad(moved.sum(), centres)[0], torch.ones_like(centres))
