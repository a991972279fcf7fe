"""The process that does a job: every end that it can come to is told once, and nothing of it remains."""
from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import slicer_stand_ins
from repository import ROOT

slicer_stand_ins.install()

import qt  # noqa: E402
from TriplaneGaussianReconModule.run import python_process  # noqa: E402
from TriplaneGaussianReconModule.run.process import DeviceList, WorkerProcess  # noqa: E402

from TriplaneGaussianReconLib.data.geometry import Grid  # noqa: E402
from TriplaneGaussianReconLib.data.images import Image  # noqa: E402
from TriplaneGaussianReconLib.data.selection import Selection  # noqa: E402
from TriplaneGaussianReconLib.jobs.protocol import STOP, Job, Message, Outcome, read_preview  # noqa: E402

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals end processes on POSIX systems only")
MakeJob = Callable[..., Path]


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Make the folder of a job: a small one that takes a second, or one that takes much longer than a test."""
    def make(name: str = "ジョブ 1", preset: str = "fast", size: tuple[int, int, int] = (3, 12, 14)) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        generator = np.random.default_rng(0)
        array = generator.integers(0, 1000, size).astype(np.int16)
        Job(Image(array, Grid(size)), {"k": Selection.every(size[0], 2)}, preset=preset, device="cpu").write(folder)
        return folder

    return make


@pytest.fixture
def long_job(make_job: MakeJob) -> Path:
    return make_job("long", preset="best", size=(9, 30, 30))


class Recorder:
    """Keeps the messages of a worker, with its state at that time, and does something on some of them."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker, self.messages, self.states = worker, list[Message](), list[str]()
        self.reactions: dict[str, Callable[[], object]] = {}
        for name in ("Started", "Progress", "Preview", "Finished", "Failed", "Cancelled"):
            setattr(worker, f"on{name}", self.keep)

    def keep(self, message: Message) -> None:
        self.messages.append(message)
        self.states.append(self.worker.state)
        self.reactions.pop(message["event"], lambda: None)()

    @property
    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    worker = WorkerProcess(sys.executable, {"OMP_NUM_THREADS": "1"})
    yield worker
    worker.kill()


