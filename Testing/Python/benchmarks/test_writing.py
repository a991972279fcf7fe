"""No file needs the whole volume in memory a second time, measured in a process of its own by the benchmark."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest
from repository import ROOT

from TriplaneGaussianReconLib.evaluation.peak_memory import peak_memory

SIZE, VOXELS = "64x512x512", 64 * 512 * 512
BYTES = {"int16": 2, "float32": 4, "labels1": 1, "labels2": 2}  # of a voxel
MOST = 0.6  # of the volume; a copy would be 1
CASES = ["int16 .nrrd", "int16 .nii.gz", "int16 .nii", "int16 .mha", "int16 .npz", "int16 DICOM", "float32 DICOM",
         "labels1 .seg.nrrd", "labels1 .nii.gz", "labels2 .seg.nrrd", "labels2 .nrrd", "labels2 .npz"]


@pytest.mark.skipif(peak_memory() is None, reason="this system does not tell how much memory a process held")
@pytest.mark.parametrize("case", CASES)
def test_writing_holds_no_copy_of_the_volume(case: str) -> None:
    program = ROOT / "Testing" / "Benchmarks" / "writing.py"
    command = [sys.executable, str(program), "--size", SIZE, "--once", *case.split()]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(output.splitlines()[-1])["more"] < MOST * VOXELS * BYTES[case.split()[0]]
