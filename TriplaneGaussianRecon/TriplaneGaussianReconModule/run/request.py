"""What a user asks for, checked as far as it can be before anything starts.  Knows neither nodes nor torch."""
from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.config.presets import DEFAULT_PRESET, PRESETS
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segmentation
from TriplaneGaussianReconLib.data.output_grid import isotropic_spacing, output_grid
from TriplaneGaussianReconLib.data.selection import Selection, parse_numbers
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.protocol import Job

SEGMENTED = "segmented"  # trusts the slices that carry segmentation


@dataclass(frozen=True)
class Request:
    """The choices of one reconstruction, named as the arguments of the logic's `reconstruct`.

    axis: auto, i, j, k, axial, coronal or sagittal.  trusted: as `Selection.parse` reads it, or `segmented`.
    excluded: slice numbers such as 7,12,20-23.  spacing: mm between slices of the result; 0 keeps the voxels of the
    input unless every slice is trusted, and else makes them as thick as the pixels within the slices are wide.
    """

    axis: str = "auto"
    trusted: str = "all"
    excluded: str = ""
    spacing: float = 0.0
    preset: str = DEFAULT_PRESET
    device: str = "auto"
    seed: int = 0
    keepModel: bool = False

    def check(self, grid: Grid, hasSegmentation: bool) -> None:
        """Raise InputError for whatever is known to be wrong without looking at a voxel."""
        if self.preset not in PRESETS:
            raise InputError(_("Unknown preset '{preset}'. Choose one of {known}.").format(
                preset=self.preset, known=", ".join(PRESETS)))
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise InputError(_("Unknown device '{device}'. Choose auto, cpu, cuda or one GPU such as cuda:1.").format(
                device=self.device))
        if not 0 <= self.seed < 2 ** 32:
            raise InputError(_("The seed must be a whole number from 0 to {largest}, not {seed}.").format(
                largest=2 ** 32 - 1, seed=self.seed))
        axis = self.sliceAxis(grid)
        if self.spacing:
            output_grid(grid, axis, self.spacing)
        excluded = self._excluded()
        if self.trusted.strip() != SEGMENTED:
            _enough(Selection.parse(grid.count(axis), self.trusted).excluding(excluded))
        elif not hasSegmentation:
            raise InputError(_("Only slices that carry segmentation are to be trusted, but there is no segmentation. "
                               "Choose one, or trust other slices."))

    def sliceAxis(self, grid: Grid) -> Axis:
        """The index axis along which slices are trusted."""
        name = self.axis.strip()
        if name.lower() == "auto":
            return grid.thickest_axis()
        try:
            return grid.named_axis(name)
        except InputError:
            raise InputError(_("Unknown slice axis '{axis}'. Choose one of auto (that of the thickest slices), i, j, "
                               "k, axial, coronal, sagittal.").format(axis=self.axis)) from None

    def selection(self, grid: Grid, labels: np.ndarray | None = None) -> Selection:
        """The trusted slices; raises InputError if fewer than two are left.

        labels: what `labelsOnSlices` found along the slice axis, if there is a segmentation.
        """
        axis = self.sliceAxis(grid)
        if self.trusted.strip() != SEGMENTED:
            return _enough(Selection.parse(grid.count(axis), self.trusted).excluding(self._excluded()))
        carrying = [] if labels is None else np.flatnonzero(labels.any(axis=1)).tolist()
        if not carrying:
            raise InputError(_("The segmentation is empty in this volume, so no slice carries it. Segment at least two "
                               "slices, or trust other slices."))
        return _enough(Selection(tuple(carrying), grid.count(axis)).excluding(self._excluded()))

    def outputSpacing(self, grid: Grid, selection: Selection) -> float | None:
        """Mm between the slices of the result, None for the voxels of the input."""
        axis = self.sliceAxis(grid)
        present, wanted = grid.spacing[AXES.index(axis)], self.spacing
        if not wanted:
            wanted = isotropic_spacing(grid, axis) if selection.is_everything else present
        return None if wanted == present else wanted

    def job(self, image: Image, segmentation: Segmentation | None, labels: np.ndarray | None) -> Job:
        """What the worker is to do; raises InputError if that is impossible.  labels: as for `selection`."""
        selection = self.selection(image.grid, labels)
        return Job(image, {self.sliceAxis(image.grid): selection}, segmentation,
                   self.outputSpacing(image.grid, selection), self.preset, self.device, self.seed, self.keepModel)

    def _excluded(self) -> list[int]:
        try:
            return parse_numbers(self.excluded) if self.excluded.strip() else []
        except ValueError:
            raise InputError(_("Cannot read the excluded slices '{slices}'. Write them as 7,12,20-23.").format(
                slices=self.excluded)) from None


