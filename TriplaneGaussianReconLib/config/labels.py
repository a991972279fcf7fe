"""What decides about labels on slices, and between them."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelConfig:
    """Signed distances and occupancies of labels; see the package `labels`.  All lengths are in pixels.

    Attributes:
        band: distance from the border at which the occupancy reaches 0 or 1.
        absent: signed distance that a slice without the label counts as, so that a label ends part of the way towards
            it.
        recession: on a slice without any label the background counts as this times the cubed gap inside.  In narrow
            gaps labels end rounded; in wide ones they are gone half-way, as most are that end between thick slices.
        search: around both outlines, how far a label can appear between them; no label moves farther across a gap.
        grain: boxes start and end at multiples of this, so that many are of one size and the background's holds them
            all.
        largest: signed distances beyond this are alike when the network's are mixed with those of the outlines.
        trained_share: weight of the network's signed distances, against those that follow from the outlines alone.
        most_slots: labels that one Gaussian can carry; where more meet, those farthest from it are left out.
    """

    band: float = 3.0
    absent: float = -4.0
    recession: float = 0.75
    search: int = 12
    grain: int = 8
    largest: float = 6.0
    trained_share: float = 0.75
    most_slots: int = 5
