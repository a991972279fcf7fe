"""The library as a Python program meets it: one import, one call, images of any kind in and out."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from repository import ROOT

import TriplaneGaussianReconLib as tgr
from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.data.conversions import nibabel
from TriplaneGaussianReconLib.runtime.processors import usable_threads

SHAPE = (9, 18, 15)
FLIPPED = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
Kind = Callable[[Any, Path], Any]

# The same image or segmentation as people have it; `path` is a file that can be written.
KINDS: dict[str, Kind] = {
    "text": lambda mine, path: str(path), "path": lambda mine, path: path, "ours": lambda mine, path: mine,
    "SimpleITK": lambda mine, path: mine.to_sitk(), "nibabel": lambda mine, path: mine.to_nibabel(),
    "SimpleITK file": lambda mine, path: sitk.ReadImage(str(path)),
    "nibabel file": lambda mine, path: nibabel().load(path)}


@pytest.fixture(scope="module")
def thick(textured: Callable[..., np.ndarray]) -> tgr.Image:
    """A stack of thick slices, two axes of which run backwards."""
    array = (1000 * textured(SHAPE)).astype(np.int16)
    return tgr.Image(array, tgr.Grid(SHAPE, (12.0, -30.0, 45.5), (1.0, 1.0, 2.5), FLIPPED))


@pytest.fixture(scope="module")
def labelled(thick: tgr.Image) -> tgr.Segmentation:
    return tgr.Segmentation.from_labelmap((thick.array > 550).astype(np.uint8) * 5, thick.grid)


@pytest.fixture(scope="module")
def expected(thick: tgr.Image, labelled: tgr.Segmentation) -> tgr.Reconstruction:
    return tgr.reconstruct(thick, labels=labelled, device="cpu")


def run_python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True,
                          text=True).stdout


# What is imported ------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_else() -> None:
    code = ("import sys; before = {name.split('.')[0] for name in sys.modules}; import TriplaneGaussianReconLib; "
            "print(*sorted({name.split('.')[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))")
    assert run_python(code).split() == ["TriplaneGaussianReconLib"]


def test_what_slicer_imports_needs_numpy_alone() -> None:
    code = ("import sys\n"
            "for name in ('torch', 'numba', 'scipy', 'cv2', 'SimpleITK', 'nibabel', 'psutil', 'safetensors', 'rich'):\n"
            "    sys.modules[name] = None\n"
            "import TriplaneGaussianReconLib as tgr\n"
            "from TriplaneGaussianReconLib.jobs import estimates, protocol\n"
            "from TriplaneGaussianReconLib.io import atomic, npz, seg_nrrd, temporary_folders\n"
            "tgr.Image, tgr.Grid, tgr.Segmentation, tgr.Selection, tgr.Observations, tgr.PRESETS, tgr.InputError")
    run_python(code)


def test_every_public_name_is_there() -> None:
    assert len(tgr.__all__) == len(set(tgr.__all__)) and set(tgr.__all__) == {*tgr._HOMES, "__version__"}
    for name in tgr.__all__:
        assert getattr(tgr, name) is not None and name in dir(tgr)
    with pytest.raises(AttributeError, match="no attribute 'reconstrukt'"):
        _ = tgr.reconstrukt


def test_public_names_are_the_objects_of_the_packages_they_are_in() -> None:
    from TriplaneGaussianReconLib.data.images import Image
    from TriplaneGaussianReconLib.io.writers import write_image

    assert tgr.Image is Image and tgr.write_image is write_image


def test_type_checkers_find_that_the_package_is_typed() -> None:
    assert (Path(tgr.__file__).parent / "py.typed").is_file()


# One call --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_gives_the_same_bits(tmp_path: Path, thick: tgr.Image, labelled: tgr.Segmentation,
                                                 expected: tgr.Reconstruction, kind: str) -> None:
    image, labels = tmp_path / "thick.nii.gz", tmp_path / "labels.nii.gz"
    tgr.write_image(image, thick)
    tgr.write_segmentation(labels, labelled)
    make = KINDS[kind]
    result = tgr.reconstruct(make(thick, image), labels=make(labelled, labels), device="cpu")
    assert result.volume.array.dtype == np.int16
    np.testing.assert_array_equal(result.volume, expected.volume)
    np.testing.assert_array_equal(result.confidence, expected.confidence)
    np.testing.assert_array_equal(np.asarray(result.segmentation), np.asarray(expected.segmentation))
    assert result.volume.grid == expected.volume.grid


def test_the_defaults_are_those_of_the_command_line(tmp_path: Path, thick: tgr.Image, expected: tgr.Reconstruction,
                                                    labelled: tgr.Segmentation) -> None:
    image, labels, out, out_labels = (tmp_path / name for name in ("a.nrrd", "a.seg.nrrd", "b.nrrd", "b.seg.nrrd"))
    tgr.write_image(image, thick)
    tgr.write_segmentation(labels, labelled)
    assert main(["reconstruct", str(image), "--labels", str(labels), "--output", str(out), "--output-labels",
                 str(out_labels), "--device", "cpu"]) == 0
    np.testing.assert_array_equal(tgr.read_image(out), expected.volume)
    np.testing.assert_array_equal(tgr.read_segmentation(out_labels), expected.segmentation)
    assert expected.volume.grid.shape == (21, 18, 15)  # isotropic, since all slices are used


def test_slices_and_exclusions_are_those_of_the_command_line(tmp_path: Path, thick: tgr.Image) -> None:
    tgr.write_image(tmp_path / "a.nrrd", thick)
    assert main(["reconstruct", str(tmp_path / "a.nrrd"), "--trust", "k:every:2", "--trust", "coronal:0,5,17",
                 "--exclude", "4", "--output", str(tmp_path / "b.nrrd"), "--device", "cpu", "--seed", "3"]) == 0
    result = tgr.reconstruct(thick, slices={"k": range(0, 9, 2), "coronal": "0,5,17"}, exclude=[4], device="cpu",
                             seed=3)
    np.testing.assert_array_equal(result.volume, tgr.read_image(tmp_path / "b.nrrd"))
    assert result.volume.grid == thick.grid and result.report.provenance.trusted_slices == 4


def test_a_spacing_in_millimetres(thick: tgr.Image) -> None:
    result = tgr.reconstruct(thick, axis="axial", slices="all", exclude="3", spacing=1.25, device="cpu")
    assert result.volume.grid.shape == (17, 18, 15) and result.report.provenance.trusted_slices == 8


def test_a_part_alone_is_that_of_the_command_line(tmp_path: Path, thick: tgr.Image, labelled: tgr.Segmentation) -> None:
    part = "2-11,3-14,1-5"
    tgr.write_image(tmp_path / "a.nrrd", thick)
    tgr.write_segmentation(tmp_path / "a.seg.nrrd", labelled)
    assert main(["reconstruct", str(tmp_path / "a.nrrd"), "--labels", str(tmp_path / "a.seg.nrrd"), "--region", part,
                 "--output", str(tmp_path / "b.nrrd"), "--output-labels", str(tmp_path / "b.seg.nrrd"),
                 "--device", "cpu"]) == 0
    result = tgr.reconstruct(thick, labels=labelled, region=part, device="cpu", keep_model=False)
    assert result.volume.grid.size[:2] == (10, 12) and result.volume.grid.spacing == (1.0, 1.0, 1.0)
    assert result.report.scope is not None and result.report.scope.region == part
    np.testing.assert_array_equal(result.volume, tgr.read_image(tmp_path / "b.nrrd"))
    np.testing.assert_array_equal(np.asarray(result.segmentation), tgr.read_segmentation(tmp_path / "b.seg.nrrd"))
    kept = tgr.reconstruct(thick, region=part, slices="every:2", spacing="input", device="cpu").volume
    assert kept.grid.matches(thick.grid.cropped("i", 2, 11).cropped("j", 3, 14).cropped("k", 1, 5))


def test_metadata_of_a_segmentation_is_kept(thick: tgr.Image, labelled: tgr.Segmentation) -> None:
    given = tgr.Segmentation(labelled.layers, labelled.segments, labelled.grid, {"Source": "hospital"})
    result = tgr.reconstruct(thick, labels=given, spacing="input", slices="every:2", device="cpu")
    assert result.segmentation is not None and result.segmentation.metadata == {"Source": "hospital"}


def test_progress_is_told_and_it_stops_when_asked(thick: tgr.Image) -> None:
    told: list[tgr.Progress] = []
    with pytest.raises(tgr.Cancelled, match="nothing was written"):
        tgr.reconstruct(thick, device="cpu", progress=told.append, should_stop=lambda: len(told) > 3)
    assert len(told) == 4 and told[0].stage == "correspondence"


def test_threads_and_memory_change_nothing_of_the_result(thick: tgr.Image) -> None:
    def note(progress: tgr.Progress) -> None:
        used.add((usable_threads(), os.environ["OMP_NUM_THREADS"]))

    used: set[tuple[int, str]] = set()
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    made = tgr.reconstruct(thick, spacing="isotropic", device="cpu", threads=1, memory="3 GB", progress=note)
    plain = tgr.reconstruct(thick, spacing="isotropic", device="cpu")
    assert used == {(1, "1")} and (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == before
    np.testing.assert_array_equal(made.volume.array, plain.volume.array)


def test_a_result_prints_as_one_short_line(expected: tgr.Reconstruction) -> None:
    text = repr(expected)
    assert text.startswith("Reconstruction(Image(15 x 18 x 21 int16, 1 x 1 x 1 mm, RPI from (12, -30, 45.5)), 1 seg")
    assert text.endswith(" Gaussians)") and len(text) < 150


# Errors name the remedy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("choices", "message"), [
    ({"preset": "slow"}, "Unknown preset 'slow'. Choose one of fast"),
    ({"axis": "up"}, "Unknown slice axis 'up'. Choose one of i, j, k, axial"),
    ({"spacing": "thin"}, "Cannot read the slice spacing 'thin'. Give isotropic, input, or a number"),
    ({"spacing": -1.0}, "positive number of millimetres"),
    ({"slices": "some"}, "Cannot read the slices 'some'. Write them as 0,4,8-20"),
    ({"slices": [0, 99]}, "Slice 99 does not exist: this axis has slices 0 to 8"),
    ({"slices": [0.5, 1.5]}, "whole numbers from 0 to 8, or as 9 values True or False"),
    ({"slices": 4}, "whole numbers from 0 to 8"),
    ({"slices": {"k": "all", "axial": "all"}}, "name axis k twice. Join them"),
    ({"slices": {"j": "all"}, "exclude": "1"}, "none of them are used. Name the axis with axis="),
    ({"exclude": "one"}, "Cannot read the slices 'one'. Write them as 7,12,20-23"),
    ({"labels": np.zeros(SHAPE, np.uint8)}, r"not ndarray. For .* write Segmentation.from_labelmap\(array, grid\)"),
    ({"labels": "none.nrrd"}, "'none.nrrd' does not exist"),
    ({"region": "2-5"}, "Cannot read the region '2-5'. Write the first and the last voxel"),
    ({"region": "0-3,0-3,0-99"}, "reaches beyond the volume, whose voxels along k are 0 to 8"),
    ({"region": "0-3,0-3,0-3", "slices": {"k": "all", "j": "all"}}, "goes with slices along the slice axis alone"),
    ({"memory": "6"}, "'6' has no unit"), ({"threads": 0}, "whole number from 1 on, not 0"),
])
def test_wrong_choices(thick: tgr.Image, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(tgr.InputError, match=message):
        tgr.reconstruct(thick, **choices)


def test_wrong_volumes(thick: tgr.Image) -> None:
    with pytest.raises(tgr.InputError, match=r"not ndarray. For an array .* write Image\(array, Grid\(array.shape"):
        tgr.reconstruct(thick.array)
    with pytest.raises(tgr.InputError, match="'none.nii.gz' does not exist"):
        tgr.reconstruct("none.nii.gz")
    with pytest.raises(tgr.InputError, match="It has 2 dimensions"):
        tgr.reconstruct(sitk.Image(4, 5, sitk.sitkInt16))


def test_labels_elsewhere_are_refused(thick: tgr.Image, labelled: tgr.Segmentation) -> None:
    with pytest.raises(tgr.InputError, match="lies outside the volume"):
        tgr.reconstruct(thick, labels=tgr.Segmentation(
            labelled.layers, labelled.segments, tgr.Grid(SHAPE, (1000, 0, 0))))


def test_a_device_that_is_not_there(thick: tgr.Image) -> None:
    with pytest.raises(tgr.ReconstructionError, match="CUDA"):
        tgr.reconstruct(thick, device="cuda:99")