@pytest.fixture
def told(worker: WorkerProcess) -> Recorder:
    return Recorder(worker)


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let the process run a small program, given as text, in place of the worker."""
    def replace(program: str) -> None:
        path = tmp_path / "program.py"
        path.write_text("import os, sys, time\n" + program, encoding="utf-8")
        monkeypatch.setattr("TriplaneGaussianReconModule.run.process._WORKER", [str(path)])

    return replace


FINISHED = "print('{\"event\": \"finished\"}', flush=True)\n"
STARTED = "print('{\"event\": \"started\", \"device\": \"cpu\", \"note\": \"\"}', flush=True)\n"


def wait_for(worker: WorkerProcess) -> None:
    """Let the event loop go on until there is no job any more."""
    while worker.state != "idle":
        qt.QCoreApplication.processEvents(qt.QEventLoop.WaitForMoreEvents)


_of_others: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def know_processes_of_others() -> None:
    """Other tests may keep processes for the whole session."""
    _of_others.clear()
    _of_others.update(psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True)
            if child not in _of_others and child.status() != psutil.STATUS_ZOMBIE]


# ---------------------------------------------------------------------------------------------------- from start to end


def test_a_job_is_done_and_told_of(worker: WorkerProcess, told: Recorder, make_job: MakeJob) -> None:
    folder = make_job()
    assert worker.state == "idle"
    worker.start(folder)
    assert worker.state == "running"
    wait_for(worker)
    assert told.events[0] == "started" and told.events[-1] == "finished" and told.events.count("preview") == 2
    assert set(told.events) == {"started", "progress", "preview", "finished"}
    assert set(told.states[:-1]) == {"running"} and told.states[-1] == worker.state == "idle"
    preview = next(message for message in reversed(told.messages) if message["event"] == "preview")
    np.testing.assert_array_equal(read_preview(folder, preview), Outcome.read(folder).volume.array[1])
    assert not children()


def test_the_user_interface_is_never_kept_waiting(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                                  instead: Callable[[str], None]) -> None:
    instead(f"for _ in range(5):\n    {STARTED}    sys.stderr.write('x' * 10 ** 6)\n    time.sleep(0.1)\n{FINISHED}")
    last, longest = time.perf_counter(), 0.0

    def beat() -> None:
        nonlocal last, longest
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()

    timer = qt.QTimer()
    timer.connect("timeout()", beat)
    timer.start(5)
    worker.start(make_job())
    wait_for(worker)
    timer.stop()
    assert told.events == [*["started"] * 5, "finished"]
    assert longest < 0.4  # less than the process takes; some milliseconds, if other programs leave it alone


def test_jobs_can_follow_each_other_at_once(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                            instead: Callable[[str], None]) -> None:
    instead(FINISHED)
    second = make_job("second")
    told.reactions["finished"] = lambda: worker.start(second)
    worker.start(make_job("first"))
    wait_for(worker)
    assert told.events == ["finished", "finished"]


def test_one_job_at_a_time(worker: WorkerProcess, told: Recorder, long_job: Path) -> None:
    worker.start(long_job)
    with pytest.raises(RuntimeError, match="running already. Cancel it"):
        worker.start(long_job)
    worker.kill()
    assert told.events == ["cancelled"]


def test_an_error_of_the_owner_does_not_keep_it_from_ending(worker: WorkerProcess, make_job: MakeJob,
                                                            instead: Callable[[str], None],
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    instead(FINISHED)
    worker.onFinished = lambda _: 1 / 0  # type: ignore[assignment, return-value]
    worker.start(make_job())
    wait_for(worker)
    assert worker.state == "idle" and "ZeroDivisionError" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------- cancelling


@pytest.mark.parametrize("event", ["started", "progress"])
def test_a_cancelled_job_stops_by_itself(worker: WorkerProcess, told: Recorder, long_job: Path, event: str) -> None:
    told.reactions[event] = worker.cancel
    worker.start(long_job)
    wait_for(worker)
    assert told.events[-1] == "cancelled" and told.events[-2] == event  # nothing is told in between
    assert worker.state == "idle" and not children() and not list(long_job.glob("outcome*"))


def test_a_job_can_be_cancelled_before_its_process_is_there(worker: WorkerProcess, told: Recorder, long_job: Path
                                                            ) -> None:
    worker.start(long_job)
    worker.cancel()
    worker.cancel()
    assert worker.state == "cancelling"
    wait_for(worker)
    assert told.events == ["cancelled"] and not children()


def test_what_does_not_stop_is_killed(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                      instead: Callable[[str], None]) -> None:
    instead(f"{STARTED}time.sleep(600)")
    told.reactions["started"] = worker.cancel
    worker.start(make_job())
    wait_for(worker)
    assert told.events == ["started", "cancelled"] and not children()


def test_where_nothing_can_be_written_it_is_killed_at_once(worker: WorkerProcess, told: Recorder, long_job: Path
                                                           ) -> None:
    def lose_the_folder() -> None:
        shutil.rmtree(long_job)
        worker.cancel()

    told.reactions["progress"] = lose_the_folder
    worker.start(long_job)
    wait_for(worker)
    assert told.events[-1] == "cancelled" and not children()


def test_a_job_that_ends_while_it_is_being_cancelled_is_cancelled(worker: WorkerProcess, told: Recorder,
                                                                  make_job: MakeJob, instead: Callable[[str], None]
                                                                  ) -> None:
    instead(f"{STARTED}while not os.path.exists(os.path.join(sys.argv[1], '{STOP}')): time.sleep(0.01)\n{FINISHED}")
    told.reactions["started"] = worker.cancel
    worker.start(make_job())
    wait_for(worker)
    assert told.events == ["started", "cancelled"]


def test_cancelling_nothing_does_nothing(worker: WorkerProcess, told: Recorder) -> None:
    worker.cancel()
    worker.kill()
    wait_for(worker)
    assert worker.state == "idle" and not told.messages


def test_another_job_can_follow_a_cancelled_one(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                                instead: Callable[[str], None]) -> None:
    instead(f"if 'first' in sys.argv[1]:\n    {STARTED}    time.sleep(600)\n{FINISHED}")
    told.reactions["started"] = worker.cancel
    worker.start(make_job("first"))
    wait_for(worker)
    worker.start(make_job("second"))
    wait_for(worker)
    assert told.events == ["started", "cancelled", "finished"]


# -------------------------------------------------------------------------------------------------------------- killing


def test_a_killed_job_is_gone_when_kill_returns(worker: WorkerProcess, told: Recorder, long_job: Path) -> None:
    told.reactions["progress"] = worker.kill
    worker.start(long_job)
    wait_for(worker)
    assert told.events[-1] == "cancelled" and worker.state == "idle" and not children()


def test_what_a_killed_job_said_is_not_taken_for_the_next(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                                          instead: Callable[[str], None]) -> None:
    at_once = b'{"event": "started", "device": "cpu", "note": ""}\n{"event": "finished"}\n'
    instead(f"if 'first' in sys.argv[1]: os.write(1, {at_once!r}); time.sleep(600)")
    second = make_job("second")
    told.reactions["started"] = worker.kill
    told.reactions["cancelled"] = lambda: worker.start(second)
    worker.start(make_job("first"))
    wait_for(worker)
    assert told.events == ["started", "cancelled", "failed"]


def test_what_the_process_started_is_gone_too(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                              instead: Callable[[str], None]) -> None:
    instead("import subprocess\n"
            "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            f"{STARTED}inner.wait()")
    seen = []
    told.reactions["started"] = lambda: (seen.extend(children()), worker.kill())
    worker.start(make_job())
    wait_for(worker)
    assert len(seen) == 2
    assert not psutil.wait_procs(seen, timeout=5)[1]


def test_the_worker_behind_a_launcher_is_gone_too(tmp_path: Path, long_job: Path) -> None:
    """As in 3D Slicer, whose interpreter is behind a launcher, which passes its input on to nobody."""
    launcher = tmp_path / "stand_in_launcher.py"
    launcher.write_text(f"#!{sys.executable}\nimport subprocess, sys\n"
                        "inner = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)\n"
                        "sys.exit(inner.wait())\n")
    launcher.chmod(0o755)
    worker = WorkerProcess(str(launcher))
    told = Recorder(worker)
    seen: list[psutil.Process] = []
    told.reactions["progress"] = lambda: (seen.extend(children()), worker.cancel())
    worker.start(long_job)
    wait_for(worker)
    assert told.events[-1] == "cancelled" and len(seen) == 2 and not psutil.wait_procs(seen, timeout=5)[1]
    (long_job / STOP).unlink()
    told.reactions["progress"] = lambda: (seen.extend(children()), worker.kill())
    worker.start(long_job)
    wait_for(worker)
    assert told.events[-1] == "cancelled" and len(seen) == 4 and not psutil.wait_procs(seen, timeout=5)[1]


def test_it_ends_with_the_application(tmp_path: Path, long_job: Path) -> None:
    assert_ends_with(long_job, tmp_path, "qt.QTimer.singleShot(0, qt.QCoreApplication.instance().quit)")


@POSIX
def test_it_ends_with_an_application_that_crashes(tmp_path: Path, long_job: Path) -> None:
    assert_ends_with(long_job, tmp_path, "import os; os.abort()")


def assert_ends_with(folder: Path, tmp_path: Path, end: str) -> None:
    """Start a job from another program, end that program, and see the job's process end."""
    program = ("import sys, slicer_stand_ins; slicer_stand_ins.install()\nimport psutil, qt\nfrom pathlib import Path\n"
               "from TriplaneGaussianReconModule.run.process import WorkerProcess\n"
               "def end(message):\n"
               "    worker.onProgress = lambda message: None\n"
               "    print(psutil.Process().children()[0].pid, flush=True)\n"
               f"    {end}\n"
               "worker = WorkerProcess(sys.executable)\nworker.onProgress = end\nworker.start(Path(sys.argv[1]))\n"
               "qt.QCoreApplication.instance().exec()\nassert worker.state == 'idle'\n")
    paths = [str(ROOT), str(ROOT / "TriplaneGaussianRecon"), str(ROOT / "Testing" / "Python" / "support")]
    done = subprocess.run([sys.executable, "-c", program, str(folder)], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    number = int(done.stdout)
    if psutil.pid_exists(number):
        psutil.Process(number).wait(timeout=10)
    assert not list(folder.glob("outcome*"))


# -------------------------------------------------------------------------------------------------------------- failing


def failed(told: Recorder) -> Message:
    """The one thing that was told in the end."""
    assert [event for event in told.events if event in ("finished", "failed", "cancelled")] == ["failed"]
    assert told.worker.state == "idle" and not children()
    return told.messages[-1]


def test_what_the_worker_tells_of_its_failure_is_passed_on(worker: WorkerProcess, told: Recorder, tmp_path: Path
                                                           ) -> None:
    worker.start(tmp_path)
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "input" and "does not hold a job" in message["message"]


def test_a_crash_is_told_with_what_went_before(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                               instead: Callable[[str], None]) -> None:
    instead("print('half a li', end='', flush=True)\nprint('last words', file=sys.stderr, flush=True)\nos.abort()")
    worker.start(make_job())
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "internal" and "last words" in message["details"]
    assert "crashed" in message["message"] or os.name == "nt"


@POSIX
def test_a_process_that_the_system_kills_lacked_memory(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                                       instead: Callable[[str], None]) -> None:
    instead(f"os.kill(os.getpid(), {signal.SIGKILL:d})")
    worker.start(make_job())
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "memory" and "memory ran out. Close other programs" in message["message"]


@pytest.mark.parametrize("code", [0, 3, 77])
def test_an_end_without_a_last_word_is_a_failure(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                                 instead: Callable[[str], None], code: int) -> None:
    instead(f"sys.exit({code})")
    worker.start(make_job())
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "internal" and f"(exit code {code})" in message["message"]


def test_python_that_cannot_be_started_is_told(make_job: MakeJob, tmp_path: Path) -> None:
    worker = WorkerProcess(str(tmp_path / "no python"))
    told = Recorder(worker)
    worker.start(make_job())
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "missing" and "could not be started: " in message["message"]


def test_python_that_is_nowhere_is_told(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "Slicer"))
    worker = WorkerProcess()
    told = Recorder(worker)
    worker.start(make_job())
    wait_for(worker)
    message = failed(told)
    assert message["kind"] == "missing" and "PythonSlicer" in message["message"]


