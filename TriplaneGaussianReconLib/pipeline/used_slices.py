"""What observations are made of, and what a result gets from it that the pipeline does not see."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.geometry import AXES, Axis, Grid, array_axis
from ..data.images import Image, Segmentation
from ..data.masks import holds_data, with_data
from ..data.observations import Observations
from ..data.region import Box, Region, cut, part_of
from ..data.selection import Selection
from .error_report import ErrorReport
from .report import Files, Scope

if TYPE_CHECKING:
    from .reconstruction import Reconstruction


@dataclass(frozen=True)
class UsedSlices:
    """A volume and what is to be used of it.

    Attributes:
        image: The volume; of a region what takes part within slices, along the slice axis all of it.
        segmentation: On its grid; None without labels.
        axis: The slice axis.
        observed: Which slices are used, by axis.
        labelled: Which of them carry labels, see `Observations.from_volume`; None for all.
        region: The part of the volume that is reconstructed; None for all of it.
        inside: Where that lies in the array of `image`.
    """

    image: Image
    segmentation: Segmentation | None
    axis: Axis
    observed: Mapping[Axis, Selection]
    labelled: Mapping[Axis, Selection] | None = None
    region: Region | None = None
    inside: Box = (slice(None), slice(None), slice(None))

    @classmethod
    def of(cls, image: Image, segmentation: Segmentation | None, axis: Axis, selections: Mapping[Axis, Selection],
           labelled: Mapping[Axis, Selection] | None = None, region: Region | None = None) -> UsedSlices:
        """Leave out slices that hold no data, of which an `InputNote` tells.

        Args:
            image: The volume.
            segmentation: On its grid; None without labels.
            axis: The slice axis.
            selections: Which slices are used, by axis.
            labelled: Which of them carry labels; None for all.
            region: The part of the volume that is to be reconstructed; None for all of it.

        Raises:
            InputError: No slice is left, or too few are in the region.
        """
        if region is not None:
            return cls._in_region(image, segmentation, axis, selections, labelled, region)
        observed = with_data(image, selections)
        blank = {name: set(selections[name].indices) - set(kept.indices) for name, kept in observed.items()}
        if labelled is not None:
            left = {name: tuple(n for n in chosen.indices if n not in blank.get(name, ()))
                    for name, chosen in labelled.items()}
            labelled = {name: Selection(numbers, labelled[name].count) for name, numbers in left.items() if numbers}
        return cls(image, segmentation, axis, observed, labelled)

    @classmethod
    def _in_region(cls, image: Image, segmentation: Segmentation | None, axis: Axis,
                   selections: Mapping[Axis, Selection], labelled: Mapping[Axis, Selection] | None, region: Region
                   ) -> UsedSlices:
        """Cut off what does not take part within slices, and leave out slices that do not."""
        selections, labelled = part_of(selections, labelled, region, axis)
        grid, part, inside = region.seen(image.grid, axis)
        image = replace(image, array=cut(image.array, part), grid=grid)
        if segmentation is not None:
            segmentation = replace(segmentation, layers=cut(segmentation.layers, part), grid=grid)
        return replace(cls.of(image, segmentation, axis, selections, labelled), region=region, inside=inside)

    def drawn(self, output: Grid) -> Grid:
        """Return the voxels that are to be drawn for a result on the grid `output`: of a region with its margin."""
        if self.region is None:
            return output
        for name in AXES:
            if name != self.axis:
                inside, count = self.inside[array_axis(name)], self.image.grid.count(name)
                output = output.extended(name, inside.start, count - inside.stop)
        return output

    def observations(self) -> Observations:
        """Return what a reconstruction sees; raises InputError where it cannot be used."""
        return Observations.from_volume(self.image, self.observed, self.segmentation, self.labelled)

    def finished(self, result: Reconstruction, observations: Observations, notes: Sequence[str],
                 files: Files | None = None, keep_used: bool = False) -> Reconstruction:
        """Return a result with what the pipeline does not see, and without the margin of a region.

        That is the header of the segmentation, what was used and, in a result with the voxels of the input, the used
        slices as they were: if that is asked for, and wherever labels were filled on slices whose image is known.

        Args:
            result: What the pipeline made of `observations`. Slices that are put back are changed in its arrays.
            observations: What it saw.
            notes: What was done to the input so that it can be used.
            files: As they were given, for the report.
            keep_used: Whether it is asked for.
        """
        if self.region is not None:
            result = self._without_margin(result)
        grid, segmentation = result.volume.grid, result.segmentation
        is_known = result.report.completion is not None or not result.report.gaussians
        paste = (keep_used or is_known) and grid.matches(self._inner_grid)
        if segmentation is not None and self.segmentation is not None:
            segmentation = replace(segmentation, metadata=self.segmentation.metadata)
        if result.label_probabilities is not None and segmentation is not None:
            probabilities = replace(result.label_probabilities, metadata=segmentation.metadata)
            result = replace(result, label_probabilities=probabilities)
        scope = Scope.of(self.axis, self.observed, grid, self.segmentation, observations, self.region)
        error = ErrorReport.of(result, observations, self.image.unit)
        report = replace(result.report.about(scope, files, notes, error), pasted=paste)
        result = replace(result, segmentation=segmentation, report=report)
        return self._pasted(result) if paste else result

    @property
    def _inner_grid(self) -> Grid:
        """The voxels of the volume that are reconstructed, as they are in it."""
        return _cropped(self.image.grid, self.inside)

    def _without_margin(self, result: Reconstruction) -> Reconstruction:
        """Cut off what was drawn beyond the region within slices."""
        k, j, i = (slice(None) if n == array_axis(self.axis) else inside for n, inside in enumerate(self.inside))
        grid, images = _cropped(result.volume.grid, (k, j, i)), {}
        for name in ("volume", "confidence", "label_certainty", "label_probabilities"):
            if (found := getattr(result, name)) is not None:
                images[name] = replace(found, array=np.ascontiguousarray(cut(found.array, (k, j, i))), grid=grid)
        segmentation = result.segmentation
        if segmentation is not None:
            layers = np.ascontiguousarray(cut(segmentation.layers, (k, j, i)))
            segmentation = replace(segmentation, layers=layers, grid=grid)
        return replace(result, segmentation=segmentation, **images)

    def _pasted(self, result: Reconstruction) -> Reconstruction:
        """Put the used slices of image and labels back as they were, without any error; both lie on the same grid."""
        volume, error, segmentation = result.volume.array, result.confidence.array, result.segmentation
        image = cut(self.image.array, self.inside)
        for axis, selection in self.observed.items():
            for _, at in self._inside(axis, selection.indices):
                volume[at] = image[at]
                error[at][holds_data(volume[at], self.image.padding)] = 0.0
        if segmentation is None or self.segmentation is None:
            return result
        given, layers = cut(self.segmentation.layers, self.inside), segmentation.layers
        layers = layers.astype(np.result_type(layers, given), copy=False)
        for axis, selection in (self.observed if self.labelled is None else self.labelled).items():
            used = set(self.observed[axis].indices if axis in self.observed else ())
            for number, at in self._inside(axis, selection.indices):
                if number in used:
                    layer = (slice(None), *at)
                    layers[layer] = given[:len(layers)][layer]
        return replace(result, segmentation=replace(segmentation, layers=layers))

    def _inside(self, axis: Axis, numbers: Sequence[int]) -> Iterator[tuple[int, tuple[slice | int, ...]]]:
        """Those of some slices of the volume that are reconstructed, and the index of each in a result [k, j, i]."""
        slices = range(self.image.grid.count(axis))[self.inside[array_axis(axis)]]
        for number in numbers:
            if number in slices:
                at: list[slice | int] = [slice(None)] * 3
                at[array_axis(axis)] = number - slices[0]
                yield number, tuple(at)


def _cropped(grid: Grid, part: Box) -> Grid:
    """The grid of a part of an array [k, j, i]."""
    for axis in AXES:
        inside = part[array_axis(axis)]
        if inside.start is not None:
            grid = grid.cropped(axis, inside.start, inside.stop - 1)
    return grid
