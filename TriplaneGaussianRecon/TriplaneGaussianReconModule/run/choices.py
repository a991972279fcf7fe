"""What the logic's `reconstruct` may be told, and what that comes to for a volume."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from TriplaneGaussianReconLib.jobs.request import Request

from .. import wording
from ..scene.chosen_nodes import ChosenNodes
from ..scene.frames import Frame, framesOf
from ..scene.nodes import gridOf, segmentIDsOf
from ..scene.region import regionOf
from .request import Slices, requestFrom
from .several import FurtherVolumes, Several, Thickness


@dataclass(frozen=True)
class Asked:
    """What a run is to do, checked.

    Attributes:
        request: What to do with each frame.
        frames: What to reconstruct, one after another.
        segmentIDs: Which segments take part.
        several: Further volumes of the same body; with any there is a single frame.
        copyVolume: Whether the volume is wanted where it is that of the input, too.
        outputs: Nodes that take the results; only where there is a single frame.
    """

    request: Request
    frames: Sequence[Frame]
    segmentIDs: Sequence[str]
    several: Several
    copyVolume: bool
    outputs: ChosenNodes


@dataclass(frozen=True)
class Choices:
    """The keywords of the logic's `reconstruct` that decide what comes of it.

    Attributes:
        segmentIDs: Which segments; None for all.
        sliceAxis: auto (the axis of the largest spacing), i, j or k.
        trustedSlices: all, every:4, hide:3, 25%, 0,4,8-20, segmented (that carry segmentation); or [0, 4, 8].
        excludedSlices: Slices that are not to be observed in any case; a list as text or as numbers.
        labelsOn: Which of the observed slices carry labels: drawn (those on which a segment is drawn, and those far
            from them, which count as empty), drawn,40 (so does 40), all, every:4, or a list as text or as numbers.
            On the others the labels are filled from the image.
        outputSpacing: Mm between the slices of the result. With 0 it has the voxels of the input, or, where every
            slice is observed and carries labels, slices as close as the pixels are wide. Either of them in any case
            with input and isotropic.
        preset, device: fast, balanced, best or paper; auto, cpu, cuda, or cuda:1 and so on.
        seed: The same one gives the same result on the same device, but for labels that go on from an earlier run.
        keepModel, evenTexture: Keep the models, see `Results.models`; add the noise that filled slices lack.
        memory, threads: GB that the computing may take at its peak, and how many threads; 0 for what there is.
        keepUsedSlices: Leave image and labels of the used slices as they are in the result, to the bit, which must have
            the voxels of the input; where it has others they are drawn like all slices, which a note tells.
        copyVolume, allFrames: Add the volume where labels alone were filled, too; all of a sequence, not one frame.
        furtherVolumes: More scans of the same body, which come to the place and grey values of the first: [b, c];
            or with what is used of each, as in {b: {"excludedSlices": "0,1"}, c: {"segmentationNode": d}}.
            The result has cubic voxels about all, of `outputSpacing` mm; with 0, as small as the smallest pixel.
        thickness, profile, findMotion: Of several volumes, see `Several`.
        region: A box in the views, such as Crop Volume has: the voxels that it reaches into are reconstructed alone,
            and slices keep their numbers. None for the whole volume. Of a sequence, the same voxels of each frame.
        outputVolume, outputSegmentation: Nodes that take the result, whose content is replaced once all of it is there;
            None for new ones, and if the node is removed meanwhile. Of a sequence there are new ones in any case.
    """

    segmentIDs: Sequence[str] | None = None
    sliceAxis: str = "auto"
    trustedSlices: Slices = "all"
    excludedSlices: Slices = ""
    labelsOn: Slices = "drawn"
    outputSpacing: float | str = 0.0
    preset: str = "fast"
    device: str = "auto"
    seed: int = 0
    keepModel: bool = False
    evenTexture: bool = False
    memory: float = 0.0
    threads: int = 0
    keepUsedSlices: bool = False
    copyVolume: bool = False
    allFrames: bool = True
    furtherVolumes: FurtherVolumes = ()
    thickness: Thickness = ""
    profile: str = "gaussian"
    findMotion: bool = True
    region: slicer.vtkMRMLMarkupsROINode | None = None
    outputVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    outputSegmentation: slicer.vtkMRMLSegmentationNode | None = None

    def asked(self, volumeNode: slicer.vtkMRMLScalarVolumeNode,
              segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> Asked:
        """Return what they come to; raises InputError for what cannot be done."""
        request = requestFrom(
            self.sliceAxis, self.trustedSlices, self.excludedSlices, self.labelsOn, self.outputSpacing, self.preset,
            self.device, self.seed, self.keepModel, self.evenTexture, self.memory, self.threads,
            regionText(self.region, volumeNode), self.keepUsedSlices)
        chosen = () if segmentationNode is None else segmentIDsOf(segmentationNode, self.segmentIDs)
        several = Several.of(volumeNode, self.furtherVolumes, self.thickness, self.profile, self.findMotion)
        with wording.translatedErrors():
            several.alone(request).check(gridOf(volumeNode), segmentationNode is not None)
        frames = framesOf(volumeNode, segmentationNode, self.allFrames)
        outputs, segmentations = ChosenNodes(self.outputVolume, self.outputSegmentation), (segmentationNode,
                                                                                           *several.segmentations)
        outputs.check((volumeNode, *several.nodes, *segmentations), any(segmentations), len(frames) > 1)
        return Asked(request, frames, chosen, several, self.copyVolume or outputs.volume is not None, outputs)


def regionText(roiNode: slicer.vtkMRMLMarkupsROINode | None, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """A box as `Request.region` has it; raises InputError where it means no part of the volume."""
    if roiNode is None:
        return ""
    with wording.translatedErrors():
        return str(regionOf(roiNode, volumeNode))
