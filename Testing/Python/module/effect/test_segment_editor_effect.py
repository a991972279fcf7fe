"""The effect of the Segment Editor: filling, preview, the next slice, applying.  The scene is real, the editor not."""
from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import mrml
import numpy as np
import pytest
import qt
import slicer
from application import StandInApplication, StandInLayoutManager
from panel_case import click, moving, wait_until
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.effect.registration import registerEffect
from TriplaneGaussianReconModule.installation import dependencies
from TriplaneGaussianReconModule.scene.results import ROLE

DRAWN = (0, 4, 8)


@pytest.fixture
def effect(scene: Any, process: StandInWorkerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The effect as the Segment Editor has it: registered, cloned, with controls, and a scan drawn on some slices."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    application = slicer.modules.application.logic()
    layouts = StandInLayoutManager(scene, application)
    monkeypatch.setattr(slicer, "app", StandInApplication(slicer.app.temporaryPath, application, layouts))
    monkeypatch.setattr(dependencies, "missing", list)
    monkeypatch.setattr(effects, "registered", [])
    registerEffect()
    made = effects.registered[0].self().clone()
    voxels, mask = moving()
    mask[np.setdiff1d(np.arange(len(mask)), DRAWN)] = False
    volume = mrml.add_volume(voxels)
    segmentation = mrml.add_segmentation(volume, {"core": mask, "hidden": np.roll(mask, 3, 2)})
    segmentation.GetDisplayNode().SetSegmentVisibility("hidden", False)
    parameters = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    parameters.SetAndObserveSegmentationNode(segmentation)
    parameters.SetAndObserveSourceVolumeNode(volume)
    made.setParameterSetNode(parameters)
    made.self().setupOptionsFrame()
    made.self().activate()
    made.optionsFrame().show()
    yield made
    made.self().cleanup()
    made.optionsFrame().deleteLater()
    layouts.close()
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)


def options_of(effect: Any) -> Any:
    """The effect's controls."""
    return effect.self().options


def filled(effect: Any) -> Any:
    """Press Fill and wait; return the controls."""
    options = options_of(effect)
    click(options.fillButton)
    wait_until(lambda: not options.filling.logic.isRunning)
    return options


def slices_of(segmentation: Any, name: str, volume: Any) -> list[int]:
    """On which slices a segment is."""
    return np.flatnonzero(mrml.voxels_of_segment(segmentation, name, volume).any(axis=(1, 2))).tolist()


def test_it_is_for_all_segments_and_says_what_to_do(effect: Any) -> None:
    assert effect.name == "Fill by image" and not effect.perSegment
    assert "Draw every segment on some slices" in effect.self().helpText() and not effect.self().icon().isNull()


def test_the_preview_fills_what_is_visible_and_changes_nothing(effect: Any) -> None:
    parameters = effect.parameterSetNode()
    volume, edited = parameters.GetSourceVolumeNode(), parameters.GetSegmentationNode()
    options = filled(effect)
    preview = options.filling.results.segmentation
    assert slices_of(preview, "core", volume) == list(range(9))
    assert preview.GetSegmentation().GetSegment("hidden") is None
    assert slices_of(edited, "core", volume) == list(DRAWN)
    assert preview.GetName().endswith("(preview)") and not preview.GetDisplayNode().GetVisibility2DOutline()
    assert options.applyButton.enabled and options.fillButton.text == "Fill again"
    assert "Apply it, or draw one more slice" in options.message.text


def test_applying_fills_the_segmentation_and_can_be_undone(effect: Any) -> None:
    parameters = effect.parameterSetNode()
    volume, edited = parameters.GetSourceVolumeNode(), parameters.GetSegmentationNode()
    options, described = filled(effect), mrml.tags_of(edited, "core")
    click(options.applyButton)
    assert effect.undoStates == 1 and slices_of(edited, "core", volume) == list(range(9))
    assert slices_of(edited, "hidden", volume) == list(DRAWN) and mrml.tags_of(edited, "core") == described
    assert not options.applyButton.enabled and options.fillButton.text == "Fill"
    assert not [node for node in slicer.util.getNodesByClass("vtkMRMLNode") if node.GetAttribute(ROLE)]


