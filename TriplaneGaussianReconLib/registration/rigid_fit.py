"""Six numbers of a rigid motion, gain and bias that make samples of a stack agree with a volume.

Levenberg-Marquardt on robustly weighted squares.  The slope of the volume is that of its linear interpolation, which
automatic differentiation gives exactly.  All computes on one thread in a fixed order, so that results repeat bit for
bit.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates, spline_filter
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from ..data.geometry import Grid
from ..data.stack_motion import StackMotion

_OUTLIER = 2.0  # times the usual residual, from where a residual counts clearly less
_DAMPING = (1e-3, 1e-7, 1e4)  # at first, least, and where no step helps any more
_NO_GAIN = 1e-3  # of the ratio of contrasts, below which a gain is not believed


@dataclass(frozen=True, eq=False)
class Samples:
    """Pixels of a stack, each an average over several points.

    Attributes:
        points: (N, Q, 3) float64, LPS mm, as the stack's header says.
        shares: (Q,) float64, of each of the Q points in the average.
        values: (N,) float64.
        weights: (N,) float64, how far to trust each.
    """

    points: Tensor
    shares: Tensor
    values: Tensor
    weights: Tensor

    @property
    def middle(self) -> Tensor:
        """(3,) mm, their weighted centre."""
        return (self.points.mean(1) * self.weights[:, None]).sum(0) / self.weights.sum()


class Target:
    """A volume that can be sampled anywhere, linearly or by cubic splines."""

    def __init__(self, values: np.ndarray, grid: Grid, weights: np.ndarray | None = None, is_cubic: bool = False
                 ) -> None:
        """Take a volume on an even grid.

        Args:
            values: [k, j, i].
            grid: where they lie.
            weights: [k, j, i], how far to trust each; None for all fully.
            is_cubic: whether values are those of cubic splines; linear interpolation flattens what is fine.
        """
        channels = [values] if weights is None else [values, weights]
        self._channels = torch.from_numpy(np.stack(channels).astype(np.float32))[None]
        self._splines = spline_filter(values, 3, np.float32, "mirror") if is_cubic else None
        self._half = torch.from_numpy(np.maximum(np.subtract(grid.size, 1), 1) / 2.0)  # of the field of view, in voxels
        to_unit = np.eye(4)  # index (i, j, k) to -1 at the first voxel and 1 at the last
        to_unit[:3, :3], to_unit[:3, 3] = np.diag(1.0 / self._half.numpy()), -1.0
        self._from_lps = torch.from_numpy(to_unit @ np.linalg.inv(grid.ijk_to_lps))
        self.pitch = min(grid.spacing)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Sample at (N, Q, 3) LPS mm; returns (N, Q) values, and weights, 0 outside."""
        return self._sampled(self._unit(points))

    def with_slopes(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Likewise, and (N, Q, 3) the change of the values per mm along each axis."""
        with torch.enable_grad():
            unit = self._unit(points).requires_grad_(True)
            values, weights = self._sampled(unit)
            slopes, = torch.autograd.grad(values.sum(), unit)
        values, slopes = values.detach(), slopes.double() @ self._from_lps[:3, :3]
        if self._splines is not None:
            index = ((unit.detach().double() + 1.0) * self._half).flip(-1).reshape(-1, 3).numpy()
            found = map_coordinates(self._splines, index.T, order=3, mode="mirror", prefilter=False)
            values = torch.from_numpy(found).double().reshape(values.shape)
        return values, weights.detach(), slopes

    def _unit(self, points: Tensor) -> Tensor:
        return (points @ self._from_lps[:3, :3].T + self._from_lps[:3, 3]).float()

    def _sampled(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        found = functional.grid_sample(self._channels, unit[None, None], padding_mode="border",
                                       align_corners=True)[0, :, 0].double()
        inside = (unit.detach().abs() <= 1.0).all(-1).double()
        return found[0], inside if len(found) == 1 else inside * found[1]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Samples beside what a volume says in their places.

    Attributes:
        values: (N,), of the samples.
        expected: (N,), of the volume.
        weights: (N,), 0 outside of the volume.
        overlap: share of the samples' weight that lies inside.
        slopes: (N, 6), change of `expected` per radian about each axis and per mm along it, about the middle.
    """

    values: Tensor
    expected: Tensor
    weights: Tensor
    overlap: float
    slopes: Tensor

    @classmethod
    def of(cls, samples: Samples, target: Target, matrix: np.ndarray) -> Comparison:
        """Compare where `matrix` puts the samples."""
        turn, shift = torch.from_numpy(matrix[:3, :3].copy()), torch.from_numpy(matrix[:3, 3].copy())
        placed = samples.points @ turn.T + shift
        values, inside, slopes = target.with_slopes(placed)
        weights = samples.weights * inside.amin(1)
        slopes = slopes * samples.shares[:, None]
        arms = torch.linalg.cross(placed - (turn @ samples.middle + shift), slopes, dim=-1)
        return cls(samples.values, values @ samples.shares, weights, float(weights.sum() / samples.weights.sum()),
                   torch.cat([arms.sum(1), slopes.sum(1)], 1))

    @property
    def correlation(self) -> float:
        """Normalised cross-correlation where both are known."""
        if self.overlap <= 0.0:
            return 0.0
        a, b = self._centred(self.values), self._centred(self.expected)
        norm = ((self.weights * a * a).sum() * (self.weights * b * b).sum()).sqrt()
        return float((self.weights * a * b).sum() / norm) if norm > 0 else 0.0

    def contrast(self) -> tuple[float, float]:
        """Gain and bias by which both have the same mean and spread."""
        a, b = self._centred(self.values), self._centred(self.expected)
        gain = float(((self.weights * a * a).sum() / (self.weights * b * b).sum().clamp_min(1e-30)).sqrt())
        return gain, float(self._mean(self.values) - gain * self._mean(self.expected))

    def residuals(self, gain: float, bias: float) -> Tensor:
        """(N,) in units of the samples."""
        return self.values - gain * self.expected - bias

    def _mean(self, of: Tensor) -> Tensor:
        return (self.weights * of).sum() / self.weights.sum().clamp_min(1e-30)

    def _centred(self, of: Tensor) -> Tensor:
        return of - self._mean(of)


def fitted(samples: Samples, target: Target, motion: StackMotion, steps: int, *, fit_contrast: bool = True,
           tolerance: float = 1e-3, tick: Callable[[], None] = lambda: None) -> tuple[StackMotion, Comparison]:
    """Move samples onto a volume, starting from a motion that is about right.

    Args:
        samples: of the stack.
        target: the volume.
        motion: where to start.
        steps: how many at most.
        fit_contrast: whether gain and bias are fitted too.  Else they are set so that both spread alike, which leads
            back from further away.
        tolerance: voxels of the volume; smaller steps end the fit.
        tick: called before each step; may raise to stop.

    Returns:
        The motion found, and how both compare there.
    """
    here, damping = Comparison.of(samples, target, motion.matrix), _DAMPING[0]
    reach = float((samples.points.mean(1) - samples.middle).norm(dim=1).quantile(0.9))
    for _ in range(steps):
        tick()
        if here.overlap <= 0.0:
            break
        if not fit_contrast:
            motion = StackMotion(motion.matrix, *here.contrast())
        step, scale = _step(here, motion, damping, fit_contrast)
        trial = _stepped(motion, step, samples.middle)
        there = Comparison.of(samples, target, trial.matrix)
        if _cost(there, trial, scale) < _cost(here, motion, scale) and _is_sound(there, trial):
            motion, here, damping = trial, there, max(damping / 5.0, _DAMPING[1])
            if np.linalg.norm(step[:3]) * reach + np.linalg.norm(step[3:6]) < tolerance * target.pitch:
                break
        else:
            damping *= 10.0
            if damping > _DAMPING[2]:
                break
    return motion, here


def _step(here: Comparison, motion: StackMotion, damping: float, fit_contrast: bool) -> tuple[np.ndarray, float]:
    """(8,) radians, mm, gain, bias; and the residual from where residuals count less."""
    residuals = here.residuals(motion.gain, motion.bias)
    scale = _OUTLIER * _usual(here, residuals)
    weights = here.weights / (1.0 + (residuals / max(scale, 1e-30)) ** 2)
    columns = [here.slopes * motion.gain]
    if fit_contrast:
        columns.append(torch.stack([here.expected, torch.ones_like(here.expected)], 1))
    jacobian = torch.cat(columns, 1)
    weighted = jacobian * weights[:, None]
    normal, right = (weighted.T @ jacobian).numpy(), (weighted.T @ residuals).numpy()
    diagonal = np.diag(normal)
    normal = normal + np.diag(damping * diagonal + 1e-12 * diagonal.max() + 1e-30)
    step = np.zeros(8)
    step[:len(right)] = np.linalg.solve(normal, right)
    return step, scale


def _usual(here: Comparison, residuals: Tensor) -> float:
    """The standard deviation of the residuals but for outliers, where the volume has structure: air says nothing."""
    steep = here.slopes[:, 3:].norm(dim=1) * (here.weights > 0)
    return 1.4826 * float(residuals[steep >= steep.sum() / (here.weights > 0).sum()].abs().median())


def _stepped(motion: StackMotion, step: np.ndarray, middle: Tensor) -> StackMotion:
    """The motion followed by a small one about where `middle` lies."""
    at = motion.matrix[:3, :3] @ middle.numpy() + motion.matrix[:3, 3]
    small = np.eye(4)
    small[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    small[:3, 3] = at - small[:3, :3] @ at + step[3:6]
    return StackMotion(small @ motion.matrix, motion.gain + float(step[6]), motion.bias + float(step[7]))


def _cost(at: Comparison, motion: StackMotion, scale: float) -> float:
    squares = (at.residuals(motion.gain, motion.bias) / max(scale, 1e-30)) ** 2
    return float((at.weights * torch.log1p(squares)).sum() / at.weights.sum()) if at.overlap > 0 else float("inf")


def _is_sound(at: Comparison, motion: StackMotion) -> bool:
    """Whether the stack's contrast has not been explained away."""
    return motion.gain > _NO_GAIN * at.contrast()[0]
