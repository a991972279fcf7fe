"""A smooth body of random blobs, and thick stacks of it whose motion is known."""
from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from TriplaneGaussianReconLib.data.geometry import Axis, Grid
from TriplaneGaussianReconLib.data.images import Image
from TriplaneGaussianReconLib.data.observations import SliceStack
from TriplaneGaussianReconLib.data.slice_profile import SliceProfile, profile_depths
from TriplaneGaussianReconLib.data.stack_motion import StackMotion

GRID = Grid((44, 48, 40), origin=(-12.0, 30.0, 7.0), spacing=(1.2, 1.2, 1.2))
FACTOR = 4


def blobs(seed: int = 0) -> np.ndarray:
    """[k, j, i] float32 on `GRID`, 0 to about 100: something round, dark around, with structure at several scales."""
    random = np.random.default_rng(seed)
    inside = np.linalg.norm((np.indices(GRID.shape).T - np.array(GRID.shape) / 2) / (np.array(GRID.shape) / 2), axis=-1)
    texture = sum(sigma ** 1.5 * gaussian_filter(random.standard_normal(GRID.shape), sigma) for sigma in (1.5, 3.0))
    body = np.exp(-0.5 * (inside.T / 0.55) ** 4)
    return (body * (50.0 + 25.0 * texture / texture.std())).astype(np.float32)


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) turn about the middle of `GRID`, then shift by mm."""
    middle, matrix = GRID.index_to_physical(GRID.corners.mean(axis=0)), np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = middle + shift - matrix[:3, :3] @ middle
    return matrix


def thick_stack(body: np.ndarray, axis: Axis, matrix: np.ndarray | None = None, gain: float = 1.0, bias: float = 0.0,
                noise: float = 0.0, profile: SliceProfile = "gaussian", seed: int = 0) -> SliceStack:
    """A stack of `body` whose points `matrix` carries to where they lie in the body."""
    matrix = np.eye(4) if matrix is None else matrix
    planes = GRID.planes(axis, np.arange(1.5, GRID.count(axis) - 1, FACTOR))
    if planes.offsets[1] < planes.offsets[0]:
        planes = planes.subset(slice(None, None, -1))
    thickness = FACTOR * GRID.spacing[0]
    points, pixels = planes.points(), np.zeros(planes.shape)
    for depth, share in zip(*profile_depths(thickness, profile, 17), strict=True):
        index = GRID.physical_to_index((points + depth * planes.normal) @ matrix[:3, :3].T + matrix[:3, 3])
        pixels += share * map_coordinates(body, index[..., ::-1].transpose(3, 0, 1, 2), order=3, mode="nearest")
    pixels = gain * pixels + bias + noise * np.random.default_rng(seed).standard_normal(planes.shape)
    return SliceStack(planes, pixels.astype(np.float32), thickness=thickness, profile=profile)


def image_of(stack: SliceStack) -> Image:
    """The volume that a stack was taken from, slices along k."""
    planes, axes = stack.planes, [stack.planes.column_step, stack.planes.row_step, stack.planes.normal]
    spacing = [*(float(np.linalg.norm(axis)) for axis in axes[:2]), float(np.diff(planes.offsets)[0])]
    directions = np.stack([axis / np.linalg.norm(axis) for axis in axes], axis=1)
    return Image(stack.pixels.copy(), Grid(planes.shape, tuple(planes.origins[0]), (spacing[0], spacing[1], spacing[2]),
                                           tuple(map(tuple, directions))))


def voxels_off(found: StackMotion, matrix: np.ndarray) -> float:
    """Mean distance, in voxels of `GRID`, between where a motion puts the inner points and where they lie."""
    points = GRID.index_to_physical(GRID.corners * 0.6 + 0.2 * (np.array(GRID.size) - 1))
    difference = found.matrix - matrix
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean() / GRID.spacing[0])
