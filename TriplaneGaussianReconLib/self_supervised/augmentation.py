"""Mirrored and transposed copies of what a network is applied to; the mean of the results is taken.

Networks are not symmetric, the problem is: averaging over its symmetries is known as test-time augmentation.
"""
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """One symmetry of images [..., slice, row, column].

    Attributes:
        is_reversed: slices in the other order.
        is_transposed: rows and columns exchanged.
        flipped: axes that are mirrored before that, of -2 (rows) and -1 (columns).
    """

    is_reversed: bool = False
    is_transposed: bool = False
    flipped: tuple[int, ...] = ()

    def applied(self, images: Tensor) -> Tensor:
        """`images` as the network sees them."""
        images = images.flip(self.flipped) if self.flipped else images
        images = images.transpose(-2, -1) if self.is_transposed else images
        return images.flip(-3) if self.is_reversed else images

    def undone(self, images: Tensor) -> Tensor:
        """Results of the network as those of the images before `applied`."""
        images = images.flip(-3) if self.is_reversed else images
        images = images.transpose(-2, -1) if self.is_transposed else images
        return images.flip(self.flipped) if self.flipped else images


def of_lines(count: int, along_rows: bool) -> list[Augmentation]:
    """Augmentations of lines of pixels that run along rows, or along columns.

    The network sees lines along the last axis: those along columns are transposed.

    Args:
        count: 1; 2 for both orders of the slices; 4 to mirror the lines as well.
        along_rows: whether the lines run along rows.
    """
    mirror = -1 if along_rows else -2
    return [Augmentation(number % 2 == 1, not along_rows, (mirror,) if number >= 2 else ()) for number in range(count)]


def of_planes(count: int) -> list[Augmentation]:
    """Augmentations of planes, whose two axes are alike.

    Args:
        count: 1; 2 for both orders of the slices; 4 to exchange rows and columns as well; 8 to turn the planes by half
            a turn as well; 16 to mirror them as well.
    """
    result = []
    for number in range(count):
        is_reversed, is_transposed, turned, mirrored = (bool(number & bit) for bit in (1, 2, 4, 8))
        flipped = tuple(axis for axis, wanted in ((-2, turned != mirrored), (-1, turned)) if wanted)
        result.append(Augmentation(is_reversed, is_transposed, flipped))
    return result
