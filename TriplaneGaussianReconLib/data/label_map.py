"""One label map of all segments, made plane by plane, so that it need not lie in memory beside its layers."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .voxel_types import smallest_label_type

if TYPE_CHECKING:
    from .images import Segmentation


class LabelMap:
    """An iterator over the planes [j, i] of a label map, in the smallest integer type.

    Where segments overlap the later one wins; those of equal value are numbered anew.

    Attributes:
        shape: [k, j, i] of all planes.
        dtype: of the voxels.
        has_overlap: whether segments overlapped in the planes that were made.
    """

    def __init__(self, segmentation: Segmentation, stacklevel: int) -> None:
        """Warn where segments are numbered anew.  stacklevel: whose line warnings name, as in `warnings.warn`."""
        self._layers, self._segments = segmentation.layers, segmentation.segments
        self._values = [segment.value for segment in self._segments]
        if len(set(self._values)) < len(self._values):
            self._values = list(range(1, len(self._values) + 1))
            listing = ", ".join(f"{value} = {segment.name}"
                                for value, segment in zip(self._values, self._segments, strict=True))
            warnings.warn("Segments of different layers share a label value. The label map numbers them anew: "
                          f"{listing}. Use .seg.nrrd to keep them as they are.", stacklevel=stacklevel)
        self.shape = segmentation.grid.shape
        self.dtype = np.dtype(smallest_label_type(min(self._values, default=0), max(self._values, default=0)))
        self.has_overlap = False

    def __iter__(self) -> Iterator[np.ndarray]:
        for layers in np.moveaxis(self._layers, 1, 0):
            labels = np.zeros(self.shape[1:], self.dtype)
            for segment, value in zip(self._segments, self._values, strict=True):
                mask = layers[segment.layer] == segment.value
                self.has_overlap = self.has_overlap or bool(labels[mask].any())
                labels[mask] = value
            yield labels

    def tell_overlap(self, stacklevel: int) -> None:
        """Warn if segments overlapped.  stacklevel: as above."""
        if self.has_overlap:
            warnings.warn("Segments overlap, which a label map cannot hold: the later segment wins. Use .seg.nrrd to "
                          "keep them whole.", stacklevel=stacklevel)
