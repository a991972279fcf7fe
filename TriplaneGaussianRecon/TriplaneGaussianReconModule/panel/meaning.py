"""What the choices mean for a volume, in the lines of the panel."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import AXES, Axis, Grid
from TriplaneGaussianReconLib.data.label_slices import LabelSlices
from TriplaneGaussianReconLib.data.output_grid import output_grid
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.request import Request

from .. import wording
from ..run.choices import regionText
from ..run.parameters import TriplaneGaussianReconParameterNode, combinedVolumes, regionBox, requestOf
from ..run.task import Task, taskOf
from .slice_views import worldGrid

Presence = Mapping[Axis, np.ndarray]  # see `presenceOf`


@dataclass(frozen=True)
class Meaning:
    """The lines; each is empty where that is not known: what is done, which slices lie across the axis, which of them
    are used, which carry labels, and which voxels the result has; whether its slices are thinner than those of the
    input, and whether there will be an image, which labels that are filled on its slices do not need.
    """

    purpose: str = ""
    axis: str = ""
    observed: str = ""
    labels: str = ""
    result: str = ""
    isThinner: bool = False
    isImageMade: bool = True


def meaningOf(grid: Grid, parameters: TriplaneGaussianReconParameterNode, presence: Presence) -> Meaning:
    """Say what choices mean for their volume; what hinders a run leaves those lines that can be told all the same.

    grid: Of the volume.  presence: What is drawn where, as far as that is known.
    """
    request = requestOf(parameters)
    axis = wording.axisMeaning(worldGrid(parameters.inputVolume), request.slice_axis(grid))
    try:
        part = replace(request, region=regionText(regionBox(parameters), parameters.inputVolume))
        return replace(_meaning(part, grid, parameters, presence), axis=axis)
    except InputError:  # the button says so
        pass
    for known in (presence, {}):
        try:
            return replace(_meaning(request, grid, parameters, known), axis=axis, purpose="", result="")
        except InputError:
            pass
    return Meaning(axis=axis)


def _meaning(request: Request, grid: Grid, parameters: TriplaneGaussianReconParameterNode, presence: Presence
             ) -> Meaning:
    """All but the slice axis; raises InputError where the request cannot be done."""
    axis, purpose, labels, isImageMade = request.slice_axis(grid), "", "", True
    if request.needs_labels and axis not in presence:
        observed, region = _("The slices on which a chosen segment has a voxel."), request.part(grid)
        result = grid if isinstance(request.spacing, str) else output_grid(grid, axis, request.spacing)
        result = result if region is None else region.of_result(result, grid, axis)
    else:
        plan = request.plan(grid, presence)
        selection, result, filled = plan.selections[axis], plan.output, None
        observed = wording.observed(selection.indices, selection.count, grid.spacing[AXES.index(axis)],
                                    plan.region is not None)
        if axis in presence:
            labelled = None if plan.labelled is None else plan.labelled[axis]
            filled = LabelSlices.among(selection, labelled, presence[axis])
            labels = wording.labelSlices(filled)
        isImageMade = plan.labelled is None or request.needs_fitting(plan, grid)
        purpose = wording.purpose(plan, grid, taskOf(parameters) is Task.REPLACE, filled)
    others = combinedVolumes(parameters)
    if others or taskOf(parameters) is Task.COMBINE:
        return Meaning(wording.combined(1 + len(others)), observed=observed,
                       result=wording.voxelsAboutAll(request.spacing))
    number, isKnown = AXES.index(axis), parameters.segmentation is None or axis in presence
    return Meaning(purpose, observed=observed, labels=labels, result=wording.voxels(result), isImageMade=isImageMade,
                   isThinner=isKnown and result.spacing[number] < 0.999 * grid.spacing[number])
