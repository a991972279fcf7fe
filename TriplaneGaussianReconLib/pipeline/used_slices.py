"""What observations are made of, and what a result gets from it that the pipeline does not see."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.geometry import Axis, array_axis
from ..data.images import Image, Segmentation
from ..data.masks import holds_data, with_data
from ..data.observations import Observations
from ..data.selection import Selection
from .error_report import ErrorReport
from .report import Files, Scope

if TYPE_CHECKING:
    from .reconstruction import Reconstruction


@dataclass(frozen=True)
class UsedSlices:
    """A volume and what is to be used of it.

    Attributes:
        image: The volume.
        segmentation: On its grid; None without labels.
        axis: The slice axis.
        observed: Which slices are used, by axis.
        labelled: Which of them carry labels, see `Observations.from_volume`; None for all.
    """

    image: Image
    segmentation: Segmentation | None
    axis: Axis
    observed: Mapping[Axis, Selection]
    labelled: Mapping[Axis, Selection] | None = None

    @classmethod
    def of(cls, image: Image, segmentation: Segmentation | None, axis: Axis, selections: Mapping[Axis, Selection],
           labelled: Mapping[Axis, Selection] | None = None) -> UsedSlices:
        """Leave out slices that hold no data, of which an `InputNote` tells; raises InputError where none is left."""
        observed = with_data(image, selections)
        blank = {name: set(selections[name].indices) - set(kept.indices) for name, kept in observed.items()}
        if labelled is not None:
            left = {name: tuple(n for n in chosen.indices if n not in blank.get(name, ()))
                    for name, chosen in labelled.items()}
            labelled = {name: Selection(numbers, labelled[name].count) for name, numbers in left.items() if numbers}
        return cls(image, segmentation, axis, observed, labelled)

    def observations(self) -> Observations:
        """Return what a reconstruction sees; raises InputError where it cannot be used."""
        return Observations.from_volume(self.image, self.observed, self.segmentation, self.labelled)

    def finished(self, result: Reconstruction, observations: Observations, notes: Sequence[str],
                 files: Files | None = None) -> Reconstruction:
        """Return a result with what the pipeline does not see.

        That is the header of the segmentation, what was used, and the used slices as they were: if that is asked for,
        and wherever labels were filled on slices whose image is known.

        Args:
            result: What the pipeline made of `observations`. Slices that are put back are changed in its arrays.
            observations: What it saw.
            notes: What was done to the input so that it can be used.
            files: As they were given, for the report. Where it says so, the used slices are put back in any case; the
                result then has the voxels of the input.
        """
        grid, segmentation = result.volume.grid, result.segmentation
        is_known = result.report.completion is not None or not result.report.gaussians
        paste = (files is not None and files.pasted) or (is_known and grid.matches(self.image.grid))
        if segmentation is not None and self.segmentation is not None:
            segmentation = replace(segmentation, metadata=self.segmentation.metadata)
        if result.label_probabilities is not None and segmentation is not None:
            probabilities = replace(result.label_probabilities, metadata=segmentation.metadata)
            result = replace(result, label_probabilities=probabilities)
        scope = Scope.of(self.axis, self.observed, grid, self.segmentation, observations)
        error = ErrorReport.of(result, observations, self.image.unit)
        report = result.report.about(scope, None if files is None else replace(files, pasted=paste), notes, error)
        result = replace(result, segmentation=segmentation, report=report)
        return self._pasted(result) if paste else result

    def _pasted(self, result: Reconstruction) -> Reconstruction:
        """Put the used slices of image and labels back as they were, without any error; both lie on the same grid."""
        volume, error, segmentation = result.volume.array, result.confidence.array, result.segmentation
        for axis, selection in self.observed.items():
            for number in selection.indices:
                at = _at(axis, number)
                volume[at] = self.image.array[at]
                error[at][holds_data(volume[at], self.image.padding)] = 0.0
        if segmentation is None or self.segmentation is None:
            return result
        given, layers = self.segmentation.layers, segmentation.layers
        layers = layers.astype(np.result_type(layers, given), copy=False)
        for axis, selection in (self.observed if self.labelled is None else self.labelled).items():
            used = set(self.observed[axis].indices if axis in self.observed else ())
            for number in used.intersection(selection.indices):
                at = (slice(None), *_at(axis, number))
                layers[at] = given[:len(layers)][at]
        return replace(result, segmentation=replace(segmentation, layers=layers))


def _at(axis: Axis, number: int) -> tuple[slice | int, ...]:
    """The index of a slice in an array [k, j, i]."""
    at: list[slice | int] = [slice(None)] * 3
    at[array_axis(axis)] = number
    return tuple(at)
