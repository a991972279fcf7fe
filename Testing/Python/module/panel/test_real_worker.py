"""The panel with the real worker."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from panel_case import (
    add_scan,
    choose,
    click,
    cut_through,
    moving,
    opened_panel,
    read,
    reconstructed,
    type_into,
    wait_until,
)


@pytest.fixture
def real(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The panel with the real worker and the real list of devices."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with opened_panel(monkeypatch) as opened:
        yield opened


def normal_of(view: Any) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]


@pytest.mark.slow
def test_from_click_to_result_and_to_any_plane(real: Any) -> None:
    volume, _ = add_scan(real)
    wait_until(lambda: "Looking" not in real.ui.deviceNote.text)
    choose(real.ui.trust, "Every Nth slice")
    real.ui.keepModel.checked = True
    parameters = reconstructed(real)
    result = slicer.util.arrayFromVolume(parameters.resultVolume)
    voxels = slicer.util.arrayFromVolume(volume)
    assert np.abs(result[::2].astype(float) - voxels[::2]).mean() < 20.0
    assert "linear interpolation between slices" in read(real.ui.resultText).splitlines()[0]
    unit = parameters.resultScores.GetColumnUnitLabel("Expected error")
    assert unit == "% of the range" and unit in read(real.ui.resultText)
    cut_through(volume, (10.0, 9.0, 4.0), 2)
    click(real.ui.renderButton)
    assert not real.ui.renderButton.enabled and real.ui.renderButton.text == "Drawing..."
    wait_until(lambda: real.ui.renderButton.enabled)
    view = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    plane = slicer.app.applicationLogic().GetSliceLogic(view).GetBackgroundLayer().GetVolumeNode()
    assert plane.GetName() in real.ui.message.text and not list(Path(slicer.app.temporaryPath).glob("*/plane.nrrd"))
    drawn = slicer.util.arrayFromVolume(plane)
    ends = [mrml.world_of_voxel(plane, [0, 0, 0]), mrml.world_of_voxel(volume, [10.0, 9.0, 4.0])]
    assert drawn.shape[0] == 1 and abs((ends[1] - ends[0]) @ normal_of(view)) < 1e-3
    assert abs(drawn.max() - result[4].max()) < 50.0 and drawn.max() - drawn.min() > 500.0


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [True, False])
def test_only_the_bad_slice_is_replaced(real: Any, keeps: bool) -> None:
    """To the bit, in image and labels; or with the box unchecked all slices come out of the model."""
    voxels, mask = moving()
    noisy = (voxels + np.random.default_rng(0).integers(0, 400, voxels.shape)).astype(np.int16)
    volume = mrml.add_volume(noisy)
    segmentation = mrml.add_segmentation(volume, {"core": mask & (noisy % 3 > 0)})  # as ragged as no model is
    real.ui.inputVolume.setCurrentNode(volume)
    real.ui.segmentation.setCurrentNode(segmentation)
    choose(real.ui.task, "Replace bad slices")
    type_into(real.ui.excludedSlices, "4")
    if not keeps:
        click(real.ui.keepUsedSlices)
    parameters = reconstructed(real)
    result = slicer.util.arrayFromVolume(parameters.resultVolume)
    drawn = mrml.voxels_of_segment(segmentation, "core", volume)
    filled = mrml.voxels_of_segment(parameters.resultSegmentation, "core", volume)
    same = [np.array_equal(result[n], noisy[n]) and np.array_equal(filled[n], drawn[n]) for n in range(len(noisy))]
    assert same == [keeps and n != 4 for n in range(len(noisy))]
    assert not np.array_equal(result[4], noisy[4]) and filled[4].any()
    told = "as they are in the input" if keeps else "drawn as all others"
    assert f"Used slices in the result: {told}\n" in parameters.resultProvenance.GetText()
    assert f'"keepUsedSlices": {str(keeps).lower()}' in parameters.resultProvenance.GetText()


@pytest.mark.slow
def test_the_real_worker_is_cancelled_and_nothing_is_left(real: Any) -> None:
    add_scan(real)
    before = mrml.fingerprint(slicer.mrmlScene)
    click(real.ui.reconstructButton)
    wait_until(lambda: "Learning" in real.ui.progressText.text)
    click(real.ui.reconstructButton)
    wait_until(lambda: not real.logic.isRunning, seconds=10.0)
    assert mrml.fingerprint(slicer.mrmlScene) == before
    assert not list(Path(slicer.app.temporaryPath).iterdir())
