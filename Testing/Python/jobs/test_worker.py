"""The worker does a job as the library would, tells how it goes, and leaves a whole outcome or none."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posix_case import POSIX
from rendered_grid import draw_grid
from repository import ROOT
from stack_case import blobs

from TriplaneGaussianReconLib.config.presets import PRESETS
from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.observations import Observations
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.data.stack_input import StackInput
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.jobs import worker
from TriplaneGaussianReconLib.jobs.protocol import MODEL, STOP, Job, Message, Outcome, line, parse, read_preview
from TriplaneGaussianReconLib.jobs.worker import Pace, WorkerExit
from TriplaneGaussianReconLib.model.label_network_file import load_label_network, save_label_network
from TriplaneGaussianReconLib.model.model_file import load_model
from TriplaneGaussianReconLib.pipeline.reconstruction import reconstruct
from TriplaneGaussianReconLib.runtime.progress import Progress

SHAPE = (9, 20, 22)
WORKER = [sys.executable, "-m", "TriplaneGaussianReconLib.jobs.worker"]


class StandInMessages:
    """Stand-in for the standard output of a process of its own: keeps the messages."""

    def __init__(self) -> None:
        self.sent, self.is_heard = list[Message](), True

    def send(self, event: str, **fields: Any) -> None:
        message = parse(line(event, **fields))
        assert message is not None
        self.sent.append(message)

    def of(self, event: str) -> list[Message]:
        return [message for message in self.sent if message["event"] == event]


@pytest.fixture(scope="module")
def job(textured: Callable[..., np.ndarray], rotation: Any) -> Job:
    """An oblique volume with two segments that overlap and one that is on no observed slice."""
    grid = Grid(SHAPE, (1.0, -2.0, 30.0), (0.8, 0.8, 1.6), rotation)
    volume = textured(SHAPE)
    layers = np.stack([5 * (volume > 0.6), volume > 0.5]).astype(np.int16)
    layers[0, 1, :2, :2] = 9
    segments = (Segment("肝", 5, 0, "liver", (0.9, 0.3, 0.1)), Segment("Körper", 1, 1), Segment("unseen", 9, 0))
    segmentation = Segmentation(layers, segments, grid, {"Segment0_Tags": "TerminologyEntry:x|"})
    return Job(Image((1000 * volume).astype(np.uint16), grid), {"k": Selection.every(9, 2)}, segmentation, spacing=0.8,
               device="cpu", seed=3)


def done(job: Job, folder: Path, should_stop: Callable[[], bool] = lambda: False) -> tuple[int, StandInMessages]:
    """Do a job in this process."""
    messages = StandInMessages()
    job.write(folder)
    return worker.run(folder, messages, should_stop), messages  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(job: Job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StandInMessages]:
    """The folder of a job that is done, and what was told meanwhile."""
    folder = tmp_path_factory.mktemp("job")
    code, messages = done(replace(job, keep_model=True), folder)
    assert code == WorkerExit.FINISHED
    return folder, messages


# ------------------------------------------------------------------------------------------------------------- outcome


def test_the_outcome_is_what_the_library_makes(job: Job, finished: tuple[Path, StandInMessages]) -> None:
    outcome = Outcome.read(finished[0])
    observations = Observations.from_volume(job.volume, job.observed, job.segmentation)
    result = reconstruct(observations, job.volume.grid.resampled("k", 0.8), device="cpu", seed=3)
    assert outcome.volume.grid == result.volume.grid and outcome.volume.array.dtype == np.uint16
    np.testing.assert_array_equal(outcome.volume.array, result.volume.array)
    np.testing.assert_array_equal(outcome.confidence.array, result.confidence.array)
    assert outcome.segmentation is not None and result.segmentation is not None and job.segmentation is not None
    np.testing.assert_array_equal(outcome.segmentation.layers, result.segmentation.layers)
    assert outcome.segmentation.segments == job.segmentation.segments[:2]
    assert outcome.segmentation.metadata == job.segmentation.metadata


def test_the_report_tells_what_was_asked_for(finished: tuple[Path, StandInMessages]) -> None:
    outcome = Outcome.read(finished[0])
    scope = outcome.scope
    assert scope.axis == "k" and scope.selected == {"k": (0, 2, 4, 6, 8)} and outcome.report.provenance.seed == 3
    assert scope.output_shape == (17, 20, 22) and scope.output_spacing == (0.8, 0.8, 0.8)
    assert scope.segments_left_out == ("unseen",) and outcome.report.self_check.slices > 0


def test_the_model_is_kept_if_that_was_asked_for(job: Job, finished: tuple[Path, StandInMessages], tmp_path: Path
                                                 ) -> None:
    outcome = Outcome.read(finished[0])
    assert outcome.model is not None
    drawn = draw_grid(load_model(outcome.model), outcome.volume.grid, "cpu").image
    np.testing.assert_array_equal(np.rint(drawn), outcome.volume.array)
    done(job, tmp_path)
    assert Outcome.read(tmp_path).model is None and not (tmp_path / MODEL).exists()


def test_used_slices_stay_as_they_are_if_that_was_asked_for(job: Job, tmp_path: Path) -> None:
    """Image and labels, to the last bit; the others are drawn as ever."""
    assert job.segmentation is not None
    noise = np.random.default_rng(0).integers(0, 3000, SHAPE, np.uint16)
    job, outcomes = replace(job, volume=replace(job.volume, array=job.volume.array + noise), spacing=None), []
    for keep in (False, True):
        folder = tmp_path / str(keep)
        folder.mkdir()
        done(replace(job, keep_used=keep), folder)
        outcomes.append(Outcome.read(folder))
    plain, kept = outcomes
    assert plain.segmentation is not None and kept.segmentation is not None
    assert not np.array_equal(plain.volume.array[::2], job.volume.array[::2])
    np.testing.assert_array_equal(kept.volume.array[::2], job.volume.array[::2])
    np.testing.assert_array_equal(kept.volume.array[1::2], plain.volume.array[1::2])
    assert not np.array_equal(kept.volume.array[1::2], job.volume.array[1::2])
    given = np.where(job.segmentation.layers == 9, 0, job.segmentation.layers)  # a segment that no used slice has
    np.testing.assert_array_equal(kept.segmentation.layers[:, ::2], given[:, ::2])
    assert not kept.confidence.array[::2].any() and kept.confidence.array[1::2].any()
    assert kept.report.pasted is True and plain.report.pasted is False


def test_in_a_result_with_other_voxels_used_slices_are_drawn(job: Job, finished: tuple[Path, StandInMessages],
                                                             tmp_path: Path) -> None:
    code, _ = done(replace(job, keep_used=True), tmp_path)
    assert code == WorkerExit.FINISHED and Outcome.read(tmp_path).report.pasted is False
    np.testing.assert_array_equal(Outcome.read(tmp_path).volume.array, Outcome.read(finished[0]).volume.array)


def test_nothing_else_is_left_in_the_folder(finished: tuple[Path, StandInMessages]) -> None:
    assert sorted(path.name for path in finished[0].iterdir()) == [
        "job.json", "job_labels.npy", "job_volume.npy", MODEL, "outcome.json", "outcome_confidence.npy",
        "outcome_labels.npy", "outcome_volume.npy", "preview.npy"]


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are filled in 20 steps."""
    fast = PRESETS["fast"]
    monkeypatch.setitem(PRESETS, "fast", replace(fast, label_completion=replace(fast.label_completion, steps=20)))


