"""What the figure shows of a case, whatever the methods: the truth, and what was kept of it."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..data.colors import distinct_hue
from ..data.geometry import AXES, Axis, array_axis
from ..data.images import Image, Segment, Segmentation
from ..data.selection import Selection
from .scale import Scale
from .views import View

_MOSTLY = 0.4  # of the slices are hidden: kept ones stand for their neighbours, as in a viewer; else gaps are shown
_WITHOUT_LABELS = 0.1  # what an error counts for the choice of the view where no label is near


@dataclass(frozen=True)
class Shown:
    """A part of one plane, as arrays [row, column].

    Attributes:
        view: Where that is.
        scale: How intensities are shown.
        truth: Normalised.
        kept: What there is without any method, normalised; NaN where there is nothing.
        kept_words: What `kept` is, for people: above it, and below.
        hidden: Bool, what was hidden and is scored.
        choice: Why this part was chosen: where ...
        labels: True segment numbers from 1 (0 is background; of overlapping segments the last one shows); None without
            labels.
        kept_labels: Likewise, those that were given.
        colors: (1 + segments, 3) RGB in [0, 1], the colour of each segment number.
    """

    view: View
    scale: Scale
    truth: np.ndarray
    kept: np.ndarray
    kept_words: tuple[str, str]
    hidden: np.ndarray
    choice: str
    labels: np.ndarray | None = None
    kept_labels: np.ndarray | None = None
    colors: np.ndarray = field(default_factory=lambda: np.zeros((1, 3)))

    @classmethod
    def across(cls, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection, scale: Scale,
               only_labels: bool = False) -> Shown:
        """Choose a plane across the slices: where copying the nearest kept slice errs most.

        Args:
            image: All slices, normalised.
            segmentation: On the same grid, or None.
            axis: Of the slices.
            selection: What was kept.
            scale: Of the image.
            only_labels: Whether labels alone were hidden.
        """
        copies = _Copies(array_axis(axis), np.asarray(selection.indices))
        errors = np.abs(scale.shown(copies.of(image.array)) - scale.shown(copies.truth(image.array)))
        if segmentation is not None:
            layers = segmentation.layers
            missed = np.any([copies.of(layer) != copies.truth(layer) for layer in layers], axis=0)
            is_near = np.any([copies.truth(layer) != 0 for layer in layers], axis=0) | missed
            errors = missed.astype(np.float32) if only_labels else errors * np.where(is_near, 1.0, _WITHOUT_LABELS)
        view = View.across(errors, image.grid, axis, selection.indices[0])
        truth, hidden = view.of(image.array), view.of(copies.hidden(image.grid.shape))
        copied = view.of(copies.everywhere(image.array))
        is_gapped = not only_labels and hidden.mean() < _MOSTLY
        kept = np.where(hidden, np.nan, truth) if is_gapped else truth if only_labels else copied
        apart = np.diff(selection.indices).mean() * image.grid.spacing[AXES.index(axis)]
        words = ("labels that were kept" if only_labels else "kept",
                 "hidden slices in blue" if is_gapped else f"a slice every {apart:.3g} mm")
        choice = f"copying the {'labels of the ' * only_labels}nearest slice is most wrong"
        shown = cls(view, scale.looking_at(truth), truth, kept, words, hidden, choice)
        return shown if segmentation is None else shown._labelled(segmentation)

    def _labelled(self, segmentation: Segmentation) -> Shown:
        """Add labels; those of kept slices are shown on these alone."""
        labels = painted([self.view.of(layer) for layer in segmentation.layers], segmentation.segments)
        return replace(self, labels=labels, kept_labels=np.where(self.hidden, 0, labels),
                       colors=segment_colors(segmentation.segments))


@dataclass(frozen=True)
class _Copies:
    """What copying the nearest kept slice makes of an array [k, j, i].

    Attributes:
        dimension: Of the array, along the slices.
        kept: Numbers of the kept slices.
    """

    dimension: int
    kept: np.ndarray

    def of(self, array: np.ndarray) -> np.ndarray:
        """From the first to the last kept slice."""
        return array.take(self._nearest(np.arange(self.kept[0], self.kept[-1] + 1)), self.dimension)

    def truth(self, array: np.ndarray) -> np.ndarray:
        """The same part of the array itself."""
        return np.moveaxis(np.moveaxis(array, self.dimension, 0)[self.kept[0]:self.kept[-1] + 1], 0, self.dimension)

    def everywhere(self, array: np.ndarray) -> np.ndarray:
        """On all slices."""
        return array.take(self._nearest(np.arange(array.shape[self.dimension])), self.dimension)

    def hidden(self, shape: Sequence[int]) -> np.ndarray:
        """Which voxels are on other slices than the kept ones."""
        count = shape[self.dimension]
        is_hidden = ~np.isin(np.arange(count), self.kept)
        return np.broadcast_to(is_hidden.reshape([count if n == self.dimension else 1 for n in range(3)]), shape)

    def _nearest(self, numbers: np.ndarray) -> np.ndarray:
        return self.kept[np.abs(numbers[:, None] - self.kept).argmin(axis=1)]


def painted(layers: Sequence[np.ndarray], segments: Sequence[Segment]) -> np.ndarray:
    """Return label layers of any shape as one array of segment numbers from 1; later ones cover."""
    numbers = np.zeros(layers[0].shape, np.uint16)
    for number, segment in enumerate(segments, start=1):
        numbers[layers[segment.layer] == segment.value] = number
    return numbers


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
