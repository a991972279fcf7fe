"""What a user asks for: which slices and voxels follow, what is refused, and what is pointed out."""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from repository import ROOT

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.label_slices import presence
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.sentences import Sentence
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.remarks import remarks
from TriplaneGaussianReconLib.jobs.request import Request

GRID = Grid((13, 20, 22), spacing=(0.9, 0.9, 2.7))
CUBE = Grid((13, 20, 22))


@pytest.fixture
def segmentation() -> Segmentation:
    """Two segments of one value in two layers, on slices 2 to 5 and 5 to 8, and a third on slice 11."""
    layers = np.zeros((2, *GRID.shape), np.int32)
    layers[0, 2:6, :5, :5], layers[1, 5:9, :5, 3:9], layers[0, 11, 0, 0] = 70000, 70000, -5
    return Segmentation(layers, (Segment("a", 70000, 0), Segment("b", 70000, 1), Segment("c", -5, 0)), GRID)


# --------------------------------------------------------------------------------------------------- what follows


@pytest.mark.parametrize(("request_", "axis", "indices"), [
    (Request(slices="every:4"), "k", (0, 4, 8, 12)), (Request(slices="50%", axis="j"), "j", tuple(
        np.round(np.linspace(0, 19, 10)).astype(int).tolist())),
    (Request(slices=" all ", excluded="1,3-11"), "k", (0, 2, 12)),
    (Request(axis="AXIAL", slices="0,12"), "k", (0, 12)), (Request(axis=" auto "), "k", tuple(range(13)))])
def test_slices_follow_from_a_request(request_: Request, axis: Axis, indices: tuple[int, ...]) -> None:
    request_.check(GRID, has_segmentation=False)
    plan = request_.plan(GRID)
    assert plan.axis == axis and plan.selections[axis].indices == indices


def test_slices_of_several_axes_follow_from_a_request() -> None:
    plan = Request(crossing=(("k", "every:4"), ("sagittal", "3")), excluded="8").plan(GRID)
    assert {axis: selection.indices for axis, selection in plan.selections.items()} == {"k": (0, 4, 12), "i": (3,)}


@pytest.mark.parametrize(("request_", "spacing"), [
    (Request(), 0.9), (Request(slices="every:2"), None), (Request(excluded="3"), None),
    (Request(spacing="input"), None), (Request(slices="every:2", spacing="isotropic"), 0.9),
    (Request(spacing=1.35), 1.35), (Request(spacing=2.7), None),
    (Request(axis="i"), None), (Request(crossing=(("k", "all"),)), None)])
def test_the_voxels_of_the_result_follow_from_a_request(request_: Request, spacing: float | None) -> None:
    plan = request_.plan(GRID)
    assert plan.spacing == spacing
    assert plan.output is GRID if spacing is None else plan.output.spacing == pytest.approx((0.9, 0.9, spacing))


def test_slices_that_carry_segmentation(segmentation: Segmentation) -> None:
    present = presence(segmentation, "k")
    assert [np.flatnonzero(column).tolist() for column in present.T] == [[2, 3, 4, 5], [5, 6, 7, 8], [11]]
    request = Request(slices="segmented", excluded="4")
    request.check(GRID, has_segmentation=True)
    assert request.plan(GRID, {"k": present}).selections["k"].indices == (2, 3, 5, 6, 7, 8, 11)
    with pytest.raises(InputError, match="no slice carries it"):
        request.plan(GRID, {"k": np.zeros_like(present)})


@pytest.mark.parametrize(("choices", "labelled", "spacing"), [
    ({}, None, 0.9), ({"labels_on": "all"}, None, 0.9), ({"labels_on": "0,4"}, (0, 4), None),
    ({"labels_on": "drawn,0"}, None, 0.9), ({"labels_on": "every:6", "spacing": 0.9}, (0, 6, 12), 0.9),
    ({"slices": "segmented"}, None, None), ({"slices": "2,5,8,12"}, None, None),
    ({"slices": "every:2", "axis": "j", "labels_on": "0-2"}, (0, 1, 2), None)])
def test_which_slices_carry_labels_follows_from_a_request(segmentation: Segmentation, choices: dict[str, Any],
                                                          labelled: tuple[int, ...] | None, spacing: float | None
                                                          ) -> None:
    """Where labels are filled, the result has the voxels of the input unless others are asked for."""
    request = Request(**choices)
    request.check(GRID, has_segmentation=True)
    axis, = request.axes(GRID)
    plan = request.plan(GRID, {axis: presence(segmentation, axis)})
    assert plan.labelled == (None if labelled is None else {axis: Selection(labelled, GRID.count(axis))})
    assert plan.spacing == spacing
    job = request.job(Image(np.zeros(GRID.shape, np.int16), GRID), segmentation, {axis: presence(segmentation, axis)})
    assert job.labelled == plan.labelled


def test_skipped_slices_are_found(segmentation: Segmentation) -> None:
    layers = segmentation.layers.copy()
    layers[:, [3, 4, 6, 7]] = 0
    present = {"k": presence(replace(segmentation, layers=layers), "k")}  # 2, 5, 8 and 11
    labelled = Request().plan(GRID, present).labelled
    assert labelled is not None and labelled["k"].indices == (2, 5, 8, 11)
    assert remarks(Request(), Request().plan(GRID, present), GRID, segmentation, present) == []


@pytest.mark.parametrize(("request_", "fits"), [
    (Request(spacing="input"), False), (Request(), True), (Request(spacing="input", keep_model=True), True),
    (Request(slices="every:2"), True), (Request(axis="i"), False),
    (Request(crossing=(("k", "every:4"), ("i", "all"))), False)])
