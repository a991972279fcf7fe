"""The model file: a model on disk, in the program's own format.

A model file is a safetensors file, which holds numbers and text and cannot carry code.  Its tensors are the fields of
`GaussianParameters` of each shard under `parts.0.`, `parts.1.` and so on, the arrays of `ExpectedError` under
`expected_error.`, and `frame`.  Everything else is one JSON text in the metadata field `model`.  The metadata field
`checksums`, which older files lack, has a BLAKE2b digest of that text and of each tensor.

Format 1 had one shard, under `gaussians.`.  Format 2 is the full form.  Format 3 is the compact form, where the arrays
of `compact.Coded` stand in the place of the fields; what it shows differs by less than can be seen.
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
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
from ..runtime.memory import parameter_bytes
from .compact import Coded
from .model import Model
from .model_header import COMPACT, ERROR_ARRAYS, FULL, GAUSSIANS, PARTS, check_description, check_tensors
from .shards import Shard
from .tensor_file import TensorFile, check_memory, content_of, digest

MODEL_EXTENSION = ".safetensors"
_FORMAT = "TriplaneGaussianRecon model"
_NEWEST = COMPACT  # raised when an older program would misread the file
_MOST_VERSIONS = 1000  # a larger number is damage
# Name in the file -> field of Shard.
_SHARD_NUMBERS = {"count": "count", "slots": "slots", "lowest": "lowest", "highest": "highest", "reach": "support"}
_DEPTH_TOLERANCE = 1e-3  # mm
# Room for what the header says of a tensor, with its checksum: more than its name, type, shape and place can take.
_ENTRY_BYTES, _MOST_TENSORS = 256, 8  # the latter of a shard
_TYPES = {"f": "F", "i": "I", "u": "U"}


def save_model(path: PathLike, model: Model, *, compact: bool = False) -> None:
    """Write a model; the file appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .safetensors.
        model: as in `Reconstruction.model`.  One shard is in memory at a time.
        compact: whether to round numbers to what can be seen, which makes the file many times smaller.

    Raises:
        InputError: the name does not end in .safetensors.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    check_output(path, MODEL_EXTENSION)
    text = json.dumps({"format": _FORMAT, "version": COMPACT if compact else FULL, "mode": model.mode,
                       "cutoff": model.cutoff, "intensity": asdict(model.intensity),
                       "error_at_trusted": model.expected_error.at_observed,
                       "parts": [{key: getattr(shard, name) for key, name in _SHARD_NUMBERS.items()}
                                 for shard in model.shards],
                       "segments": [segment.to_json() for segment in model.segments],
                       "provenance": dict(model.provenance)})
    entries, digests = dict[str, dict[str, Any]](), {"model": digest(text.encode())}
    room = len(_header({}, text, digests)) + _ENTRY_BYTES * (_MOST_TENSORS * len(model.shards) + len(ERROR_ARRAYS) + 1)
    with whole_file(path) as file_path, file_path.open("wb") as file:
        file.write(bytes(room))
        for name, array in _contents_of(model, compact):
            content, start = content_of(array), file.tell() - room
            digests[name] = digest(content)
            entries[name] = {"dtype": f"{_TYPES[array.dtype.kind]}{8 * array.itemsize}", "shape": list(array.shape),
                             "data_offsets": [start, start + len(content)]}
            file.write(content)
        file.seek(0)
        file.write(_header(entries, text, digests, room))


@dataclass(frozen=True)
class ModelFile:
    """A model file and what it holds.

    Attributes:
        model: as `load_model` returns it.
        form: how its Gaussians are stored: `full`, every bit, or `compact`.
        size: bytes.
    """

    model: Model
    form: str
    size: int


def load_model(path: PathLike) -> Model:
    """Read a model that `save_model` wrote; drawing it gives the same bits as drawing the model that was saved.

    Of a compact file it gives what cannot be told from it.  Gaussians are read when they are drawn, as many as are
    needed, so the file must stay where it is.

    Args:
        path: a .safetensors file.

    Raises:
        InputError: there is no such file, or it is damaged, something else, or of a newer format.
    """
    return open_model(path).model


def open_model(path: PathLike) -> ModelFile:
    """Read a model, and tell how it is stored; arguments and errors as those of `load_model`."""
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
    if version > _NEWEST:
        raise InputError(f"'{path}' has the model format {version}; this program knows formats up to {_NEWEST}. "
                         "Update the program.")
    with file.damage():
        check_description(description)
        check_tensors(file.shapes, description)
        if file.digests and file.digests["model"] != digest(file.metadata["model"].encode()):
            raise ValueError("the description does not have its checksum")
    return ModelFile(_model(file, description), "compact" if version == COMPACT else "full", path.stat().st_size)


def _contents_of(model: Model, compact: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each tensor by its name; one shard is in memory at a time."""
    for n, shard in enumerate(model.shards):
        if compact:
            arrays = vars(Coded.of(shard.load()))
        else:
            arrays = {name: tensor.detach().cpu().numpy() for name, tensor in shard.load().tensors().items()}
        for name, array in arrays.items():
            yield f"{PARTS}.{n}.{name}", array
    yield "frame", np.asarray(model.frame)
    for name in ERROR_ARRAYS:
        yield f"expected_error.{name}", np.asarray(getattr(model.expected_error, name))


def _header(entries: Mapping[str, Mapping[str, Any]], description: str, digests: Mapping[str, str], room: int = 0
            ) -> bytes:
    """The header of a safetensors file with its length: where each tensor lies, and the metadata.

    room: bytes that it takes in any case, a multiple of eight, so that the numbers are aligned.
    """
    metadata = {"model": description, "checksums": json.dumps(digests)}
    text = json.dumps({"__metadata__": metadata, **entries}, ensure_ascii=False).encode()
    text += b" " * max(-(len(text) + 8) % 8, room - len(text) - 8)
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
    def load(prefix: str, lowest: float, highest: float, size: tuple[int, int] | None = None) -> GaussianParameters:
        tensors = {name.removeprefix(f"{prefix}."): tensor for name, tensor in file.tensors(
            [name for name in file.shapes if name.startswith(f"{prefix}.")]).items()}
        with file.damage():
            if size is None:
                read = GaussianParameters(**tensors)
            else:
                check_memory(2 * parameter_bytes(*size), file.path)
                read = Coded(**{name: tensor.numpy() for name, tensor in tensors.items()}).gaussians(*size)
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
                       load=partial(load, f"{PARTS}.{n}", part["lowest"], part["highest"],
                                    (part["count"], part["slots"]) if description["version"] == COMPACT else None))
                 for n, part in enumerate(description[PARTS]))
