"""nnU-Net as a peer: what goes to its programs and what comes back, and what is said when it cannot run.

A stand-in takes its place: it copies the nearest training case, with the options and the folders of nnunetv2 2.8.1.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_case import in_unit_range, moving_case
from stand_in_package import environment_with

from TriplaneGaussianReconLib.command_line.main import main
from TriplaneGaussianReconLib.config.names import NNUNET_EPOCHS
from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid, array_axis
from TriplaneGaussianReconLib.data.images import Image, Segment, Segmentation
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import BackendUnavailableError, MissingPackageError, ReconstructionError
from TriplaneGaussianReconLib.evaluation import baselines, nnunet
from TriplaneGaussianReconLib.evaluation.nnunet import NnUnet
from TriplaneGaussianReconLib.io.writers import write_image, write_segmentation

PLAN = '''
import json, os, sys
from pathlib import Path
import SimpleITK as sitk

def plan_and_preprocess_entry():
    assert sys.argv[1:5] == ["-d", "1", "-c", "2d"]
    data = Path(os.environ["nnUNet_raw"], "Dataset001_labelled")
    told = json.loads((data / "dataset.json").read_text())
    pictures, labels = (sorted((data / name).iterdir()) for name in ("imagesTr", "labelsTr"))
    assert [one.name.replace("_0000", "") for one in pictures] == [one.name for one in labels]
    assert len(labels) == told["numTraining"] and told["channel_names"] == {"0": "CT"}
    numbers = sorted(told["labels"].values())
    assert numbers == list(range(len(numbers)))
    for path in (*pictures, *labels):
        image = sitk.ReadImage(str(path))
        assert image.GetSize()[2] == 1 and image.GetSpacing()[2] > 100 * max(image.GetSpacing()[:2])
        assert path in pictures or set(sitk.GetArrayFromImage(image).ravel()) <= set(numbers)
    Path(os.environ["nnUNet_preprocessed"]).mkdir()
'''
TRAIN = '''
import os, sys
from pathlib import Path

def run_training_entry():
    assert sys.argv[1:] == ["1", "2d", "all", "-tr", "nnUNetTrainer_5epochs", "-device", "cpu"], sys.argv
    assert Path(os.environ["nnUNet_preprocessed"]).is_dir() and os.environ["nnUNet_compile"] == "false"
    Path(os.environ["nnUNet_results"]).mkdir()
'''
PREDICT = '''
import argparse, os, re, shutil
from pathlib import Path

def predict_entry_point():
    parser = argparse.ArgumentParser()
    for name in ("-i", "-o", "-d", "-c", "-f", "-npp", "-nps", "-tr", "-device"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    assert Path(os.environ["nnUNet_results"]).is_dir() and options.tr == "nnUNetTrainer_5epochs"
    number = lambda path: int(re.search("[0-9]+", path.name)[0])
    cases = sorted(Path(os.environ["nnUNet_raw"], "Dataset001_labelled/labelsTr").iterdir(), key=number)
    for path in Path(options.i).iterdir():
        nearest = min(cases, key=lambda case: abs(number(case) - number(path)))
        shutil.copy(nearest, Path(options.o, path.name.replace("_0000", "")))
'''
MODULES = {"nnunetv2.__init__": "", "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints": PLAN,
           "nnunetv2.run.run_training": TRAIN, "nnunetv2.inference.predict_from_raw_data": PREDICT}
Environment = Callable[..., str]
KEEP = Selection((1, 4, 7), 9)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Make an environment with a stand-in for nnU-Net, some of whose modules may be others."""

    def make(changes: Mapping[str, str] | None = None, gpu: bool = False) -> str:
        return environment_with(tmp_path / "stand_in_for_nnunet", {**MODULES, **(changes or {})}, gpu)

    return make


def case(axis: Axis = "k") -> tuple[Image, Segmentation]:
    """The moving ball across `axis`, with values that have gaps in them."""
    image, segmentation = moving_case()
    array = np.moveaxis(in_unit_range(image).array, 0, array_axis(axis))
    layers = np.moveaxis(segmentation.layers * np.array([7, 300], np.int16)[:, None, None, None], 1,
                         array_axis(axis) + 1)
    grid = Grid(array.shape, spacing=(0.8, 0.9, 2.5))
    return Image(array, grid), Segmentation(layers, (Segment("ball", 7), Segment("core", 300, 1)), grid)