def test_nothing_is_fitted_where_all_slices_of_the_result_are_known(request_: Request, fits: bool) -> None:
    assert request_.needs_fitting(request_.plan(GRID), GRID) == fits


def test_a_job_is_what_was_asked_for(segmentation: Segmentation) -> None:
    image = Image(np.zeros(GRID.shape, np.int16), GRID)
    job = Request(preset="best", device="cuda:1", seed=3, keep_model=True).job(image, segmentation)
    assert (job.preset, job.device, job.seed, job.keep_model, job.spacing) == ("best", "cuda:1", 3, True, 0.9)
    assert job.volume is image and job.segmentation is segmentation and job.observed["k"].is_everything
    assert job.output_grid == Request().plan(GRID).output
    assert job.texture == "plain" and Request(texture="even").job(image).texture == "even"


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("choices", "message"), [
    ({"texture": "rough"}, "Unknown texture 'rough'. Choose one of plain, even"),
    ({"preset": "quick"}, "Unknown preset 'quick'. Choose one of fast"), ({"device": "gpu"}, "Unknown device 'gpu'"),
    ({"device": "cuda:x"}, "Unknown device"), ({"seed": -1}, "whole number from 0"), ({"seed": 2 ** 63}, "from 0 to"),
    ({"axis": "z"}, "Unknown slice axis 'z'. Choose one of auto"), ({"slices": "4"}, "Only one slice"),
    ({"slices": "0,40"}, "Slice 40 does not exist"), ({"excluded": "3-"}, "Cannot read the excluded slices '3-'"),
    ({"excluded": "0-12"}, "No slice is left"), ({"slices": "segmented"}, "there is no segmentation"),
    ({"spacing": -1.0}, "positive number of millimetres"), ({"spacing": float("nan")}, "positive number"),
    ({"spacing": 1000.0}, "leaves only one slice"), ({"spacing": "thin"}, "Unknown slice spacing 'thin'"),
    ({"crossing": (("k", "all"), ("axial", "0,1"))}, "along axis k twice"),
    ({"crossing": (("every", "4"),)}, "Unknown slice axis 'every'"),
    ({"crossing": (("k", "3"), ("i", "3"))}, "Only one slice"),
    ({"crossing": (("j", "all"),), "excluded": "3"}, "slices of the slice axis, k"),
    ({"labels_on": "every:8"}, "there is no segmentation")])
def test_what_cannot_be_done_is_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Request(**choices).check(GRID, has_segmentation=False)


@pytest.mark.parametrize("slices", ["all", "segmented"])
@pytest.mark.parametrize(("labels_on", "message"), [("some", "Which slices carry labels: Cannot read"),
                                                    ("drawn,13", "Slice 13 does not exist")])
def test_slices_that_cannot_carry_labels_are_named(slices: str, labels_on: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Request(slices=slices, labels_on=labels_on).check(GRID, has_segmentation=True)


# ------------------------------------------------------------------------------------------------- what is pointed out


def said(request: Request, grid: Grid = GRID, segmentation: Segmentation | None = None) -> list[Sentence]:
    found = None if segmentation is None else {axis: presence(segmentation, axis) for axis in request.axes(grid)}
    return remarks(request, request.plan(grid, found), grid, segmentation, found)


@pytest.mark.parametrize(("request_", "grid", "texts"), [
    (Request(), GRID, []), (Request(slices="every:2"), GRID, []), (Request(), CUBE, ["nothing is gained"]),
    (Request(spacing="isotropic"), CUBE, ["no more than the pixels within them", "nothing is gained"]),
    (Request(spacing=6.0), GRID, ["slices lie 6 mm apart, those of the input 2.7 mm"]),
    (Request(excluded="4"), GRID, ["Slices are excluded.*set the slice spacing to 0.9 mm"]),
    (Request(excluded="4", spacing="input"), GRID, []),
    (Request(excluded="4", spacing="input", keep_used=True), GRID, []),
    (Request(excluded="4", spacing=0.9, keep_used=True), GRID, ["has other voxels than the input, so used slices"]),
    (Request(slices="2-4"), GRID, ["2 and 4, nothing is known. There .0-1,5-12. they.*--slices 0,2-4,12."]),
    (Request(slices="every:5"), GRID, ["0 and 10, nothing is known. There .11-12. they.*--slices 0,5,10,12."]),
    (Request(excluded="12"), GRID, ["Slices are excluded", "There .12. they.*Exclude less"]),
    (Request(slices="every:4", spacing="input", cover_voxels=True), GRID, ["cover the volume already"]),
    (Request(crossing=(("k", "every:4"), ("i", "every:20"))), GRID, ["come from the slices along k"])])
def test_what_may_surprise_is_said(request_: Request, grid: Grid, texts: list[str]) -> None:
    import re

    sentences = said(request_, grid)
    assert len(sentences) == len(texts)
    assert all(re.search(text, sentence) for text, sentence in zip(texts, sentences, strict=True))


def test_labels_on_some_slices_alone_are_pointed_out(segmentation: Segmentation) -> None:
    assert said(Request(slices="0,2,5,8,11,12"), GRID, segmentation) == []
    unseen, = said(Request(slices="0,4,8,12"), GRID, segmentation)
    assert unseen == "On no slice that is used, and so left out of the result: c."
    _, between = said(Request(slices="2-5,9-11"), GRID, segmentation)
    assert between.values == {"number": 2} and "say which slices were" in between


def test_asking_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.jobs.remarks\n"
            "print(sorted({'torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'psutil'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
