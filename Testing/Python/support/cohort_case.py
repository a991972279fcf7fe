"""A cohort of tiny cases, some of them broken, and the program at work on it in a process that can be killed."""
from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from repository import ROOT

PROGRAM = [sys.executable, "-m", "TriplaneGaussianReconLib", "cohort"]
QUICK = ("--output-spacing=input", "--device=cpu")  # of all slices, which learns nothing: a second a case
MEMORY = 1200 * 10 ** 6  # bytes of data that a process may have, so that the largest case runs out of it
# How each broken case is told of.
CAUSES = {"nan": "holds data", "truncated": "ends early", "wrong-labels": "must be whole numbers",
          "out-of-memory": "not enough memory", "hangs": "took longer than 4 s"}
_HUGE = (1000, 1000, 900)


def write_volume(path: Path, seed: int = 0, shape: tuple[int, int, int] = (16, 16, 3)) -> Path:
    """A smooth random volume with thick slices."""
    waves = np.random.default_rng(seed).random((3, 3))
    voxels = sum(np.sin(waves[0][n] + (1 + waves[1][n]) * 6 * place / len(place))
                 for n, place in enumerate(np.meshgrid(*map(np.arange, shape), indexing="ij")))
    nib.save(nib.Nifti1Image((300 * (3 + np.asarray(voxels))).astype(np.int16), np.diag([1, 1, 3, 1])), path)
    return path


def write_cohort(folder: Path, count: int, broken: bool = True) -> Path:
    """Write a table of `count` cases, five of them broken, and their volumes; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"case{n:03}", "volume": write_volume(folder / f"case{n:03}.nii.gz", n).name}
            for n in range(count - len(CAUSES) * broken)]
    if broken:
        for number, row in enumerate(_broken(folder)):
            rows.insert(1 + number * len(rows) // len(CAUSES), row)
    table = folder / "cases.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "volume", "labels", "preset", "output-spacing", "time-limit"])
        writer.writeheader()
        writer.writerows(rows)
    return table


def _broken(folder: Path) -> list[dict[str, str]]:
    names = {name: f"{name}.nii.gz" for name in CAUSES}
    nib.save(nib.Nifti1Image(np.full((16, 16, 3), np.nan, np.float32), np.eye(4)), folder / names["nan"])
    whole = write_volume(folder / names["truncated"]).read_bytes()
    (folder / names["truncated"]).write_bytes(whole[:len(whole) // 2])
    write_volume(folder / names["wrong-labels"])
    nib.save(nib.Nifti1Image(np.full((16, 16, 3), 0.5, np.float32), np.eye(4)), folder / "fractions.nii.gz")
    write_volume(folder / names["hangs"], shape=(96, 96, 24))
    header = nib.Nifti1Image(np.zeros((1, 1, 1), np.uint8), np.eye(4)).header
    header.set_data_shape(_HUGE)
    with gzip.open(folder / names["out-of-memory"], "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(_HUGE[2]):
            file.write(bytes(_HUGE[0] * _HUGE[1]))
    extra = {"wrong-labels": {"labels": "fractions.nii.gz"},
             "hangs": {"preset": "best", "output-spacing": "isotropic", "time-limit": "4"}}
    return [{"id": name, "volume": file, **extra.get(name, {})} for name, file in names.items()]


def start(*arguments: object, memory: int | None = None) -> subprocess.Popen[str]:
    """Start the program; memory: bytes of data that it and what it starts may have."""
    def limit() -> None:
        if memory is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    return subprocess.Popen([*PROGRAM, *map(str, arguments)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=limit, start_new_session=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})


def run(*arguments: object, memory: int | None = None) -> tuple[int, str]:
    """Run the program to its end; returns exit code and all that it said."""
    process = start(*arguments, memory=memory)
    out, err = process.communicate(timeout=1800)
    return process.returncode, out + err


def kill_when(process: subprocess.Popen[str], is_time: Callable[[], bool]) -> None:
    """Kill the program once it is time; raises AssertionError if anything that it has started lives on."""
    while not is_time():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert started and not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


def done(output: Path) -> set[str]:
    """The names of the cases that are done."""
    return {path.parent.name for path in output.glob("cases/*/done.json")}


def states(output: Path) -> dict[str, dict[str, str]]:
    """The rows of the table of a cohort, by name."""
    with (output / "status.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def files(output: Path, names: set[str]) -> dict[str, Any]:
    """When each file of these cases was changed last."""
    return {str(path): path.stat().st_mtime_ns for name in names for path in (output / "cases" / name).iterdir()}
