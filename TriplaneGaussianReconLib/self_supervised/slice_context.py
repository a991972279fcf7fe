"""Gaps, and the slices around them from which what lies in them is predicted."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SliceContext:
    """Gaps, and the slices around them.

    planes: (gap, S) numbers of the slices, S / 2 on either side; where there are none left the last one stands again.
    knots: (gap, S) mm, where these lie, from the middle of the gap.
    fractions: (gap, T) of the gap's width, where planes are wanted.
    """

    planes: np.ndarray
    knots: np.ndarray
    fractions: np.ndarray

    @classmethod
    def around(cls, gaps: np.ndarray, positions: np.ndarray, fractions: np.ndarray, size: int, step: int = 1
               ) -> SliceContext:
        """Those of gaps between slices gap and gap + step, from `size` slices at multiples of `step`.

        positions: (plane,) mm, ascending.  fractions: (gap, T), or (T,) for all.
        """
        half = size // 2
        planes = gaps[:, None] + step * np.arange(1 - half, half + 1)
        for inner in range(1, half):  # from the gap outwards
            before, after = half - 1 - inner, half + inner
            planes[:, before] = np.where(planes[:, before] < 0, planes[:, before + 1], planes[:, before])
            planes[:, after] = np.where(planes[:, after] >= len(positions), planes[:, after - 1], planes[:, after])
        where = positions[planes]
        knots = where - 0.5 * (where[:, half - 1] + where[:, half])[:, None]
        return cls(planes, knots, np.broadcast_to(fractions, (len(gaps), np.shape(fractions)[-1])).astype(np.float64))

    @property
    def widths(self) -> np.ndarray:
        """(gap,) mm."""
        half = self.knots.shape[1] // 2
        width: np.ndarray = self.knots[:, half] - self.knots[:, half - 1]
        return width

    def only(self, which: np.ndarray) -> SliceContext:
        """Some of the gaps."""
        return SliceContext(self.planes[which], self.knots[which], self.fractions[which])

    def conditions(self) -> np.ndarray:
        """(gap, S + T) what steers the network: where slices and wanted planes lie."""
        return np.concatenate([self.knots / self.widths[:, None], self.fractions - 0.5], axis=1)


def turned(conditions: Tensor, size: int) -> Tensor:
    """What steers the network where it sees the `size` slices, and the wanted planes, in the other order."""
    return torch.cat([-conditions[:, :size].flip(1), -conditions[:, size:].flip(1)], dim=1)
