"""Voxels that are written plane by plane, whether they lie in one array or are made as they are asked for."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np


class Planes(Protocol):
    """What a NumPy array [k, ...] is, and what is made plane by plane: an iterator over k, told its shape and type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all planes together."""

    @property
    def dtype(self) -> np.dtype:
        """Of the voxels."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each plane."""


def planes_as(voxels: Planes, dtype: np.dtype) -> Iterator[memoryview]:
    """Yield each plane's bytes as a file has them, in another type; what lies in memory like that is not copied."""
    for plane in voxels:
        yield np.ascontiguousarray(plane, dtype).data
