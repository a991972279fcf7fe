"""A cohort with broken cases, killed twice: nothing is lost, nothing is done twice, and each failure has its cause."""
from __future__ import annotations

import sys
from pathlib import Path

import cohort_case
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes and their limits are Linux's here")
ENGINES = [("local",), ("dask",)]


def tried(folder: Path, count: int, engine: tuple[str, ...]) -> None:
    """Do a cohort of `count` cases, killed twice midway."""
    table, output = cohort_case.write_cohort(folder / "data", count), folder / "results"
    words = (table, output, "--engine", *engine, *cohort_case.QUICK)
    healthy = count - len(cohort_case.CAUSES)
    for share in (0.25, 0.6):
        process = cohort_case.start(*words, memory=cohort_case.MEMORY)
        cohort_case.kill_when(process, lambda share=share: len(cohort_case.done(output)) >= share * healthy)
    before = cohort_case.done(output)
    files = cohort_case.files(output, before)
    code, told = cohort_case.run(*words, memory=cohort_case.MEMORY)
    assert code == 3, told
    assert cohort_case.files(output, before) == files
    rows = cohort_case.states(output)
    failed = {name: row["cause"] for name, row in rows.items() if row["state"] == "failed"}
    assert failed.keys() == cohort_case.CAUSES.keys() and len(rows) == count
    assert all(cohort_case.CAUSES[name] in cause for name, cause in failed.items()), failed
    assert all(row["state"] == "done" for name, row in rows.items() if name not in failed)
    assert rows["out-of-memory"]["attempts"] == "3"
    assert all((output / "cases" / name / "log.txt").is_file() for name in rows)
    code, told = cohort_case.run(*words)
    assert code == 3 and f"{count} cases, 0 to be done" in told
    assert cohort_case.files(output, before) == files


@pytest.mark.parametrize("engine", ENGINES, ids=["local", "dask"])
def test_a_small_cohort_that_is_killed_twice_is_done_once(tmp_path: Path, engine: tuple[str, ...]) -> None:
    tried(tmp_path, 12, (*engine, "--workers", "1"))


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("engine", ENGINES, ids=["local", "dask"])
def test_two_hundred_cases_that_are_killed_twice_are_done_once(tmp_path: Path, engine: tuple[str, ...]) -> None:
    tried(tmp_path, 200, engine)
