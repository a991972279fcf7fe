"""The nodes that a run adds to the scene, and how they are removed again.

The data are made outside the scene, a piece at a time (`Prepared`), and enter it all at once (`add`).  The nodes lie in
one folder of the subject hierarchy beside the input; deleting that folder undoes the run.  Nodes are made by
`AddNewNodeByClass`, so that they follow the scene's defaults, undo included.
"""
from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.images import Segment, Segmentation
from TriplaneGaussianReconLib.jobs.protocol import Outcome

from .. import wording
from .chosen_nodes import NEW, ChosenNodes, Former, setSegmentation
from .frames import Frame, Sequences
from .further_volumes import FurtherVolume
from .looks import startAfresh
from .nodes import BINARY_LABELMAP, place
from .report import ERROR, MEANINGS, RunRecord, provenance, shown, unitsOf
from .surfaces import CLOSED_SURFACE
from .tidying import ROLE, keepModels, tidyUp

INPUT = "TriplaneGaussianRecon.Input"  # reference from table of scores and segmentation to what was reconstructed
SEGMENTATION = "TriplaneGaussianRecon.Segmentation"  # likewise to the segmentation that was filled in
FURTHER = "TriplaneGaussianRecon.Further"  # likewise to further volumes that it was reconstructed from
AXIS = "TriplaneGaussianRecon.Axis"  # attribute of that table: the axis along which slices were filled in
ERROR_COLOURS = "vtkMRMLColorTableNodeYellow"  # black where errors are small, else yellow
CERTAINTY_COLOURS = "vtkMRMLColorTableNodeIron"  # red where it is small, else yellow
CERTAIN = 0.95  # labels that are as probable as this are not coloured
_BYTES_AT_A_TIME = 2 ** 22  # copied before the user interface has its turn


