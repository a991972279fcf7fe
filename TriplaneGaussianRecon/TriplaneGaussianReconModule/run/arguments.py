"""What scripts pass to the logic, as a `Request` has it: text, and plain numbers that can be written as JSON."""
from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError

Slices = str | int | Iterable[int]  # text as `Request` reads it, or slice numbers: a list, a range, an array of NumPy


def slicesOf(given: Slices) -> str:
    """Slices as text; raises InputError for what is neither text nor whole numbers."""
    if isinstance(given, str):
        return given
    numbers: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    if not all(_isWhole(number) for number in numbers):
        raise InputError(_("Cannot read the slices {slices}. Write their numbers, such as [0, 4, 8] or "
                           "range(0, 20, 4), or a text such as '0,4,8-20'.").format(slices=repr(given)))
    return ",".join(str(int(number)) for number in numbers)


def spacingOf(given: float) -> float:
    """An output spacing (mm); raises InputError for what is no number."""
    if isinstance(given, bool) or not isinstance(given, Real):
        raise InputError(_("The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it "
                           "to the program, not {spacing}.").format(spacing=repr(given)))
    return float(given)


def seedOf(given: int) -> int:
    """A seed; raises InputError for what is no whole number."""
    if not _isWhole(given):
        raise InputError(_("The seed must be a whole number such as 1, not {seed}.").format(seed=repr(given)))
    return int(given)


def _isWhole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
