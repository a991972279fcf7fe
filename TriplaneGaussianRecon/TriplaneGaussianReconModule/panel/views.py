"""Showing results in Slicer's views: side by side, as a plot, as a table."""
from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import AXES, Axis

from ..scene import looks
from ..scene.report import DOUBT, ERROR, FRAME, SLICE
from ..scene.tidying import ROLE
from .slice_views import mappedViews, worldGrid

LAYOUT, LABELS_LAYOUT = 8173, 8174  # numbers that no other layouts have, nor any other groups of views
COMPARED = ("TriplaneGaussianReconInput", "TriplaneGaussianReconResult", "TriplaneGaussianReconError")
COMPARED_LABELS = ("TriplaneGaussianReconDrawn", "TriplaneGaussianReconFilled", "TriplaneGaussianReconCertainty")
_COLOURS = ("#6EB04B", "#F34A33", "#EDD54C")
_CERTAINTY, _BESIDE = "certainty", "beside"  # reasons for outlines, see `looks.outline`
_CHART = "TriplaneGaussianRecon.Chart"  # reference from a table to its plot


def compare(volumes: tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLScalarVolumeNode,
                           slicer.vtkMRMLScalarVolumeNode], axis: Axis,
            segmentations: tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLSegmentationNode] | None = None,
            certainty: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
    """Show input, result and expected error, or how certain labels are, side by side, linked, in views of their own.

    Args:
        volumes: Input, result and expected error; thrice the input where labels alone were filled.
        axis: Along which slices were filled in. The views look across it, where the difference is seen.
        segmentations: What lies over input and result, unless both are hidden; none lies in the third view. It is
            undone by `looks.giveBack`.
        certainty: Where labels alone were filled: what lies over the third view.
    """
    direction = np.array(worldGrid(volumes[0]).direction)[:, AXES.index(axis)]
    layout, names, last = (LAYOUT, COMPARED, _("Error")) if certainty is None else (
        LABELS_LAYOUT, COMPARED_LABELS, _("Certainty"))
    _arrange(layout, _layout(names, (_("Input"), _("Result"), last)))
    _settle()
    nodes = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in names]
    logics = [slicer.app.applicationLogic().GetSliceLogic(node) for node in nodes]
    for node, logic, volume in zip(nodes, logics, volumes, strict=True):
        composite = logic.GetSliceCompositeNode()
        composite.SetLinkedControl(False)  # or each view would change the others while they are set up
        composite.SetDoPropagateVolumeSelection(False)
        composite.SetBackgroundVolumeID(volume.GetID())
        _layOver(composite, certainty if node is nodes[-1] else None)
        composite.SetLabelVolumeID(None)
        node.SetViewGroup(layout)
        node.SetOrientation("Sagittal" if np.abs(direction).argmax() else "Coronal")
        node.RotateToVolumePlane(volumes[0])
        logic.FitSliceToBackground()
    for logic in logics:
        logic.GetSliceCompositeNode().SetLinkedControl(True)
    areShown = segmentations is not None and any(node.GetDisplayVisibility() for node in segmentations)
    looks.showApart(slicer.mrmlScene, dict(zip(segmentations or (), nodes, strict=False)) if areShown else {})


def plot(table: slicer.vtkMRMLTableNode) -> None:
    """Plot the expected error of each slice, or where the image is known, that of labels.

    The nodes of the plot are removed with the results.
    """
    chart = table.GetNodeReference(_CHART) or _addChart(table)
    slicer.modules.plots.logic().ShowChartInLayout(chart)


def showTable(table: slicer.vtkMRMLTableNode) -> None:
    """Show the scores of slices as a table."""
    layout = layoutNode()
    layout.SetViewArrangement(slicer.modules.tables.logic().GetLayoutWithTable(layout.GetViewArrangement()))
    slicer.app.applicationLogic().GetSelectionNode().SetActiveTableID(table.GetID())
    slicer.app.applicationLogic().PropagateTableSelection()


def show(volume: slicer.vtkMRMLScalarVolumeNode, view: slicer.vtkMRMLSliceNode) -> None:
    """Show a volume in one slice view."""
    composite = slicer.app.applicationLogic().GetSliceLogic(view).GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(volume.GetID())


