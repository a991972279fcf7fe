"""nnU-Net as a method to compare with: a network that is trained on the labelled slices of this scan alone.

Its package (PyPI `nnunetv2`, by Isensee et al.) brings a torch and settings of its own, so it stays in another
environment and is used as a program: each labelled slice is a training case of the 2D configuration, and all other
slices are predicted.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.names import DEFAULT_NNUNET_EPOCHS
from ..data.geometry import Axis, Grid, array_axis
from ..data.images import Image, Segmentation
from ..data.selection import Selection
from ..errors import ReconstructionError
from ..io.atomic import write_json
from ..io.readers import read_image
from ..io.temporary_folders import TemporaryFolder
from ..io.writers import write_image
from ..runtime.devices import choose
from ..runtime.processors import usable_threads
from .methods import MethodResult
from .other_python import OtherPython

_DATA = "raw/Dataset001_labelled"
_PICTURES, _LABELS, _HIDDEN, _RESULTS = f"{_DATA}/imagesTr", f"{_DATA}/labelsTr", "hidden", "results"
_ENDING = ".nrrd"
_APART = 999.0  # mm between slices, as in nnU-Net itself for pictures: more than between pixels, so nothing is 3D
_MOST_PROCESSES = 8


@dataclass(frozen=True)
class NnUnet:
    """nnU-Net, installed in another environment, as a `methods.Method` that fills labels.

    Attributes:
        python: The interpreter of that environment; None if there is none.
        device: Where to compute, see `devices.choose`; on a CPU an epoch takes minutes.
        epochs: To train, one of `config.names.NNUNET_EPOCHS`.
    """

    python: str | None
    device: str = "auto"
    epochs: int = DEFAULT_NNUNET_EPOCHS

    @property
    def trainer(self) -> str:
        """The name of the class that trains for so long; the package comes with it."""
        return f"nnUNetTrainer_{self.epochs}epoch{'s' * (self.epochs != 1)}"

    def prepare(self) -> None:
        """Make sure that it can run.

        Raises:
            MissingPackageError: There is no such interpreter, or it has no nnU-Net.
            BackendUnavailableError: `device` is a GPU that it cannot use.
        """
        self._program.check(choose(self.device).device.type == "cuda")

    def __call__(self, image: Image, segmentation: Segmentation | None, axis: Axis, selection: Selection
                 ) -> MethodResult:
        """Fill each layer of the segmentation by a network of its own.

        Raises:
            ReconstructionError: It failed.
        """
        assert segmentation is not None, "label methods are only run on segmentations"
        dimension, labelled = array_axis(axis), list(selection.indices)
        pixel = np.delete(image.grid.spacing[::-1], dimension)
        pictures, *layers = (np.moveaxis(array, dimension, 0) for array in (image.array, *segmentation.layers))
        filled = [self._filled(pictures, labelled, layer[labelled], pixel) for layer in layers]
        return MethodResult(layers=np.stack([np.moveaxis(layer, 0, dimension) for layer in filled]))

    def _filled(self, pictures: np.ndarray, labelled: Sequence[int], labels: np.ndarray, pixel: np.ndarray
                ) -> np.ndarray:
        """The labels [slice, row, column] of all `pictures`, of which some have `labels`.

        pixel: (2,) mm from row to row and from column to column.
        """
        filled = np.zeros(pictures.shape, labels.dtype)
        filled[labelled] = labels
        values = np.union1d(labels, labels.dtype.type(0))  # the network wants numbers without gaps
        if len(values) == 1:
            return filled
        grid = Grid((1, *pictures.shape[1:]), spacing=(float(pixel[1]), float(pixel[0]), _APART * float(pixel.max())))
        with TemporaryFolder() as folder:
            ranks = np.searchsorted(values, labels).astype(np.uint16)
            _write_cases(folder, pictures, dict(zip(labelled, ranks, strict=True)), grid)
            _describe(folder / _DATA / "dataset.json", len(labelled), len(values))
            self._run(folder)
            for number in set(range(len(pictures))) - set(labelled):
                filled[number] = values[_predicted(folder / _RESULTS / f"{_name(number)}{_ENDING}", len(values))]
        return filled

    def _run(self, folder: Path) -> None:
        """Plan, train and predict on the files in `folder`."""
        device = choose(self.device).device
        processes = str(min(usable_threads(), _MOST_PROCESSES))
        environment = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "trained",
                       "nnUNet_compile": "false", "nnUNet_n_proc_DA": processes, "nnUNet_def_n_proc": processes}
        if device.type == "cuda":
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            number = device.index or 0
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
        how = ["-tr", self.trainer, "-device", device.type]
        for module, function, arguments in (
                ("nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", "plan_and_preprocess_entry",
                 ["-d", "1", "-c", "2d", "-np", processes, "-npfp", processes]),
                ("nnunetv2.run.run_training", "run_training_entry", ["1", "2d", "all", *how]),
                ("nnunetv2.inference.predict_from_raw_data", "predict_entry_point",
                 ["-i", _HIDDEN, "-o", _RESULTS, "-d", "1", "-c", "2d", "-f", "all", "-npp", "1", "-nps", "1", *how])):
            self._program.run(module, function, arguments, folder, environment)

    @property
    def _program(self) -> OtherPython:
        return OtherPython(self.python, "nnU-Net", "nnunetv2", "--nnunet-python")


def _name(number: int) -> str:
    return f"slice{number:05}"


def _write_cases(folder: Path, pictures: np.ndarray, labels: Mapping[int, np.ndarray], grid: Grid) -> None:
    """Write labelled slices as training cases, and the others to be predicted."""
    for name in (_PICTURES, _LABELS, _HIDDEN, _RESULTS):
        (folder / name).mkdir(parents=True)
    for number, picture in enumerate(pictures.astype(np.float32)):
        place = _PICTURES if number in labels else _HIDDEN
        write_image(folder / place / f"{_name(number)}_0000{_ENDING}", Image(picture[None], grid))
    for number, one in labels.items():
        write_image(folder / _LABELS / f"{_name(number)}{_ENDING}", Image(one[None], grid))


def _describe(path: Path, cases: int, labels: int) -> None:
    """Write what nnU-Net is to know: all slices are of one scan, so intensities are normalised together, as in CT."""
    write_json(path, {"channel_names": {"0": "CT"}, "numTraining": cases, "file_ending": _ENDING,
                      "labels": {"background": 0, **{f"label{number}": number for number in range(1, labels)}}})


def _predicted(path: Path, labels: int) -> np.ndarray:
    """The label numbers [row, column] that nnU-Net wrote."""
    if not path.exists():
        raise ReconstructionError(f"nnU-Net ended without a result '{path.name}'. Use nnunetv2 2.8.1.")
    picture = read_image(path).array[0]
    if picture.min() < 0 or picture.max() >= labels:
        raise ReconstructionError("nnU-Net returned labels that it was not given. Use nnunetv2 2.8.1.")
    return picture.astype(np.intp)
