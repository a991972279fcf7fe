"""A damaged job is refused as that before any work, and nothing is added to its folder."""
from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.jobs import worker
from TriplaneGaussianReconLib.jobs.protocol import Job
from TriplaneGaussianReconLib.jobs.worker import WorkerExit

SHAPE = (5, 12, 14)
SEGMENT = ("segmentation", "segments", 0)
FIELDS: dict[tuple[str | int, ...], tuple[Any, ...]] = {  # to what cannot be in them, beside what is of another type
    ("format",): (0, 1.5, True, 10 ** 400), ("grid",): ([],), ("grid", "shape"): ([5, 12], [5, 12, -1], [10 ** 6] * 3),
    ("grid", "spacing"): ([1], [1, 1, 0], [1, 1, float("nan")], [1, 1, 10 ** 400]),
    ("grid", "origin"): ([], [0, 0, float("inf")]), ("grid", "direction"): ([[1, 0, 0]], [[1, 0], [0, 1], [0, 0]]),
    ("trusted",): ({}, {"q": {}}), ("trusted", "k"): ([],), ("trusted", "k", "count"): (0, 4, 10 ** 400, float("inf")),
    ("trusted", "k", "indices"): ([], [-1, 0], [0, 99], ["0", "2"], [0.5, 2], [0, 10 ** 400], [2, 0, 0.0]),
    ("spacing",): ("x", -1, 0, float("nan"), 10 ** 400, True), ("preset",): ("magic", None), ("device",): ("tpu", None),
    ("seed",): (-1, 2 ** 63, 1.5, None), ("keep_model",): ("x", None, 1), ("segmentation",): (0, "x", [1]),
    ("segmentation", "segments"): ({}, [5]), ("segmentation", "metadata"): (None, [1], {"a": 1}),
    ("segmentation", "grid"): (None,), ("further",): (None, {}), ("motion",): ("fast", None), ("thickness",): ("x",),
    ("profile",): ("round", None), ("padding",): ("x",),
    (*SEGMENT, "layer"): (-1, 1, 1.0, 10 ** 400), (*SEGMENT, "name"): (None, 7),
    (*SEGMENT, "value"): (0, 2 ** 40, 1.5, None), (*SEGMENT, "color"): ([1], "red", {"a": 1}, [0, 0, float("nan")])}


class StandInMessages:
    """Stand-in for standard output: keeps what is sent."""

    def __init__(self) -> None:
        self.sent, self.is_heard = list[tuple[str, dict[str, Any]]](), True

    def send(self, event: str, **fields: Any) -> None:
        self.sent.append((event, fields))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    voxels = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
    labels = Segmentation((voxels > 500).astype(np.uint8)[None], (Segment("x", 1),), Grid(SHAPE))
    Job(Image(voxels, Grid(SHAPE)), {"k": Selection.every(5, 2)}, labels, preset="paper-displaced",
        device="cpu").write(folder)
    return folder


@pytest.fixture
def job(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "job"))


def refused(folder: Path) -> None:
    before, messages, log = sorted(folder.rglob("*")), StandInMessages(), io.StringIO()
    with contextlib.redirect_stderr(log):
        code = worker.run(folder, messages, lambda: False)  # type: ignore[arg-type]
    assert code == WorkerExit.FAILED and [event for event, _ in messages.sent] == ["failed"]
    assert messages.sent[0][1]["kind"] == "input", messages.sent
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: ".".join(map(str, field)))
def test_fields_of_another_type_or_out_of_range_are_refused(job: Path, field: tuple[str | int, ...]) -> None:
    description = job / "job.json"
    former = json.loads(description.read_text())
    for value in (*FIELDS[field], object):
        content = json.loads(json.dumps(former))
        holder: Any = content
        for step in field[:-1]:
            holder = holder[step]
        if value is object:
            del holder[field[-1]]
        else:
            holder[field[-1]] = value
        description.write_text(json.dumps(content))
        refused(job)


@pytest.mark.parametrize("text", ["", "\x00\x01", "[1]", "null", "[" * 100_000, '{"format":' * 50_000, "1" * 5000])
def test_what_is_no_description_is_refused(job: Path, text: str) -> None:
    (job / "job.json").write_text(text)
    refused(job)


def saved(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, array, allow_pickle=True)


ARRAYS: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink, "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "rubbish": lambda path: path.write_bytes(b"rubbish" * 50), "folder": lambda path: (path.unlink(), path.mkdir()),
    "objects": saved(np.array([{}], object)), "text": saved(np.full(SHAPE, "a")),
    "dates": saved(np.zeros(SHAPE, "M8[s]")), "records": saved(np.zeros(SHAPE, [("a", "i4")])),
    "bytes": saved(np.zeros(SHAPE, "V4")), "complex": saved(np.ones(SHAPE, complex)), "flat": saved(np.ones((3, 3))),
    "NaN": saved(np.full(SHAPE, np.nan)), "huge": lambda path: path.write_bytes(
        path.read_bytes().replace(b" 14), }   ", b" 99999), }", 1))}


@pytest.mark.parametrize("damage", ARRAYS)
@pytest.mark.parametrize("name", ["job_volume.npy", "job_labels.npy"])
def test_damaged_arrays_are_refused(job: Path, name: str, damage: str) -> None:
    ARRAYS[damage](job / name)
    refused(job)


def test_a_folder_that_holds_an_outcome_is_refused(job: Path) -> None:
    (job / "outcome.json").write_text("{}")
    refused(job)
