"""The images that guide labels, as the network sees them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.geometry import PlaneStack

_LEVELS = 256  # of the equalisation


@dataclass(frozen=True)
class CompletionStack:
    """A stack of slices whose image is known.

    Attributes:
        images: [plane, 2, row, column] on the device: intensities in [0, 1], and equalised ones.
        depths: (plane,) pixels, along the stack.
        steps: (2, 3) mm from row to row, and from column to column.
        origins: (plane, 3) mm, the first pixel of each plane; like `steps` on the device.
        box: (2, 3) mm, lowest and highest corner of the whole scan; on the CPU.
        neighbours: (neighbour,) on the device, see `CompletionNetworkConfig`.
    """

    images: Tensor
    depths: np.ndarray
    steps: Tensor
    origins: Tensor
    box: Tensor
    neighbours: Tensor

    @classmethod
    def of(cls, images: np.ndarray, planes: PlaneStack, box: np.ndarray, pixel: float, neighbours: tuple[int, ...],
           device: torch.device) -> CompletionStack:
        """Prepare the images.

        Args:
            images: [plane, row, column], model units.
            planes: where they lie, in the model's frame.
            box: (2, 3) mm, lowest and highest corner of the whole scan.
            pixel: mm.
            neighbours: see `CompletionNetworkConfig`.
            device: where to work.
        """
        both = np.stack([np.clip(images, 0.0, 1.0), equalised(images)], axis=1)
        steps = np.stack([planes.row_step, planes.column_step])
        on_device = (torch.from_numpy(each.astype(np.float32)).to(device) for each in (both, steps, planes.origins))
        first, second, third = on_device
        return cls(first, (planes.offsets - planes.offsets[0]) / pixel, second, third, torch.from_numpy(box).float(),
                   torch.tensor(neighbours, device=device))

    def around(self, plane: Tensor) -> Tensor:
        """(B, neighbour) numbers of the planes around each `plane` (B,); beyond the ends, the last is repeated."""
        return (plane[:, None] + self.neighbours).clamp(0, len(self.images) - 1)

    def points(self, at: Tensor, plane: Tensor) -> Tensor:
        """[B, row, column, 3] mm of the pixels `at` [B, row, column, 2], rows and columns, on each `plane` (B,)."""
        return at @ self.steps + self.origins[plane][:, None, None]

    def inputs(self, plane: int, carried: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network sees of a whole slice, see `CompletionNetwork.forward`."""
        number = torch.tensor([plane], device=self.images.device)
        images = self.images[self.around(number)[0]].flatten(0, 1)
        at = torch.stack(torch.meshgrid(*(torch.arange(float(n), device=images.device) for n in images.shape[-2:]),
                                        indexing="ij"), dim=-1)
        return images[None], carried, gaps, self.points(at[None], number)


def equalised(images: np.ndarray) -> np.ndarray:
    """Intensities by rank, between 0 and 1, so that all are told apart equally well; the lowest stay 0.

    Example:
        >>> equalised(np.array([0.0, 0.0, 0.1, 0.11, 0.9])).round(2)
        array([0. , 0. , 0. , 0.5, 1. ], dtype=float32)
    """
    lowest = images.min()
    inside = images[images > lowest]
    if not inside.size:
        return np.zeros(images.shape, np.float32)
    ranks = np.linspace(0.0, 1.0, _LEVELS + 1)
    levels, first = np.unique(np.quantile(inside, ranks), return_index=True)
    return np.interp(images, levels, ranks[first], left=0.0).astype(np.float32)
