"""The file of a trained network for labels: safetensors, which holds numbers and text and cannot carry code."""
from __future__ import annotations

import json
from pathlib import Path

from ..data.json_fields import mapping, real, text
from ..errors import InputError
from ..io.atomic import PathLike, check_output, whole_file
from ..label_completion.trained import TrainedLabels
from .tensor_file import TensorFile, content_of, digest

_FORMAT = "TriplaneGaussianRecon label network"
_EXTENSION = ".safetensors"


def save_label_network(path: PathLike, trained: TrainedLabels) -> None:
    """Write a network; the file appears whole, or what was there stays as it was.

    Args:
        path: a file name that ends in .safetensors.
        trained: as in `Reconstruction.label_network`.

    Raises:
        InputError: the name does not end in .safetensors.
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    check_output(path, _EXTENSION)
    description = json.dumps({"format": _FORMAT, "scan": trained.scan, "methods": dict(trained.methods),
                              "hidden_dice": trained.hidden_dice})
    digests = {name: digest(content_of(tensor.numpy())) for name, tensor in trained.tensors.items()}
    content = save(dict(trained.tensors), {"network": description, "checksums": json.dumps(digests)})
    with whole_file(path) as file_path:
        file_path.write_bytes(content)


def load_label_network(path: PathLike) -> TrainedLabels:
    """Read a network that `save_label_network` wrote.

    Raises:
        InputError: there is no such file, or it is damaged or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"'{path}' does not exist or is a folder. Give a file that --label-network wrote.")
    try:
        return _loaded(path)
    except InputError as error:
        raise InputError(f"'{path}' is no network for labels, or it is damaged. Delete it, or give another name."
                         ) from error


def _loaded(path: Path) -> TrainedLabels:
    file = TensorFile.of(path)
    if _FORMAT not in file.metadata.get("network", ""):
        raise InputError("It has another format.")
    with file.damage():
        content = json.loads(file.metadata["network"])
        methods = mapping(content, "methods")
        dice = None if content["hidden_dice"] is None else real(content, "hidden_dice", 0.0, 1.0)
        return TrainedLabels(text(content, "scan"), file.tensors(file.shapes),
                             {name: real(methods, name, 0.0, 1.0) for name in methods}, dice)


def start_from(path: PathLike | None) -> TrainedLabels | None:
    """Read a network if the file is there; raises InputError as `load_label_network`."""
    return load_label_network(path) if path is not None and Path(path).exists() else None
