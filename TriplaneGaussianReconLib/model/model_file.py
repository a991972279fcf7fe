"""The model file: a model on disk, in the program's own format.

A model file is a safetensors file, which holds numbers and text and cannot carry code.  Its tensors are the fields of
`GaussianParameters` of each shard under `parts.0.`, `parts.1.` and so on, the arrays of `ExpectedError` under
`expected_error.`, and `frame`.  Everything else is one JSON text in the metadata field `model`.  Format 1 had one
shard, under `gaussians.`.
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
from torch import Tensor

from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..errors import InputError, cause
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
# Name in the file -> field of Shard.
_SHARD_NUMBERS = {"count": "count", "slots": "slots", "lowest": "lowest", "highest": "highest", "reach": "support"}


def save_model(path: PathLike, model: Model) -> None:
    """Write a model; the file appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .safetensors.
        model: as in `Reconstruction.model`.  One shard is in memory at a time.

    Raises:
        InputError: the name does not end in .safetensors.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    check_output(path, MODEL_EXTENSION)
    description = {"format": _FORMAT, "version": _VERSION, "mode": model.mode, "cutoff": model.cutoff,
                   "intensity": asdict(model.intensity), "error_at_trusted": model.expected_error.at_observed,
                   "parts": [{key: getattr(shard, name) for key, name in _SHARD_NUMBERS.items()}
                             for shard in model.shards],
                   "segments": [segment.to_json() for segment in model.segments],
                   "provenance": dict(model.provenance)}
    arrays = {"frame": np.asarray(model.frame), **{f"expected_error.{name}": np.asarray(getattr(
        model.expected_error, name)) for name in _ERROR_ARRAYS}}
    with whole_file(path) as file_path, file_path.open("wb") as file:
        header = _header(model.shards, arrays, json.dumps(description))
        file.write(len(header).to_bytes(8, "little") + header)
        for shard in model.shards:
            for tensor in shard.load().tensors().values():
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


def _header(shards: Sequence[Shard], arrays: Mapping[str, np.ndarray], description: str) -> bytes:
    """The header of a safetensors file: where each tensor lies, in the order in which they are written."""
    entries = [(f"parts.{n}.{name}", "I32" if name == "channels" else "F32", shape)
               for n, shard in enumerate(shards) for name, shape in _shapes(shard).items()]
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


def _shapes(shard: Shard) -> dict[str, tuple[int, ...]]:
    """Return the fields of a shard's GaussianParameters in order, with their shapes."""
    count, slots = shard.count, shard.slots
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
    return Model(_shards(path, shapes, description, cutoff), frame, description["mode"], cutoff,
                 IntensityScale(**description["intensity"]),
                 ExpectedError(**arrays, at_observed=float(description["error_at_trusted"])), segments,
                 description["provenance"])


def _shards(path: Path, shapes: Mapping[str, tuple[int, ...]], description: dict[str, Any], cutoff: float
            ) -> tuple[Shard, ...]:
    """Describe the shards of a file; their Gaussians are read when they are wanted."""
    def load(prefix: str) -> GaussianParameters:
        names = {f.name: f"{prefix}.{f.name}" for f in fields(GaussianParameters)}
        tensors = _tensors(path, names.values())
        return GaussianParameters(**{name: tensors[there] for name, there in names.items()})

    is_first_format = int(description["version"]) == 1
    if is_first_format:
        entries: list[dict[str, Any]] = [dict.fromkeys(_SHARD_NUMBERS, 0)]
        entries[0]["count"], entries[0]["slots"] = shapes["gaussians.values"]
    else:
        entries = description["parts"]
    shards = []
    for n, entry in enumerate(entries):
        prefix = "gaussians" if is_first_format else f"parts.{n}"
        shard = Shard(**{name: entry[key] for key, name in _SHARD_NUMBERS.items()}, load=partial(load, prefix))
        for name, shape in _shapes(shard).items():
            if shapes[f"{prefix}.{name}"] != shape:
                raise ValueError(f"{prefix}.{name} does not fit")
        shards.append(shard)
    if is_first_format:  # which does not say where its Gaussians are
        return (Shard.of(shards[0].load(), cutoff, shards[0].load),)
    return tuple(shards)