@pytest.mark.parametrize("axis", AXES)
def test_labelled_slices_train_it_and_the_others_are_predicted(environment: Environment, axis: Axis) -> None:
    image, segmentation = case(axis)
    method = NnUnet(environment(), "cpu", 5)
    method.prepare()
    result = method(image, segmentation, axis, KEEP)
    assert result.volume is None and result.layers is not None and result.layers.dtype == segmentation.layers.dtype
    for filled, layer in zip(result.layers, segmentation.layers, strict=True):
        slices = np.moveaxis(layer, array_axis(axis), 0)
        expected = baselines.nearest(np.array(KEEP.indices), slices[list(KEEP.indices)], np.arange(9))
        np.testing.assert_array_equal(np.moveaxis(filled, array_axis(axis), 0), expected)


def test_a_layer_without_labels_needs_no_network(environment: Environment) -> None:
    image, segmentation = case()
    empty = Segmentation(np.zeros_like(segmentation.layers), segmentation.segments, image.grid)
    result = NnUnet(environment({"nnunetv2.run.run_training": ""}), "cpu", 5)(image, empty, "k", KEEP)
    assert result.layers is not None and not result.layers.any()


@pytest.mark.parametrize(("module", "source", "message"), [
    ("run.run_training", "def run_training_entry():\n    raise RuntimeError('no room')", "nnU-Net ended .*no room"),
    ("inference.predict_from_raw_data", "def predict_entry_point(): pass", "without a result 'slice0000"),
    ("inference.predict_from_raw_data", PREDICT + "        import SimpleITK as sitk\n"
     "        path = str(Path(options.o, path.name.replace('_0000', '')))\n"
     "        sitk.WriteImage(sitk.ReadImage(path) + 2, path)\n", "labels that it was not given")])
def test_runs_that_fail(environment: Environment, module: str, source: str, message: str) -> None:
    with pytest.raises(ReconstructionError, match=message):
        NnUnet(environment({f"nnunetv2.{module}": source}), "cpu", 5)(*case(), "k", KEEP)


def test_environments_that_are_missing(environment: Environment, tmp_path: Path) -> None:
    without = environment({"nnunetv2.__init__": "raise ImportError('No nnU-Net')"})
    for python, message in ((None, "nnU-Net needs an environment of its own.*--nnunet-python"),
                            (str(tmp_path / "no"), "found no Python '.*no'"),
                            (without, "No nnU-Net.* pip install nnunetv2")):
        with pytest.raises(MissingPackageError, match=message):
            NnUnet(python, "cpu").prepare()


def test_a_gpu_is_used_or_missed(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnunet, "choose", lambda device: SimpleNamespace(device=torch.device(device)))
    python = environment({"nnunetv2.experiment_planning.plan_and_preprocess_entrypoints":
                          "import os, sys\ndef plan_and_preprocess_entry():\n"
                          "    sys.exit('on ' + os.environ['CUDA_VISIBLE_DEVICES'])"})
    with pytest.raises(BackendUnavailableError, match="cannot use the GPU"):
        NnUnet(python, "cuda:1").prepare()
    for visible, number in (("", "1"), ("4,6", "6")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(ReconstructionError, match=f"on {number}$"):
            NnUnet(python, "cuda:1")(*case(), "k", KEEP)


def test_it_is_a_row_of_the_evaluation(environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image, segmentation = case()
    write_image("v.nrrd", image)
    write_segmentation("v.seg.nrrd", segmentation)
    options = ["evaluate", "v.nrrd", "--labels", "v.seg.nrrd", "--labels-keep-every", "4", "--methods",
               "nearest,nnunet", "--device", "cpu"]
    assert main([*options, "--nnunet-python", environment(), "--nnunet-epochs", "5"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.split()}
    assert lines["nnunet"][2] == lines["nearest"][3] and 0 < float(lines["nnunet"][2]) < 1
    assert main(options) == 3
    assert "--nnunet-python" in capsys.readouterr().err


@pytest.mark.parametrize("epochs", NNUNET_EPOCHS)
def test_epochs_choose_a_trainer_by_its_name(epochs: int) -> None:
    assert NnUnet("python", "cpu", epochs).trainer == ("nnUNetTrainer_1epoch" if epochs == 1
                                                       else f"nnUNetTrainer_{epochs}epochs")
