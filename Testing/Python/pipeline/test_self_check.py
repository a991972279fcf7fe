"""Hidden slices, beside the usual methods."""
from __future__ import annotations

import json

import pytest

from TriplaneGaussianReconLib.pipeline.self_check import SelfCheck
from TriplaneGaussianReconLib.prediction.hidden_score import HiddenScore

SCORES = (HiddenScore(1, 24.0, {"nearest": 20.0, "linear": 22.0, "cubic": 23.5, "pchip": 23.0}),
          HiddenScore(3, 26.0, {"nearest": 21.0, "linear": 24.6, "cubic": 24.7, "pchip": 24.8}))


def test_the_best_usual_method_is_the_best_over_all_hidden_slices() -> None:
    check = SelfCheck.of(1.23456, SCORES, 0.6543)
    assert (check.psnr, check.psnr_linear, check.psnr_best_classical, check.best_classical) == (
        25.0, 23.3, 24.1, "cubic")
    assert check.band_68 == 1.2346 and check.rank_correlation == 0.654 and check.per_slice == {1: 24.0, 3: 26.0}
    assert check.found == ("2 used slices, hidden and predicted across twice the gap: 1.7 dB better than linear "
                           "between slices, 0.9 dB better than the best usual method (cubic); PSNR 25.0 dB.")


@pytest.mark.parametrize(("psnr", "words"), [(24.12, "as good as the best"), (23.5, "0.6 dB worse than the best")])
def test_what_is_no_better_is_said(psnr: float, words: str) -> None:
    assert words in SelfCheck(1.0, "", psnr, 2, {}, 23.3, 24.1, "cubic").found


@pytest.mark.parametrize(("correlation", "is_told"), [(0.2, True), (0.49, True), (0.5, False), (None, False)])
def test_an_expected_error_that_does_not_rank_is_said(correlation: float | None, is_told: bool) -> None:
    check = SelfCheck.of(1.0, SCORES, correlation)
    assert bool(check.doubt) == is_told == check.note.endswith("not its pattern.")


@pytest.mark.parametrize("check", [SelfCheck.of(1.2, SCORES, 0.6), SelfCheck.of(1.2, SCORES, None),
                                   SelfCheck.of(1.14, (), None)])
def test_to_json_and_back(check: SelfCheck) -> None:
    assert SelfCheck.from_json(json.loads(json.dumps(check.to_json()))) == check


def test_a_former_report_has_scores_and_nothing_beside_them() -> None:
    check = SelfCheck.from_json({"psnr_at_twice_the_gap": 30.0, "slices": 2, "band_68": 1.1, "per_slice": {"1": 30.0},
                                 "note": ""})
    assert check.psnr == 30.0 and check.per_slice == {1: 30.0} and check.gains == ()
    assert check.found == "2 used slices, hidden and predicted across twice the gap: PSNR 30.0 dB."
