"""How kernels are compiled: by numba, with a cache on disk that may be missing, unwritable or damaged."""
from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import cause, is_lack
from ..runtime.environment import ignore_unusable_thread_counts

ignore_unusable_thread_counts()

import numba  # noqa: E402 - it cannot be imported with an unusable number of threads
from numba.core.caching import FunctionCache, IndexDataCacheFile  # noqa: E402

_DIGEST = hashlib.sha256
_DIGEST_BYTES = _DIGEST().digest_size


def inlined(function: Callable[..., Any]) -> Any:
    """Mark a piece of a kernel that is not compiled by itself, which would optimise it twice."""
    return numba.njit(inline="always")(function)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile with numba, cached on disk where any cache directory can be written."""
    kernel: Any = numba.njit(nogil=True, error_model="numpy", fastmath={"nsz", "contract"})(function)
    with suppress(RuntimeError):  # "cannot cache function: no locator available"
        kernel._cache = _Cache(function)  # what `cache=True` does with a cache that trusts what it finds
    return kernel


class _Cache(FunctionCache):
    """A cache without which it goes on if it is damaged or cannot be written, and which mends itself if it can."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base,
                                        self._impl.locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for `sig`; None if it has to be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever damage leads to
            if is_lack(error):
                raise
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if possible."""
        try:
            try:
                super().save_overload(sig, data)
            except (pickle.UnpicklingError, ValueError, EOFError, TypeError, AttributeError, LookupError, ImportError):
                self.flush()  # the index is damaged
                super().save_overload(sig, data)
        except Exception as error:  # it is only a cache
            if is_lack(error):
                raise
            self.disable()
            warnings.warn(f"Compiled code cannot be kept in '{self.cache_path}': {cause(error)}. Each start takes some "
                          "seconds longer.", RuntimeWarning, stacklevel=2)


class _CheckedFile(IndexDataCacheFile):
    """Files that tell whether they are whole: damaged machine code would end the process."""

    def _dump(self, content: Any) -> bytes:
        data: bytes = super()._dump(content)
        return data + _DIGEST(data).digest()

    def _load_index(self) -> Any:
        if os.path.exists(self._index_path):
            with open(self._index_path, "rb") as file:
                pickle.load(file)  # the version of numba stands before what was dumped
                _check(file.read())
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            _check(file.read())
        return super()._load_data(name)


def _check(data: bytes) -> None:
    """Raise ValueError unless `data` is as it was dumped."""
    if data[-_DIGEST_BYTES:] != _DIGEST(data[:-_DIGEST_BYTES]).digest():
        raise ValueError("it is damaged")
