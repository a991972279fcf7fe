"""A run that is started on the panel: to its end, cancelled, failed, and what it leaves."""
from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import mrml
import pytest
import slicer
from panel_case import add_scan, choose, click, opened_panel, read, reconstructed, red, wait_until
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import views
from TriplaneGaussianReconModule.run.parameters import Trust


def test_reconstruct_becomes_cancel_and_results_come(widget: Any, process: StandInWorkerProcess) -> None:
    volume, segmentation = add_scan(widget)
    choose(widget.ui.trust, "Every Nth slice")
    before, button = mrml.fingerprint(slicer.mrmlScene), widget.ui.reconstructButton
    parameters = widget.logic.getParameterNode().parameterNode.GetID()
    process.isHeld = True
    click(button)
    assert button.text == "Cancel" and button.enabled
    wait_until(lambda: widget.ui.preview.visible)
    assert widget.ui.progressBar.value == 500 and not widget.ui.preview.pixmap.isNull()
    assert widget.ui.progressText.text == "Stage 2 of 8: Learning from the scan&#x27;s own slices, 1 s left"
    process.isHeld = False
    process._timer.start(0)
    wait_until(lambda: not widget.logic.isRunning)
    assert button.text == "Reconstruct" and not widget.ui.progressView.visible
    assert widget.ui.message.text.startswith("Done in ") and not widget.ui.resultsSection.collapsed
    choices, after = widget.logic.getParameterNode(), mrml.fingerprint(slicer.mrmlScene)
    assert choices.resultVolume.GetName() == f"{volume.GetName()} reconstructed"
    assert choices.resultSegmentation.GetSegmentation().GetSegmentIDs() == ("core", "shifted")
    changed = {name for name in before if after[name] != before[name]} - {parameters}
    views = ("vtkMRMLSlice", "vtkMRMLSelection", "vtkMRMLSegmentationDisplay")
    assert all(name.startswith(views) for name in changed)  # the result is shown
    first = "Errors are 18 % smaller than with linear interpolation between slices (1.7 dB)."
    assert widget.ui.resultText.text.startswith(f"<b>{first}</b><br>")
    assert read(widget.ui.resultText).splitlines() == [
        first, f"Result of '{volume.GetName()}':", "Expected error: 2.22 on average, in units of the volume.",
        "Errors are 10 % smaller than with the best usual method, cubic interpolation (0.9 dB).",
        "Checked on 3 slices, each hidden and predicted across twice the real gap (PSNR 20.0 dB)."]


