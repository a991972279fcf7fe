"""What the views show of results, and that nothing stays hidden afterwards: as pixels, and as states of nodes."""
from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import rendered_views
import slicer
from panel_case import choose, click, moving, reconstructed, wait_until
from TriplaneGaussianReconModule.panel import views
from TriplaneGaussianReconModule.scene.results import remove
from TriplaneGaussianReconModule.scene.surfaces import hasSurfaces


def add_scan(widget: Any, drawn: tuple[int, ...] = tuple(range(9))) -> tuple[Any, Any]:
    """Choose a volume, and a segmentation that is drawn on some slices."""
    voxels, mask = moving()
    mask[np.setdiff1d(np.arange(len(mask)), drawn)] = False
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": mask})
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    return volume, segmentation


def layout() -> Any:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def backgrounds(*names: str) -> list[Any]:
    """What slice views show behind everything else."""
    logic = slicer.app.applicationLogic()
    return [logic.GetSliceLogic(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")).GetBackgroundLayer()
            .GetVolumeNode() for name in names or ("Red", "Green", "Yellow")]


def state(segmentation: Any) -> tuple[Any, ...]:
    """How a segmentation is shown in slice views."""
    display = segmentation.GetDisplayNode()
    return (bool(display.GetVisibility()), display.GetNumberOfViewNodeIDs(), bool(display.GetVisibility2DFill()),
            bool(display.GetVisibility2DOutline()))


def covered(*segmentations: Any, compared: tuple[str, ...] = views.COMPARED) -> list[list[bool]]:
    """For each compared view, whether each of these segmentations is drawn in it: whether pixels go with it."""
    found = []
    with rendered_views.slice_views(*compared) as shown:
        for view in shown:
            pixels, seen = view.pixels().astype(int), []
            for node in segmentations:
                opacity = node.GetDisplayNode().GetOpacity()
                node.GetDisplayNode().SetOpacity(0.0)
                seen.append(bool((np.abs(view.pixels() - pixels).max(axis=-1) > 8).sum() > 20))
                node.GetDisplayNode().SetOpacity(opacity)
            found.append(seen)
    return found


def test_compare_shows_each_segmentation_over_its_own_volume_and_none_over_the_error(widget: Any) -> None:
    volume, given = add_scan(widget)
    filled = reconstructed(widget).resultSegmentation
    other = mrml.add_segmentation(volume, {"core": moving()[1]})
    before = [state(node) for node in (given, filled, other)]
    click(widget.ui.compareButton)
    assert covered(given, filled, other) == [[True, False, False], [False, True, False], [False] * 3]
    assert not any(node.GetDisplayNode().IsDisplayableInView("vtkMRMLSliceNodeRed") for node in (given, filled))
    assert widget.ui.compareButton.text == "Leave Compare"
    click(widget.ui.compareButton)
    assert layout().GetViewArrangement() == layout().SlicerLayoutFourUpView
    assert [state(node) for node in (given, filled, other)] == before and widget.ui.compareButton.text == "Compare"


@pytest.mark.parametrize("isOverlaid", [False, True])
def test_labels_that_were_filled_alone_are_compared_side_by_side(widget: Any, isOverlaid: bool) -> None:
    volume, given = add_scan(widget, (0, 4, 8))
    choices = reconstructed(widget)
    filled, certainty = choices.resultSegmentation, choices.resultCertainty
    if isOverlaid:
        click(widget.ui.certaintyButton)
    before, usual = (state(given), state(filled)), layout().GetViewArrangement()
    click(widget.ui.compareButton)
    assert layout().GetViewArrangement() == views.LABELS_LAYOUT and backgrounds(*views.COMPARED_LABELS) == [volume] * 3
    assert covered(given, filled, compared=views.COMPARED_LABELS) == [[True, False], [False, True], [False, False]]
    assert state(given)[2] and state(filled)[2]  # both as areas, to be compared
    logic = slicer.app.applicationLogic()
    composites = [logic.GetSliceLogic(slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode"))
                  .GetSliceCompositeNode() for name in views.COMPARED_LABELS]
    assert [each.GetForegroundVolumeID() for each in composites] == [None, None, certainty.GetID()]
    assert all(each.GetLinkedControl() for each in composites)
    last = slicer.mrmlScene.GetSingletonNode(views.COMPARED_LABELS[-1], "vtkMRMLSliceNode")
    assert last.GetLayoutLabel() == "Certainty" and last.GetViewGroup() == views.LABELS_LAYOUT
    along = mrml.ijk_to_ras()[:3, 2] / 3.0
    assert abs(slicer.util.arrayFromVTKMatrix(last.GetSliceToRAS())[:3, 2] @ along) < 1e-6  # seen from the side
    assert not widget.ui.certaintyButton.visible
    click(widget.ui.compareButton)
    assert layout().GetViewArrangement() == usual and (state(given), state(filled)) == before
    assert widget.ui.certaintyButton.text == ("Hide certainty" if isOverlaid else "Show certainty")


@pytest.mark.parametrize("drawn", [(0, 4, 8), tuple(range(9))])
def test_before_is_not_offered_while_it_is_compared(widget: Any, drawn: tuple[int, ...]) -> None:
    add_scan(widget, drawn)
    reconstructed(widget)
    assert widget.ui.beforeButton.visible
    click(widget.ui.compareButton)
    assert not widget.ui.beforeButton.visible
    layout().SetViewArrangement(layout().SlicerLayoutOneUpRedSliceView)
    assert widget.ui.beforeButton.visible


@pytest.mark.parametrize("leave", [
    lambda widget: layout().SetViewArrangement(layout().SlicerLayoutOneUpRedSliceView),
    lambda widget: click(widget.ui.tableButton), lambda widget: click(widget.ui.plotButton)],
    ids=["layout", "table", "plot"])
@pytest.mark.parametrize("isOverlaid", [None, False, True])
def test_nothing_stays_hidden_when_another_layout_comes(widget: Any, leave: Any, isOverlaid: bool | None) -> None:
    """isOverlaid: Where labels alone are filled, whether their certainty is shown; None where the image is, too."""
    _volume, given = add_scan(widget, tuple(range(9)) if isOverlaid is None else (0, 4, 8))
    filled = reconstructed(widget).resultSegmentation
    if isOverlaid:
        click(widget.ui.certaintyButton)
    before = state(given), state(filled)
    click(widget.ui.compareButton)
    assert (state(given), state(filled)) != before
    leave(widget)
    assert (state(given), state(filled)) == before and widget.ui.compareButton.text == "Compare"
    if isOverlaid is not None:
        assert widget.ui.certaintyButton.text == ("Hide certainty" if isOverlaid else "Show certainty")


def test_a_new_result_is_shown_in_the_usual_layout_as_if_nothing_had_been_compared(widget: Any) -> None:
    _volume, given = add_scan(widget)
    former = reconstructed(widget).resultSegmentation
    usual = state(former)
    click(widget.ui.compareButton)
    parameters = reconstructed(widget)
    assert layout().GetViewArrangement() == layout().SlicerLayoutFourUpView
    assert state(parameters.resultSegmentation) == usual and backgrounds() == [parameters.resultVolume] * 3
    assert state(given) == state(former) == (False, *usual[1:])


@pytest.mark.parametrize("drawn", [(0, 4, 8), tuple(range(9))])
def test_a_scene_that_was_saved_while_comparing_hides_nothing(widget: Any, tmp_path: Path, drawn: tuple[int, ...]
                                                              ) -> None:
    add_scan(widget, drawn)
    filled = reconstructed(widget).resultSegmentation
    usual, name = state(filled), filled.GetName()
    click(widget.ui.compareButton)
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    click(widget.ui.compareButton)
    slicer.mrmlScene.Clear(False)
    with zipfile.ZipFile(tmp_path / "scene.mrb") as archive:
        archive.extractall(tmp_path / "scene")
    slicer.mrmlScene.SetURL(str(next((tmp_path / "scene").rglob("*.mrml"))))
    assert slicer.mrmlScene.Import(None) and widget.ui.compareButton.text == "Leave Compare"
    layout().SetViewArrangement(layout().SlicerLayoutOneUpRedSliceView)
    loaded, = (node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node.GetName() == name)
    assert state(loaded) == usual


@pytest.mark.parametrize("kind", ["table", "plot"])
def test_a_second_press_of_table_or_plot_leads_back(widget: Any, kind: str) -> None:
    add_scan(widget)
    reconstructed(widget)
    layout().SetViewArrangement(layout().SlicerLayoutConventionalView)
    button = getattr(widget.ui, f"{kind}Button")
    click(widget.ui.compareButton)
    click(button)
    assert layout().GetViewArrangement() not in (views.LAYOUT, layout().SlicerLayoutConventionalView)
    assert button.text == f"Hide {kind}"
    click(button)
    assert layout().GetViewArrangement() == layout().SlicerLayoutConventionalView
    assert button.text == kind.capitalize()


def test_former_results_of_the_same_input_are_hidden_and_stay_in_the_scene(widget: Any) -> None:
    add_scan(widget)
    former = reconstructed(widget).resultSegmentation
    volume = mrml.add_volume(moving()[0][:, ::-1].copy(), name="other")
    segmentation = mrml.add_segmentation(volume, {"core": moving()[1]})
    first = widget.ui.inputVolume.currentNode(), widget.ui.segmentation.currentNode()
    widget.ui.inputVolume.setCurrentNode(volume)
    widget.ui.segmentation.setCurrentNode(segmentation)
    other = reconstructed(widget).resultSegmentation
    widget.ui.inputVolume.setCurrentNode(first[0])
    widget.ui.segmentation.setCurrentNode(first[1])
    new = reconstructed(widget).resultSegmentation
    assert [bool(node.GetDisplayVisibility()) for node in (former, other, new)] == [False, True, True]
    assert former.GetScene() is not None


def test_labels_are_outlines_while_certainty_is_shown(widget: Any) -> None:
    _volume, given = add_scan(widget, (0, 4, 8))
    filled = reconstructed(widget).resultSegmentation
    given.GetDisplayNode().SetVisibility2DOutline(False)  # or nothing of it would be seen
    before = state(given), state(filled)
    click(widget.ui.certaintyButton)
    assert [state(node)[2:] for node in (given, filled)] == [(False, True)] * 2
    new = reconstructed(widget)
    assert views.isOverlaid(new.resultCertainty) and state(new.resultSegmentation)[2:] == (False, True)
    click(widget.ui.certaintyButton)
    assert (state(given), state(new.resultSegmentation)) == before


def test_certainty_that_is_removed_leaves_no_outlines(widget: Any) -> None:
    _volume, given = add_scan(widget, (0, 4, 8))
    certainty = reconstructed(widget).resultCertainty
    click(widget.ui.certaintyButton)
    slicer.mrmlScene.RemoveNode(certainty)
    widget.enter()
    assert state(given)[2]


def test_one_goes_on_drawing_in_what_is_seen_once_labels_are_filled(widget: Any) -> None:
    volume, given = add_scan(widget, (0, 4, 8))
    other = mrml.add_volume(moving()[0][::-1].copy(), name="other")
    views.showEverywhere(other)
    filled = reconstructed(widget).resultSegmentation
    assert backgrounds() == [volume] * 3
    assert state(given) == (True, 0, True, True) and state(filled) == (True, 0, False, True)
    views.showEverywhere(other)
    click(widget.ui.nextSliceButton)
    assert backgrounds() == [volume] * 3
    for _press, shown in ((1, given), (2, filled)):
        click(widget.ui.beforeButton)
        assert [node for node in (given, filled) if node.GetDisplayVisibility()] == [shown] and state(shown)[2]


def test_the_slice_to_draw_next_is_shown_in_the_usual_views(widget: Any) -> None:
    add_scan(widget, (0, 4, 8))
    choose(widget.ui.trust, "Every Nth slice")
    reconstructed(widget)
    click(widget.ui.compareButton)
    click(widget.ui.nextSliceButton)
    assert layout().GetViewArrangement() == layout().SlicerLayoutFourUpView
    assert "The view Red shows slice" in widget.ui.message.text


def test_a_volume_that_is_shown_already_stays_where_it_is(widget: Any) -> None:
    volume, _given = add_scan(widget, (0, 4, 8))
    views.showFitted(volume)
    red = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    red.SetFieldOfView(5.0, 5.0, 1.0)
    reconstructed(widget)
    assert red.GetFieldOfView()[:2] == (5.0, 5.0)


def test_what_was_before_is_seen_in_3d_too(widget: Any) -> None:
    _volume, given = add_scan(widget)
    filled = reconstructed(widget).resultSegmentation
    click(widget.ui.show3DButton)
    wait_until(lambda: widget.ui.show3DButton.text == "Hide 3D")
    assert not hasSurfaces(given.GetSegmentation())
    with rendered_views.three_d_view() as view:
        click(widget.ui.beforeButton)
        wait_until(lambda: widget.ui.show3DButton.text == "Hide 3D")
        view.renderer.ResetCamera()
        assert hasSurfaces(given.GetSegmentation()) and view.pixels().any()
        given.SetDisplayVisibility(False)
        assert not view.pixels().any()
        given.SetDisplayVisibility(True)
    click(widget.ui.show3DButton)
    assert not hasSurfaces(given.GetSegmentation()) and not hasSurfaces(filled.GetSegmentation())
    click(widget.ui.show3DButton)
    wait_until(lambda: widget.ui.show3DButton.text == "Hide 3D")
    assert hasSurfaces(given.GetSegmentation()) and not hasSurfaces(filled.GetSegmentation())


@pytest.mark.parametrize("how", ["folder", "undo"])
@pytest.mark.parametrize("isCompared", [False, True])
@pytest.mark.parametrize("drawn", [(0, 4, 8), tuple(range(9))])
def test_the_input_is_shown_again_when_its_results_are_removed(widget: Any, how: str, isCompared: bool,
                                                               drawn: tuple[int, ...],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    volume, given = add_scan(widget, drawn)
    results: list[Any] = []
    completed = widget.panel._onCompleted
    monkeypatch.setattr(widget.panel, "_onCompleted", lambda found, problem: (
        results.append(found), completed(found, problem)))
    reconstructed(widget)
    if isCompared:
        click(widget.ui.compareButton)
    if how == "undo":
        remove(results[0])
    else:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        hierarchy.RemoveItem(results[0].folderItemID)
    qt.QCoreApplication.processEvents()
    wait_until(lambda: given.GetDisplayVisibility())
    assert backgrounds() == [volume] * 3 and state(given) == (True, 0, True, True)
    assert layout().GetViewArrangement() == layout().SlicerLayoutFourUpView


def test_a_scene_that_is_closed_is_left_alone(widget: Any) -> None:
    add_scan(widget)
    reconstructed(widget)
    click(widget.ui.compareButton)
    slicer.mrmlScene.Clear(False)
    qt.QCoreApplication.processEvents()
    assert backgrounds() == [None] * 3
