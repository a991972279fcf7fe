"""What the user wants to have done: what is shown for it, what is said of it, and what has an effect."""
from __future__ import annotations

from typing import Any

import mrml
import numpy as np
import pytest
from panel_case import choose, click, cut_through, moving, reconstructed, type_into, wait_until
from TriplaneGaussianReconModule.run.parameters import keywords
from TriplaneGaussianReconModule.run.task import Task

CONTROLS = {"furtherSection": "COMBINE", "excludedSlices": "REPLACE FILL COMBINE",
            "labelsOn": "THINNER REPLACE FILL COMBINE", "keepUsedSlices": "REPLACE"}


def drawn(volume: Any, *slices: int) -> Any:
    """A segmentation on some slices."""
    mask = np.zeros_like(moving()[1])
    mask[list(slices)] = moving()[1][list(slices)]
    return mrml.add_segmentation(volume, {"core": mask})


def test_it_follows_what_is_chosen(widget: Any, volume: Any) -> None:
    box, parameters = widget.ui.task, widget.logic.getParameterNode()
    assert [box.itemText(n) for n in range(box.count)] == [
        "Automatic: Make slices thinner", "Make slices thinner", "Replace bad slices", "Fill a segmentation",
        "Combine volumes"]
    assert box.currentText == "Automatic: Make slices thinner"
    parameters.excludedSlices = "4"
    assert box.currentText == "Automatic: Replace bad slices"
    widget.ui.segmentation.setCurrentNode(drawn(volume, 0, 4, 8))
    assert box.currentText == "Automatic: Fill a segmentation"
    parameters.furtherVolumes = [mrml.add_volume(moving()[0], name="other")]
    assert box.currentText == "Automatic: Combine volumes"
    parameters.furtherVolumes = []
    widget.ui.segmentation.setCurrentNode(None)
    parameters.excludedSlices = ""
    assert box.currentText == "Automatic: Make slices thinner" and parameters.task is Task.AUTO


def test_it_stays_what_the_user_has_chosen_and_can_follow_again(widget: Any, volume: Any) -> None:
    choose(widget.ui.task, "Make slices thinner")
    widget.ui.segmentation.setCurrentNode(drawn(volume, 0, 4, 8))
    assert widget.ui.task.currentText == "Make slices thinner"
    assert widget.logic.getParameterNode().task is Task.THINNER
    choose(widget.ui.task, "Automatic")
    assert widget.ui.task.currentText == "Automatic: Fill a segmentation"
    assert widget.logic.getParameterNode().task is Task.AUTO


def test_both_jobs_are_named_where_thick_slices_are_drawn_on(widget: Any, volume: Any) -> None:
    widget.ui.segmentation.setCurrentNode(drawn(volume, *range(9)))
    wait_until(lambda: widget.ui.labelsPreview.text)
    assert widget.ui.taskPreview.text == "Makes 3 mm slices 0.7 mm, and fills the segmentation on them."
    assert widget.ui.task.currentText == "Automatic: Make slices thinner"
    assert widget.ui.segmentationLabel.text == "Segmentation (optional):"


def test_who_asks_for_thinner_slices_gets_them_though_some_are_not_drawn_on(widget: Any, volume: Any) -> None:
    widget.ui.segmentation.setCurrentNode(drawn(volume, 0, 4, 8))
    wait_until(lambda: widget.ui.labelsPreview.text)
    assert widget.ui.task.currentText == "Automatic: Fill a segmentation"
    choose(widget.ui.task, "Make slices thinner")
    assert widget.ui.taskPreview.text == ("Makes 3 mm slices 0.7 mm, and fills the segmentation on them, "
                                          "from 3 slices that are drawn on.")
    assert keywords(widget.logic.getParameterNode())["outputSpacing"] == "isotropic"
    widget.ui.outputSpacing.value = 1.5
    assert keywords(widget.logic.getParameterNode())["outputSpacing"] == 1.5


@pytest.mark.parametrize("task", [Task.THINNER, Task.REPLACE, Task.FILL, Task.COMBINE])
def test_each_shows_what_it_needs_and_no_more(widget: Any, volume: Any, task: Task) -> None:
    widget.ui.segmentation.setCurrentNode(drawn(volume, 0, 4, 8))
    choose(widget.ui.task, task.label())
    for name, of in CONTROLS.items():
        assert getattr(widget.ui, name).visible == (task.name in of.split()), name


def test_what_is_not_shown_has_no_effect(widget: Any, volume: Any) -> None:
    parameters, other = widget.logic.getParameterNode(), mrml.add_volume(moving()[0], name="other")
    parameters.segmentation, parameters.furtherVolumes = drawn(volume, 0, 4, 8), [other]
    parameters.excludedSlices, parameters.emptySlices = "5", "2"
    asked = {}
    for task in (Task.THINNER, Task.REPLACE, Task.FILL, Task.COMBINE):
        choose(widget.ui.task, task.label())
        given = keywords(parameters)
        asked[task] = given["excludedSlices"], given["labelsOn"], list(given["furtherVolumes"])
    assert asked == {Task.THINNER: ("", "drawn,2", []), Task.REPLACE: ("5", "drawn,2", []),
                     Task.FILL: ("5", "drawn,2", []), Task.COMBINE: ("5", "drawn,2", [other])}


