"""The module as it is installed in the application: complete, and light to load."""
from __future__ import annotations

import sys
import unittest
from pathlib import Path

import slicer

NAME = "TriplaneGaussianRecon"


class TriplaneGaussianReconInstalledTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(slicer.util.modulePath(NAME)).parent

    def test_everything_is_beside_the_module(self) -> None:
        for file in ("Resources/Icons/TriplaneGaussianRecon.png", "Resources/UI/TriplaneGaussianRecon.ui",
                     "Resources/requirements.txt", "TriplaneGaussianReconModule/__init__.py",
                     "TriplaneGaussianReconLib/__init__.py", "TriplaneGaussianReconLib/cuda/common.cuh",
                     "TriplaneGaussianReconLib/rasterizer/cuda_sums.cu"):
            self.assertTrue((self.folder / file).is_file(), file)
        self.assertFalse(slicer.util.getModule(NAME).icon.isNull())

    def test_loading_it_imports_neither_torch_nor_numba(self) -> None:
        # In a process of its own, as ctest runs it, and without extensions that do so themselves.
        slicer.util.getModuleLogic(NAME)
        self.assertTrue({"torch", "numba"}.isdisjoint(sys.modules))

    def test_the_library_is_the_one_beside_the_module(self) -> None:
        import TriplaneGaussianReconLib

        self.assertEqual(Path(TriplaneGaussianReconLib.__file__).parent.parent, self.folder)

    def test_samples_are_registered(self) -> None:
        from SampleData import SampleDataLogic
        from TriplaneGaussianReconModule.scene import sample_data

        sample_data.registerSampleData()
        sources = SampleDataLogic.sampleDataSourcesByCategory(sample_data.CATEGORY)
        self.assertEqual([source.sampleName for source in sources], sample_data.sampleNames())
