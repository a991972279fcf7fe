"""What a user asks for: the choices that command line and Slicer module share, their checks, and what follows of them.

Needs numpy alone.  The sentences are English; the module translates them, see `data.sentences`.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..config.names import DEVICES, LARGEST_SEED
from ..config.presets import DEFAULT_PRESET, PRESETS
from ..config.texture import DEFAULT_TEXTURE, TEXTURES, Texture
from ..data.geometry import AXES, Axis, Grid
from ..data.images import Image, Segmentation
from ..data.label_slices import ALL, DRAWN, labelled_slices, named_slices
from ..data.observations import closest_first
from ..data.output_grid import isotropic_spacing, output_grid
from ..data.region import Region, part_of
from ..data.selection import Selection, parse_numbers
from ..data.sentences import Sentence
from ..errors import InputError
from ..runtime.memory_limits import LEAST_ALLOWED
from .protocol import Job

SEGMENTED = "segmented"  # selects the slices that carry segmentation
AUTO, ISOTROPIC, INPUT = "auto", "isotropic", "input"  # spacings that are no number


@dataclass(frozen=True)
class Plan:
    """What follows from a request for one volume.

    Attributes:
        axis: The slice axis: the one along which the spacing of the result is chosen.
        selections: Which slices are used, by axis.
        spacing: Mm between the slices of the result; None for the voxels of the input.
        output: The voxels of the result; the very grid of the input where they are the same.
        labelled: Which slices carry labels, by axis, see `Observations.from_volume`; None where all that are used do,
            or where nothing tells.
        region: The part of the volume that is reconstructed; None for all of it.
        whole: Without a region: what would follow then; None where there is no region.
    """

    axis: Axis
    selections: dict[Axis, Selection]
    spacing: float | None
    output: Grid
    labelled: dict[Axis, Selection] | None = None
    region: Region | None = None
    whole: Plan | None = None

    def keeps_voxels(self, grid: Grid) -> bool:
        """Whether the voxels of the result are those of the volume with this very grid, or a part of them."""
        return (self.whole or self).output is grid

    def slices(self, axis: Axis) -> range:
        """The slices of the volume along an axis that are reconstructed."""
        return self.region.slices(axis) if self.region is not None else range(self.selections[axis].count)

    def seen(self, grid: Grid) -> tuple[Grid, dict[Axis, Selection]]:
        """The voxels of the volume that take part, and which slices of theirs are used, counted from their first."""
        if self.region is None:
            return grid, self.selections
        (axis, used), = self.selections.items()
        first, last = used.indices[0], used.indices[-1]
        return (self.region.seen(grid, axis)[0].cropped(axis, first, last),
                {axis: Selection(tuple(n - first for n in used.indices), last - first + 1)})


@dataclass(frozen=True)
class Request:
    """The choices of one reconstruction.

    Attributes:
        axis: The slice axis: i, j, k, axial, coronal, sagittal, or `auto` for the axis of the largest spacing.
        slices: Which slices of the slice axis to use, as `Selection.parse` reads it, or `segmented` for those that
            carry segmentation.
        crossing: Instead of `slices`: which slices of which axes to use, as (axis, slices).
        excluded: Damaged slices of the slice axis, such as 7,12,20-23, which are not used in any case.
        spacing: Mm between the slices of the result; `input` for the voxels of the input; `isotropic` for the smaller
            spacing within the slices; `auto` for isotropic where every slice is used and carries labels, if there are
            any, else input.
        preset: A name from `config.presets.PRESETS`.
        device: auto, cpu, cuda, or one GPU such as cuda:1.
        seed: Of the random numbers.
        keep_model: Whether the model is wanted beside the volume.
        cover_voxels: Whether a result with another spacing reaches to the outer faces of the outermost used slices, by
            whole slices, instead of from centre to centre.
        labels_on: Which of the used slices carry labels, along the axis on which they lie closest, as
            `label_slices.named_slices` reads it; on the others labels are filled.
        memory: Bytes of the host that the process which computes may hold at its peak; None for what is free.
        threads: How many it uses; None for as many as it may have.
        texture: Plain, or even: with the noise that filled slices lack beside used ones.
        region: The part of the volume that is to be reconstructed alone, as `Region.parse` reads it; empty for all.
        keep_used: Whether the used slices stand in the result as they are in the input, image and labels; without
            effect where the result has other voxels, of which `remarks` tells.

    Example:
        >>> Request(slices="every:4", excluded="8").plan(Grid((13, 20, 20))).selections["k"].indices
        (0, 4, 12)
    """

    axis: str = AUTO
    slices: str = "all"
    crossing: tuple[tuple[str, str], ...] = ()
    excluded: str = ""
    spacing: str | float = AUTO
    preset: str = DEFAULT_PRESET
    device: str = DEVICES[0]
    seed: int = 0
    keep_model: bool = False
    cover_voxels: bool = False
    labels_on: str = DRAWN
    memory: int | None = None
    threads: int | None = None
    texture: Texture = DEFAULT_TEXTURE
    region: str = ""
    keep_used: bool = False

    @property
    def needs_labels(self) -> bool:
        """Whether it takes a segmentation to know which slices are meant."""
        return not self.crossing and self.slices.strip() == SEGMENTED

    def check(self, grid: Grid, has_segmentation: bool) -> None:
        """Check all that can be checked without looking at a voxel.

        Args:
            grid: Of the volume.
            has_segmentation: Whether there is a segmentation.

        Raises:
            InputError: Something cannot be done; the message says what to choose instead.
        """
        if self.preset not in PRESETS:
            raise InputError(Sentence("Unknown preset '{preset}'. Choose one of {known}.", preset=self.preset,
                                      known=", ".join(PRESETS)))
        if self.texture not in TEXTURES:
            raise InputError(Sentence("Unknown texture '{texture}'. Choose one of {known}.", texture=self.texture,
                                      known=", ".join(TEXTURES)))
        if not (self.device in DEVICES or re.fullmatch(r"cuda:\d+", self.device)):
            raise InputError(Sentence("Unknown device '{device}'. Choose auto, cpu, cuda or one GPU such as cuda:1.",
                                      device=self.device))
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(Sentence("The seed must be a whole number from 0 to {largest}, not {seed}.",
                                      largest=LARGEST_SEED, seed=self.seed))
        if self.memory is not None and self.memory < LEAST_ALLOWED:
            raise InputError(Sentence("{amount} GB of memory is less than the program itself takes, {least} GB. Allow "
                                      "more.", amount=f"{self.memory / 1e9:g}", least=LEAST_ALLOWED / 1e9))
        if self.needs_labels and not has_segmentation:
            raise InputError(Sentence("Only slices that carry segmentation are to be used, but there is no "
                                      "segmentation. Choose one, or use other slices."))
        if not has_segmentation and self.labels_on.strip() not in (DRAWN, ALL):
            raise InputError(Sentence("It is said which slices carry labels, but there is no segmentation. Choose one, "
                                      "or leave that out."))
        if not self.needs_labels:
            plan = self.plan(grid)
            named_slices(self.labels_on, grid.count(closest_first(grid, plan.selections)[0]))
            return
        self._excluded()
        self.part(grid)
        named_slices(self.labels_on, grid.count(self.slice_axis(grid)))
        if not isinstance(self.spacing, str):
            output_grid(grid, self.slice_axis(grid), self.spacing)

    def slice_axis(self, grid: Grid) -> Axis:
        """Return the index axis that `axis` means; raises InputError for an unknown name."""
        name = self.axis.strip()
        if name.lower() == AUTO:
            return grid.thickest_axis()
        try:
            return grid.named_axis(name)
        except InputError:
            raise InputError(Sentence("Unknown slice axis '{axis}'. Choose one of auto (that of the thickest slices), "
                                      "i, j, k, axial, coronal, sagittal.", axis=self.axis)) from None

    def axes(self, grid: Grid) -> tuple[Axis, ...]:
        """Return the axes along which slices are chosen; raises InputError for an unknown name."""
        names = [axis for axis, _ in self.crossing]
        return tuple(grid.named_axis(name.strip()) for name in names) or (self.slice_axis(grid),)

    def plan(self, grid: Grid, presence: Mapping[Axis, np.ndarray] | None = None) -> Plan:
        """Return what follows for a volume.

        Args:
            grid: Of the volume.
            presence: What `segments_on_slices` found along each of `axes`, if there is a segmentation.

        Raises:
            InputError: A choice does not fit the volume, or fewer than two slices are left.
        """
        whole, region = self._whole_plan(grid, presence), self.part(grid)
        if region is None:
            return whole
        selections, labelled = part_of(whole.selections, whole.labelled, region, whole.axis)
        return replace(whole, selections=selections, labelled=labelled, region=region, whole=whole,
                       output=region.of_result(whole.output, grid, whole.axis))

    def part(self, grid: Grid) -> Region | None:
        """Return the part of a volume that is to be reconstructed, None for all; raises InputError if there is none."""
        return Region.within(self.region, grid)

    def _whole_plan(self, grid: Grid, presence: Mapping[Axis, np.ndarray] | None) -> Plan:
        """The same of the whole volume."""
        axis = self.slice_axis(grid)
        selections = self.selections(grid, axis, presence or {})
        if all(len(selection) < 2 for selection in selections.values()):
            raise InputError(Sentence("Only one slice is used, and at least two are needed. Use more slices, or "
                                      "choose another slice axis."))
        primary, labelled = closest_first(grid, selections)[0], None
        if presence and primary in presence:
            labelled = labelled_slices(self.labels_on, selections[primary], presence[primary])
        spacing = self._output_spacing(grid, axis, selections, labelled is None)
        output = output_grid(grid, axis, spacing, selections[axis] if axis == primary else None, self.cover_voxels)
        return Plan(axis, selections, None if output is grid else spacing, output,
                    None if labelled is None else {primary: labelled})

    def needs_fitting(self, plan: Plan, grid: Grid) -> bool:
        """Whether anything is fitted: only where every slice of the result is a used one it takes none, see `plan`."""
        primary = closest_first(grid, plan.selections)[0]
        used = set(plan.selections[primary].indices)
        return self.keep_model or not plan.keeps_voxels(grid) or not used.issuperset(plan.slices(primary))

    def job(self, image: Image, segmentation: Segmentation | None = None,
            presence: Mapping[Axis, np.ndarray] | None = None) -> Job:
        """Return what a worker is to do; arguments and errors as those of `plan`."""
        plan = self.plan(image.grid, presence)
        plan = plan.whole or plan
        return Job(image, plan.selections, segmentation, plan.spacing, self.preset, self.device, self.seed,
                   self.keep_model, self.cover_voxels, plan.labelled, memory=self.memory, threads=self.threads,
                   texture=self.texture, region=self.region, keep_used=self.keep_used)

    def selections(self, grid: Grid, axis: Axis, presence: Mapping[Axis, np.ndarray]) -> dict[Axis, Selection]:
        """Return which slices are used, by axis; arguments and errors as those of `plan`, axis: the slice axis."""
        selections: dict[Axis, Selection] = {}
        for name, slices in self.crossing:
            crossed = grid.named_axis(name.strip())
            if crossed in selections:
                raise InputError(Sentence("Slices are chosen along axis {axis} twice. Join them in one list.",
                                          axis=crossed))
            selections[crossed] = Selection.parse(grid.count(crossed), slices)
        if not self.crossing:
            selections[axis] = self._selection(grid.count(axis), presence.get(axis))
        excluded = self._excluded()
        if excluded and axis not in selections:
            raise InputError(Sentence("Excluded slices are slices of the slice axis, {axis}, along which none are "
                                      "chosen. Choose another slice axis.", axis=axis))
        return {name: selection.excluding(excluded) if name == axis else selection
                for name, selection in selections.items()}

    def _selection(self, count: int, present: np.ndarray | None) -> Selection:
        """The slices that `slices` means, out of `count`; present: bool (slice, segment), which carry which segment."""
        if not self.needs_labels:
            return Selection.parse(count, self.slices)
        carrying = [] if present is None else np.flatnonzero(present.any(axis=1)).tolist()
        if not carrying:
            raise InputError(Sentence("The segmentation is empty in this volume, so no slice carries it. Segment at "
                                      "least two slices, or use other slices."))
        return Selection(tuple(carrying), count)

    def _excluded(self) -> list[int]:
        try:
            return parse_numbers(self.excluded) if self.excluded.strip() else []
        except ValueError:
            raise InputError(Sentence("Cannot read the excluded slices '{slices}'. Write them as 7,12,20-23.",
                                      slices=self.excluded)) from None

    def _output_spacing(self, grid: Grid, axis: Axis, selections: Mapping[Axis, Selection], all_labelled: bool
                        ) -> float | None:
        """Mm between the slices of the result, None for the voxels of the input."""
        spacing = self.spacing
        if spacing == AUTO:
            whole = not self.crossing and selections[axis].is_everything and all_labelled
            spacing = ISOTROPIC if whole else INPUT
        if spacing == ISOTROPIC:
            spacing = isotropic_spacing(grid, axis)
        if isinstance(spacing, str) and spacing != INPUT:
            raise InputError(Sentence("Unknown slice spacing '{spacing}'. Choose a number of mm, isotropic, input or "
                                      "auto.", spacing=spacing))
        return None if spacing in (INPUT, grid.spacing[AXES.index(axis)]) else float(spacing)
