"""A dataset in BIDS in, derivatives in BIDS out, judged by BIDS' own validator."""
from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import cohort_case
import nibabel as nib
import numpy as np
import pytest

from TriplaneGaussianReconLib.cohort.bids import Name, bids_cases, of_participants
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.exit_codes import ExitCode

IMAGES = ("sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_T1w", "sub-02/ses-a/anat/sub-02_ses-a_acq-thick_run-2_T2w",
          "sub-02/ses-b/anat/sub-02_ses-b_T2w")
DENSE = "sub-02/ses-a/anat/sub-02_ses-a_acq-thick_rec-triplane_run-2_desc-dense"


def describe(folder: Path, **more: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps({"Name": "Thick", "BIDSVersion": "1.8.0", **more}))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four images of two participants; one has a segmentation, drawn elsewhere, with names."""
    folder, labels = tmp_path / "raw", tmp_path / "drawn"
    describe(folder)
    describe(labels, DatasetType="derivative")
    for number, name in enumerate(IMAGES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cohort_case.write_volume(folder / f"{name}.nii.gz", number, (14, 16, 5))
    (labels / IMAGES[2]).parent.mkdir(parents=True)
    mask = np.zeros((14, 16, 5), np.uint8)
    mask[4:9, 5:11] = 2
    stem = labels / IMAGES[2].replace("T2w", "desc-drawn_dseg")
    nib.save(nib.Nifti1Image(mask, np.diag([1, 1, 3, 1])), f"{stem}.nii.gz")
    Path(f"{stem}.tsv").write_text("index\tname\tcolor\n2\tVentricle\t#FF8000\n")
    return folder


def call(dataset: Path, output: Path, *words: str) -> int:
    return main(["bids", str(dataset), str(output), *words, "--preset=paper-displaced", "--device=cpu",
                 "--keep-every=2", "--labels", str(dataset.parent / "drawn")])


def validated(folder: Path) -> list[str]:
    """The errors that BIDS' validator finds."""
    program = shutil.which("bids-validator-deno", path=sysconfig.get_path("scripts"))
    assert program, "bids-validator-deno is not installed"
    done = subprocess.run([program, str(folder), "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [str(issue) for issue in issues if issue["severity"] == "error"]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux; elsewhere it takes long")
def test_derivatives_are_valid_and_tell_what_was_used(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "dense"
    assert call(dataset, output, "participant", "--participant-label", "sub-02") == ExitCode.SUCCESS
    assert not validated(output)
    names = {path.relative_to(output).as_posix() for path in output.glob("sub-*/**/*") if path.is_file()}
    assert {f"{DENSE}_{kind}" for kind in ("T2w.nii.gz", "T2w.json", "dseg.nii.gz", "dseg.json", "dseg.tsv")} <= names
    assert f"{DENSE.replace('dense', 'expectederror')}_T2w.nii.gz" in names and len(names) == 11
    sidecar = json.loads((output / f"{DENSE}_T2w.json").read_text())
    assert sidecar["Sources"] == [f"bids:raw:{IMAGES[2]}.nii.gz",
                                  f"bids:labels:{IMAGES[2].replace('T2w', 'desc-drawn_dseg')}.nii.gz"]
    assert sidecar["UsedSlices"] == [0, 2, 4] and sidecar["RejectedSlices"] == [1, 3] and sidecar["ThicknessUsed"] == 3
    with (output / f"{DENSE}_dseg.tsv").open() as file:
        assert list(csv.DictReader(file, delimiter="\t")) == [{"index": "2", "name": "Ventricle", "color": "#FF8000"}]
    description = json.loads((output / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative" and description["DatasetLinks"]["raw"] == dataset.as_uri()

    before = {path: path.stat().st_mtime_ns for path in output.glob("sub-02/**/*")}
    assert call(dataset, output, "group") == ExitCode.SOME_FAILED  # participant 01 is waiting
    assert call(dataset, output, "participant") == ExitCode.SUCCESS == call(dataset, output, "group")
    assert {path: path.stat().st_mtime_ns for path in output.glob("sub-02/**/*")} == before
    with (output / "group_selfcheck.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 4 and {row["participant_id"] for row in rows} == {"sub-01", "sub-02"}
    assert not validated(output)


def test_the_validator_notices_what_is_wrong(dataset: Path) -> None:
    assert not validated(dataset)
    (dataset / "sub-01/anat/sub-01_desc-a_rec-b_T2w.nii.gz").touch()
    assert validated(dataset)


def test_images_are_chosen_by_suffix_participant_and_session(dataset: Path) -> None:
    cases = bids_cases(dataset, suffixes=("T2w",))
    assert [case.name for case in cases] == [Path(name).name for name in IMAGES if name.endswith("T2w")]
    assert len(of_participants(cases, ["01", "sub-02"], [])) == 3 and len(of_participants(cases, [], ["b"])) == 1
    for participants, sessions, told in ((["03"], [], "no image of 'sub-03'. Known are 01, 02"),
                                         (["01"], ["a"], "None of these participants")):
        with pytest.raises(InputError, match=told):
            of_participants(cases, participants, sessions)


def test_an_existing_reconstruction_is_called_anew() -> None:
    assert str(Name.parse("sub-1_rec-mean_dir-AP_T2w").derived("dense")) == (
        "sub-1_rec-triplane_dir-AP_desc-dense_T2w")


def test_what_is_no_dataset_or_has_no_image_is_told_of(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset in BIDS"):
        bids_cases(tmp_path)
    with pytest.raises(InputError, match="no anatomical image that ends in FLAIR"):
        bids_cases(dataset, suffixes=("FLAIR",))
    drawn = tmp_path / "drawn" / f"{IMAGES[2].replace('T2w', 'desc-other_dseg')}.nii.gz"
    drawn.touch()
    with pytest.raises(InputError, match="several segmentations"):
        bids_cases(dataset, labels=tmp_path / "drawn")
    drawn.rename(drawn.with_name("mine_dseg.nii.gz"))
    with pytest.raises(InputError, match="'.*mine_dseg.nii.gz' is not BIDS'"):
        bids_cases(dataset, labels=tmp_path / "drawn")
    (dataset / "sub-01/anat/sub_T2w.nii.gz").touch()
    with pytest.raises(InputError, match="is not BIDS'"):
        bids_cases(dataset)


def test_derivatives_do_not_go_among_their_sources(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(dataset, dataset, "participant") == ExitCode.BAD_INPUT
    assert "would lie among their sources" in capsys.readouterr().err
    assert call(dataset, dataset / "derivatives/none", "group") == ExitCode.BAD_INPUT
    assert "'participant' first" in capsys.readouterr().err
