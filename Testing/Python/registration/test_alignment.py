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
from TriplaneGaussianReconLib.registration.alignment import aligned, seen
from TriplaneGaussianReconLib.registration.stack_image import StackImage

IMAGE = StackImage(blobs(), np.ones(GRID.shape, bool), GRID)
MOVED = rigid((3.0, -2.0, 4.0), (1.0, -2.0, 1.5))
FINISH = RigidConfig().finish


def test_what_was_moved_is_found() -> None:
    moved = seen(IMAGE, GRID, MOVED, is_cubic=True)
    assert not moved.known.all()
    assert voxels_off(StackMotion(aligned(moved, IMAGE, np.eye(4), FINISH, 1.2)), MOVED) < 0.05


def test_far_apart_nothing_moves_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    away = rigid((0.0, 0.0, 0.0), (500.0, 0.0, 0.0))
    assert aligned(IMAGE, IMAGE, away, FINISH, 1.2) is away
    assert not any(capfd.readouterr())


def test_settings_of_the_process_come_back() -> None:
    process = sitk.ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()
    aligned(IMAGE, IMAGE, rigid((1.0, 0.0, 0.0), (0.0, 0.5, 0.0)), FINISH, 1.2)
    assert (process.GetGlobalDefaultNumberOfThreads(), process.GetGlobalWarningDisplay()) == before


def test_without_simpleitk_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackageError, match="several volumes lie needs SimpleITK.*motion 'none'"):
        aligned(IMAGE, IMAGE, np.eye(4), FINISH, 1.2)