@POSIX
@pytest.mark.parametrize("beside", [False, True])
def test_python_of_the_application_is_found(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                            beside: bool) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "PythonSlicer").symlink_to(sys.executable)
    if beside:  # the interpreter that runs this
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python-real"))
    else:
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert python_process.pythonExecutable() == str(tmp_path / "bin" / "PythonSlicer")


# -------------------------------------------------------------------------------------------------------------- reading


def test_lines_are_whole_however_they_arrive(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                             instead: Callable[[str], None]) -> None:
    instead("text = b'loading\\n\\xff\\xfe\\n{\"event\": \"started\", \"device\": \"cpu\", \"note\": \"\"}\\r\\n'\n"
            "for byte in text: os.write(1, bytes([byte])); time.sleep(0.002)\n"
            "os.write(1, b'{\"event\": \"cancelled\"}\\n{\"event\": \"finished\"}')\n")
    worker.start(make_job())
    wait_for(worker)
    assert told.events == ["started", "cancelled"]  # the last line has no end and was not meant to be read


def test_other_lines_are_kept_for_the_report(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                             instead: Callable[[str], None]) -> None:
    instead("print('{\"event\": \"dance\"}')\nprint('grüße', file=sys.stderr)\nsys.exit(1)")
    worker.start(make_job())
    wait_for(worker)
    assert '{"event": "dance"}' in failed(told)["details"] and "grüße" in failed(told)["details"]