@dataclass(frozen=True)
class Results:
    """The nodes that a run added to the scene.

    Attributes:
        volume: Dense; None where labels alone were filled, so that it would be that of the input.
        confidence: Expected absolute error, in units of the volume; None likewise.
        segmentation: Dense; None without one.
        certainty: Probability of each voxel's label, from 0 to 1; None where no labels were filled on used slices.
        scores: Table of slices, see `report.scores`; `INPUT` and `AXIS` say what it is about.
        provenance: Text that tells how the results were made.
        folderItemID: Item of the subject hierarchy that holds all of them.
        notes: What the user should know.
        models: File of each frame, if models were kept; deleted with the provenance node, and when Slicer closes.
        sequences: If there are frames, the browser that shows them in the nodes above, and its sequences.
        motions: For each further volume whose motion was found, a linear transform under which it fits the volume.
        chosen: Those of the nodes above that the user had chosen; they stay when the others are removed.
    """

    volume: slicer.vtkMRMLScalarVolumeNode | None
    confidence: slicer.vtkMRMLScalarVolumeNode | None
    segmentation: slicer.vtkMRMLSegmentationNode | None
    certainty: slicer.vtkMRMLScalarVolumeNode | None
    scores: slicer.vtkMRMLTableNode
    provenance: slicer.vtkMRMLTextNode
    folderItemID: int
    notes: tuple[str, ...] = ()
    models: tuple[Path, ...] = ()
    sequences: tuple[slicer.vtkMRMLNode, ...] = ()
    motions: tuple[slicer.vtkMRMLLinearTransformNode, ...] = ()
    chosen: tuple[slicer.vtkMRMLDisplayableNode, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """The voxels of an outcome in VTK's types, outside the scene.

    images: By role: volume, confidence, certainty.  error: What few expected errors exceed, in units of the input.
    """

    grid: Grid
    images: Mapping[str, vtk.vtkImageData]
    segmentation: slicer.vtkSegmentation | None
    error: float

    @classmethod
    def of(cls, outcome: Outcome, frame: Frame, scalarType: int, isVolumeWanted: bool, isOneOfMany: bool,
           further: Sequence[FurtherVolume] = ()) -> Generator[None, None, Prepared]:
        """Copy the arrays of an outcome, a piece at a time.

        Args:
            outcome: What came of a frame.
            frame: What was reconstructed.
            scalarType: VTK's number of the volume's type when the run began; its image may be another one by now.
            isVolumeWanted: Whether volume and expected error are wanted.
            isOneOfMany: Whether other frames may have certainties, so that this one gets them even if all is given.
            further: Other volumes that it was reconstructed from.
        """
        images, segmentation, confidence = dict[str, vtk.vtkImageData](), None, outcome.confidence.array
        if isVolumeWanted:
            images["volume"] = yield from _filled(vtk.vtkImageData(), outcome.volume.array, scalarType)
            images["confidence"] = yield from _filled(vtk.vtkImageData(), confidence, vtk.VTK_FLOAT)
        if outcome.segmentation is not None:
            given = [frame.segmentation, *(each.segmentation for each in further)]
            segmentation = yield from _segmentation(outcome.segmentation, [
                node and node.GetSegmentation() for node in given])
        if outcome.label_certainty is not None:
            images["certainty"] = yield from _filled(vtk.vtkImageData(), outcome.label_certainty.array, vtk.VTK_FLOAT)
        elif isOneOfMany and segmentation is not None:
            images["certainty"] = yield from _filled(
                vtk.vtkImageData(), np.broadcast_to(np.uint8(1), confidence.shape), vtk.VTK_UNSIGNED_CHAR)
        return cls(outcome.volume.grid, images, segmentation, outcome.statistics["confidence"].high)

    def nodes(self, source: Frame) -> dict[str, slicer.vtkMRMLNode]:
        """Nodes outside the scene that hold all this, by role; made of `source`."""
        nodes = {role: slicer.vtkMRMLScalarVolumeNode() for role in self.images}
        if self.segmentation is not None:
            nodes["segmentation"] = slicer.vtkMRMLSegmentationNode()
        for role, node in nodes.items():
            node.SetAttribute(ROLE, role)
            self.fill(node, role, source)
        return nodes

    def fill(self, node: slicer.vtkMRMLNode, role: str, source: Frame) -> None:
        """Give a node its voxels, their place and their meaning."""
        if role == "segmentation":
            setSegmentation(node, self.segmentation)
            return
        place(node, self.grid)
        node.SetAndObserveImageData(self.images[role])
        if role == "certainty":
            node.SetDescription("Probability of the label of each voxel, from 0 to 1; 1 where labels were drawn.")
            return
        unit = source.proxy.GetVoxelValueUnits()
        node.SetVoxelValueQuantity(source.proxy.GetVoxelValueQuantity())
        node.SetVoxelValueUnits(unit)
        if role == "confidence":
            meaning = f" ({unit.GetCodeMeaning()})" if unit is not None and unit.GetCodeMeaning() else ""
            node.SetDescription(f"Expected absolute error of each voxel, in the units of '{source.proxy.GetName()}'"
                                f"{meaning}.")


def add(source: Frame, prepared: Prepared, record: RunRecord, sequences: Sequences | None = None,
        models: TemporaryDirectory[str] | None = None, further: Sequence[FurtherVolume] = (),
        chosen: ChosenNodes = NEW) -> Results:
    """Put the results of a run into the scene; if that fails, none of them is left.

    Args:
        source: What was reconstructed; of a sequence, the frame to show first.
        prepared: What came of it.
        record: What is to be told of the run.
        sequences: Of all frames, if there are several.
        models: The folder with the models, which is deleted with the results.
        further: Other volumes that it was reconstructed from, and where they were found to lie.
        chosen: Nodes that take results instead of new ones.
    """
    taken = chosen.there()
    formers = [Former(node) for node in taken.values()]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    before, folder = set(_nodeIDs()), hierarchy.GetInvalidItemID()
    try:
        name = f"{source.proxy.GetName()} reconstructed"
        nodes = _addNodes(name, source, prepared, record, further, taken)
        own = [node for role, node in nodes.items() if role not in taken]
        others = [] if sequences is None else _addBrowser(name, nodes, sequences)
        for each in further:
            nodes["scores"].AddNodeReferenceID(FURTHER, each.node.GetID())
        motions = [_addMotion(each, source) for each in further if each.isMoved]
        folder = hierarchy.CreateFolderItem(_parentItem(hierarchy, source.proxy), _title(record, "volume" in nodes))
        # The browser first: while it is there, it replaces what goes away.
        for node in (*others, *own, *motions):
            item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
            hierarchy.SetItemParent(item, folder)
    except BaseException:
        for former in formers:
            former.giveBack()
        for number in [each for each in _nodeIDs() if each not in before][::-1]:
            slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(number))
        if folder != hierarchy.GetInvalidItemID():
            hierarchy.RemoveItem(folder)
        raise
    tidyUp(slicer.mrmlScene)
    files: tuple[Path, ...] = ()
    if models is not None:
        keepModels(nodes["provenance"], models)
        files = tuple(sorted(Path(models.name).iterdir()))
    return Results(nodes.get("volume"), nodes.get("confidence"), nodes.get("segmentation"), nodes.get("certainty"),
                   nodes["scores"], nodes["provenance"], folder, tuple(record.notes), files, tuple(others),
                   tuple(motions), tuple(taken.values()))


