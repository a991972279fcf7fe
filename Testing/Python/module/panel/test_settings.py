"""Sets of choices, scenes that hold them, and those that Try it makes."""
from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrml
import pytest
import qt
import slicer
from panel_case import add_scan, choose, click, moving, open_section, reconstructed, red, type_into, wait_until
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.parameters import TriplaneGaussianReconParameterNode, Trust, keywords
from TriplaneGaussianReconModule.run.task import Task
from TriplaneGaussianReconModule.scene import sample_data

from TriplaneGaussianReconLib.errors import InputError


def test_sets_of_parameters_do_not_mix(widget: Any) -> None:
    add_scan(widget)
    ui = widget.ui
    ui.seed.value = 3
    first = ui.parameterSet.currentNode()
    second = ui.parameterSet.addNode()
    assert ui.parameterSet.currentNode() is second and ui.seed.value == 0 and ui.inputVolume.currentNode() is None
    ui.seed.value = 8
    choose(ui.trust, "A percentage")
    ui.parameterSet.setCurrentNode(first)
    assert ui.seed.value == 3 and ui.trust.currentText == "All slices" and ui.inputVolume.currentNode() is not None
    sets = [TriplaneGaussianReconParameterNode(node) for node in (first, second)]
    assert [found.seed for found in sets] == [3, 8]
    assert [found.trust for found in sets] == [Trust.ALL, Trust.PERCENTAGE]
    slicer.mrmlScene.RemoveNode(first)
    assert ui.parameterSet.currentNode() is second and ui.seed.value == 8


def test_results_belong_to_the_set_they_were_made_with(widget: Any, process: StandInWorkerProcess) -> None:
    add_scan(widget)
    process.isHeld = True
    first = widget.ui.parameterSet.currentNode()
    click(widget.ui.reconstructButton)
    second = widget.ui.parameterSet.addNode()
    process.isHeld = False
    process._timer.start(0)
    wait_until(lambda: not widget.logic.isRunning)
    assert TriplaneGaussianReconParameterNode(second).resultVolume is None and not widget.ui.compareButton.visible
    widget.ui.parameterSet.setCurrentNode(first)
    assert TriplaneGaussianReconParameterNode(first).resultVolume is not None and widget.ui.compareButton.visible


def saved(folder: Path) -> Callable[[], None]:
    """Save the scene; returns what loads it into the scene that is there then."""
    assert slicer.mrmlScene.WriteToMRB(str(folder / "scene.mrb"))
    with zipfile.ZipFile(folder / "scene.mrb") as archive:
        archive.extractall(folder / "scene")

    def load() -> None:
        slicer.mrmlScene.SetURL(str(next((folder / "scene").rglob("*.mrml"))))
        assert slicer.mrmlScene.Import(None)

    return load


def test_choices_and_results_come_back_with_the_scene(widget: Any, tmp_path: Path) -> None:
    volume, _ = add_scan(widget)
    ui = widget.ui
    choose(ui.sliceAxis, "J (rows)")
    choose(ui.trust, "A list of slices")
    type_into(ui.sliceList, "0,4-19")
    type_into(ui.excludedSlices, "7")
    ui.outputSpacing.value, ui.seed.value = 0.45, 12
    ui.segments.item(1).setCheckState(qt.Qt.Unchecked)
    mrml.add_volume(moving()[0], name="further")
    reconstructed(widget)
    ui.furtherVolumes.item(0).setCheckState(qt.Qt.Checked)
    open_section(ui.furtherSection)
    type_into(ui.furtherExcluded, "1,2")
    ui.furtherSegmentation.setCurrentNode(ui.segmentation.currentNode())
    told, load = ui.resultText.text, saved(tmp_path)
    slicer.mrmlScene.Clear(False)
    assert ui.seed.value == 0 and ui.sliceList.text == ""
    load()
    assert (ui.sliceAxis.currentText, ui.trust.currentText, ui.sliceList.text, ui.excludedSlices.text) == (
        "J (rows)", "A list of slices", "0,4-19", "7")
    assert (ui.outputSpacing.value, ui.seed.value) == (0.45, 12)
    assert ui.inputVolume.currentNode().GetName() == volume.GetName()
    assert keywords(widget.logic.getParameterNode())["segmentIDs"] == ["core"]
    assert {node.GetName(): list(used.values()) for node, used in keywords(widget.logic.getParameterNode())[
        "furtherVolumes"].items()} == {"further": ["1,2", ui.segmentation.currentNode()]}
    assert ui.furtherVolumes.item(0).text() == "further" and ui.furtherVolumes.item(0).checkState() == qt.Qt.Checked
    assert ui.segments.item(1).checkState() == qt.Qt.Unchecked
    assert ui.resultText.text == told and ui.plotButton.visible and ui.compareButton.visible
    assert not ui.exportButton.visible  # models are not part of the scene


