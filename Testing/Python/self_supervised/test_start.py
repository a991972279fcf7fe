"""The start of networks along lines: what is shipped, how a network takes it, and that it helps."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from TriplaneGaussianReconLib.config.self_supervised import SuperResolutionConfig
from TriplaneGaussianReconLib.self_supervised import start
from TriplaneGaussianReconLib.self_supervised.networks import ResidualNetwork
from TriplaneGaussianReconLib.self_supervised.super_resolution import Trainer

FAST = SuperResolutionConfig(width=24, blocks=4, steps=20, batch=128, rate=5e-3)  # of the size that `fast` has
SIZES = FAST.slices_around, FAST.slices_around_few

pytestmark = pytest.mark.usefixtures("one_thread")


def network(size: int, planes: int, width: int = FAST.width) -> ResidualNetwork:
    return ResidualNetwork(size, planes, width, FAST.blocks, (1, FAST.kernel), torch.Generator().manual_seed(0),
                           size + planes)


def rings() -> np.ndarray:
    """[plane, row, column]: concentric shells with noise, a millimetre apart in all directions."""
    place = np.stack(np.meshgrid(*(np.arange(n) - 0.5 * n for n in (29, 60, 64)), indexing="ij"))
    shells = 0.5 + 0.4 * np.sin(0.9 * np.sqrt((place ** 2 / np.array([1.5, 1.0, 2.0])[:, None, None, None]).sum(0)))
    return (shells + 0.02 * np.random.default_rng(0).standard_normal(shells.shape)).astype(np.float32)


def test_the_file_is_small() -> None:
    assert start.FILE.stat().st_size < 200_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("planes", [1, 3, 7, 12])
def test_a_network_of_any_number_of_planes_takes_what_was_learnt_for_its_slices(size: int, planes: int) -> None:
    begun, fractions = network(size, planes), np.arange(1, planes + 1) / (planes + 1)
    assert start.begin(begun, size, fractions, 4.0, 1.0)
    other = network(size, 2)
    start.begin(other, size, np.array([0.2, 0.9]), 7.0, 3.0)
    assert all(torch.equal(own, its) and own.any() for own, its in zip(begun.inner, other.inner, strict=True))
    with torch.no_grad():
        assert begun(torch.rand(2, size, 1, 30), torch.zeros(2, size + planes)).abs().max() > 0.01


def test_the_width_of_the_gap_changes_what_is_predicted() -> None:
    first, second = network(4, 1), network(4, 1)
    start.begin(first, 4, np.array([0.5]), 4.0, 1.0)
    start.begin(second, 4, np.array([0.5]), 8.0, 1.0)
    lines = torch.rand(1, 4, 1, 30)
    assert not torch.allclose(first(lines), second(lines))


def test_what_lies_beyond_the_widths_that_were_learnt_counts_as_the_widest() -> None:
    assert torch.equal(start.features(200.0, 90.0), start.features(start.WIDEST, start.WIDEST))
    assert torch.equal(start.features(0.5, 0.1), start.features(start.NARROWEST, 0.1))


def test_a_plane_where_a_slice_lies_is_that_slice() -> None:
    begun = network(4, 2)
    start.begin(begun, 4, np.array([0.0, 1.0]), 4.0, 1.0)
    with torch.no_grad():
        assert begun(torch.rand(1, 4, 1, 30)).abs().max() < 1e-5


def test_a_network_of_another_width_or_for_other_slices_is_left_as_it_is() -> None:
    for size, width in ((4, 12), (8, FAST.width)):
        own = network(size, 3, width)
        before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
        assert not start.begin(own, size, np.array([0.25, 0.5, 0.75]), 4.0, 1.0)
        assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


def label_network(size: int, planes: int, channels: int = 3, width: int = FAST.width) -> ResidualNetwork:
    return ResidualNetwork(2 * size + planes, planes, width, FAST.blocks, (1, FAST.kernel),
                           torch.Generator().manual_seed(0), size + planes + channels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("planes", [1, 3, 7])
def test_a_label_network_of_any_number_of_planes_and_slices_takes_what_was_learnt(size: int, planes: int) -> None:
    begun, fractions = label_network(size, planes, channels=planes), np.arange(1, planes + 1) / (planes + 1)
    assert start.begin_labels(begun, size, fractions, 4.0, 1.0)
    other = label_network(4, 2)
    start.begin_labels(other, 4, np.array([0.2, 0.9]), 7.0, 1.5)
    assert all(torch.equal(own, its) and own.any() for own, its in zip(begun.inner, other.inner, strict=True))
    with torch.no_grad():
        found = begun(torch.randn(2, 2 * size + planes, 1, 30), torch.zeros(2, size + 2 * planes))
    assert found.abs().max() > 0.1


def test_at_the_start_a_label_network_sees_the_nearest_slices_alone_and_all_labels_alike() -> None:
    begun, fractions = label_network(6, 3), np.array([0.25, 0.5, 0.75])
    start.begin_labels(begun, 6, fractions, 2.0, 1.0)
    seen, steering = torch.randn(1, 15, 1, 30), torch.zeros(1, 12)
    found = begun(seen, steering)
    outer, other = seen.clone(), steering.clone()
    outer[:, [0, 5, 6, 11]] += 1.0
    other[:, -1] = 1.0
    assert torch.equal(begun(outer, steering), found)
    assert torch.equal(begun(seen, other), found)
    inner = label_network(4, 3)
    start.begin_labels(inner, 4, fractions, 2.0, 1.0)
    torch.testing.assert_close(inner(seen[:, [1, 2, 3, 4, 7, 8, 9, 10, 12, 13, 14]], torch.zeros(1, 10)), found)


def test_what_is_predicted_on_other_planes_counts_at_the_places_that_were_learnt() -> None:
    assert torch.equal(start.straight_to_places(start.LABEL_PLACES)[:, 1:-1], torch.eye(3))
    course = torch.linspace(2.0, 5.0, 9)  # straight from slice to slice
    torch.testing.assert_close(start.straight_to_places(np.arange(1, 8) / 8) @ course, torch.tensor([2.75, 3.5, 4.25]))
    torch.testing.assert_close(start.straight_to_places(np.array([0.5])) @ torch.tensor([0.0, 2.0, 6.0]),
                               torch.tensor([1.0, 2.0, 4.0]))


def test_labels_where_a_slice_lies_are_those_of_that_slice() -> None:
    begun = label_network(4, 2)
    start.begin_labels(begun, 4, np.array([0.0, 1.0]), 4.0, 1.0)
    with torch.no_grad():
        assert begun(torch.rand(1, 10, 1, 30)).abs().max() < 1e-4


def test_a_label_network_of_another_width_or_for_fewer_slices_is_left_as_it_is() -> None:
    for size, width in ((4, 12), (2, FAST.width)):
        own = label_network(size, 3, width=width)
        before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
        assert not start.begin_labels(own, size, np.array([0.25, 0.5, 0.75]), 4.0, 1.0)
        assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


@pytest.mark.parametrize("step", [2, 4])
def test_few_steps_from_the_start_fill_gaps_better_than_few_steps_from_nothing(step: int) -> None:
    volume = rings()
    kept = np.arange(0, len(volume), step)
    gaps, fractions, wrong = np.arange(len(kept) - 1), np.arange(1, step) / step, {}
    truth = torch.from_numpy(volume[kept[:-1, None] + np.arange(1, step)])
    for starts in (False, True):
        config = replace(FAST, starts_learnt=starts)
        trainer = Trainer(torch.from_numpy(volume[kept]), kept.astype(float), (1.0, 1.0), 1.0, config, 0)
        context = trainer.context(gaps, fractions)
        trained = trainer.train(context, lambda *_: None)
        assert trained is not None
        wrong[starts] = float((trained.predict(trainer.slices, context) - truth).square().mean())
    assert wrong[True] < 0.8 * wrong[False]