def test_what_is_kept_is_bounded(worker: WorkerProcess, told: Recorder, make_job: MakeJob,
                                 instead: Callable[[str], None]) -> None:
    instead("for n in range(40): sys.stderr.write(f'{n:10}' * 1000); sys.stdout.write('x' * 100_000)\n"
            "sys.stdout.write('\\n{\"event\": \"finished\"}\\n'); sys.stderr.write('the end')")
    worker.start(make_job())
    wait_for(worker)
    assert told.events == ["finished"]
    assert len(worker._process.log) <= 64 * 1024 and worker._process.log.endswith(("the end", "x" * 10 + "\n"))


def test_variables_reach_the_process(make_job: MakeJob, instead: Callable[[str], None]) -> None:
    instead("import TriplaneGaussianReconLib\n"
            "print(os.environ['MINE'], os.environ['PATH'] != '', os.environ['PYTHONPATH'], file=sys.stderr)")
    worker = WorkerProcess(sys.executable, {"MINE": "süß", "PYTHONPATH": "elsewhere"})
    told = Recorder(worker)
    worker.start(make_job())
    wait_for(worker)
    assert failed(told)["details"].split() == ["süß", "True", f"{ROOT}{os.pathsep}elsewhere"]


@pytest.mark.parametrize("variable", ["1", "0"])
def test_nothing_in_the_current_folder_is_run(worker: WorkerProcess, told: Recorder, make_job: MakeJob, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """With a real worker, also where Python does not heed the variable, as before 3.11."""
    current = tmp_path / "current"
    current.mkdir()
    for name in ("torch", "numpy", "json", "TriplaneGaussianReconLib"):
        (current / f"{name}.py").write_text(f"open({str(current / 'was run')!r}, 'w')\n")
    monkeypatch.chdir(current)
    if variable == "0":
        complete = python_process.PythonProcess._completeEnvironment

        def without(self: python_process.PythonProcess) -> object:
            environment = complete(self)
            environment.remove("PYTHONSAFEPATH")
            return environment

        monkeypatch.setattr(python_process.PythonProcess, "_completeEnvironment", without)
    worker.start(make_job())
    wait_for(worker)
    assert told.events[-1] == "finished" and not (current / "was run").exists()


# -------------------------------------------------------------------------------------------------------------- devices


def test_devices_are_found() -> None:
    found = []
    loop = qt.QEventLoop()
    devices = DeviceList(lambda some: (found.append(some), loop.quit()), sys.executable)
    devices.start()
    devices.start()
    loop.exec()
    (some,) = found
    assert some[-1]["device"] == "cpu" and some[-1]["memory_bytes"] > 10 ** 8 and not children()


def test_devices_that_cannot_be_found_are_none(tmp_path: Path) -> None:
    found = []
    loop = qt.QEventLoop()
    devices = DeviceList(lambda some: (found.append(some), loop.quit()), str(tmp_path / "no python"))
    devices.start()
    loop.exec()
    assert found == [[]] and "could not be started" in devices.log


def test_looking_for_devices_can_be_stopped() -> None:
    found = []
    devices = DeviceList(found.append, sys.executable)
    devices.start()
    devices.kill()
    devices.kill()
    assert not found and not children()


# ---------------------------------------------------------------------------------------------------------------- again


@pytest.mark.parametrize("python", [sys.executable, "no python"])
def test_a_worker_that_has_done_its_job_can_go(make_job: MakeJob, instead: Callable[[str], None], python: str) -> None:
    """Connections of the real Qt keep whatever they call."""
    instead(FINISHED)
    worker = WorkerProcess(python)
    worker.start(make_job())
    wait_for(worker)
    worker.start(make_job("cancelled"))
    worker.cancel()
    wait_for(worker)
    kept = weakref.ref(worker)
    del worker
    gc.collect()
    assert kept() is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="file descriptors are counted in /proc")
def test_a_hundred_jobs_leave_nothing_behind(tmp_path: Path) -> None:
    """Each hundred prints 10 MB; of two hundreds the one that leaves less counts."""
    support = ROOT / "Testing" / "Python" / "support"
    done = subprocess.run([sys.executable, str(support / "hundred_jobs.py"), str(tmp_path)], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (
                              ROOT, ROOT / "TriplaneGaussianRecon", support)))})
    assert done.returncode == 0, done.stderr
    more = json.loads(done.stdout)
    assert more["files"] == more["threads"] == more["children"] == 0
    assert more["objects"] < 200 and more["bytes"] < 2 ** 20, more
