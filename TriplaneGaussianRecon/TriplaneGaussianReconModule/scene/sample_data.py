"""The sample scans as entries of Slicer's module Sample Data, and loading one of them for a first try."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

CATEGORY = "Triplane Gaussian Reconstruction"  # which is shown as it is

# Published files keep their name and content for ever: every installed version of the module checks their checksums.
URL = "https://raw.githubusercontent.com/TriplaneGaussianRecon/SlicerTriplaneGaussianRecon/main/Resources/SampleData"

_MODULE_FOLDER = Path(__file__).resolve().parents[2]
_SOURCE_FOLDER = _MODULE_FOLDER.parent / "Resources" / "SampleData"  # exists where the module runs from its source

_loaded: dict[str, tuple[str, str, tuple[object, ...]]] = {}  # by name: identifiers of nodes, and their state then


@dataclass(frozen=True)
class Sample:
    """A scan with its segmentation: names of the files in Resources/SampleData, and their SHA-256."""

    name: str
    volume: str
    volume_sum: str
    segmentation: str
    segmentation_sum: str


SAMPLES = (
    Sample("FetalTemplateThickMR",
           "mr_fetal_atlas_sb27_thick.nii.gz", "13633ac65df32d38656eb97d6cfabe14442f18e0599b678bfdd1d5f8b0b192da",
           "mr_fetal_atlas_sb27_thick.seg.nrrd", "5cf8091ed75866aef662765bd4ceaf02caacf681b795b1b5627d0f052a8b8b10"),
    Sample("FetalTemplateMR",
           "mr_fetal_atlas_sb27.nii.gz", "457b83211edae9469a2e9f61ea52095547535c3172bb273f86c7ffd45656e994",
           "mr_fetal_atlas_sb27.seg.nrrd", "e6e6083b82d1dfe761a7d13049699d2775abe43d3688dfc2ac2ddbb5c13c3474"),
    Sample("LumbarSpineCT",
           "ct_spine_lumbar.nii.gz", "b06d1e8742a9531a44972a1f71e34e716484906fcef3fc8328775b2c12904b4f",
           "ct_spine_lumbar.seg.nrrd", "819b795cd14c233bbb46537434958cdd4d295089bfba4ce2d9ccbd116a8e89ea"),
    Sample("FetalBrainMR",
           "mr_fetal_stack1.nii.gz", "37caf0386b8af4687abb3758dbf2960e2552eb047762dcde5c04b73a366ca11d",
           "mr_fetal_stack1.seg.nrrd", "e3a76edbbf37da6a3f533066a84823e8a9d17edffcf7e7457016966bd4777897"),
)


def sampleNames() -> list[str]:
    """Return the names of the samples, the best one for a first try first."""
    return [sample.name for sample in SAMPLES]


def registerSampleData() -> None:
    """Enter the samples into Slicer's module Sample Data.  Those that are entered already stay as they are."""
    from SampleData import SampleDataLogic

    for sample in SAMPLES:
        files = [sample.volume, sample.segmentation]
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            thumbnailFileName=str(_MODULE_FOLDER / "Resources" / "Icons" / f"{sample.name}.png"),
            uris=[_uri(file) for file in files],
            fileNames=files,
            nodeNames=[sample.name, f"{sample.name} segmentation"],
            loadFileTypes=["VolumeFile", "SegmentationFile"],
            checksums=[f"SHA256:{sample.volume_sum}", f"SHA256:{sample.segmentation_sum}"],
        )


def load(name: str) -> tuple[Any, Any]:
    """Load a sample into the scene, downloading it the first time.

    Returns its volume node and its segmentation node.
    Raises InputError for an unknown name, and where the sample can neither be downloaded nor read.
    """
    if name not in sampleNames():
        raise InputError(_("There is no sample '{name}'. Choose one of {known}.").format(
            name=name, known=", ".join(sampleNames())))
    from SampleData import SampleDataLogic

    registerSampleData()
    # Where nothing could be loaded, these are the paths of the files.
    nodes = [node for node in SampleDataLogic().downloadSamples(name) if isinstance(node, slicer.vtkMRMLNode)]
    volume = _first(nodes, "vtkMRMLScalarVolumeNode")
    segmentation = _first(nodes, "vtkMRMLSegmentationNode")
    if volume is None or segmentation is None:
        for node in nodes:
            slicer.mrmlScene.RemoveNode(node)
        raise InputError(_("The sample '{name}' could not be loaded. It is downloaded from {address}: connect to the "
                           "internet and try again; the reason stands in the Python console."
                           ).format(name=name, address=URL))
    for node in (volume, segmentation):
        if slicer.mrmlScene.GetNodesByName(node.GetName()).GetNumberOfItems() > 1:
            node.SetName(slicer.mrmlScene.GenerateUniqueName(node.GetName()))
    return volume, segmentation


def loadOnce(name: str) -> tuple[Any, Any]:
    """As `load`, but take what this has loaded before where it is still in the scene and as it was then."""
    from .nodes import stateOf  # needs numpy, without which the module is found

    former = _loaded.get(name)
    if former is not None:
        volume, segmentation = (slicer.mrmlScene.GetNodeByID(number) for number in former[:2])
        if volume is not None and segmentation is not None and stateOf(volume, segmentation) == former[2]:
            return volume, segmentation
    volume, segmentation = load(name)
    _loaded[name] = volume.GetID(), segmentation.GetID(), stateOf(volume, segmentation)
    return volume, segmentation


def _first(nodes: list[Any], node_class: str) -> Any:
    """Return the first node of an MRML class, None if there is none."""
    return next((node for node in nodes if node.IsA(node_class)), None)


def _uri(file: str) -> str:
    """Return where a file is: on this computer where the module runs from its source, otherwise on the web."""
    local = _SOURCE_FOLDER / file
    return local.as_uri() if local.is_file() else f"{URL}/{file}"