@pytest.mark.parametrize(("task", "reason"), [
    (Task.FILL, "Choose the segmentation that is to be filled."),
    (Task.COMBINE, "Check at least one volume in the list 'Further volumes of the same body' below."),
    (Task.REPLACE, "Say which slices are bad")])
def test_what_it_lacks_is_said(widget: Any, volume: Any, task: Task, reason: str) -> None:
    choose(widget.ui.task, task.label())
    assert not widget.ui.reconstructButton.enabled and reason in widget.ui.reconstructButton.toolTip


def test_what_is_done_to_this_volume_is_said_in_a_sentence(widget: Any, volume: Any) -> None:
    told = widget.ui.taskPreview
    assert told.text == "Makes 3 mm slices 0.7 mm."
    widget.ui.outputSpacing.value = 3.0
    assert told.text == "Changes nothing yet: every slice is used, and the result has the voxels of the input."
    widget.ui.outputSpacing.value = 6.0
    assert told.text == "Makes 3 mm slices 6 mm, which is thicker."
    widget.ui.outputSpacing.value = 0.0
    choose(widget.ui.trust, "Every Nth slice")
    assert told.text == "Makes 4 of 9 slices from the others."
    choose(widget.ui.trust, "All slices")
    choose(widget.ui.task, "Combine volumes")
    assert told.text == "Check at least one volume in the list 'Further volumes of the same body' below."
    choose(widget.ui.task, "Replace bad slices")
    assert told.text.startswith("Say which slices are bad: ")
    type_into(widget.ui.excludedSlices, "3,5")
    assert told.text == "Replaces 2 of 9 slices."
    type_into(widget.ui.excludedSlices, "x")
    assert not told.visible


def test_the_sentence_tells_what_to_do_where_nothing_is_filled_and_what_is_replaced(widget: Any, volume: Any) -> None:
    told = widget.ui.taskPreview
    widget.ui.segmentation.setCurrentNode(drawn(volume, *range(9)))
    assert told.text == "Looking where the segmentation is drawn..."
    wait_until(lambda: widget.ui.labelsPreview.text)
    choose(widget.ui.task, "Fill a segmentation")
    widget.ui.outputSpacing.value = 3.0
    assert told.text.startswith("Changes nothing yet: every slice is used, and carries labels. Choose under 'Labels")
    widget.ui.outputSpacing.value = 0.0
    choose(widget.ui.task, "Replace bad slices")
    type_into(widget.ui.excludedSlices, "3")
    assert told.text == "Replaces 1 of 9 slices, and the segmentation on them."


def test_the_sentence_tells_of_labels_and_of_several_volumes(widget: Any, volume: Any) -> None:
    widget.ui.segmentation.setCurrentNode(drawn(volume, 0, 4, 8))
    wait_until(lambda: widget.ui.labelsPreview.text)
    assert widget.ui.taskPreview.text == "Fills the segmentation on 6 slices, from 3 that are drawn on."
    widget.logic.getParameterNode().furtherVolumes = [mrml.add_volume(moving()[0], name="other")]
    assert widget.ui.taskPreview.text == "Makes one volume of 2, with cubic voxels."


def test_a_volume_whose_bad_slices_are_replaced_keeps_its_voxels(widget: Any, volume: Any) -> None:
    choose(widget.ui.task, "Replace bad slices")
    for excluded in ("", "4"):
        type_into(widget.ui.excludedSlices, excluded)
        assert "22 x 20 x 9 voxels" in widget.ui.outputPreview.text


def test_where_bad_slices_are_replaced_the_others_stay_unless_one_does_not_want_that(widget: Any, volume: Any) -> None:
    parameters, box = widget.logic.getParameterNode(), widget.ui.keepUsedSlices
    assert not box.visible and not keywords(parameters)["keepUsedSlices"]
    type_into(widget.ui.excludedSlices, "4")
    assert widget.ui.task.currentText == "Automatic: Replace bad slices"
    assert box.visible and box.checked and keywords(parameters)["keepUsedSlices"]
    widget.ui.outputSpacing.value = 1.0  # other voxels, so that there is nothing to keep
    assert not box.visible and not keywords(parameters)["keepUsedSlices"]
    widget.ui.outputSpacing.value = 0.0
    click(box)
    assert box.visible and not keywords(parameters)["keepUsedSlices"]


def test_bad_slices_are_replaced_in_three_clicks(widget: Any, volume: Any) -> None:
    choose(widget.ui.task, "Replace bad slices")
    cut_through(volume, (10.0, 9.0, 4.0), 2)
    click(widget.ui.excludeButton)
    assert reconstructed(widget).resultVolume is not None
