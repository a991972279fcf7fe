"""Even texture: filled slices get noise, everything else is that of the plain result."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import TriplaneGaussianReconLib as tgr
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.pipeline.reconstruction import Reconstruction
from TriplaneGaussianReconLib.pipeline.report import Report
from TriplaneGaussianReconLib.pipeline.texture import reconstruct_with

QUICK = replace(tgr.PRESETS["fast"], super_resolution=None, label_super_resolution=None, refinement_steps=1)
SHAPE = (7, 80, 72)
GRID = tgr.Grid(SHAPE, spacing=(1, 1, 3))


@pytest.fixture(scope="module")
def image() -> Image:
    """A soft ball in noise, and beside it air without any."""
    planes, rows, columns = np.indices(SHAPE)
    ball = np.exp(-((rows - 50) ** 2 + (columns - 36) ** 2 + 9 * (planes - 3) ** 2) / 400.0)
    noise = np.random.default_rng(0).normal(0.0, 20.0, SHAPE)
    array = np.where(rows < 16, 0, np.clip(100 + 300 * ball + noise, 1, 900))
    return Image(np.rint(array).astype(np.int16), GRID)


def reconstructed(image: Image, **options: Any) -> Reconstruction:
    labels = Segmentation.from_labelmap((image.array > 250).astype(np.uint8), image.grid)
    return tgr.reconstruct(image, **{"labels": labels, "slices": "every:2", "preset": QUICK, "device": "cpu",
                                     **options})


@pytest.fixture(scope="module")
def plain(image: Image) -> Reconstruction:
    return reconstructed(image)


@pytest.fixture(scope="module")
def even(image: Image) -> Reconstruction:
    return reconstructed(image, texture="even")


def test_filled_slices_are_as_rough_as_used_ones(plain: Reconstruction, even: Reconstruction) -> None:
    def roughness(result: Reconstruction, slices: slice) -> float:
        return float(np.diff(np.diff(result.volume.array[slices, 20:].astype(float), axis=1), axis=2).std())

    filled, used = slice(1, None, 2), slice(0, None, 2)
    assert roughness(plain, filled) < 0.85 * roughness(plain, used)
    assert roughness(even, filled) == pytest.approx(roughness(even, used), rel=0.15)  # there are few slices to measure


def test_all_else_is_that_of_the_plain_result(plain: Reconstruction, even: Reconstruction, image: Image) -> None:
    np.testing.assert_array_equal(even.volume.array[::2], plain.volume.array[::2])
    np.testing.assert_array_equal(even.volume.array[:, :12], plain.volume.array[:, :12])  # background of one value
    np.testing.assert_array_equal(even.confidence.array, plain.confidence.array)
    assert even.segmentation is not None and plain.segmentation is not None
    np.testing.assert_array_equal(even.segmentation.layers, plain.segmentation.layers)
    assert even.volume.array.dtype == np.int16
    assert image.array[::2].min() <= even.volume.array.min() and even.volume.array.max() <= image.array[::2].max()
    assert even.model.provenance == plain.model.provenance
    for one, other in zip(even.model.shards, plain.model.shards, strict=True):
        np.testing.assert_array_equal(one.load().centres, other.load().centres)


def test_it_is_told(plain: Reconstruction, even: Reconstruction) -> None:
    told = even.report.texture
    assert plain.report.texture is None and told is not None
    difference = (even.volume.array.astype(float) - plain.volume.array)[1::2]
    assert told.noise == pytest.approx(difference[difference != 0].std(), rel=0.1) and told.slices == 3
    assert told.note in even.report.notes and "looking, not for measuring" in told.note
    assert "structure rather than noise" not in told.note
    content = json.loads(json.dumps(even.report.to_json()))
    assert content["texture"]["kind"] == "even" and Report.from_json(content) == even.report
    assert "texture" not in plain.report.to_json()


def test_the_seed_decides(image: Image, even: Reconstruction) -> None:
    again = reconstructed(image, texture="even")
    np.testing.assert_array_equal(again.volume.array, even.volume.array)


def test_values_without_data_stay_without(image: Image) -> None:
    holed = image.array.astype(np.float32)
    holed[:, 30:50, 60:] = np.nan
    with pytest.warns(tgr.errors.InputNote, match="hold no data"):
        result = reconstructed(Image(holed, GRID), labels=None, texture="even")
    assert np.isnan(result.volume.array[:, 30:50, 60:]).all() and np.isfinite(result.volume.array[:, :, :60]).all()
    assert result.report.texture is not None and result.report.texture.noise > 5.0


def test_used_slices_across_other_axes_stay_as_they_are(image: Image) -> None:
    slices = {"k": "every:2", "j": [10, 40]}
    plain, even = (reconstructed(image, labels=None, slices=slices, texture=texture) for texture in ("plain", "even"))
    np.testing.assert_array_equal(even.volume.array[:, [10, 40]], plain.volume.array[:, [10, 40]])
    assert (even.volume.array[1, 41] != plain.volume.array[1, 41]).mean() > 0.5


def test_where_nothing_is_filled_no_noise_is_added(image: Image) -> None:
    result = reconstructed(image, labels=None, slices="all", spacing="input", keep_model=False, texture="even")
    np.testing.assert_array_equal(result.volume.array, image.array)
    assert result.report.texture is not None and "no noise was added" in result.report.texture.note


def test_other_pixels_than_those_of_used_slices_are_refused_before_the_work(image: Image) -> None:
    observations = Observations.from_volume(image, {"k": Selection.every(SHAPE[0], 2)})
    with pytest.raises(tgr.InputError, match="needs slices with the pixels of the used slices, across k"):
        reconstruct_with("even", observations, GRID.resampled("j", 2.0))
    with pytest.raises(tgr.InputError, match="Unknown texture 'rough'. Choose one of plain, even"):
        reconstruct_with("rough", observations, GRID)  # type: ignore[arg-type]


def test_it_can_be_stopped(image: Image) -> None:
    drawn = []
    observations = Observations.from_volume(image, {"k": Selection.every(SHAPE[0], 2)})
    with pytest.raises(tgr.Cancelled):
        reconstruct_with("even", observations, GRID, preset=QUICK, device="cpu",
                         progress=lambda told: drawn.append(told.done), should_stop=lambda: drawn[-1:] == [1.0])


def test_slices_that_average_refuse_it(image: Image) -> None:
    with pytest.raises(tgr.InputError, match="texture does not go with slices that average"):
        tgr.reconstruct(image, texture="even", device="cpu", thickness=3.0)
