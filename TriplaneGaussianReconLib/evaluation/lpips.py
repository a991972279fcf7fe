"""LPIPS (Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features) with AlexNet, from weights in a file.

The weights are not part of this program.  Whoever has the package `lpips` writes them with

    import lpips, safetensors.torch
    known = lpips.LPIPS(net="alex").state_dict()
    safetensors.torch.save_file({name: tensor.clone() for name, tensor in known.items()}, "alex.safetensors")
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from . import metrics

FEWEST_PIXELS = 64  # along a side; AlexNet leaves nothing of less

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the images that AlexNet was trained on
# Convolutions: where they stand in the file, stride, padding, and whether pixels are pooled before.
_LAYERS = (("net.slice1.0", 4, 2, False), ("net.slice2.3", 1, 2, True), ("net.slice3.6", 1, 1, True),
           ("net.slice4.8", 1, 1, False), ("net.slice5.10", 1, 1, False))


class Lpips:
    """Says how different slices look."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """Take the weights, by the names that the package `lpips` has for them; raises InputError if some lack."""
        wanted = [f"{name}.{part}" for name, *_ in _LAYERS for part in ("weight", "bias")]
        wanted += [f"lin{number}.model.1.weight" for number in range(len(_LAYERS))]
        if missing := [name for name in wanted if name not in weights]:
            raise InputError(f"These are no weights of LPIPS with AlexNet: {missing[0]} is not among them. Write them "
                             "as `evaluation/lpips.py` says.")
        self._weights = weights

    @classmethod
    def read(cls, path: Path) -> Lpips:
        """Read a safetensors file; raises InputError for anything else."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return cls(load_file(path))
        except (OSError, SafetensorError) as error:
            raise InputError(f"'{path}' is no safetensors file ({error}). Give the weights of LPIPS.") from error

    def distance(self, truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
        """Return the distance of each slice, 0 where they look alike.

        Args:
            truth: [slice, row, column], in [0, 1].
            estimate: The same shape.

        Raises:
            InputError: The arrays are not [slice, row, column] of one shape, or too small.
        """
        metrics.check_shapes(truth, estimate)
        if min(truth.shape[1:]) < FEWEST_PIXELS:
            raise InputError(f"LPIPS needs slices of at least {FEWEST_PIXELS} pixels a side. Leave it out.")
        return np.array([self._distance(*(torch.from_numpy(np.asarray(one, np.float32)) for one in pair))
                         for pair in zip(truth, estimate, strict=True)])

    def _distance(self, truth: Tensor, estimate: Tensor) -> float:
        shift, scale = (torch.tensor(three)[:, None, None] for three in (_SHIFT, _SCALE))
        here, total = ((2.0 * torch.stack([truth, estimate])[:, None] - 1.0 - shift) / scale), 0.0
        with torch.no_grad():
            for number, (name, stride, padding, pools) in enumerate(_LAYERS):
                if pools:
                    here = functional.max_pool2d(here, 3, 2)
                here = functional.relu(functional.conv2d(here, self._weights[f"{name}.weight"],
                                                         self._weights[f"{name}.bias"], stride, padding))
                unit = here / (here.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
                apart = (unit[:1] - unit[1:]).square()
                total += float(functional.conv2d(apart, self._weights[f"lin{number}.model.1.weight"]).mean())
        return total
