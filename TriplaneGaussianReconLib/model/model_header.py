"""What the header of a model file may hold: types, ranges and finiteness of every field, names and shapes of tensors.

All is checked before any tensor is read.  The functions raise KeyError, TypeError or ValueError, which name the field.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..data.images import Segment
from ..data.intensity import IntensityScale
from ..data.json_fields import mapping, real, sequence, text, whole
from ..rasterizer.modes import MODES

FULL, COMPACT = 2, 3  # formats of the two forms
GAUSSIANS, PARTS = "gaussians", "parts"  # how names of tensors begin in format 1, and since
ERROR_ARRAYS = ("middle", "offsets", "origin", "step")  # of ExpectedError
Shape = tuple[int, ...]

_MOST_GAUSSIANS, _MOST_SLOTS, _MOST_SEGMENTS = 2 ** 40, 4096, 2 ** 16


def check_description(description: Mapping[str, Any]) -> None:
    """Check everything but the tensors."""
    if text(description, "mode") not in MODES:
        raise ValueError("mode is unknown")
    real(description, "cutoff", 1e-6, 1e6)
    real(description, "error_at_trusted", 0.0)
    intensity = IntensityScale(**{name: real(description["intensity"], name)
                                  for name in mapping(description, "intensity")})
    if intensity.scale <= 0 or intensity.lowest > intensity.highest:
        raise ValueError("intensity is no range")
    mapping(description, "provenance")
    _check_segments(sequence(description, "segments"))
    if description["version"] > 1:
        parts = sequence(description, PARTS)
        if not parts:
            raise ValueError("parts are missing")
        for part in parts:
            whole(part, "count", 1, _MOST_GAUSSIANS)
            whole(part, "slots", 1, _MOST_SLOTS)
            real(part, "reach", 0.0)
            if real(part, "lowest") > real(part, "highest"):
                raise ValueError("parts do not fit")


def check_tensors(shapes: Mapping[str, Shape], description: Mapping[str, Any]) -> None:
    """Check that the tensors are those that the description tells of, and no others."""
    middle = shapes["expected_error.middle"]
    expected: dict[str, Shape] = {"frame": (4, 4), "expected_error.middle": middle, "expected_error.step": (2,),
                                  "expected_error.origin": (2,), "expected_error.offsets": (middle[0] + 1,)}
    if len(middle) != 3 or not all(middle):
        raise ValueError("expected_error.middle does not fit")
    if description["version"] == 1:
        expected |= gaussian_shapes(GAUSSIANS, *shapes[f"{GAUSSIANS}.values"])
    else:
        for number, part in enumerate(description[PARTS]):
            prefix, size = f"{PARTS}.{number}", (part["count"], part["slots"])
            expected |= (_coded_shapes(shapes, prefix, part["slots"]) if description["version"] == COMPACT
                         else gaussian_shapes(prefix, *size))
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"{name} does not fit")
    if foreign := sorted(set(shapes) - set(expected)):
        raise ValueError(f"{foreign[0]} does not belong to a model")


def gaussian_shapes(prefix: str, count: int, slots: int) -> dict[str, Shape]:
    """Return names and shapes of the tensors of a shard, in the order of the fields of GaussianParameters."""
    shapes: dict[str, Shape] = {
        "centres": (count, 3), "tilts": (count, 2), "in_plane": (count, 3), "log_depths": (count,),
        "raw_weights": (count,), "values": (count, slots), "slopes": (count, slots, 3), "channels": (count, slots)}
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def column_count(slots: int) -> int:
    """Return how many numbers a Gaussian has."""
    return sum(math.prod(shape[1:]) for shape in gaussian_shapes("", 1, slots).values())


def _coded_shapes(shapes: Mapping[str, Shape], prefix: str, slots: int) -> dict[str, Shape]:
    """Names and shapes of the tensors of a compact shard; how long tables and codes are is for the file to say."""
    lengths = {name: (shapes[name][0],) for name in (f"{prefix}.tables", f"{prefix}.codes")}
    return {f"{prefix}.columns": (column_count(slots), 2), **lengths}


def _check_segments(segments: list[Any]) -> None:
    if len(segments) > _MOST_SEGMENTS:
        raise ValueError(f"there are {len(segments)} segments")
    read = [Segment.from_json(content) for content in segments]
    if len({(segment.layer, segment.value) for segment in read}) < len(read):
        raise ValueError("segments have the same value")
