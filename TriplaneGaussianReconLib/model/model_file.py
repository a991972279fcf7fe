"""Models on disk: the program's own file, and .ply for viewers of Gaussian splats.

A model file is a safetensors file, which holds numbers and text and cannot carry code.  Its tensors are the fields of
`GaussianParameters` of each part under `parts.0.`, `parts.1.` and so on, the arrays of `ExpectedError` under
`expected_error.`, and `frame`; everything else is one JSON text in the metadata field `model`.  Format 1 had one part,
under `gaussians.`.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..errors import InputError, MissingPackageError, cause
from ..gaussians.cloud import GaussianParameters
from ..io.atomic import PathLike, check_output, whole_file
from ..prediction.expected_error import ExpectedError
from ..rasterizer.modes import MODES
from .model import Model
from .shards import Shard

MODEL_EXTENSION = ".safetensors"
_FORMAT = "TriplaneGaussianRecon model"
_VERSION = 2  # raised when an older program would misread the file
_ERROR_ARRAYS = ("middle", "offsets", "origin", "step")  # of ExpectedError
_PART_NUMBERS = ("count", "slots", "lowest", "highest", "reach")  # of Part
_SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


def save_model(path: PathLike, model: Model) -> None:
    """Write a model; the file appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .safetensors.
        model: as in `Reconstruction.model`.  One part of its Gaussians is in memory at a time.

    Raises:
        InputError: the name does not end in .safetensors.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    check_output(path, MODEL_EXTENSION)
    description = {"format": _FORMAT, "version": _VERSION, "mode": model.mode, "cutoff": model.cutoff,
                   "intensity": asdict(model.intensity), "error_at_trusted": model.expected_error.at_trusted,
                   "parts": [{name: getattr(part, name) for name in _PART_NUMBERS} for part in model.parts],
                   "segments": [segment.to_json() for segment in model.segments],
                   "provenance": dict(model.provenance)}
    arrays = {"frame": np.asarray(model.frame), **{f"expected_error.{name}": np.asarray(getattr(
        model.expected_error, name)) for name in _ERROR_ARRAYS}}
    with whole_file(path) as file_path, file_path.open("wb") as file:
        header = _header(model.parts, arrays, json.dumps(description))
        file.write(len(header).to_bytes(8, "little") + header)
        for part in model.parts:
            for tensor in part.load().tensors().values():
                file.write(_bytes(tensor.detach().cpu().numpy()))
        for array in arrays.values():
            file.write(_bytes(array))


def load_model(path: PathLike) -> Model:
    """Read a model that `save_model` wrote; drawing it gives the same bits as drawing the model that was saved.

    Its Gaussians are read when they are drawn, as many as are needed, so the file must stay where it is.

    Args:
        path: a .safetensors file.

    Raises:
        InputError: there is no such file, or it is damaged, something else, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"'{path}' does not exist or is a folder. Give a model file that 'reconstruct --save-model' "
                         "wrote.")
    shapes, metadata = _contents(path)
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
        return _model(path, shapes, description)
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


def _header(parts: Sequence[Shard], arrays: Mapping[str, np.ndarray], description: str) -> bytes:
    """The header of a safetensors file: where each tensor lies, in the order in which they are written."""
    entries = [(f"parts.{n}.{name}", "I32" if name == "channels" else "F32", shape)
               for n, part in enumerate(parts) for name, shape in _shapes(part).items()]
    entries += [(name, f"F{8 * array.itemsize}", array.shape) for name, array in arrays.items()]
    header, offset = dict[str, Any]({"__metadata__": {"model": description}}), 0
    for name, dtype, shape in entries:
        end = offset + int(np.prod(shape, dtype=np.int64)) * int(dtype[1:]) // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8)  # so that the numbers are aligned


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B")


def _shapes(part: Shard) -> dict[str, tuple[int, ...]]:
    """The fields of a part's GaussianParameters in order, with their shapes."""
    count, slots = part.count, part.slots
    return {"centres": (count, 3), "tilts": (count, 2), "in_plane": (count, 3), "log_depths": (count,),
            "raw_weights": (count,), "values": (count, slots), "slopes": (count, slots, 3), "channels": (count, slots)}


def _contents(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes of all tensors, and the metadata."""
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _tensors(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Read tensors; the file may change afterwards."""
    with _opened(path) as file:
        return {name: file.get_tensor(name).clone() for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"'{path}' is no model file, or is damaged ({cause(error)}). Give a file that 'reconstruct "
                         "--save-model' wrote.") from error


def _model(path: Path, shapes: Mapping[str, tuple[int, ...]], description: dict[str, Any]) -> Model:
    """Put the model together; raises KeyError, TypeError or ValueError for what is missing or does not fit."""
    small = _tensors(path, [name for name in shapes if not name.startswith(("parts.", "gaussians."))])
    arrays = {name: small[f"expected_error.{name}"].numpy() for name in _ERROR_ARRAYS}
    frame, cutoff = small["frame"].numpy(), float(description["cutoff"])
    segments = tuple(map(Segment.from_json, description["segments"]))
    wrong = [] if frame.shape == (4, 4) else ["frame"]
    wrong += [] if arrays["middle"].shape[0] == len(arrays["offsets"]) - 1 else ["expected_error"]
    wrong += [] if description["mode"] in MODES else ["mode"]
    if wrong:
        raise ValueError(f"{wrong[0]} does not fit")
    return Model(_parts(path, shapes, description, cutoff), frame, description["mode"], cutoff,
                 IntensityScale(**description["intensity"]),
                 ExpectedError(**arrays, at_trusted=float(description["error_at_trusted"])), segments,
                 description["provenance"])


def _parts(path: Path, shapes: Mapping[str, tuple[int, ...]], description: dict[str, Any], cutoff: float
           ) -> tuple[Shard, ...]:
    """Describe the parts of a file; their Gaussians are read when they are wanted."""
    def load(prefix: str) -> GaussianParameters:
        names = {f.name: f"{prefix}.{f.name}" for f in fields(GaussianParameters)}
        tensors = _tensors(path, names.values())
        return GaussianParameters(**{name: tensors[there] for name, there in names.items()})

    if int(description["version"]) == 1:
        numbers: list[dict[str, Any]] = [dict.fromkeys(_PART_NUMBERS, 0)]
        numbers[0]["count"], numbers[0]["slots"] = shapes["gaussians.values"]
    else:
        numbers = description["parts"]
    parts = []
    for n, those in enumerate(numbers):
        prefix = "gaussians" if int(description["version"]) == 1 else f"parts.{n}"
        part = Shard(**{name: those[name] for name in _PART_NUMBERS}, load=partial(load, prefix))
        for name, shape in _shapes(part).items():
            if shapes[f"{prefix}.{name}"] != shape:
                raise ValueError(f"{prefix}.{name} does not fit")
        parts.append(part)
    if int(description["version"]) == 1:  # which does not say where its Gaussians are
        return (Shard.of(parts[0].load(), cutoff, parts[0].load),)
    return tuple(parts)
