"""Tensors in a safetensors file, read one by one and only if they are whole."""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import InputError, TooLargeError, cause
from ..runtime.memory_limits import free_memory
from .model_header import Shape

_DIGEST_BYTES = 16  # of BLAKE2b: against damage, not against people
_WHOLE_NUMBERS = (".channels", ".columns", ".codes")  # how names of tensors of these end
_ALWAYS_FREE = 2 ** 20  # bytes: so little that it is not worth asking


@dataclass(frozen=True)
class TensorFile:
    """What is known of a safetensors file without reading its tensors.

    Attributes:
        path: Of the file.
        shapes: Of its tensors.
        metadata: Its texts.
        digests: Of the description and the tensors; empty where it has none.
    """

    path: Path
    shapes: dict[str, Shape]
    metadata: dict[str, str]
    digests: dict[str, str]

    @classmethod
    def of(cls, path: Path) -> TensorFile:
        """Look into a file; raises InputError for what is no safetensors file."""
        with _opened(path) as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            metadata: dict[str, str] = opened.metadata() or {}
        try:
            digests = json.loads(metadata.get("checksums", "{}"))
        except (ValueError, RecursionError):
            digests = None
        if not isinstance(digests, dict):
            raise InputError(f"'{path}' is damaged: its checksums cannot be read. Reconstruct and save the model "
                             "again.")
        return cls(path, shapes, metadata, digests)

    @contextmanager
    def damage(self) -> Iterator[None]:
        """Tell of damage that shows as a KeyError, TypeError or ValueError."""
        try:
            yield
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
            raise InputError(f"'{self.path}' is damaged or incomplete ({type(error).__name__}: {cause(error)}). "
                             "Reconstruct and save the model again.") from error

    def tensors(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Read tensors and check that they are whole; the file may change afterwards."""
        with self.damage(), _opened(self.path) as file:
            return {name: self._checked(name, file) for name in names}

    def _checked(self, name: str, file: Any) -> Tensor:
        if tuple(file.get_slice(name).get_shape()) != self.shapes[name]:
            raise ValueError("it was changed meanwhile")
        check_memory(8 * int(np.prod(self.shapes[name], dtype=float)), self.path)
        tensor: Tensor = file.get_tensor(name).clone()
        if self.digests and digest(content_of(tensor.numpy())) != self.digests[name]:
            raise ValueError(f"{name} does not have its checksum")
        is_whole = name.endswith(_WHOLE_NUMBERS)
        if tensor.is_floating_point() == is_whole or not (is_whole or bool(tensor.isfinite().all())):
            raise ValueError(f"{name} is not finite or of another type")
        return tensor


def check_memory(size: int, path: Path) -> None:
    """Raise TooLargeError where so many bytes for what is in the file at `path` are not free."""
    if size > max(free_memory(), _ALWAYS_FREE):
        raise TooLargeError(f"There is not enough memory for the model '{path}'. Close other programs, or use a "
                            "computer with more memory.")


def digest(content: bytes | memoryview) -> str:
    """Return the checksum of `content`."""
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def content_of(array: np.ndarray) -> memoryview:
    """Return an array as it stands in a file."""
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise InputError(f"'{path}' is no model file, or is damaged{why}. Give a file that 'reconstruct "
                         "--save-model' wrote.") from error