def test_cancel_leaves_the_scene_as_it_was(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    before, button = mrml.fingerprint(slicer.mrmlScene), widget.ui.reconstructButton
    process.isHeld = True
    click(button)
    wait_until(lambda: process.state == "running")
    click(button)
    assert button.text == "Cancelling..." and not button.enabled
    assert widget.ui.progressText.text == "Cancelling..."
    wait_until(lambda: not widget.logic.isRunning)
    assert button.text == "Reconstruct" and button.enabled
    assert widget.ui.message.text == "Cancelled. The scene is as it was."
    assert mrml.fingerprint(slicer.mrmlScene) == before


def test_a_run_from_the_console_is_not_the_panels(widget: Any, process: StandInWorkerProcess) -> None:
    volume, _ = add_scan(widget)
    button, ends = widget.ui.reconstructButton, list[Any]()
    widget.logic.reconstruct(volume, waitForCompletion=False, completedCallback=lambda *ended: ends.append(ended))
    assert button.text == "Reconstruct" and not button.enabled and "started elsewhere" in button.toolTip
    widget.ui.seed.value = 5
    assert not button.enabled
    wait_until(lambda: ends)
    assert ends[0][0] is not None and button.enabled and "started elsewhere" not in button.toolTip
    assert widget.logic.getParameterNode().resultVolume is None and not widget.ui.message.visible
    assert ends[0][0].volume not in shown_volumes()


def shown_volumes() -> set[Any]:
    """What the slice views show in the background."""
    return {slicer.app.applicationLogic().GetSliceLogic(view).GetBackgroundLayer().GetVolumeNode()
            for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")}


def test_the_result_is_shown(widget: Any) -> None:
    volume, _ = add_scan(widget)
    views.showEverywhere(volume)
    assert shown_volumes() == {volume}
    result = reconstructed(widget).resultVolume
    assert shown_volumes() == {result}


def test_the_filled_segmentation_takes_the_place_of_the_given_one(widget: Any) -> None:
    """Which would lie over it; a further result is shown although the given one is hidden by then."""
    _, given = add_scan(widget)
    first = reconstructed(widget).resultSegmentation
    assert first.GetDisplayVisibility() and not given.GetDisplayVisibility()
    assert reconstructed(widget).resultSegmentation.GetDisplayVisibility()


def test_a_failure_is_told_in_red(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    before = mrml.fingerprint(slicer.mrmlScene)
    process.failure = {"event": "failed", "kind": "memory", "message": "Not enough <memory>.", "details": ""}
    parameters = reconstructed(widget)
    assert red(widget.ui.message.text) and "Not enough &lt;memory&gt;." in widget.ui.message.text
    assert parameters.resultVolume is None and mrml.fingerprint(slicer.mrmlScene) == before
    process.failure = None
    reconstructed(widget)
    assert widget.ui.message.text.startswith("Done in ")


def test_what_is_found_out_only_when_it_starts_is_told(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    for name in ("core", "shifted"):
        segmentation.GetSegmentation().GetSegment(name).RemoveAllRepresentations()
    reconstructed(widget)
    assert red(widget.ui.message.text) and "has a voxel in the volume" in widget.ui.message.text


def test_without_consent_to_packages_nothing_starts(widget: Any, monkeypatch: pytest.MonkeyPatch,
                                                    process: StandInWorkerProcess) -> None:
    from TriplaneGaussianReconModule.installation import dependencies

    add_scan(widget)
    monkeypatch.setattr(dependencies, "ensure", lambda parent: False)
    click(widget.ui.reconstructButton)
    assert not process.folders and "Python packages are missing" in widget.ui.message.text


@pytest.mark.parametrize("event", ["close", "delete", "cleanup"])
def test_a_run_ends_with_what_it_belongs_to(widget: Any, process: StandInWorkerProcess, event: str) -> None:
    volume, _ = add_scan(widget)
    process.isHeld = True
    click(widget.ui.reconstructButton)
    wait_until(lambda: process.state == "running")
    if event == "close":
        slicer.mrmlScene.Clear(False)
    elif event == "delete":
        slicer.mrmlScene.RemoveNode(volume)
    else:
        widget.cleanup()
    assert process.state == "idle" and not widget.logic.isRunning
    assert slicer.util.getNodesByClass("vtkMRMLTableNode") == [] and not list(
        Path(slicer.app.temporaryPath).iterdir())
    if event != "cleanup":
        assert widget.ui.reconstructButton.text == "Reconstruct" and not widget.ui.reconstructButton.enabled
        assert "so there is no result" in widget.ui.message.text


def test_the_panel_works_on_in_a_scene_that_was_closed(widget: Any) -> None:
    for _ in range(2):
        add_scan(widget)
        assert reconstructed(widget).resultVolume is not None
        slicer.mrmlScene.Clear(False)
        assert widget.ui.inputVolume.currentNode() is None and not widget.ui.plotButton.visible


def test_after_cleanup_nothing_of_the_panel_reacts(widget: Any) -> None:
    volume, segmentation = add_scan(widget)
    parameters = widget.logic.getParameterNode()
    widget.cleanup()
    text = widget.ui.trustPreview.text
    parameters.trust = Trust.EVERY
    widget.ui.seed.value = 99
    assert widget.ui.trustPreview.text == text and parameters.seed == 0
    slicer.mrmlScene.RemoveNode(volume)
    slicer.mrmlScene.Clear(False)


def test_a_scene_that_was_closed_keeps_no_nodes_of_a_run(widget: Any) -> None:
    nodes = list(add_scan(widget))
    parameters = reconstructed(widget)
    nodes += [parameters.resultVolume, parameters.resultConfidence, parameters.resultSegmentation]
    kept = [weakref.ref(node) for node in nodes]
    nodes.clear()
    del parameters
    slicer.mrmlScene.Clear(False)
    gc.collect()
    assert not any(node() for node in kept)


def test_a_panel_that_was_closed_can_go(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    with opened_panel(monkeypatch) as opened:
        add_scan(opened)
        reconstructed(opened)
        kept = weakref.ref(opened.panel)
    del opened
    gc.collect()
    assert kept() is None
