"""Sample data in Slicer: what is registered, and what is loaded, over a real MRML scene."""
from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import cv2
import numpy as np
import pytest
import slicer
import slicer_stand_ins
from repository import ROOT

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.io.readers import read_image, read_segmentation

slicer_stand_ins.install()
from TriplaneGaussianReconModule.scene import sample_data  # noqa: E402 - needs what was installed

FOLDER = ROOT / "Resources" / "SampleData"
TEMPLATE = "mr_fetal_atlas_sb27"


@dataclass
class StandInSampleDataLogic:
    """Stand-in for Slicer's SampleDataLogic: sources by name; `downloadSamples` makes nodes instead of reading files.

    Keywords and results as in Slicer, Modules/Scripted/SampleData/SampleData.py.
    """

    sources: dict[str, dict[str, Any]]
    fails: tuple[str, ...] = ()

    def registerCustomSampleDataSource(self, category: str = "Custom", sampleName: Any = None, uris: Any = None,
                                       fileNames: Any = None, nodeNames: Any = None, customDownloader: Any = None,
                                       thumbnailFileName: Any = None, loadFileTypes: Any = None, loadFiles: Any = None,
                                       loadFileProperties: Any = None, checksums: Any = None) -> None:
        self.sources[sampleName] = {"category": category, "uris": uris, "fileNames": fileNames, "nodeNames": nodeNames,
                                    "thumbnail": thumbnailFileName, "types": loadFileTypes, "checksums": checksums}

    def __call__(self) -> StandInSampleDataLogic:
        return self

    def downloadSamples(self, name: str) -> list[Any]:
        classes = {"VolumeFile": "vtkMRMLScalarVolumeNode", "SegmentationFile": "vtkMRMLSegmentationNode"}
        source = self.sources[name]
        nodes = [slicer.mrmlScene.AddNewNodeByClass(classes[kind], node)
                 for kind, node in zip(source["types"], source["nodeNames"], strict=True) if kind not in self.fails]
        return nodes or [f"/cache/{file}" for file in source["fileNames"]]  # as there, if none of them can be loaded


@pytest.fixture
def logic(monkeypatch: pytest.MonkeyPatch) -> StandInSampleDataLogic:
    """Slicer's module Sample Data, and an empty real scene."""
    made = StandInSampleDataLogic({})
    scene = slicer.vtkMRMLScene()
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(scene)  # registers the class of segmentation nodes
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=made))  # type: ignore[arg-type]
    return made


def test_checksums_are_those_of_the_files() -> None:
    for sample in sample_data.SAMPLES:
        for file, expected in ((sample.volume, sample.volume_sum), (sample.segmentation, sample.segmentation_sum)):
            assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == expected


def test_the_thick_sample_is_made_from_the_template() -> None:
    """Voxels, place and segments, as SOURCES.md tells."""
    thin, thick = (read_image(FOLDER / f"{name}.nii.gz") for name in (TEMPLATE, f"{TEMPLATE}_thick"))
    middle = np.arange(2, 87, 4)
    mean = sum(weight * thin.array[middle + off] for off, weight in zip(range(-2, 3), (1, 2, 2, 2, 1), strict=True)) / 8
    np.testing.assert_array_equal(thick.array, np.round(mean))
    np.testing.assert_allclose(thick.grid.ijk_to_lps, thin.grid.ijk_to_lps @ [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 4, 2], [0, 0, 0, 1]], atol=1e-5)
    all_drawn, drawn = (read_segmentation(FOLDER / f"{name}.seg.nrrd") for name in (TEMPLATE, f"{TEMPLATE}_thick"))
    around, = (each for each in all_drawn.segments if each.name == "cerebrospinal fluid around the brain")
    labels = all_drawn.layers[0, middle]
    np.testing.assert_array_equal(drawn.layers[0], np.where(labels == around.value, 0, labels))
    assert drawn.segments == tuple(each for each in all_drawn.segments if each is not around)


def test_all_samples_are_registered_with_what_slicer_needs(logic: StandInSampleDataLogic) -> None:
    sample_data.registerSampleData()
    assert list(logic.sources) == sample_data.sampleNames()
    for source in logic.sources.values():
        assert source["category"] == "Triplane Gaussian Reconstruction"
        assert source["types"] == ["VolumeFile", "SegmentationFile"]
        assert len(source["uris"]) == len(source["fileNames"]) == len(source["nodeNames"]) == 2
        assert all(text.startswith("SHA256:") and len(text) == 71 for text in source["checksums"])
        assert cv2.imread(source["thumbnail"]).shape == (280, 260, 3)


