"""Models on disk: the program's own file, and .ply for viewers of Gaussian splats.

A model file is a safetensors file, which holds numbers and text and cannot carry code.  Its tensors are the fields of
`GaussianParameters` under `gaussians.`, the arrays of `ExpectedError` under `expected_error.`, and `frame`; everything
else is one JSON text in the metadata field `model`.
"""
from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from .atomic_files import check_output, whole_file
from .confidence import ExpectedError
from .errors import InputError, MissingPackageError, cause
from .gaussians import GaussianParameters
from .images import Segment
from .model import IntensityScale, Model
from .rasterizer import Mode

MODEL_EXTENSION = ".safetensors"
_FORMAT = "TriplaneGaussianRecon model"
_VERSION = 1  # raised when an older program would misread the file
_ERROR_ARRAYS = ("middle", "offsets", "origin", "step")  # of ExpectedError
_SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))

PathLike = str | os.PathLike[str]


def save_model(path: PathLike, model: Model) -> None:
    """Write `model`; the file at `path` appears whole or stays as it was.

    Raises InputError unless the name ends in .safetensors, OutputError if the file cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(path)
    check_output(path, MODEL_EXTENSION)
    tensors = {f"gaussians.{name}": tensor for name, tensor in model.parameters.tensors().items()}
    tensors.update({f"expected_error.{name}": torch.from_numpy(np.asarray(getattr(model.expected_error, name)))
                    for name in _ERROR_ARRAYS})
    tensors["frame"] = torch.from_numpy(model.frame)
    description = {"format": _FORMAT, "version": _VERSION, "mode": model.mode, "cutoff": model.cutoff,
                   "intensity": asdict(model.intensity), "error_at_trusted": model.expected_error.at_trusted,
                   "segments": [asdict(segment) for segment in model.segments],
                   "provenance": dict(model.provenance)}
    with whole_file(path) as part:
        part.touch()
        usual = part.stat().st_mode  # safetensors makes files that only their owner can read
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part,
                  {"model": json.dumps(description)})
        part.chmod(usual)


def load_model(path: PathLike) -> Model:
    """Read a model that `save_model` wrote; drawing it gives the same bits as drawing the model that was saved.

    Raises InputError if there is no such file, or if it is damaged, something else, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"'{path}' does not exist or is a folder. Give a model file that 'reconstruct --save-model' "
                         "wrote.")
    tensors, metadata = _read(path)
    try:
        description = json.loads(metadata["model"])
        known = description["format"] == _FORMAT
        version = int(description["version"])
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise InputError(f"'{path}' is a safetensors file, but no model of this program. Give a file that "
                         "'reconstruct --save-model' wrote.")
    if version > _VERSION:
        raise InputError(f"'{path}' has the model format {version}; this program knows formats up to {_VERSION}. "
                         "Update the program.")
    try:
        return _model(tensors, description)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path}' is damaged or incomplete ({type(error).__name__}: {cause(error)}). Reconstruct and "
                         "save the model again.") from error


def export_ply(path: PathLike, model: Model) -> None:
    """Write the Gaussians as a .ply for viewers of Gaussian splats; the file appears whole or stays as it was.

    Centres are LPS mm.  Scales (logarithms of mm) and rotations (quaternions w, x, y, z) are the principal axes of the
    covariances in LPS.  Opacities are the logits of the weights.  The colour is the intensity at the centre as grey, 0
    and 1 at the trusted minimum and robust maximum, in the constant spherical harmonic.

    Viewers project and blend all Gaussians along the line of sight, so what they show is no slice of the volume.
    Intensity slopes and labels have no place in the format and are left out.
    Raises InputError unless the name ends in .ply, MissingPackageError without gsplat, OutputError if the file cannot
    be written.
    """
    path = Path(path)
    check_output(path, ".ply")
    try:
        from gsplat.exporter import export_splats
    except ImportError as error:
        raise MissingPackageError("The export to .ply needs gsplat. Install it with 'pip install gsplat'.") from error
    # In double precision: the covariance is an inverse, and flat Gaussians would lose digits.
    exact = GaussianParameters(**{name: tensor.detach().cpu().double()
                                  for name, tensor in model.parameters.tensors().items()})
    centres = exact.centres.numpy() @ model.frame[:3, :3].T + model.frame[:3, 3]
    scales, quaternions = _principal_axes(exact.precisions().numpy(), model.frame[:3, :3])
    grey = torch.clamp(exact.values[:, 0] + model.intensity.background, 0.0, 1.0)
    color = ((grey - 0.5) / _SH_C0)[:, None, None].expand(-1, 1, 3)
    with whole_file(path) as part:
        export_splats(means=torch.from_numpy(centres), scales=torch.from_numpy(np.log(scales)),
                      quats=torch.from_numpy(quaternions), opacities=exact.raw_weights, sh0=color,
                      shN=torch.zeros(len(exact), 0, 3), format="ply", save_to=str(part))


def _principal_axes(precisions: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations (N, 3) mm along the principal axes, and these as quaternions (N, 4) w, x, y, z.

    precisions: (N, 6), packed as in `Gaussians`.  rotation: (3, 3), from the frame of the precisions to the wanted one.
    """
    from scipy.spatial.transform import Rotation

    matrices = precisions[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    eigenvalues, axes = np.linalg.eigh(matrices)
    axes = rotation @ axes
    axes[:, :, 0] *= np.sign(np.linalg.det(axes))[:, None]  # a reflection is no rotation
    return eigenvalues ** -0.5, np.roll(Rotation.from_matrix(axes).as_quat(), 1, axis=1)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return all tensors and the metadata; the file may change afterwards."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"'{path}' is no model file, or is damaged ({cause(error)}). Give a file that 'reconstruct "
                         "--save-model' wrote.") from error


def _model(tensors: dict[str, Tensor], description: dict[str, Any]) -> Model:
    """Put the model together; raises KeyError, TypeError or ValueError for what is missing or does not fit."""
    parameters = GaussianParameters(**{f.name: tensors[f"gaussians.{f.name}"] for f in fields(GaussianParameters)})
    arrays = {name: tensors[f"expected_error.{name}"].numpy() for name in _ERROR_ARRAYS}
    frame = tensors["frame"].numpy()
    segments = tuple(Segment(**{**segment, "color": tuple(segment["color"]) if segment["color"] else None})
                     for segment in description["segments"])
    count, slots = parameters.values.shape
    expected = {"centres": (count, 3), "tilts": (count, 2), "in_plane": (count, 3), "log_depths": (count,),
                "raw_weights": (count,), "slopes": (count, slots, 3), "channels": (count, slots)}
    wrong = [name for name, shape in expected.items() if getattr(parameters, name).shape != shape]
    wrong += [] if frame.shape == (4, 4) else ["frame"]
    wrong += [] if arrays["middle"].shape[0] == len(arrays["offsets"]) - 1 else ["expected_error"]
    wrong += [] if description["mode"] in get_args(Mode) else ["mode"]
    if wrong:
        raise ValueError(f"{wrong[0]} does not fit")
    return Model(parameters, frame, description["mode"], float(description["cutoff"]),
                 IntensityScale(**description["intensity"]),
                 ExpectedError(**arrays, at_trusted=float(description["error_at_trusted"])), segments,
                 description["provenance"])
