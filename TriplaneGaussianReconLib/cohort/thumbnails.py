"""Two small pictures of a case, before and after: the middle plane across the slices.

`python -m TriplaneGaussianReconLib.cohort.thumbnails BEFORE AFTER BEFORE.jpg AFTER.jpg`
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..data.geometry import AXES, array_axis
from ..data.images import Image
from ..io.readers import read_image

SIDE = 160  # pixels at most
_QUALITIES, _BYTES = (80, 60, 40, 20), 9000  # of JPEG: the best with which a picture is small enough
_RANGE = (0.5, 99.5)  # percentiles of the voxels that become black and white


def write_thumbnails(before: Path, after: Path, before_picture: Path, after_picture: Path) -> None:
    """Draw the same plane of two volumes, with the same grey values; raises what reading and writing raise.

    Args:
        before: The volume as it was.
        after: The result, on a grid with the same axes.
        before_picture: File to write, a JPEG.
        after_picture: Likewise.
    """
    old, new = read_image(before), read_image(after)
    axis = old.grid.thickest_axis()
    across = next(each for each in AXES[::-1] if each != axis)
    values = old.array[np.isfinite(old.array)]
    low, high = np.percentile(values, _RANGE) if values.size else (0.0, 1.0)
    for image, path in ((old, before_picture), (new, after_picture)):
        _write(_plane(image, across), float(low), float(max(high, low + 1e-9)), path)


def _plane(image: Image, across: str) -> tuple[np.ndarray, tuple[float, float]]:
    """The middle plane [row, column] across an axis, the head or the nose upwards, and the mm of its sides."""
    number = array_axis(across)  # type: ignore[arg-type]
    plane = np.moveaxis(image.array, number, 0)[image.array.shape[number] // 2]
    spacing = [step for n, step in enumerate(image.grid.spacing[::-1]) if n != number]
    return plane[::-1], (plane.shape[0] * spacing[0], plane.shape[1] * spacing[1])


def _write(plane: tuple[np.ndarray, tuple[float, float]], low: float, high: float, path: Path) -> None:
    from PIL import Image as Picture

    values, (height, width) = plane
    grey = np.nan_to_num(np.clip((np.asarray(values, np.float64) - low) / (high - low), 0.0, 1.0))
    scale = SIDE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    # Slices are shown as they are, as thick as they are: nothing is smoothed.
    picture = Picture.fromarray((255 * grey).astype(np.uint8)).resize(size, Picture.Resampling.NEAREST)
    for quality in _QUALITIES:
        picture.save(path, "JPEG", quality=quality)
        if path.stat().st_size <= _BYTES:
            break


def main() -> int:
    """Draw what the command line names; returns the exit code."""
    before, after, before_picture, after_picture = map(Path, sys.argv[1:])
    write_thumbnails(before, after, before_picture, after_picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
