"""Cutting the gaps between the observed slices into slabs that fit into memory.

A slab has a core, whose Gaussians and planes are kept, and a halo of gaps on either side.  It is worked on as if it
were the whole.  Thanks to the halo, the core comes out as it would without the cut.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Gaps on either side of a core.  The support of a Gaussian is less than one gap.  Each step of the refinement carries
# information as far again, ever weaker.
HALO = 1


@dataclass(frozen=True)
class Slab:
    """Consecutive gaps of the primary stack; gap g lies between the observed slices g and g + 1.

    Attributes:
        first: First gap of the core.
        stop: The gap after the last of the core.
        count: Number of gaps of the whole stack.
    """

    first: int
    stop: int
    count: int

    @property
    def near(self) -> tuple[int, int]:
        """The gaps of core and halo, half-open."""
        return max(self.first - HALO, 0), min(self.stop + HALO, self.count)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is cut off."""
        return (self.first, self.stop) == (0, self.count)

    def span(self, offsets: np.ndarray) -> tuple[float, float]:
        """Return the depths (mm) of the core, half-open; infinite where the stack ends.

        A slice belongs to the gap after it.  Borders lie a little before the slices, so that rounding moves nothing
        across.

        Args:
            offsets: (plane,) mm, depths of the observed slices.
        """
        widths = np.diff(offsets)
        low, high = (float(offsets[n] - 0.1 * widths[n - 1]) if 0 < n < self.count else np.inf
                     for n in (self.first, self.stop))
        return -low if self.first == 0 else low, high

    def borders(self, offsets: np.ndarray) -> list[float]:
        """Return the depths (mm) between one gap of the core and the next."""
        return [Slab(gap, gap + 1, self.count).span(offsets)[0] for gap in range(self.first + 1, self.stop)]

    def halves(self) -> list[Slab]:
        """Return the slab in two halves; itself if its core is a single gap."""
        middle = (self.first + self.stop) // 2
        if middle == self.first:
            return [self]
        return [Slab(self.first, middle, self.count), Slab(middle, self.stop, self.count)]


def plan(gap_bytes: np.ndarray, budget: float) -> list[Slab]:
    """Cut the gaps into as few slabs as memory allows, about equally costly.

    Args:
        gap_bytes: (gap,) bytes that working on each gap takes.
        budget: Bytes that a slab may take, its halo included.  Where even single gaps do not fit, each is a slab.

    Example:
        >>> [(slab.first, slab.stop) for slab in plan(np.full(12, 100.0), budget=900.0)]
        [(0, 6), (6, 12)]
    """
    count, total = len(gap_bytes), np.concatenate([[0.0], np.cumsum(gap_bytes)])
    for number in range(1, count + 1):
        edges = np.searchsorted(total, np.linspace(0.0, total[-1], number + 1))
        edges = np.maximum.accumulate(np.concatenate([[0], edges[1:-1], [count]]))
        slabs = [Slab(int(a), int(b), count) for a, b in zip(edges[:-1], edges[1:], strict=True) if a < b]
        if all(total[slab.near[1]] - total[slab.near[0]] <= budget for slab in slabs):
            return slabs
    return [Slab(gap, gap + 1, count) for gap in range(count)]
