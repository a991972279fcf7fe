"""How well a hidden slice was predicted.  Needs no torch, so that reports can be read without."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CLASSICAL = ("nearest", "linear", "cubic", "pchip")  # what hidden slices are predicted by for comparison


@dataclass(frozen=True)
class HiddenScore:
    """How well one hidden observed slice was predicted across twice the real gap.

    Attributes:
        plane: its number.
        psnr: dB, of its foreground, by the mixture that the other hidden slices ask for.
        classical: dB likewise, by each of the methods `CLASSICAL`.
    """

    plane: int
    psnr: float
    classical: Mapping[str, float]
