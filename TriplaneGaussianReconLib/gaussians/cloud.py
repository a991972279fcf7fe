"""The Gaussian cloud: what is stored and trained (`GaussianParameters`) and what is drawn (`Gaussians`).

Both live in the model's frame: millimetres, x along the columns of the slices, y along their rows, z along the slice
normal (the depth axis).
"""
from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians, ready to be drawn; `G(x) = exp(-1/2 (x - centre)' precision (x - centre))`.

    Attributes:
        centres: (N, 3) mm.
        precisions: (N, 6) 1/mm^2, the inverse covariance packed as xx, xy, xz, yy, yz, zz.
        weights: (N,) non-negative; the opacity in ordered modes (at most 1).
        values: (N, S) value at the centre, one per slot.
        slopes: (N, S, 3) 1/mm; a slot's value at x is `value + slope . (x - centre)`.
        channels: (N, S) int32, the channel that each slot contributes to.  Slot 0 is the image (channel 0).  Labels
            fill the further slots, so the cost follows the labels that touch a Gaussian and not those that exist.  An
            empty slot has value and slope 0 (and any valid channel).
    """

    centres: Tensor
    precisions: Tensor
    weights: Tensor
    values: Tensor
    slopes: Tensor
    channels: Tensor

    def __len__(self) -> int:
        return len(self.centres)

    def image_only(self) -> Gaussians:
        """Return the Gaussians without their label slots."""
        return replace(self, values=self.values[:, :1].contiguous(), slopes=self.slopes[:, :1].contiguous(),
                       channels=self.channels[:, :1].contiguous())

    def to(self, *args: object, **kwargs: object) -> Gaussians:
        """Move or convert the floating-point tensors (as `Tensor.to`); `channels` moves but keeps its type."""
        moved = {name: getattr(self, name).to(*args, **kwargs)
                 for name in ("centres", "precisions", "weights", "values", "slopes")}
        return replace(self, **moved, channels=self.channels.to(moved["centres"].device))


@dataclass(frozen=True)
class GaussianParameters:
    """N Gaussians as they are stored and trained; every real number is a valid value.

    Attributes:
        centres: (N, 3) mm.
        tilts: (N, 2) shear, in-plane mm (x, y) that the cross-section moves per mm of depth.
        in_plane: (N, 3) `log l_xx, l_yx, log l_yy` of the lower-triangular Cholesky factor L (1/mm) of the in-plane
            precision `P = L L'`, which is the precision of the cross-section with a slice.
        log_depths: (N,) logarithm of the standard deviation along the depth axis, mm.
        raw_weights: (N,) logit of the weight.
        values: (N, S), as in `Gaussians`.
        slopes: (N, S, 3), as in `Gaussians`.
        channels: (N, S) int32, as in `Gaussians`.
    """

    centres: Tensor
    tilts: Tensor
    in_plane: Tensor
    log_depths: Tensor
    raw_weights: Tensor
    values: Tensor
    slopes: Tensor
    channels: Tensor

    def __len__(self) -> int:
        return len(self.centres)

    def precisions(self) -> Tensor:
        """Return (N, 6), the packed inverse covariance.

        With depth z ~ N(0, s^2) and in-plane position y | z ~ N(tilt z, P^-1), the joint precision is
        [[P, -P tilt], [., 1 / s^2 + tilt' P tilt]]: the exact split into depth and cross-section, read backwards.
        """
        xx, yx, yy = self.in_plane[:, 0].exp(), self.in_plane[:, 1], self.in_plane[:, 2].exp()
        p_xx, p_xy, p_yy = xx * xx, xx * yx, yx * yx + yy * yy
        tilt_x, tilt_y = self.tilts.unbind(1)
        p_xz = -(p_xx * tilt_x + p_xy * tilt_y)
        p_yz = -(p_xy * tilt_x + p_yy * tilt_y)
        p_zz = torch.exp(-2.0 * self.log_depths) - tilt_x * p_xz - tilt_y * p_yz
        return torch.stack([p_xx, p_xy, p_xz, p_yy, p_yz, p_zz], dim=1)

    def drawn(self) -> Gaussians:
        """Return the Gaussians that the rasterizer draws; differentiable."""
        if self.centres.is_cuda:  # the same in one kernel
            from .activation_cuda import activated

            precisions, weights = activated(self.tilts, self.in_plane, self.log_depths, self.raw_weights)
        else:
            precisions, weights = self.precisions(), torch.sigmoid(self.raw_weights)
        return Gaussians(self.centres, precisions, weights, self.values, self.slopes, self.channels)

    def tensors(self) -> dict[str, Tensor]:
        """Return field name -> tensor, in a fixed order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def subset(self, indices: Tensor) -> GaussianParameters:
        """Return the Gaussians at `indices`, which may be a mask."""
        return GaussianParameters(**{name: tensor[indices] for name, tensor in self.tensors().items()})

    def to(self, device: str | torch.device) -> GaussianParameters:
        """Move all tensors to `device`."""
        return GaussianParameters(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def image_only(self) -> GaussianParameters:
        """Return the Gaussians without their label slots."""
        return replace(self, values=self.values[:, :1].contiguous(), slopes=self.slopes[:, :1].contiguous(),
                       channels=self.channels[:, :1].contiguous())

    def with_labels_of(self, other: GaussianParameters) -> GaussianParameters:
        """Return these Gaussians with the label slots of `other`, which has the same Gaussians."""
        joined = {name: torch.cat([getattr(self, name)[:, :1], getattr(other, name)[:, 1:]], dim=1)
                  for name in ("values", "slopes", "channels")}
        return replace(self, **joined)
