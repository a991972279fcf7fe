"""`render`: one plane of a saved model as an image."""
from __future__ import annotations

import math
import os
from argparse import Namespace
from pathlib import Path

import numpy as np

from ..data.geometry import Grid
from ..data.images import Image, Segmentation
from ..errors import InputError
from ..io.atomic import check_output, whole_file
from ..io.writers import check_segmentation_writable, check_writable, write_image, write_segmentation
from ..model.model import Model
from ..model.model_file import load_model
from ..rendering.planes import RenderedPlanes, draw
from .console import say
from .saved_model import box_of, corners_of, pixel_of

_MOST_PIXELS = 2 ** 26  # of a picture
_LARGEST_SPACING = 1e6  # mm
# How radiologists look at planes across the LPS axes x, y, z: directions of the columns (to the right) and of the rows
# (downwards) of the picture.
_UPRIGHT = (((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
            ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
            ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
_ANATOMICAL = ("sagittal", "coronal", "axial")  # across x, y, z
_MODEL_AXES = ("i", "j", "k")


def run(arguments: Namespace) -> None:
    """Do what `render` was asked for; raises a ReconstructionError for whatever is wrong."""
    _check_paths(arguments)
    model = load_model(arguments.model)
    if arguments.output_labels and not model.segments:
        raise InputError("The model has no labels, so --output-labels has nothing to write. Leave it out, or "
                         "reconstruct with --labels.")
    grid = plane_grid(model, arguments)
    drawn = _drawn(model, grid)
    if _is_picture(arguments.output):
        low, width = model.intensity.offset, model.intensity.scale
        if arguments.window is not None:
            centre, width = arguments.window
            low = centre - 0.5 * width
        _write_png(Path(arguments.output), (drawn.image[0] - low) / width)
    else:
        write_image(arguments.output, Image(drawn.image, grid))
    say(f"image:   {arguments.output}")
    if arguments.output_labels and drawn.layers is not None:
        write_segmentation(arguments.output_labels, Segmentation(drawn.layers, model.segments, grid))
        say(f"labels:  {arguments.output_labels}")


def _drawn(model: Model, grid: Grid) -> RenderedPlanes:
    """Draw one slice; where its pixels are outside of the model's, it has the lowest value and no labels."""
    planes = grid.planes("k", np.zeros(1))
    drawn = draw(model, planes, "cpu")  # a single plane is quick anywhere
    margin = 0.5 * pixel_of(model).min()
    lowest, highest = box_of(model)
    points = model.local(planes).points()
    is_outside = ((points < lowest - margin) | (points > highest + margin)).any(axis=-1)
    drawn.image[is_outside] = model.intensity.lowest
    if drawn.layers is not None:
        drawn.layers[:, is_outside] = 0
    return drawn


def plane_grid(model: Model, arguments: Namespace) -> Grid:
    """Return the grid of one slice that is to be drawn; raises InputError for a plane that cannot be drawn."""
    spacing = float(pixel_of(model).min()) / (arguments.zoom or 1.0) if arguments.spacing is None else arguments.spacing
    if not 0 < spacing <= _LARGEST_SPACING:
        raise InputError(f"The pixel spacing must be a positive number of mm, at most {_LARGEST_SPACING:g}, not "
                         f"{spacing:g}.")
    corners = corners_of(model)
    point, columns, rows = _plane(model, arguments, corners.mean(axis=0))
    normal = np.cross(columns, rows)
    depths = (corners - point) @ normal
    if depths.min() > 1e-3 or depths.max() < -1e-3:
        raise InputError(f"The plane misses the model by {np.abs(depths).min():.4g} mm. The model's centre is at "
                         f"{', '.join(f'{x:.4g}' for x in corners.mean(axis=0))} mm LPS; 'info' tells its size.")
    axes = np.stack([columns, rows])
    if arguments.size is None:
        seen = (corners - point) @ axes.T
        start, extent = seen.min(axis=0), np.ptp(seen, axis=0)
    elif np.isfinite(arguments.size) and arguments.size > 0:
        extent = np.full(2, max(0.0, arguments.size - spacing))
        start = -0.5 * extent
    else:
        raise InputError(f"The size must be a positive number of mm, not {arguments.size:g}.")
    steps = np.floor(extent / spacing + 1e-3)  # pixel centres lie in the extent, as in the observed slices
    if math.prod((steps + 1).tolist()) > _MOST_PIXELS:
        raise InputError(f"A picture of {steps[0] + 1:.9g} x {steps[1] + 1:.9g} pixels is too large. Choose a smaller "
                         "--size or a larger --spacing.")
    return Grid((1, int(steps[1]) + 1, int(steps[0]) + 1), tuple(point + start @ axes), (spacing,) * 3,
                tuple(map(tuple, np.stack([columns, rows, normal], axis=1))))


def _plane(model: Model, arguments: Namespace, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a point of the plane (LPS mm) and the unit directions of columns and rows of its picture (LPS)."""
    if arguments.axis is None:
        normal = np.array(arguments.normal)
        if not np.linalg.norm(normal) > 1e-6:
            raise InputError("The normal needs a length. Give for example --normal 0,0,1.")
        return (np.array(arguments.point), *_upright(normal / np.linalg.norm(normal)))
    if arguments.axis in _ANATOMICAL:
        number = _ANATOMICAL.index(arguments.axis)
        normal, zero = np.eye(3)[number], 0.0
        columns, rows = (np.array(direction) for direction in _UPRIGHT[number])
    else:
        number = _MODEL_AXES.index(arguments.axis)
        normal, zero = model.frame[:3, number], float(model.frame[:3, number] @ model.frame[:3, 3])
        columns, rows = (model.frame[:3, n] for n in range(3) if n != number)
    at = middle @ normal if arguments.position is None else arguments.position + zero
    return middle + (at - middle @ normal) * normal, columns, rows


def _upright(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of a picture across `normal`, as near as can be to how the nearest LPS plane is shown."""
    columns, rows = (np.array(direction) for direction in _UPRIGHT[int(np.abs(normal).argmax())])
    columns = columns - (columns @ normal) * normal
    columns /= np.linalg.norm(columns)
    across = np.cross(normal, columns)
    return columns, across if across @ rows > 0 else -across


def _is_picture(path: str) -> bool:
    return path.lower().endswith(".png")


def _write_png(path: Path, grey: np.ndarray) -> None:
    """Write 0 to 1 as black to white."""
    import cv2

    _, encoded = cv2.imencode(".png", np.rint(255.0 * np.clip(grey, 0.0, 1.0)).astype(np.uint8))
    with whole_file(path) as part:
        part.write_bytes(encoded.tobytes())


def _check_paths(arguments: Namespace) -> None:
    """Check before the work what does not need the model."""
    plane = (arguments.point is not None, arguments.normal is not None, arguments.axis is not None)
    if plane not in ((True, True, False), (False, False, True)):
        raise InputError("Say which plane to draw: either both --point and --normal, or --axis alone.")
    if arguments.position is not None and (arguments.axis is None or not np.isfinite(arguments.position)):
        raise InputError("--position needs a number of mm and goes with --axis.")
    if arguments.window is not None and not _is_picture(arguments.output):
        raise InputError("--window goes with a .png: other files hold the values themselves. Leave it out.")
    outputs = [path for path in (arguments.output, arguments.output_labels) if path]
    places = {os.path.realpath(path) for path in [arguments.model, *outputs]}
    if len(places) <= len(outputs):
        raise InputError("Model, --output and --output-labels must be different files.")
    for path in outputs:
        if path == arguments.output and _is_picture(path):
            check_output(Path(path))
        elif path == arguments.output:
            check_writable(path)
        else:
            check_segmentation_writable(path)
