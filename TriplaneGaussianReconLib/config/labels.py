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
        search: around both outlines, how far a label can appear between them; no label moves farther across a gap.
        grain: boxes start and end at multiples of this, so that many are of one size and the background's holds them
            all.
        largest: signed distances beyond this are alike when the network's are mixed with those of the outlines.
        trained_share: weight of the network's signed distances, against those that follow from the outlines alone.
        thin: parts of labels that are nowhere farther from their border than this are thin: between slices they are met
            half-way once too little of them is left, see `labels.bounds`.
        kept: share of the area that has to be left for interpolated signed distances to stand.
        near, alike: parts of a label that share no pixel on two slices are one and the same if the smaller has at least
            the share `alike` of the larger's area, and all of either lies as near as `near` to the other, or they share
            as much of their union after a shift.
        balance: how much a pixel's distances to both slices' shapes must fit to its place in the gap.
        taper: the area of a part that ends falls with this power of the way to the slice without it.
        contiguous: slices at least so thick, as a share of the gap's width, lie side by side.  What ends on one then
            keeps its volume, whatever the network finds, which follows the image.
        area_kept: how far the area of a label between two slices is brought to what lies between its areas on them.
            All of it is better on most volumes, but worse on the thin ring of a heart's wall.
        most_slots: labels that one Gaussian can carry; where more meet, those farthest from it are left out.
    """

    band: float = 3.0
    absent: float = -4.0
    search: int = 12
    grain: int = 8
    largest: float = 6.0
    trained_share: float = 0.75
    thin: float = 1.0
    kept: float = 0.8
    near: float = 4.0
    alike: float = 0.5
    balance: float = 2.0
    taper: float = 2.0
    contiguous: float = 0.75
    area_kept: float = 0.5
    most_slots: int = 5
