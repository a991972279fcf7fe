"""The script that reconstructs a folder, on a real scene with the stand-in worker.

Stand-ins for `slicer.util`'s loading and saving, which the package slicer-core lacks, use Slicer's own storage nodes.
"""
from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from repository import ROOT
from stand_in_worker import StandInWorkerProcess
from TriplaneGaussianReconModule.run.logic import TriplaneGaussianReconLogic

SCRIPT = ROOT / "TriplaneGaussianRecon/Resources/Scripts/reconstruct_folder.py"
STORAGE = {"vtkMRMLScalarVolumeNode": "vtkMRMLVolumeArchetypeStorageNode",
           "vtkMRMLSegmentationNode": "vtkMRMLSegmentationStorageNode"}


def storage_of(kind: str, path: str) -> Any:
    storage = getattr(slicer, STORAGE[kind])()
    storage.SetFileName(path)
    return storage


def stand_in_for_loading(path: str, kind: str) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(kind, Path(path).name.partition(".")[0])
    if not storage_of(kind, path).ReadData(node):
        raise RuntimeError(f"Failed to load node from file: {path}")
    node.CreateDefaultDisplayNodes()
    return node


def stand_in_for_saving(node: Any, path: str) -> bool:
    return bool(storage_of(node.GetClassName(), path).WriteData(node))