def test_from_the_source_tree_the_files_at_hand_are_used(logic: StandInSampleDataLogic) -> None:
    sample_data.registerSampleData()
    for source in logic.sources.values():
        for uri, file in zip(source["uris"], source["fileNames"], strict=True):
            assert Path(url2pathname(urlparse(uri).path)).samefile(FOLDER / file)


def test_once_installed_files_come_from_the_repository(logic: StandInSampleDataLogic, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_data, "_SOURCE_FOLDER", tmp_path)
    sample_data.registerSampleData()
    for source in logic.sources.values():
        for uri, file in zip(source["uris"], source["fileNames"], strict=True):
            assert uri == f"{sample_data.URL}/{file}"
            branch, path = uri.split("/SlicerTriplaneGaussianRecon/")[1].split("/", 1)
            assert branch == "main" and (ROOT / path).is_file()


def test_loading_gives_volume_and_segmentation(logic: StandInSampleDataLogic) -> None:
    volume, segmentation = sample_data.load("LumbarSpineCT")
    assert volume.IsA("vtkMRMLScalarVolumeNode") and volume.GetName() == "LumbarSpineCT"
    assert segmentation.IsA("vtkMRMLSegmentationNode") and segmentation.GetName() == "LumbarSpineCT segmentation"


def test_a_sample_that_is_loaded_again_can_be_told_apart(logic: StandInSampleDataLogic) -> None:
    names = [node.GetName() for _ in range(2) for node in sample_data.load("LumbarSpineCT")]
    assert names[:2] == ["LumbarSpineCT", "LumbarSpineCT segmentation"] and len(set(names)) == 4


def test_a_sample_that_is_there_already_is_taken(logic: StandInSampleDataLogic) -> None:
    first = sample_data.loadOnce("LumbarSpineCT")
    assert sample_data.loadOnce("LumbarSpineCT") == first and sample_data.loadOnce("FetalBrainMR") != first
    assert sample_data.loadOnce("LumbarSpineCT") == first


def removed(volume: Any, segmentation: Any) -> None:
    slicer.mrmlScene.RemoveNode(segmentation)


def moved(volume: Any, segmentation: Any) -> None:
    volume.SetOrigin(1.0, 2.0, 3.0)


def drawn_on(volume: Any, segmentation: Any) -> None:
    segmentation.GetSegmentation().AddEmptySegment("new")


def closed(volume: Any, segmentation: Any) -> None:
    slicer.mrmlScene.Clear(True)


@pytest.mark.parametrize("change", [removed, moved, drawn_on, closed])
def test_a_sample_that_is_gone_or_changed_is_loaded_again(logic: StandInSampleDataLogic,
                                                          change: Callable[[Any, Any], None]) -> None:
    first = sample_data.loadOnce("LumbarSpineCT")
    change(*first)
    again = sample_data.loadOnce("LumbarSpineCT")
    assert not {*first} & {*again} and all(node.GetScene() is slicer.mrmlScene for node in again)
    assert sample_data.loadOnce("LumbarSpineCT") == again


def test_an_unknown_sample_is_refused_naming_the_known_ones(logic: StandInSampleDataLogic) -> None:
    with pytest.raises(InputError, match="FetalTemplateThickMR, .*, FetalBrainMR"):
        sample_data.load("Head")


def test_errors_are_told_in_the_language_of_the_user(logic: StandInSampleDataLogic,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_data, "_", lambda text: f"translated: {text}")
    logic.fails = ("VolumeFile",)
    for name in ("Head", "FetalBrainMR"):
        with pytest.raises(InputError, match=f"translated: .*'{name}'"):
            sample_data.load(name)


@pytest.mark.parametrize("fails", [("VolumeFile",), ("SegmentationFile",), ("VolumeFile", "SegmentationFile")])
def test_half_a_sample_is_none(logic: StandInSampleDataLogic, fails: tuple[str, ...]) -> None:
    logic.fails = fails
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(InputError, match="connect to the internet"):
        sample_data.load("FetalBrainMR")
    assert slicer.mrmlScene.GetNumberOfNodes() == before
