"""Segments of several segmentations as one list: which are the same, and layers that hold them all."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from .images import Segment, Segmentation
from .voxel_types import smallest_label_type


@dataclass(frozen=True)
class CommonSegments:
    """The segments of several volumes.

    Segments of one name are the same.  A label map has no names of its own, `Label 3` being made from the value: such a
    segment is the same as one of equal value.

    Attributes:
        segments: each once, in the order in which they come; those that overlap somewhere lie in different layers.
        numbers: of each volume, which of `segments` each of its own is.

    Example:
        >>> named, plain = (Segment("Liver", 1), Segment("Tumour", 2)), (Segment("Label 2", 2), Segment("Label 9", 9))
        >>> common = CommonSegments.of([named, plain])
        >>> [segment.name for segment in common.segments], common.numbers
        (['Liver', 'Tumour', 'Label 9'], ((0, 1), (1, 2)))
    """

    segments: tuple[Segment, ...]
    numbers: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, volumes: Sequence[Sequence[Segment]]) -> CommonSegments:
        """Find out which segments of several volumes are the same."""
        common: list[Segment] = []
        numbers: list[tuple[int, ...]] = []
        for segments in volumes:
            found: list[int] = []
            for segment, known in zip(segments, _known(segments, common), strict=True):
                if known is None:
                    is_taken = segment.identifier in {other.identifier for other in common}
                    common.append(replace(segment, identifier="") if is_taken else segment)
                elif _is_unnamed(common[known]):
                    common[known] = segment
                found.append(len(common) - 1 if known is None else known)
            numbers.append(tuple(found))
        return cls(_in_layers(common, [dict(zip(own, segments, strict=True))
                                       for own, segments in zip(numbers, volumes, strict=True)]), tuple(numbers))

    def recoded(self, layers: np.ndarray, volume: int, segments: Sequence[Segment]) -> np.ndarray:
        """Return layers [layer, ...] of a volume with the layers and values of `segments`.

        Args:
            layers: [layer, ...] label values of the volume.
            volume: its number.
            segments: its own.
        """
        values = [segment.value for segment in self.segments]
        result = np.zeros((1 + max((segment.layer for segment in self.segments), default=0), *layers.shape[1:]),
                          smallest_label_type(min(values, default=0), max(values, default=0)))
        for own, number in zip(segments, self.numbers[volume], strict=True):
            common = self.segments[number]
            result[common.layer][layers[own.layer] == own.value] = common.value
        return result


def common_metadata(segmentations: Sequence[Segmentation]) -> Mapping[str, str]:
    """Return the header fields of all: those of each segment, and what else the first has."""
    result = dict(segmentations[0].metadata) if segmentations else {}
    known = {value for key, value in result.items() if re.fullmatch(r"Segment\d+_ID", key)}
    free = count(1 + max((int(key[7:key.index("_")]) for key in result if re.match(r"Segment\d+_", key)), default=-1))
    for segmentation in segmentations[1:]:
        for key, identifier in segmentation.metadata.items():
            if re.fullmatch(r"Segment\d+_ID", key) and identifier not in known:
                known.add(identifier)
                prefix, number = key[:-2], next(free)
                result.update({f"Segment{number}_{name[len(prefix):]}": value
                               for name, value in segmentation.metadata.items() if name.startswith(prefix)})
    return result


def _known(segments: Sequence[Segment], common: Sequence[Segment]) -> list[int | None]:
    """Which of `common` each of `segments` is, names before values; None for those that are new."""
    found: list[int | None] = [None] * len(segments)
    for is_same in (_has_same_name, _has_same_value):
        for n, segment in enumerate(segments):
            if found[n] is None:
                found[n] = next((m for m, other in enumerate(common) if m not in found and is_same(segment, other)),
                                None)
    return found


def _has_same_name(one: Segment, other: Segment) -> bool:
    return one.name == other.name


def _has_same_value(one: Segment, other: Segment) -> bool:
    return one.value == other.value and (_is_unnamed(one) or _is_unnamed(other))


def _is_unnamed(segment: Segment) -> bool:
    """Whether the name is that which `Segmentation.from_labelmap` makes."""
    return segment.name == f"Label {segment.value}"


def _in_layers(common: Sequence[Segment], volumes: Sequence[Mapping[int, Segment]]) -> tuple[Segment, ...]:
    """Put segments into one layer where they share one in each of `volumes` (segment by number) that has both."""
    layers: list[list[int]] = []
    placed: list[Segment] = []
    for number, segment in enumerate(common):
        layer = next((n for n, others in enumerate(layers) if all(
            own[number].layer == own[other].layer for own in volumes for other in others
            if number in own and other in own)), len(layers))
        if layer == len(layers):
            layers.append([])
        taken = {placed[other].value for other in layers[layer]}
        layers[layer].append(number)
        value = segment.value if segment.value not in taken else next(n for n in count(1) if n not in taken)
        placed.append(replace(segment, layer=layer, value=value))
    return tuple(placed)
