"""How one stack sees a lattice of Gaussians: a linear map from their values to pixels, and its transpose.

There are two implementations.  On a GPU everything is drawn by the rasterizer, again and again.  On a CPU it is faster
to keep what each pixel sees as a sparse matrix, since only values change while a volume is solved for.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from ..config.names import Backend
from ..data.geometry import PlaneStack
from ..data.noise import noise_of
from ..data.observations import SliceStack
from ..data.slice_profile import ProfileGaussians
from ..gaussians.lattice import Lattice
from ..gaussians.slice_profile import averaged
from ..rasterizer.definitions import EPSILON
from ..rendering.renderer import Renderer
from ..rendering.thick_slices import thick_sums
from ..runtime.threads import in_parallel

SEEN = 0.05
"""Pixels that see less than this share of the usual weight lie beyond the lattice."""


@dataclass(frozen=True)
class SeenStack:
    """One stack as the lattice is to reproduce it.

    Attributes:
        planes: in the model's frame.
        image: [plane, row, column] model units, on the device.
        weights: likewise, how far to trust each pixel.
        profile: how its slices average.
    """

    planes: PlaneStack
    image: Tensor
    weights: Tensor
    profile: ProfileGaussians


class StackView(Protocol):
    """How a stack sees a lattice.

    Attributes:
        stack: what it saw.
        lattice: what it sees.
        weights: how far to trust each pixel; 0 beyond the lattice.
    """

    stack: SeenStack
    lattice: Lattice
    weights: Tensor

    def seen(self, values: Tensor) -> Tensor:
        """Return [plane, row, column], what the stack sees of `values` [k, j, i]."""

    def back(self, pixels: Tensor) -> Tensor:
        """Return [k, j, i], the transpose of `seen` applied to `pixels`."""


@dataclass(frozen=True)
class Sight:
    """What a stack saw, or would see, and how.

    Attributes:
        view: how it sees the lattice.
        image: [plane, row, column] what it saw.
        weights: likewise, how far to trust it.
    """

    view: StackView
    image: Tensor
    weights: Tensor

    @classmethod
    def of(cls, view: StackView) -> Sight:
        """What the stack itself saw."""
        return cls(view, view.stack.image, view.weights)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the noise that its pixels seem to have."""
        return noise_of(self.image.cpu().numpy(), self.weights.cpu().numpy())

    def pull(self, image: Tensor) -> Tensor:
        """Return [k, j, i], the transpose of seeing applied to `image`, each pixel times its weight."""
        return self.view.back(self.weights * image)


def profile_of(stack: SliceStack, pixel: float) -> ProfileGaussians:
    """Return how the slices of a stack average; pixel: mm, finer detail does not matter."""
    return ProfileGaussians.of(stack.profile or "gaussian", stack.thickness or pixel, pixel)


def view(stack: SeenStack, lattice: Lattice, backend: Backend) -> StackView:
    """Return how a stack sees a lattice, by the faster implementation."""
    return MatrixView(stack, lattice) if backend == "cpu" else DrawnView(stack, lattice, backend)


def _trusted(stack: SeenStack, weight_sum: Tensor) -> Tensor:
    """The weights of pixels; 0 beyond the lattice."""
    some = weight_sum[weight_sum > 0]
    return torch.where(weight_sum > SEEN * some.median(), stack.weights, 0.0) if some.numel() else 0.0 * stack.weights


class DrawnView:
    """By the rasterizer; see `StackView`."""

    def __init__(self, stack: SeenStack, lattice: Lattice, backend: Backend) -> None:
        """Look at everything once, to know how much weight each pixel sees."""
        self.stack, self.lattice = stack, lattice
        self._renderer = Renderer("normalised", lattice.cutoff, backend)
        cloud = lattice.parameters(stack.image.new_ones(lattice.shape)).drawn()
        self._cloud = averaged(cloud, torch.from_numpy(stack.planes.normal), stack.profile.sigma)
        # What is seen is linear in the values, so this one drawing gives the gradients of all.
        self._ones = stack.image.new_ones(lattice.shape).requires_grad_()
        self._drawn = self._sums(self._ones)
        self._weight_sum = self._drawn[:, -1].detach()
        self.weights = _trusted(stack, self._weight_sum)

    def _sums(self, values: Tensor) -> Tensor:
        cloud = replace(self._cloud, values=values.reshape(-1, 1))
        return thick_sums(self._renderer, cloud, self.stack.planes, self.stack.profile)

    def seen(self, values: Tensor) -> Tensor:
        with torch.no_grad():
            return self._sums(values)[:, 0] / (self._weight_sum + EPSILON)

    def back(self, pixels: Tensor) -> Tensor:
        return torch.autograd.grad(self._drawn[:, 0], self._ones, pixels / (self._weight_sum + EPSILON),
                                   retain_graph=True)[0]


class MatrixView:
    """By a sparse matrix on the CPU; see `StackView`."""

    def __init__(self, stack: SeenStack, lattice: Lattice) -> None:
        """List what each pixel sees."""
        self.stack, self.lattice = stack, lattice
        sums, self._matrix = _listed(stack, lattice)
        self.weights = _trusted(stack, torch.from_numpy(sums).reshape(stack.image.shape))

    def seen(self, values: Tensor) -> Tensor:
        return torch.from_numpy(self._matrix @ values.numpy().ravel()).reshape(self.stack.image.shape)

    def back(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self._matrix.T @ pixels.numpy().ravel()).reshape(self.lattice.shape)


def _listed(stack: SeenStack, lattice: Lattice) -> tuple[np.ndarray, csr_matrix]:
    """Weight sums (pixel,), and the matrix (pixel, Gaussian) whose rows add up to 1."""
    from ..rasterizer.lattice_kernels import entries_of

    points = (stack.planes.points() / lattice.pitch).reshape(-1, 3)
    normal, sigma = stack.planes.normal, lattice.sigma / lattice.pitch
    covariance = sigma ** 2 * np.eye(3) + (stack.profile.sigma / lattice.pitch) ** 2 * np.outer(normal, normal)
    offsets = np.array(stack.profile.offsets)[:, None] / lattice.pitch * normal
    starts, counts = np.zeros(len(points), np.int64), np.zeros(len(points), np.int32)
    fixed = (points, np.array(lattice.shape[::-1], np.int64), offsets, np.linalg.inv(covariance),
             (lattice.cutoff * np.diag(covariance)) ** 0.5, float(lattice.cutoff), starts, counts)
    columns, weights = np.empty(0, np.int32), np.empty(0, np.float32)
    in_parallel(entries_of, len(points), *fixed, columns, weights)
    ends = np.cumsum(counts, dtype=np.int64)
    starts[1:] = ends[:-1]
    columns, weights = np.empty(int(ends[-1]), np.int32), np.empty(int(ends[-1]), np.float32)
    in_parallel(entries_of, len(points), *fixed, columns, weights)
    pointer = np.concatenate([[0], ends])
    matrix = csr_matrix((weights, columns, pointer.astype(np.int32) if ends[-1] < 2 ** 31 else pointer),
                        shape=(len(points), int(np.prod(lattice.shape))))
    sums = np.asarray(matrix.sum(axis=1), np.float32).ravel()
    weights /= np.repeat(sums + np.float32(EPSILON), counts)
    return sums / np.float32(len(offsets)), matrix
