"""Where the voxels of a NRRD file are, as its header tells."""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.geometry import RAS_TO_LPS, Grid
from ..errors import InputError, InputNote
from .lengths import in_mm

_TO_LPS = {"right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
           "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1)}  # any other is taken as it is, as ITK does
_STACK_LEVEL = 6  # from here to who called read_image


def grid_of(fields: Mapping[str, Any], spatial: list[int], sizes: list[int]) -> Grid:
    """Return the grid of the three axes `spatial`.

    fields: of the header, as pynrrd understands them.  Raises InputError for unusable or sheared axes.
    """
    directions = fields.get("space directions")
    if directions is not None:
        if np.ndim(directions) != 2 or len(directions) != len(sizes) or np.shape(directions)[1] < 3:
            raise _unusable()
        steps = np.asarray(directions, np.float64)[spatial, :3].T
        origin = _origin_in_space(fields)
    else:
        spacing = _spacings(fields, spatial, sizes)
        steps = np.diag(spacing)
        origin = _origin_in_space(fields) if "space origin" in fields else _origin_of_axes(fields, spatial, spacing)
    space = str(fields.get("space", "")).lower().removesuffix("-time").removesuffix("t")
    flips = np.diag(_TO_LPS.get(space, (1, 1, 1)))
    if not (np.isfinite(steps).all() and np.isfinite(origin).all() and abs(np.linalg.det(steps))
            > 1e-6 * np.prod(np.linalg.norm(steps, axis=0))):
        raise _unusable()
    units = fields.get("space units") or [unit for n, unit in enumerate(fields.get("units", [])) if n in spatial]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = flips @ steps, flips @ origin
    affine[:3] *= in_mm(units[0] if units else "mm", _STACK_LEVEL)
    planes, rows, columns = (sizes[n] for n in reversed(spatial))
    return Grid.from_affine(RAS_TO_LPS @ affine, (planes, rows, columns))


def _spacings(fields: Mapping[str, Any], spatial: list[int], sizes: list[int]) -> np.ndarray:
    if "spacings" in fields:
        return _of_axes(fields, "spacings", spatial)
    if "axis mins" in fields and "axis maxs" in fields:
        between = [sizes[n] - (_centering(fields, n) == "node") for n in spatial]
        lowest, highest = (_of_axes(fields, name, spatial) for name in ("axis mins", "axis maxs"))
        return (highest - lowest) / np.maximum(between, 1)
    warnings.warn("The header tells no voxel spacing: 1 mm is taken along all axes. Write the spacing into the header "
                  "if that is wrong.", InputNote, stacklevel=_STACK_LEVEL + 1)
    return np.ones(3)


def _origin_of_axes(fields: Mapping[str, Any], spatial: list[int], spacing: np.ndarray) -> np.ndarray:
    """The first voxel's centre; "axis mins" are the faces of voxels unless these are centred on nodes."""
    if "axis mins" not in fields:
        return np.zeros(3)
    halves = [0.0 if _centering(fields, n) == "node" else 0.5 for n in spatial]
    origin = _of_axes(fields, "axis mins", spatial)
    return origin + np.array(halves) * spacing if np.isfinite(origin).all() else np.zeros(3)


def _origin_in_space(fields: Mapping[str, Any]) -> np.ndarray:
    origin = np.atleast_1d(np.asarray(fields.get("space origin", np.zeros(3)), np.float64))[:3]
    if len(origin) < 3:
        raise _unusable()
    return origin


def _of_axes(fields: Mapping[str, Any], name: str, spatial: list[int]) -> np.ndarray:
    values = np.atleast_1d(np.asarray(fields[name], np.float64))
    if len(values) <= max(spatial):
        raise _unusable()
    return values[spatial]


def _centering(fields: Mapping[str, Any], axis: int) -> str:
    centerings = fields.get("centerings") or fields.get("centers") or []
    return str(centerings[axis]).lower() if axis < len(centerings) else "cell"


def _unusable() -> InputError:
    return InputError("its header gives no usable voxel spacing, direction or origin. Correct the header, or convert "
                      "the original again.")