def formerSegmentations(results: Results) -> list[slicer.vtkMRMLSegmentationNode]:
    """The segmentations that came of former runs on the same input."""
    given, source = results.scores.GetNodeReference(SEGMENTATION), results.scores.GetNodeReferenceID(INPUT)
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if node.GetNodeReferenceID(INPUT) == source and node not in (results.segmentation, given)]


def remove(results: Results) -> None:
    """Remove everything that a run added to the scene, wherever the user has moved it; what was there before stays."""
    nodes = (*results.sequences, results.volume, results.confidence, results.segmentation, results.certainty,
             results.scores, results.provenance, *results.motions)
    left = [node for node in nodes
            if node is not None and node not in results.chosen and node.GetScene() is not None]
    if not left:
        return
    scene, items = left[0].GetScene(), vtk.vtkIdList()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    if items.IsId(results.folderItemID) >= 0:
        hierarchy.RemoveItem(results.folderItemID)
    for node in left:
        if node.GetScene() is not None:  # it was moved out of the folder
            scene.RemoveNode(node)


def _title(record: RunRecord, hasVolume: bool) -> str:
    """The name of the folder of a run."""
    name = record.volumeName if hasVolume or record.segmentationName is None else record.segmentationName
    return wording.folder(name, not hasVolume, record.choices["preset"])


def _addNodes(name: str, source: Frame, prepared: Prepared, record: RunRecord, further: Sequence[FurtherVolume],
              taken: Mapping[str, slicer.vtkMRMLDisplayableNode]) -> dict[str, slicer.vtkMRMLNode]:
    """Add the nodes that a run leaves, by role; taken: those that are there already, likewise."""
    nodes = {}
    labels = [node for node in (source.segmentationProxy, *(each.segmentation for each in further)) if node is not None]
    if "volume" in prepared.images:
        nodes["volume"] = _addVolume(name, "volume", source, prepared, taken.get("volume"))
        _copyDisplay(source.proxy, nodes["volume"])
        nodes["confidence"] = _addVolume(f"{name} expected error", "confidence", source, prepared)
        _showInColour(nodes["confidence"], ERROR_COLOURS, 0.0, prepared.error or 1.0)
    if prepared.segmentation is not None and labels:
        nodes["segmentation"] = _addSegmentation(labels[0], source, prepared, nodes.get("volume", source.proxy),
                                                 taken.get("segmentation"))
    if any(frame.report.completion is not None for frame in record.frames):
        nodes["certainty"] = _addVolume(f"{name} label certainty", "certainty", source, prepared)
        _showInColour(nodes["certainty"], CERTAINTY_COLOURS, 0.5, 1.0)
        nodes["certainty"].GetDisplayNode().SetThreshold(0.0, CERTAIN)
        nodes["certainty"].GetDisplayNode().SetApplyThreshold(True)
    nodes["scores"] = _addTable(f"{name} slices", source, record)
    nodes["provenance"] = _addNode("vtkMRMLTextNode", f"{name} provenance", "provenance")
    nodes["provenance"].SetText(provenance(record))
    return nodes


