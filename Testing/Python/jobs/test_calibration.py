"""How slow this computer is."""
from __future__ import annotations

import pytest
import torch

from TriplaneGaussianReconLib.jobs.calibration import measured, slowness
from TriplaneGaussianReconLib.jobs.costs import REFERENCE
from TriplaneGaussianReconLib.jobs.estimates import Slowness

CPU = torch.device("cpu")


def test_it_measures_and_leaves_random_numbers_and_threads_alone() -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    found = measured(CPU)
    assert found.learning > 0.0 and found.drawing > 0.0
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads


def test_the_computer_of_the_reference_is_as_slow_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from TriplaneGaussianReconLib.jobs import calibration

    monkeypatch.setattr(calibration, "measured", lambda device: REFERENCE["cpu"])
    assert slowness(CPU) == Slowness(1.0, 1.0)


@pytest.mark.gpu
def test_a_gpu_is_measured_too() -> None:
    found = measured(torch.device("cuda"))
    assert found.learning > 0.0 and found.drawing > 0.0
