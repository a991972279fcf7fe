"""Segments drawn plane by plane, packed into as few layers of label values as their overlaps allow."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..data.voxel_types import smallest_label_type

Masks = Mapping[int, np.ndarray]  # by plane: bool (row, column)


def packed(segments: Sequence[tuple[int, Masks]], shape: tuple[int, int, int]) -> tuple[np.ndarray, list[int]]:
    """Return [layer, plane, row, column] labels and the layer of each segment.

    segments: the label value and the masks of each.  shape: (planes, rows, columns).  A segment goes into the first
    layer in which it touches none of those before it.
    """
    dtype = smallest_label_type(0, max(value for value, _ in segments))
    layers: list[np.ndarray] = [np.zeros(shape, dtype)]
    places = []
    for value, masks in segments:
        place = next((number for number, layer in enumerate(layers)
                      if not any(layer[plane][mask].any() for plane, mask in masks.items())), len(layers))
        if place == len(layers):
            layers.append(np.zeros(shape, dtype))
        for plane, mask in masks.items():
            layers[place][plane][mask] = value
        places.append(place)
    return np.stack(layers), places
