"""The panel in the application: a first try by clicks alone."""
from __future__ import annotations

import unittest
from typing import Any

import qt
import slicer
from TriplaneGaussianReconModule.installation import dependencies

NAME = "TriplaneGaussianRecon"
LONGEST = 600_000  # milliseconds; far beyond what a run takes, so that a test that hangs fails


class TriplaneGaussianReconPanelTest(unittest.TestCase):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule(NAME)
        self.widget = slicer.util.getModuleWidget(NAME)
        self.ui = self.widget.ui

    def test_an_empty_scene_cannot_be_reconstructed_and_the_button_says_why(self) -> None:
        self.assertFalse(self.ui.reconstructButton.enabled)
        self.assertTrue(self.ui.reconstructButton.toolTip)

    def test_try_it_fills_in_the_panel(self) -> None:
        self.ui.tryButton.click()
        self.assertIsNotNone(self.ui.inputVolume.currentNode())
        self.assertIsNotNone(self.ui.segmentation.currentNode())

    def test_choices_are_kept_with_the_scene(self) -> None:
        self.ui.tryButton.click()
        self.ui.seed.value = 7
        parameters = self.widget.logic.getParameterNode()
        self.assertEqual(parameters.seed, 7)
        self.assertIs(parameters.inputVolume, self.ui.inputVolume.currentNode())

    def test_reconstruct_turns_into_cancel_and_back_and_leaves_results(self) -> None:
        self._require_packages()
        self.ui.tryButton.click()
        before = self.ui.reconstructButton.text
        self.ui.reconstructButton.click()
        self.assertNotEqual(self.ui.reconstructButton.text, before)
        self._wait_until(lambda: not self.widget.logic.isRunning)
        self.assertEqual(self.ui.reconstructButton.text, before)
        self.assertIsNotNone(self.widget.logic.getParameterNode().resultVolume)

    def test_cancel_leaves_no_results(self) -> None:
        self._require_packages()
        self.ui.tryButton.click()
        self.ui.reconstructButton.click()
        self.ui.reconstructButton.click()
        self._wait_until(lambda: not self.widget.logic.isRunning)
        self.assertIsNone(self.widget.logic.getParameterNode().resultVolume)

    def _require_packages(self) -> None:
        if missing := dependencies.missing():
            self.skipTest(f"Python packages are missing, and tests install nothing: {', '.join(missing)}")

    def _wait_until(self, holds: Any) -> None:
        """Let Slicer go on until something holds."""
        loop, look, limit = qt.QEventLoop(), qt.QTimer(), qt.QTimer()
        look.connect("timeout()", lambda: holds() and loop.quit())
        limit.connect("timeout()", loop.quit)
        look.start(100)
        limit.setSingleShot(True)
        limit.start(LONGEST)
        loop.exec()
        look.stop()
        self.assertTrue(holds())
