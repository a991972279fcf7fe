"""Axes, grids and selections of slices as the JSON of a job has them, and back.

What cannot be meant raises KeyError, TypeError or ValueError: the file is damaged.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.geometry import AXES, Axis, Grid
from ..data.json_fields import mapping, real, sequence, triple, whole
from ..data.selection import Selection

_MOST_VOXELS = 2 ** 48  # more is damage


def axis_named(name: str) -> Axis:
    """Return the axis of this name."""
    return {str(axis): axis for axis in AXES}[name]


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """Return a grid as JSON has it."""
    return {"shape": grid.shape, "origin": grid.origin, "spacing": grid.spacing, "direction": grid.direction,
            "depths": grid.depths}


def grid_in(content: Mapping[str, Any]) -> Grid:
    """Return the grid of an object: its entry `grid`."""
    grid = mapping(content, "grid")
    shape = [whole({"shape": size}, "shape", 1, _MOST_VOXELS) for size in sequence(grid, "shape")]
    direction = [triple({"direction": row}, "direction") for row in sequence(grid, "direction")]
    if len(shape) != 3 or len(direction) != 3:
        raise ValueError("grid does not fit")
    return Grid((shape[0], shape[1], shape[2]), triple(grid, "origin"), triple(grid, "spacing"),
                (direction[0], direction[1], direction[2]),
                tuple(real({"depths": depth}, "depths") for depth in grid.get("depths", ())))


def selections_to_json(selections: Mapping[Axis, Selection]) -> dict[str, Any]:
    """Return selections by axis as JSON has them."""
    return {axis: selection_to_json(selection) for axis, selection in selections.items()}


def selections_in(content: Mapping[str, Any], name: str) -> dict[Axis, Selection]:
    """Return the selections in the entry of an object that has this name."""
    return {axis_named(axis): selection_of(selection) for axis, selection in mapping(content, name).items()}


def selection_to_json(selection: Selection) -> dict[str, Any]:
    """Return a selection as JSON has it."""
    return {"indices": list(selection.indices), "count": selection.count}


def selection_of(content: Mapping[str, Any]) -> Selection:
    """Return what `selection_to_json` was given."""
    count = whole(content, "count", 1, _MOST_VOXELS)
    return Selection(tuple(whole({"indices": index}, "indices", 0, count - 1)
                           for index in sequence(content, "indices")), count)
