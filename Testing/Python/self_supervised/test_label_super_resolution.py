"""Super-resolution of labels, trained on labels within the slices."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from TriplaneGaussianReconLib.config.labels import LabelConfig
from TriplaneGaussianReconLib.config.self_supervised import LabelSuperResolutionConfig, SuperResolutionConfig
from TriplaneGaussianReconLib.data.images import Segment
from TriplaneGaussianReconLib.errors import Cancelled
from TriplaneGaussianReconLib.labels.channels import LabelChannels
from TriplaneGaussianReconLib.labels.signed_distance import Boxed, boxed
from TriplaneGaussianReconLib.self_supervised.label_super_resolution import LabelSuperResolution, LabelTrainer
from TriplaneGaussianReconLib.self_supervised.slice_context import SliceContext
from TriplaneGaussianReconLib.self_supervised.super_resolution import SuperResolution, Trainer

OF_IMAGE = SuperResolutionConfig(width=6, blocks=1, steps=8, batch=4, rate=1e-3)
FEW_STEPS = LabelSuperResolutionConfig(width=6, blocks=1, steps=8, batch=4, rate=1e-3)
UNTRAINED = replace(FEW_STEPS, rate=0.0)
TWO = LabelChannels((Segment("dark", 1), Segment("bright", 2)))
EVERY = 4
FRACTIONS = np.array([0.25, 0.5, 0.75])

pytestmark = pytest.mark.usefixtures("one_thread")


def balls(size: int, count: int, seed: int = 0) -> np.ndarray:
    """[plane, row, column] labels: 1 and 2 in balls of a few pixels."""
    generator = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(*[np.arange(float(size))] * 3, indexing="ij"), axis=-1)
    labels = np.zeros((size,) * 3, np.uint8)
    for number in range(count):
        inside = np.linalg.norm(points - generator.uniform(0.0, size, 3), axis=-1) < generator.uniform(3.0, 6.0)
        labels[inside] = 1 + number % 2
    return labels


def picture(labels: np.ndarray) -> np.ndarray:
    return np.array([0.5, 0.2, 0.8], np.float32)[labels]


def trained(labels: np.ndarray, channels: LabelChannels, config: LabelSuperResolutionConfig = FEW_STEPS, *,
            pitch: float = 1.0, thickness: float = 1.0, positions: np.ndarray | None = None,
            image: np.ndarray | None = None, seed: int = 0
            ) -> tuple[LabelSuperResolution | None, SliceContext, SuperResolution]:
    """Trained on slices `labels` [layer, plane, row, column], EVERY mm apart unless said otherwise."""
    slices = torch.from_numpy(picture(labels[0]) if image is None else image)
    places = EVERY * np.arange(len(slices), dtype=float) if positions is None else positions
    trainer = Trainer(slices, places, (pitch, pitch), thickness, OF_IMAGE, 0)
    context = trainer.context(np.arange(len(slices) - 1), FRACTIONS)
    network = trainer.train(context, lambda *_: None)
    assert network is not None
    labels_trainer = LabelTrainer(slices, labels, channels, (pitch, pitch), thickness, config, seed)
    return labels_trainer.train(context, network, lambda *_: None), context, network


def network_of(labels: np.ndarray, channels: LabelChannels, config: LabelSuperResolutionConfig = FEW_STEPS
               ) -> tuple[LabelSuperResolution, SliceContext]:
    found, context, _ = trained(labels, channels, config)
    assert found is not None
    return found, context


def around(labels: np.ndarray, channels: LabelChannels, gap: int) -> Boxed:
    return boxed(channels, [labels[:, gap], labels[:, gap + 1]], LabelConfig())


def distances(network: LabelSuperResolution, labels: np.ndarray, channels: LabelChannels, context: SliceContext,
              gap: int, predicted: Tensor | None = None) -> tuple[Boxed, Tensor]:
    slices, outlines = torch.from_numpy(picture(labels[0])), around(labels, channels, gap)
    if predicted is None:
        predicted = slices[gap].expand(len(FRACTIONS), -1, -1)
    numbers = torch.from_numpy(channels.numbered(labels))
    return outlines, network.distances(slices, numbers, predicted, context.only(np.array([gap])), outlines)


def dense(outlines: Boxed, found: Tensor, shape: tuple[int, int]) -> dict[int, Tensor]:
    """Channel -> [T, row, column], not a number outside of its box."""
    result = {}
    for (channel, top, left, columns), values in zip(outlines.boxes.tolist(),
                                                     found.split(outlines.sizes.tolist(), dim=1), strict=True):
        image = torch.full((len(found), *shape), torch.nan)
        rows = values.shape[1] // columns
        image[:, top:top + rows, left:left + columns] = values.reshape(len(found), rows, columns)
        result[channel] = image
    return result


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """1 - Dice."""
    return float(1 - 2 * (found & truth).sum() / (found.sum() + truth.sum()))


def label_error(volume: np.ndarray, config: LabelSuperResolutionConfig) -> float:
    """1 - Dice between the slices of `volume` at multiples of EVERY, where the image is known."""
    labels, found, truth = volume[None, ::EVERY], [], []
    network, context = network_of(labels, TWO, config)
    for gap in range(labels.shape[1] - 1):
        planes = volume[EVERY * gap + 1:EVERY * (gap + 1)]
        outlines, values = distances(network, labels, TWO, context, gap, torch.from_numpy(picture(planes)))
        for channel, image in dense(outlines, values, volume.shape[1:]).items():
            found.append((image > 0).numpy())
            truth.append(planes == TWO.table[channel - 1][1])
    return error(np.concatenate(found), np.concatenate(truth))


def test_a_trained_network_is_closer_than_what_both_slices_agree_on() -> None:
    volume = balls(41, 90)
    config = LabelSuperResolutionConfig(width=12, blocks=1, steps=500, batch=32, rate=5e-3)
    assert label_error(volume, config) < 0.65 * label_error(volume, replace(config, steps=1, rate=0.0))


def test_a_learnt_start_is_closer_before_training_than_what_both_slices_agree_on_and_training_keeps_that() -> None:
    volume = balls(41, 90)
    config = LabelSuperResolutionConfig(width=24, blocks=4, steps=20, batch=32, rate=2e-3)
    agreed = label_error(volume, replace(config, rate=0.0))
    begun = replace(config, starts_learnt=True)
    assert label_error(volume, replace(begun, rate=0.0)) < 0.65 * agreed
    assert label_error(volume, begun) < 0.65 * agreed
    assert label_error(volume, begun) < label_error(volume, config)


def test_before_training_it_is_what_the_slices_on_either_side_agree_on() -> None:
    labels = np.zeros((1, 6, 60, 60), np.uint8)
    labels[:, :3, 20:30, 20:30], labels[:, 2:, 24:34, 20:30] = 1, 1
    channels = LabelChannels((Segment("a", 1),))
    network, context = network_of(labels, channels, UNTRAINED)
    for gap in (1, 2):  # in the second the label is on both sides, somewhere else
        outlines, values = distances(network, labels, channels, context, gap)
        found = dense(outlines, values, (60, 60))[2]
        before, after = (torch.from_numpy(labels[0, plane] == 1).float() * 2 - 1 for plane in (gap, gap + 1))
        for number, fraction in enumerate(FRACTIONS):
            expected = FEW_STEPS.agreed * torch.lerp(before, after, fraction)
            inside = ~found[number].isnan()
            torch.testing.assert_close(found[number][inside], expected[inside])


def test_the_same_seed_gives_the_same_bits() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    (first, context), (second, _) = network_of(labels, TWO), network_of(labels, TWO)
    other, _, _ = trained(labels, TWO, seed=1)
    assert other is not None
    one, two, three = (distances(network, labels, TWO, context, 2)[1] for network in (first, second, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize("augmentations", [2, 4])
def test_turned_slices_give_turned_labels(augmentations: int) -> None:
    labels = balls(25, 20)[None, ::EVERY]
    network, context = network_of(labels, TWO, replace(FEW_STEPS, augmentations=augmentations))
    upright = dense(*distances(network, labels, TWO, context, 2), (25, 25))
    backwards = dense(*distances(network, labels[:, ::-1].copy(), TWO, context, labels.shape[1] - 2 - 2,
                                 torch.from_numpy(picture(labels[0, 2])).expand(3, -1, -1)), (25, 25))
    turned = dense(*distances(network, labels.swapaxes(2, 3).copy(), TWO, context, 2), (25, 25))
    assert set(upright) == set(backwards) == set(turned) == {1, 2, 3}
    for channel, values in upright.items():
        torch.testing.assert_close(backwards[channel].flip(0), values, equal_nan=True)
        torch.testing.assert_close(turned[channel].transpose(1, 2), values, equal_nan=True)


def test_mirrored_lines_give_mirrored_labels_with_four_augmentations() -> None:
    labels = balls(24, 20)[None, ::EVERY]
    network, context = network_of(labels, TWO, replace(FEW_STEPS, augmentations=4))
    upright = dense(*distances(network, labels, TWO, context, 2), (24, 24))
    mirrored = dense(*distances(network, labels[..., ::-1].copy(), TWO, context, 2), (24, 24))
    for channel, values in upright.items():
        torch.testing.assert_close(mirrored[channel].flip(2), values, equal_nan=True)


def test_labels_do_not_see_each_other() -> None:
    labels = np.zeros((1, 5, 70, 80), np.uint8)
    labels[:, :, 5:12, 6:14], labels[:, :, 50:60, 40:70] = 1, 2  # far from each other
    network, context = network_of(labels, TWO)
    both = dense(*distances(network, labels, TWO, context, 1), (70, 80))
    alone = labels * (labels == 1)
    outlines = around(alone, TWO, 1)
    slices, numbers = torch.from_numpy(picture(labels[0])), torch.from_numpy(TWO.numbered(alone))
    values = network.distances(slices, numbers, slices[1].expand(3, -1, -1), context.only(np.array([1])), outlines)
    torch.testing.assert_close(dense(outlines, values, (70, 80))[2], both[2], rtol=0, atol=1e-6, equal_nan=True)


def test_segments_that_overlap_are_found_alike() -> None:
    """The same label on two layers, one of which is shared with another label elsewhere.

    Without training, in which each label would get an offset of its own.
    """
    channels = LabelChannels((Segment("a", 1, 0), Segment("b", 1, 2), Segment("c", 2, 2)))
    labels = np.zeros((3, 5, 60, 60), np.uint8)
    for plane in range(5):
        labels[:, plane, 10 + plane:20, 10:20 + 2 * plane] = 1
    labels[2, :, 40:50, 40:50] = 2
    network, context = network_of(labels, channels, UNTRAINED)
    found = dense(*distances(network, labels, channels, context, 2), (60, 60))
    assert set(found) == {1, 2, 3, 4, 5}
    torch.testing.assert_close(found[2], found[4], rtol=0, atol=0, equal_nan=True)
    assert (found[2].nan_to_num(-1.0) > 0).any()


def test_many_labels_are_trained_on_and_found() -> None:
    """Sixty, each on a few slices only; after few steps they are where both slices have them."""
    tiles = (1 + np.arange(6)[:, None] * 10 + np.arange(10)).repeat(8, axis=0).repeat(6, axis=1).astype(np.uint8)
    labels = np.stack([np.where(abs(tiles // 3 - 4 * plane) < 4, tiles, 0) for plane in range(6)])[None]
    image = labels[0] / np.float32(60.0)
    channels = LabelChannels(tuple(Segment(str(n), n) for n in range(1, 61)))
    network, context, _ = trained(labels, channels, image=image)
    assert network is not None
    slices, numbers = torch.from_numpy(image), torch.from_numpy(channels.numbered(labels))
    outlines = around(labels, channels, 2)
    values = network.distances(slices, numbers, slices[2].expand(3, -1, -1), context.only(np.array([2])), outlines)
    assert set(outlines.boxes[1:, 0].tolist()) == {n + 1 for n in np.unique(labels[0, 2:4]) if n}
    for channel, found in dense(outlines, values, tiles.shape).items():
        inside = torch.from_numpy((labels[0, 2:4] == channels.table[channel - 1][1]).all(axis=0))
        assert (found[:, inside] > 0).all()


def test_gaps_of_different_widths_and_pixels_between_which_lines_fall() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    positions = np.cumsum([0.0, 3.0, 5.0, 3.3, 4.1, 6.0, 3.0])
    network, context, _ = trained(labels, TWO, pitch=0.7, positions=positions)
    assert network is not None
    narrow, wide = (distances(network, labels, TWO, context, gap)[1] for gap in (0, 4))
    assert narrow.isfinite().all() and wide.isfinite().all()


def test_an_image_without_any_contrast_is_no_obstacle() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    _, context, of_image = trained(labels, TWO)
    slices = torch.full(labels[0].shape, 0.5)
    network = LabelTrainer(slices, labels, TWO, (1.0, 1.0), 1.0, FEW_STEPS, 0).train(context, of_image, lambda *_: None)
    assert network is not None
    assert distances(network, labels, TWO, context, 1)[1].isfinite().all()


def test_a_gap_without_labels_has_no_distances() -> None:
    labels = np.zeros((1, 6, 40, 40), np.uint8)
    labels[:, 4:, 10:20, 10:20] = 1
    network, context = network_of(labels, TWO)
    assert distances(network, labels, TWO, context, 1)[1].shape == (3, 0)


def test_thick_slices_are_not_trained_on() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    assert trained(labels, TWO, thickness=FEW_STEPS.thickest)[0] is not None
    assert trained(labels, TWO, thickness=FEW_STEPS.thickest + 0.1)[0] is None


def test_without_borders_there_is_nothing_to_train_on() -> None:
    image = picture(balls(25, 20)[::EVERY])
    empty = np.zeros((1, 7, 25, 25), np.uint8)
    slices = torch.from_numpy(image)
    trainer = Trainer(slices, EVERY * np.arange(7.0), (1.0, 1.0), 1.0, OF_IMAGE, 0)
    context = trainer.context(np.arange(6), FRACTIONS)
    network = trainer.train(context, lambda *_: None)
    assert network is not None
    for labels in (empty, empty + 1):
        of_labels = LabelTrainer(slices, labels, TWO, (1.0, 1.0), 1.0, FEW_STEPS, 0)
        assert of_labels.train(context, network, lambda *_: None) is None


def test_only_gaps_that_the_networks_of_the_image_bridge_are_trained_for() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    found, context, of_image = trained(labels, TWO)
    assert found is not None and found.bridges(EVERY) and not found.bridges(100.0)
    trainer = LabelTrainer(torch.from_numpy(picture(labels[0])), labels, TWO, (1.0, 1.0), 1.0, FEW_STEPS, 0)
    assert trainer.train(context, replace(of_image, widths=(10.0, 20.0)), lambda *_: None) is None


def test_training_can_be_cancelled() -> None:
    labels = balls(25, 20)[None, ::EVERY]
    _, context, of_image = trained(labels, TWO)

    def cancel(step: int, steps: int, loss: float) -> None:
        assert steps == FEW_STEPS.steps
        if step == 3:
            raise Cancelled

    trainer = LabelTrainer(torch.from_numpy(picture(labels[0])), labels, TWO, (1.0, 1.0), 1.0, FEW_STEPS, 0)
    with pytest.raises(Cancelled):
        trainer.train(context, of_image, cancel)
