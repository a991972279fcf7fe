"""A part of a volume in a request and in a job: what is used, what comes of it, and that the worker does it."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.label_slices import presence
from TriplaneGaussianReconLib.data.region import MARGIN, Region
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.estimates import estimate
from TriplaneGaussianReconLib.jobs.protocol import Job, Outcome
from TriplaneGaussianReconLib.jobs.remarks import remarks
from TriplaneGaussianReconLib.jobs.request import Request
from TriplaneGaussianReconLib.jobs.worker import Messages, reconstruct_job

GRID = Grid((41, 40, 48), origin=(3, -7, 11), spacing=(0.8, 0.9, 3.0))
PART = "10-25,8-19,11-22"


def test_its_voxels_are_those_of_the_whole_result() -> None:
    for spacing in ("input", 1.1):
        request = Request(slices="every:4", spacing=spacing)
        whole, part = request.plan(GRID).output, replace(request, region=PART).plan(GRID).output
        at = whole.physical_to_index(part.origin)
        assert np.allclose(at, np.rint(at), atol=1e-6) and part.spacing == whole.spacing
        ends = GRID.physical_to_index(part.index_to_physical([np.zeros(3), np.subtract(part.size, 1)]))
        assert np.allclose(ends[:, :2], [[10, 8], [25, 19]])
        assert 10.5 - 0.01 <= ends[0, 2] <= 11 and 22 <= ends[1, 2] <= 22.5 + 0.01


def test_slices_beside_it_are_used_too_and_keep_their_numbers() -> None:
    plan = Request(slices="every:4", excluded="16", region=PART).plan(GRID)
    assert plan.selections["k"].indices == (4, 8, 12, 20, 24, 28) and plan.selections["k"].count == 41
    seen, used = plan.seen(GRID)
    assert used["k"].indices == (0, 4, 8, 16, 20, 24) and seen.count("k") == 25
    assert seen.size[:2] == (16 + 10 + MARGIN, 12 + 8 + MARGIN)


def test_labels_come_from_the_next_drawn_slices() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[[0, 14, 32], 10:20, 10:20] = 1
    drawn = {"k": presence(Segmentation.from_labelmap(labels, GRID), "k")}
    plan = Request(region=PART).plan(GRID, drawn)
    assert plan.selections["k"].indices == tuple(range(33)) and plan.labelled is not None
    assert {0, 14, 32} <= set(plan.labelled["k"].indices) <= set(range(33))
    assert not Request(region=PART).needs_fitting(plan, GRID)
    damaged = Request(region=PART, excluded="15")
    assert damaged.needs_fitting(damaged.plan(GRID, drawn), GRID)


def test_all_slices_of_it_become_as_fine_as_those_of_the_whole() -> None:
    assert Request(region=PART).plan(GRID).output.spacing == (0.8, 0.9, 0.8)


def test_it_takes_less() -> None:
    plans = [Request(region=region).plan(GRID) for region in ("", PART)]
    whole, part = (estimate(*plan.seen(GRID), False, "fast", "cpu") for plan in plans)
    assert part.seconds < whole.seconds and part.memory_bytes < whole.memory_bytes


def test_nothing_is_said_of_ends_beyond_it() -> None:
    request = Request(slices="4-36", region=PART)
    assert not remarks(request, request.plan(GRID), GRID)
    assert remarks(replace(request, region=""), replace(request, region="").plan(GRID), GRID)


@pytest.mark.parametrize(("region", "reason"), [
    ("10-25,8-19", "Cannot read the region"), ("25-10,8-19,11-22", "Cannot read the region"),
    ("10-48,8-19,11-22", "reaches beyond the volume, whose voxels along i are 0 to 47"),
    ("10-25,8-19,13-15", "too thin. It holds slices 13 to 15, of which none is used"),
])
def test_what_is_no_part_is_refused(region: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Request(slices="every:4", region=region).check(GRID, False)


def test_slices_of_several_axes_are_refused() -> None:
    with pytest.raises(InputError, match="A region goes with slices along the slice axis alone"):
        Request(crossing=(("k", "every:4"), ("j", "every:8")), region=PART).plan(GRID)


def body() -> Image:
    """Something that moves from slice to slice."""
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in GRID.shape), indexing="ij")
    return Image((900 * np.exp(-((i - 14 - 0.2 * k) ** 2 + (j - 15) ** 2) / 60)).astype(np.int16), GRID)


def done(job: Job, folder: Path) -> Outcome:
    folder.mkdir()
    job.write(folder)
    reconstruct_job(folder, Silent(), lambda: False)
    return Outcome.read(folder)


class Silent(Messages):
    """Nobody listens."""

    def __init__(self) -> None:
        self.is_heard = True

    def send(self, event: str, **fields: object) -> None:
        pass


@pytest.mark.slow
def test_the_worker_reconstructs_it_as_well_as_the_whole(tmp_path: Path) -> None:
    image, part = body(), (slice(11, 23), slice(8, 20), slice(10, 26))
    request = Request(slices="every:4")
    whole, found = (done(replace(request, region=region).job(image), tmp_path / f"job{region}")
                    for region in ("", PART))
    assert found.volume.grid.matches(GRID.cropped("i", 10, 25).cropped("j", 8, 19).cropped("k", 11, 22))
    assert found.volume.array.shape == found.confidence.array.shape == (12, 12, 16)
    errors = [np.abs(each - image.array[part]).mean() for each in (
        whole.volume.array[part].astype(float), found.volume.array.astype(float))]
    assert errors[1] < 1.5 * errors[0] + 2.0
    assert found.scope.selected == {"k": (4, 8, 12, 16, 20, 24, 28)} and found.scope.region == PART


@pytest.mark.slow
def test_the_worker_fills_labels_in_it_and_leaves_the_image(tmp_path: Path) -> None:
    image, labels = body(), np.zeros(GRID.shape, np.uint8)
    drawn = [8, 14, 20, 26]
    labels[drawn] = image.array[drawn] > 300
    given = Segmentation.from_labelmap(labels, GRID)
    request = Request(region=PART, labels_on=",".join(map(str, drawn)), spacing="input")
    found = done(request.job(image, given, {"k": presence(given, "k")}), tmp_path / "job")
    part = slice(11, 23), slice(8, 20), slice(10, 26)
    assert np.array_equal(found.volume.array, image.array[part]) and not found.report.gaussians
    assert found.segmentation is not None and found.label_certainty is not None
    assert np.array_equal(found.segmentation.layers[0, 3], labels[14, 8:20, 10:26])
    assert found.segmentation.layers[0, 6].any() and found.label_certainty.array.shape == (12, 12, 16)
    assert found.report.completion is not None and found.report.completion.slices.drawn == tuple(drawn)


@pytest.mark.slow
def test_used_slices_of_it_stay_as_they_are(tmp_path: Path) -> None:
    image, part = body(), (slice(11, 23), slice(8, 20), slice(10, 26))
    found = done(Request(excluded="14,15", region=PART, keep_used=True).job(image), tmp_path / "job")
    same = [np.array_equal(*each) for each in zip(found.volume.array, image.array[part], strict=True)]
    assert same == [n not in (14, 15) for n in range(11, 23)]


def test_a_region_is_kept_in_a_job(tmp_path: Path) -> None:
    job = Request(slices="every:4", region=PART).job(body())
    job.write(tmp_path)
    assert Job.read(tmp_path).region == PART and job.observed["k"] == Selection.every(41, 4)
    assert Region.within(Job.read(tmp_path).region, GRID) == Region((10, 8, 11), (25, 19, 22))
