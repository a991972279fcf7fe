"""A program that lets a worker do a hundred jobs one after another, and prints as JSON what it has more afterwards.

It is a program of its own because what other tests leave, and lose, would be counted too.

    python hundred_jobs.py FOLDER
"""
from __future__ import annotations

import gc
import json
import os
import sys
import weakref
from itertools import pairwise
from pathlib import Path

import psutil
import slicer_stand_ins

slicer_stand_ins.install()

import qt  # noqa: E402
from TriplaneGaussianReconModule.run import process  # noqa: E402

_TALKATIVE = """import sys
print('{"event": "started", "device": "cpu", "note": ""}', flush=True)
print('x' * 9000); print('y' * 90000, file=sys.stderr)
print('{"event": "finished"}', flush=True)
"""


def used() -> dict[str, int]:
    """What this process has."""
    gc.collect()
    # Weak references do not count: PySide6 leaves one behind whenever something is connected and disconnected.
    objects = [found for found in gc.get_objects() if type(found) is not weakref.ref]
    return {"files": len(os.listdir("/proc/self/fd")), "threads": psutil.Process().num_threads(),
            "children": len(psutil.Process().children()), "objects": len(objects),
            "bytes": psutil.Process().memory_info().rss}


def main(folder: Path) -> None:
    """Do a few jobs, so that all that is needed is there, then twice a hundred.

    Memory that is never given back grows in each hundred; the heap itself grows by a megabyte now and then.
    """
    program = folder / "program.py"
    program.write_text(_TALKATIVE, encoding="utf-8")
    process._WORKER[:] = [str(program)]
    worker, ends = process.WorkerProcess(sys.executable), list[str]()
    worker.onFinished = lambda message: ends.append(message["event"])

    def work(count: int) -> None:
        ends.clear()
        for _ in range(count):
            worker.start(folder)
            while worker.state != "idle":
                qt.QCoreApplication.processEvents(qt.QEventLoop.WaitForMoreEvents)
        assert len(ends) == count

    work(10)
    marks = [used()]
    for _ in range(2):
        work(100)
        marks.append(used())
    more = {name: count - marks[0][name] for name, count in marks[2].items()}
    more["bytes"] = min(later["bytes"] - earlier["bytes"] for earlier, later in pairwise(marks))
    print(json.dumps(more))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
