"""What the buttons for results show."""
from __future__ import annotations

import gc
import itertools
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
import stand_in_worker
from panel_case import (
    SHAPE,
    add_scan,
    choose,
    click,
    moving,
    open_section,
    plane_of,
    read,
    reconstructed,
    red,
    wait_until,
)
from stand_in_worker import StandInWorkerProcess, outcome_of
from TriplaneGaussianReconModule.panel import views
from TriplaneGaussianReconModule.panel.plane_drawing import PlaneDrawing

from TriplaneGaussianReconLib.jobs.protocol import Job, Outcome
from TriplaneGaussianReconLib.pipeline.self_check import SelfCheck


def test_a_plane_that_was_drawn_keeps_no_nodes(scene: Any, tmp_path: Path) -> None:
    ends: list[str] = []
    drawing = PlaneDrawing(lambda node, problem: ends.append(problem), str(tmp_path / "no python"))
    nodes = [mrml.add_volume(moving()[0]), scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")]
    drawing.start(tmp_path / "model", *nodes)
    wait_until(lambda: ends)
    kept = [weakref.ref(node) for node in nodes]
    while nodes:
        scene.RemoveNode(nodes.pop())
    gc.collect()
    assert "could not be started" in ends[0] and [node() for node in kept] == [None, None]


BUTTONS = ("beforeButton", "show3DButton", "compareButton", "tableButton", "plotButton", "nextSliceButton",
           "certaintyButton", "renderButton", "exportButton")


def offered(ui: Any) -> set[str]:
    """The buttons that are there, among those for results; none of them is grey."""
    found = {name for name in BUTTONS if getattr(ui, name).visible}
    assert all(getattr(ui, name).enabled for name in found)
    return found


def test_without_a_result_there_are_no_buttons_for_one(widget: Any) -> None:
    open_section(widget.ui.resultsSection)
    assert read(widget.ui.resultText) == "Nothing has been reconstructed yet." and offered(widget.ui) == set()


def test_buttons_are_there_where_they_have_something_to_show(widget: Any) -> None:
    volume, _ = add_scan(widget)
    usual = {"beforeButton", "show3DButton", "compareButton", "tableButton", "plotButton"}
    choices = reconstructed(widget)
    assert offered(widget.ui) == usual
    open_section(widget.ui.advancedSection)
    click(widget.ui.keepModel)
    choices = reconstructed(widget)
    assert offered(widget.ui) == usual | {"renderButton", "exportButton"}
    slicer.mrmlScene.RemoveNode(choices.resultConfidence)
    widget.enter()
    assert offered(widget.ui) == usual - {"compareButton"} | {"renderButton", "exportButton"}


def test_there_is_a_way_back_from_a_layout_whose_results_are_gone(widget: Any) -> None:
    add_scan(widget)
    choices, layout = reconstructed(widget), slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    click(widget.ui.compareButton)
    slicer.mrmlScene.RemoveNode(choices.resultConfidence)
    widget.enter()
    assert widget.ui.compareButton.text == "Leave Compare"
    click(widget.ui.compareButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView and not widget.ui.compareButton.visible


def test_without_a_slice_view_no_plane_is_drawn_and_that_is_said(widget: Any) -> None:
    add_scan(widget)
    open_section(widget.ui.advancedSection)
    click(widget.ui.keepModel)
    reconstructed(widget)
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutOneUp3DView)
    click(widget.ui.renderButton)
    assert red(widget.ui.message.text) and "Choose a layout with one." in read(widget.ui.message)
    assert widget.ui.renderButton.text == "Render plane"


def test_views_show_input_result_and_error_linked(widget: Any) -> None:
    volume, _ = add_scan(widget)
    parameters = reconstructed(widget)
    click(widget.ui.compareButton)
    nodes = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in views.COMPARED]
    logics = [slicer.app.applicationLogic().GetSliceLogic(node) for node in nodes]
    assert all(node.IsMappedInLayout() for node in nodes)
    assert [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics] == [
        volume, parameters.resultVolume, parameters.resultConfidence]
    assert all(logic.GetSliceCompositeNode().GetLinkedControl() for logic in logics)
    planes = [slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3] for node in nodes]
    assert np.allclose(planes[0], planes[1]) and np.allclose(planes[0], planes[2])
    along = mrml.ijk_to_ras()[:3, 2] / 3.0
    assert abs(planes[0][:, 2] @ along) < 1e-6  # the slices are seen from the side


