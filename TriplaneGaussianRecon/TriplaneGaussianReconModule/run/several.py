"""Several volumes of one body in one run: what is asked for, checked, and what a job gets of it."""
from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.slice_profile import SliceProfile
from TriplaneGaussianReconLib.data.stack_input import PROFILES, StackInput
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.protocol import Job
from TriplaneGaussianReconLib.jobs.request import INPUT, Request
from TriplaneGaussianReconLib.pipeline.stack_report import StackReport

from .. import wording
from ..scene.frames import browserOf
from ..scene.further_volumes import FurtherVolume
from .further_settings import FurtherSettings

# Nodes; or, by node, what is used of each: names and values of `FurtherSettings`.
FurtherVolumes = (Sequence[slicer.vtkMRMLScalarVolumeNode]
                  | Mapping[slicer.vtkMRMLScalarVolumeNode, Mapping[str, Any]])
Thickness = str | float | Iterable[float]  # mm, one for all volumes or one for each; 0 or "" for the slice distance


@dataclass(frozen=True)
class Several:
    """Further volumes of the body that the volume of a run shows; without any, nothing here changes anything.

    The slices of each further volume are those along its axis of the largest spacing.

    Attributes:
        settings: What is used of each further volume, such as a thick scan in another direction; each lies under its
            own linear transforms.
        thickness: Mm that each slice averages over, of the first volume and of each further one; None for the distance
            of the slices. The logic takes one number for all, or one for each, in which 0 is the distance.
        profile: How it does so: gaussian (the thickness is the full width at half maximum) or box.
        findMotion: Whether to find how the further volumes lie to the first, whatever the headers say, and how their
            grey values compare. `Results.motions` then holds a transform for each.
    """

    settings: Mapping[slicer.vtkMRMLScalarVolumeNode, FurtherSettings] = field(default_factory=dict)
    thickness: tuple[float | None, ...] = (None,)
    profile: SliceProfile = "gaussian"
    findMotion: bool = True

    @classmethod
    def of(cls, first: slicer.vtkMRMLScalarVolumeNode, furtherVolumes: FurtherVolumes, thickness: Thickness,
           profile: str, findMotion: bool) -> Several:
        """Take what the logic's `reconstruct` was given; raises InputError for what cannot be used."""
        nodes = tuple(furtherVolumes)
        if not nodes:
            return cls()
        for number, node in enumerate(nodes):
            if node in (first, *nodes[:number]):
                raise InputError(_("'{name}' is given twice. Choose other further volumes.").format(
                    name=node.GetName()))
        for node in (first, *nodes):
            if browserOf(node) is not None:
                raise InputError(_("'{name}' shows a sequence. Several volumes are reconstructed only where each is a "
                                   "single one: choose a copy of a frame.").format(name=node.GetName()))
        known = {str(each): each for each in PROFILES}
        if profile not in known:
            raise InputError(_("Unknown slice profile '{profile}'. Choose one of {known}.").format(
                profile=profile, known=", ".join(known)))
        settings = _settings(furtherVolumes)
        found = cls(settings, _each(thickness, 1 + len(nodes)), known[profile], bool(findMotion))
        found.inputs(found.placed(first))
        return found

    @property
    def nodes(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """The further volumes."""
        return tuple(self.settings)

    @property
    def segmentations(self) -> tuple[slicer.vtkMRMLSegmentationNode | None, ...]:
        """Labels of each further volume; None where it has none."""
        return tuple(each.segmentationNode for each in self.settings.values())

    def alone(self, request: Request) -> Request:
        """What is asked for of the first volume; raises InputError for a spacing or texture that cannot be."""
        if not self.nodes:
            return request
        if request.texture == "even":
            raise InputError(_("An even texture does not go with further volumes. Uncheck one of both."))
        if request.region:
            raise InputError(_("A region does not go with further volumes. Choose the whole volume, or crop all of "
                               "them in the module 'Crop Volume'."))
        if request.keep_used:
            raise InputError(_("Used slices cannot stay as they are where volumes are combined, since the result has "
                               "voxels of its own. Leave the further volumes out, or 'keepUsedSlices'."))
        side = request.spacing
        if not isinstance(side, str) and not (np.isfinite(side) and side > 0):
            raise InputError(_("The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave "
                               "it to the program, not {spacing}.").format(spacing=side))
        return replace(request, spacing=INPUT)

    def placed(self, first: slicer.vtkMRMLScalarVolumeNode) -> tuple[FurtherVolume, ...]:
        """Where the further volumes lie now; raises InputError where that cannot be told by a matrix."""
        return tuple(FurtherVolume.of(node, first, each.segmentationNode) for node, each in self.settings.items())

    def inputs(self, placed: Sequence[FurtherVolume]) -> tuple[StackInput, ...]:
        """The further volumes as the library takes them, without labels; raises InputError, with the name of the
        volume.
        """
        found = []
        for each, settings, thickness in zip(placed, self.settings.values(), self.thickness[1:], strict=True):
            with _about(each.node):
                image = each.image()
                axis = image.grid.thickest_axis()
                used = Request(excluded=settings.excludedSlices).selections(image.grid, axis, {})[axis]
                found.append(StackInput(image, axis, used, thickness, self.profile))
        return tuple(found)

    def labelled(self, placed: Sequence[FurtherVolume]
                 ) -> Generator[None, None, tuple[tuple[StackInput, ...], list[str]]]:
        """The same with their labels, a piece at a time, and what the user should know."""
        found, notes = [], list[str]()
        for each, given in zip(placed, self.inputs(placed), strict=True):
            with _about(each.node):
                labels, remarks = yield from each.labels()
            found.append(replace(given, segmentation=labels))
            notes += [_told(each.node, remark) for remark in remarks]
        return tuple(found), notes

    def added(self, job: Job, request: Request, further: tuple[StackInput, ...]) -> Job:
        """A job of the first volume with the further ones; request: the whole, not what `alone` made of it."""
        spacing = None if isinstance(request.spacing, str) else request.spacing
        return replace(job, spacing=spacing, further=further, motion="stack" if self.findMotion else "none",
                       thickness=self.thickness[0], profile=self.profile)

    def choices(self) -> dict[str, Any]:
        """Return it as the provenance of results tells it."""
        if not self.nodes:
            return {}
        return {"furtherVolumes": self.names,
                "furtherExcluded": [each.excludedSlices for each in self.settings.values()],
                "furtherSegmentations": [node and node.GetName() for node in self.segmentations],
                "thickness": [each or 0.0 for each in self.thickness],
                "profile": self.profile, "findMotion": self.findMotion}

    @property
    def told(self) -> list[str]:
        """The further volumes, and what is used of each, as the provenance of results tells it."""
        return [each.told(node.GetName()) for node, each in self.settings.items()]

    @property
    def names(self) -> list[str]:
        """Names of the further volumes."""
        return [node.GetName() for node in self.nodes]

    def named(self, text: str, first: slicer.vtkMRMLScalarVolumeNode) -> str:
        """A text of the library with the names of volumes instead of their numbers."""
        names = [first.GetName(), *self.names] if self.nodes else []
        return re.sub(r"^Volume (\d+)\b", lambda found: f"'{names[int(found[1]) - 1]}'" if 0 < int(found[1]) <= len(
            names) else found[0], text)

    def moved(self, placed: Sequence[FurtherVolume], volumes: Sequence[StackReport]) -> tuple[FurtherVolume, ...]:
        """Where the further volumes lie according to a report; as before where no motion was looked for."""
        if not self.findMotion:
            return tuple(placed)
        return tuple(each.moved(np.array(told.to_first)) for each, told in zip(placed, volumes[1:], strict=True))


def _settings(furtherVolumes: FurtherVolumes) -> dict[slicer.vtkMRMLScalarVolumeNode, FurtherSettings]:
    """What is used of each further volume; raises InputError, with the name of the volume."""
    found = {}
    for node in furtherVolumes:
        with _about(node):
            found[node] = FurtherSettings.of(furtherVolumes[node] if isinstance(furtherVolumes, Mapping) else {})
    return found


@contextmanager
def _about(node: slicer.vtkMRMLScalarVolumeNode) -> Iterator[None]:
    """Let each InputError of the block begin with the name of a volume."""
    try:
        with wording.translatedErrors():
            yield
    except InputError as error:
        raise InputError(_told(node, str(error))) from error


def _told(node: slicer.vtkMRMLScalarVolumeNode, text: str) -> str:
    return _("'{name}': {cause}").format(name=node.GetName(), cause=text)


def _each(thickness: Thickness, count: int) -> tuple[float | None, ...]:
    """A thickness for each of `count` volumes; raises InputError for what is not understood."""
    if isinstance(thickness, str):
        given: list[Any] = thickness.split(",") if thickness.strip() else [0.0]
    else:
        given = list(thickness) if isinstance(thickness, Iterable) else [thickness]
    try:
        numbers = [float(each) for each in given]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, count) or not all(np.isfinite(each) and each >= 0 for each in numbers):
        raise InputError(_("Cannot read the slice thickness '{thickness}'. Give one number of millimetres for all "
                           "volumes, or {count} with commas between them, one for each; 0 for the slice distance."
                           ).format(thickness=thickness, count=count))
    return tuple(each or None for each in (numbers if len(numbers) == count else numbers * count))
