"""What hinders a run, and beside which of the choices that is said."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from slicer.i18n import tr as _

from TriplaneGaussianReconLib.data.geometry import Grid
from TriplaneGaussianReconLib.data.label_slices import ALL
from TriplaneGaussianReconLib.data.output_grid import output_grid
from TriplaneGaussianReconLib.data.selection import Selection
from TriplaneGaussianReconLib.errors import InputError
from TriplaneGaussianReconLib.jobs.request import INPUT

from .. import wording
from ..run.choices import regionText
from ..run.parameters import (
    LabelsOn,
    TriplaneGaussianReconParameterNode,
    Trust,
    asked,
    combinedVolumes,
    regionBox,
    requestOf,
    segmentIDs,
    severalKeywords,
)
from ..run.several import Several
from ..run.task import Task, taskOf
from ..scene.nodes import gridOf
from .drawn_slices import DrawnSlices

TASK = "taskPreview"  # the label that says what is done, or what that still lacks


@dataclass(frozen=True)
class Obstacle:
    """Why nothing can be reconstructed.

    Attributes:
        reason: What to change.
        line: The label below the choices that it is about; empty where it is about none in particular.
    """

    reason: str
    line: str = ""


def obstacleTo(parameters: TriplaneGaussianReconParameterNode | None, drawn: DrawnSlices) -> Obstacle | None:
    """Return what hinders a run with these choices, one thing at a time; None where nothing does.

    drawn: What is known of the segmentation.
    """
    if parameters is None or parameters.inputVolume is None:
        return Obstacle(_("Choose an input volume first."))
    try:
        grid = gridOf(parameters.inputVolume)
    except InputError as error:
        return Obstacle(str(error))
    for line, check in _CHECKS:
        try:
            with wording.translatedErrors():
                check(parameters, grid, drawn)
        except InputError as error:
            return Obstacle(str(error), line)
    return None


def _checkTask(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    task, isSaid = taskOf(parameters), parameters.trust is not Trust.ALL or parameters.excludedSlices.strip()
    if task is Task.FILL and parameters.segmentation is None:
        raise InputError(_("Choose the segmentation that is to be filled."))
    if task is Task.COMBINE and not combinedVolumes(parameters):
        raise InputError(_("Check at least one volume in the list 'Further volumes of the same body' below."))
    if task is Task.REPLACE and not isSaid:
        raise InputError(_("Say which slices are bad: show each in a slice view and press 'Exclude current slice', "
                           "or write their numbers, such as 7,12,20-23."))


def _checkSegmentation(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    if parameters.segmentation is not None and not segmentIDs(parameters):
        raise InputError(_("Check at least one segment.") if taskOf(parameters) is Task.FILL else
                         _("Check at least one segment, or choose no segmentation."))
    if drawn.problem:
        raise InputError(drawn.problem)


def _checkFurther(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    Several.of(parameters.inputVolume, **severalKeywords(parameters))


def _checkSlices(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    request = requestOf(parameters)
    axis = request.slice_axis(grid)
    if not request.needs_labels:
        with _of(_("Slices to use")):
            replace(request, excluded="").selections(grid, axis, {})
    with _of(_("Excluded slices")):
        replace(request, slices="all").selections(grid, axis, {})
    if drawn.presence or not request.needs_labels:
        replace(request, spacing=INPUT, labels_on=ALL, region="").plan(grid, drawn.presence)


def _checkLabels(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    if parameters.segmentation is None:
        return
    count = grid.count(requestOf(parameters).slice_axis(grid))
    if parameters.labelsOn is LabelsOn.LIST:
        with _of(_("Labels from")):
            Selection.parse(count, parameters.labelledSlices)
    elif parameters.labelsOn is LabelsOn.DRAWN and parameters.emptySlices.strip():
        with _of(_("Empty slices")):
            Selection.parse(count, parameters.emptySlices)


def _checkRegion(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    request = replace(requestOf(parameters), region=regionText(regionBox(parameters), parameters.inputVolume))
    region, axis = request.part(grid), request.slice_axis(grid)
    if region is None or request.needs_labels and axis not in drawn.presence:
        return
    plan = replace(request, spacing=INPUT, labels_on=ALL).plan(grid, drawn.presence)
    if taskOf(parameters) is Task.REPLACE and not set(plan.slices(axis)) - set(plan.selections[axis].indices):
        raise InputError(_("No excluded slice lies in the region. Move the region to one, or choose the whole volume."))


def _checkSpacing(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    request = requestOf(parameters)
    if not isinstance(request.spacing, str):
        output_grid(grid, request.slice_axis(grid), request.spacing)


def _checkAll(parameters: TriplaneGaussianReconParameterNode, grid: Grid, drawn: DrawnSlices) -> None:
    found = asked(parameters)
    request = found.several.alone(found.request)
    if drawn.presence or not request.needs_labels:
        request.plan(grid, drawn.presence)


# The label on which each is said. Those that come later take it that what is before them holds.
_CHECKS: tuple[tuple[str, Callable[[TriplaneGaussianReconParameterNode, Grid, DrawnSlices], None]], ...] = (
    (TASK, _checkTask), ("segmentationNote", _checkSegmentation), ("furtherNote", _checkFurther),
    ("trustPreview", _checkSlices), ("regionNote", _checkRegion), ("labelsPreview", _checkLabels),
    ("outputPreview", _checkSpacing), ("", _checkAll))


@contextmanager
def _of(field: str) -> Iterator[None]:
    """Let each InputError of the block begin with the name of the row that it is about."""
    try:
        with wording.translatedErrors():
            yield
    except InputError as error:
        raise InputError(_("{row}: {reason}").format(row=field, reason=error)) from error
