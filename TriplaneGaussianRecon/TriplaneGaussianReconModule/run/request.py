"""The library's `Request` from the arguments of the logic, and back."""
from __future__ import annotations

from collections.abc import Iterable
from math import inf
from numbers import Integral, Real
from typing import Any

from slicer.i18n import tr as _

from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.request import AUTO, INPUT, ISOTROPIC, Request

Slices = str | int | Iterable[int]  # text as `Request` reads it, or slice numbers: a list, a range, an array of NumPy


def requestFrom(sliceAxis: str, trustedSlices: Slices, excludedSlices: Slices, labelsOn: Slices,
                outputSpacing: float | str, preset: str, device: str, seed: int, keepModel: bool,
                evenTexture: bool = False, memory: float = 0.0, threads: int = 0, region: str = "",
                keepUsedSlices: bool = False) -> Request:
    """Return what the arguments of the logic's `reconstruct` ask for.

    Raises:
        InputError: An argument is of a kind that is not understood; `Request.check` does the rest.
    """
    return Request(axis=sliceAxis, slices=slicesText(trustedSlices), excluded=slicesText(excludedSlices),
                   spacing=_spacing(outputSpacing) or AUTO, preset=preset, device=device, seed=_seed(seed),
                   keep_model=keepModel, labels_on=slicesText(labelsOn),
                   texture="even" if evenTexture else "plain", memory=_memory(memory), threads=_threads(threads),
                   region=region, keep_used=keepUsedSlices)


def choices(request: Request) -> dict[str, Any]:
    """Return a request as the provenance of results tells it; scripts read these keys."""
    return {"axis": request.axis, "trusted": request.slices, "excluded": request.excluded,
            "labelsOn": request.labels_on, "spacing": 0.0 if request.spacing == AUTO else request.spacing,
            "preset": request.preset, "device": request.device, "seed": request.seed, "keepModel": request.keep_model,
            "evenTexture": request.texture == "even", "memory": (request.memory or 0) / 1e9,
            "threads": request.threads or 0, "region": request.region, "keepUsedSlices": request.keep_used}


def slicesText(given: Slices) -> str:
    """Return slices as text; raises InputError for what is neither text nor whole numbers."""
    if isinstance(given, str):
        return given
    numbers: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    if not all(_isWhole(number) for number in numbers):
        raise InputError(_("Cannot read the slices {slices}. Write their numbers, such as [0, 4, 8] or "
                           "range(0, 20, 4), or a text such as '0,4,8-20'.").format(slices=repr(given)))
    return ",".join(str(int(number)) for number in numbers)


def _spacing(given: float | str) -> float | str:
    """An output spacing (mm), `input` or `isotropic`; raises InputError for what is none of them."""
    if isinstance(given, str) and given in (INPUT, ISOTROPIC):
        return given
    if isinstance(given, bool) or not isinstance(given, Real):
        raise InputError(_("The output spacing must be a positive number of millimetres such as 1.5, or 0 to leave it "
                           "to the program, not {spacing}.").format(spacing=repr(given)))
    return float(given)


def _seed(given: int) -> int:
    """A seed; raises InputError for what is no whole number."""
    if not _isWhole(given):
        raise InputError(_("The seed must be a whole number such as 1, not {seed}.").format(seed=repr(given)))
    return int(given)


def _memory(given: float) -> int | None:
    """An amount of memory (GB) in bytes, None for 0; raises InputError for what is none."""
    if isinstance(given, bool) or not isinstance(given, Real) or not 0 <= given < inf:
        raise InputError(_("The memory that may be used must be a number of GB such as 6, or 0 for what is free, not "
                           "{memory}.").format(memory=repr(given)))
    return round(1e9 * float(given)) or None


def _threads(given: int) -> int | None:
    """A number of threads, None for 0; raises InputError for what is none."""
    if not _isWhole(given) or given < 0:
        raise InputError(_("The number of threads must be a whole number such as 4, or 0 for as many as there are, not "
                           "{threads}.").format(threads=repr(given)))
    return int(given) or None


def _isWhole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
