"""Cases from a table, or from what a pattern finds."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from TriplaneGaussianReconLib.cohort.manifest import Case, found, read_manifest
from TriplaneGaussianReconLib.cohort.shards import Shard
from TriplaneGaussianReconLib.errors import InputError

OPTIONS = {"keep-every": True, "preset": True, "mask": True, "output-grid": True, "cover-voxels": False}


def table(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_is_a_case_with_what_differs(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffid, volume, labels, keep-every, cover-voxels, mask, time-limit\n"
                           "a, a.nii.gz; b.nii.gz, l.nii.gz, 4, yes, m.nrrd, 90\n"
                           "b, /far/c.nii.gz, , , no, , \n")
    first, second = read_manifest(path, OPTIONS, ("--preset=fast",))
    assert first == Case("a", (str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")), str(tmp_path / "l.nii.gz"),
                         ("--preset=fast", "--keep-every=4", f"--mask={tmp_path / 'm.nrrd'}", "--cover-voxels"),
                         time_limit=90.0)
    assert first.inputs == (*first.volumes, first.labels, str(tmp_path / "m.nrrd"))
    assert second == Case("b", (os.path.abspath("/far/c.nii.gz"),), options=("--preset=fast",))


def test_only_a_grid_of_a_file_is_an_input(tmp_path: Path) -> None:
    path = table(tmp_path, "id,volume,output-grid\na,a.nrrd,union\nb,b.nrrd,c.nrrd\n")
    one, other = read_manifest(path, OPTIONS)
    assert one.inputs == one.volumes and one.option("output-grid") == "union"
    assert other.inputs == (*other.volumes, str(tmp_path / "c.nrrd"))


@pytest.mark.parametrize(("text", "told"), [
    ("", "needs at least 'id' and 'volume'"), ("id,volumes\na,b\n", "needs at least 'id' and 'volume'"),
    ("id,volume,colour\na,b,red\n", "column 'colour', which is no option"), ("id,volume\n", "no case"),
    ("id,volume\na,\n", "row 2 of .* no volume"), ("id,volume\n../a,b\n", "name '../a' of row 2"),
    ("id,volume\n,b\n", "name '' of row 2"), ("id,volume\na,b\nA,c\n", "called 'a' and 'A'"),
    ("id,volume\na,b,c\n", "more cells than columns"), ("id,volume,cover-voxels\na,b,perhaps\n", "is 'perhaps'"),
    ("id,volume,time-limit\na,b,soon\n", "time limit is 'soon'")])
def test_a_table_that_cannot_be_used_is_told_of_by_its_row(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_manifest(table(tmp_path, text), OPTIONS)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_manifest(path, OPTIONS)
    (tmp_path / "a.csv").write_bytes(b"id,volume\n\xff,b\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "a.csv", OPTIONS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("one/T2.nii.gz", "one/seg.nii.gz", "two/T2.nii.gz", "two/deep/T2.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_what_wildcards_stand_for_names_the_case(data: Path) -> None:
    cases = found(f"{data}/*/T2.nii.gz", f"{data}/*/seg.nii.gz", ("--preset=fast",))
    assert [(case.name, Path(case.labels).name) for case in cases] == [("one", "seg.nii.gz"), ("two", "")]
    assert cases[0].volumes == (str(data / "one" / "T2.nii.gz"),) and cases[0].options == ("--preset=fast",)
    assert [case.name for case in found(f"{data}/**/T2.nii.gz")] == ["one", "two", "two_deep"]
    assert [case.name for case in found(f"{data}/one/T2.nii.gz")] == ["T2"]


@pytest.mark.parametrize(("pattern", "labels", "told"), [
    ("*/T1.nii.gz", "", "Nothing is found"), ("*/T2.nii.gz", "*/none.nii.gz", "None of what"),
    ("[ot]*/T2.nii.g[z]", "", "Two cases")])
def test_a_pattern_that_does_not_do_is_told_of(data: Path, pattern: str, labels: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        found(f"{data}/{pattern}", f"{data}/{labels}" if labels else "")


def test_shards_share_all_cases_out() -> None:
    cases = [Case(f"case{n}", ("a",)) for n in range(11)]
    parts = [Shard(n, 3).of(cases) for n in (1, 2, 3)]
    assert sorted((case for part in parts for case in part), key=cases.index) == cases
    assert [len(part) for part in parts] == [4, 4, 3]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "a/b", "1/4/2"])
def test_what_is_no_shard_is_told_of(text: str) -> None:
    with pytest.raises(InputError, match="is no shard"):
        Shard.parse(text)
