"""What is expected of a reconstruction from several volumes before it starts."""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from repository import ROOT

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.evaluation.stack_simulation import Simulation, simulate
from TriplaneGaussianReconLib.jobs.estimates import Estimate, Slowness
from TriplaneGaussianReconLib.jobs.stack_estimates import SeenSlices, estimate_stacks


def stacks(side: int, count: int) -> list[SeenSlices]:
    """Of a cube, each with slices of four voxels along an axis of its own."""
    grid = Grid((side,) * 3)
    truth = Image(np.zeros(grid.shape, np.float32), grid)
    return [SeenSlices.of(each.given) for each in simulate(truth, Simulation(count, 4))]


def expected(side: int = 48, count: int = 2, output: Grid | float | None = None, has_labels: bool = False,
             preset: str = "fast", moves: bool = True, slow: float = 1.0) -> Estimate:
    return estimate_stacks(stacks(side, count), output, has_labels, preset, "cpu", moves, Slowness(slow))


# As measured, see `jobs.costs`: side, stacks, GB.
@pytest.mark.parametrize(("side", "count", "memory"), [(48, 2, 1.00), (48, 3, 1.01), (72, 2, 1.28), (72, 3, 1.32),
                                                       (96, 2, 1.63), (96, 3, 1.69)])
def test_the_memory_that_was_measured_is_expected(side: int, count: int, memory: float) -> None:
    assert expected(side, count).memory_bytes == pytest.approx(memory * 1e9, rel=0.12)


def test_more_work_takes_longer_and_no_less_memory() -> None:
    least = expected()
    for more in (expected(count=3), expected(72), expected(preset="balanced"), expected(preset="best")):
        assert more.seconds > 1.1 * least.seconds and more.memory_bytes >= least.memory_bytes
    assert expected(moves=False).seconds < least.seconds < expected(slow=2.0).seconds
    assert expected(output=2.0).memory_bytes < least.memory_bytes < expected(output=0.5).memory_bytes


def test_voxels_that_are_cubic_are_those_that_are_solved_for() -> None:
    fine, flat = Grid((96,) * 3, spacing=(0.5,) * 3), Grid((12, 48, 48), spacing=(1, 1, 4))
    assert expected(output=fine).memory_bytes == pytest.approx(expected(output=0.5).memory_bytes, rel=1e-6)
    assert expected(output=flat) == expected()


def test_only_what_was_measured_is_no_guess() -> None:
    assert expected().is_measured
    guesses = (expected(preset="balanced"), expected(has_labels=True),
               estimate_stacks(stacks(48, 2), None, False, "fast", "cuda", True, Slowness()))
    assert not any(guess.is_measured for guess in guesses)
    assert guesses[-1].gpu_memory_bytes > 0 == expected().gpu_memory_bytes


def test_a_volume_counts_as_the_slices_that_are_seen_of_it() -> None:
    """Without voxels, as the panel asks, or from what the pipeline sees, as the console asks."""
    grid = Grid((8, 24, 20), spacing=(1, 1, 4))
    array = np.random.default_rng(0).integers(1, 1000, grid.shape).astype(np.int16)
    some = StackInput(Image(array, grid), selection=Selection.every(8, 2), thickness=3.0, profile="box")
    inputs = [some, replace(some, selection=None)]
    seen = Observations.from_volumes(inputs).stacks
    without, within = (estimate_stacks(each, None, False, "fast", "cpu", True, Slowness()) for each in (
        [SeenSlices.of(one) for one in inputs], [SeenSlices(s.planes, s.thickness, s.profile) for s in seen]))
    assert without == within


def test_unknown_presets_and_impossible_voxels_are_refused() -> None:
    with pytest.raises(InputError, match="Unknown preset 'worst'"):
        expected(preset="worst")
    with pytest.raises(InputError, match="must be a positive number of millimetres"):
        expected(output=-1.0)


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_are_known(name: str) -> None:
    assert np.isfinite(expected(preset=name).seconds)


def test_expecting_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.jobs.stack_estimates\n"
            "print(sorted({'torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'psutil'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
