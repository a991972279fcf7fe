"""The model file: a model on disk, in the program's own format.

A model file is a safetensors file, which holds numbers and text and cannot carry code.  Its tensors are the fields of
`GaussianParameters` of each shard under `parts.0.`, `parts.1.` and so on, the arrays of `ExpectedError` under
`expected_error.`, and `frame`.  Everything else is one JSON text in the metadata field `model`.  Format 1 had one
shard, under `gaussians.`.  The metadata field `checksums`, which older files lack, has a BLAKE2b digest of that text
and of each tensor.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..errors import InputError
from ..gaussians.cloud import GaussianParameters
from ..io.atomic import PathLike, check_output, whole_file
from ..labels.channels import LabelChannels
from ..prediction.expected_error import ExpectedError
from .model import Model
from .model_header import ERROR_ARRAYS, GAUSSIANS, PARTS, Shape, check_description, check_tensors, gaussian_shapes
from .shards import Shard
from .tensor_file import TensorFile, content_of, digest

MODEL_EXTENSION = ".safetensors"
_FORMAT = "TriplaneGaussianRecon model"
_VERSION = 2  # raised when an older program would misread the file
_MOST_VERSIONS = 1000  # a larger number is damage
# Name in the file -> field of Shard.
_SHARD_NUMBERS = {"count": "count", "slots": "slots", "lowest": "lowest", "highest": "highest", "reach": "support"}
_DEPTH_TOLERANCE = 1e-3  # mm


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
        model.expected_error, name)) for name in ERROR_ARRAYS}}
    text = json.dumps(description)
    entries = _entries(model.shards, arrays)
    digests = {"model": digest(text.encode()), **dict.fromkeys(entries, "0" * len(digest(b"")))}
    with whole_file(path) as file_path, file_path.open("wb") as file:
        file.write(_header(entries, text, digests))
        for name, array in _contents_of(model.shards, arrays):
            content = content_of(array)
            digests[name] = digest(content)
            file.write(content)
        file.seek(0)
        file.write(_header(entries, text, digests))  # of the same length


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
    file = TensorFile.of(path)
    try:
        description = json.loads(file.metadata["model"])
        version = description["version"]
        known = description["format"] == _FORMAT and type(version) is int and 0 < version < _MOST_VERSIONS
    except (KeyError, TypeError, ValueError, RecursionError):
        known = False
    if not known:
        raise InputError(f"'{path}' is a safetensors file, but no model of this program, or is damaged. Give a file "
                         "that 'reconstruct --save-model' wrote.")
    if version > _VERSION:
        raise InputError(f"'{path}' has the model format {version}; this program knows formats up to {_VERSION}. "
                         "Update the program.")
    with file.damage():
        check_description(description)
        check_tensors(file.shapes, description)
        if file.digests and file.digests["model"] != digest(file.metadata["model"].encode()):
            raise ValueError("the description does not have its checksum")
    return _model(file, description)


def _entries(shards: Sequence[Shard], arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, Shape]]:
    """Type and shape of each tensor, in the order in which they are written."""
    entries = {name: ("I32" if name.endswith(".channels") else "F32", shape) for n, shard in enumerate(shards)
               for name, shape in gaussian_shapes(f"{PARTS}.{n}", shard.count, shard.slots).items()}
    return entries | {name: (f"F{8 * array.itemsize}", array.shape) for name, array in arrays.items()}


def _contents_of(shards: Sequence[Shard], arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each tensor in the same order; one shard is in memory at a time."""
    for n, shard in enumerate(shards):
        for name, tensor in shard.load().tensors().items():
            yield f"{PARTS}.{n}.{name}", tensor.detach().cpu().numpy()
    yield from arrays.items()


def _header(entries: Mapping[str, tuple[str, Shape]], description: str, digests: Mapping[str, str]) -> bytes:
    """The header of a safetensors file with its length: where each tensor lies, and the metadata."""
    metadata = {"model": description, "checksums": json.dumps(digests)}
    header, offset = dict[str, Any]({"__metadata__": metadata}), 0
    for name, (dtype, shape) in entries.items():
        end = offset + int(np.prod(shape, dtype=np.int64)) * int(dtype[1:]) // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return len(text).to_bytes(8, "little") + text


def _model(file: TensorFile, description: dict[str, Any]) -> Model:
    """Put the model together."""
    small = file.tensors([name for name in file.shapes if not name.startswith((f"{PARTS}.", f"{GAUSSIANS}."))])
    arrays = {name: small[f"expected_error.{name}"].numpy() for name in ERROR_ARRAYS}
    frame, cutoff = small["frame"].numpy(), float(description["cutoff"])
    segments = tuple(map(Segment.from_json, description["segments"]))
    with file.damage():
        _check_frame(frame)
        if not (np.diff(arrays["offsets"]) > 0).all() or not (arrays["step"] > 0).all():
            raise ValueError("expected_error does not fit")
    return Model(_shards(file, description, LabelChannels(segments).count), frame, description["mode"], cutoff,
                 IntensityScale(**description["intensity"]),
                 ExpectedError(**arrays, at_observed=float(description["error_at_trusted"])), segments,
                 description["provenance"])


def _check_frame(frame: np.ndarray) -> None:
    """Raise ValueError unless `frame` is a rigid motion."""
    rotation = frame[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or (frame[3] != (0, 0, 0, 1)).any():
        raise ValueError("frame does not fit")


def _shards(file: TensorFile, description: dict[str, Any], channels: int) -> tuple[Shard, ...]:
    """Describe the shards of a file; their Gaussians are read when they are wanted."""
    def load(prefix: str, lowest: float, highest: float) -> GaussianParameters:
        names = [name for name in file.shapes if name.startswith(f"{prefix}.")]
        read = GaussianParameters(**{name.removeprefix(f"{prefix}."): tensor
                                     for name, tensor in file.tensors(names).items()})
        with file.damage():
            depths = read.centres[:, 2]
            if depths.min() < lowest - _DEPTH_TOLERANCE or depths.max() > highest + _DEPTH_TOLERANCE:
                raise ValueError(f"{prefix}.centres does not fit")
            if read.channels.min() < 0 or read.channels.max() >= channels:
                raise ValueError(f"{prefix}.channels does not fit")
        return read

    if description["version"] == 1:  # which does not say where its Gaussians are
        whole = partial(load, GAUSSIANS, -np.inf, np.inf)
        return (Shard.of(whole(), float(description["cutoff"]), whole),)
    return tuple(Shard(**{name: part[key] for key, name in _SHARD_NUMBERS.items()},
                       load=partial(load, f"{PARTS}.{n}", part["lowest"], part["highest"]))
                 for n, part in enumerate(description[PARTS]))