@pytest.mark.parametrize("directions", [None, np.eye(3), np.diag([4.0, 4.0, 1.0])], ids=["oblique", "straight", "wide"])
def test_compared_views_show_all_of_a_volume_cut_in_its_middle(widget: Any, directions: np.ndarray | None) -> None:
    volume, _ = add_scan(widget, directions)
    parameters = reconstructed(widget)
    others = {name: plane_of(name).copy() for name in ("Red", "Green", "Yellow")}
    click(widget.ui.compareButton)
    qt.QCoreApplication.processEvents()
    middle = mrml.world_of_voxel(volume, (np.array(SHAPE[::-1]) - 1) / 2)
    for name, shown in zip(views.COMPARED, (volume, parameters.resultVolume, parameters.resultConfidence), strict=True):
        node = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        view, plane = slicer.app.layoutManager().sliceWidget(name), plane_of(name)
        assert abs((middle - plane[:3, 3]) @ plane[:3, 2]) < 0.51 * max(volume.GetSpacing()[:2])
        assert node.GetDimensions()[:2] == (view.width, view.height) and view.width > 200
        ends = [(-0.5, count - 0.5) for count in shown.GetImageData().GetDimensions()]
        corners = np.array([[*mrml.world_of_voxel(shown, corner), 1.0] for corner in itertools.product(*ends)])
        pixels = corners @ np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS())).T
        assert (pixels[:, :2] > -1).all() and (pixels[:, :2] < [view.width + 1, view.height + 1]).all()
        assert max(np.ptp(pixels[:, :2], axis=0) / [view.width, view.height]) > 0.9
    for name, plane in others.items():
        assert np.array_equal(plane_of(name), plane)


def test_compared_views_are_scrolled_together_and_no_others(widget: Any) -> None:
    add_scan(widget, np.eye(3))
    reconstructed(widget)
    click(widget.ui.compareButton)
    others = {name: plane_of(name).copy() for name in ("Red", "Green", "Yellow")}
    first, *rest = views.COMPARED
    before = plane_of(first)[:3, 3].copy()
    slicer.app.layoutManager().sliceWidget(first).sliderMoved.emit(slicer.app.applicationLogic().GetSliceLogic(
        slicer.mrmlScene.GetSingletonNode(first, "vtkMRMLSliceNode")).GetSliceOffset() + 2.0)
    qt.QCoreApplication.processEvents()
    assert np.linalg.norm(plane_of(first)[:3, 3] - before) == pytest.approx(2.0)
    assert all(np.allclose(plane_of(name), plane_of(first)) for name in rest)
    for name, plane in others.items():
        assert np.array_equal(plane_of(name), plane)


