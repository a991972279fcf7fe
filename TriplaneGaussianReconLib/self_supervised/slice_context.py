"""The slices around a gap: from them everything is predicted that lies in it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SliceContext:
    """The slices around each of several gaps, S / 2 on either side, and the planes wanted in it.

    Where the stack ends, its last slice is repeated.

    Attributes:
        planes: (gap, S) numbers of the slices.
        positions: (gap, S) mm, where these lie.
        fractions: (gap, T) of the gap's width, where planes are wanted.
        motions: (gap, S - 1) numbers of the displacements between each two of the slices; that of the gap itself where
            both are the same slice.
    """

    planes: np.ndarray
    positions: np.ndarray
    fractions: np.ndarray
    motions: np.ndarray

    @classmethod
    def around(cls, gaps: np.ndarray, positions: np.ndarray, fractions: np.ndarray, size: int, step: int = 1
               ) -> SliceContext:
        """The context of gaps between slices `gap` and `gap + step`.

        Args:
            gaps: (gap,) number of the slice before each; a displacement has the same number.
            positions: (plane,) mm, of all slices, ascending.
            fractions: (gap, T) where planes are wanted, or (T,) for all gaps alike.
            size: number S of slices, even.
            step: slices at multiples of it are taken.

        Example:
            >>> SliceContext.around(np.array([0, 2]), np.arange(5.0), np.array([0.5]), 4).planes
            array([[0, 0, 1, 2],
                   [1, 2, 3, 4]])
        """
        half = size // 2
        planes = gaps[:, None] + step * np.arange(1 - half, half + 1)
        for inner in range(1, half):  # from the gap outwards
            before, after = half - 1 - inner, half + inner
            planes[:, before] = np.where(planes[:, before] < 0, planes[:, before + 1], planes[:, before])
            planes[:, after] = np.where(planes[:, after] >= len(positions), planes[:, after - 1], planes[:, after])
        motions = np.where(planes[:, :-1] < planes[:, 1:], planes[:, :-1], gaps[:, None])
        fractions = np.broadcast_to(fractions, (len(gaps), np.shape(fractions)[-1])).astype(np.float64)
        return cls(planes, positions[planes], fractions, motions)

    @property
    def size(self) -> int:
        """Number of slices around each gap."""
        return self.planes.shape[1]

    @property
    def knots(self) -> np.ndarray:
        """(gap, S) mm, where the slices lie, from the middle of the gap."""
        half = self.size // 2
        return self.positions - 0.5 * (self.positions[:, half - 1] + self.positions[:, half])[:, None]

    @property
    def widths(self) -> np.ndarray:
        """(gap,) mm."""
        half, knots = self.size // 2, self.knots
        width: np.ndarray = knots[:, half] - knots[:, half - 1]
        return width

    @property
    def has_outer(self) -> np.ndarray:
        """(gap, 2) bool: of four slices, whether there is an outer one before the gap, and after it."""
        return self.planes[:, ::2] < self.planes[:, 1::2]

    @property
    def firsts(self) -> list[int]:
        """Numbers of the displacements that are needed, ascending."""
        numbers: list[int] = np.unique(self.motions).tolist()
        return numbers

    def only(self, which: np.ndarray) -> SliceContext:
        """Some of the gaps."""
        return SliceContext(self.planes[which], self.positions[which], self.fractions[which], self.motions[which])

    def compact(self) -> tuple[SliceContext, np.ndarray, np.ndarray]:
        """The same with slices and displacements renumbered, and the former numbers of those that are used."""
        used, planes = _renumbered(self.planes)
        displacements, motions = _renumbered(self.motions)
        return SliceContext(planes, self.positions, self.fractions, motions), used, displacements

    def conditions(self) -> np.ndarray:
        """(gap, S + T) what steers a network: where slices and wanted planes lie, in gap widths from the middle."""
        return np.concatenate([self.knots / self.widths[:, None], self.fractions - 0.5], axis=1)


def reversed_conditions(conditions: Tensor, size: int) -> Tensor:
    """`conditions` (gap, S + T) of the same `size` slices and wanted planes in the other order."""
    return torch.cat([-conditions[:, :size].flip(1), -conditions[:, size:].flip(1)], dim=1)


def _renumbered(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different ones of `numbers`, ascending, and the place of each of `numbers` among them."""
    different, places = np.unique(numbers, return_inverse=True)
    return different, places.reshape(numbers.shape)