def showEverywhere(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a volume in all slice views, without moving them."""
    application = slicer.app.applicationLogic()
    application.GetSelectionNode().SetActiveVolumeID(volume.GetID())
    application.PropagateBackgroundVolumeSelection(0)


def showFitted(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a volume in all slice views; if none of them shows it yet, all of it."""
    isNew = not isShown(volume)
    showEverywhere(volume)
    if isNew:
        logics = map(slicer.app.applicationLogic().GetSliceLogic, slicer.util.getNodesByClass("vtkMRMLSliceNode"))
        for logic in logics:
            if logic is not None and logic.GetSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID():
                logic.FitSliceToBackground()


def showInstead(shown: slicer.vtkMRMLDisplayableNode, hidden: slicer.vtkMRMLDisplayableNode) -> None:
    """Show one segmentation and hide another one, which would lie over it."""
    hidden.SetDisplayVisibility(False)
    shown.SetDisplayVisibility(True)
    looks.fill(shown, _BESIDE)


def showBeside(drawn: slicer.vtkMRMLSegmentationNode, outlined: slicer.vtkMRMLSegmentationNode) -> None:
    """Show a segmentation that is drawn on as it is, and another one as outlines over it."""
    drawn.SetDisplayVisibility(True)
    outlined.SetDisplayVisibility(True)
    looks.outline(outlined, _BESIDE)


def isShown(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a slice view shows a volume behind everything else."""
    return any(composite.GetBackgroundVolumeID() == volume.GetID() for composite in _composites())


def isAnyEmpty() -> bool:
    """Whether a slice view shows no volume behind everything else."""
    return any(not composite.GetBackgroundVolumeID() for composite in _composites())


def look3D() -> None:
    """Let the 3D views look at the middle of what they show; a layout without any makes way for the usual one."""
    if not any(node.IsMappedInLayout() for node in slicer.util.getNodesByClass("vtkMRMLViewNode")):
        layoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    manager = slicer.app.layoutManager()
    for number in range(manager.threeDViewCount):
        manager.threeDWidget(number).threeDView().resetFocalPoint()


def isOverlaid(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a slice view shows a volume over another one."""
    return any(composite.GetForegroundVolumeID() == volume.GetID() for composite in _coverable())


def overlay(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a volume half transparent over what the slice views show; if one does so already, do not any more."""
    found, isShown = _coverable(), isOverlaid(volume)
    for composite in found:
        if not isShown:
            _layOver(composite, volume)
        elif composite.GetForegroundVolumeID() == volume.GetID():
            _layOver(composite, None)
    followCertainty()


def followCertainty() -> None:
    """Show the outlines of segmentations alone where certainty lies over the image: its colours would mix with theirs.
    """
    areOutlined = any(_isCertainty(composite) for composite in _coverable())
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        (looks.outline if areOutlined else looks.fill)(node, _CERTAINTY)


def replaceCertainty(certainty: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Where a former certainty lies over the image, show this one; None for none."""
    for composite in _coverable():
        if _isCertainty(composite):
            composite.SetForegroundVolumeID(certainty and certainty.GetID())
    followCertainty()


def placeBeside(node: slicer.vtkMRMLNode, sibling: slicer.vtkMRMLNode) -> None:
    """Move a node into the subject hierarchy folder of another one, so that it is deleted with it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(sibling))
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node), folder)


def _composites() -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What says which volumes each slice view of the layout shows."""
    logic = slicer.app.applicationLogic()
    return [logic.GetSliceLogic(view).GetSliceCompositeNode() for view in mappedViews()]


def _coverable() -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What says so of all slice views, be they in the layout or not, but for those where certainty is compared.

    While layouts change, it is not known for a moment which views are in the layout.
    """
    logic = slicer.app.applicationLogic()
    found = [logic.GetSliceLogic(view) for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")
             if view.GetSingletonTag() not in COMPARED_LABELS]
    return [each.GetSliceCompositeNode() for each in found if each is not None]


def _layOver(composite: slicer.vtkMRMLSliceCompositeNode, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Show a volume half transparent over the one behind it; None for none."""
    composite.SetForegroundVolumeID(volume and volume.GetID())
    composite.SetForegroundOpacity(0.0 if volume is None else 0.5)


def _isCertainty(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether a certainty lies over the image."""
    shown = composite.GetForegroundVolumeID()
    node = slicer.mrmlScene.GetNodeByID(shown) if shown else None
    return node is not None and node.GetAttribute(ROLE) == "certainty"


def _addChart(table: slicer.vtkMRMLTableNode) -> slicer.vtkMRMLPlotChartNode:
    name, scene = table.GetName(), slicer.mrmlScene
    isOfLabels = table.GetColumnIndex(ERROR) < 0
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", scene.GenerateUniqueName(name))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(SLICE)
    series.SetYColumnName(DOUBT if isOfLabels else ERROR)
    series.SetPlotType(series.PlotTypeScatter)
    several = table.GetColumnIndex(FRAME) >= 0 and slicer.util.arrayFromTableColumn(table, FRAME).any()
    series.SetLineStyle(series.LineStyleNone if several else series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleCircle)
    series.SetUniqueColor()
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
    chart.SetTitle(_("Labels in doubt on each slice") if isOfLabels else _("Expected error of each slice"))
    chart.SetXAxisTitle(_("Slice of the input"))
    chart.SetYAxisTitle(_("Voxels in doubt") if isOfLabels else _("Expected error"))  # longer ones are cut
    chart.SetLegendVisibility(False)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    table.SetNodeReferenceID(_CHART, chart.GetID())
    for node in (series, chart):
        node.SetAttribute(ROLE, "plot")
        placeBeside(node, table)
    return chart


def _layout(names: Sequence[str], labels: Sequence[str]) -> str:
    """Three slice views in a row, as Slicer describes layouts."""
    return '<layout type="horizontal" split="true">' + "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        f'<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{escape(label)}</property>'
        f'<property name="viewcolor" action="default">{colour}</property></view></item>'
        for name, label, colour in zip(names, labels, _COLOURS, strict=True)) + "</layout>"


def _arrange(number: int, description: str) -> None:
    """Switch to a layout of our own."""
    layout = layoutNode()
    if not layout.IsLayoutDescription(number):
        layout.AddLayoutDescription(number, description)
    layout.SetViewArrangement(number)


def _settle() -> None:
    """Deliver what Qt has queued for views: their sizes, and the sliders of new ones."""
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.MetaCall)


def layoutNode() -> slicer.vtkMRMLLayoutNode:
    """What says which layout is shown."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
