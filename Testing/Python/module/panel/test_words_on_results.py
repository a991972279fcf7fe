"""How far to trust an image, in words: what comes first, and how good it is beside the usual methods."""
from __future__ import annotations

from dataclasses import replace

import pytest
from TriplaneGaussianReconModule import wording

from TriplaneGaussianReconLib.pipeline.self_check import SelfCheck
from TriplaneGaussianReconLib.prediction.hidden_score import CLASSICAL

CHECK = SelfCheck(1.0, "", 27.1, 20, {}, 21.7, 26.2, "cubic", 0.6)
ERROR = "Expected error: 28 HU (median in the body)."


def test_what_matters_comes_first() -> None:
    assert wording.image(CHECK, ERROR) == [
        "Errors are 46 % smaller than with linear interpolation between slices (5.4 dB).", ERROR,
        "Errors are 10 % smaller than with the best usual method, cubic interpolation (0.9 dB).",
        "Checked on 20 slices, each hidden and predicted across twice the real gap (PSNR 27.1 dB)."]


@pytest.mark.parametrize(("gain", "told"), [
    (0.6, "Errors are 7 % smaller than with linear interpolation between slices (0.6 dB)."),
    (0.2, "Hardly better than with linear interpolation between slices: errors are 2 % smaller (0.2 dB), which is "
          "hardly seen."),
    (0.04, "No better than with linear interpolation between slices: errors are as large."),
    (-0.04, "No better than with linear interpolation between slices: errors are as large."),
    (-0.2, "Slightly worse than with linear interpolation between slices: errors are 2 % larger (0.2 dB), which is "
           "hardly seen."),
    (-2.0, "Errors are 26 % larger than with linear interpolation between slices (2.0 dB), which serves this scan "
           "better.")])
def test_how_good_it_is_is_said_as_it_is(gain: float, told: str) -> None:
    assert wording.image(replace(CHECK, psnr_linear=27.1 - gain), ERROR)[0] == told


@pytest.mark.parametrize(("name", "words"), [
    ("nearest", "copies of the nearest slice"), ("linear", None), ("cubic", "cubic interpolation"),
    ("pchip", "smooth (monotone cubic) interpolation")])
def test_the_best_usual_method_has_an_everyday_name_and_is_told_once(name: str, words: str | None) -> None:
    lines = wording.image(replace(CHECK, best_classical=name), ERROR)
    told = [line for line in lines if "the best usual method" in line]
    assert name in CLASSICAL and len(told) == (words is not None) and (words or "") in "".join(told)
    assert "pchip" not in "".join(lines)


def test_doubt_about_the_expected_error_follows_it_without_numbers() -> None:
    lines = wording.image(replace(CHECK, rank_correlation=0.12), ERROR)
    assert lines[1:3] == [ERROR, "It says little about where the errors are: trust its size, not its pattern."]


def test_where_no_slice_could_be_hidden_it_is_said_how_many_that_takes() -> None:
    first, *rest = wording.image(SelfCheck(1.0, ""), ERROR)
    assert "at least 3 must be used" in first and rest[0] == ERROR and rest[1].startswith("It was not learnt")
