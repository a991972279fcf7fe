"""What engines do beside the trial: room in memory, causes, results equal to those of a single run."""
from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cohort_case
import psutil
import pytest

from TriplaneGaussianReconLib.cohort import case as one_case
from TriplaneGaussianReconLib.cohort.case import Place, do
from TriplaneGaussianReconLib.cohort.child import Task
from TriplaneGaussianReconLib.cohort.limits import limits_of
from TriplaneGaussianReconLib.cohort.local_engine import Room, at_a_time
from TriplaneGaussianReconLib.cohort.lock import locked
from TriplaneGaussianReconLib.cohort.manifest import Case
from TriplaneGaussianReconLib.cohort.processes import Ended, Processes
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.errors import InputError, OutputError
from TriplaneGaussianReconLib.jobs.exit_codes import ExitCode


class Ending(Processes):
    """Lets each process end as it is told, at once; what was run is kept."""

    def __init__(self, *ended: Ended) -> None:
        self._ended, self.tasks = list(ended), list[Task]()

    def run(self, task: Task, seconds: float | None = None) -> Ended:
        self.tasks.append(task)
        return self._ended.pop(0)


def ended(code: int, is_late: bool = False) -> Ended:
    return Ended(code, 1.0, 10 ** 9, is_late)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case("a", (str(cohort_case.write_volume(tmp_path / "a.nii.gz")),))


def test_a_case_that_runs_out_of_memory_gets_all_and_uses_less_each_time(case: Case, tmp_path: Path) -> None:
    processes, asked = Ending(ended(5), ended(-9), ended(5)), []
    room = Room(10 ** 12)
    record = do(case, Place(tmp_path, processes, lambda needed: asked.append(needed) or room(needed)))
    assert record.attempts == 3 and "not enough memory" in record.cause and record.seconds == 3.0
    assert asked[0] is not None and asked[1:] == [None, None]
    amounts = [task.arguments[-1] for task in processes.tasks]
    assert processes.tasks[1].arguments[-2] == "--memory" and amounts[1:] == ["1000MB", "1000MB"]


@pytest.mark.parametrize(("end", "told"), [
    (ended(-9, is_late=True), "took longer than 1800 s"), (ended(-11), "signal 11 \\(SIGSEGV\\)"),
    (ended(1), "exit code 1. See '.*log.txt'")])
def test_other_ends_are_told_and_not_tried_again(case: Case, tmp_path: Path, end: Ended, told: str) -> None:
    record = do(case, Place(tmp_path, Ending(end), Room(10 ** 9)))
    assert re.search(told, record.cause) and record.attempts == 1
    assert (tmp_path / "cases/a/failed.json").is_file()


def test_one_who_was_stopped_from_outside_has_not_failed(case: Case, tmp_path: Path) -> None:
    record = do(case, Place(tmp_path, Ending(ended(130)), Room(10 ** 9)))
    assert "next call does it anew" in record.cause and not (tmp_path / "cases/a/failed.json").exists()


