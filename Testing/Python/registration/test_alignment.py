"""SimpleITK at work: silent, on one thread, and settings of the whole process as they were."""
from __future__ import annotations

import sys

import numpy as np
import pytest
import SimpleITK as sitk
from stack_case import GRID, blobs, rigid, voxels_off

from TriplaneGaussianReconLib.config.registration import RigidConfig
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import MissingPackageError
from TriplaneGaussianReconLib.registration.alignment import aligned, one_thread_and_quiet, seen
from TriplaneGaussianReconLib.registration.stack_image import StackImage

IMAGE = StackImage(blobs(), np.ones(GRID.shape, bool), GRID)
MOVED = rigid((3.0, -2.0, 4.0), (1.0, -2.0, 1.5))


def found(moving: StackImage, start: np.ndarray, samples: int = 10 ** 9, seed: int = 0) -> np.ndarray:
    with one_thread_and_quiet():
        return aligned(moving, IMAGE, start, RigidConfig().finish, 1.2, samples=samples, seed=seed)


@pytest.mark.parametrize("samples", [10 ** 9, 20_000])
def test_what_was_moved_is_found(samples: int) -> None:
    moved = seen(IMAGE, GRID, MOVED)
    assert not moved.known.all() and moved.known.sum() > 20_000
    assert voxels_off(StackMotion(found(moved, np.eye(4), samples)), MOVED) < 0.05


def test_a_seed_decides_which_places_are_compared() -> None:
    moved = seen(IMAGE, GRID, MOVED)
    once, again, other, largest = (found(moved, np.eye(4), 5_000, seed) for seed in (0, 0, 1, 2 ** 32 - 1))
    assert np.array_equal(once, again) and np.array_equal(once, largest) and not np.array_equal(once, other)


def test_far_apart_nothing_moves_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    away = rigid((0.0, 0.0, 0.0), (500.0, 0.0, 0.0))
    assert found(IMAGE, away) is away
    assert not any(capfd.readouterr())


def test_settings_of_the_process_come_back() -> None:
    process = sitk.ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()
    with one_thread_and_quiet():
        assert process.GetGlobalDefaultNumberOfThreads() == 1
    assert (process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()) == before


def test_without_simpleitk_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackageError, match="several volumes lie needs SimpleITK.*motion 'none'"):
        found(IMAGE, np.eye(4))