def test_a_discarded_preview_leaves_the_scene_as_it_was(effect: Any) -> None:
    before = mrml.fingerprint(slicer.mrmlScene)
    click(filled(effect).discardButton)
    after = mrml.fingerprint(slicer.mrmlScene)
    assert after == before and effect.undoStates == 0


def test_the_slice_to_draw_next_is_named_and_shown(effect: Any) -> None:
    options = filled(effect)
    volume = effect.parameterSetNode().GetSourceVolumeNode()
    assert options.nextButton.text == "Draw slice 1 next"
    click(options.nextButton)
    assert options.nextButton.text == "Draw slice 1 next"
    shown = [node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.IsMappedInLayout()]
    middle = mrml.world_of_voxel(volume, (10.5, 9.5, 1))
    assert min(abs((slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3] - middle)
                   @ slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 2]) for node in shown) < 1e-3
    edited = effect.parameterSetNode().GetSegmentationNode()
    name = edited.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(edited, name, volume).copy()
    mask[1, 9, 8:12] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, edited, name, volume)
    effect.self().activate()
    assert options.nextButton.text == "Draw slice 2 next"


def test_filling_again_replaces_the_preview_and_goes_on_from_what_was_learnt(effect: Any) -> None:
    first = filled(effect).filling.results.segmentation
    second = filled(effect).filling
    assert first.GetScene() is None and second.results.segmentation.GetScene() is slicer.mrmlScene
    assert '"started_from_earlier_run": true' in second.results.provenance.GetText()


def test_certainty_is_laid_over_the_image(effect: Any) -> None:
    options = filled(effect)
    click(options.certaintyButton)
    assert options.certaintyButton.text == "Hide certainty"
    click(options.certaintyButton)
    assert options.certaintyButton.text == "Show certainty"


def test_a_run_can_be_cancelled(effect: Any, process: StandInWorkerProcess) -> None:
    process.isHeld = True
    options = options_of(effect)
    before = mrml.fingerprint(slicer.mrmlScene)
    click(options.fillButton)
    assert options.fillButton.text == "Cancel" and options.progressBar.visible and not options.applyButton.enabled
    click(options.fillButton)
    wait_until(lambda: not options.filling.logic.isRunning)
    assert options.fillButton.text == "Fill" and mrml.fingerprint(slicer.mrmlScene) == before


def test_what_cannot_be_filled_is_said(effect: Any, process: StandInWorkerProcess) -> None:
    parameters, options = effect.parameterSetNode(), options_of(effect)
    volume, edited = parameters.GetSourceVolumeNode(), parameters.GetSegmentationNode()
    parameters.SetAndObserveSourceVolumeNode(None)
    assert "Choose a segmentation and a source volume" in filled(effect).message.text
    parameters.SetAndObserveSourceVolumeNode(volume)
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((9, 20, 22), np.uint8), edited, "core", volume)
    assert "nothing to fill" in filled(effect).message.text and options.filling.results is None
    process.failure = {"event": "failed", "kind": "memory", "message": "Memory ran out.", "details": ""}
    assert "Memory ran out." in filled(effect).message.text


def test_a_preview_that_the_user_removed_is_forgotten(effect: Any) -> None:
    options = filled(effect)
    slicer.mrmlScene.RemoveNode(options.filling.results.segmentation)
    effect.self().updateGUIFromMRML()
    assert options.filling.results is None and not options.applyButton.enabled and not options.nextButton.visible


def test_an_effect_that_was_cleaned_up_can_go_and_its_run_has_ended(effect: Any, process: StandInWorkerProcess) -> None:
    filled(effect)
    process.isHeld = True
    click(options_of(effect).fillButton)
    kept = weakref.ref(options_of(effect).filling)
    effect.self().cleanup()
    assert process.state == "idle" and effect.self().options is None
    frame = effect.optionsFrame()
    for child in frame.findChildren(qt.QWidget):
        child.deleteLater()  # as C++ does with the frame
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    gc.collect()
    assert kept() is None


def test_the_application_registers_it_when_it_has_started(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    import TriplaneGaussianRecon as module

    monkeypatch.setattr(effects, "registered", [])
    monkeypatch.setattr(module, "registerSampleData", lambda: None)
    monkeypatch.setattr(module.resume, "openModule", lambda: None)
    module._onStartupCompleted()
    assert [each.name for each in effects.registered] == ["Fill by image"]
