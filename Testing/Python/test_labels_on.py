"""Labels drawn on some slices of an image that is known on all, as a Python program meets it."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import TriplaneGaussianReconLib as tgr
from TriplaneGaussianReconLib.data.geometry import AXES, array_axis
from TriplaneGaussianReconLib.errors import TooLargeError
from TriplaneGaussianReconLib.pipeline import completion

SHAPE = (17, 22, 20)
DRAWN = (0, 8, 16)
# Little is fitted, so that this is quick.
QUICK = replace(tgr.PRESETS["fast"], super_resolution=None, label_super_resolution=None, refinement_steps=1,
                training=replace(tgr.PRESETS["fast"].training, steps=1),
                label_completion=replace(tgr.PRESETS["fast"].label_completion, steps=4))

pytestmark = [pytest.mark.usefixtures("keep_thread_counts"),
              pytest.mark.filterwarnings("ignore::TriplaneGaussianReconLib.errors.InputNote")]


def truth() -> np.ndarray:
    """[layer, k, j, i]: two tubes that wander, and a ball in a layer of its own across one of them."""
    k, j, i = np.indices(SHAPE)
    tubes = np.where(np.hypot(i - 7 - 0.2 * k, j - 6) < 5, 3, 0) + np.where(np.hypot(i - 9, j - 17 + 0.1 * k) < 4, 7, 0)
    return np.stack([tubes, np.sqrt((k - 8) ** 2 + (j - 7) ** 2 + (i - 10) ** 2) < 7]).astype(np.int16)


SEGMENTS = (tgr.Segment("a", 3), tgr.Segment("b", 7), tgr.Segment("ball", 1, 1))


@pytest.fixture(scope="module")
def image(textured: Any) -> tgr.Image:
    return tgr.Image((900 * textured(SHAPE, seed=4) + 100 * (truth()[0] > 0)).astype(np.int16), tgr.Grid(SHAPE))


def drawn_on(slices: Any, grid: tgr.Grid | None = None, axis: tgr.data.geometry.Axis = "k") -> tgr.Segmentation:
    layers, grid = truth(), grid or tgr.Grid(SHAPE)
    blank = np.ones(grid.count(axis), bool)
    blank[list(slices)] = False
    np.moveaxis(layers, 1 + array_axis(axis), 1)[:, blank] = 0
    return tgr.Segmentation(layers, SEGMENTS, grid)


def filled(image: tgr.Image, labels: tgr.Segmentation, **choices: Any) -> tgr.Reconstruction:
    return tgr.reconstruct(image, labels=labels, device="cpu", **{"keep_model": False, "preset": QUICK, **choices})


def dice(result: tgr.Reconstruction, number: int, slices: Any = slice(None)) -> float:
    assert result.segmentation is not None
    segment = result.segmentation.segments[number]
    return overlap(result.segmentation.layers[segment.layer, slices] == segment.value,
                   truth()[segment.layer, slices] == segment.value)


def overlap(ours: np.ndarray, expected: np.ndarray) -> float:
    return float(2 * (ours & expected).sum() / (ours.sum() + expected.sum()))


def assert_same(ours: tgr.Reconstruction, other: tgr.Reconstruction) -> None:
    """Voxels, labels, certainty and what is told of them, to the bit."""
    assert ours.segmentation is not None and other.segmentation is not None
    assert ours.label_certainty is not None and other.label_certainty is not None
    for a, b in ((ours.volume, other.volume), (ours.confidence, other.confidence),
                 (ours.label_certainty, other.label_certainty)):
        assert a.array.tobytes() == b.array.tobytes()
    np.testing.assert_array_equal(ours.segmentation.layers, other.segmentation.layers)
    assert ours.segmentation.segments == other.segmentation.segments
    assert ours.report.completion == other.report.completion


# ---------------------------------------------------------------------------------------------- the commonest of cases


def test_labels_are_filled_and_the_image_stays_as_it_is(image: tgr.Image) -> None:
    result = filled(image, drawn_on(DRAWN))
    assert result.volume.array.tobytes() == image.array.tobytes() and result.volume.grid == image.grid
    assert (result.confidence.array == 0).all() and result.report.gaussians == 0
    assert result.segmentation is not None and result.segmentation.segments == SEGMENTS
    np.testing.assert_array_equal(result.segmentation.layers[:, DRAWN], truth()[:, DRAWN])
    assert dice(result, 0) > 0.9 and dice(result, 1) > 0.9 and dice(result, 2) > 0.5


def test_what_was_found_is_told(image: tgr.Image) -> None:
    report = filled(image, drawn_on(DRAWN), labels_on="drawn").report
    assert report.completion is not None
    between = tuple(n for n in range(17) if n not in DRAWN)
    assert (report.completion.slices.drawn, report.completion.slices.filled) == (DRAWN, between)
    assert set(report.completion.next_slices) <= set(between) and report.completion.next_slices
    assert sum(report.completion.methods.values()) == pytest.approx(1.0)
    assert report.notes[-1] == "Labels are taken from 3 slices: 0,8,16; the labels of 14 are filled."
    assert type(report).from_json(report.to_json()) == report


def test_how_certain_labels_are(image: tgr.Image) -> None:
    certainty = filled(image, drawn_on(DRAWN)).label_certainty
    assert certainty is not None and certainty.array.dtype == np.float32 and certainty.grid == image.grid
    assert (certainty.array[list(DRAWN)] == 1).all() and 0 < certainty.array.min() < certainty.array[4].max() <= 1


@pytest.mark.parametrize("axis", AXES)
def test_how_probable_each_segment_is(image: tgr.Image, axis: Any) -> None:
    drawn = tuple(range(4, image.grid.count(axis), 4))
    result = filled(image, drawn_on(drawn, axis=axis), axis=axis, label_probabilities=True)
    found, certainty, labels = result.label_probabilities, result.label_certainty, result.segmentation
    assert found is not None and certainty is not None and labels is not None
    assert found.array.shape == (3, *SHAPE) and found.array.dtype == np.uint8 and found.grid == image.grid
    assert found.segments == labels.segments == SEGMENTS
    assert repr(found) == "LabelProbabilities(3 segments; 20 x 22 x 17, 1 x 1 x 1 mm, LPS from (0, 0, 0))"
    here = np.stack([labels.layers[segment.layer] == segment.value for segment in SEGMENTS])
    np.testing.assert_array_equal(np.take(found.array, drawn, 1 + array_axis(axis)),
                                  100 * np.take(here, drawn, 1 + array_axis(axis)))
    percent = found.array.astype(int)
    first = np.stack([100 - percent[0] - percent[1], percent[0], percent[1]])  # of one layer: background, a, b
    assert first.min() >= -1  # rounding
    second = np.stack([100 - percent[2], percent[2]])
    for layer, mask in ((first, np.stack([~here[:2].any(axis=0), *here[:2]])), (second, np.stack([~here[2], here[2]]))):
        assert (layer.max(axis=0) - (layer * mask).sum(axis=0)).max() <= 2  # the likeliest is taken
    largest = np.minimum(first.max(axis=0), second.max(axis=0))
    assert np.abs(largest - 100 * certainty.array).max() <= 1.5


def test_overlapping_segments_are_probable_each_for_itself(image: tgr.Image) -> None:
    found = filled(image, drawn_on(DRAWN), label_probabilities=True).label_probabilities
    assert found is not None and (found.array[0].astype(int) + found.array[2] > 150).any()


def test_probabilities_are_there_only_where_they_are_asked_for(image: tgr.Image, monkeypatch: pytest.MonkeyPatch
                                                               ) -> None:
    assert filled(image, drawn_on(DRAWN)).label_probabilities is None
    for labels, choices in ((drawn_on(DRAWN), {"labels_on": "all"}), (None, {})):
        with pytest.raises(tgr.InputError, match="Probabilities are those of labels that are filled.*none are filled"):
            filled(image, labels, label_probabilities=True, **choices)
    monkeypatch.setattr(completion, "free_memory", lambda: 2 * 3 * 17 * 22 * 20 - 1)
    with pytest.raises(TooLargeError, match="The probabilities of 3 segments need .* GB of memory, and .* GB are free"):
        filled(image, drawn_on(DRAWN), label_probabilities=True)
    monkeypatch.setattr(completion, "free_memory", lambda: 2 * 3 * 17 * 22 * 20)
    assert filled(image, drawn_on(DRAWN), label_probabilities=True).label_probabilities is not None


def test_the_model_can_be_had_and_changes_nothing_else(image: tgr.Image) -> None:
    bare, result = (filled(image, drawn_on(DRAWN), keep_model=keep) for keep in (False, True))
    assert_same(result, bare)
    assert bare.model.count == 0 < result.model.count == result.report.gaussians


def test_nothing_is_fitted_either_where_there_are_no_labels(image: tgr.Image) -> None:
    result = tgr.reconstruct(image, spacing="input", device="cpu", keep_model=False)
    assert result.volume.array.tobytes() == image.array.tobytes()
    assert result.segmentation is None and result.label_certainty is None and result.report.completion is None


# ------------------------------------------------------------------------------------------------- which carry labels


@pytest.mark.parametrize(("labels_on", "drawn", "empty", "count"), [
    ("drawn", DRAWN, (), 14), ("drawn,4", DRAWN, (4,), 13), ("0,8,12", (0, 8), (12,), 14),
    ("every:8", DRAWN, (), 14), ([8], (8,), (), 16), (np.arange(17) % 4 == 0, DRAWN, (4, 12), 12)])
def test_which_slices_carry_labels_can_be_said(image: tgr.Image, labels_on: Any, drawn: tuple[int, ...],
                                               empty: tuple[int, ...], count: int) -> None:
    result = filled(image, drawn_on(DRAWN), labels_on=labels_on)
    assert result.report.completion is not None and result.segmentation is not None
    slices = result.report.completion.slices
    assert (slices.drawn, slices.empty, len(slices.filled)) == (drawn, empty, count)
    assert not result.segmentation.layers[:, empty].any()
    assert result.segmentation.layers.any(axis=(0, 2, 3))[list(slices.drawn)].all()


def test_hidden_labels_have_no_influence(image: tgr.Image) -> None:
    clean, noisy = drawn_on(range(17)), truth()
    hidden = [n for n in range(17) if n % 8]
    noisy[:, hidden] = np.random.default_rng(0).integers(0, 9, noisy[:, hidden].shape)
    other = replace(clean, layers=noisy, segments=(*SEGMENTS, tgr.Segment("hidden", 5)))
    assert_same(*(filled(image, labels, labels_on="every:8") for labels in (clean, other)))


def test_every_slice_may_be_said_to_carry_labels(image: tgr.Image) -> None:
    result = filled(image, drawn_on(DRAWN), labels_on="all", spacing="input")
    assert result.label_certainty is None and result.report.completion is None and result.segmentation is not None
    np.testing.assert_array_equal(result.segmentation.layers, drawn_on(DRAWN).layers)


@pytest.mark.parametrize(("choices", "message"), [
    ({"labels_on": "some"}, "Which slices carry labels: Cannot read the slices 'some'.*'drawn' means"),
    ({"labels_on": "0,99"}, "Slice 99 does not exist"), ({"labels_on": []}, "Which slices carry labels: No slice"),
    ({"labels_on": "5"}, "empty on every used slice that carries labels"),
    ({"labels_on": "3,5", "slices": "every:2", "exclude": "8"}, "empty on every used slice|None of the used slices"),
    ({"labels_on": "3", "slices": "every:2"}, "None of the used slices whose gaps are filled carries labels")])
def test_slices_that_cannot_carry_labels_are_named(image: tgr.Image, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(tgr.InputError, match=message):
        filled(image, drawn_on(DRAWN), **choices)


def test_slices_that_carry_labels_need_labels(image: tgr.Image) -> None:
    with pytest.raises(tgr.InputError, match="labels_on says which.*Give labels="):
        tgr.reconstruct(image, labels_on="every:8", device="cpu")


# -------------------------------------------------------------------------------------------------- shapes of the task


def test_a_single_labelled_slice(image: tgr.Image) -> None:
    result = filled(image, drawn_on([8]), labels_on="8")
    assert dice(result, 0, slice(6, 11)) > 0.8 and result.report.completion is not None
    assert len(result.report.completion.slices.filled) == 16


def test_a_label_that_ends_is_not_drawn_on_empty_slices(image: tgr.Image) -> None:
    result = filled(image, drawn_on((0, 3, 6, 9)))
    assert result.segmentation is not None and result.report.completion is not None
    assert result.report.completion.slices.empty == (12, 13, 14, 15, 16)
    assert not result.segmentation.layers[:, 12:].any() and result.segmentation.layers[:, 10].any()


@pytest.mark.parametrize("axis", AXES)
def test_any_axis_and_direction(image: tgr.Image, rotation: Any, axis: Any) -> None:
    grid = tgr.Grid(SHAPE, (3.0, -9.0, 40.0), (0.7, 0.8, 0.9), -np.asarray(rotation))
    drawn = tuple(range(4, grid.count(axis), 4))
    result = filled(replace(image, grid=grid), drawn_on(drawn, grid, axis), axis=axis)
    assert result.report.completion is not None and set(result.report.completion.slices.drawn) <= set(drawn)
    assert result.volume.array.tobytes() == image.array.tobytes() and result.segmentation is not None
    np.testing.assert_array_equal(np.take(result.segmentation.layers, drawn, 1 + array_axis(axis)),
                                  np.take(truth(), drawn, 1 + array_axis(axis)))
    assert dice(result, 0) > 0.7 and dice(result, 1) > 0.7
    assert set(result.report.completion.next_slices) <= set(result.report.completion.slices.filled)


def test_many_labels_and_gaps_of_many_widths(image: tgr.Image) -> None:
    blocks = 1 + np.indices(SHAPE)[2] // 4 + 5 * (np.indices(SHAPE)[1] // 4)
    labels = np.zeros(SHAPE, np.uint8)
    drawn = [1, 2, 5, 11, 13, 16]
    labels[drawn] = blocks[drawn]
    result = filled(image, tgr.Segmentation.from_labelmap(labels, image.grid))
    assert result.segmentation is not None and len(result.segmentation.segments) == len(np.unique(blocks))
    assert (result.segmentation.layers[0, 1:] == blocks[1:]).all()


def test_slices_are_missing_too(image: tgr.Image) -> None:
    """Two kinds of gaps: on every second slice nothing is known; a quarter of the others carry labels."""
    array, labels = image.array.copy(), drawn_on(range(17))
    array[1::2] = -5000
    result = filled(tgr.Image(array, image.grid), labels, slices="every:2", labels_on="every:8", exclude="10")
    seen = [n for n in range(0, 17, 2) if n != 10]
    np.testing.assert_array_equal(result.volume.array[seen], image.array[seen])
    assert result.volume.array.min() > -5000 and result.report.gaussians and result.segmentation is not None
    np.testing.assert_array_equal(result.segmentation.layers[:, DRAWN], truth()[:, DRAWN])
    assert dice(result, 0) > 0.85 and dice(result, 1) > 0.85
    assert result.report.completion is not None and result.report.completion.slices.drawn == DRAWN
    assert (result.confidence.array[seen] == 0).all() and (result.confidence.array[10] > 0).any()
    assert result.label_certainty is not None and 0 < result.label_certainty.array[[1, 10]].min() < 1


@pytest.mark.parametrize("keep", [False, True])
def test_a_finer_output_of_thick_slices(image: tgr.Image, keep: bool) -> None:
    thick = tgr.Image(image.array, tgr.Grid(SHAPE, spacing=(1, 1, 3)))
    labels = drawn_on(DRAWN, thick.grid)
    assert filled(thick, labels).volume.grid == thick.grid  # by default what was given is what comes back
    result = filled(thick, labels, spacing=1.5, keep_model=keep, label_probabilities=True)
    assert result.volume.grid.shape == (33, 22, 20) and result.report.gaussians and result.segmentation is not None
    assert (result.segmentation.layers[:, ::16] == truth()[:, DRAWN]).all()
    assert overlap(result.segmentation.layers[0, ::2] == 3, truth()[0] == 3) > 0.85
    assert result.label_certainty is not None and result.label_certainty.grid == result.volume.grid
    half = result.label_certainty.array[1::2]
    np.testing.assert_allclose(half, (result.label_certainty.array[:-1:2] + result.label_certainty.array[2::2]) / 2,
                               atol=1e-5)
    assert result.label_probabilities is not None and result.label_probabilities.grid == result.volume.grid
    percent = result.label_probabilities.array.astype(float)
    np.testing.assert_allclose(percent[:, 1::2], (percent[:, :-1:2] + percent[:, 2::2]) / 2, atol=0.5 + 1e-3)
    np.testing.assert_array_equal(percent[:, ::16][0] == 100, truth()[0, DRAWN] == 3)


def test_nothing_is_probable_beyond_the_outermost_slices(image: tgr.Image) -> None:
    thick = tgr.Image(image.array, tgr.Grid(SHAPE, spacing=(1, 1, 3)))
    inner = filled(thick, drawn_on(range(17), thick.grid), slices="4-12", labels_on="4,8,12", label_probabilities=True)
    assert inner.label_probabilities is not None
    present = inner.label_probabilities.array.any(axis=(0, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(present), range(4, 13))


def test_pixels_without_data_stay_without(image: tgr.Image) -> None:
    array = image.array.astype(np.float64) + 1e-9
    array[:, :, :3], array[5], array[6, 4, 9] = np.nan, np.nan, np.inf
    bare, result = (filled(tgr.Image(array, image.grid), drawn_on(DRAWN), keep_model=keep) for keep in (False, True))
    for each in (bare, result):
        assert each.volume.array[:5].tobytes() == array[:5].tobytes() and each.volume.array.dtype == np.float64
        assert np.isposinf(each.volume.array[6, 4, 9]) and each.confidence.array[6, 4, 9] > 0
        assert (each.confidence.array[0, :, 3:] == 0).all() and (each.confidence.array[0, :, :3] > 0).all()
        assert each.report.completion is not None and 5 not in each.report.completion.slices.filled
        assert dice(each, 1) > 0.9


def test_slices_of_several_axes_correct_the_image_alone(image: tgr.Image) -> None:
    """What the segmentation has on slices along another axis is not drawn there, and does not count."""
    clean, noisy = drawn_on(DRAWN), drawn_on(DRAWN)
    between = [n for n in range(17) if n not in DRAWN]
    noisy.layers[0, between, 12] = 7
    choices = {"slices": {"k": "all", "j": "0,12,21"}, "labels_on": "every:8"}
    paper = replace(tgr.PRESETS["paper-displaced"], label_completion=QUICK.label_completion,
                    training=replace(tgr.PRESETS["paper-displaced"].training, steps=1))  # on labels, too
    assert_same(*(filled(image, labels, **choices, preset=paper, keep_model=True) for labels in (clean, noisy)))
