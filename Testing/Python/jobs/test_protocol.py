"""A job or an outcome comes out of a folder as it went in, or not at all; so do messages."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posix_case import POSIX, SHORTFALLS, room_for
from repository import ROOT

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.label_slices import LabelSlices
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.io import atomic
from TriplaneGaussianReconLib.jobs import protocol
from TriplaneGaussianReconLib.jobs.protocol import (
    LABEL_NETWORK,
    MODEL,
    Job,
    Outcome,
    line,
    parse,
    read_preview,
    write_preview,
)
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion
from TriplaneGaussianReconLib.pipeline.report import Provenance, Report, Scope, SelfCheck, StackResidual

SHAPE = (5, 4, 3)
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
          ">i2", ">f4"]


@pytest.fixture
def grid(rotation: Any) -> Grid:
    return Grid(SHAPE, (0.1, -1 / 3, 1e-7), (0.7, 0.9, 1e3 / 7), rotation)


@pytest.fixture
def segmentation(grid: Grid) -> Segmentation:
    """Two segments that overlap, in two layers."""
    layers = np.zeros((2, *SHAPE), np.int16)
    layers[0, 1:4], layers[1, 2:5] = -7, 300
    return Segmentation(layers, (Segment("肿瘤", -7, 0, "Segment_é", (0.1, 2 / 3, 1.0)), Segment("отёк \"2\"", 300, 1)),
                        grid, {"Segment0_Tags": "TerminologyEntry:Änderung^~|", "Порядок": "δ\n2"})


@pytest.fixture
def job(grid: Grid, segmentation: Segmentation) -> Job:
    array = np.arange(60, dtype=np.int16).reshape(SHAPE)
    observed: dict[Axis, Selection] = {"k": Selection.every(5, 2), "i": Selection((0, 2), 3)}
    return Job(Image(array, grid, unit="HU"), observed, segmentation, 0.5,
               "balanced", "cuda:1", 7, True, memory=6 * 10 ** 9, threads=2)


def report() -> Report:
    provenance = Provenance("0.1.0", "fast", 7, "cpu", 3, SelfCheck(1.14, "Too few."))
    return Report(provenance, "CPU.", 1, 100, 2, {"pchip": 1.0}, (StackResidual(0.5, 2.0, 40.0),), {"training": 1.5},
                  {}, ("größer",), Scope("k", {"k": (0, 2, 4)}, SHAPE, (0.7, 0.9, 142.0), ()))


@pytest.fixture
def outcome(job: Job, tmp_path: Path) -> Outcome:
    (tmp_path / MODEL).write_bytes(b"a model")
    confidence = Image(np.linspace(0, 1, 60, dtype=np.float32).reshape(SHAPE), job.volume.grid)
    return Outcome(job.volume, confidence, job.segmentation, report(), tmp_path / MODEL)


def assert_same(one: Segmentation | Image | None, other: Segmentation | Image | None) -> None:
    """Compare everything, to the last bit."""
    assert one is not None and other is not None and one.grid == other.grid
    arrays = [x.array if isinstance(x, Image) else x.layers for x in (one, other)]
    assert arrays[0].dtype == arrays[1].dtype
    np.testing.assert_array_equal(*arrays)
    if isinstance(one, Segmentation) and isinstance(other, Segmentation):
        assert one.segments == other.segments and dict(one.metadata) == dict(other.metadata)


def test_a_job_comes_out_as_it_went_in(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path)
    read = Job.read(tmp_path)
    assert read.volume.unit == "HU"
    assert_same(read.volume, job.volume)
    assert_same(read.segmentation, job.segmentation)
    assert list(read.observed.items()) == list(job.observed.items())
    assert (read.spacing, read.preset, read.device, read.seed, read.keep_model) == (0.5, "balanced", "cuda:1", 7, True)
    assert read.axis == job.axis and read.output_grid == job.output_grid


def test_which_slices_carry_labels_goes_along(job: Job, tmp_path: Path) -> None:
    labelled = {"k": Selection((0, 4), 5)}
    replace(job, labelled=labelled).write(tmp_path)
    assert Job.read(tmp_path).labelled == labelled


def test_what_an_earlier_job_learnt_goes_along(job: Job, tmp_path: Path) -> None:
    replace(job, label_network=tmp_path / "größer.safetensors").write(tmp_path)
    assert Job.read(tmp_path).label_network == tmp_path / "größer.safetensors"


def test_the_texture_goes_along_and_that_of_a_former_job_is_plain(job: Job, tmp_path: Path) -> None:
    replace(job, texture="even").write(tmp_path)
    assert Job.read(tmp_path).texture == "even"
    content = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    del content["texture"]
    (tmp_path / "job.json").write_text(json.dumps(content), encoding="utf-8")
    assert Job.read(tmp_path).texture == "plain"


def test_what_is_to_be_kept_goes_along_and_a_former_job_keeps_nothing(job: Job, tmp_path: Path) -> None:
    replace(job, keep_used=True).write(tmp_path)
    assert Job.read(tmp_path).keep_used
    content = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    del content["keep_used"]
    (tmp_path / "job.json").write_text(json.dumps(content), encoding="utf-8")
    assert not Job.read(tmp_path).keep_used


def test_a_former_job_has_labels_on_all_slices_and_nothing_learnt(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path)
    content = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    assert content.pop("labelled", 0) is content.pop("label_network", 0) is None
    (tmp_path / "job.json").write_text(json.dumps(content), encoding="utf-8")
    assert Job.read(tmp_path).labelled is None and Job.read(tmp_path).label_network is None


def test_a_job_of_an_image_alone(job: Job, tmp_path: Path) -> None:
    Job(job.volume, job.observed).write(tmp_path)
    read = Job.read(tmp_path)
    assert read.segmentation is None and read.spacing is None and read.preset == "fast"
    assert read.output_grid == job.volume.grid


def test_an_outcome_comes_out_as_it_went_in(outcome: Outcome, tmp_path: Path) -> None:
    outcome.write(tmp_path)
    read = Outcome.read(tmp_path)
    assert_same(read.volume, outcome.volume)
    assert_same(read.confidence, outcome.confidence)
    assert_same(read.segmentation, outcome.segmentation)
    assert read.report == outcome.report and read.model == outcome.model and read.label_certainty is None


def test_how_certain_labels_are_goes_along(outcome: Outcome, tmp_path: Path) -> None:
    certainty = Image(np.full(SHAPE, 0.75, np.float32), outcome.volume.grid)
    completion = LabelCompletion(LabelSlices((0, 4), (3,), (1, 2)), (2, 1), {"shape": 1.0}, 0.875)
    replace(outcome, label_certainty=certainty, report=replace(outcome.report, completion=completion)).write(tmp_path)
    assert_same(Outcome.read(tmp_path).label_certainty, certainty)
    assert Outcome.read(tmp_path).report.completion == completion


def test_what_was_learnt_about_labels_goes_along(outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / LABEL_NETWORK).write_bytes(b"a network")
    replace(outcome, label_network=tmp_path / LABEL_NETWORK).write(tmp_path)
    assert Outcome.read(tmp_path).label_network == tmp_path / LABEL_NETWORK
    (tmp_path / LABEL_NETWORK).unlink()
    with pytest.raises(InputError, match="label_network.safetensors is missing"):
        Outcome.read(tmp_path)


def test_an_outcome_without_labels_and_model(outcome: Outcome, tmp_path: Path) -> None:
    replace(outcome, segmentation=None, model=None).write(tmp_path)
    assert Outcome.read(tmp_path).segmentation is None and Outcome.read(tmp_path).model is None


def test_arrays_of_an_outcome_stay_on_the_disk(outcome: Outcome, tmp_path: Path) -> None:
    outcome.write(tmp_path)
    base = Outcome.read(tmp_path).volume.array
    while not isinstance(base, np.memmap):
        assert isinstance(base, np.ndarray)
        base = base.base


def test_numbers_that_json_does_not_know_become_null(outcome: Outcome, tmp_path: Path) -> None:
    replace(outcome, report=replace(report(), losses={"training": float("nan")})).write(tmp_path)
    assert json.loads((tmp_path / "outcome.json").read_text())["report"]["loss"] == {"training": None}
    assert np.isnan(Outcome.read(tmp_path).report.losses["training"])


def test_an_outcome_of_the_former_version_is_read(outcome: Outcome, tmp_path: Path) -> None:
    former = json.loads((ROOT / "Testing" / "Python" / "pipeline" / "former_reports.json").read_text())["of the worker"]
    outcome.write(tmp_path)
    _changed("outcome.json", "report", to=former)(tmp_path)
    read = Outcome.read(tmp_path)
    assert read.report.provenance.preset == "paper" and read.scope.segments_left_out == ("unseen",)


def test_an_outcome_tells_which_slices_were_used(outcome: Outcome) -> None:
    assert outcome.scope.selected == {"k": (0, 2, 4)}
    with pytest.raises(InputError, match="does not tell which slices"):
        _ = replace(outcome, report=replace(outcome.report, scope=None)).scope


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_type_of_voxel_survives(grid: Grid, tmp_path: Path, dtype: str) -> None:
    kind = np.dtype(dtype)
    ends = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (-0.0, np.finfo(kind).max)
    array = np.array([*ends] * 30, kind).reshape(SHAPE)
    Job(Image(array, grid), {"k": Selection.every(5, 2)}).write(tmp_path)
    assert_same(Job.read(tmp_path).volume, Image(array, grid))


def test_arrays_that_are_views_come_out_in_order(grid: Grid, tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(120.0).reshape(10, 4, 3)[::2])
    Job(Image(array, grid), {"k": Selection.every(5, 2)}).write(tmp_path)
    read = Job.read(tmp_path).volume.array
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, array)


def test_folders_may_have_any_name(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "Ордnung ü 图像 %20"
    folder.mkdir()
    job.write(folder)
    assert_same(Job.read(folder).volume, job.volume)


def test_nothing_remains_of_what_cannot_be_written_whole(job: Job, tmp_path: Path) -> None:
    text = np.full(SHAPE, "x", object)  # which could only be pickled
    with pytest.raises(OutputError, match="was not written"):
        replace(job, segmentation=Segmentation(job.segmentation.layers, job.segmentation.segments, job.volume.grid),
                volume=Image(text, job.volume.grid)).write(tmp_path)
    assert not list(tmp_path.iterdir())


@POSIX
@pytest.mark.parametrize("shortfall", SHORTFALLS)
def test_nothing_remains_of_what_a_full_disk_cuts_short(job: Job, tmp_path: Path, shortfall: int) -> None:
    """NumPy does not notice that the last bytes do not arrive."""
    large = Image(np.zeros((8, 40, 40), np.int16), Grid((8, 40, 40)))
    with room_for(large.array.nbytes + 128 - shortfall), pytest.raises(OutputError, match="npy' was not written"):
        replace(job, volume=large, segmentation=None).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_remains_if_the_description_cannot_be_written(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        replace(job, seed=object()).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_one_job(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path)
    before = (tmp_path / "job.json").read_bytes()
    with pytest.raises(OutputError, match="holds a job already. Choose an empty one."):
        replace(job, seed=8).write(tmp_path)
    assert (tmp_path / "job.json").read_bytes() == before


def test_a_folder_that_does_not_exist_is_named(job: Job, outcome: Outcome, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone.*Choose another folder"):
        job.write(tmp_path / "gone")
    with pytest.raises(InputError, match="does not hold a job: there is no file job.json"):
        Job.read(tmp_path / "gone")
    with pytest.raises(InputError, match="does not hold an outcome.*interrupted"):
        Outcome.read(tmp_path)


def test_too_small_a_disk_is_named_before_anything_is_written(job: Job, tmp_path: Path) -> None:
    huge = np.broadcast_to(np.int16(1), (2 ** 20, 2 ** 20, 2 ** 10))  # which takes no memory
    with pytest.raises(OutputError, match=r"GB free, and 2251799\.81 GB are needed. Free disk space"):
        Job(Image(huge, Grid(huge.shape)), {"k": Selection.every(2 ** 20, 2 ** 19)}).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_model_is_in_the_folder(outcome: Outcome, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be the file"):
        replace(outcome, model=tmp_path / "other.safetensors").write(tmp_path)


def test_further_volumes_come_out_as_they_went_in(job: Job, segmentation: Segmentation, tmp_path: Path) -> None:
    stack = StackInput(Image(job.volume.array + 1, job.volume.grid, -5.0), "i", Selection((0, 2), 3), 0.9, "box",
                       segmentation)
    plain = StackInput(Image(job.volume.array.astype(np.float32), job.volume.grid))
    replace(job, further=(stack, plain), motion="none", thickness=1.5, profile="box").write(tmp_path)
    read = Job.read(tmp_path)
    assert (read.motion, read.thickness, read.profile, len(read.stacks)) == ("none", 1.5, "box", 3)
    for found, given in zip(read.further, (stack, plain), strict=True):
        assert_same(found.image, given.image)
        assert (found.image.padding, found.slice_axis, found.used, found.thickness, found.profile) == (
            given.image.padding, given.slice_axis, given.used, given.thickness, given.profile)
    assert_same(read.further[0].segmentation, segmentation)
    assert read.further[1].segmentation is None


def test_the_first_of_several_volumes_is_used_as_the_job_says(job: Job) -> None:
    labelled = {"k": Selection((0, 4), 5)}
    first = replace(job, observed={"k": Selection.every(5, 2)}, labelled=labelled, thickness=2.0).stacks[0]
    assert (first.slice_axis, first.used.indices, first.width, first.labels_on) == ("k", (0, 2, 4), 2.0, labelled["k"])


@pytest.mark.parametrize("extra", [{"to_first": np.eye(4)}, {"labels_on": "0,4"}, {"mask": True}])
def test_what_a_job_cannot_hold_of_a_further_volume_is_refused(job: Job, tmp_path: Path, extra: dict[str, Any]) -> None:
    extra = {name: job.segmentation if value is True else value for name, value in extra.items()}
    with pytest.raises(ValueError, match="neither a mask nor a motion, and carries labels where they are drawn"):
        replace(job, further=(StackInput(job.volume, **extra),)).write(tmp_path)
    assert not list(tmp_path.iterdir())


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def _cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 4)


def _changed(name: str, *keys: str, to: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        (folder / name).write_text(json.dumps(content))

    return change


@pytest.mark.parametrize("damage", [
    _without("job_volume.npy"), _without("job_labels.npy"), _cut("job_volume.npy"), _cut("job_labels.npy"),
    _with("job_volume.npy", b""), _with("job_volume.npy", b"no array"), _with("job.json", b"{"),
    _with("job.json", b"[]"), _with("job.json", b"\xff\xfe"), _with("job.json", b'{"format": 2}'),
    _with("job.json", b"[" * 10 ** 6), _changed("job.json", "grid", "shape", to=[1, 2, 3]),
    _changed("job.json", "grid", "spacing", to=[0, 1, 1]), _changed("job.json", "grid", to=None),
    _changed("job.json", "trusted", to={"x": {"indices": [0], "count": 5}}),
    _changed("job.json", "trusted", "k", "indices", to=[99]), _changed("job.json", "segmentation", to=5),
    _changed("job.json", "format", to="one")])
def test_damaged_jobs_are_refused(job: Job, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    job.write(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=r"job.json' is damaged or incomplete \(.*\). Run it again."):
        Job.read(tmp_path)


@pytest.mark.parametrize("damage", [
    _without("outcome_volume.npy"), _cut("outcome_confidence.npy"), _without(MODEL),
    _changed("outcome.json", "report", to=3), _changed("outcome.json", "report", "seed", to="x"),
    _changed("outcome.json", "statistics", "confidence", "means", to=[[1.0]]),
    _changed("outcome.json", "segmentation", "segments", to=[{}])])
def test_damaged_outcomes_are_refused(outcome: Outcome, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    outcome.write(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match="outcome.json' is damaged or incomplete"):
        Outcome.read(tmp_path)


def test_other_versions_are_refused(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FORMAT", protocol.FORMAT + 1)
    job.write(tmp_path)
    monkeypatch.undo()
    with pytest.raises(InputError, match="has the format 3; this program knows format 2. Use the same version"):
        Job.read(tmp_path)


def test_pickles_are_not_read(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path)
    np.save(tmp_path / "job_volume.npy", np.full(SHAPE, {}, object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        Job.read(tmp_path)


def test_previews_are_replaced_and_read(tmp_path: Path) -> None:
    for value in (1.5, -2.0):
        name = write_preview(tmp_path, np.full((2, 3), value, np.float64))
        image = read_preview(tmp_path, {"event": "preview", "file": name, "axis": "k", "index": 3})
        assert image.dtype == np.float32 and (image == value).all() and image.shape == (2, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError, match="cannot be read"):
        read_preview(tmp_path, {"event": "preview", "file": "../other.npy", "axis": "k", "index": 3})


@pytest.mark.parametrize("message", [
    {"event": "started", "device": "cpu", "note": "CPU, weil größer"}, {"event": "finished"}, {"event": "cancelled"},
    {"event": "progress", "stage": "learning", "number": 2, "count": 8, "step": 1, "steps": 9, "done": 0.25,
     "seconds_left": None},
    {"event": "progress", "stage": "learning", "number": 2, "count": 8, "step": 1, "steps": 9, "done": 1,
     "seconds_left": 3.5},
    {"event": "preview", "file": "preview.npy", "axis": "k", "index": 3},
    {"event": "failed", "kind": "memory", "message": "Keiner\n", "details": ""}])
def test_messages_survive_as_one_line_of_ascii(message: dict[str, Any]) -> None:
    text = line(**message)
    assert text.isascii() and "\n" not in text
    assert parse(text) == parse(text + "\r\n") == message


@pytest.mark.parametrize("text", ["", "loading ...", "{", "[]", "3", '"finished"', '{"event": "dance"}', "{}",
                                  '{"event": ["finished"]}', '{"event": "started", "device": "cpu"}',
                                  '{"event": "preview", "file": 1, "axis": "k", "index": 3}', "[" * 100_000])
def test_other_lines_are_no_messages(text: str) -> None:
    assert parse(text) is None


def test_what_is_no_message_is_not_sent() -> None:
    with pytest.raises(ValueError, match="no message"):
        line("progress", stage="learning")


def test_handing_out_jobs_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.jobs.protocol\n"
            "print(sorted({'torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'psutil'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_job_that_is_written_in_parts_is_the_same_and_leaves_nothing_where_it_is_broken_off(
        job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_BYTES_AT_A_TIME", 64)
    whole, parts, broken = (tmp_path / name for name in ("whole", "parts", "broken"))
    for folder in (whole, parts, broken):
        folder.mkdir()
    job.write(whole)
    assert sum(1 for _ in job.parts(parts)) > 5
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == {
        path.name: path.read_bytes() for path in parts.iterdir()}
    writing = job.parts(broken)
    for _ in range(4):
        next(writing)
    writing.close()
    assert not list(broken.iterdir())
