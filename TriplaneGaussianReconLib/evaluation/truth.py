"""The known slices of one case, and what a method filled in beside them."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.colors import distinct_hue
from ..data.geometry import Axis, array_axis
from ..data.images import Image, Segment, Segmentation
from ..data.selection import Selection
from . import metrics
from .child_process import MethodOutcome
from .comparison import Comparison, ImagePair, LabelPair, SegmentScores
from .methods import Hidden
from .report import MethodScores
from .scores import SEGMENT_METRICS, all_scores

_SAMPLE_POSITIONS = (0.25, 0.5, 0.75)  # among the held-out slices that are not blank


class Truth:
    """The held-out slices of a case, with their labels; arrays are stacked slice first.

    Attributes:
        held_out: (H,) the indices of the slices that are scored.
        slices: [H, row, column], normalised.
        labels: The same shape, segment numbers from 1; None without labels.
        colors: See `segment_colors`.
        samples: Up to three numbers of held-out slices, for the figure; of hidden labels one, far from what is given.
    """

    def __init__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection,
                 hidden: Hidden = "slices") -> None:
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
        self.samples = (_spread(metrics.has_content(self.slices)) if hidden == "slices" or self.labels is None
                        else _farthest(self.held_out, selection, self.labels))

    def score(self, name: str, is_baseline: bool, outcome: MethodOutcome) -> MethodScores:
        """Return the row of the method called `name`."""
        if outcome.failure is not None:
            return MethodScores(name, is_baseline, failure=outcome.failure)
        result, image, labels, samples = outcome.result, None, None, None
        if result.volume is not None:
            filled = self._held_out_of(result.volume)
            expected = self._held_out_of(result.expected_error) if result.expected_error is not None else None
            image = ImagePair.of(self.slices, filled, expected, result.band)
            samples = np.clip(filled[self.samples], 0.0, 1.0)
        if result.layers is not None and self._layers is not None and self.labels is not None:
            labels = LabelPair(self.labels, self._painted(result.layers), self.colors,
                               self._segment_scores(self._layers, result.layers))
        comparison = Comparison(image, labels, seconds=outcome.seconds, peak_memory=outcome.peak_memory)
        return MethodScores(name, is_baseline, all_scores(comparison), labels.segments if labels is not None else (),
                            samples, labels.estimate[self.samples] if labels is not None else None)

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
        painted = np.zeros(self.slices.shape, np.uint16)
        for number, segment in enumerate(self._segments, start=1):
            painted[self._mask(layers, segment, self.held_out)] = number
        return painted


def _spread(has_content: np.ndarray) -> np.ndarray:
    """The numbers of up to three slices, spread over those that have content (P,)."""
    content = np.flatnonzero(has_content) if has_content.any() else np.arange(len(has_content))
    return np.unique(content[[round(position * (len(content) - 1)) for position in _SAMPLE_POSITIONS]])


def _farthest(held_out: np.ndarray, selection: Selection, labels: np.ndarray) -> np.ndarray:
    """The number of the slice that carries most `labels` [slice, row, column] of those farthest from `selection`."""
    distance = np.abs(held_out[:, None] - np.array(selection.indices)).min(axis=1)
    labelled = np.count_nonzero(labels, axis=(1, 2))
    return np.array([np.where(distance == distance.max(), labelled, -1).argmax()])


def segment_colors(segments: Sequence[Segment]) -> np.ndarray:
    """The colour of each segment number: black background, then each segment's own colour, or else one by its number.

    The colours by number step round the colour circle by the golden angle, so that neighbours differ clearly; every
    third is paler and every fifth darker.

    Returns:
        (1 + segments, 3) RGB in [0, 1].
    """
    from colorsys import hsv_to_rgb

    colors = [(0.0, 0.0, 0.0)]
    for number, segment in enumerate(segments):
        own = hsv_to_rgb(distinct_hue(number), 0.45 if number % 3 == 2 else 0.85, 0.65 if number % 5 == 4 else 0.95)
        colors.append(segment.color if segment.color is not None else own)
    return np.clip(np.array(colors, np.float64), 0.0, 1.0)
