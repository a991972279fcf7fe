"""The registry of metrics: what is computed for each method, and how it is shown.

To add a metric, write its function in `metrics` and enter it in `METRICS` or `SEGMENT_METRICS`.  Table, JSON and figure
follow.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import metrics
from .comparison import Comparison, ImagePair, LabelPair, Score

Part = Literal["image", "labels"]  # of a case, which a method fills
PerSlice = Callable[[np.ndarray, np.ndarray], np.ndarray]  # truth, estimate -> (P,)
SegmentScore = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], float | metrics.SurfaceDistance]


@dataclass(frozen=True)
class Metric:
    """One number (or mean of numbers) for each method.

    Attributes:
        name: Its key in the JSON.
        score: Computes it; None where it does not apply to the method.
        title: The heading of its column in the table; empty: it has none.
        unit: Follows the title.
        decimals: That the table shows.
        factor: What the table multiplies it by, to come to `unit`.
        shows_sd: Whether the table shows the standard deviation over slices.
        higher_is_better: Which way is better.
        ranks: Methods are ranked by it, as to how they fill this part.
        group: The key of an object in the JSON that it stands in; empty: none.
        is_spare: Whether the table shows it only where no metric of the image takes the room.
    """

    name: str
    score: Callable[[Comparison], Score | None]
    title: str = ""
    unit: str = ""
    decimals: int = 4
    factor: float = 1.0
    shows_sd: bool = False
    higher_is_better: bool = True
    ranks: Part | None = None
    group: str = ""
    is_spare: bool = False

    @property
    def heading(self) -> str:
        """The title, with the unit."""
        return f"{self.title} {self.unit}".rstrip()

    def text(self, score: Score | None) -> str:
        """A score as the table shows it."""
        if score is None:
            return ""
        numbers = (score.value, score.sd) if self.shows_sd and score.sd is not None else (score.value,)
        return " ± ".join(f"{number * self.factor:.{self.decimals}f}" for number in numbers)

    def label(self, score: Score) -> str:
        """A score as the figure shows it: a decimal less, with its unit, or else its name."""
        number = f"{score.value * self.factor:.{max(self.decimals - 1, 0)}f}"
        return f"{number} {self.unit}" if self.unit else f"{self.title} {number}"

    def rank(self, score: Score | None) -> float:
        """A number that is larger for better scores; minus infinity for none."""
        if score is None or np.isnan(score.value):
            return -np.inf
        return score.value if self.higher_is_better else -score.value


@dataclass(frozen=True)
class SegmentMetric:
    """One result for each segment.

    Attributes:
        name: Its key in the JSON.
        score: Computes it from the true mask, the estimated one ([slice, row, column] bool) and the spacing (mm).
        on: The slices that it looks at: those held out, or all from the first to the last observed one.
    """

    name: str
    score: SegmentScore
    on: Literal["held out", "all"]


def _over_slices(function: PerSlice) -> Callable[[Comparison], Score | None]:
    """Mean and standard deviation over the slices; NaN if there are none."""
    def score(case: Comparison) -> Score | None:
        if case.image is None:
            return None
        if not len(case.image.truth):
            return Score(np.nan, np.nan)
        values = function(case.image.truth, case.image.estimate)
        return Score(float(values.mean()), float(values.std()))

    return score


def _of_expected_error(function: Callable[[np.ndarray, np.ndarray, float], float]
                       ) -> Callable[[Comparison], Score | None]:
    """Give `function` the real error of the foreground, the expected one and the band."""
    def score(case: Comparison) -> Score | None:
        if case.image is None or case.image.expected_error is None or case.image.band is None:
            return None
        body = case.image.foreground
        return Score(function(case.image.error[body], case.image.expected_error[body], case.image.band))

    return score


def _of_labels(function: Callable[[LabelPair], float]) -> Callable[[Comparison], Score | None]:
    return lambda case: Score(function(case.labels)) if case.labels is not None else None


def _mean_dice(labels: LabelPair) -> float:
    """The mean over the segments that are large enough to count."""
    counted = [segment.dice for segment in labels.segments if not np.isnan(segment.dice)]
    return float(np.mean(counted)) if counted else np.nan


def _median_distance(which: Literal["mean", "percentile_95"]) -> Callable[[LabelPair], float]:
    """The median over the segments that count; infinite where half of them are not found at all."""
    def score(labels: LabelPair) -> float:
        surfaces = [segment.surface for segment in labels.segments if not np.isnan(segment.dice)]
        return float(np.median([getattr(surface, which) for surface in surfaces])) if surfaces else np.nan

    return score


METRICS: tuple[Metric, ...] = (
    Metric("psnr", _over_slices(metrics.psnr), "PSNR", "dB", decimals=2, shows_sd=True, ranks="image", group="image"),
    Metric("ssim", _over_slices(metrics.ssim), "SSIM", group="image"),
    Metric("slices", lambda case: Score(len(case.image.truth)) if case.image is not None else None, group="image"),
    Metric("share_in_band_68", _of_expected_error(metrics.share_in_band)),
    Metric("rank_correlation",
           _of_expected_error(lambda error, expected, _: metrics.rank_correlation(error, expected))),
    Metric("semantic_loss",
           _of_labels(lambda labels: metrics.semantic_loss(labels.truth, labels.estimate, labels.colors)),
           "Semantic loss", decimals=5, higher_is_better=False),
    Metric("dice", _of_labels(_mean_dice), "Dice", ranks="labels"),
    Metric("surface_mm", _of_labels(_median_distance("mean")), "Surface", "mm", decimals=2, higher_is_better=False,
           is_spare=True),
    Metric("surface_95_mm", _of_labels(_median_distance("percentile_95")), "HD95", "mm", decimals=2,
           higher_is_better=False, is_spare=True),
    Metric("seconds", lambda case: Score(case.seconds) if case.seconds is not None else None, "Seconds", decimals=2,
           higher_is_better=False),
    Metric("peak_memory_bytes", lambda case: Score(case.peak_memory) if case.peak_memory is not None else None,
           "Peak", "MB", decimals=0, factor=1e-6, higher_is_better=False),
)

SEGMENT_METRICS: tuple[SegmentMetric, ...] = (
    SegmentMetric("dice", lambda truth, estimate, _: metrics.dice_of_enough(truth, estimate), on="held out"),
    SegmentMetric("surface", metrics.surface_distance, on="all"),
)


def ranking(part: Part) -> Metric:
    """The metric that methods are ranked by, as to how they fill `part`."""
    return next(metric for metric in METRICS if metric.ranks == part)


def all_scores(case: Comparison) -> dict[str, Score]:
    """All metrics that apply, by name."""
    found = {metric.name: metric.score(case) for metric in METRICS}
    return {name: score for name, score in found.items() if score is not None}


def image_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, Score]:
    """The metrics of an image alone, by name.

    Args:
        truth: [slice, row, column], normalised; blank slices do not count.
        estimate: The same shape; clipped to [0, 1].

    Raises:
        InputError: The arrays are not [slice, row, column] of one shape.

    Example:
        >>> truth = np.full((2, 16, 16), 0.5)
        >>> image_scores(truth, truth + 0.1)["psnr"].value
        20.0
    """
    return all_scores(Comparison(ImagePair.of(truth, estimate)))
