"""The known slices of one case, and what a method filled in beside them."""
from __future__ import annotations

import numpy as np

from ..data.geometry import Axis, array_axis
from ..data.images import Image, Segment, Segmentation
from ..data.selection import Selection
from .child_process import MethodOutcome
from .comparison import Comparison, ImagePair, LabelPair, SegmentScores
from .methods import Hidden
from .report import MethodScores
from .scale import Scale
from .scores import SEGMENT_METRICS, all_scores
from .shown import Shown, painted, segment_colors


class Truth:
    """The held-out slices of a case, with their labels; arrays are stacked slice first.

    Attributes:
        held_out: (H,) the indices of the slices that are scored.
        slices: [H, row, column], normalised.
        labels: The same shape, segment numbers from 1; None without labels.
        colors: See `segment_colors`.
        shown: What the figure shows.
    """

    def __init__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection, scale: Scale,
                 hidden: Hidden = "slices") -> None:
        """Take a case; image: normalised; scale: of what it was before."""
        self._dimension = array_axis(axis)
        spacing = image.grid.spacing[::-1]
        self._spacing = (spacing[self._dimension], *np.delete(spacing, self._dimension).tolist())
        self._span = slice(selection.indices[0], selection.indices[-1] + 1)
        self._segments = segmentation.segments if segmentation is not None else ()
        self._layers = segmentation.layers if segmentation is not None else None
        self.held_out = np.setdiff1d(np.arange(self._span.start, self._span.stop), selection.indices)
        self.slices = self._held_out_of(image.array)
        self.labels = self._painted(segmentation.layers) if segmentation is not None else None
        self.colors = segment_colors(self._segments)
        self.shown = Shown.across(image, segmentation, axis, selection, scale, hidden == "labels")

    def score(self, name: str, is_baseline: bool, outcome: MethodOutcome) -> MethodScores:
        """Return the row of the method called `name`."""
        if outcome.failure is not None:
            return MethodScores(name, is_baseline, failure=outcome.failure)
        result, image, labels, picture = outcome.result, None, None, None
        if result.volume is not None:
            filled = self._held_out_of(result.volume)
            expected = self._held_out_of(result.expected_error) if result.expected_error is not None else None
            image = ImagePair.of(self.slices, filled, expected, result.band)
            picture = np.clip(self.shown.view.of(result.volume), 0.0, 1.0)
        if result.layers is not None and self._layers is not None and self.labels is not None:
            labels = LabelPair(self.labels, self._painted(result.layers), self.colors,
                               self._segment_scores(self._layers, result.layers))
        comparison = Comparison(image, labels, seconds=outcome.seconds, peak_memory=outcome.peak_memory)
        return MethodScores(name, is_baseline, all_scores(comparison), labels.segments if labels is not None else (),
                            picture, self._pictured(result.layers) if labels is not None else None)

    def _pictured(self, layers: np.ndarray | None) -> np.ndarray:
        """What the figure shows of `layers` [layer, k, j, i]."""
        assert layers is not None, "there are labels"
        return painted([self.shown.view.of(layer) for layer in layers], self._segments)

    def _segment_scores(self, truth: np.ndarray, estimate: np.ndarray) -> tuple[SegmentScores, ...]:
        """All metrics of each segment in `estimate` [layer, k, j, i]."""
        slices: dict[str, np.ndarray | slice] = {"held out": self.held_out, "all": self._span}
        return tuple(SegmentScores(segment.name, {
            metric.name: metric.score(self._mask(truth, segment, slices[metric.on]),
                                      self._mask(estimate, segment, slices[metric.on]), self._spacing)
            for metric in SEGMENT_METRICS}) for segment in self._segments)

    def _held_out_of(self, array: np.ndarray) -> np.ndarray:
        """The held-out slices of `array` [k, j, i]."""
        return np.moveaxis(array, self._dimension, 0)[self.held_out]

    def _mask(self, layers: np.ndarray, segment: Segment, slices: np.ndarray | slice) -> np.ndarray:
        """The segment's mask [slice, row, column] on the given slices of `layers` [layer, k, j, i]."""
        return np.moveaxis(layers, self._dimension + 1, 1)[segment.layer, slices] == segment.value

    def _painted(self, layers: np.ndarray) -> np.ndarray:
        """The held-out slices of `layers` as one label image of segment numbers from 1; later ones cover."""
        return painted([self._held_out_of(layer) for layer in layers], self._segments)
