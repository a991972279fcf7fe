"""The tri-plane field: one smooth, global field that ties the attributes of all Gaussians together.

Three orthogonal feature planes span the volume's box.  A point's feature is fused from three bilinear samples and a
small MLP decodes it into residuals on chosen attributes (Liu et al., section 3, `f(p) = phi(F_xy, F_yz, F_xz)`).
"""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..config.presets import Attribute, FeatureFusion
from .cloud import GaussianParameters
from .triplane_cuda import SMALLEST_EXTENT, decode, fits

_PLANES = ((0, 1), (1, 2), (0, 2))  # xy, yz, xz


class FeaturePlanes(nn.Module):
    """Three feature planes over a box; a point's feature is fused from a bilinear sample of each."""

    def __init__(self, box: Tensor, *, resolution: int, features: int, fusion: FeatureFusion = "concatenate",
                 initial_spread: float = 0.1, fewest_texels: int = 4) -> None:
        """Start with random planes.

        Args:
            box: (2, 3) mm, lowest and highest corner.
            resolution: Texels along the longest side of the box; the other sides get texels of the same size.
            features: Features of a texel.
            fusion: How the samples of the three planes become one feature.
            initial_spread: Standard deviation of the texels before training.
            fewest_texels: Texels along each side of the box, at least.
        """
        super().__init__()
        self.fusion = fusion
        self.box: Tensor
        self.register_buffer("box", box.float())
        extent = (box[1] - box[0]).clamp_min(SMALLEST_EXTENT)
        texels = [max(fewest_texels, round(float(resolution * side / extent.max()))) for side in extent]
        self.planes = nn.ParameterList(nn.Parameter(initial_spread * torch.randn(1, features, texels[b], texels[a]))
                                       for a, b in _PLANES)
        self.plane_weights = nn.Parameter(torch.full((3, features), 1 / 3)) if fusion == "weighted_sum" else None

    def features(self, points: Tensor) -> Tensor:
        """Return the fused features (N, F or 3F) of `points` (N, 3) mm."""
        unit = self.unit(points)
        samples = [nn.functional.grid_sample(plane, torch.stack([unit[:, a], unit[:, b]], dim=1)[None, None],
                                             mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0].T
                   for plane, (a, b) in zip(self.planes, _PLANES, strict=True)]
        if self.plane_weights is None:
            return torch.cat(samples, dim=1)
        return torch.stack(samples).mul(self.plane_weights[:, None]).sum(0)

    def unit(self, points: Tensor) -> Tensor:
        """Return where `points` [..., 3] mm lie in the box: from -1 at its lowest corner to 1 at its highest."""
        low, high = self.box[0], self.box[1]
        return 2.0 * (points - low) / (high - low).clamp_min(SMALLEST_EXTENT) - 1.0

    def total_variation(self) -> Tensor:
        """Mean squared difference between neighbouring texels, summed over the planes."""
        return sum(((p.diff(dim=2) ** 2).mean() + (p.diff(dim=3) ** 2).mean() for p in self.planes),
                   start=torch.zeros((), device=self.box.device))


class TriplaneField(FeaturePlanes):
    """Feature planes, fusion and decoder."""

    def __init__(self, box: Tensor, residual_limits: Mapping[Attribute, float], *, label_channels: int = 0,
                 resolution: int = 48, features: int = 8, hidden: int = 16,
                 fusion: FeatureFusion = "concatenate", initial_spread: float = 0.1, fewest_texels: int = 4) -> None:
        """Start with random planes whose residuals are 0.

        Args:
            box: See `FeaturePlanes`, in the model's frame.
            residual_limits: Attribute -> largest residual that may be decoded, in the attribute's own unit (mm, shear,
                log scale, logit, intensity, label occupancy).
            label_channels: Number of label channels, for the attribute `semantics`.
            resolution: See `FeaturePlanes`, as all that follow but the next.
            features: Likewise.
            hidden: Width of the decoder's hidden layer.
            fusion: As in `FeaturePlanes`.
            initial_spread: Likewise.
            fewest_texels: Likewise.
        """
        super().__init__(box, resolution=resolution, features=features, fusion=fusion, initial_spread=initial_spread,
                         fewest_texels=fewest_texels)
        sizes = {"centres": 3, "tilts": 2, "scales": 3, "weights": 1, "intensity": 1, "semantics": label_channels}
        self.widths = {name: sizes[name] for name in residual_limits if sizes[name]}
        self.limits: Tensor
        limits = [limit for name, limit in residual_limits.items() for _ in range(sizes[name])]
        self.register_buffer("limits", torch.tensor(limits))
        last = nn.Linear(hidden, sum(self.widths.values()))
        nn.init.zeros_(last.weight)  # residuals start at 0
        nn.init.zeros_(last.bias)
        self.decoder = nn.Sequential(nn.Linear(features * (3 if fusion == "concatenate" else 1), hidden), nn.ReLU(),
                                     last)

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Decode the residuals (N, width of the attribute) at `points` (N, 3) mm."""
        hidden, hidden_bias, output, output_bias = self.decoder.parameters()
        sizes = self.planes[0].shape[1], len(hidden), len(output), self.plane_weights is None
        if points.is_cuda and fits(*sizes):  # the same in one kernel
            bounded = decode(points, self.box, list(self.planes), hidden, hidden_bias, output, output_bias, self.limits,
                             self.plane_weights)
        else:
            bounded = self.limits * torch.tanh(self.decoder(self.features(points)))
        return dict(zip(self.widths, bounded.split(list(self.widths.values()), dim=1), strict=True))

    def applied_to(self, parameters: GaussianParameters) -> GaussianParameters:
        """Return `parameters` with the decoded residuals added; detach the result to bake them in."""
        residuals = self(parameters.centres.detach())
        changed: dict[str, Tensor] = {}
        if "centres" in residuals:
            changed["centres"] = parameters.centres + residuals["centres"]
        if "tilts" in residuals:
            changed["tilts"] = parameters.tilts + residuals["tilts"]
        if "scales" in residuals:
            wider = residuals["scales"]
            changed["in_plane"] = parameters.in_plane - torch.stack(
                [wider[:, 0], torch.zeros_like(wider[:, 0]), wider[:, 1]], dim=1)
            changed["log_depths"] = parameters.log_depths + wider[:, 2]
        if "weights" in residuals:
            changed["raw_weights"] = parameters.raw_weights + residuals["weights"][:, 0]
        if "intensity" in residuals or "semantics" in residuals:
            slots = torch.zeros_like(parameters.values)
            if "intensity" in residuals:
                slots[:, :1] = residuals["intensity"]
            if "semantics" in residuals:
                # Each slot takes its own label's residual; empty slots (channel 0) take none.
                channels = parameters.channels[:, 1:].long()
                slots[:, 1:] = residuals["semantics"].gather(1, (channels - 1).clamp_min(0)) * (channels > 0)
            changed["values"] = parameters.values + slots
        return dataclasses.replace(parameters, **changed)
