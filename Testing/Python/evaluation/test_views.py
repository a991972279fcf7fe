"""Where the figure looks, and how it shows what is there."""
from __future__ import annotations

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.evaluation import metrics
from TriplaneGaussianReconLib.evaluation.scale import Scale
from TriplaneGaussianReconLib.evaluation.shown import Shown
from TriplaneGaussianReconLib.evaluation.views import View


def view(grid: Grid, axis: Axis) -> View:
    return View(grid, axis, 0, slice(None), slice(None))


def test_planes_are_shown_upright() -> None:
    picture = np.arange(6).reshape(2, 3)
    # Right-to-left, posterior-to-anterior, inferior-to-superior indices, as in many NIfTI files.
    grid = Grid((4, 5, 6), spacing=(1.0, 2.0, 3.0), direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    for axis, name, pixel in (("k", "axial", (2.0, 1.0)), ("j", "coronal", (3.0, 1.0)), ("i", "sagittal", (3.0, 2.0))):
        there = view(grid, axis)
        np.testing.assert_array_equal(there.upright(picture), picture[::-1, ::-1])
        assert there.pixel == pixel and there.name == f"{name} plane {axis} = 0"
    sagittal = view(Grid((4, 5, 6), spacing=(1.0, 2.0, 3.0)), "i")
    np.testing.assert_array_equal(sagittal.upright(picture), picture[::-1])


def test_planes_of_slices_that_are_no_axial_ones_are_turned() -> None:
    """Indices i, j, k along the patient's back, feet and right: as sagittal slices are often stored."""
    grid = Grid((4, 5, 6), spacing=(1.0, 2.0, 3.0), direction=((0, 0, -1), (1, 0, 0), (0, -1, 0)))
    picture = np.arange(6).reshape(2, 3)
    axial = view(grid, "j")  # rows along the patient's right, columns along the back: to be exchanged
    np.testing.assert_array_equal(axial.upright(picture), picture[::-1].T)
    assert axial.name.startswith("axial") and axial.pixel == (1.0, 3.0)
    assert axial.upright(np.zeros((2, 3, 3))).shape == (3, 2, 3)  # in colour, too
    coronal = view(grid, "i")
    np.testing.assert_array_equal(coronal.upright(picture), picture[::-1].T)
    assert coronal.name.startswith("coronal")


def test_the_view_is_where_errors_are_and_cuts_all_slices() -> None:
    errors = np.zeros((20, 200, 40), np.float32)
    errors[5:9, 120:130, 17] = 1.0
    grid = Grid((30, 200, 40))
    chosen = View.across(errors, grid, "k", 7)
    assert (chosen.axis, chosen.index) == ("i", 17)
    assert chosen.rows == slice(7, 27) and chosen.columns.start <= 120 and chosen.columns.stop >= 130
    assert chosen.of(np.zeros(grid.shape)).shape == (20, 38)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.4, 0.4, 5.0), (2.0, 0.5, 0.5)])
def test_the_part_that_is_shown_has_a_size_that_can_be_seen(spacing: tuple[float, float, float]) -> None:
    random = np.random.default_rng(0).random((300, 320, 310))
    chosen = View.across(random, Grid(random.shape, spacing=spacing), "k")
    rows, columns = chosen.of(random).shape
    height, width = chosen.pixel
    assert 0.7 < columns * width / (rows * height) < 2.0
    assert max(rows * height, columns * width) < 115 * (height * width) ** 0.5


def test_errors_near_labels_decide_where_there_are_any() -> None:
    array = np.zeros((9, 40, 40), np.float32)
    array[::2, :, 10:13], array[::4, :, 28:30] = 1.0, 0.5
    labels = np.zeros((9, 40, 40), np.uint8)
    labels[2:5, 5:30, 28:30] = 1
    image, scale = Image(array, Grid(array.shape)), Scale.of(array)
    kept = Selection.every(9, 4)
    assert Shown.across(image, None, "k", kept, scale).view.axis == "i"
    assert 10 <= Shown.across(image, None, "k", kept, scale).view.index < 13
    segmentation = Segmentation.from_labelmap(labels, image.grid)
    assert 28 <= Shown.across(image, segmentation, "k", kept, scale).view.index < 30


def test_few_hidden_slices_are_shown_as_gaps_and_many_as_copies() -> None:
    array = np.random.default_rng(0).random((21, 30, 30)).astype(np.float32)
    image, scale = Image(array, Grid(array.shape)), Scale.of(array)
    few = Shown.across(image, None, "k", Selection.all_but_every(21, 5), scale)
    np.testing.assert_array_equal(np.isnan(few.kept), few.hidden)
    assert few.kept_words == ("kept", "hidden slices in blue")
    many = Shown.across(image, None, "k", Selection.every(21, 2), scale)
    assert np.isfinite(many.kept).all() and many.kept_words == ("kept", "a slice every 2 mm")


# ------------------------------------------------------------------------------------------------------------- windows


def ct(*values: float) -> np.ndarray:
    """Half of it air, and tissue of these values, noise included."""
    random = np.random.default_rng(0)
    tissue = random.choice(values, (16, 16, 16)) + random.normal(0, 5, (16, 16, 16))
    tissue[:4], tissue[-1, -1, :4] = -1000, 900
    return tissue.astype(np.int16)


@pytest.mark.parametrize(("values", "window"), [
    ((40, 60, -80), "soft tissue, centre 40 HU"), ((40, 60, 300), "soft tissue and bone, centre 150 HU"),
    ((40, 700, 300), "bone, centre 400 HU"), ((-850, -800, -820, -850, -830, 30), "lung, centre -600 HU")])
def test_a_ct_is_shown_in_a_usual_window(values: tuple[float, ...], window: str) -> None:
    volume = ct(*values)
    scale = Scale.of(volume)
    assert scale.window.startswith(f"Window: {window}") and scale.unit == "HU"
    assert scale.step == pytest.approx(float(np.percentile(volume, 99.9)) + 1000, abs=1)
    np.testing.assert_allclose(scale.normalised(volume), metrics.normalise(volume))
    centre = float(window.split()[-2]) if window.endswith("HU") else 0.0
    assert scale.shown(scale.normalised(np.array([centre])))[0] == pytest.approx(0.5, abs=0.01)


def test_other_volumes_are_shown_in_the_range_of_their_foreground() -> None:
    volume = np.zeros((16, 16, 16))
    volume[4:14, 4:14, 4:14] = np.random.default_rng(0).uniform(200, 400, (10, 10, 10))
    volume[8, 8, 8] = 5000.0
    scale = Scale.of(volume)
    assert scale.unit == "% of the range" and scale.step == 100.0
    assert scale.black == 0.0 and 380 < scale.white < 420
    assert Scale.of(np.zeros((4, 4, 4))).shown(np.zeros(3)).tolist() == [0.0] * 3
