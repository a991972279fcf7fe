"""The module's tests inside the real application: `slicer_add_python_unittest`, or "Reload and Test" in developer mode.

They reconstruct the sample scans by the module's logic, as a user's script would.  Where the Python packages that this
takes are not installed they are skipped, saying so: tests install nothing.
"""
from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from .installation import dependencies
from .scene import sample_data

_MODULE = "TriplaneGaussianRecon"


class TriplaneGaussianReconTest(ScriptedLoadableModuleTest):
    """Slicer finds this class by its name in the module's file."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        if missing := dependencies.missing():
            self.skipTest(f"Python packages are missing: {', '.join(missing)}")
        self.logic = slicer.util.getModuleLogic(_MODULE)

    def runTest(self, **_settings: Any) -> None:
        """Run all tests, each on an empty scene; called by "Reload and Test"."""
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(type(self))
        result = unittest.TextTestRunner(verbosity=2).run(tests)
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.errors) + len(result.failures)} of {result.testsRun} tests failed.")

    def test_hidden_slices_are_filled_on_the_grid_of_the_input(self) -> None:
        volume, segmentation = sample_data.load("LumbarSpineCT")
        before = slicer.util.arrayFromVolume(volume).copy()

        results = self.logic.reconstruct(volume, segmentation, sliceAxis="k", trustedSlices="every:3")

        made = slicer.util.arrayFromVolume(results.volume)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), before)
        self.assertEqual((made.shape, made.dtype), (before.shape, before.dtype))
        np.testing.assert_allclose(_ijkToRas(results.volume), _ijkToRas(volume), atol=1e-9)
        error = np.abs(made.astype(float) - before).mean()
        self.assertLess(error, 0.5 * before.std(), "the hidden slices have hardly anything to do with the scan")
        expected = slicer.util.arrayFromVolume(results.confidence)
        self.assertEqual(expected.shape, before.shape)
        self.assertTrue(np.isfinite(expected).all() and (expected >= 0).all())
        self.assertGreater(results.scores.GetNumberOfRows(), 0)
        self.assertIn("every:3", results.provenance.GetText())

    def test_thick_slices_become_isotropic(self) -> None:
        volume, _ = sample_data.load("FetalBrainMR")

        results = self.logic.reconstruct(volume)

        spacing = results.volume.GetSpacing()
        self.assertAlmostEqual(spacing[2], min(volume.GetSpacing()), delta=0.05)
        self.assertIsNone(results.segmentation)
        bounds, expected = [0.0] * 6, [0.0] * 6
        results.volume.GetRASBounds(bounds)
        volume.GetRASBounds(expected)
        np.testing.assert_allclose(bounds, expected, atol=volume.GetSpacing()[2])

    def test_two_scans_of_one_body_become_one_and_what_lies_between_them_is_found(self) -> None:
        volume, _ = sample_data.load("FetalBrainMR")
        other = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(volume).copy(), _ijkToRas(volume), "other")
        shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
        shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4) + 2.0 * np.eye(4, k=3)))
        other.SetAndObserveTransformNodeID(shift.GetID())

        results = self.logic.reconstruct(volume, furtherVolumes=[other])

        motion, = results.motions
        np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(motion), np.eye(4), atol=0.5)
        self.assertIs(other.GetParentTransformNode(), shift)
        self.assertAlmostEqual(results.volume.GetSpacing()[2], min(volume.GetSpacing()), delta=0.05)

    def test_segments_keep_what_they_are(self) -> None:
        volume, segmentation = sample_data.load("LumbarSpineCT")

        results = self.logic.reconstruct(volume, segmentation, sliceAxis="k", trustedSlices="every:3")

        old, new = segmentation.GetSegmentation(), results.segmentation.GetSegmentation()
        self.assertEqual(list(new.GetSegmentIDs()), list(old.GetSegmentIDs()))
        for segment in old.GetSegmentIDs():
            self.assertEqual(new.GetSegment(segment).GetName(), old.GetSegment(segment).GetName())
            self.assertEqual(new.GetSegment(segment).GetColor(), old.GetSegment(segment).GetColor())
            truth = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume) > 0
            made = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation, segment, volume) > 0
            dice = 2 * (truth & made).sum() / (truth.sum() + made.sum())
            self.assertGreater(dice, 0.5, f"segment {segment}")

    def test_labels_drawn_on_some_slices_are_filled_and_the_volume_is_not_copied(self) -> None:
        volume, segmentation = sample_data.load("LumbarSpineCT")
        identifiers = segmentation.GetSegmentation().GetSegmentIDs()
        truth = {name: slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume) for name in identifiers}
        for name, mask in truth.items():
            drawn = np.zeros_like(mask)
            drawn[::4] = mask[::4]
            slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, segmentation, name, volume)

        results = self.logic.reconstruct(volume, segmentation, sliceAxis="k")

        self.assertIsNone(results.volume)
        certainty = slicer.util.arrayFromVolume(results.certainty)
        self.assertTrue((certainty >= 0).all() and (certainty <= 1).all() and certainty[0].min() == 1)
        scores = []
        for name, mask in truth.items():
            made = slicer.util.arrayFromSegmentBinaryLabelmap(results.segmentation, name, volume) > 0
            hidden = np.arange(len(mask)) % 4 > 0
            both = (made & (mask > 0))[hidden].sum()
            scores.append(2 * both / max(made[hidden].sum() + (mask[hidden] > 0).sum(), 1))
        self.assertGreater(np.mean(scores), 0.5)

    def test_results_stand_together_and_go_together(self) -> None:
        volume, segmentation = sample_data.load("LumbarSpineCT")
        before = _nodes()

        results = self.logic.reconstruct(volume, segmentation, sliceAxis="k", trustedSlices="every:3")

        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        for node in (results.volume, results.confidence, results.segmentation, results.scores, results.provenance):
            parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
            self.assertEqual(parent, results.folderItemID, node.GetName())
        hierarchy.RemoveItem(results.folderItemID)
        self.assertEqual(_nodes(), before)

    def test_cancelling_leaves_the_scene_as_it_was(self) -> None:
        volume, segmentation = sample_data.load("LumbarSpineCT")
        before = _nodes()
        done = _Completed()

        self.logic.reconstruct(volume, segmentation, sliceAxis="k", trustedSlices="every:3", preset="best",
                               waitForCompletion=False, completedCallback=done, progressCallback=done.onFirst(
                                   self.logic.cancel))
        done.wait()

        self.assertIsNone(done.results)
        self.assertEqual(done.message, "")
        self.assertEqual(_nodes(), before)

    def test_a_second_run_at_a_time_is_refused(self) -> None:
        volume, _ = sample_data.load("FetalBrainMR")
        done = _Completed()
        self.logic.reconstruct(volume, waitForCompletion=False, completedCallback=done)
        try:
            with self.assertRaises(Exception) as raised:
                self.logic.reconstruct(volume)
            self.assertTrue(str(raised.exception))
        finally:
            self.logic.cancel()
            done.wait()

    def test_what_cannot_be_reconstructed_is_refused_with_a_reason(self) -> None:
        volume, _ = sample_data.load("FetalBrainMR")
        before = _nodes()
        with self.assertRaises(ValueError) as raised:
            self.logic.reconstruct(volume, trustedSlices="0")
        self.assertTrue(str(raised.exception))
        self.assertEqual(_nodes(), before)


class _Completed:
    """A completedCallback that can be waited for."""

    def __init__(self) -> None:
        self.results: Any = None
        self.message = ""
        self._done = False
        self._loop = qt.QEventLoop()

    def __call__(self, results: Any, message: str) -> None:
        self.results, self.message, self._done = results, message, True
        self._loop.quit()

    def onFirst(self, act: Callable[[], Any]) -> Callable[[Any], None]:
        """Return a progressCallback that does something the first time that it is called."""
        acts = [act]

        def progress(_message: Any) -> None:
            if acts:
                acts.pop()()

        return progress

    def wait(self) -> None:
        """Let Slicer go on until the run has ended."""
        if not self._done:
            self._loop.exec()


def _nodes() -> set[str]:
    """Return the IDs of all nodes in the scene that hold data or show them."""
    count = slicer.mrmlScene.GetNumberOfNodes()
    nodes = (slicer.mrmlScene.GetNthNode(number) for number in range(count))
    return {node.GetID() for node in nodes if node.IsA("vtkMRMLStorableNode") or node.IsA("vtkMRMLDisplayNode")}


def _ijkToRas(volume: Any) -> np.ndarray:
    """Return where a volume's voxels are: float64 [4, 4], from i, j, k to RAS in mm."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
