"""The panel's choices, kept in a parameter node so that they are saved with the scene."""
from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

from slicer import (
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
    vtkMRMLTextNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from TriplaneGaussianReconLib.config.presets import DEFAULT_PRESET, PRESETS
from TriplaneGaussianReconLib.data.label_slices import ALL, DRAWN
from TriplaneGaussianReconLib.jobs.request import INPUT, ISOTROPIC, SEGMENTED, Request

from .. import wording
from ..scene.frames import browserOf
from .choices import Asked, Choices
from .further_settings import settingsOf
from .request import requestFrom
from .task import Task, taskOf


class SliceAxis(Enum):
    """Across which axis of the volume the slices lie."""

    AUTO = "auto"
    I = "i"  # noqa: E741 - the name of the axis
    J = "j"
    K = "k"

    def label(self) -> str:
        """What the panel calls it."""
        return {
            SliceAxis.AUTO: _("Automatic (thickest slices)"),
            SliceAxis.I: _("I (columns)"),
            SliceAxis.J: _("J (rows)"),
            SliceAxis.K: _("K (slices)"),
        }[self]


class Trust(Enum):
    """How the observed slices are chosen."""

    ALL = "all"
    EVERY = "every"
    PERCENTAGE = "percentage"
    SEGMENTED = SEGMENTED
    LIST = "list"

    def label(self) -> str:
        """What the panel calls it."""
        return {
            Trust.ALL: _("All slices"),
            Trust.EVERY: _("Every Nth slice"),
            Trust.PERCENTAGE: _("A percentage"),
            Trust.SEGMENTED: _("Slices that carry segmentation"),
            Trust.LIST: _("A list of slices"),
        }[self]


class LabelsOn(Enum):
    """On which of the used slices the segmentation is complete; on the others it is filled from their image."""

    DRAWN = DRAWN
    ALL = ALL
    LIST = "list"

    def label(self) -> str:
        """What the panel calls it."""
        return {
            LabelsOn.DRAWN: _("Drawn slices"),
            LabelsOn.ALL: _("All slices"),
            LabelsOn.LIST: _("A list of slices"),
        }[self]


class PresetChoice(Enum):
    """The presets that the library has for use; scenes keep the name of the member."""

    _ignore_ = ["each"]
    for each in PRESETS.values():
        if not each.for_comparison:
            vars()[each.name.upper()] = each.name

    def label(self) -> str:
        """What the panel calls it."""
        return wording.quality(self.value)

    @classmethod
    def explained(cls) -> str:
        """What each of them is for, a line each."""
        return "\n".join(f"{preset.label()}: {_(PRESETS[preset.value].description)}" for preset in cls)


class Profile(Enum):
    """How slices of several volumes average over their thickness."""

    GAUSSIAN = "gaussian"
    BOX = "box"

    def label(self) -> str:
        """What the panel calls it."""
        return {Profile.GAUSSIAN: _("Gaussian"), Profile.BOX: _("Box")}[self]


@parameterNodeWrapper
class TriplaneGaussianReconParameterNode:
    """What the panel asks for, and what the last run with these choices left in the scene.

    Attributes:
        task: What is to be done with the volume; choices that do not belong to it have no effect, see `taskOf`.
        omittedSegmentIDs: Segments that are left out, so that new ones take part by themselves.
        everyNth: For `Trust.EVERY`.
        percentage: For `Trust.PERCENTAGE`.
        sliceList: For `Trust.LIST`.
        excludedSlices: Slice numbers such as 7,12,20-23.
        emptySlices: For `LabelsOn.DRAWN`: slices on which there is nothing to be drawn.
        labelledSlices: For `LabelsOn.LIST`.
        region: A box that holds what is to be reconstructed; None for the whole volume.
        outputVolume: Takes the result; None for a new one. So does outputSegmentation.
        outputSpacing: Mm; 0 for automatic.
        device: auto, cpu, cuda:0 and so on.
        memory: GB that the computing may take; 0 for what is free.
        threads: How many it may use; 0 for as many as there are.
        evenTexture: Whether filled slices get the noise that they lack.
        keepUsedSlices: Whether bad slices alone are replaced, see `canLeaveUsedSlices`.
        copyVolume: Where labels alone are filled, the volume is added to the results all the same.
        allFrames: Of a sequence; otherwise the one that is shown.
        furtherVolumes: Of the same body; may hold None and what is not in the scene any more, see the function.
        settingsVolumes: Volumes that something was chosen for, whether or not they are further ones now; of each of
            these lists the same place is of the same volume, see `further_settings`.
        settingsExcluded: Their slices that are left out.
        settingsSegmentations: Their labels; None for none.
        findMotion: Of further volumes.
        thickness: With further volumes; mm, such as 4,3.5,0; empty for the slice distance.
        profile: With further volumes.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    task: Task = Task.AUTO
    segmentation: vtkMRMLSegmentationNode
    omittedSegmentIDs: list[str]
    sliceAxis: SliceAxis = SliceAxis.AUTO
    trust: Trust = Trust.ALL
    everyNth: Annotated[int, WithinRange(1, 1000)] = 2
    percentage: Annotated[float, WithinRange(1.0, 100.0)] = 50.0
    sliceList: str
    excludedSlices: str
    labelsOn: LabelsOn = LabelsOn.DRAWN
    emptySlices: str
    labelledSlices: str
    region: vtkMRMLMarkupsROINode
    outputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    outputSpacing: Annotated[float, WithinRange(0.0, 1000.0)] = 0.0
    preset: PresetChoice = PresetChoice[DEFAULT_PRESET.upper()]
    device: str = "auto"
    seed: Annotated[int, WithinRange(0, 2 ** 31 - 1)] = 0
    memory: Annotated[float, WithinRange(0.0, 10000.0)] = 0.0
    threads: Annotated[int, WithinRange(0, 1000)] = 0
    keepModel: bool = False
    evenTexture: bool = False
    keepUsedSlices: bool = True
    copyVolume: bool = False
    allFrames: bool = True
    furtherVolumes: list[vtkMRMLScalarVolumeNode]
    settingsVolumes: list[vtkMRMLScalarVolumeNode]
    settingsExcluded: list[str]
    settingsSegmentations: list[vtkMRMLSegmentationNode]
    findMotion: bool = True
    thickness: str
    profile: Profile = Profile.GAUSSIAN
    resultVolume: vtkMRMLScalarVolumeNode
    resultConfidence: vtkMRMLScalarVolumeNode
    resultSegmentation: vtkMRMLSegmentationNode
    resultCertainty: vtkMRMLScalarVolumeNode
    resultScores: vtkMRMLTableNode
    resultProvenance: vtkMRMLTextNode

    if TYPE_CHECKING:  # what the decorator adds and the panel uses; it would take these for parameters
        parameterNode: Any

        def __init__(self, parameterNode: Any) -> None: ...
        def getValue(self, name: str) -> Any: ...
        def connectParametersToGui(self, mapping: Mapping[str, Any]) -> int: ...
        def disconnectGui(self, guiTag: int) -> None: ...


def trustedSlices(parameters: TriplaneGaussianReconParameterNode) -> str:
    """The choice of slices as the logic takes it: all, every:4, 25%, segmented, or a list."""
    return {
        Trust.ALL: "all",
        Trust.EVERY: f"every:{parameters.everyNth}",
        Trust.PERCENTAGE: f"{parameters.percentage:g}%",
        Trust.SEGMENTED: SEGMENTED,
        Trust.LIST: parameters.sliceList,
    }[parameters.trust]


def labelsOn(parameters: TriplaneGaussianReconParameterNode) -> str:
    """The choice of slices that carry labels as the logic takes it: drawn, drawn,40, all, or a list."""
    empty = parameters.emptySlices.strip()
    if parameters.segmentation is None or parameters.labelsOn is LabelsOn.DRAWN and not empty:
        return DRAWN
    return {LabelsOn.DRAWN: f"{DRAWN},{empty}", LabelsOn.ALL: ALL,
            LabelsOn.LIST: parameters.labelledSlices}[parameters.labelsOn]


def segmentIDs(parameters: TriplaneGaussianReconParameterNode) -> list[str]:
    """The identifiers of the segments that take part."""
    if parameters.segmentation is None:
        return []
    omitted = set(parameters.omittedSegmentIDs)
    return [name for name in parameters.segmentation.GetSegmentation().GetSegmentIDs() if name not in omitted]


def furtherVolumes(parameters: TriplaneGaussianReconParameterNode) -> list[vtkMRMLScalarVolumeNode]:
    """The further volumes that are in the scene; the input volume is none of them."""
    return [node for node in parameters.furtherVolumes
            if node is not None and node.GetScene() is not None and node is not parameters.inputVolume]


def combinedVolumes(parameters: TriplaneGaussianReconParameterNode) -> list[vtkMRMLScalarVolumeNode]:
    """Those of them that are used: all, or none where volumes are not to be combined."""
    return furtherVolumes(parameters) if taskOf(parameters) is Task.COMBINE else []


def regionBox(parameters: TriplaneGaussianReconParameterNode) -> vtkMRMLMarkupsROINode | None:
    """The box that alone is reconstructed; None for the whole volume, and where volumes are combined."""
    return None if taskOf(parameters) is Task.COMBINE else parameters.region


def isWholeSequence(parameters: TriplaneGaussianReconParameterNode) -> bool:
    """Whether all frames of a sequence are to be reconstructed."""
    volume = parameters.inputVolume
    return parameters.allFrames and volume is not None and browserOf(volume) is not None


def keywords(parameters: TriplaneGaussianReconParameterNode) -> dict[str, Any]:
    """The choices as keyword arguments of the logic's `reconstruct`."""
    hasSegmentation = parameters.segmentation is not None
    return {"segmentationNode": parameters.segmentation,
            "segmentIDs": segmentIDs(parameters) if hasSegmentation else None, "copyVolume": parameters.copyVolume,
            "allFrames": parameters.allFrames, "region": regionBox(parameters), **_outputs(parameters),
            **_choices(parameters), **severalKeywords(parameters)}


def asked(parameters: TriplaneGaussianReconParameterNode) -> Asked:
    """What the choices come to; raises InputError for what cannot be done."""
    choices = keywords(parameters)
    return Choices(**{name: choices[name] for name in choices if name != "segmentationNode"}).asked(
        parameters.inputVolume, parameters.segmentation)


def _outputs(parameters: TriplaneGaussianReconParameterNode) -> dict[str, Any]:
    """The nodes that take the results, likewise; those of a sequence are always new."""
    isSingle, labels = not isWholeSequence(parameters), parameters.segmentation is not None
    return {"outputVolume": parameters.outputVolume if isSingle else None,
            "outputSegmentation": parameters.outputSegmentation if isSingle and labels else None}


def severalKeywords(parameters: TriplaneGaussianReconParameterNode) -> dict[str, Any]:
    """What concerns further volumes, as `Several.of` takes it."""
    return {"furtherVolumes": {node: vars(settingsOf(parameters, node)) for node in combinedVolumes(parameters)},
            "thickness": parameters.thickness, "profile": parameters.profile.value,
            "findMotion": parameters.findMotion}


def requestOf(parameters: TriplaneGaussianReconParameterNode) -> Request:
    """The choices that can be checked without looking at a voxel."""
    return requestFrom(**_choices(parameters))


def _choices(parameters: TriplaneGaussianReconParameterNode) -> dict[str, Any]:
    excluded = parameters.excludedSlices if taskOf(parameters).excludesSlices else ""
    return {"sliceAxis": parameters.sliceAxis.value, "trustedSlices": trustedSlices(parameters),
            "excludedSlices": excluded, "labelsOn": labelsOn(parameters), "outputSpacing": _spacing(parameters),
            "preset": parameters.preset.value, "device": parameters.device, "seed": parameters.seed,
            "keepModel": parameters.keepModel, "evenTexture": parameters.evenTexture,
            "memory": parameters.memory, "threads": parameters.threads,
            "keepUsedSlices": canLeaveUsedSlices(parameters) and parameters.keepUsedSlices}


def canLeaveUsedSlices(parameters: TriplaneGaussianReconParameterNode) -> bool:
    """Whether there is a choice to leave used slices as they are: where bad ones are replaced on the same voxels."""
    return taskOf(parameters) is Task.REPLACE and not parameters.outputSpacing


def _spacing(parameters: TriplaneGaussianReconParameterNode) -> float | str:
    """The output spacing as the logic takes it: who asks for a task gets it, whatever slices are drawn on or bad."""
    if parameters.outputSpacing:
        return parameters.outputSpacing
    if parameters.task is Task.THINNER and parameters.trust is Trust.ALL:
        return ISOTROPIC
    return INPUT if parameters.task is Task.REPLACE else 0.0
