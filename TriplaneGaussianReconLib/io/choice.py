"""What to read of a path that holds several things, and what it does not tell itself."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What is wanted of a path.

    Attributes:
        series: Which DICOM series of a folder: its UID, number or description; empty for the largest.
        volume_number: Which volume, counted from 1, where there are several (time points, echoes, ...); None where the
            caller expects one alone.
        spacing: mm along i, j, k, for a folder of plain pictures, which do not tell it; None for all else.
    """

    series: str = ""
    volume_number: int | None = None
    spacing: tuple[float, float, float] | None = None