@pytest.mark.parametrize("what", ["run", "loading"])
def test_compared_views_keep_what_they_show(widget: Any, what: str) -> None:
    add_scan(widget)
    reconstructed(widget)
    click(widget.ui.compareButton)
    application = slicer.app.applicationLogic()
    logics = [application.GetSliceLogic(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode"))
              for name in (*views.COMPARED, "Red")]
    compared = [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics[:3]]
    planes = [plane_of(name).copy() for name in views.COMPARED]
    if what == "run":
        other = reconstructed(widget).resultVolume
    else:
        other = mrml.add_volume(moving()[0], name="other")
        application.GetSelectionNode().SetActiveVolumeID(other.GetID())  # as readers of volumes do
        application.PropagateVolumeSelection()
    assert [logic.GetBackgroundLayer().GetVolumeNode() for logic in logics] == [*compared, other]
    assert all(np.array_equal(plane_of(name), plane) for name, plane in zip(views.COMPARED, planes, strict=True))


def test_a_result_is_compared_with_the_volume_that_it_was_made_from(widget: Any) -> None:
    volume, _ = add_scan(widget)
    reconstructed(widget)
    other = mrml.add_volume(moving()[0][:, ::-1].copy(), name="other")
    widget.ui.segmentation.setCurrentNode(None)
    widget.ui.inputVolume.setCurrentNode(other)
    choose(widget.ui.sliceAxis, "I (columns)")
    told = f"Result of another volume: '{volume.GetName()}'."
    assert widget.ui.resultText.text.replace("&#x27;", "'").startswith(f"<b>{told}</b><br>")
    assert widget.ui.resultText.text.count("<b>") == read(widget.ui.resultText).count("Result of") == 1
    click(widget.ui.compareButton)
    first = slicer.mrmlScene.GetSingletonNode(views.COMPARED[0], "vtkMRMLSliceNode")
    assert slicer.app.applicationLogic().GetSliceLogic(first).GetBackgroundLayer().GetVolumeNode() is volume
    normal = slicer.util.arrayFromVTKMatrix(first.GetSliceToRAS())[:3, 2]
    across = mrml.ijk_to_ras()[:3, 0]
    assert abs(normal @ across) / np.linalg.norm(across) > 0.999  # seen from the side of k, as chosen at that time
    slicer.mrmlScene.RemoveNode(volume)
    widget.enter()
    assert widget.ui.compareButton.text == "Leave Compare"
    click(widget.ui.compareButton)
    assert not widget.ui.compareButton.visible
    assert read(widget.ui.resultText).startswith("Result of a volume that is not in the scene any more.\n")


def test_plot_and_table_show_the_scores_and_go_with_them(widget: Any) -> None:
    add_scan(widget)
    parameters = reconstructed(widget)
    before, table = len(mrml.node_ids(slicer.mrmlScene)), parameters.resultScores
    for _press in range(3):  # there, back, and there again
        click(widget.ui.plotButton)
    series, = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert series.GetTableNode() is table and chart.GetNthPlotSeriesNode(0) is series
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == slicer.modules.plots.logic().GetLayoutWithPlot(layout.SlicerLayoutFourUpView)
    click(widget.ui.tableButton)
    assert slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID() == table.GetID()
    assert layout.GetViewArrangement() == slicer.modules.tables.logic().GetLayoutWithTable(
        layout.GetViewArrangement())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)))
    assert not slicer.util.getNodesByClass("vtkMRMLPlotChartNode") and len(mrml.node_ids(slicer.mrmlScene)) < before
    qt.QCoreApplication.processEvents()
    widget.enter()
    assert offered(widget.ui) == set()


def test_an_even_texture_is_asked_for_and_told(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    open_section(widget.ui.advancedSection)
    reconstructed(widget)
    assert "Even texture" not in widget.ui.resultText.text
    click(widget.ui.evenTexture)
    parameters = reconstructed(widget)
    assert "Even texture: noise of 11 " in widget.ui.resultText.text
    assert "for looking, not for measuring" in parameters.resultProvenance.GetText()
    assert '"evenTexture": true' in parameters.resultProvenance.GetText()


def test_a_model_that_was_kept_is_exported(widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_scan(widget)
    open_section(widget.ui.advancedSection)
    click(widget.ui.keepModel)
    reconstructed(widget)
    path = tmp_path / "кость.safetensors"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(path))
    click(widget.ui.exportButton)
    assert path.read_bytes() == b"a model"
    path = tmp_path / "nowhere" / "model.safetensors"
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", told.append)
    click(widget.ui.exportButton)
    assert "could not be written" in told[0] and str(path) in told[0]


def test_where_every_slice_was_used_nothing_is_said_to_be_checked(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def exact(job: Job, folder: Path) -> Outcome:
        outcome = outcome_of(job, folder)
        provenance = replace(outcome.report.provenance, self_check=SelfCheck(1.0, "Nothing was predicted."))
        return replace(outcome, report=replace(outcome.report, provenance=provenance))

    monkeypatch.setattr(stand_in_worker, "outcome_of", exact)
    add_scan(widget)
    reconstructed(widget)
    assert read(widget.ui.resultText).splitlines()[0] == (
        "Nothing was predicted: every slice of the result is one that was used.")
