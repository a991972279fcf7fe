"""Fields of JSON that others may have written, or that may be damaged: of the right type and in range, or an error.

All functions raise KeyError, TypeError or ValueError, with the name of the field.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST = 3.5e38  # of any real number; beyond float32


def real(content: Mapping[str, Any], name: str, lowest: float = -LARGEST, highest: float = LARGEST) -> float:
    """Return a finite number.

    Example:
        >>> real({"spacing": 2}, "spacing", 0.0)
        2.0
    """
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is no number")
    if not lowest <= value <= highest:  # nor is NaN
        raise ValueError(f"{name} is out of range")
    return float(value)


def whole(content: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    """Return a whole number."""
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is no whole number")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is out of range")
    return value


def truth(content: Mapping[str, Any], name: str) -> bool:
    """Return true or false."""
    if not isinstance(content[name], bool):
        raise TypeError(f"{name} is neither true nor false")
    return bool(content[name])


def text(content: Mapping[str, Any], name: str) -> str:
    """Return a text."""
    if not isinstance(content[name], str):
        raise TypeError(f"{name} is no text")
    return str(content[name])


def sequence(content: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list."""
    if not isinstance(content[name], list):
        raise TypeError(f"{name} is no list")
    return list(content[name])


def mapping(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object, whose names are texts."""
    if not isinstance(content[name], dict):
        raise TypeError(f"{name} is no object")
    return dict(content[name])


def triple(content: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    """Return three finite numbers."""
    numbers = sequence(content, name)
    if len(numbers) != 3:
        raise ValueError(f"{name} has {len(numbers)} numbers, not 3")
    x, y, z = (real({name: number}, name) for number in numbers)
    return x, y, z
