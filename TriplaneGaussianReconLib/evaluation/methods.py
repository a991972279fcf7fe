"""What a method of filling slices is, and the baselines as methods."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ..data.geometry import Axis, array_axis
from ..data.images import Image, Segmentation
from ..data.selection import Selection
from . import baselines, guided_baselines


@dataclass(frozen=True)
class MethodResult:
    """What a method returns: all slices, on the grid that it was given.

    Attributes:
        volume: [k, j, i] float, in the units of the image it was given; None if the method fills labels only.
        layers: [layer, k, j, i] integer, same layers and values as the segmentation it was given; None without labels.
        expected_error: [k, j, i] float, the absolute error that it expects of `volume`, in the same units; None if it
            expects none.
        band: 68 % of the errors are expected to be at most this many times the expected one.
    """

    volume: np.ndarray | None = None
    layers: np.ndarray | None = None
    expected_error: np.ndarray | None = None
    band: float | None = None


class Method(Protocol):
    """A way of filling slices.

    It is called in another process, so it must be picklable: a function of a module, or an instance of a class of one.
    On the slices that `selection` does not name, `segmentation` is background and `image` NaN; where labels alone are
    hidden, `image` is as it was.  If it has a method `prepare()`, that is called first and not timed: imports and
    compilation.
    """

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis,
                 selection: Selection) -> MethodResult: ...


@dataclass(frozen=True)
class BaselineImageMethod:
    """An interpolator of intensities, by its name in `baselines.IMAGE_METHODS`."""

    name: str

    def prepare(self) -> None:
        """Load the libraries, by filling a tiny stack."""
        baselines.IMAGE_METHODS[self.name](np.arange(2), np.zeros((2, 16, 16), np.float32), np.arange(3) / 2)

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill the image; labels are left alone."""
        return MethodResult(_fill(baselines.IMAGE_METHODS[self.name], image.array, array_axis(axis), selection))


@dataclass(frozen=True)
class BaselineLabelMethod:
    """An interpolator of labels, by its name in `baselines.LABEL_METHODS`."""

    name: str

    def prepare(self) -> None:
        """Load the libraries, by filling a tiny stack."""
        self._interpolator()(np.arange(0, 3, 2), np.ones((2, 16, 16), np.uint8), np.arange(3))

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill each layer of the segmentation; the image is left alone."""
        assert segmentation is not None, "label methods are only run on segmentations"
        return MethodResult(layers=np.stack([_fill(self._interpolator(), layer, array_axis(axis), selection)
                                             for layer in segmentation.layers]))

    def _interpolator(self) -> baselines.Interpolator:
        # The evaluation runs every method in a process of its own already.
        here = {**baselines.LABEL_METHODS, "contour": baselines.contour_in_this_process}
        return here[self.name]


@dataclass(frozen=True)
class GuidedLabelMethod:
    """What fills labels with the image at hand, by its name in `guided_baselines.GUIDED_METHODS`."""

    name: str

    def prepare(self) -> None:
        """Load the libraries, by filling a tiny stack."""
        tiny = np.random.default_rng(0).random((3, 24, 24), np.float32)
        self._fill(tiny, np.arange(0, 3, 2), (tiny[::2] > 0.5).astype(np.uint8))

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill each layer of the segmentation."""
        assert segmentation is not None, "label methods are only run on segmentations"
        dimension = array_axis(axis)
        # The protocol of these baselines has the file's first index down each slice, which the optical flow can tell.
        pictures, *layers = (np.moveaxis(array, dimension, 0).transpose(0, 2, 1)
                             for array in (image.array, *segmentation.layers))
        labelled = np.asarray(selection.indices)
        filled = (self._fill(np.ascontiguousarray(pictures), labelled, layer[labelled]) for layer in layers)
        return MethodResult(layers=np.stack([np.moveaxis(layer.transpose(0, 2, 1), 0, dimension) for layer in filled]))

    def _fill(self, image: np.ndarray, labelled: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return guided_baselines.GUIDED_METHODS[self.name](image, labelled, labels)


Hidden = Literal["slices", "labels"]  # whole slices, or their labels alone, where the image is known on all of them

BASELINES: dict[str, Method] = {
    **{name: BaselineImageMethod(name) for name in baselines.IMAGE_METHODS},
    **{f"label-{name}": BaselineLabelMethod(name) for name in baselines.LABEL_METHODS},
}


LABEL_BASELINES: dict[str, Method] = {  # where the image is known on all slices
    **{name: BaselineLabelMethod(name) for name in ("nearest", "shape")},
    **{name: GuidedLabelMethod(name) for name in guided_baselines.GUIDED_METHODS},
    "contour": BaselineLabelMethod("contour"),
}


def baselines_for(hidden: Hidden) -> dict[str, Method]:
    """The baselines that can fill what is hidden, by name."""
    return LABEL_BASELINES if hidden == "labels" else BASELINES


def baseline_names(labels: bool) -> list[str]:
    """Names of all baselines that apply to a case with or without labels."""
    return [name for name, method in BASELINES.items() if labels or isinstance(method, BaselineImageMethod)]


def _fill(interpolate: baselines.Interpolator, array: np.ndarray, dimension: int, selection: Selection) -> np.ndarray:
    """Interpolate the selected slices of `array` [k, j, i] onto all of its slices along array axis `dimension`."""
    observed = np.moveaxis(np.take(array, selection.indices, dimension), dimension, 0)
    filled = interpolate(np.asarray(selection.indices), np.ascontiguousarray(observed), np.arange(selection.count))
    return np.moveaxis(filled, 0, dimension)