def _addTable(name: str, source: Frame, record: RunRecord) -> slicer.vtkMRMLTableNode:
    """Add the scores of slices."""
    node, table, (units, factor) = _addNode("vtkMRMLTableNode", name, "scores"), record.table(), unitsOf(record)
    table = shown({column: factor * values if column == ERROR else values for column, values in table.items()})
    for column, values in table.items():
        node.AddColumn(_column(column, values))
    for column in table:
        node.SetColumnUnitLabel(column, units.get(column, ""))
        node.SetColumnDescription(column, MEANINGS.get(column, ""))
    node.SetNodeReferenceID(INPUT, source.proxy.GetID())
    if source.segmentationProxy is not None:
        node.SetNodeReferenceID(SEGMENTATION, source.segmentationProxy.GetID())
    node.SetAttribute(AXIS, record.frames[0].scope.axis)
    return node


def _column(name: str, values: np.ndarray) -> vtk.vtkAbstractArray:
    """A column of numbers, or of texts."""
    if values.dtype.kind != "U":
        column = vtk.util.numpy_support.numpy_to_vtk(values, deep=True)
    else:
        column = vtk.vtkStringArray()
        for text in values.tolist():
            column.InsertNextValue(text)
    column.SetName(name)
    return column


def _addNode(kind: str, name: str, role: str) -> slicer.vtkMRMLNode:
    node = slicer.mrmlScene.AddNewNodeByClass(kind, slicer.mrmlScene.GenerateUniqueName(name))
    node.SetAttribute(ROLE, role)
    return node


