"""The tests that run inside the application, over stand-ins for it: what they call is there."""
from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from typing import Any

import mrml
import pytest
import slicer
from panel_case import CPU, StandInDeviceList, moving, opened_panel
from repository import ROOT
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.panel import device_choice
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic
from TriplaneGaussianReconModule.scene import sample_data

FOLDER = ROOT / "TriplaneGaussianRecon" / "Testing" / "Python"


@pytest.fixture
def widget(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The panel as the application gives it to its tests, with a sample that is there at once."""
    def load(name: str) -> tuple[Any, Any]:
        volume = mrml.add_volume(moving()[0])
        return volume, mrml.add_segmentation(volume, {"core": moving()[1]})

    monkeypatch.setattr(sample_data, "load", load)
    monkeypatch.setattr(TriplaneGaussianReconLogic.__init__, "__defaults__", (StandInWorkerProcess(),))
    monkeypatch.setattr(StandInDeviceList, "found", [CPU])
    monkeypatch.setattr(device_choice, "DeviceList", StandInDeviceList)
    monkeypatch.syspath_prepend(str(FOLDER))
    with opened_panel(monkeypatch) as opened:
        monkeypatch.setattr(slicer.util, "selectModule", lambda name: opened.enter())
        monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: opened)
        yield opened
    sys.modules.pop("TriplaneGaussianReconPanelTest", None)


@pytest.mark.parametrize("name", ["an_empty_scene_cannot_be_reconstructed_and_the_button_says_why",
                                  "try_it_fills_in_the_panel", "choices_are_kept_with_the_scene",
                                  "reconstruct_turns_into_cancel_and_back_and_leaves_results",
                                  "cancel_leaves_no_results"])
def test_the_panel_inside_the_application(widget: Any, name: str) -> None:
    from TriplaneGaussianReconPanelTest import TriplaneGaussianReconPanelTest

    result = unittest.TestResult()
    TriplaneGaussianReconPanelTest(f"test_{name}").run(result)
    assert result.wasSuccessful() and not result.skipped, [text for _, text in result.errors + result.failures]


def test_all_tests_of_the_panel_are_run_here() -> None:
    names = {line.strip().removeprefix("def test_").partition("(")[0] for line in
             (FOLDER / "TriplaneGaussianReconPanelTest.py").read_text().splitlines() if "def test_" in line}
    marks = test_the_panel_inside_the_application.pytestmark  # type: ignore[attr-defined]
    assert names == set(marks[0].args[1])
