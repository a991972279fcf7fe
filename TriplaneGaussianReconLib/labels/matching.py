"""Which parts of a label on one slice go on in which parts on the next, and which end between the two."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..config.labels import LabelConfig


@dataclass(frozen=True)
class Group:
    """Connected parts of one label that belong together, on two slices.

    Attributes:
        first, second: [row, column] bool, what belongs to it on either slice; one of them may be empty.
        move: whole pixels (along rows, along columns) by which the first comes to lie best on the second.
        overlaps: whether the two share pixels.
    """

    first: np.ndarray
    second: np.ndarray
    move: tuple[int, int] = (0, 0)
    overlaps: bool = True


def groups_of(first: np.ndarray, second: np.ndarray, config: LabelConfig) -> Iterator[Group]:
    """Match the connected parts of one label on two slices.

    Parts that share pixels belong together.  A part that shares none belongs to the nearest one that lies close by all
    along, or has its shape after a shift; else it ends.

    Args:
        first: [row, column] bool, the label on one slice.
        second: likewise, on the next one.
        config: how far, and how much alike.
    """
    (count, of_first), (others, of_second) = (_parts(mask) for mask in (first, second))
    group_of = np.arange(count + others)  # parts of the second slice come after those of the first
    shared = np.unique(np.stack([of_first, of_second])[:, first & second], axis=1).T
    for one, other in shared.tolist():
        group_of[group_of == group_of[count + other]] = group_of[one]
    met = np.zeros(count + others, bool)
    met[shared[:, 0]], met[count + shared[:, 1]] = True, True
    for number in np.unique(group_of[met]):
        yield Group(np.isin(of_first, np.flatnonzero(group_of[:count] == number)),
                    np.isin(of_second, np.flatnonzero(group_of[count:] == number)))
    yield from _paired([of_first == n for n in range(1, count) if not met[n]],
                       [of_second == n for n in range(1, others) if not met[count + n]], config)


def moved(mask: np.ndarray, move: tuple[int, int]) -> np.ndarray:
    """Shift [row, column] by whole pixels; what leaves on one side is gone.

    Example:
        >>> moved(np.array([[1, 2, 3]]), (0, 1)).tolist()
        [[0, 1, 2]]
    """
    result = np.zeros_like(mask)
    to, source = zip(*((slice(max(by, 0), size + min(by, 0)), slice(max(-by, 0), size + min(-by, 0)))
                       for by, size in zip(move, mask.shape, strict=True)), strict=True)
    result[to] = mask[source]
    return result


def best_move(first: np.ndarray, second: np.ndarray) -> tuple[tuple[int, int], float]:
    """The shift from centroid to centroid or none, whichever brings more of two masks together, and the share of their
    union that they then share.
    """
    row, column = (np.argwhere(second).mean(axis=0) - np.argwhere(first).mean(axis=0)).round().astype(int).tolist()
    return max((((0, 0), _likeness(first, second)), ((row, column), _likeness(moved(first, (row, column)), second))),
               key=lambda each: each[1])


def _likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def _parts(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of connected parts, the outside included, and which part each pixel is in."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count, parts


def _paired(first: list[np.ndarray], second: list[np.ndarray], config: LabelConfig) -> Iterator[Group]:
    """Parts that share no pixel with any: pairs of them, nearest first, and what remains alone."""
    candidates = sorted((distance, a, b, move) for a, one in enumerate(first) for b, other in enumerate(second)
                        for distance, move in _same(one, other, config))
    for _, a, b, move in candidates:
        if first[a].any() and second[b].any():
            yield Group(first[a], second[b], move, overlaps=False)
            first[a], second[b] = np.zeros_like(first[a]), np.zeros_like(second[b])
    for one in first:
        if one.any():
            yield Group(one, np.zeros_like(one))
    for one in second:
        if one.any():
            yield Group(np.zeros_like(one), one)


def _same(first: np.ndarray, second: np.ndarray, config: LabelConfig) -> Iterator[tuple[float, tuple[int, int]]]:
    """Distance (pixels) and shift from one part to another, if they may be one and the same."""
    smaller, larger = sorted((int(first.sum()), int(second.sum())))
    if smaller < config.alike * larger:
        return
    apart = [cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)[other]
             for mask, other in ((first, second), (second, first))]
    nearest, farthest = float(apart[0].min()), max(float(each.max()) for each in apart)
    if nearest > config.search:
        return
    move, likeness = best_move(first, second)
    if likeness >= config.alike or farthest <= config.near:
        yield nearest, move if likeness >= config.alike else (0, 0)
