"""What a metric may look at: one method's estimate beside the truth."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.foreground import foreground
from . import metrics


@dataclass(frozen=True)
class Score:
    """The value of one metric.

    Attributes:
        value: NaN where it is undefined.
        sd: Standard deviation over the slices, where `value` is their mean.
    """

    value: float
    sd: float | None = None


@dataclass(frozen=True)
class SegmentScores:
    """How well one segment was filled; `scores` by the names of `scores.SEGMENT_METRICS`."""

    name: str
    scores: dict[str, float | metrics.SurfaceDistance]

    @property
    def dice(self) -> float:
        """Its Dice; NaN if it is too small to count."""
        value = self.scores["dice"]
        assert isinstance(value, float), "it is entered as a number"
        return value

    @property
    def surface(self) -> metrics.SurfaceDistance:
        """How far its surface is from the true one."""
        value = self.scores["surface"]
        assert isinstance(value, metrics.SurfaceDistance), "it is entered as one"
        return value


@dataclass(frozen=True)
class ImagePair:
    """True and estimated slices that count: those whose truth is not blank.

    Attributes:
        truth: [slice, row, column], normalised.
        estimate: The same shape, clipped to [0, 1].
        expected_error: The same shape, the absolute error that the method expects; None if it expects none.
        band: 68 % of the errors are expected to be at most this many times the expected one.
    """

    truth: np.ndarray
    estimate: np.ndarray
    expected_error: np.ndarray | None = None
    band: float | None = None

    @classmethod
    def of(cls, truth: np.ndarray, estimate: np.ndarray, expected_error: np.ndarray | None = None,
           band: float | None = None) -> ImagePair:
        """Leave out blank slices, and clip the estimate.

        Args:
            truth: [slice, row, column], normalised.
            estimate: The same shape.
            expected_error: The same shape.
            band: See the class.

        Raises:
            InputError: The arrays are not [slice, row, column] of one shape.
        """
        for other in (estimate, expected_error):
            if other is not None:
                metrics.check_shapes(truth, other)
        counts = metrics.has_content(truth)
        return cls(truth[counts], np.clip(estimate[counts], 0.0, 1.0),
                   expected_error[counts] if expected_error is not None else None, band)

    @property
    def error(self) -> np.ndarray:
        """[slice, row, column] the absolute error of every voxel."""
        return np.abs(self.estimate - self.truth)

    @property
    def foreground(self) -> np.ndarray:
        """[slice, row, column] bool, the voxels that show the body."""
        return foreground(self.truth) if len(self.truth) else np.zeros(self.truth.shape, bool)


@dataclass(frozen=True)
class LabelPair:
    """True and estimated labels on the held-out slices.

    Attributes:
        truth: [slice, row, column] integer, segment numbers from 1, 0 for background.
        estimate: The same shape.
        colors: (1 + segments, 3) RGB in [0, 1], one row per segment number.
        segments: The scores of each segment.
    """

    truth: np.ndarray
    estimate: np.ndarray
    colors: np.ndarray
    segments: tuple[SegmentScores, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that the metrics of `scores.METRICS` may look at; what a method does not give is None.

    Attributes:
        image: None if the method fills labels only.
        labels: None if the method fills the image only.
        seconds: What the method took, without start and imports.
        peak_memory: Bytes, see `peak_memory.peak_memory`.
    """

    image: ImagePair | None = None
    labels: LabelPair | None = None
    seconds: float | None = field(default=None, kw_only=True)
    peak_memory: int | None = field(default=None, kw_only=True)