def test_results_that_cannot_be_written_end_the_whole(case: Case, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a: It ended with exit code 4"):
        do(case, Place(tmp_path, Ending(ended(4)), Room(10 ** 9)))


def test_what_nobody_foresaw_ends_one_case(case: Case, tmp_path: Path) -> None:
    record = do(case, Place(tmp_path, Ending(ended(0)), Room(10 ** 9)))  # says that all is well, without a result
    assert "report.json" in record.cause and (tmp_path / "cases/a/failed.json").exists()


def test_what_was_ended_with_the_whole_is_no_failure(case: Case, tmp_path: Path) -> None:
    over = threading.Event()
    over.set()
    do(case, Place(tmp_path, Ending(ended(-9)), Room(10 ** 9), is_over=over.is_set))
    assert not (tmp_path / "cases/a/failed.json").exists()


def test_a_full_disk_ends_the_whole(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_case, "limits_of", lambda case: limits_of(case).__class__(1.0, 1.0, 1, 10 ** 18))
    with pytest.raises(OutputError, match="GB free"):
        do(case, Place(tmp_path, Ending(), Room(10 ** 9)))


def test_who_needs_more_than_there_is_waits_for_all(tmp_path: Path) -> None:
    room, order = Room(10), list[str]()

    def hold(needed: int | None, name: str) -> None:
        with room(needed):
            order.append(name)

    with room(4):
        with room(6):
            waiting = [threading.Thread(target=hold, args=each) for each in ((None, "all"), (5, "some"))]
            for thread in waiting:
                thread.start()
            assert not order
        waiting[1].join(30)
        assert order == ["some"]
    waiting[0].join(30)
    assert order == ["some", "all"]


def test_as_many_at_a_time_as_fit(case: Case) -> None:
    needed = limits_of(case).memory
    assert at_a_time([case] * 50, needed // 2) == 1 == at_a_time([case], 100 * needed)
    assert at_a_time([case] * 50, 1000 * needed) >= 1


def test_time_grows_with_the_volume_and_can_be_set(case: Case, tmp_path: Path) -> None:
    large = Case("b", (str(cohort_case.write_volume(tmp_path / "b.nii.gz", shape=(200, 200, 60))),),
                 options=("--preset=best",))
    assert limits_of(case).seconds == 1800.0 < limits_of(large).seconds
    assert limits_of(Case("c", case.volumes, time_limit=9.0)).seconds == 9.0
    assert limits_of(Case("d", (str(tmp_path),))).seconds == 86400.0


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_calls_do_not_work_on_the_same(tmp_path: Path) -> None:
    def refused(part: str) -> None:
        with pytest.raises(InputError, match="at work on"), locked(tmp_path, part):
            pass

    with locked(tmp_path, ""):
        refused("")
        refused("one")
    with locked(tmp_path, "one"), locked(tmp_path, "two"):
        refused("")
        refused("one")


@pytest.mark.parametrize("engine", [("local",), ("dask", "--workers=1")])
def test_results_are_those_of_a_single_run_bit_for_bit(tmp_path: Path, engine: tuple[str, ...]) -> None:
    table = cohort_case.write_cohort(tmp_path / "data", 2, broken=False)
    options = ("--keep-every=2", "--preset=paper-displaced", "--device=cpu")
    code, told = cohort_case.run(table, tmp_path / "out", "--engine", *engine, *options)
    assert code == ExitCode.SUCCESS, told
    for name in ("case000", "case001"):
        alone = [tmp_path / f"{name}.nii.gz", tmp_path / f"{name}_error.nii.gz"]
        assert main(["reconstruct", str(tmp_path / f"data/{name}.nii.gz"), "--output", str(alone[0]),
                     "--output-confidence", str(alone[1]), "--quiet", *options]) == ExitCode.SUCCESS
        made = [tmp_path / "out/cases" / name / kind for kind in ("volume.nii.gz", "expected_error.nii.gz")]
        assert [path.read_bytes() for path in made] == [path.read_bytes() for path in alone]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
def test_who_is_asked_to_stop_stops_and_leaves_nothing(tmp_path: Path) -> None:
    table = cohort_case.write_cohort(tmp_path / "data", 6, broken=False)
    process = cohort_case.start(table, tmp_path / "out", *cohort_case.QUICK)
    while not cohort_case.done(tmp_path / "out"):
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == ExitCode.STOPPED
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert not list((tmp_path / "out").glob("cases/*/failed.json"))
    assert len(cohort_case.states(tmp_path / "out")) == 6


Told = Callable[..., str]


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """What the program says of a call that cannot be done."""
    table = cohort_case.write_cohort(tmp_path / "data", 1, broken=False)

    def call(*words: str) -> str:
        assert main(["cohort", *(str(table) if word == "TABLE" else word for word in words)]) == ExitCode.BAD_INPUT
        return capsys.readouterr().err

    return call


def test_wrong_calls_are_told_of_before_anything_starts(told: Told, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert "either a table of cases" in told(out)
    assert "either a table of cases" in told("TABLE", out, "--glob", "*")
    assert "--labels goes with --glob" in told("TABLE", out, "--labels", "*")
    assert "Unknown engine 'cloud'" in told("TABLE", out, "--engine", "cloud")
    assert "'9' is no shard" in told("TABLE", out, "--engine", "shard:9")
    assert "from 1 on, not 0" in told("TABLE", out, "--workers", "0")
    assert "one of --slurm, --pbs" in told("TABLE", out, "--slurm", "cores=1", "--pbs", "cores=1")
    (tmp_path / "mixed.csv").write_text("id,volume,slices\na,a.nrrd,\nb,b.nrrd,2-4\n")
    assert "options of the case 'b' cannot be used: argument --slices" in told(
        str(tmp_path / "mixed.csv"), out, "--keep-every", "2")
    assert not Path(out).exists()