@pytest.mark.usefixtures("few_steps")
def test_labels_are_filled_and_the_image_stays_as_it_is(job: Job, tmp_path: Path) -> None:
    labelled: dict[Axis, Selection] = {"k": Selection((0, 4, 8), 9)}
    job = replace(job, observed={"k": Selection.every(9, 1)}, labelled=labelled, spacing=None)
    code, messages = done(job, tmp_path)
    outcome = Outcome.read(tmp_path)
    assert job.segmentation is not None
    assert code == WorkerExit.FINISHED and {told["stage"] for told in messages.of("progress")} == {"label completion"}
    assert outcome.volume.array.tobytes() == job.volume.array.tobytes() and outcome.report.gaussians == 0
    assert outcome.segmentation is not None and outcome.segmentation.metadata == job.segmentation.metadata
    np.testing.assert_array_equal(outcome.segmentation.layers[:, ::4], job.segmentation.layers[:, ::4])
    assert outcome.report.completion is not None and outcome.report.completion.slices.filled == (1, 2, 3, 5, 6, 7)
    assert outcome.label_certainty is not None and outcome.label_certainty.grid == job.volume.grid
    assert outcome.report.notes == ("Labels are taken from 3 slices: 0,4,8; the labels of 6 are filled.",)
    assert outcome.label_network is not None