@pytest.fixture
def script(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, in an application without main window."""
    process = StandInWorkerProcess()
    logic = TriplaneGaussianReconLogic(process)
    for name, stand_in in {
            "getModuleLogic": lambda name: logic,
            "loadVolume": lambda path: stand_in_for_loading(path, "vtkMRMLScalarVolumeNode"),
            "loadSegmentation": lambda path: stand_in_for_loading(path, "vtkMRMLSegmentationNode"),
            "saveNode": stand_in_for_saving}.items():
        monkeypatch.setattr(slicer.util, name, stand_in)
    module: Any = ModuleType("reconstruct_folder")
    module.process = process
    exec(compile(SCRIPT.read_text(encoding="utf-8"), str(SCRIPT), "exec"), module.__dict__)
    return module


@pytest.fixture
def folder(script: Any, tmp_path: Path) -> Path:
    """A folder with two volumes, one of which has a segmentation, and a file that is neither."""
    made = tmp_path / "наблюдения"
    made.mkdir()
    voxels = np.arange(9, dtype=np.int16)[:, None, None] * np.ones((1, 8, 7), np.int16) + np.arange(7, dtype=np.int16)
    for name in ("a.nii.gz", "b.1.nrrd"):
        assert stand_in_for_saving(mrml.add_volume(voxels), str(made / name))
    mask = np.zeros(voxels.shape, bool)
    mask[:, 2:6, 2:5] = True
    labels = mrml.add_segmentation(mrml.add_volume(voxels), {"one": mask})
    assert stand_in_for_saving(labels, str(made / "b.1.seg.nrrd"))
    (made / "notes.txt").write_text("-")
    slicer.mrmlScene.Clear()
    return made


def test_every_volume_of_the_folder_is_reconstructed(script: Any, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "results"
    assert script.main([str(folder), str(output), "--trusted-slices", "every:4", "--seed", "5"]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "a.nrrd", "a.txt", "a_expected_error.nrrd", "b.1.nrrd", "b.1.seg.nrrd", "b.1.txt", "b.1_expected_error.nrrd"]
    volume = slicer.util.loadVolume(str(output / "b.1.nrrd"))
    assert slicer.util.arrayFromVolume(volume)[::4].tolist() == slicer.util.arrayFromVolume(
        slicer.util.loadVolume(str(folder / "b.1.nrrd")))[::4].tolist()
    found = slicer.util.loadSegmentation(str(output / "b.1.seg.nrrd"))
    assert mrml.tags_of(found, "one")[0] == "肝臓 é one"
    assert "Slices used along k: 0, 4, 8" in (output / "a.txt").read_text(encoding="utf-8")


def test_labels_drawn_on_some_slices_are_filled(script: Any, folder: Path, tmp_path: Path) -> None:
    assert script.main([str(folder), str(tmp_path / "results"), "--labels-on", "0,4,8"]) == 0
    assert sorted(path.name for path in (tmp_path / "results").glob("b*")) == [
        "b.1.nrrd", "b.1.seg.nrrd", "b.1.txt", "b.1_expected_error.nrrd", "b.1_label_certainty.nrrd"]
    certainty = slicer.util.loadVolume(str(tmp_path / "results" / "b.1_label_certainty.nrrd"))
    assert slicer.util.arrayFromVolume(certainty)[::4].min() == 1.0


def test_what_fails_is_named_and_the_rest_is_done(script: Any, folder: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.nii.gz").write_bytes(b"damaged")
    assert script.main([str(folder), str(tmp_path / "results")]) == 1
    shown = capsys.readouterr()
    assert "1 of 2: a: Failed to load" in shown.err and "2 of 2: b.1" in shown.out
    assert (tmp_path / "results" / "b.1.nrrd").is_file() and not list((tmp_path / "results").glob("*a*.txt"))
    assert not slicer.util.getNodesByClass("vtkMRMLVolumeNode")


def test_a_wrong_choice_is_told_for_each_volume(script: Any, folder: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(folder), str(tmp_path / "results"), "--preset", "quick"]) == 1
    assert capsys.readouterr().err.count("Unknown preset 'quick'") == 2 and not list((tmp_path / "results").iterdir())


def test_a_worker_that_fails_is_told_of(script: Any, folder: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    script.process.failure = {"event": "failed", "kind": "memory", "message": "Too little memory.", "details": ""}
    assert script.main([str(folder), str(tmp_path / "results")]) == 1
    assert capsys.readouterr().err.count("Too little memory.") == 2


def test_a_file_that_cannot_be_written_is_named_and_nothing_half_is_left(
        script: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(slicer.util, "saveNode", lambda node, path: bool(Path(path).write_text("half")) and False)
    assert script.main([str(folder), str(tmp_path / "results")]) == 1
    assert "'a.nrrd' was not written" in capsys.readouterr().err and not list((tmp_path / "results").iterdir())


def test_the_input_is_never_replaced(script: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(folder), str(folder / ".." / folder.name)]) == 1
    assert "would replace the input" in capsys.readouterr().err


def test_an_empty_folder_is_pointed_out(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert script.main([str(tmp_path / "empty"), str(tmp_path / "results")]) == 1
    assert "there is no volume" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.nrrd").write_text("-")
    for source in (tmp_path / "nowhere", tmp_path / "a.nrrd"):
        assert script.main([str(source), str(tmp_path / "results")]) == 1
        assert f"'{source}' cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_have_a_folder_are_told_of(script: Any, folder: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    output = folder / "notes.txt" / "results"
    assert script.main([str(folder), str(output)]) == 1
    assert f"'{output}' cannot be made" in capsys.readouterr().err and not script.process.folders


@pytest.mark.parametrize(("other", "file"), [("a.nrrd", "a.nrrd"), ("a.mha", "a.nrrd"),
                                         ("a_expected_error.nrrd", "a_expected_error.nrrd")])
def test_no_result_replaces_that_of_another_volume(script: Any, folder: Path, tmp_path: Path, other: str, file: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    (folder / other).write_text("-")
    assert script.main([str(folder), str(tmp_path / "results")]) == 1
    told = capsys.readouterr().err
    assert "'a.nii.gz'" in told and f"'{other}' " in told and f"would become '{file}'" in told
    assert not script.process.folders and not (tmp_path / "results").exists()


def test_options_are_explained(script: Any, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["Slicer"])
    with pytest.raises(SystemExit):
        script.main(["--help"])
    assert "--trusted-slices SLICES" in capsys.readouterr().out