def _addVolume(name: str, role: str, source: Frame, prepared: Prepared,
               taken: slicer.vtkMRMLScalarVolumeNode | None = None) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume, or let the one that is `taken` for it have its voxels."""
    node = _addNode("vtkMRMLScalarVolumeNode", name, role) if taken is None else taken
    prepared.fill(node, role, source)
    node.SetAndObserveTransformNodeID(source.proxy.GetTransformNodeID())
    return node


def _copyDisplay(source: slicer.vtkMRMLDisplayableNode, target: slicer.vtkMRMLDisplayableNode) -> None:
    """Show a node as another one is shown; one that has a display node keeps it."""
    shown, display = source.GetDisplayNode(), target.GetDisplayNode()
    if shown is None:
        target.CreateDefaultDisplayNodes()
        return
    if display is None:
        display = slicer.mrmlScene.AddNewNodeByClass(shown.GetClassName())
    with slicer.util.NodeModify(display):
        display.CopyContent(shown)
        if target.IsA("vtkMRMLScalarVolumeNode"):
            display.SetAutoWindowLevel(False)  # so that both look alike; to find window and level anew would take long
            display.SetAndObserveColorNodeID(shown.GetColorNodeID())
    target.SetAndObserveDisplayNodeID(display.GetID())


def _showInColour(node: slicer.vtkMRMLScalarVolumeNode, colours: str, low: float, high: float) -> None:
    """Show expected errors or certainties in colour."""
    display = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)
    display.SetAndObserveColorNodeID(colours)
    node.SetAndObserveDisplayNodeID(display.GetID())


def _addSegmentation(given: slicer.vtkMRMLSegmentationNode, source: Frame, prepared: Prepared,
                     volume: slicer.vtkMRMLScalarVolumeNode, taken: slicer.vtkMRMLSegmentationNode | None
                     ) -> slicer.vtkMRMLSegmentationNode:
    """Add the segments, shown as those of `given`, or let the node that is `taken` for them have them.

    Their surfaces are made when they are asked for, by 'Show 3D' for example.
    """
    node = taken
    if node is None:
        done = "filled" if volume is source.proxy else "reconstructed"
        node = _addNode("vtkMRMLSegmentationNode", f"{given.GetName()} {done}", "segmentation")
    prepared.fill(node, "segmentation", source)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())  # first: the geometry is stored relative to it
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetNodeReferenceID(INPUT, source.proxy.GetID())
    _copyDisplay(given, node)
    startAfresh(node.GetDisplayNode())
    node.SetDisplayVisibility(True)  # what is given may be hidden behind an earlier result
    node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
    return node


def _addBrowser(name: str, nodes: dict[str, slicer.vtkMRMLNode], sequences: Sequences) -> list[slicer.vtkMRMLNode]:
    """Let the volumes and the segmentation go through their frames, in a browser of their own."""
    browser = _addNode("vtkMRMLSequenceBrowserNode", f"{name} browser", "browser")
    added = sequences.add(browser, nodes)
    for sequence in added:
        sequence.SetAttribute(ROLE, "sequence")
    return [browser, *added]


def _addMotion(further: FurtherVolume, source: Frame) -> slicer.vtkMRMLLinearTransformNode:
    """Add a transform from the coordinates of a further volume to where it fits, under that of the first volume.

    Put under it instead of its present transform, the volume lies in place.  It is left where it is.
    """
    node = _addNode("vtkMRMLLinearTransformNode", f"{further.node.GetName()} to {source.proxy.GetName()}", "motion")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(further.toFirst))
    node.SetAndObserveTransformNodeID(source.proxy.GetTransformNodeID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), further.node.GetID())
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), source.proxy.GetID())
    return node


def _parentItem(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, node: slicer.vtkMRMLNode) -> int:
    """The item that a node lies in; that of the scene if it lies in none."""
    item = hierarchy.GetItemByDataNode(node)
    return hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()


def _filled(image: vtk.vtkImageData, array: np.ndarray, scalarType: int) -> Generator[None, None, vtk.vtkImageData]:
    """Copy `array` [k, j, i] into an image of this scalar type."""
    image.SetDimensions(array.shape[::-1])
    image.AllocateScalars(scalarType, 1)
    target = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(array.shape)
    pace = max(1, _BYTES_AT_A_TIME // array[0].nbytes)
    for first in range(0, len(array), pace):
        target[first:first + pace] = array[first:first + pace]
        yield
    return image


def _segmentation(segmentation: Segmentation, sources: Sequence[slicer.vtkSegmentation | None]
                  ) -> Generator[None, None, slicer.vtkSegmentation]:
    """The segments in Slicer's types; those of one layer share a label map, as in a .seg.nrrd.

    A segment keeps what it was: id, name, colour, terminology and other tags; one that was removed meanwhile keeps id,
    name and colour.

    Args:
        segmentation: Dense.
        sources: Where the segments come from: those with an identifier from the first, others from any by their names.
    """
    found, labelmaps = slicer.vtkSegmentation(), []
    found.SetSourceRepresentationName(BINARY_LABELMAP)
    found.CopyConversionParameters(next(source for source in sources if source is not None))
    image = slicer.vtkMRMLScalarVolumeNode()
    place(image, segmentation.grid)
    toRAS = vtk.vtkMatrix4x4()
    image.GetIJKToRASMatrix(toRAS)
    wide = max(segment.value for segment in segmentation.segments) > 255
    for layer in segmentation.layers:
        labelmap = yield from _filled(slicer.vtkOrientedImageData(), layer,
                                      vtk.VTK_UNSIGNED_SHORT if wide else vtk.VTK_UNSIGNED_CHAR)
        labelmap.SetImageToWorldMatrix(toRAS)
        labelmaps.append(labelmap)
    for given in segmentation.segments:
        segment = slicer.vtkSegment()
        described = _described(given, sources)
        if described is not None:
            segment.DeepCopyMetadata(described)
        else:
            segment.SetName(given.name)
            segment.SetColor(given.color or segment.GetColor())
        segment.SetLabelValue(given.value)
        segment.AddRepresentation(BINARY_LABELMAP, labelmaps[given.layer])
        found.AddSegment(segment, given.identifier)
        yield
    return found


def _described(segment: Segment, sources: Sequence[slicer.vtkSegmentation | None]) -> slicer.vtkSegment | None:
    """What is said of a segment where it comes from, see `_segmentation`; None where it is not there any more."""
    if segment.identifier:
        return sources[0] and sources[0].GetSegment(segment.identifier)
    found = ((source, source.GetSegmentIdBySegmentName(segment.name)) for source in sources if source is not None)
    return next((source.GetSegment(identifier) for source, identifier in found if identifier), None)


def _nodeIDs() -> list[str]:
    scene = slicer.mrmlScene
    return [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]
