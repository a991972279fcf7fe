"""What is used of several volumes, on which voxels they meet, and what a result gets from them."""
from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from stand_in_solver import FOUND_GAIN, FOUND_SHIFT, StandInSolver

from TriplaneGaussianReconLib.config.names import MOTIONS, MotionKind
from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.data.stack_motion import StackMotion
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.pipeline.report import Files, Report
from TriplaneGaussianReconLib.pipeline.stack_report import StackReport
from TriplaneGaussianReconLib.pipeline.used_stacks import UsedStacks, solved

AXIAL, CORONAL = Grid((6, 24, 24), spacing=(1, 1, 4)), Grid((24, 6, 24), (0.0, 1.5, -1.5), (1, 4, 1))


def image(grid: Grid) -> Image:
    return Image(np.random.default_rng(0).integers(900, size=grid.shape).astype(np.int16), grid)


@pytest.fixture
def used() -> UsedStacks:
    layers = np.zeros((1, *CORONAL.shape), np.uint8)
    layers[0, 8:14] = 3
    labels = Segmentation(layers, (Segment("Tumour", 3, identifier="t"), Segment("Unseen", 4, identifier="u")), CORONAL,
                          {"Segment0_ID": "t", "Segment0_Tags": "tumour"})
    shift = np.eye(4)
    shift[:3, 3] = 10.0, 0.0, 0.0
    return UsedStacks((StackInput(image(AXIAL)),
                       StackInput(image(CORONAL), selection=Selection((0, 1, 3, 4, 5), 6), thickness=5.0, profile="box",
                                  segmentation=labels, to_first=shift)))


def test_the_voxels_of_the_result(used: UsedStacks) -> None:
    observations = used.observations()
    assert used.output(observations) == used.output(observations, "union", "isotropic") == 1.0
    assert used.output(observations, "union", 2.0) == 2.0
    for spacing, shape in ((None, (21, 24, 24)), (2.0, (11, 24, 24))):
        first = used.output(observations, "first", spacing)
        assert isinstance(first, Grid) and first.shape == shape
    assert used.output(observations, "first", "input") is AXIAL
    own = Grid((7, 8, 9))
    assert used.output(observations, own) is own
    uneven = Grid((3, 4, 4), depths=(0.0, 1.0, 3.0))
    for voxels, spacing, what in (("union", "input", "no common spacing"), ("second", None, "Unknown voxels"),
                                  (own, 1.0, "Leave out"), (uneven, None, "unevenly"),
                                  ("union", 500.0, "Voxels of 500 mm leave only one .* measure 34 x 25 x 24 mm")):
        with pytest.raises(InputError, match=what):
            used.output(observations, voxels, spacing)  # type: ignore[arg-type]


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_result_tells_the_whole_motion_and_what_was_used(used: UsedStacks, motion: MotionKind,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    solver = StandInSolver.in_place(monkeypatch)
    observations = used.observations()
    output = used.output(observations)
    result = solved(observations, output, preset="fast", device="cpu", seed=3, motion=motion, progress=None,
                    should_stop=None)
    assert solver.observations is observations and solver.options["seed"] == 3 and solver.options["motion"] == motion
    files = [Files("a.nrrd", None), Files("b.nrrd", "b.seg.nrrd", mask="m.nrrd")]
    result = used.finished(result, observations, ["A note."], files)
    shift, gain = ((FOUND_SHIFT, FOUND_GAIN) if motion == "stack" else ((0.0, 0.0, 0.0), 1.0))
    np.testing.assert_allclose(result.motions[1].matrix[:3, 3], np.add((10.0, 0.0, 0.0), shift))
    np.testing.assert_array_equal(result.motions[0].matrix, np.eye(4))
    assert result.motions[1].gain == gain
    assert result.segmentation is not None and result.segmentation.metadata["Segment0_Tags"] == "tumour"
    report = result.report
    assert report.scope is not None and report.scope.segments_left_out == ("Unseen",)
    assert report.scope.output_shape == result.volume.grid.shape and report.notes == ("A note.",)
    second = report.volumes[1]
    assert (second.volume, second.labels, second.mask, second.axis, second.trusted, second.thickness, second.profile
            ) == ("b.nrrd", "b.seg.nrrd", "m.nrrd", "j", (0, 1, 3, 4, 5), 5.0, "box")
    assert report.volumes[0].mask is None
    read = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert read.volumes == report.volumes and read.files == report.files


def test_motion_gain_and_bias_that_were_known_are_part_of_the_whole(used: UsedStacks, monkeypatch: pytest.MonkeyPatch
                                                                    ) -> None:
    """Grey values are made those of the first; what is found then comes on top."""
    StandInSolver.in_place(monkeypatch)
    first, second = used.inputs
    known = UsedStacks((first, replace(second, to_first=StackMotion(second.known.matrix, 2.0, 30.0))))
    plain, observations = used.observations().stacks[1], known.observations()
    np.testing.assert_allclose(observations.stacks[1].pixels, (plain.pixels - 30.0) / 2.0)
    np.testing.assert_array_equal(observations.stacks[1].planes.origins, plain.planes.origins)
    for motion, gain in (("stack", FOUND_GAIN), ("none", 1.0)):
        result = solved(observations, known.output(observations), preset="fast", device="cpu", seed=0,
                        motion=motion, progress=None, should_stop=None)  # type: ignore[arg-type]
        result = known.finished(result, observations, [])
        assert (result.motions[1].gain, result.motions[1].bias) == (2.0 * gain, 30.0)
        assert result.report.volumes[1].gain == 2.0 * gain
    for gain, bias in ((0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))):
        with pytest.raises(InputError, match="gain .* must be a positive number"):
            replace(second, to_first=StackMotion(gain=gain, bias=bias))
    with pytest.raises(InputError, match="The first volume lies where it lies"):
        UsedStacks((replace(first, to_first=StackMotion(gain=2.0)), second)).observations()


def test_a_damaged_entry_of_a_volume_is_named() -> None:
    good = StackReport("k", (0, 2), 3.0, "box", tuple(map(tuple, np.eye(4).tolist()))).to_json()
    assert StackReport.from_json(good).trusted == (0, 2)
    with pytest.raises(InputError, match="'thickness_mm' is no number"):
        StackReport.from_json({**good, "thickness_mm": "thick"})
