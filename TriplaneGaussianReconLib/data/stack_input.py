"""One of several volumes of one body, and what is used of it."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .geometry import AXES, Axis
from .images import Image, Segmentation
from .label_slices import DRAWN, LabelsOn
from .rigid import rigid
from .selection import Selection
from .slice_profile import SliceProfile
from .stack_motion import StackMotion

PROFILES: tuple[SliceProfile, ...] = ("box", "gaussian")


@dataclass(frozen=True, eq=False)  # arrays cannot be compared to one yes or no
class StackInput:
    """A volume with slices along one of its axes, thick along it, as one of several of one body.

    Attributes:
        image: the volume, with its own place and padding.
        axis: the slice axis; None for the axis of largest spacing, k on a tie.
        selection: which slices are used; None for all.
        thickness: mm along the slice axis that each slice averages over, more or less than the slice distance where
            slices overlap or have gaps; None for the spacing along the axis.
        profile: how a slice averages over that: the width of a box, or the full width at half maximum of a Gaussian.
        segmentation: labels on the grid of `image`, see `aligned_to`; None without.
        to_first: how this volume lies against the first, and how its grey values compare, where that is known: a
            `StackMotion`, or (4, 4) rigid, LPS mm, for the place alone; None for as the headers say.
        labels_on: which of the used slices carry labels, see `label_slices.named_slices`.
        mask: lies where `image` lies, on any voxels; pixels outside of all of its labels weigh nothing, as NaN does.
            None without.

    Raises:
        InputError: the axis, selection, thickness, profile or motion cannot be, or the motion's gain is not positive.

    Example:
        >>> import numpy as np
        >>> from TriplaneGaussianReconLib import Grid, Image, StackInput
        >>> array = np.arange(8 * 24 * 20, dtype=np.int16).reshape(8, 24, 20)
        >>> stack = StackInput(Image(array, Grid(array.shape, spacing=(1, 1, 4))), profile="box")
        >>> stack.slice_axis, stack.used, stack.width
        ('k', Selection(8 of 8 slices: 0-7), 4.0)
    """

    image: Image
    axis: Axis | None = None
    selection: Selection | None = None
    thickness: float | None = None
    profile: SliceProfile = "gaussian"
    segmentation: Segmentation | None = None
    to_first: StackMotion | np.ndarray | None = None
    labels_on: LabelsOn = DRAWN
    mask: Segmentation | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise InputError(f"Unknown slice profile '{self.profile}'. Choose one of {', '.join(PROFILES)}.")
        if self.thickness is not None and not (np.isfinite(self.thickness) and self.thickness > 0):
            raise InputError(f"The slice thickness must be a positive number of millimetres, not {self.thickness:g}.")
        if self.image.grid.depths and self.slice_axis != "k":
            raise InputError("The slices along k lie unevenly. Choose that slice axis.")
        if self.used.count != self.image.grid.count(self.slice_axis):
            raise InputError(f"The selection is for {self.used.count} slices, axis {self.slice_axis} has "
                             f"{self.image.grid.count(self.slice_axis)}.")
        known = self.known
        if not (np.isfinite([known.gain, known.bias]).all() and known.gain > 0):
            raise InputError(f"Its gain ({known.gain:g}) must be a positive number, and its bias ({known.bias:g}) a "
                             "number. Correct them.")
        if self.to_first is not None:
            object.__setattr__(self, "to_first", replace(known, matrix=rigid(known.matrix)))

    @property
    def known(self) -> StackMotion:
        """What is known of place and grey values; changes nothing where nothing is."""
        if isinstance(self.to_first, StackMotion):
            return self.to_first
        return StackMotion() if self.to_first is None else StackMotion(self.to_first)

    @property
    def slice_axis(self) -> Axis:
        """The index axis that the slices lie along."""
        grid = self.image.grid
        return grid.thickest_axis() if self.axis is None else grid.named_axis(self.axis)

    @property
    def used(self) -> Selection:
        """The slices that are used."""
        return self.selection or Selection.every(self.image.grid.count(self.slice_axis), 1)

    @property
    def width(self) -> float:
        """Mm that each slice averages over."""
        return float(self.thickness or self.image.grid.spacing[AXES.index(self.slice_axis)])