def labelsOnSlices(segmentation: Segmentation, axis: Axis) -> Generator[None, None, np.ndarray]:
    """Find out, slice by slice, which segments each slice along `axis` carries: bool (slice, segment)."""
    present = np.zeros((segmentation.grid.count(axis), 1 + max(s.value for s in segmentation.segments)), bool)
    for layer in segmentation.layers:
        for number, labels in enumerate(np.moveaxis(layer, array_axis(axis), 0)):
            if labels.any():
                present[number][labels] = True
            yield
    return present[:, [segment.value for segment in segmentation.segments]]


def remarks(request: Request, job: Job, labels: np.ndarray | None) -> list[str]:
    """What is done, but may not be what the user had in mind.  labels: what `labelsOnSlices` found, if anything."""
    selection, found = job.trusted[job.axis], []
    if selection.is_everything and job.output_grid is job.volume.grid:
        found.append(_("All slices are trusted and the result has the voxels of the input, so nothing is gained. Trust "
                       "fewer slices, or choose a finer slice spacing."))
    found += _remarksOnSpacing(request, job)
    beyond = selection.count - 1 - selection.indices[-1] + selection.indices[0]
    if beyond >= max(np.diff(selection.indices)):
        found.append(_("{number} slices lie beyond the outermost trusted ones (slices {first} and {last}); there these "
                       "are repeated.").format(number=beyond, first=selection.indices[0], last=selection.indices[-1]))
    if job.segmentation is not None and labels is not None:
        found += _remarksOnLabels(job.segmentation, labels[list(selection.indices)])
    return found


def _remarksOnSpacing(request: Request, job: Job) -> list[str]:
    grid, found = job.volume.grid, []
    present, finer = grid.spacing[AXES.index(job.axis)], isotropic_spacing(grid, job.axis)
    if job.spacing is not None and job.spacing > present:
        found.append(_("The result is coarser than the input: its slices lie {spacing} mm apart, those of the input "
                       "{present} mm.").format(spacing=f"{job.spacing:g}", present=f"{present:.4g}"))
    if job.spacing is None and not request.spacing and request.trusted.strip() == "all" and finer < present and (
            not job.trusted[job.axis].is_everything):
        found.append(_("Slices are excluded, so the result has the voxels of the input. For slices as close as the "
                       "pixels are wide, set the slice spacing to {finer} mm.").format(finer=f"{finer:.4g}"))
    return found


def _remarksOnLabels(segmentation: Segmentation, trusted: np.ndarray) -> list[str]:
    """trusted: bool (trusted slice, segment), which slices carry which segments."""
    labelled, found = np.flatnonzero(trusted.any(axis=1)), []
    empty = labelled[-1] - labelled[0] + 1 - len(labelled) if len(labelled) else 0
    if empty:
        found.append(_("{number} trusted slices between labelled ones carry no label, which is taken to mean that "
                       "nothing is there. If they were not segmented yet, trust only the slices that carry "
                       "segmentation.").format(number=empty))
    seen = np.flatnonzero(trusted.any(axis=0))
    unseen = [segment.name for number, segment in enumerate(segmentation.segments) if number not in seen]
    if unseen:
        found.append(_("On no trusted slice, and so left out of the result: {segments}.").format(
            segments=", ".join(unseen)))
    return found


def _enough(selection: Selection) -> Selection:
    if len(selection) < 2:
        raise InputError(_("Only one slice is trusted, and at least two are needed. Trust more slices, or choose "
                           "another slice axis."))
    return selection
