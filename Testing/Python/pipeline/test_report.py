"""Reports go to JSON and back; those of former versions are read; damaged ones are refused by name."""
from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documented_report import documented, keys
from repository import ROOT

from TriplaneGaussianReconLib.data.label_slices import LabelSlices
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.atomic import write_json
from TriplaneGaussianReconLib.pipeline.error_report import ErrorReport
from TriplaneGaussianReconLib.pipeline.label_report import LabelCompletion
from TriplaneGaussianReconLib.pipeline.report import Files, Provenance, Report, SelfCheck
from TriplaneGaussianReconLib.pipeline.stack_report import HiddenPixelReport, StackReport

FORMER: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("former_reports.json").read_text())


@pytest.fixture(params=FORMER)
def former(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A report as the version before the typed one wrote it."""
    return FORMER[request.param]


def test_a_former_report_is_read_and_written_again_with_the_same_keys(former: dict[str, Any]) -> None:
    assert json.loads(json.dumps(Report.from_json(former).to_json())) == former


def test_a_former_report_means_what_it_meant() -> None:
    report = Report.from_json(FORMER["of the command line"])
    assert report.scope is not None and report.scope.selected == {"k": (0, 4, 8, 12, 16, 20)}
    assert report.scope.segments_left_out is None and report.scope.output_shape == (22, 132, 116)
    assert report.files is not None and report.pasted is False and "stack1" in report.files.volume
    assert report.self_check.psnr == 18.47 and report.self_check.per_slice[4] == 19.11
    assert report.residuals[0].label_agreement == 1.0 and report.weights["prior"] == 0.4969
    other = Report.from_json(FORMER["of the worker"])
    assert other.files is None and other.scope is not None and other.scope.segments_left_out == ("unseen",)


def test_what_the_pipeline_does_not_know_is_left_out_of_its_json(former: dict[str, Any]) -> None:
    content = replace(Report.from_json(former), scope=None, files=None).to_json()
    assert not {"axis", "trusted", "input", "segments_left_out"} & set(content)
    assert Report.from_json(content).scope is None and Report.from_json(content).files is None


def test_a_check_without_hidden_slices_has_no_scores() -> None:
    check = SelfCheck(1.14, "Too few.")
    assert check.to_json() == {"note": "Too few.", "band_68": 1.14} and SelfCheck.from_json(check.to_json()) == check


def test_keys_of_later_versions_are_passed_over(former: dict[str, Any]) -> None:
    assert Report.from_json({**former, "motion_mm": 3.0}) == Report.from_json(former)


def test_a_number_that_json_does_not_know_comes_back_as_nan(former: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", replace(Report.from_json(former), losses={"training": math.inf}).to_json())
    assert math.isnan(Report.from_json(json.loads((tmp_path / "r.json").read_text())).losses["training"])


def test_a_model_tells_a_part_of_the_report(former: dict[str, Any]) -> None:
    told = Report.from_json(former).provenance
    assert Provenance.from_json(told.to_json()) == told
    assert set(told.to_json()) == {"product", "version", "preset", "seed", "device", "trusted_slices", "self_check",
                                   "note"}


@pytest.mark.parametrize(("trust", "words"), [(0.0, "trust in the restoration 0,"), (0.3, "restoration 0.3,"),
                                              (math.inf, "restoration as it is,")])
def test_what_hidden_pixels_chose_is_told(former: dict[str, Any], tmp_path: Path, trust: float, words: str) -> None:
    hidden = HiddenPixelReport.of(0.0123, trust, 0.1, 4e-4, 1.5, 500.0)
    assert (hidden.error, hidden.psnr) == (pytest.approx(10.0), 33.98) and words in hidden.choice
    report = Report.from_json(former)
    report = replace(report, provenance=replace(report.provenance, hidden_pixels=hidden))
    write_json(tmp_path / "r.json", report.to_json())
    content = json.loads((tmp_path / "r.json").read_text())
    assert Report.from_json(content) == report and content["hidden_pixels"]["note"] == hidden.choice


def test_a_mask_is_told_where_there_is_one(former: dict[str, Any]) -> None:
    report = replace(Report.from_json(former), files=Files("v.nrrd", None, mask="m.nrrd"))
    assert report.to_json()["input_mask"] == "m.nrrd" and Report.from_json(report.to_json()) == report


def test_labels_that_were_filled_are_told(former: dict[str, Any]) -> None:
    completion = LabelCompletion(LabelSlices((0, 8), (9,), (1, 2)), (2, 1), {"shape": 0.75, "nearest": 0.25}, 0.9)
    for one in (completion, replace(completion, hidden_dice=None), replace(completion, is_warm=True), None):
        report = replace(Report.from_json(former), completion=one)
        assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert "label_completion" not in Report.from_json(former).to_json()


def test_the_reference_explains_each_key_and_no_other(former: dict[str, Any]) -> None:
    report, told = Report.from_json(FORMER["of the command line"]), documented()
    hidden = HiddenPixelReport.of(0.0123, 0.3, 0.1, 4e-4, 1.5, 500.0)
    volume = StackReport("k", (0, 1), 3.0, "box", ((1.0, 0.0, 0.0, 0.0),))
    labels = LabelCompletion(LabelSlices((0, 8), (9,), (1, 2)), (2, 1), {"shape": 0.75, "nearest": 0.25}, 0.9)
    assert report.scope is not None
    full = replace(
        report, provenance=replace(report.provenance, hidden_pixels=hidden, self_check=SelfCheck(
            1.1, "", 30.0, 1, {1: 30.0}, 28.0, 29.0, "cubic", 0.5)),
        files=Files("v.nrrd", "l.nrrd", mask="m.nrrd"), completion=labels, volumes=(volume,),
        expected_error=ErrorReport(12.0, 0.01, "HU"),
        scope=replace(report.scope, segments_left_out=("unseen",), repeated={"k": (9,)}, region="0-9,0-9,0-9"))
    assert keys(full.to_json(), told) | keys(former, told) == told


@pytest.mark.parametrize(("key", "value", "message"), [
    ("label_completion", 3, "The label_completion is damaged"),
    ("label_completion", {"drawn_slices": [0]}, "its entry 'empty_slices' is missing"),
    ("seed", "3", "its entry 'seed' is no whole number"), ("seed", True, "is no whole number"),
    ("seconds", [1.0], "its entry 'seconds' is no object with keys"), ("loss", {"training": "x"}, "is no number"),
    ("notes", "one", "its entry 'notes' is no list"), ("preset", None, "its entry 'preset' is no text"),
    ("hidden_pixels", {"share": 0.1}, "its entry 'smoothness' is missing"),
    ("self_check", 3, "The self_check is damaged"), ("self_check", {"band_68": 1.0}, "its entry 'note' is missing"),
    ("self_check", {"band_68": 1.0, "note": "", "per_slice": {"first": 1.0}},
     "the key 'first', which is no number of a slice"),
    ("residual_on_trusted_slices", [{"psnr": 1.0}], "The residual_on_trusted_slices is damaged"),
    ("axis", "x", "none of the axes"), ("trusted", {"x": [1]}, "none of the axes"),
    ("output_shape_kji", [1.5], "its entry 'output_shape_kji' is no whole number")])
def test_damage_is_named(former: dict[str, Any], key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Report.from_json({**former, key: value})


@pytest.mark.parametrize("key", ["version", "weights", "residual_on_trusted_slices", "device_note", "gaussians"])
def test_what_is_missing_is_named(former: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=f"its entry '{key}' is missing"):
        Report.from_json({name: value for name, value in former.items() if name != key})


def test_no_report_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="The report is damaged"):
        Report.from_json([])


def test_reading_a_report_loads_nothing_heavy() -> None:
    code = ("import sys\nimport TriplaneGaussianReconLib.pipeline.report\n"
            "print(sorted({'torch', 'numba', 'cv2', 'SimpleITK', 'scipy', 'psutil'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