def filled(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch, start: Path | None = None
           ) -> tuple[Outcome, set[int]]:
    """Fill labels where every other slice is drawn; returns the outcome, and the numbers of steps, from 0 on."""
    steps = set[int]()
    monkeypatch.setattr(Pace, "__call__", lambda _, progress: steps.add(progress.step))
    folder.mkdir()
    code, _ = done(replace(job, observed={"k": Selection.every(9, 1)}, labelled={"k": Selection.every(9, 2)},
                           spacing=None, label_network=start), folder)
    assert code == WorkerExit.FINISHED
    return Outcome.read(folder), steps


@pytest.mark.usefixtures("few_steps")
def test_a_second_job_goes_on_from_what_the_first_learnt(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                         ) -> None:
    first, all_steps = filled(job, tmp_path / "first", monkeypatch)
    second, steps = filled(job, tmp_path / "second", monkeypatch, first.label_network)
    assert all_steps == set(range(21)) and steps == {0, 18, 19, 20}
    assert first.report.completion is not None and second.report.completion is not None
    assert second.report.completion.is_warm and not first.report.completion.is_warm
    assert first.report.notes == second.report.notes and second.label_network is not None


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(("spoil", "note"), [
    (lambda file: file.write_bytes(file.read_bytes()[:-40]), "What was learnt before cannot be read"),
    (lambda file: file.unlink(), "What was learnt before cannot be read"),
    (lambda file: save_label_network(file, replace(load_label_network(file), scan="another")),
     "What was learnt before is of another image")])