@pytest.mark.parametrize("hasPanel", [True, False])
def test_a_scene_that_is_loaded_while_another_module_is_open_keeps_its_choices(widget: Any, tmp_path: Path,
                                                                               hasPanel: bool) -> None:
    """Whether the panel has choices in the scene that was there before, or none."""
    mrml.add_volume(moving()[0], name="first")
    volume, _ = add_scan(widget)
    reconstructed(widget)
    told, load = widget.ui.resultText.text, saved(tmp_path)
    if hasPanel:
        slicer.mrmlScene.Clear(False)
    widget.exit()
    if not hasPanel:
        slicer.mrmlScene.Clear(False)
    load()
    widget.enter()
    assert widget.ui.inputVolume.currentNode().GetName() == volume.GetName()
    assert widget.logic.getParameterNode().inputVolume.GetName() == volume.GetName()
    assert widget.ui.resultText.text == told and widget.ui.compareButton.visible


def test_try_it_fills_in_the_panel(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels, mask = moving()

    def load(name: str) -> tuple[Any, Any]:
        assert name == sample_data.sampleNames()[0]
        volume = mrml.add_volume(voxels)
        return volume, mrml.add_segmentation(volume, {"core": mask})

    monkeypatch.setattr(sample_data, "load", load)
    parameters = widget.logic.getParameterNode()
    parameters.trust, parameters.task, parameters.outputSpacing = Trust.EVERY, Task.COMBINE, 5.0  # of another scan
    click(widget.ui.tryButton)
    assert widget.ui.reconstructButton.enabled and "is loaded. Press Reconstruct." in widget.ui.message.text
    assert "9 of 9 slices are used" in widget.ui.trustPreview.text and parameters.outputSpacing == 0
    assert reconstructed(widget).resultSegmentation is not None


def test_try_it_pressed_twice_keeps_to_one_sample(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels, mask = moving()

    def load(name: str) -> tuple[Any, Any]:
        volume = mrml.add_volume(voxels, name=slicer.mrmlScene.GenerateUniqueName("sample"))
        return volume, mrml.add_segmentation(volume, {"core": mask})

    monkeypatch.setattr(sample_data, "load", load)
    parameters = widget.logic.getParameterNode()
    click(widget.ui.tryButton)
    first = parameters.inputVolume, parameters.segmentation
    reconstructed(widget)
    before = mrml.node_ids(slicer.mrmlScene)
    parameters.trust, parameters.segmentation = Trust.EVERY, None
    click(widget.ui.tryButton)
    assert (parameters.inputVolume, parameters.segmentation) == first and parameters.trust is Trust.ALL
    assert mrml.node_ids(slicer.mrmlScene) == before and widget.ui.reconstructButton.enabled


def test_a_sample_that_cannot_be_loaded_is_told(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise InputError("Connect to the internet and try again.")

    monkeypatch.setattr(sample_data, "load", load)
    click(widget.ui.tryButton)
    assert red(widget.ui.message.text) and "Connect to the internet" in widget.ui.message.text
