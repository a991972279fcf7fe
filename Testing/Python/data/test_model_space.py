"""The observed slices in the model's frame; how far apart the output's slices are, and what follows from it."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from TriplaneGaussianReconLib.config.data import GapSamplingConfig
from TriplaneGaussianReconLib.config.gaussians import ModelSpaceConfig
from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.model_space import ModelSpaceData
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection

TURN = np.radians(20.0)
OBLIQUE = ((np.cos(TURN), -np.sin(TURN), 0.0), (np.sin(TURN), np.cos(TURN), 0.0), (0.0, 0.0, -1.0))
SCAN = Grid((13, 20, 24), origin=(5.0, -3.0, 40.0), spacing=(0.8, 0.9, 1.0), direction=OBLIQUE)


def observed(output: Grid, axis: Axis = "k", every: int = 3) -> ModelSpaceData:
    image = Image(np.random.default_rng(0).random(SCAN.shape).astype(np.float32), SCAN)
    selection = Selection.every(SCAN.count(axis), every)
    return ModelSpaceData.of(Observations.from_volume(image, {axis: selection}), output, ModelSpaceConfig(),
                             GapSamplingConfig())


def test_which_planes_carry_labels_is_cut_with_them() -> None:
    stack = replace(observed(SCAN).stacks[0], layers=np.zeros((1, 5, 20, 24), np.uint8),
                    labelled=np.array([True, False, False, True, True]))
    labelled = [part.labelled for part in (stack.cut(slice(2, 4)), stack.between(-1.0, 4.0))]
    assert [None if part is None else part.tolist() for part in labelled] == [[False, True], [True, False]]


@pytest.mark.parametrize(("axis", "step"), [("i", 0.8), ("j", 0.9), ("k", 1.0)])
def test_the_scan_itself_has_its_own_step(axis: Axis, step: float) -> None:
    found = observed(SCAN, axis)
    assert found.step == pytest.approx(step)
    assert set(found.plane_counts.tolist()) == {2}


def moved(by: float) -> Grid:
    """The scan's grid, moved along its slice axis."""
    return replace(SCAN, origin=(5.0, -3.0, 40.0 - by))


@pytest.mark.parametrize(("output", "step"), [
    (replace(SCAN, spacing=(0.8, 0.9, 1.5)), 1.5), (replace(SCAN, shape=(25, 20, 24), spacing=(0.8, 0.9, 0.5)), 0.5),
    (moved(2.0), 1.0), (moved(0.005), 1.0), (Grid((13, 20, 24)), 1.0)])
def test_slices_of_the_output_that_lie_on_those_of_the_scan(output: Grid, step: float) -> None:
    """Turned within the slices they still do."""
    assert observed(output).step == pytest.approx(step)


@pytest.mark.parametrize("output", [
    moved(0.5),
    replace(SCAN, direction=((1.0, 0.0, 0.0), (0.0, np.cos(0.01), -np.sin(0.01)), (0.0, np.sin(0.01), np.cos(0.01))))])
def test_other_outputs_count_as_having_a_slice_per_pixel(output: Grid) -> None:
    """Shifted by half a slice, or slanted by half a degree."""
    assert observed(output).step == pytest.approx(0.8)


@pytest.mark.parametrize(("every", "counts"), [(2, {3}), (3, {2}), (4, {3}), (6, {5})])
def test_planes_are_predicted_where_the_output_has_slices(every: int, counts: set[int]) -> None:
    assert set(observed(SCAN, every=every).plane_counts.tolist()) == counts


@pytest.mark.parametrize(("output", "filled"), [
    (SCAN, [2, 5]), (moved(0.005), [2, 5]), (replace(SCAN, shape=(4, 20, 24)), []),
    (replace(SCAN, shape=(25, 20, 24), spacing=(0.8, 0.9, 0.5)), list(range(9))),
    (moved(0.5), list(range(9)))])
def test_only_gaps_with_a_slice_of_the_output_are_filled_if_nobody_wants_the_model(output: Grid, filled: list[int]
                                                                                  ) -> None:
    """Slices 4, 5 and 9 are damaged, and the model counts from the other end; two outputs have slices in all gaps."""
    image = Image(np.random.default_rng(0).random(SCAN.shape).astype(np.float32), SCAN)
    observations = Observations.from_volume(image, {"k": Selection((0, 1, 2, 3, 6, 7, 8, 10, 11, 12), 13)})
    some, everything = (ModelSpaceData.of(observations, output, ModelSpaceConfig(), GapSamplingConfig(), fills_all)
                        for fills_all in (False, True))
    assert np.flatnonzero(some.needed).tolist() == filled
    assert everything.needed.all() and (everything.plane_counts[~some.needed] > 0).all()
    assert (some.plane_counts == np.where(some.needed, everything.plane_counts, 0)).all()