def test_what_cannot_be_gone_on_from_is_noted_and_labels_are_learnt_anew(
        job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], note: str) -> None:
    first, all_steps = filled(job, tmp_path / "first", monkeypatch)
    assert first.label_network is not None
    spoil(first.label_network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        second, steps = filled(job, tmp_path / "second", monkeypatch, first.label_network)
    assert steps == all_steps and second.report.completion is not None and not second.report.completion.is_warm
    assert any(each.startswith(note) and each.endswith("; the labels are learnt anew.") for each in second.report.notes)
    assert second.segmentation is not None and first.segmentation is not None
    np.testing.assert_array_equal(second.segmentation.layers, first.segmentation.layers)


# ------------------------------------------------------------------------------------------------------------ messages


def test_messages_tell_how_it_goes(finished: tuple[Path, StandInMessages]) -> None:
    folder, messages = finished
    assert messages.sent[0] == {"event": "started", "device": "cpu", "note": "CPU."}
    assert messages.sent[-1] == {"event": "finished"}
    shares = [message["done"] for message in messages.of("progress")]
    assert shares == sorted(shares) and shares[0] >= 0.0 and shares[-1] <= 1.0
    previews = messages.of("preview")
    assert len(previews) == 2 and previews[0] == previews[1] and previews[0]["axis"] == "k"
    np.testing.assert_array_equal(read_preview(folder, previews[1]),
                                  Outcome.read(folder).volume.array[previews[1]["index"]])


def test_progress_is_told_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    messages = StandInMessages()
    pace = Pace(messages)  # type: ignore[arg-type]
    for number in range(3000):  # in three seconds
        now[0] = 100.0 + number / 1000
        pace(Progress("learning", 2, 8, number, 3000, None, number / 3000))
    told = messages.of("progress")
    assert 28 <= len(told) <= 30
    assert told[0]["seconds_left"] is None
    assert told[-1]["seconds_left"] == pytest.approx(3.0 - now[0] + 100.0, abs=0.2)


def test_each_stage_is_logged_once_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    pace = Pace(StandInMessages())  # type: ignore[arg-type]
    for stage, number in (("learning", 2), ("learning", 2), ("rendering", 8), ("learning", 2)):
        pace(Progress(stage, number, 8))
    assert capsys.readouterr().err == ("stage 2 of 8: Learning from the scan's own slices\n"
                                       "stage 8 of 8: Drawing the volume\n")


def test_a_preview_that_cannot_be_written_is_left_out(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    def refuse(*_: object) -> str:
        raise OutputError("it is open elsewhere")

    monkeypatch.setattr(worker, "write_preview", refuse)
    code, messages = done(job, tmp_path)
    assert code == WorkerExit.FINISHED and not messages.of("preview")


# ------------------------------------------------------------------------------------------------------------- failure


@pytest.mark.parametrize(("changes", "text"), [
    ({"preset": "worst"}, "Unknown preset 'worst'. Choose one of fast"), ({"device": "tpu"}, "Unknown device 'tpu'"),
    ({"spacing": -1.0}, "positive number of millimetres"), ({"spacing": 1e-9}, "Choose a larger one"),
    ({"observed": {"k": Selection((3,), 9)}}, "At least two slices along"),
    ({"observed": {"k": Selection.every(8, 2)}}, "The selection is for 8 slices")])
def test_what_the_user_can_change_is_told(job: Job, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    code, messages = done(replace(job, **changes), tmp_path)
    assert code == WorkerExit.FAILED
    assert messages.sent[-1]["kind"] == "input" and text in messages.sent[-1]["message"]
    with pytest.raises(InputError, match="does not hold an outcome"):
        Outcome.read(tmp_path)


def test_a_folder_without_a_job_is_told(tmp_path: Path) -> None:
    messages = StandInMessages()
    assert worker.run(tmp_path, messages, lambda: False) == WorkerExit.FAILED  # type: ignore[arg-type]
    assert messages.sent == [{"event": "failed", "kind": "input", "details": "", "message":
                              messages.sent[0]["message"]}]
    assert "does not hold a job" in messages.sent[0]["message"]


def test_a_disk_without_room_for_the_outcome_is_told_before_the_work(job: Job, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    job.write(tmp_path)
    size = 17 * 20 * 22 * (2 + 4 + 2 * 2)  # volume, expected error, two layers of labels
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": size - 1}))
    messages = StandInMessages()
    assert worker.run(tmp_path, messages, lambda: False) == WorkerExit.FAILED  # type: ignore[arg-type]
    (failed,) = messages.sent
    assert failed["kind"] == "input" and "Free disk space" in failed["message"]


@pytest.mark.parametrize(("error", "kind", "has_details"), [
    (InputError("Crop it."), "input", False), (OutputError("The disk is full. Free it."), "input", False),
    (ModuleNotFoundError("No module named 'scipy'"), "missing", True), (MemoryError(), "memory", True)])
def test_failures_are_told_by_their_kinds(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception,
                                          kind: str, has_details: bool) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "reconstruct_job", fail)
    code, messages = done(job, tmp_path)
    assert code == WorkerExit.FAILED
    assert messages.sent[-1]["kind"] == kind and bool(messages.sent[-1]["details"]) == has_details


def test_what_is_unexpected_comes_with_details(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outcome, "write", lambda *_: 1 / 0)
    code, messages = done(job, tmp_path)
    assert code == WorkerExit.FAILED and messages.sent[-1]["kind"] == "internal"
    assert "Traceback" in messages.sent[-1]["details"] and "ZeroDivisionError" in messages.sent[-1]["details"]


# ---------------------------------------------------------------------------------------------------------------- stop


@pytest.mark.parametrize("stage", ["correspondence", "learning", "labels", "refinement", "rendering"])
def test_it_stops_in_every_stage(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    reached = []
    monkeypatch.setattr(Pace, "__call__", lambda _, progress: reached.append(progress.stage))
    code, messages = done(job, tmp_path, lambda: stage in reached)
    assert code == WorkerExit.CANCELLED and messages.sent[-1] == {"event": "cancelled"} and reached[-1] == stage
    assert not list(tmp_path.glob("outcome*"))


def test_it_stops_before_it_writes(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(worker, "write_preview", lambda _, image: drawn.append(image) or "preview.npy")
    ends = done(job, tmp_path, lambda: len(drawn) == 2)
    assert ends[0] == WorkerExit.CANCELLED and not list(tmp_path.glob("outcome*"))


# --------------------------------------------------------------------------------------------- a process of its own


@pytest.fixture
def small(job: Job, tmp_path: Path) -> Path:
    """The folder of a job so small that there is little to learn."""
    array = job.volume.array[:3, :12, :14].copy()
    Job(Image(array, Grid(array.shape)), {"k": Selection((0, 2), 3)}, device="cpu").write(tmp_path)
    return tmp_path


@contextmanager
def started(*command: str, **arguments: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **arguments) as process:
        yield process
        process.kill()


def read_until(process: subprocess.Popen[str], event: str) -> Message:
    """Return the next message of this kind."""
    assert process.stdout is not None
    for text in process.stdout:
        if (message := parse(text)) is not None and message["event"] == event:
            return message
    raise AssertionError(f"The process ended without {event}")


def test_what_libraries_print_is_no_message(small: Path) -> None:
    noise = ("import os, sys, warnings\nfrom TriplaneGaussianReconLib.jobs import worker\n"
             "from TriplaneGaussianReconLib.pipeline import reconstruction\n"
             "quiet = reconstruction.reconstruct\n"
             "def noisy(*arguments, **named):\n"
             "    print('printed'); os.write(1, b'written\\n'); os.system('echo echoed'); warnings.warn('warned')\n"
             "    return quiet(*arguments, **named)\n"
             "reconstruction.reconstruct = noisy\nsys.exit(worker.main([sys.argv[1]]))\n")
    done = subprocess.run([sys.executable, "-c", noise, str(small)], cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == WorkerExit.FINISHED
    messages = [parse(text) for text in done.stdout.splitlines()]
    assert None not in messages and messages[-1] == {"event": "finished"}
    assert all(word in done.stderr for word in ("printed", "written", "echoed", "warned"))
    assert Outcome.read(small).volume.array.shape == (3, 12, 14)


@pytest.fixture
def long(job: Job, tmp_path: Path) -> Path:
    """The folder of a job that takes much longer than a test."""
    replace(job, preset="best").write(tmp_path)
    return tmp_path


def test_the_file_asks_it_to_stop(long: Path) -> None:
    with started(*WORKER, str(long)) as process:
        read_until(process, "progress")
        (long / STOP).touch()
        read_until(process, "cancelled")
        assert process.wait() == WorkerExit.CANCELLED
    assert not list(long.glob("outcome*"))


def test_it_stops_when_the_other_end_of_its_input_is_gone(long: Path) -> None:
    with started(*WORKER, str(long)) as process:
        read_until(process, "progress")
        assert process.stdin is not None
        process.stdin.close()
        read_until(process, "cancelled")
        assert process.wait() == WorkerExit.CANCELLED


def test_it_stops_when_nobody_reads_its_output(long: Path) -> None:
    with started(*WORKER, str(long)) as process:
        read_until(process, "progress")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == WorkerExit.CANCELLED


@POSIX
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_ask_it_to_stop(long: Path, name: str) -> None:
    with started(*WORKER, str(long)) as process:
        read_until(process, "progress")
        process.send_signal(getattr(signal, name))
        read_until(process, "cancelled")
        assert process.wait() == WorkerExit.CANCELLED
    assert sorted(path.name for path in long.iterdir()) == ["job.json", "job_labels.npy", "job_volume.npy"]


@POSIX
def test_a_second_signal_interrupts_what_does_not_ask(long: Path) -> None:
    deaf = ("import sys, time\nfrom TriplaneGaussianReconLib.jobs import worker\n"
            "def deaf(*_):\n"
            "    for _ in range(60): print('here', file=sys.__stderr__, flush=True); time.sleep(1)\n"
            "worker.reconstruct_job = deaf\nsys.exit(worker.main([sys.argv[1]]))\n")
    with started(sys.executable, "-c", deaf, str(long)) as process:
        assert process.stderr is not None
        for _ in range(2):
            assert process.stderr.readline() == "here\n"
            process.send_signal(signal.SIGTERM)
        read_until(process, "cancelled")
        assert process.wait() == WorkerExit.CANCELLED


def test_it_ends_though_what_it_is_in_does_not_ask(long: Path) -> None:
    deaf = ("import sys, time\nfrom TriplaneGaussianReconLib.jobs import worker\n"
            "worker.reconstruct_job = lambda *_: (print('here', file=sys.__stderr__, flush=True), time.sleep(600))\n"
            "worker.main([sys.argv[1]])\n")
    with started(sys.executable, "-c", deaf, str(long)) as process:
        assert process.stderr is not None and process.stdin is not None
        assert process.stderr.readline() == "here\n"
        process.stdin.close()
        assert process.wait() == WorkerExit.CANCELLED


def test_a_process_that_dies_while_writing_leaves_no_outcome(small: Path) -> None:
    dying = ("import os, sys\nfrom TriplaneGaussianReconLib.jobs import protocol, worker\n"
             "whole = protocol.array_parts\n"
             "def parts(path, array):\n"
             "    yield from whole(path, array)\n"
             "    if 'outcome_volume.npy' in os.listdir(sys.argv[1]): os.abort()\n"
             "protocol.array_parts = parts\nworker.main([sys.argv[1]])\n")
    done = subprocess.run([sys.executable, "-c", dying, str(small)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode not in list(WorkerExit) and "Fatal Python error" in done.stderr
    assert (small / "outcome_volume.npy").exists()
    with pytest.raises(InputError, match="does not hold an outcome.*interrupted"):
        Outcome.read(small)


@pytest.mark.parametrize("package", ["torch", "numba"])
def test_a_missing_package_is_named(small: Path, package: str) -> None:
    without = (f"import sys\nsys.modules['{package}'] = None\nfrom TriplaneGaussianReconLib.jobs import worker\n"
               "sys.exit(worker.main([sys.argv[1]]))\n")
    done = subprocess.run([sys.executable, "-c", without, str(small)], cwd=ROOT, capture_output=True, text=True)
    failed = parse(done.stdout.splitlines()[-1])
    assert done.returncode == WorkerExit.FAILED and failed is not None
    assert failed["kind"] == "missing" and package in failed["message"]


def test_devices_are_listed_as_one_line() -> None:
    done = subprocess.run([*WORKER, "--devices"], cwd=ROOT, capture_output=True, text=True, check=True)
    devices = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert devices[-1]["device"] == "cpu" and devices[-1]["note"].startswith("CPU")
    assert all(device["memory_bytes"] > 10 ** 8 and device["name"] for device in devices)
    assert all(device["slowness"]["learning"] > 0.0 for device in devices)
    assert all(device["device"] == f"cuda:{number}" for number, device in enumerate(devices[:-1]))


def test_other_arguments_are_answered_with_the_usage() -> None:
    done = subprocess.run([*WORKER], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == WorkerExit.FAILED and "worker FOLDER" in done.stderr and not done.stdout


# ------------------------------------------------------------------------------------------------------ several volumes


def bright(image: Image) -> Segmentation:
    """The brightest tenth of a volume as a segment."""
    mask = image.array > np.quantile(image.array, 0.9)
    return Segmentation(mask.astype(np.uint8)[None], (Segment("bright", 1),), image.grid)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StandInMessages]:
    """The folder of a job with two volumes of one body, thick in two directions, and what was told meanwhile.

    The second one has labels.
    """
    body, folder = blobs()[10:34, 12:36, 8:32], tmp_path_factory.mktemp("several")
    axial, sagittal = (np.add.reduceat(body, range(0, 24, 4), axis) / 4.0 for axis in (0, 2))
    first = Image(axial.astype(np.float32), Grid(axial.shape, spacing=(1, 1, 4), origin=(0, 0, 1.5)))
    second = Image(sagittal.astype(np.float32), Grid(sagittal.shape, spacing=(4, 1, 1), origin=(1.5, 0, 0)))
    code, messages = done(Job(first, {"k": Selection.every(6, 1)}, device="cpu", keep_model=True, profile="box",
                              further=(StackInput(second, profile="box", segmentation=bright(second)),)), folder)
    assert code == WorkerExit.FINISHED, messages.sent
    return folder, messages


def test_several_volumes_become_one(several: tuple[Path, StandInMessages]) -> None:
    outcome, body = Outcome.read(several[0]), blobs()[10:34, 12:36, 8:32]
    assert outcome.volume.grid.shape == body.shape and outcome.volume.grid.spacing == (1, 1, 1)
    assert np.abs(outcome.volume.array - body).mean() < 0.05 * np.ptp(body)
    assert [each.axis for each in outcome.report.volumes] == ["k", "i"]
    np.testing.assert_allclose(outcome.report.volumes[1].to_first, np.eye(4), atol=0.5)
    assert outcome.model is not None and load_model(outcome.model).shards


def test_labels_of_a_further_volume_are_in_the_result(several: tuple[Path, StandInMessages]) -> None:
    outcome = Outcome.read(several[0])
    assert outcome.segmentation is not None and [each.name for each in outcome.segmentation.segments] == ["bright"]
    labelled = outcome.segmentation.layers[0] > 0
    assert outcome.volume.array[labelled].mean() > outcome.volume.array[~labelled].mean()


def test_the_stage_of_motion_is_told(several: tuple[Path, StandInMessages]) -> None:
    assert list(dict.fromkeys(message["stage"] for message in several[1].of("progress")))[:2] == ["motion", "stacks"]


def test_several_volumes_that_cannot_be_used_are_refused(several: tuple[Path, StandInMessages], tmp_path: Path) -> None:
    job = Job.read(several[0])
    image = job.further[0].image
    flat = replace(job.further[0], image=replace(image, array=np.zeros(image.array.shape)))
    code, messages = done(replace(job, further=(flat,)), tmp_path)
    message, = messages.of("failed")
    assert code == WorkerExit.FAILED and message["kind"] == "input" and message["message"].startswith("Volume 2: ")


def test_several_volumes_can_be_stopped(several: tuple[Path, StandInMessages], tmp_path: Path) -> None:
    code, messages = done(Job.read(several[0]), tmp_path, should_stop=lambda: True)
    assert code == WorkerExit.CANCELLED and messages.of("cancelled") and not (tmp_path / "outcome.json").exists()
