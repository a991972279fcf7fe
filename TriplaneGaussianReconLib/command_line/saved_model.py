"""What the commands about saved models share: where a model lies."""
from __future__ import annotations

from itertools import product

import numpy as np

from ..model.model import Model


def pixel_of(model: Model) -> np.ndarray:
    """(2,) mm, the pixel spacing of the observed slices, x (columns) and y (rows)."""
    # The first coarse cell of the expected error begins where the first pixel does: half a pixel before its centre.
    return model.expected_error.step - 2.0 * model.expected_error.origin


def box_of(model: Model) -> np.ndarray:
    """(2, 3) mm in the model's frame: smallest and largest corner, between pixel centres.

    In the plane it is the extent of the observed slices; in depth it also has the Gaussians beyond the outermost ones.
    """
    error = model.expected_error
    cells = np.array([error.middle.shape[2], error.middle.shape[1]])
    lowest = min(error.offsets.min(), *(shard.lowest for shard in model.shards))
    highest = max(error.offsets.max(), *(shard.highest for shard in model.shards))
    return np.array([[0.0, 0.0, lowest], [*(cells * error.step - pixel_of(model)), highest]])


def corners_of(model: Model) -> np.ndarray:
    """(8, 3) mm LPS, the corners of `box_of`."""
    box = box_of(model)
    corners = np.array([[box[side, n] for n, side in enumerate(sides)] for sides in product((0, 1), repeat=3)])
    return corners @ model.frame[:3, :3].T + model.frame[:3, 3]
