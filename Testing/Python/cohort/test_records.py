"""What is remembered of a case holds as long as nothing has changed that decides about its result."""
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from TriplaneGaussianReconLib.cohort.folder import Folder
from TriplaneGaussianReconLib.cohort.manifest import Case
from TriplaneGaussianReconLib.cohort.records import Record, deciding, inputs_of, read_record
from TriplaneGaussianReconLib.errors import InputError


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A case of a file and a folder, with labels."""
    (tmp_path / "dicom").mkdir()
    for name in ("a.nrrd", "dicom/1", "dicom/2", "labels.nrrd"):
        (tmp_path / name).write_text(name)
    return Case("a", (str(tmp_path / "a.nrrd"), str(tmp_path / "dicom")), str(tmp_path / "labels.nrrd"),
                ("--keep-every=4", "--threads=2"))


@pytest.fixture
def record(case: Case, tmp_path: Path) -> Record:
    """That it was done, with results."""
    folder, made = Folder(tmp_path / "out", case), {}
    folder.prepare()
    for kind in folder.results:
        folder.made(kind).write_text(kind)
    for path in folder.publish().values():
        made[path.as_posix()] = (tmp_path / "out" / path).stat().st_size
    done = Record(deciding(case.options), inputs_of(case), made, self_check=30.5, memory=10 ** 9)
    done.write(folder)
    return done


def kept(case: Case, tmp_path: Path) -> Record | None:
    return read_record(tmp_path / "out", case)


def test_it_holds_while_nothing_changes(case: Case, record: Record, tmp_path: Path) -> None:
    assert kept(case, tmp_path) == record
    assert sorted(path.name for path in (tmp_path / "out/cases/a").iterdir()) == [
        "done.json", "expected_error.nrrd", "labels.seg.nrrd", "log.txt", "report.json", "volume.nrrd"]


def test_dates_places_threads_and_memory_do_not_matter(case: Case, record: Record, tmp_path: Path) -> None:
    os.utime(case.volumes[0], (1, 1))
    (tmp_path / "dicom").rename(tmp_path / "elsewhere")
    moved = replace(case, volumes=(case.volumes[0], str(tmp_path / "elsewhere")),
                    options=("--keep-every=4", "--memory=9GB"))
    assert kept(moved, tmp_path) == record


@pytest.mark.parametrize("name", ["a.nrrd", "dicom/2", "labels.nrrd"])
def test_another_content_of_the_same_size_matters(case: Case, record: Record, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(name[::-1])
    assert kept(case, tmp_path) is None


def test_other_inputs_options_and_versions_matter(case: Case, record: Record, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(replace(case, options=("--keep-every=2",)), tmp_path) is None
    assert kept(replace(case, labels=""), tmp_path) is None
    monkeypatch.setattr("TriplaneGaussianReconLib.cohort.records.__version__", "0.2.0")
    assert kept(case, tmp_path) is None


def test_a_result_that_is_gone_or_cut_matters(case: Case, record: Record, tmp_path: Path) -> None:
    (tmp_path / "out/cases/a/volume.nrrd").write_text("v")
    assert kept(case, tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9}', '{"format": 1, "options": [], "inputs": 3}'])
def test_a_damaged_record_is_none(case: Case, record: Record, tmp_path: Path, text: str) -> None:
    (tmp_path / "out/cases/a/done.json").write_text(text)
    assert kept(case, tmp_path) is None


def test_results_that_are_being_replaced_are_not_done(case: Case, record: Record, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", case)
    folder.prepare()
    for kind in ("volume", "labels"):  # the others are missing, so that it breaks off
        folder.made(kind).write_text("new")
    with pytest.raises(OSError, match="cannot be moved"):
        folder.publish()
    assert kept(case, tmp_path) is None


def test_a_failure_is_kept_until_the_file_is_there(case: Case, tmp_path: Path) -> None:
    os.remove(case.labels)
    with pytest.raises(InputError, match="labels.nrrd' cannot be read"):
        inputs_of(case)
    folder = Folder(tmp_path / "out", case)
    folder.prepare()
    failed = Record(deciding(case.options), cause="It is missing.")
    failed.write(folder)
    assert kept(case, tmp_path) == failed
    Path(case.labels).write_text("there")
    assert kept(case, tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="device, pipe or socket"):
        inputs_of(Case("a", (str(tmp_path / "pipe"),)))
