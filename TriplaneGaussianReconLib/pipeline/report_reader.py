"""Reading parts of a report from JSON: each entry is checked, and what is wrong is named.

What reads an entry raises ValueError, with what is wrong, where it is of another kind.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any, TypeVar

from ..data.geometry import AXES, Axis
from ..errors import InputError

T = TypeVar("T")
D = TypeVar("D")
K = TypeVar("K")


class Reader:
    """Reads the entries of an object in JSON, each checked."""

    def __init__(self, content: Any, name: str) -> None:
        """name: of the object, for messages."""
        if not isinstance(content, Mapping):
            raise InputError(f"The {name} is damaged: it is no object with keys.")
        self._content, self._name = content, name

    def __call__(self, key: str, convert: Callable[[Any], T]) -> T:
        """Return an entry that must be there."""
        if key not in self._content:
            raise InputError(f"The {self._name} is damaged: its entry '{key}' is missing.")
        try:
            return convert(self._content[key])
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"The {self._name} is damaged: its entry '{key}' {error}.") from None

    def optional(self, key: str, convert: Callable[[Any], T], default: D) -> T | D:
        """Return an entry, or `default` where it is missing or null."""
        return default if self._content.get(key) is None else self(key, convert)


def text(value: Any) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def whole(value: Any) -> int:
    """Return a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is no whole number")
    return value


def number(value: Any) -> float:
    """Return a number; NaN for null, which JSON has instead of NaN and infinity."""
    if value is None:
        return nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")
    return value


def axis(value: Any) -> Axis:
    """Return the name of an axis."""
    if value not in AXES:
        raise ValueError("is none of the axes i, j, k")
    found: Axis = value
    return found


def index(key: str) -> int:
    """Return a key that is the number of a slice."""
    if not key.isdecimal():
        raise ValueError(f"has the key '{key}', which is no number of a slice")
    return int(key)


def listed(convert: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """Return what reads a list, each entry by `convert`."""
    def read(value: Any) -> tuple[T, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError("is no list")
        return tuple(convert(entry) for entry in value)

    return read


def mapped(convert: Callable[[Any], T], key: Callable[[Any], K]) -> Callable[[Any], dict[K, T]]:
    """Return what reads an object, each value by `convert` and each name by `key`."""
    def read(value: Any) -> dict[K, T]:
        if not isinstance(value, Mapping):
            raise ValueError("is no object with keys")
        return {key(name): convert(entry) for name, entry in value.items()}

    return read
