#!/usr/bin/env python3
"""What `cohort` costs beyond the reconstructions themselves.

    cohort.py [--cases 12] [--queued 10000] [--shown 1000]

Prints seconds a case in one process, one after another, and as a cohort with one worker; how long a cohort of many
queued cases takes until the first one starts, and what its process holds then, on this computer and with Dask; how
large the page of many cases is, and how long a browser takes to open it, an empty page taken off.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python" / "support")]

import browser  # noqa: E402
import cohort_case  # noqa: E402

from TriplaneGaussianReconLib.cohort.dask_engine import DaskEngine  # noqa: E402
from TriplaneGaussianReconLib.cohort.folder import CASES, PICTURES  # noqa: E402
from TriplaneGaussianReconLib.cohort.local_engine import LocalEngine  # noqa: E402
from TriplaneGaussianReconLib.cohort.manifest import Case, read_manifest  # noqa: E402
from TriplaneGaussianReconLib.cohort.page import PAGE, write_page  # noqa: E402
from TriplaneGaussianReconLib.cohort.records import Record  # noqa: E402
from TriplaneGaussianReconLib.cohort.run import Engine, run  # noqa: E402
from TriplaneGaussianReconLib.cohort.status import Row, Status  # noqa: E402
from TriplaneGaussianReconLib.cohort.thumbnails import write_thumbnails  # noqa: E402
from TriplaneGaussianReconLib.command_line.cohort_options import case_options  # noqa: E402
from TriplaneGaussianReconLib.data.geometry import Grid  # noqa: E402
from TriplaneGaussianReconLib.data.images import Image  # noqa: E402
from TriplaneGaussianReconLib.io.writers import write_image  # noqa: E402
from TriplaneGaussianReconLib.runtime.memory_limits import held_memory  # noqa: E402

_LOOP = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from TriplaneGaussianReconLib.command_line.main import main
times = []
for name in sys.argv[2].split(";"):
    start = time.perf_counter()
    assert main(["reconstruct", name, "--output", name + "_o.nii.gz", "--output-confidence", name + "_e.nii.gz",
                 "--report", name + ".json", "--quiet", "--threads", "1", *sys.argv[3:]]) == 0
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


class Noted:
    """Keeps when it began and when cases ended, or when the first one started and what was held then."""

    def __init__(self, stop_at_start: bool = False) -> None:
        self._stops, self.ends, self.held = stop_at_start, [time.perf_counter()], 0

    def begins(self, status: Status, count: int) -> None:
        """See `run.Listener`."""

    def changed(self, status: Status, row: Row) -> None:
        """See `run.Listener`."""
        if row.state == "running" and self._stops:
            self.ends.append(time.perf_counter())
            self.held = held_memory()
            raise KeyboardInterrupt
        if row.record is not None:
            assert not row.record.cause, row.record.cause
            self.ends.append(time.perf_counter())


def overhead(folder: Path, count: int) -> None:
    """Print seconds a case alone, and in a cohort with one worker and one thread, by turns with the same files."""
    table = cohort_case.write_cohort(folder / "data", count, broken=False)
    cases = read_manifest(table, case_options(), (*cohort_case.QUICK, "--threads=1"))
    done = subprocess.run([sys.executable, "-c", _LOOP, str(ROOT), ";".join(case.volumes[0] for case in cases),
                           *cohort_case.QUICK], capture_output=True, text=True, check=True)
    alone, listener = json.loads(done.stdout.splitlines()[-1])[1:], Noted()
    run(cases, folder / "out", LocalEngine(1), listener)
    together = np.diff(listener.ends)[1:]
    print(f"one process, median of {len(alone)} cases     {statistics.median(alone):8.2f} s")
    print(f"cohort, one worker                  {float(np.median(together)):8.2f} s")


def queued(folder: Path, count: int, name: str, engine: Engine) -> None:
    """Print how long it takes until the first of many cases starts, and what the process holds then."""
    volume = cohort_case.write_volume(folder / "one.nii.gz")
    cases = [Case(f"case{n:05}", (str(volume),), options=cohort_case.QUICK) for n in range(count)]
    listener = Noted(stop_at_start=True)
    with suppress(KeyboardInterrupt):
        run(cases, folder / name, engine, listener)
    seconds = listener.ends[1] - listener.ends[0]
    print(f"{count} queued, {name:<6}  first case after {seconds:6.1f} s, {listener.held / 1e6:6.0f} MB held")


def page(folder: Path, count: int) -> None:
    """Print how large a page with pictures of real size is, and how long a browser takes for it."""
    rng, rows = np.random.default_rng(0), list[Row]()
    dense = Image(rng.normal(500, 100, (120, 160, 160)).cumsum(0).astype(np.float32), Grid((120, 160, 160)))
    write_image(folder / "dense.nrrd", dense)
    first = [folder / name for name in PICTURES]
    write_thumbnails(folder / "dense.nrrd", folder / "dense.nrrd", first[0], first[1])
    for number in range(count):
        here = folder / CASES / f"case{number:04}"
        here.mkdir(parents=True)
        for picture in first:
            (here / picture.name).write_bytes(picture.read_bytes())
        results = {f"{CASES}/{here.name}/{kind}": 1 for kind in ("volume.nii.gz", "expected_error.nii.gz")}
        rows.append(Row.ended(here.name, Record((), results=results, seconds=60.0, self_check=20 + number / 100)))
    write_page(folder, rows)
    sizes = [path.stat().st_size for path in (folder / CASES).rglob("*.jpg")]
    print(f"page of {count} cases: {(folder / PAGE).stat().st_size / 1e6:.2f} MB, pictures {sum(sizes) / 1e6:.2f} MB")
    if browser.program() is not None:
        times = [opened(address) for address in ("about:blank", (folder / PAGE).as_uri())]
        print(f"opened in {times[1] - times[0]:.2f} s (an empty page takes {times[0]:.2f} s with the browser's start)")


def opened(address: str) -> float:
    """Median seconds of three starts of a browser with this page."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        browser.content(address)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--queued", type=int, default=10000)
    parser.add_argument("--shown", type=int, default=1000)
    options = parser.parse_args(arguments)
    for work, *rest in ((page, options.shown), (queued, options.queued, "local", LocalEngine(1)),
                        (queued, options.queued, "dask", DaskEngine("", 1)), (overhead, options.cases)):
        with tempfile.TemporaryDirectory() as folder:
            work(Path(folder), *rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
