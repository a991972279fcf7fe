"""The program that draws the pictures of the README, and the last one of the demo."""
from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from repository import ROOT


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "Testing" / "Benchmarks"))
    import pictures

    return pictures


def test_thick_slices_repeat_the_nearest_slice_that_was_used(pictures: ModuleType) -> None:
    volume = np.arange(7.0)[:, None, None]
    assert pictures.thick(volume, 3).ravel().tolist() == [0, 0, 3, 3, 3, 6, 6]


def test_linear_interpolation_hits_the_slices_and_repeats_the_last_one(pictures: ModuleType) -> None:
    volume = np.array([0.0, 9.0, 2.0, 9.0, 4.0, 9.0])[:, None, None]
    assert pictures.interpolated(volume, 2).ravel().tolist() == [0, 1, 2, 3, 4, 4]


def test_a_better_result_has_the_better_figure(pictures: ModuleType) -> None:
    truth = np.random.default_rng(0).uniform(0, 1000, (9, 12, 10)).astype(np.float32)
    _, linear, made, _ = pictures.panels(truth, 4, truth + 1)
    figures = [float(panel.title.split(", ")[1].removesuffix(" dB")) for panel in (linear, made)]
    assert figures[0] < 20 < 50 < figures[1]


def test_the_demo_ends_with_a_picture(pictures: ModuleType, tmp_path: Path) -> None:
    volume, picture = pictures.SAMPLE.with_suffix(".nii.gz"), tmp_path / "brain.png"
    pictures.main(["across", str(volume), str(volume), "--keep-every", "4", "--output", str(picture)])
    drawn = cv2.imread(str(picture))
    assert drawn is not None and drawn.std() > 30


def test_surfaces_are_drawn_without_a_window(pictures: ModuleType) -> None:
    pytest.importorskip("vtk")
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 2
    picture = pictures.rendered(labels, (1.0, 1.0, 1.0), pixels=64)
    assert picture.shape == (64, 64, 3)
    assert picture[0, 0].tolist() == [255, 255, 255]  # background
    red, _, blue = (int(value) for value in picture[32, 32])
    assert blue > red  # the colour of ventricles


def test_a_plane_across_the_slices_shows_the_last_slice_on_top(pictures: ModuleType) -> None:
    stack = sitk.GetImageFromArray(np.arange(4.0, dtype=np.float32)[:, None, None] * np.ones((1, 7, 6), np.float32))
    stack.SetSpacing([1.0, 1.0, 3.0])
    plane = pictures.plane_across(stack, 0)
    seen = sitk.GetArrayFromImage(sitk.Resample(stack, plane, sitk.Transform(), sitk.sitkLinear))
    assert seen[0, :, 2] == pytest.approx(np.linspace(3, 0, 19), abs=1e-5)
    assert seen.shape[2] == 11


def test_several_stacks_are_drawn_beside_the_first(pictures: ModuleType, tmp_path: Path) -> None:
    volume, picture = pictures.SAMPLE.with_suffix(".nii.gz"), tmp_path / "stacks.png"
    pictures.main(["stacks", *[str(volume)] * 3, "--output", str(picture)])
    assert cv2.imread(str(picture)) is not None
