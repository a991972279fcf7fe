"""A folder of volumes is reconstructed by the real command line, and shown in the dialogue."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cohort_case
import pytest
import slicer_stand_ins

slicer_stand_ins.install()

import qt  # noqa: E402
from TriplaneGaussianReconModule.panel.folder_dialog import FolderDialog, folderButton  # noqa: E402
from TriplaneGaussianReconModule.run.folder import FolderRun, counts, volumes, writeTable  # noqa: E402

from TriplaneGaussianReconLib.errors import InputError, OutputError  # noqa: E402


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two volumes that can be reconstructed, one of them with a name for people, one that cannot, and other files."""
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number, name in enumerate(("a.nii.gz", "б 2.nii.gz")):
        cohort_case.write_volume(folder / name, number)
    (folder / "c.nrrd").write_text("no volume")
    for name in ("c.seg.nrrd", "notes.txt"):
        (folder / name).write_text("-")
    return folder


@pytest.fixture
def dialog() -> Iterator[FolderDialog]:
    made = FolderDialog(FolderRun(sys.executable), lambda parent: True)
    yield made
    made.close()


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not until():
        assert time.monotonic() < end
        qt.QCoreApplication.processEvents()
        time.sleep(0.02)


def test_a_folder_is_done_and_what_fails_is_counted(dialog: FolderDialog, source: Path, tmp_path: Path) -> None:
    dialog.source.text, dialog.output.text, dialog.slices.text = str(source), str(tmp_path / "out"), "0,2"
    dialog.startButton.click()
    assert dialog.startButton.text == "Cancel" and not dialog.source.enabled
    wait(lambda: dialog.startButton.text == "Start")
    assert dialog.message.text == "2 done, 1 failed, of 3." and dialog.pageButton.enabled
    assert sorted(path.name for path in (tmp_path / "out/cases").iterdir()) == ["2", "a", "c"]
    assert counts(tmp_path / "out") == {"done": 2, "failed": 1}


def test_it_can_be_cancelled(dialog: FolderDialog, source: Path, tmp_path: Path) -> None:
    dialog.source.text, dialog.output.text = str(source), str(tmp_path / "out")
    dialog.startButton.click()
    wait(lambda: bool(counts(tmp_path / "out")))
    dialog.startButton.click()
    wait(lambda: dialog.startButton.text == "Start")
    assert "start again to go on" in dialog.message.text


def test_what_cannot_be_started_is_told_of(dialog: FolderDialog, source: Path, tmp_path: Path) -> None:
    dialog.startButton.click()
    assert dialog.message.text == "Choose both folders first."
    dialog.source.text = dialog.output.text = str(source)
    dialog.startButton.click()
    assert "lie among the volumes" in dialog.message.text and dialog.startButton.text == "Start"
    dialog.output.text, dialog.slices.text = str(tmp_path / "out"), "5-9"
    dialog.startButton.click()
    wait(lambda: dialog.startButton.text == "Start")
    assert dialog.message.text == "0 done, 3 failed, of 3."


def test_nothing_starts_without_the_packages(source: Path, tmp_path: Path) -> None:
    run = FolderRun(sys.executable)
    dialog = FolderDialog(run, lambda parent: False)
    dialog.source.text, dialog.output.text = str(source), str(tmp_path / "out")
    dialog.startButton.click()
    assert not run.isRunning and not (tmp_path / "out").exists()
    dialog.close()


def test_a_button_opens_the_dialogue() -> None:
    widget = qt.QWidget()
    dialog = folderButton(qt.QVBoxLayout(widget), FolderRun(sys.executable))
    widget.findChild(qt.QPushButton).click()
    assert dialog.dialog.visible
    dialog.close()


def test_names_that_come_to_the_same_are_told_apart(tmp_path: Path) -> None:
    for name in ("а 2.nii", "б 2.nrrd", "2.mha", "x Y.nii", "x_y.mha"):
        (tmp_path / name).touch()
    names = [name for name, *_ in volumes(tmp_path)]
    assert len({name.lower() for name in names}) == 5 and {"2", "2-2", "2-3"} < {*names}


def test_a_missing_package_is_no_case_that_failed(source: Path, tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('it is not here')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run, ends = FolderRun(sys.executable, {"PYTHONPATH": path}), list[str]()
    run.onEnd = ends.append
    run.start(source, tmp_path / "out", {"engine": "dask"})
    wait(lambda: bool(ends))
    assert ends[0].startswith("The engine dask needs the package distributed")


def test_volumes_have_their_segmentations_and_folders_without_any_are_told_of(source: Path, tmp_path: Path) -> None:
    assert [[name, Path(labels).name] for name, _, labels in volumes(source)] == [
        ["a", ""], ["c", "c.seg.nrrd"], ["2", ""]]
    with pytest.raises(InputError, match="cannot be read"):
        volumes(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no volume"):
        volumes(tmp_path / "empty")
    with pytest.raises(OutputError, match="cannot be made"):
        writeTable(source, source / "notes.txt" / "out")
